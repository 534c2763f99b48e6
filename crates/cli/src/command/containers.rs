//! `muster containers`: what runs on the fleet, what can be done with it, and what it writes.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::confirm::confirm;
use super::follow::follow;
use crate::client::{Client, ClientError, Common, given};
use crate::render::{Column, Output, clean, print, say, word};

const PATH: &str = "/api/containers";

/// Containers: list, show, start, stop, restart, pause, unpause, remove, logs, why one is not updated, and what is missing.
#[derive(Debug, Args)]
pub(crate) struct Containers {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    filter: Filter,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which containers are listed.
#[derive(Debug, Default, Args)]
struct Filter {
    /// Only with this status: running, exited, paused, restarting, created, dead or unknown.
    #[arg(long, global = true)]
    status: Option<String>,
    /// Only of the runtime with this id.
    #[arg(long, global = true, value_name = "ID")]
    host: Option<i64>,
    /// Only those that an update is there for.
    #[arg(long, global = true)]
    updates: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them; what `containers` alone does too.
    List,
    /// Lists the runtimes that they run on.
    Hosts,
    /// Shows one: all that is known of it.
    Show(One),
    /// Starts one.
    Start(One),
    /// Stops one.
    Stop(One),
    /// Stops and starts one.
    Restart(One),
    /// Freezes one.
    Pause(One),
    /// Lets one go on.
    Unpause(One),
    /// Removes one, never its volumes.
    #[command(visible_alias = "rm")]
    Remove {
        #[command(flatten)]
        one: One,
        /// Even while it runs.
        #[arg(long)]
        force: bool,
        /// Without asking.
        #[arg(long)]
        yes: bool,
    },
    /// Lists those that are missing.
    Missing,
    /// Says that one which is gone is meant to be: it is not told as missing any more.
    Forget(One),
    /// Prints the end of what one wrote.
    Logs {
        #[command(flatten)]
        one: One,
        /// The last so many lines.
        #[arg(long, default_value_t = 100)]
        tail: u32,
        /// Not before this time, RFC 3339.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
    },
    /// Says why one is updated or not, step by step.
    Explain(One),
}

/// A container.
#[derive(Debug, Args)]
struct One {
    /// Its id, or its name if only one has it.
    container: String,
}

impl Containers {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        let filter = self.filter;
        match self.command {
            None | Some(Command::List) => list(&client, output, &filter).await,
            Some(Command::Hosts) => output.list(&client.list(&format!("{PATH}/hosts"), &[]).await?, &hosts()),
            Some(Command::Show(one)) => output.one(&client.get(&one.path(&client).await?, &[]).await?),
            Some(Command::Start(one)) => one.act(&client, output, "start").await,
            Some(Command::Stop(one)) => one.act(&client, output, "stop").await,
            Some(Command::Restart(one)) => one.act(&client, output, "restart").await,
            Some(Command::Pause(one)) => one.act(&client, output, "pause").await,
            Some(Command::Unpause(one)) => one.act(&client, output, "unpause").await,
            Some(Command::Remove { one, force, yes }) => {
                let what = format!("This removes the container {}; its volumes stay", one.container);
                confirm(yes, &what, &one.container)?;
                one.ask(&client, output, "remove", &json!({"force": force})).await
            }
            Some(Command::Missing) => {
                output.list(&client.list(&format!("{PATH}/missing"), &[]).await?, &missing())
            }
            Some(Command::Forget(one)) => forget(&client, output, &one.container).await,
            Some(Command::Logs { one, tail, since }) => one.logs(&client, output, tail, since).await,
            Some(Command::Explain(one)) => one.explain(&client, output).await,
        }
    }
}

async fn list(client: &Client, output: Output, filter: &Filter) -> Result<(), ClientError> {
    let query = given([
        ("status", filter.status.clone()),
        ("host_id", filter.host.map(|id| id.to_string())),
        ("update_available", filter.updates.then(|| "true".to_owned())),
    ]);
    let items = client.list(PATH, &query).await?;
    output.list(&items, &columns())
}

fn columns() -> [Column; 8] {
    [
        Column::field("ID", "id"),
        Column::new("SERVER", |item| {
            word(item.get("hostname").unwrap_or(&item["server_id"]))
        }),
        Column::field("NAME", "name"),
        Column::field("IMAGE", "image"),
        Column::field("STATUS", "status"),
        Column::field("HEALTH", "health"),
        Column::field("RESTARTS", "restart_count"),
        Column::field("UPDATE", "update_available"),
    ]
}

