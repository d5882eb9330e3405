//! The player's program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    replay::run()
}
