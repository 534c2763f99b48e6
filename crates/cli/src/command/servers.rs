//! `muster servers`: the machines that are watched.

use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::confirm::confirm;
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, print, say, word};

const PATH: &str = "/api/infrastructure/servers";

/// Servers: list, show, add, change, collect, delete.
#[derive(Debug, Args)]
pub(crate) struct Servers {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them.
    List {
        /// Only those with this status: online, late, offline, never_seen, failing or disabled.
        #[arg(long)]
        status: Option<String>,
    },
    /// Shows one, with all that is known of it.
    Show {
        /// Its id, or its name if only one has it.
        server: String,
    },
    /// Adds one, and prints what to type there to enrol its agent.
    Add {
        /// Its name.
        name: String,
        /// What it is for.
        #[arg(long)]
        description: Option<String>,
        /// A tag; can be given several times.
        #[arg(long = "tag", value_name = "TAG")]
        tags: Vec<String>,
    },
    /// Gives one another name.
    Rename {
        /// Its id, or its name if only one has it.
        server: String,
        /// The new name.
        name: String,
    },
    /// Sets the time between its collections.
    Interval {
        /// Its id, or its name if only one has it.
        server: String,
        /// In seconds; `own` leaves it to the agent's own settings.
        seconds: String,
    },
    /// Watches it again.
    Enable {
        /// Ids, or names if only one has it.
        #[arg(required = true)]
        servers: Vec<String>,
    },
    /// Stops watching it: its agent stays connected and collects nothing.
    Disable {
        /// Ids, or names if only one has it.
        #[arg(required = true)]
        servers: Vec<String>,
    },
    /// Has its agent collect now and waits for that.
    Collect {
        /// Its id, or its name if only one has it.
        server: String,
    },
    /// Deletes one: its agent's identity is revoked for good; its history stays until it is too old.
    Delete {
        /// Its id, or its name if only one has it.
        server: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

impl Servers {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        match self.command {
            Command::List { status } => {
                let query: Vec<_> = status.map(|status| ("status", status)).into_iter().collect();
                output.list(&client.list(PATH, &query).await?, &columns())
            }
            Command::Show { server } => {
                let id = resolve(&client, &server).await?;
                output.one(&client.get(&format!("{PATH}/{id}"), &[]).await?)
            }
            Command::Add {
                name,
                description,
                tags,
            } => {
                let body = json!({"hostname": name, "description": description, "tags": tags});
                let (_, made) = client.post(PATH, &body).await?;
                if output != crate::render::Output::Table {
                    return output.value(&made);
                }
                say(&format!(
                    "added server {}; type this on it before {}:",
                    word(&made["id"]),
                    word(&made["enrolment_token_expires_at"])
                ))?;
                print(&format!(
                    "{}\n",
                    crate::render::clean(&word(&made["install_command"]))
                ))
            }
            Command::Rename { server, name } => {
                output.one(&patch(&client, &server, json!({"hostname": name})).await?)
            }
            Command::Interval { server, seconds } => {
                let seconds = interval(&seconds)?;
                output.one(&patch(&client, &server, json!({"collection_interval": seconds})).await?)
            }
            Command::Enable { servers } => set_monitoring(&client, &servers, true).await,
            Command::Disable { servers } => set_monitoring(&client, &servers, false).await,
            Command::Collect { server } => collect(&client, &server).await,
            Command::Delete { server, yes } => delete(&client, &server, yes).await,
        }
    }
}

fn columns() -> [Column; 8] {
    [
        Column::field("ID", "id"),
        Column::field("NAME", "hostname"),
        Column::field("STATUS", "status"),
        Column::age("LAST SEEN", "last_seen"),
        Column::field("DEVICES", "device_count"),
        Column::field("POOLS", "pool_count"),
        Column::field("AGENT", "agent_version"),
        Column::field("TAGS", "tags"),
    ]
}

/// The id of the server that is meant: by id, or by a name that only one has.
pub(crate) async fn resolve(client: &Client, server: &str) -> Result<i64, ClientError> {
    if let Ok(id) = server.parse() {
        return Ok(id);
    }
    let found = client.list(PATH, &[("hostname", server.to_owned())]).await?;
    let ids: Vec<i64> = found.iter().filter_map(|item| item["id"].as_i64()).collect();
    match ids[..] {
        [] => Err(ClientError::NotFound(format!(
            "there is no server {server:?}; `muster servers list` shows them"
        ))),
        [id] => Ok(id),
        _ => {
            let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
            Err(ClientError::Usage(format!(
                "several servers have the name {server:?}: say which of {}",
                ids.join(", ")
            )))
        }
    }
}

fn interval(text: &str) -> Result<Value, ClientError> {
    if text == "own" {
        return Ok(Value::Null);
    }
    let seconds: Result<u32, _> = text.trim_end_matches('s').parse();
    seconds
        .map(Value::from)
        .map_err(|_| ClientError::Usage(format!("{text:?} is no number of seconds, and not `own`")))
}

async fn patch(client: &Client, server: &str, change: Value) -> Result<Value, ClientError> {
    let id = resolve(client, server).await?;
    client
        .change(Method::PATCH, &format!("{PATH}/{id}"), &change)
        .await
}

async fn set_monitoring(client: &Client, servers: &[String], is_on: bool) -> Result<(), ClientError> {
    for server in servers {
        let mut change = Map::new();
        change.insert("monitoring_enabled".to_owned(), is_on.into());
        let changed = patch(client, server, Value::Object(change)).await?;
        let now = if is_on { "watched" } else { "not watched" };
        say(&format!("{} is {now}", word(&changed["hostname"])))?;
    }
    Ok(())
}

async fn collect(client: &Client, server: &str) -> Result<(), ClientError> {
    let id = resolve(client, server).await?;
    let (status, answer) = client.post(&format!("{PATH}/{id}/collect"), &Value::Null).await?;
    let message = word(&answer["message"]);
    if status == StatusCode::ACCEPTED {
        return Err(ClientError::UnderWay(format!("it still collects: {message}")));
    }
    if answer["success"] == Value::Bool(true) {
        say("collected")
    } else {
        Err(ClientError::Failed(format!(
            "not everything could be collected: {message}"
        )))
    }
}

async fn delete(client: &Client, server: &str, is_sure: bool) -> Result<(), ClientError> {
    let id = resolve(client, server).await?;
    let found = client.get(&format!("{PATH}/{id}"), &[]).await?;
    let name = word(&found["hostname"]);
    let what = format!("this deletes server {id} ({name}) and revokes its agent for good");
    confirm(is_sure, &what, &name)?;
    client.delete(&format!("{PATH}/{id}")).await?;
    say(&format!("deleted {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_is_seconds_or_the_agents_own() {
        assert_eq!(interval("30").unwrap(), json!(30));
        assert_eq!(interval("30s").unwrap(), json!(30));
        assert_eq!(interval("own").unwrap(), Value::Null);
        for text in ["", "-1", "1.5", "5m", "s"] {
            assert_eq!(interval(text).unwrap_err().exit_code(), 2, "{text}");
        }
    }
}
