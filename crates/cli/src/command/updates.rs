//! `muster updates`: what containers could be updated to, who wants it, and what became of it.

use std::time::Duration;

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::confirm::confirm;
use super::containers;
use super::follow::{Line, follow};
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, Output, clean, say, word};

const PATH: &str = "/api/containers/updates";
const ROLLOUTS: &str = "/api/containers/rollouts";
const FREEZE: &str = "/api/containers/freeze";
/// How often it is looked whether an update has its command, and how many times.
const BEGIN_EVERY: Duration = Duration::from_millis(250);
const BEGIN_TRIES: u32 = 40;

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
            Some(Command::Check) => check(&client, output).await,
            Some(Command::Approve { id, note }) => decide(&client, output, id, "approve", &note).await,
            Some(Command::Reject { id, note }) => decide(&client, output, id, "reject", &note).await,
            Some(Command::Run {
                container,
                dry_run,
                yes,
            }) => run(&client, output, &container, dry_run, yes).await,
            Some(Command::Rollback { container, yes }) => {
                let what = format!("This takes back the last update of {container}");
                let update = newest(&client, &container, |state| state == "completed").await?;
                confirm(yes, &what, &container)?;
                begin(&client, output, &format!("{PATH}/{update}/rollback")).await
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

/// Has the registries asked, and shows how far that is until it is over.
pub(super) async fn check(client: &Client, output: Output) -> Result<(), ClientError> {
    let path = format!("{PATH}/check");
    let (_, mut round) = client.post(&path, &json!({})).await?;
    // One that goes on already and does not ask about everything is followed by one that does.
    let follows = u64::from(round["followed_by_another"] == true);
    let wanted = round["round"].as_u64().unwrap_or(0) + follows;
    let mut line = Line::default();
    while is_asked(&round, wanted) {
        line.show(&format!(
            "asked about {} of {} images",
            word(&round["asked"]),
            word(&round["images"])
        ))?;
        tokio::time::sleep(BEGIN_EVERY).await;
        round = client.get(&path, &[]).await?;
    }
    line.end()?;
    if round["state"] == "failed" {
        return Err(ClientError::Failed(clean(&format!(
            "the registries could not be asked: {}",
            word(&round["error"])
        ))));
    }
    let words = format!(
        "asked about {} images, {} of them without an answer; `muster updates` shows what there is",
        word(&round["asked"]),
        word(&round["failed"])
    );
    said(output, &round, &words)
}

fn is_asked(round: &Value, wanted: u64) -> bool {
    let number = round["round"].as_u64();
    number.is_some_and(|number| number < wanted) || (number == Some(wanted) && round["state"] == "running")
}

async fn run(
    client: &Client,
    output: Output,
    container: &str,
    dry_run: bool,
    yes: bool,
) -> Result<(), ClientError> {
    let is_open = |state: &str| {
        matches!(
            state,
            "pending" | "approved" | "rejected" | "failed" | "rolled_back" | "unknown"
        )
    };
    let update = newest(client, container, is_open).await?;
    let path = format!("{PATH}/{update}/execute");
    if dry_run {
        return begin(client, output, &format!("{path}?dry_run=true")).await;
    }
    confirm(
        yes,
        &format!("This replaces the container {container}"),
        container,
    )?;
    begin(client, output, &path).await
}

/// The id of a container's newest update in one of these states.
async fn newest(client: &Client, container: &str, wanted: impl Fn(&str) -> bool) -> Result<i64, ClientError> {
    let id = containers::resolve(client, container).await?;
    let all = client.list(PATH, &[("container_id", id.to_string())]).await?;
    let found = all
        .iter()
        .filter(|update| update["state"].as_str().is_some_and(&wanted))
        .filter_map(|update| update["id"].as_i64())
        .max();
    found.ok_or_else(|| {
        ClientError::NotFound(format!(
            "there is no such update of {container}; `muster containers explain {container}` says why"
        ))
    })
}

/// Has it begun, and follows the command as soon as there is one.
async fn begin(client: &Client, output: Output, path: &str) -> Result<(), ClientError> {
    let (_, mut answer) = client.post(path, &json!({})).await?;
    let mut tries = 0;
    while answer["command_id"].is_null() && answer["state"] == "in_progress" && tries < BEGIN_TRIES {
        tokio::time::sleep(BEGIN_EVERY).await;
        answer = client.get(&format!("{PATH}/{}", answer["id"]), &[]).await?;
        tries += 1;
    }
    follow(client, output, &answer).await
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
        Column::field("STATE", "state"),
        Column::new("WHY", |item| {
            let said = [&item["refused"], &item["unknown"]];
            said.into_iter()
                .find(|said| !said.is_null())
                .map_or_else(|| "-".to_owned(), word)
        }),
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
        Column::new("ERROR", |item| match item["status"].as_str() {
            Some("unknown") => word(&item["execution_log"]),
            _ => word(&item["error_message"]),
        }),
    ]
}

fn rollouts() -> [Column; 6] {
    [
        Column::field("ID", "id"),
        Column::field("NAME", "name"),
        Column::field("STATE", "state"),
        Column::field("WAVE", "wave"),
        Column::new("DONE", |item| {
            format!("{} of {}", word(&item["completed"]), word(&item["total"]))
        }),
        Column::field("REASON", "reason"),
    ]
}
