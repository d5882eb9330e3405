//! The gateway's program: arguments in, exit code out.

mod alarm;
mod answer;
mod audit;
mod binding_commands;
mod check;
mod child;
mod cli;
mod connection;
mod control;
mod demo;
mod demo_issuer;
mod demo_target;
mod dial;
mod doorstep;
mod explain;
mod failure;
mod fingerprint;
mod forced;
mod front_desk;
mod hello;
mod house;
mod init;
mod key_commands;
mod last_use;
mod live;
mod log;
mod login;
mod menu;
mod opened;
#[cfg(test)]
mod operator_tests;
mod orders;
mod outbox;
mod own_keys;
mod picker;
mod pins;
mod place;
mod recheck;
mod recorder;
mod revoke;
mod serve;
mod server;
mod session;
mod sessions;
mod settings;
mod severable;
mod spare_memory;
mod squeeze;
mod ssh_config;
mod storm;
mod strangers;
mod target_commands;
mod times;
mod wire;
mod words;
mod wrong_signatures;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