fn missing() -> [Column; 6] {
    [
        Column::field("ID", "id"),
        Column::field("SERVER", "hostname"),
        Column::field("NAME", "name"),
        Column::field("IMAGE", "image"),
        Column::age("GONE", "gone_at"),
        Column::field("FORGOTTEN BY", "forgotten_by"),
    ]
}

/// One that is gone is listed nowhere else, so a name is looked for among those that are missing.
async fn forget(client: &Client, output: Output, container: &str) -> Result<(), ClientError> {
    let id = match container.parse() {
        Ok(id) => id,
        Err(_) => only(&client.list(&format!("{PATH}/missing"), &[]).await?, container)?,
    };
    let (_, answer) = client.post(&format!("{PATH}/{id}/forget"), &json!({})).await?;
    match output {
        Output::Table => say(&format!(
            "{container} is not told as missing any more, unless it comes back and goes again"
        )),
        Output::Json | Output::Yaml => output.value(&answer),
    }
}

fn hosts() -> [Column; 7] {
    [
        Column::field("ID", "id"),
        Column::field("NAME", "name"),
        Column::field("RUNTIME", "runtime_type"),
        Column::field("VERSION", "version"),
        Column::field("STATUS", "status"),
        Column::field("RUNNING", "containers_running"),
        Column::field("CONTAINERS", "containers_total"),
    ]
}

impl One {
    /// Where it is in the API.
    async fn path(&self, client: &Client) -> Result<String, ClientError> {
        Ok(format!("{PATH}/{}", resolve(client, &self.container).await?))
    }

    async fn act(&self, client: &Client, output: Output, deed: &str) -> Result<(), ClientError> {
        self.ask(client, output, deed, &json!({})).await
    }

    async fn ask(
        &self,
        client: &Client,
        output: Output,
        deed: &str,
        body: &Value,
    ) -> Result<(), ClientError> {
        let path = self.path(client).await?;
        let (_, answer) = client.post(&format!("{path}/{deed}"), body).await?;
        follow(client, output, &answer).await
    }

    async fn logs(
        &self,
        client: &Client,
        output: Output,
        tail: u32,
        since: Option<String>,
    ) -> Result<(), ClientError> {
        let path = self.path(client).await?;
        let query = given([("tail", Some(tail.to_string())), ("since", since)]);
        let answer = client.get(&format!("{path}/logs"), &query).await?;
        let Some(lines) = answer["result"]["lines"].as_array() else {
            return Err(ClientError::UnderWay(
                "the server has not answered yet; `muster commands` shows what becomes of it".to_owned(),
            ));
        };
        if output != Output::Table {
            return output.value(&answer);
        }
        let text: String = lines
            .iter()
            .map(|line| {
                format!(
                    "{}\n",
                    clean(line["text"].as_str().unwrap_or_default()).trim_end()
                )
            })
            .collect();
        print(&text)
    }

    async fn explain(&self, client: &Client, output: Output) -> Result<(), ClientError> {
        let path = self.path(client).await?;
        let explanation = client.get(&format!("{path}/explain"), &[]).await?;
        if output != Output::Table {
            return output.value(&explanation);
        }
        print(&told(&explanation))
    }
}

/// An explanation in lines: what was decided, and each step with its words.
fn told(explanation: &Value) -> String {
    let because: Vec<String> = explanation["because"]
        .as_array()
        .into_iter()
        .flatten()
        .map(word)
        .collect();
    let mut text = clean(&format!(
        "{}{}{}\n",
        word(&explanation["decision"]).replace('_', " "),
        if because.is_empty() { "" } else { ": " },
        because.join("; ")
    ));
    for step in explanation["steps"].as_array().into_iter().flatten() {
        let (outcome, rule, words) = (word(&step["outcome"]), word(&step["rule"]), word(&step["words"]));
        text.push_str(&clean(&format!("  {outcome:<8} {rule:<18} {words}\n")));
    }
    text
}

/// The id of a container that is named by its id or name.
pub(super) async fn resolve(client: &Client, container: &str) -> Result<i64, ClientError> {
    if let Ok(id) = container.parse() {
        return Ok(id);
    }
    only(&client.list(PATH, &[]).await?, container)
}

/// The id of the only one with a name.
fn only(all: &[Value], container: &str) -> Result<i64, ClientError> {
    let mut named = all.iter().filter(|item| item["name"] == container);
    match (named.next().and_then(|item| item["id"].as_i64()), named.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => Err(ClientError::Usage(format!(
            "several containers are called {container:?}: say which by its id"
        ))),
        (None, _) => Err(ClientError::NotFound(format!(
            "there is no container {container:?}"
        ))),
    }
}
