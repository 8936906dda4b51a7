//! Parses, sets up tracing, and calls: all of it in [`coracle::command::main`], where the tests' own build of the program
//! finds it too.

use std::process::ExitCode;

fn main() -> ExitCode {
    coracle::command::main()
}
