//! `muster commands`: what agents were asked to do, and what became of it.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::confirm::confirm;
use super::servers;
use crate::client::{Client, ClientError, Common, Events};
use crate::render::{Column, Output, clean, print, say, word};

const PATH: &str = "/api/commands";
/// Shortest and longest time until a lost stream is asked for again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What agents were asked to do: list, show, cancel, watch; and the key that signs it.
#[derive(Debug, Args)]
pub(crate) struct Commands {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them, the newest first.
    List {
        /// Only of this server, by id or name.
        #[arg(long, value_name = "SERVER")]
        on: Option<String>,
        /// Only in this state.
        #[arg(long, value_parser = ["pending", "received", "started", "succeeded", "refused", "failed", "expired", "cancelled", "unknown"])]
        state: Option<String>,
        /// Only of this verb, such as container.start.
        #[arg(long)]
        verb: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
    },
    /// Shows one, with what came of it.
    Show {
        /// Its id.
        id: String,
    },
    /// Ends one, as far as it still can be.
    Cancel {
        /// Its id.
        id: String,
    },
    /// Has the controller sign with another key from now on; agents refuse the one before as soon as they know.
    RotateKey {
        /// Without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Shows how one goes on until it is over; 1 if it did not succeed. Without an id, shows all as they go on.
    Watch {
        /// Its id.
        id: Option<String>,
    },
}

impl Commands {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        match self.command {
            Command::List {
                on,
                state,
                verb,
                limit,
            } => {
                let mut query = crate::client::given([("state", state), ("verb", verb)]);
                if let Some(server) = &on {
                    query.push(("server_id", servers::resolve(&client, server).await?.to_string()));
                }
                let (items, _) = client.first(PATH, &query, limit as usize).await?;
                output.list(&items, &columns())
            }
            Command::Show { id } => output.one(&client.get(&path(&id)?, &[]).await?),
            Command::Cancel { id } => {
                let (_, ended) = client.post(&format!("{}/cancel", path(&id)?), &json!({})).await?;
                match ended["state"].as_str() {
                    Some("cancelled") => say(&format!("{id} is cancelled")),
                    _ => say(&format!(
                        "the agent is asked to end it by {}: see `muster commands watch {id}`",
                        word(&ended["id"])
                    )),
                }
            }
            Command::RotateKey { yes } => {
                let what = "This replaces the key that signs commands; agents refuse the one before";
                confirm(yes, what, "the key")?;
                let (_, key) = client.post(&format!("{PATH}/rotate-key"), &json!({})).await?;
                output.one(&key)
            }
            Command::Watch { id } => watch(&client, output, id.as_deref()).await,
        }
    }
}

fn columns() -> [Column; 8] {
    [
        Column::field("ID", "id"),
        Column::age("ASKED", "created_at"),
        Column::field("SERVER", "server_id"),
        Column::field("VERB", "verb"),
        Column::new("ON", target),
        Column::field("STATE", "state"),
        Column::field("BY", "issuer"),
        Column::field("MESSAGE", "message"),
    ]
}

/// What a command is about.
fn target(command: &Value) -> String {
    let asked = &command["command"];
    for value in [
        &asked["target"]["name"],
        &asked["pool"],
        &asked["runtime"],
        &asked["command"],
    ] {
        if let Some(name) = value.as_str() {
            return clean(name);
        }
    }
    String::new()
}

/// The address of a command; an id is a UUID and nothing that could lead elsewhere.
fn path(id: &str) -> Result<String, ClientError> {
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return Err(ClientError::NotFound(format!(
            "there is no command {}",
            clean(id)
        )));
    }
    Ok(format!("{PATH}/{id}"))
}

/// Shows every change; of one command until it is over.
async fn watch(client: &Client, output: Output, id: Option<&str>) -> Result<(), ClientError> {
    let mut pause = AGAIN.0;
    loop {
        // Listening comes before looking: what happens in between is in both rather than in none.
        match client.listen(&format!("{PATH}/events"), &[]).await {
            Ok(mut events) => {
                pause = AGAIN.0;
                if let Some(id) = id
                    && let Some(end) = show(output, &client.get(&path(id)?, &[]).await?)?
                {
                    return end;
                }
                match follow(&mut events, output, id).await {
                    Ok(Some(end)) => return end,
                    Ok(None) => {}
                    Err(ClientError::Unreachable { .. }) => say("the stream was lost; asking for it again")?,
                    Err(error) => return Err(error),
                }
            }
            Err(ClientError::Unreachable { .. }) => {}
            // It starts, or something before it says that it is away.
            Err(ClientError::Refused(refusal)) if refusal.status.is_server_error() => {}
            Err(error) => return Err(error),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN.1);
    }
}

/// How watching one command ended, if it has.
type End = Option<Result<(), ClientError>>;

async fn follow(events: &mut Events, output: Output, id: Option<&str>) -> Result<End, ClientError> {
    while let Some((name, command)) = events.next().await? {
        let is_wanted = id.is_none_or(|id| command["id"] == id);
        match name.as_str() {
            "command" if is_wanted => {
                let end = show(output, &command)?;
                if id.is_some() && end.is_some() {
                    return Ok(end);
                }
            }
            "missed" => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}

/// Shows a command in a line, and says whether it is over.
fn show(output: Output, command: &Value) -> Result<End, ClientError> {
    print(&line(output, command))?;
    Ok(match command["state"].as_str() {
        Some("pending" | "received" | "started") => None,
        Some("succeeded") => Some(Ok(())),
        _ => {
            let why = format!("{}: {}", word(&command["state"]), word(&command["message"]));
            Some(Err(ClientError::Failed(clean(&why))))
        }
    })
}

fn line(output: Output, command: &Value) -> String {
    match output {
        Output::Table => {
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
            let progress = match command["progress"].as_f64() {
                Some(progress) => format!("{:>3.0} %", progress * 100.0),
                None => "     ".to_owned(),
            };
            let text = format!(
                "{now}  {:<10} {progress}  {:<17} {}  {}  {}",
                word(&command["state"]),
                word(&command["verb"]),
                target(command),
                word(&command["step"]),
                word(&command["message"])
            );
            format!("{}\n", clean(&text).replace('\n', " "))
        }
        Output::Json => format!("{command}\n"),
        Output::Yaml => format!("---\n{}", serde_norway::to_string(command).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_one_line_that_steers_nothing() {
        let command = json!({"id": "1", "verb": "container.update", "state": "started", "progress": 0.25,
            "step": "pull", "message": "a\u{1b}[2J\nb", "command": {"target": {"name": "web"}}});
        let shown = line(Output::Table, &command);
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 1, "{shown}");
        assert!(shown.contains(" 25 %") && shown.contains("web"), "{shown}");
    }

    #[test]
    fn an_id_leads_nowhere_else() {
        for odd in ["", "..", "a/b", "x", "%2e"] {
            assert!(path(odd).is_err(), "{odd}");
        }
        assert!(path("018f0000-0000-7000-8000-000000000000").is_ok());
    }
}
