//! `muster alerts`: what is wrong, and saying that one knows, that it is over, or that it can wait.

mod describe;
mod watch;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{rules, servers};
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, Output, print, say, word};

const PATH: &str = "/api/infrastructure/alerts";
/// Most rounds of a deed on all alerts; a round has a thousand.
const ROUNDS_MAX: usize = 100;
/// How many a round has.
const ROUND: u64 = 1_000;

/// Alerts: list, show, acknowledge, resolve, snooze. Without a word, those that are open, the worst first.
#[derive(Debug, Args)]
pub(crate) struct Alerts {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    filter: Filter,
    /// Goes on and shows what happens as it happens.
    #[arg(long)]
    watch: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which alerts are meant.
#[derive(Debug, Default, Args)]
struct Filter {
    /// All of them: in a list also those that are over or not yet active; else every one that the other words leave.
    #[arg(long, global = true)]
    all: bool,
    /// Only with this status: pending, active, acknowledged, resolved or open; several with commas.
    #[arg(long, global = true, conflicts_with = "all")]
    status: Option<String>,
    /// Only with this severity: info, warning or critical; several with commas.
    #[arg(long, global = true)]
    severity: Option<String>,
    /// Only of this server, by id or name.
    #[arg(long, global = true, value_name = "SERVER")]
    on: Option<String>,
    /// Only of this resource, by id.
    #[arg(long, global = true, value_name = "ID")]
    resource: Option<i64>,
    /// Only of this rule, by id or name.
    #[arg(long, global = true)]
    rule: Option<String>,
    /// Only what began within this time, such as `7d`.
    #[arg(long, global = true, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// Most that are listed.
    #[arg(long, global = true, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them; what `alerts` alone does too.
    List,
    /// Shows one: what it means, what to do, what rests on it, who was told.
    Show {
        /// Its id.
        id: i64,
    },
    /// Says that somebody knows: no reminders any more.
    #[command(visible_alias = "acknowledge")]
    Ack {
        /// Their ids; or `--all`, perhaps with a filter.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<i64>,
        /// What there is to say.
        #[arg(long)]
        note: Option<String>,
    },
    /// Says that it is over. If it is not, it opens again after the rule's cooldown.
    Resolve {
        /// Their ids; or `--all`, perhaps with a filter.
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<i64>,
        /// What there is to say.
        #[arg(long)]
        note: Option<String>,
    },
    /// Lets one wait: nobody is reminded of it for a time.
    Snooze {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<i64>,
        /// For how long, such as `2h`.
        #[arg(
            long = "for",
            value_name = "TIME",
            required_unless_present = "until",
            conflicts_with = "until"
        )]
        for_time: Option<String>,
        /// Until when, RFC 3339.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// Counts them.
    Stats,
}

impl Filter {
    /// As parameters of the API, without the status.
    async fn query(&self, client: &Client) -> Result<Vec<(&'static str, String)>, ClientError> {
        let mut query = Vec::new();
        query.extend(self.severity.clone().map(|severity| ("severity", severity)));
        query.extend(self.resource.map(|id| ("resource_id", id.to_string())));
        if let Some(server) = &self.on {
            query.push(("server_id", servers::resolve(client, server).await?.to_string()));
        }
        if let Some(rule) = &self.rule {
            query.push(("alert_rule_id", word(&rules::find(client, rule).await?["id"])));
        }
        if let Some(since) = self.since {
            let now_ms = jiff::Timestamp::now().as_millisecond();
            let since_ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
            let start = jiff::Timestamp::from_millisecond(now_ms.saturating_sub(since_ms).max(0));
            query.extend(start.ok().map(|start| ("start", start.to_string())));
        }
        Ok(query)
    }

    /// Which statuses are listed.
    fn status(&self) -> Option<String> {
        match &self.status {
            Some(status) => Some(status.clone()),
            None if self.all => None,
            None => Some("open".to_owned()),
        }
    }
}

impl Alerts {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        match self.command {
            None | Some(Command::List) if self.watch => watch::run(&client, output, &self.filter).await,
            _ if self.watch => Err(ClientError::Usage("only a list can be watched".to_owned())),
            None | Some(Command::List) => list(&client, output, &self.filter).await,
            Some(Command::Show { id }) => describe::show(&client, output, id).await,
            Some(Command::Ack { ids, note }) => {
                let body = json!({"note": note});
                deed(
                    &client,
                    output,
                    &self.filter,
                    &ids,
                    ("acknowledge", "acknowledged"),
                    &body,
                )
                .await
            }
            Some(Command::Resolve { ids, note }) => {
                let body = json!({"note": note});
                deed(
                    &client,
                    output,
                    &self.filter,
                    &ids,
                    ("resolve", "resolved"),
                    &body,
                )
                .await
            }
            Some(Command::Snooze { ids, for_time, until }) => {
                let body = match for_time {
                    Some(time) => json!({"for": time}),
                    None => json!({"until": until}),
                };
                deed(&client, output, &self.filter, &ids, ("snooze", "snoozed"), &body).await
            }
            Some(Command::Stats) => output.one(&client.get(&format!("{PATH}/stats"), &[]).await?),
        }
    }
}

async fn list(client: &Client, output: Output, filter: &Filter) -> Result<(), ClientError> {
    let mut query = filter.query(client).await?;
    let status = filter.status();
    query.extend(status.clone().map(|status| ("status", status)));
    let (mut items, total) = client.first(PATH, &query, filter.limit as usize).await?;
    if output != Output::Table {
        return output.list(&items, &[]);
    }
    if status.as_deref() == Some("open") {
        // The API gives the newest first, which is kept among those that are equally bad.
        items.sort_by_key(|item| urgency(&item["severity"]));
    }
    if items.is_empty() && status.as_deref() == Some("open") {
        return say("no alert is open");
    }
    output.list(&items, &columns())?;
    match total.saturating_sub(items.len()) {
        0 => Ok(()),
        more => say(&format!("and {more} more; --limit shows them")),
    }
}

