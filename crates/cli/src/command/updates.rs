//! `muster updates`: what containers could be updated to, who wants it, and what became of it.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::confirm::confirm;
use super::containers;
use super::follow::follow;
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, Output, say, word};

const PATH: &str = "/api/containers/updates";
const ROLLOUTS: &str = "/api/containers/rollouts";
const FREEZE: &str = "/api/containers/freeze";

/// Updates of containers: list, check, approve, reject, run, roll back, history, roll-outs, and the switch that stops all.
#[derive(Debug, Args)]
pub(crate) struct Updates {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists what containers could be updated to; what `updates` alone does too.
    List,
    /// Asks the registries now.
    Check,
    /// Says that one is wanted.
    Approve {
        /// Its id.
        id: i64,
        /// Why; goes into its record.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Says that one is not wanted.
    Reject {
        /// Its id.
        id: i64,
        /// Why; goes into its record.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Updates a container now, and shows how far it is.
    Run {
        /// The container's id, or its name if only one has it.
        container: String,
        /// Only say what would be done.
        #[arg(long)]
        dry_run: bool,
        /// Without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Goes back to what the last update of a container replaced.
    Rollback {
        /// The container's id, or its name if only one has it.
        container: String,
        /// Without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Lists what was updated, and what became of it.
    History {
        /// Only of this container, by id or name.
        #[arg(long, value_name = "CONTAINER")]
        container: Option<String>,
    },
    /// Lists the roll-outs.
    Rollouts,
    /// Stops every update, for everybody, until `unfreeze`.
    Freeze {
        /// Why; everybody who wonders is shown it.
        reason: String,
    },
    /// Lets updates go on.
    Unfreeze,
}

impl Updates {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        match self.command {
            None | Some(Command::List) => list(&client, output).await,
            Some(Command::Check) => {
                let (_, answer) = client.post(&format!("{PATH}/check"), &json!({})).await?;
                said(
                    output,
                    &answer,
                    "the registries are asked; `muster updates` shows what they have",
                )
            }
            Some(Command::Approve { id, note }) => decide(&client, output, id, "approve", &note).await,
            Some(Command::Reject { id, note }) => decide(&client, output, id, "reject", &note).await,
            Some(Command::Run {
                container,
                dry_run,
                yes,
            }) => {
                let id = containers::resolve(&client, &container).await?;
                confirm(
                    yes || dry_run,
                    &format!("This replaces the container {container}"),
                    &container,
                )?;
                let path = format!("{PATH}/{id}/execute");
                let (_, answer) = client.post(&path, &json!({"dry_run": dry_run})).await?;
                follow(&client, output, &answer).await
            }
            Some(Command::Rollback { container, yes }) => {
                let id = containers::resolve(&client, &container).await?;
                confirm(
                    yes,
                    &format!("This takes back the last update of {container}"),
                    &container,
                )?;
                let (_, answer) = client.post(&format!("{PATH}/{id}/rollback"), &json!({})).await?;
                follow(&client, output, &answer).await
            }
            Some(Command::History { container }) => history(&client, output, container).await,
            Some(Command::Rollouts) => output.list(&client.list(ROLLOUTS, &[]).await?, &rollouts()),
            Some(Command::Freeze { reason }) => {
                let body = json!({"frozen": true, "reason": reason});
                let answer = client.change(Method::PUT, FREEZE, &body).await?;
                said(
                    output,
                    &answer,
                    "nothing is updated until `muster updates unfreeze`",
                )
            }
            Some(Command::Unfreeze) => {
                let answer = client
                    .change(Method::PUT, FREEZE, &json!({"frozen": false, "reason": ""}))
                    .await?;
                said(output, &answer, "updates go on")
            }
        }
    }
}

fn said(output: Output, answer: &Value, words: &str) -> Result<(), ClientError> {
    match output {
        Output::Table => say(words),
        Output::Json | Output::Yaml => output.value(answer),
    }
}

async fn list(client: &Client, output: Output) -> Result<(), ClientError> {
    let freeze = client.get(FREEZE, &[]).await?;
    if freeze["frozen"] == true && output == Output::Table {
        say(&format!("nothing is updated: {}", word(&freeze["reason"])))?;
    }
    output.list(&client.list(PATH, &[]).await?, &columns())
}

async fn decide(client: &Client, output: Output, id: i64, deed: &str, note: &str) -> Result<(), ClientError> {
    let (_, answer) = client
        .post(&format!("{PATH}/{id}/{deed}"), &json!({"note": note}))
        .await?;
    match output {
        Output::Table => output.list(&[answer], &columns()),
        Output::Json | Output::Yaml => output.value(&answer),
    }
}

async fn history(client: &Client, output: Output, container: Option<String>) -> Result<(), ClientError> {
    let mut query = Vec::new();
    if let Some(container) = container {
        let id = containers::resolve(client, &container).await?;
        query.push(("container_id", id.to_string()));
    }
    let (items, _) = client.first(&format!("{PATH}/history"), &query, 100).await?;
    output.list(&items, &past())
}

fn columns() -> [Column; 7] {
    [
        Column::field("ID", "id"),
        Column::field("CONTAINER", "container_name"),
        Column::field("FROM", "from_image"),
        Column::field("TO", "to_image"),
        Column::field("CHANGE", "change"),
        Column::field("STATE", "status"),
        Column::field("WHY", "reason"),
    ]
}

fn past() -> [Column; 7] {
    [
        Column::age("WHEN", "started_at"),
        Column::field("CONTAINER", "container_name"),
        Column::field("TYPE", "update_type"),
        Column::field("FROM", "from_image"),
        Column::field("TO", "to_image"),
        Column::field("STATUS", "status"),
        Column::field("ERROR", "error_message"),
    ]
}

fn rollouts() -> [Column; 6] {
    [
        Column::field("ID", "id"),
        Column::field("NAME", "name"),
        Column::field("IMAGE", "image"),
        Column::field("STATE", "state"),
        Column::field("WAVE", "wave"),
        Column::field("REASON", "reason"),
    ]
}
