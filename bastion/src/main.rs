//! The gateway's program: arguments in, exit code out.

mod demo_issuer;
mod dial;
mod login;
mod pins;
mod recorder;
mod settings;

fn main() {}
