//! The gateway's program: arguments in, exit code out.

mod login;
mod settings;

fn main() {}
