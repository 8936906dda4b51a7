//! How a container ended, read from what wasmtime says.

use std::fmt::{self, Write as _};

use wasmtime_wasi::I32Exit;

use crate::account::Memory;
use crate::limits::TRAP_MESSAGE_BYTES_MAX;

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The guest returned (code 0) or exited with a code.
    Code(i32),
    /// Memory was refused to the guest and it failed for it.
    OutOfMemory,
    /// The guest did something that WebAssembly forbids: unreachable code, a stack overflow, an
    /// access out of bounds.
    Trap {
        /// What happened, and where in the guest as far as it has names.
        message: String,
    },
    /// The container was killed.
    Killed,
}

impl Exit {
    /// Whether the guest ended by itself and content.
    pub fn is_success(&self) -> bool {
        *self == Self::Code(0)
    }

    /// Reads the outcome of a guest's entry point. `memory` tells whether growth was refused
    /// since it last succeeded: a guest that fails after that failed for want of memory.
    pub(crate) fn of(outcome: wasmtime::Result<()>, memory: &Memory) -> Self {
        let Err(error) = outcome else { return Self::Code(0) };
        if error.is::<Interrupted>() {
            return Self::Killed;
        }
        match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(0)) => Self::Code(0),
            _ if memory.is_refused() => Self::OutOfMemory,
            Some(I32Exit(code)) => Self::Code(*code),
            None => Self::Trap { message: trap_message(&error) },
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::OutOfMemory => f.write_str("ran out of memory"),
            Self::Trap { message } => f.write_str(message),
            Self::Killed => f.write_str("was killed"),
        }
    }
}

/// What a guest is told to unwind with once its container is killed.
#[derive(Debug, thiserror::Error)]
#[error("the container was killed")]
pub(crate) struct Interrupted;

/// The chain of causes, innermost first: the trap itself, then the backtrace that wasmtime adds as
/// context.
pub(crate) fn trap_message(error: &wasmtime::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().collect::<Vec<_>>().into_iter().rev() {
        if !message.is_empty() {
            message.push('\n');
        }
        // Writing to a string does not fail.
        let _ = write!(message, "{cause}");
    }
    truncate(&mut message, TRAP_MESSAGE_BYTES_MAX);
    message
}

/// Cuts at the last character that ends within `bytes_max`.
fn truncate(text: &mut String, bytes_max: usize) {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_messages_are_cut_between_characters() {
        for (text, bytes_max, expected) in
            [("short", 5, "short"), ("longer", 4, "long…"), ("näh", 2, "n…"), ("näh", 3, "nä…")]
        {
            let mut cut = text.to_owned();
            truncate(&mut cut, bytes_max);
            assert_eq!(cut, expected);
        }
    }
}
