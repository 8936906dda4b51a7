//! The terminal that this process is at.

use std::io::{self, IsTerminal, stdin, stdout};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use serde_json::json;

/// A terminal that passes every key on as it is, until this is dropped.
pub struct Raw {
    before: Termios,
}

/// How many characters a terminal shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub columns: u16,
    pub rows: u16,
}

/// Whether somebody types what comes on standard input.
pub fn is_typed() -> bool {
    stdin().is_terminal()
}

impl Raw {
    /// # Errors
    /// When standard input is no terminal.
    pub fn enter() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Drain, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &self.before);
    }
}

impl Size {
    /// That of this process's terminal; none where it has none.
    pub fn now() -> Option<Self> {
        let size = tcgetwinsize(stdout()).or_else(|_| tcgetwinsize(stdin())).ok()?;
        Some(Self { columns: size.ws_col, rows: size.ws_row })
    }

    /// As it is told to the other side. Source: `remotecommand.TerminalSize`.
    pub fn to_json(self) -> String {
        json!({"Width": self.columns, "Height": self.rows}).to_string()
    }
}
