//! Following a command to its end.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::Value;

use crate::client::{Client, ClientError};
use crate::render::{Output, clean, say, word};

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(500);
/// Width of the bar.
const BAR: usize = 24;

/// Shows how far a command is until it is over, and the whole of it at the end. What did not succeed is an error.
///
/// `answer` is what began it: the command, or something with its id in `command_id`.
pub(super) async fn follow(client: &Client, output: Output, answer: &Value) -> Result<(), ClientError> {
    let Some(id) = answer["command_id"].as_str().or_else(|| answer["id"].as_str()) else {
        return output.value(answer);
    };
    let path = format!("/api/commands/{id}");
    let mut line = Line::default();
    let ended = loop {
        let command = client.get(&path, &[]).await?;
        if is_final(&command) {
            break command;
        }
        line.show(&words_of(&command))?;
        tokio::time::sleep(EVERY).await;
    };
    line.end()?;
    if output != Output::Table {
        output.value(&ended)?;
    }
    let told = format!(
        "{} {}: {}",
        word(&ended["verb"]),
        word(&ended["state"]),
        word(&ended["message"])
    );
    if ended["state"] == "succeeded" {
        return say(&told);
    }
    if ended["state"] == "unknown" {
        return Err(ClientError::Failed(clean(&format!(
            "{told}; nobody knows yet whether it was done: what the agent says later counts"
        ))));
    }
    Err(ClientError::Failed(clean(&told)))
}

fn is_final(command: &Value) -> bool {
    !matches!(
        command["state"].as_str(),
        Some("pending" | "received" | "started")
    )
}

/// One line that is written over, on a terminal; elsewhere a line for each step.
#[derive(Default)]
pub(super) struct Line {
    last: String,
}

/// How far a command is, in words.
fn words_of(command: &Value) -> String {
    let bar = command["progress"].as_f64().map_or_else(String::new, bar);
    let step = command["step"].as_str().filter(|step| !step.is_empty());
    let step = step.unwrap_or(command["state"].as_str().unwrap_or("pending"));
    let message = command["message"].as_str().unwrap_or_default();
    format!("{bar}{step}: {message}")
}

impl Line {
    pub(super) fn show(&mut self, text: &str) -> Result<(), ClientError> {
        let text = clean(text).replace('\n', " ");
        if io::stderr().is_terminal() {
            let cut: String = text.chars().take(100).collect();
            write!(io::stderr(), "\r\u{1b}[K{cut}")
                .and_then(|()| io::stderr().flush())
                .map_err(|source| ClientError::Output { source })?;
        } else if text != self.last {
            say(&text)?;
        }
        self.last = text;
        Ok(())
    }

    pub(super) fn end(&self) -> Result<(), ClientError> {
        if !self.last.is_empty() && io::stderr().is_terminal() {
            write!(io::stderr(), "\r\u{1b}[K").map_err(|source| ClientError::Output { source })?;
        }
        Ok(())
    }
}

fn bar(progress: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a short bar"
    )]
    let full = (progress.clamp(0.0, 1.0) * BAR as f64) as usize;
    format!("[{}{}] ", "#".repeat(full), ".".repeat(BAR - full))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_bar_is_as_full_as_the_work_is_done() {
        assert_eq!(bar(0.5), format!("[{}{}] ", "#".repeat(12), ".".repeat(12)));
        assert_eq!(bar(7.0), format!("[{}] ", "#".repeat(24)));
    }

    #[test]
    fn an_unknown_state_is_an_end() {
        assert!(!is_final(&json!({"state": "started"})));
        assert!(is_final(&json!({"state": "unknown"})));
        assert!(is_final(&json!({})));
    }
}
