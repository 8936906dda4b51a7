//! Running a container's module once more, for a probe or a hook: what it prints, and how it ends.
//!
//! Source: kubelet, `pkg/probe/exec` and `RunInContainer`.

use std::sync::{Arc, Mutex, PoisonError};

use crate::limits::PROBE_BODY_BYTES_MAX;
use crate::runtime::{Container, Exec, Exit, Sink};

/// What came of it.
pub(super) struct Run {
    pub is_success: bool,
    /// Both streams, as they came.
    pub output: String,
    /// How it ended, in words.
    pub end: String,
}

/// Runs `command`, its first word being the program's name.
///
/// # Errors
/// When it cannot be run at all.
///
/// # Cancel safety
/// Dropped, it ends the run.
pub(super) async fn run(container: &dyn Container, command: &[String]) -> Result<Run, String> {
    let output = Arc::new(Output::default());
    let exec = Exec { args: command.to_vec(), stdin: None, stdout: output.clone(), stderr: output.clone(), tty: false };
    let running = container.exec(exec).await.map_err(|error| error.to_string())?;
    let exit = running.wait().await;
    let end = match &exit {
        Exit::Code(code) => format!("exited with {code}"),
        Exit::OutOfMemory => "exited with 137".into(),
        Exit::Trap { message } => format!("exited with 134: {message}"),
        Exit::Stopped | Exit::Killed => "was killed".into(),
    };
    let output = output.text();
    let said = match exit {
        Exit::Trap { message } if output.is_empty() => message,
        _ => output,
    };
    Ok(Run { is_success: end == "exited with 0", output: said, end })
}

/// Keeps the first bytes that are written.
#[derive(Default)]
struct Output(Mutex<Vec<u8>>);

impl Output {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Sink for Output {
    fn write(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = PROBE_BODY_BYTES_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}
