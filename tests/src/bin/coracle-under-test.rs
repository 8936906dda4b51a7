//! The `coracle` program, built with the tests that start it.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle::command::main()
}
