//! Parses, sets up tracing, and calls: all of it in [`coracle::command::main`], where the tests' own build of the program
//! finds it too.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A pod is thousands of small allocations on many threads: the system's own allocator takes a fifth of a Job's CPU time.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    coracle::command::main()
}
