//! Where a verb writes what it was asked for. Progress and errors go to stderr instead.

use std::io::Write;

/// A verb's output: stdout, or a test's buffer.
pub type Out<'a> = &'a mut (dyn Write + Send);