/// What is to be seen first: the smaller, the earlier.
fn urgency(severity: &Value) -> u8 {
    match severity.as_str() {
        Some("critical") => 0,
        Some("warning") => 1,
        _ => 2,
    }
}

fn columns() -> [Column; 7] {
    [
        Column::field("ID", "id"),
        Column::field("SEVERITY", "severity"),
        Column::new("STATUS", status),
        Column::new("SERVER", server),
        Column::new("OF", resource),
        Column::age("SINCE", "started_at"),
        Column::field("WHAT", "message"),
    ]
}

fn status(alert: &Value) -> String {
    let status = word(&alert["status"]);
    if !alert["snoozed_until"].is_null() && alert["resolved"] != true {
        return format!("{status}, snoozed");
    }
    status
}

/// The server of an alert, by name if that is told.
fn server(alert: &Value) -> String {
    match (&alert["server_name"], &alert["server_id"]) {
        (Value::String(name), _) => name.clone(),
        (_, Value::Null) => "several".to_owned(),
        (_, id) => word(id),
    }
}

/// What an alert is about, by name if that is told.
fn resource(alert: &Value) -> String {
    if alert["resource_type"] == "server" || alert["resource_type"].is_null() {
        return "-".to_owned();
    }
    let name = match &alert["resource_name"] {
        Value::Null => word(&alert["resource_id"]),
        name => word(name),
    };
    format!("{} {name}", word(&alert["resource_type"]))
}

/// Does something to each of some alerts, or to all that the filter takes.
async fn deed(
    client: &Client,
    output: Output,
    filter: &Filter,
    ids: &[i64],
    (verb, done): (&str, &str),
    body: &Value,
) -> Result<(), ClientError> {
    if !ids.is_empty() {
        let mut changed = Vec::new();
        for id in ids {
            let (_, alert) = client.post(&format!("{PATH}/{id}/{verb}"), body).await?;
            if output == Output::Table {
                say(&format!("{done} {id}: {}", word(&alert["message"])))?;
            }
            changed.push(alert);
        }
        return match output {
            Output::Table => Ok(()),
            Output::Json | Output::Yaml => output.value(&Value::Array(changed)),
        };
    }
    let query = filter.query(client).await?;
    let mut changed = 0;
    for _ in 0..ROUNDS_MAX {
        let answer = client
            .post_to(&format!("{PATH}/{verb}-all"), &query, body)
            .await?;
        let round = answer["changed"].as_u64().unwrap_or(0);
        changed += round;
        if round < ROUND {
            break;
        }
    }
    match output {
        Output::Table => print(&format!("{done} {changed}\n")),
        Output::Json | Output::Yaml => output.value(&json!({"changed": changed})),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        alerts: Alerts,
    }

    fn parse(words: &[&str]) -> Result<Alerts, clap::Error> {
        Line::try_parse_from([&["x"], words].concat()).map(|line| line.alerts)
    }

    #[test]
    fn the_open_ones_are_listed_unless_something_else_is_said() {
        let status = |words: &[&str]| parse(words).unwrap().filter.status();
        assert_eq!(status(&[]), Some("open".to_owned()));
        assert_eq!(status(&["list"]), Some("open".to_owned()));
        assert_eq!(status(&["--all"]), None);
        assert_eq!(
            status(&["list", "--status", "resolved"]),
            Some("resolved".to_owned())
        );
        assert!(parse(&["--all", "--status", "resolved"]).is_err());
    }

    #[test]
    fn a_deed_names_alerts_or_says_all_and_never_neither() {
        for verb in ["ack", "acknowledge", "resolve"] {
            assert!(parse(&[verb]).is_err(), "{verb}");
            assert!(parse(&[verb, "5", "--all"]).is_err(), "{verb}");
            assert!(parse(&[verb, "5", "6", "--note", "x"]).is_ok(), "{verb}");
            assert!(
                parse(&[verb, "--all", "--on", "web"]).unwrap().filter.all,
                "{verb}"
            );
        }
        assert!(parse(&["snooze", "5"]).is_err());
        assert!(parse(&["snooze", "5", "--for", "2h", "--until", "2027-01-01T00:00:00Z"]).is_err());
        assert!(parse(&["snooze", "5", "6", "--for", "2h"]).is_ok());
    }

    #[test]
    fn an_alert_is_named_by_what_is_known_of_it() {
        let known = json!({"server_id": 3, "server_name": "web", "resource_type": "device", "resource_id": 9,
            "resource_name": "sda", "status": "active", "snoozed_until": "2027-01-01T00:00:00Z"});
        assert_eq!(
            (server(&known), resource(&known), status(&known)),
            (
                "web".to_owned(),
                "device sda".to_owned(),
                "active, snoozed".to_owned()
            )
        );
        let bare = json!({"server_id": 3, "resource_type": "device", "resource_id": 9, "status": "resolved"});
        assert_eq!(
            (server(&bare), resource(&bare), status(&bare)),
            ("3".to_owned(), "device 9".to_owned(), "resolved".to_owned())
        );
        assert_eq!(server(&json!({})), "several");
        assert_eq!(
            resource(&json!({"resource_type": "server", "resource_id": 3})),
            "-"
        );
    }
}
