//! The gateway's program: arguments in, exit code out.

mod answer;
mod cli;
mod connection;
mod demo;
mod demo_issuer;
mod demo_target;
mod dial;
mod front_desk;
mod house;
mod live;
mod log;
mod login;
mod menu;
mod outbox;
mod pins;
mod recorder;
mod serve;
mod server;
mod session;
mod settings;
mod severable;
mod squeeze;
mod storm;
mod wire;
mod words;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
