//! Transcripts of a terminal: what a person types, and what they then see.
//!
//! A line that begins with `$ ` is typed; lines that begin with `> ` go on with it (a here-document, say). What follows
//! is what is printed, stdout and stderr together, up to an empty line before the next command; `[1]` at the end is an
//! exit code that is not 0. Lines that begin with `#` before a command are for the reader.
//!
//! What differs from run to run is written as a mark: `<age>` stands for a time like `3m5s`, `<any>` for one word,
//! `<rest>` for the rest of the line, and a line `<lines>` for any number of lines, none too. Runs of spaces are one space:
//! columns are as wide as what stands in them.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, bail};
use regex::Regex;
use tokio::process::Command;

/// A command, and what is printed.
#[derive(Debug, PartialEq)]
struct Step {
    /// What is for the reader alone.
    remark: String,
    typed: String,
    printed: String,
}

/// A session at a terminal.
#[derive(Debug)]
pub struct Transcript {
    steps: Vec<Step>,
}

/// Where a transcript is played.
pub struct Terminal<'t> {
    pub folder: &'t Path,
    /// Variables that commands find.
    pub variables: Vec<(&'t str, String)>,
}

impl Transcript {
    /// Reads a transcript.
    ///
    /// # Errors
    /// When something is printed before anything was typed.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let mut steps: Vec<Step> = Vec::new();
        let (mut remark, mut between) = (String::new(), true);
        for line in text.lines() {
            if let Some(typed) = line.strip_prefix("$ ") {
                steps.push(Step {
                    remark: std::mem::take(&mut remark),
                    typed: format!("{typed}\n"),
                    printed: String::new(),
                });
                between = false;
            } else if between {
                remark += &format!("{line}\n");
            } else if line.is_empty() {
                between = true;
                remark += "\n";
            } else {
                let step = steps.last_mut().context("something is printed before anything is typed")?;
                match line.strip_prefix("> ").or((line == ">").then_some("")) {
                    Some(typed) if step.printed.is_empty() => step.typed += &format!("{typed}\n"),
                    _ => step.printed += &format!("{line}\n"),
                }
            }
        }
        Ok(Self { steps })
    }

    /// Plays the transcript; what is printed must be what is written.
    ///
    /// # Errors
    /// Every difference, with the command that it came after.
    pub async fn play(&self, terminal: &Terminal<'_>) -> anyhow::Result<()> {
        let mut differences = String::new();
        for step in &self.steps {
            let printed = terminal.run(&step.typed).await?;
            if !is_as_written(&step.printed, &printed)? {
                differences += &format!("$ {}--- is to print\n{}--- prints\n{printed}\n", step.typed, step.printed);
            }
        }
        if differences.is_empty() { Ok(()) } else { bail!(differences) }
    }

    /// The transcript as it really is: what is printed as was written stays, with its marks.
    ///
    /// # Errors
    /// When a command cannot be run.
    pub async fn taken_anew(&self, terminal: &Terminal<'_>) -> anyhow::Result<String> {
        let mut text = String::new();
        for step in &self.steps {
            let printed = terminal.run(&step.typed).await?;
            let kept = if is_as_written(&step.printed, &printed)? { step.printed.clone() } else { printed };
            text += &format!("{}$ {}\n{kept}", step.remark, step.typed.trim_end().replace('\n', "\n> "));
        }
        Ok(text)
    }
}

impl Terminal<'_> {
    /// What a command prints, with its exit code if it is not 0.
    async fn run(&self, typed: &str) -> anyhow::Result<String> {
        let mut shell = Command::new("bash");
        shell.arg("-c").arg(format!("exec 2>&1\n{typed}")).current_dir(self.folder);
        shell.envs(self.variables.iter().map(|(name, value)| (name, value)));
        shell.stdin(Stdio::null()).kill_on_drop(true);
        let output = crate::until_within(crate::DEADLINE, typed, async { Ok(shell.output().await?) }).await?;
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        if !printed.is_empty() && !printed.ends_with('\n') {
            printed.push('\n');
        }
        if let Some(code) = output.status.code().filter(|code| *code != 0) {
            printed += &format!("[{code}]\n");
        }
        // An empty line would end what is printed.
        Ok(printed
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| format!("{}\n", line.trim_end()))
            .collect())
    }
}

/// Whether `printed` is what `written` says, marks and widths aside.
fn is_as_written(written: &str, printed: &str) -> anyhow::Result<bool> {
    let mut pattern = String::from("^");
    for line in written.lines() {
        if line.trim() == "<lines>" {
            pattern += r"(?:.*\n)*?";
            continue;
        }
        let line = regex::escape(&squeezed(line));
        let line = line.replace("<age>", r"(?:\d+[smhdy])+").replace("<any>", r"\S+").replace("<rest>", ".*");
        pattern += &format!("{line}\n");
    }
    pattern += "$";
    let printed: String = printed.lines().map(|line| format!("{}\n", squeezed(line))).collect();
    Ok(Regex::new(&pattern).context("a mark in a transcript")?.is_match(&printed))
}

/// A line with one space for each run of them.
fn squeezed(line: &str) -> String {
    let indented = if line.starts_with(' ') { " " } else { "" };
    format!("{indented}{}", line.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_is_printed_is_compared_as_a_person_would() {
        for (written, printed, same) in [
            ("NAME AGE\na <age>\n", "NAME   AGE\na      3m5s\n", true),
            ("a <any> c\n", "a b c\n", true),
            ("a <any> c\n", "a b b c\n", false),
            ("a: <rest>\n", "a: b c\n", true),
            ("a\n<lines>\nb\n", "a\nx\ny\nb\n", true),
            ("a\n<lines>\nb\n", "a\nb\n", true),
            ("  a (b)\n", "    a (b)\n", true),
            ("a\n", "a\nb\n", false),
            ("", "", true),
        ] {
            assert_eq!(is_as_written(written, printed).unwrap(), same, "{written}{printed}");
        }
    }

    #[tokio::test]
    async fn a_transcript_is_played() {
        let text = "# What is typed.\n\n$ cat <<E; exit 3\n> hello\n> E\nhello\n[3]\n\n# Then:\n$ echo $X >&2\n1\n";
        let folder = tempfile::tempdir().unwrap();
        let terminal = Terminal { folder: folder.path(), variables: vec![("X", "1".to_owned())] };
        let transcript = Transcript::parse(text).unwrap();
        transcript.play(&terminal).await.unwrap();
        assert_eq!(transcript.taken_anew(&terminal).await.unwrap(), text);
        let wrong = Transcript::parse("$ echo a\nb\n").unwrap();
        assert!(wrong.play(&terminal).await.unwrap_err().to_string().contains("--- prints\na\n"));
    }
}
