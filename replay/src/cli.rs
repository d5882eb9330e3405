//! The commands, and the one place where a failure is printed.

mod args;
mod failure;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

pub use args::{Bench, Format};

use crate::{
    bench, export, info, keymap,
    play::{self, Left},
    player::Start,
    reel::Reel,
    source::{self, Flaw, Shelf, Wanted},
};
use args::{Args, Command};
use failure::Failure;

/// Does what the arguments say; what goes wrong is one line on standard error.
pub fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(usage) => {
            // Help into a closed pipe has done its work.
            let _printed = usage.print();
            return ExitCode::from(if usage.use_stderr() { failure::USAGE } else { failure::DONE });
        }
    };
    obey(args).map_or_else(
        |failure| {
            // Without standard error the exit code must do.
            let _said = writeln!(io::stderr(), "{}", failure.line());
            ExitCode::from(failure.code())
        },
        ExitCode::from,
    )
}

fn obey(args: Args) -> Result<u8, Failure> {
    if args.help_keys {
        return print(&keymap::as_text());
    }
    let shelf = Shelf { socket: args.socket.as_deref(), data: args.data.as_deref() };
    match args.command {
        Some(Command::Export(wanted)) => {
            let mut source = source::open(&wanted.source, shelf, Wanted::Events)?;
            export::export(source.as_mut(), wanted.format, &wanted.output)?;
            unless_flawed(&wanted.source, source.check())
        }
        Some(Command::Info { source: name, json }) => {
            let mut source = source::open(&name, shelf, Wanted::Events)?;
            let (told, flaw) = info::info(source.as_mut(), json);
            print(&told)?;
            unless_flawed(&name, flaw)
        }
        Some(Command::Bench(wanted)) => {
            print(&bench::bench(&wanted, shelf).map_err(|fault| Failure::Bench(fault.to_string()))?)
        }
        None => {
            let name = args.source.ok_or(Failure::NoSource)?;
            let reel = Reel::new(source::open(&name, shelf, Wanted::Screens)?);
            let start = Start { speed: args.speed, idle_limit: args.idle_limit.0, at: args.at };
            match play::play(reel, start)? {
                Left::Quit(flaw) => unless_flawed(&name, flaw),
                Left::Signal(number) => Ok(128_u8.saturating_add(u8::try_from(number).unwrap_or(0))),
                Left::Gone => Ok(failure::FAILED),
            }
        }
    }
}

fn unless_flawed(name: &str, flaw: Option<Flaw>) -> Result<u8, Failure> {
    match flaw {
        Some(flaw) => Err(Failure::Flawed { name: name.into(), flaw }),
        None => Ok(failure::DONE),
    }
}

/// Who reads no further has read enough.
fn print(text: &str) -> Result<u8, Failure> {
    match io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()) {
        Err(fault) if fault.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(fault)),
        _ => Ok(failure::DONE),
    }
}
