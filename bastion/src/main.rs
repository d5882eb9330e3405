//! The gateway's program: arguments in, exit code out.

mod settings;

fn main() {}
