//! How a command fails: what failed, why, and what to try.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

use coracle_client::Error as ClientError;

/// What a command gives.
pub type Result<T = (), E = Failure> = std::result::Result<T, E>;

/// The end of a command that did not do what was asked. Printed once, by `main`.
#[derive(Debug)]
pub struct Failure {
    error: Option<anyhow::Error>,
    hint: Option<String>,
    code: u8,
}

impl Failure {
    /// A failure in words of its own.
    pub fn new(what: impl Display) -> Self {
        Self::from(anyhow::anyhow!("{what}"))
    }

    /// Ends with an exit code and without words: everything has been said already.
    pub fn silent(code: u8) -> Self {
        Self { error: None, hint: None, code }
    }

    /// What the process ends with.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// What to try instead.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts what was being done before what went wrong.
    #[must_use]
    pub fn with_context(mut self, what: impl Display) -> Self {
        self.error = self.error.map(|error| error.context(what.to_string()));
        self
    }

    /// Writes it to stderr; the exit code of the process.
    pub fn report(&self) -> ExitCode {
        if let Some(error) = &self.error {
            if is_broken_pipe(error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("{}", self.text(error));
            if let Some(hint) = self.hint.clone().or_else(|| hint_of(error)) {
                eprintln!("hint: {hint}");
            }
        }
        ExitCode::from(self.code)
    }

    /// The words of [`Failure::report`], without the hint.
    pub fn message(&self) -> String {
        self.error.as_ref().map(|error| self.text(error)).unwrap_or_default()
    }

    fn text(&self, error: &anyhow::Error) -> String {
        match refusal(error) {
            Some((reason, message)) => format!("Error from server ({reason}): {message}"),
            None => format!("error: {error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Some(error.into()), hint: None, code: 1 }
    }
}

/// Adds a hint to whatever fails.
pub trait Hint<T> {
    /// # Errors
    /// The same, with `hint`.
    fn hint(self, hint: impl Into<String>) -> Result<T>;
}

impl<T, E: Into<Failure>> Hint<T> for std::result::Result<T, E> {
    fn hint(self, hint: impl Into<String>) -> Result<T> {
        self.map_err(|error| error.into().with_hint(hint))
    }
}

/// A server's own refusal is printed as kubectl prints it, when nothing was put before it.
fn refusal(error: &anyhow::Error) -> Option<(String, String)> {
    let status = error.downcast_ref::<ClientError>()?.status()?;
    if error.chain().next().is_some_and(|first| !first.is::<ClientError>()) {
        return None;
    }
    let reason = status.reason.clone().filter(|reason| !reason.is_empty()).unwrap_or_else(|| "Unknown".to_owned());
    Some((reason, status.message.clone().unwrap_or_default()))
}

/// What helps against the failures that have one likely cause.
fn hint_of(error: &anyhow::Error) -> Option<String> {
    let hint = match error.chain().find_map(|cause| cause.downcast_ref::<ClientError>())? {
        ClientError::Transport { .. } => "is the cluster running? `coracle up` starts one; --kubeconfig names another",
        ClientError::Kubeconfig { .. } => "`coracle up` writes one; --kubeconfig or $KUBECONFIG names another",
        ClientError::Api { status } if status.code == Some(401) => {
            "the kubeconfig is of another cluster or an older one: take the one that `coracle up` prints"
        }
        _ => return None,
    };
    Some(hint.to_owned())
}

/// The reader of our output went away: `coracle get pods | head -1`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|cause| cause.downcast_ref::<io::Error>().is_some_and(|it| it.kind() == io::ErrorKind::BrokenPipe))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn a_chain_is_printed_once_and_in_order() {
        let error: anyhow::Result<()> = Err(io::Error::other("disk on fire")).context("cannot write the store");
        let failure = Failure::from(error.expect_err("it failed"));
        assert_eq!(failure.message(), "error: cannot write the store: disk on fire");
        assert_eq!(Failure::silent(3).message(), "");
    }
}
