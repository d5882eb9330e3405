//! The gateway's program: arguments in, exit code out.

mod demo_issuer;
mod login;
mod recorder;
mod settings;

fn main() {}
