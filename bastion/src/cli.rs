//! The commands, and the one place where a failure is printed.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{demo, log, serve, settings::SettingsArgs};

/// An SSH gateway that records every session
#[derive(Parser)]
#[command(version, after_help = "Try it:  bastion demo")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Try it: everything embedded, on loopback, nothing left behind
    #[command(after_help = "Example:  bastion demo --data /tmp/kept")]
    Demo(demo::Args),
    /// Run the gateway
    #[command(after_help = "Example:  bastion serve --config /etc/bastion/bastion.toml")]
    Serve(SettingsArgs),
}

/// Exit codes: 0 done, 1 failed, 2 usage.
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(arguments),
        Command::Serve(arguments) => serve(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

type Done = Result<(), Box<dyn std::error::Error>>;

fn serve(arguments: &SettingsArgs) -> Done {
    let settings = arguments.load()?;
    log::begin(&settings.log)?;
    runtime()?.block_on(serve::run(settings))?;
    Ok(())
}

/// The runtime of everything that listens.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}
