//! The commands, and the one place where a failure is printed.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::{
    audit::{self, AuditArgs},
    binding_commands::{self, BindingsArgs, NamesArgs},
    check::{self, CheckArgs},
    demo,
    explain::{self, ExplainArgs},
    failure::Failure,
    init::{self, InitArgs},
    key_commands::{self, KeyArgs},
    log, picker, serve,
    sessions::{self, SessionsArgs},
    settings::SettingsArgs,
    ssh_config::{self, SshConfigArgs},
    target_commands::{self, TargetArgs},
};

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
    /// Write settings to begin with, a host key and a vault
    Init(InitArgs),
    /// Look at settings, policy, targets and keys, and read them aloud
    Check(CheckArgs),
    /// Say what would be decided, and by which rule
    Explain(ExplainArgs),
    /// Targets: list them, pin their host keys, set them up
    Target(TargetArgs),
    /// The keys in the vault
    Key(KeyArgs),
    /// The keys that sign people in: list them, revoke them
    Bindings(BindingsArgs),
    /// Whose the names are that people sign in with: list them, release one
    Names(NamesArgs),
    /// What was recorded: list it, show one
    Sessions(SessionsArgs),
    /// What was decided and done: sign-ins, refusals, keys, policies, orders
    Audit(AuditArgs),
    /// Print a block for ~/.ssh/config
    SshConfig(SshConfigArgs),
    /// The list of targets that is typed in; read on stdin, answered on stderr
    #[command(hide = true)]
    Pick,
}

/// Exit codes: 0 done, 1 failed, 2 usage, 4 denied.
pub fn run() -> ExitCode {
    let out = &mut Answered(io::stdout());
    let done = match Arguments::parse().command {
        Command::Demo(arguments) => demo::run(&arguments).map(|()| 0),
        Command::Serve(arguments) => serve(&arguments),
        Command::Init(arguments) => init::run(&arguments, out),
        Command::Check(arguments) => check::run(&arguments, out),
        Command::Explain(arguments) => explain::run(&arguments, out),
        Command::Target(arguments) => target(&arguments),
        Command::Key(arguments) => wait(key_commands::run(&arguments, out)),
        Command::Sessions(arguments) => sessions::run(&arguments, out),
        Command::Bindings(arguments) => wait(binding_commands::bindings(&arguments, out)),
        Command::Names(arguments) => wait(binding_commands::names(&arguments, out)),
        Command::Audit(arguments) => audit::run(&arguments, out),
        Command::SshConfig(arguments) => ssh_config::run(&arguments, out),
        Command::Pick => picker::run(),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.code.into()
        }
    }
}

fn serve(arguments: &SettingsArgs) -> Result<u8, Failure> {
    let settings = arguments.load()?;
    log::begin(&settings.log).map_err(unexplained)?;
    runtime().map_err(unexplained)?.block_on(serve::run(settings))?;
    Ok(0)
}

fn target(arguments: &TargetArgs) -> Result<u8, Failure> {
    let mut input = io::BufReader::new(io::stdin());
    let input: Option<&mut (dyn BufRead + Send)> = match io::stdin().is_terminal() {
        true => Some(&mut input),
        false => None,
    };
    let mut out = Answered(io::stdout());
    runtime().map_err(unexplained)?.block_on(target_commands::run(arguments, input, &mut out))
}

fn wait(command: impl Future<Output = Result<u8, Failure>>) -> Result<u8, Failure> {
    runtime().map_err(unexplained)?.block_on(command)
}

/// Standard output. Who reads no further (`| head`) has read enough: the command goes on to its end, so that nothing stays
/// half done, and its exit code says what it would have said anyway.
struct Answered<W>(W);

impl<W: Write> Write for Answered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        unless_closed(self.0.write(bytes), bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        unless_closed(self.0.flush(), ())
    }
}

fn unless_closed<T>(done: io::Result<T>, instead: T) -> io::Result<T> {
    match done {
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => Ok(instead),
        done => done,
    }
}

/// A fault that brings no way out of its own.
fn unexplained(fault: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure { code: 1, what: fault.into().to_string(), way_out: None }
}

/// The runtime of everything that listens.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails each write so.
    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_who_has_gone_is_no_fault_and_a_full_disk_is_one() {
        let write = |kind| {
            let mut out = Answered(Failing(kind));
            writeln!(out, "a line").and_then(|()| out.flush())
        };
        assert!(write(io::ErrorKind::BrokenPipe).is_ok());
        assert_eq!(write(io::ErrorKind::StorageFull).unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
