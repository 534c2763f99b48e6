//! `muster channels`: where news of alerts go, and what became of them.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::confirm::confirm;
use super::file;
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, say, word};

const PATH: &str = "/api/channels";
const DELIVERIES: &str = "/api/deliveries";

/// Where news of alerts go: list, show, add, change, test, delete; and what was delivered.
#[derive(Debug, Args)]
pub(crate) struct Channels {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them.
    List,
    /// Shows one; its secrets are never shown.
    Show {
        /// Its id or name.
        channel: String,
    },
    /// Adds one.
    Add {
        /// File with name, kind, settings, secrets and options in YAML or JSON; `-` reads it from standard input.
        #[arg(value_name = "FILE")]
        file: Utf8PathBuf,
    },
    /// Changes one: what the file does not name stays.
    Change {
        /// Its id or name.
        channel: String,
        /// File with what is to change in YAML or JSON; `-` reads it from standard input.
        #[arg(value_name = "FILE")]
        file: Utf8PathBuf,
    },
    /// Sends a test and shows what the other side says.
    Test {
        /// Its id or name.
        channel: String,
    },
    /// Lets one be told again.
    Enable {
        /// Its id or name.
        channel: String,
    },
    /// Tells one nothing more, and drops what waits for it.
    Disable {
        /// Its id or name.
        channel: String,
    },
    /// Deletes one, and drops what waits for it.
    Delete {
        /// Its id or name.
        channel: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Lists what was delivered, waits, or was given up, the newest first.
    Deliveries {
        /// Only to this channel, by id or name.
        #[arg(long)]
        channel: Option<String>,
        /// Only of this alert.
        #[arg(long, value_name = "ID")]
        alert: Option<i64>,
        /// Only in this state.
        #[arg(long, value_parser = ["waiting", "sent", "dead", "dropped", "skipped", "muted"])]
        state: Option<String>,
    },
    /// Sends again what was given up.
    Retry {
        /// Id of the delivery.
        delivery: i64,
    },
}

impl Channels {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        let shown = match self.command {
            Command::List => {
                let columns = [
                    Column::field("ID", "id"),
                    Column::field("NAME", "name"),
                    Column::field("KIND", "kind"),
                    Column::field("ENABLED", "enabled"),
                    Column::field("TARGET", "target"),
                ];
                return output.list(&client.list(PATH, &[]).await?, &columns);
            }
            Command::Show { channel } => find(&client, &channel).await?,
            Command::Add { file } => client.post(PATH, &file::object(&file)?).await?.1,
            Command::Change { channel, file } => change(&client, &channel, &file::object(&file)?).await?,
            Command::Enable { channel } => change(&client, &channel, &json!({"enabled": true})).await?,
            Command::Disable { channel } => change(&client, &channel, &json!({"enabled": false})).await?,
            Command::Test { channel } => {
                let path = format!("{}/test", path(&find(&client, &channel).await?));
                let (status, tested) = client.post(&path, &json!({})).await?;
                if status == StatusCode::ACCEPTED {
                    let what = "the other side has not answered yet: see `muster channels deliveries`";
                    return Err(ClientError::UnderWay(what.to_owned()));
                }
                tested
            }
            Command::Delete { channel, yes } => {
                let found = find(&client, &channel).await?;
                let name = word(&found["name"]);
                confirm(yes, &format!("this deletes the channel {name}"), &name)?;
                client.delete(&path(&found)).await?;
                return say(&format!("deleted {name}"));
            }
            Command::Deliveries {
                channel,
                alert,
                state,
            } => {
                let query = query(&client, channel, alert, state).await?;
                let items = client.list(DELIVERIES, &query).await?;
                return output.list(&items, &delivery_columns());
            }
            Command::Retry { delivery } => {
                client
                    .post(&format!("{DELIVERIES}/{delivery}/retry"), &json!({}))
                    .await?;
                return say(&format!("delivery {delivery} is sent again"));
            }
        };
        output.one(&shown)
    }
}

fn delivery_columns() -> [Column; 7] {
    [
        Column::field("ID", "id"),
        Column::age("CHANGED", "updated_at"),
        Column::field("CHANNEL", "channel_id"),
        Column::field("STATE", "state"),
        Column::field("TRIES", "attempts"),
        Column::field("TITLE", "title"),
        Column::field("ANSWER", "answer"),
    ]
}

async fn query(
    client: &Client,
    channel: Option<String>,
    alert: Option<i64>,
    state: Option<String>,
) -> Result<Vec<(&'static str, String)>, ClientError> {
    let mut query = Vec::new();
    if let Some(channel) = channel {
        query.push(("channel_id", word(&find(client, &channel).await?["id"])));
    }
    query.extend(alert.map(|alert| ("alert_id", alert.to_string())));
    query.extend(state.map(|state| ("state", state)));
    Ok(query)
}

/// The channel with this id or name.
async fn find(client: &Client, channel: &str) -> Result<Value, ClientError> {
    let all = client.list(PATH, &[]).await?;
    let is_it = |found: &&Value| word(&found["id"]) == channel || word(&found["name"]) == channel;
    all.iter()
        .find(is_it)
        .cloned()
        .ok_or_else(|| ClientError::NotFound(format!("there is no channel {channel}")))
}

fn path(channel: &Value) -> String {
    format!("{PATH}/{}", word(&channel["id"]))
}

async fn change(client: &Client, channel: &str, body: &Value) -> Result<Value, ClientError> {
    let path = path(&find(client, channel).await?);
    client.change(Method::PATCH, &path, body).await
}
