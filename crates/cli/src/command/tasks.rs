//! `muster tasks`: what the controller does by itself again and again.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{ClientError, Common};
use crate::render::{Column, Output, say, word};

const PATH: &str = "/api/infrastructure/scheduler";

/// What the controller does by itself again and again: list, run one now.
#[derive(Debug, Args)]
pub(crate) struct Tasks {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them; what `tasks` alone does too.
    List,
    /// Runs one now.
    Run {
        /// Its name.
        name: String,
    },
}

impl Tasks {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        match self.command {
            None | Some(Command::List) => {
                let status = client.get(&format!("{PATH}/status"), &[]).await?;
                if output != Output::Table {
                    return output.value(&status);
                }
                let tasks = status["tasks"].as_array().cloned().unwrap_or_default();
                output.list(&tasks, &columns())
            }
            Some(Command::Run { name }) => {
                if name.is_empty()
                    || !name
                        .chars()
                        .all(|sign| sign.is_ascii_alphanumeric() || "_-".contains(sign))
                {
                    return Err(ClientError::NotFound(format!("there is no task {name:?}")));
                }
                let (_, answer) = client
                    .post(&format!("{PATH}/tasks/{name}/run"), &json!({}))
                    .await?;
                match output {
                    Output::Table => say(&format!("{name} was told to run")),
                    Output::Json | Output::Yaml => output.value(&answer),
                }
            }
        }
    }
}

fn columns() -> [Column; 7] {
    [
        Column::field("NAME", "name"),
        Column::new("EVERY", |task| {
            task["every_s"].as_u64().map_or_else(
                || "-".to_owned(),
                |seconds| humantime::format_duration(std::time::Duration::from_secs(seconds)).to_string(),
            )
        }),
        Column::age("LAST RUN", "last_run"),
        Column::new("TOOK", |task| match &task["duration_ms"] {
            Value::Null => "-".to_owned(),
            took => format!("{} ms", word(took)),
        }),
        Column::field("OUTCOME", "outcome"),
        Column::age("NEXT RUN", "next_run"),
        Column::field("ERROR", "error"),
    ]
}
