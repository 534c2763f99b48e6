//! `muster rules`: what is judged, and who is told.

mod preview;

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::confirm::confirm;
use super::file;
use crate::client::{Client, ClientError, Common, given};
use crate::render::{Column, Output, print, say, word};

const PATH: &str = "/api/infrastructure/alert-rules";

/// Rules of alerts: list, show, add, set, try, export, import.
#[derive(Debug, Args)]
pub(crate) struct Rules {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them; what `rules` alone does too.
    List {
        /// Only those that judge something.
        #[arg(long, conflicts_with = "disabled")]
        enabled: bool,
        /// Only those that are switched off.
        #[arg(long)]
        disabled: bool,
        /// Only of this kind of resource: server, device, pool and so on.
        #[arg(long, value_name = "KIND")]
        of: Option<String>,
    },
    /// Shows one.
    Show {
        /// Its id or name.
        rule: String,
    },
    /// Adds one.
    Add {
        /// File with the rule in YAML or JSON; `-` reads it from standard input.
        #[arg(short, long, value_name = "FILE")]
        file: Utf8PathBuf,
    },
    /// Changes fields of one; what is not named stays.
    Set {
        /// Its id or name.
        rule: String,
        /// `NAME=VALUE`, such as `threshold=55`, `for=10m`, `channels=[1,2]` or `scope={tags: [lab]}`; `null` takes a
        /// field away.
        #[arg(required = true, value_name = "FIELD=VALUE")]
        fields: Vec<String>,
    },
    /// Lets some judge again.
    Enable {
        /// Their ids or names.
        #[arg(required = true)]
        rules: Vec<String>,
    },
    /// Lets some judge no more; their alerts end.
    Disable {
        /// Their ids or names.
        #[arg(required = true)]
        rules: Vec<String>,
    },
    /// Deletes one; its alerts end.
    #[command(visible_alias = "rm")]
    Delete {
        /// Its id or name.
        rule: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Prints all of them as YAML, as `import` takes it.
    Export,
    /// Makes rules of YAML or JSON, all or none; one whose name is there already is replaced.
    Import {
        /// File; `-` reads it from standard input.
        file: Utf8PathBuf,
    },
    /// Tries one: what would fire now, or would have fired. Nothing is written and nobody is told.
    Test {
        /// Its id or name.
        #[arg(required_unless_present = "file", conflicts_with = "file")]
        rule: Option<String>,
        /// File with a rule that is not there yet; `-` reads it from standard input.
        #[arg(short, long, value_name = "FILE")]
        file: Option<Utf8PathBuf>,
        /// As it would be with this field changed, `NAME=VALUE`; can be given several times.
        #[arg(long, value_name = "FIELD=VALUE", conflicts_with = "file")]
        with: Vec<String>,
        /// Over which time it is tried, such as `7d`; if not given, only now.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        over: Option<Duration>,
    },
}

impl Rules {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        let shown = match self.command {
            None => return list(&client, output, &[]).await,
            Some(Command::List {
                enabled,
                disabled,
                of,
            }) => {
                let is_enabled = (enabled || disabled).then(|| enabled.to_string());
                let query = given([("enabled", is_enabled), ("resource_type", of)]);
                return list(&client, output, &query).await;
            }
            Some(Command::Show { rule }) => find(&client, &rule).await?,
            Some(Command::Add { file }) => client.post(PATH, &file::object(&file)?).await?.1,
            Some(Command::Set { rule, fields }) => {
                let changes = changes(&fields)?;
                change(&client, &rule, &changes).await?
            }
            Some(Command::Enable { rules }) => return switch(&client, output, &rules, true).await,
            Some(Command::Disable { rules }) => return switch(&client, output, &rules, false).await,
            Some(Command::Delete { rule, yes }) => {
                let found = find(&client, &rule).await?;
                let name = word(&found["name"]);
                confirm(
                    yes,
                    &format!("this deletes the rule {name} and ends its alerts"),
                    &name,
                )?;
                client.delete(&path(&found)).await?;
                return say(&format!("deleted {name}"));
            }
            Some(Command::Export) => return export(&client, output).await,
            Some(Command::Import { file }) => return import(&client, output, &file).await,
            Some(Command::Test {
                rule,
                file,
                with,
                over,
            }) => {
                return preview::run(&client, output, rule.as_deref(), file.as_deref(), &with, over).await;
            }
        };
        output.one(&shown)
    }
}

async fn list(client: &Client, output: Output, query: &[(&'static str, String)]) -> Result<(), ClientError> {
    output.list(&client.whole(PATH, query).await?, &columns())
}

fn columns() -> [Column; 7] {
    [
        Column::field("ID", "id"),
        Column::field("NAME", "name"),
        Column::field("ENABLED", "enabled"),
        Column::field("OF", "resource_type"),
        Column::new("CONDITION", condition),
        Column::field("FOR", "for"),
        Column::new("CHANNELS", |rule| match word(&rule["channels"]).as_str() {
            "-" => "all".to_owned(),
            some => some.to_owned(),
        }),
    ]
}

/// What a rule's bounds say.
fn condition(rule: &Value) -> String {
    let sign = match rule["condition"].as_str() {
        Some("gt") => ">",
        Some("gte") => "≥",
        Some("lt") => "<",
        Some("lte") => "≤",
        Some("eq") => "=",
        _ => "≠",
    };
    let severity = word(&rule["severity"]);
    let mut bounds = vec![format!("{sign} {} {severity}", number(&rule["threshold"]))];
    if !rule["critical_threshold"].is_null() {
        bounds.push(format!("{sign} {} critical", number(&rule["critical_threshold"])));
    }
    let (metric, bounds) = (word(&rule["metric_name"]), bounds.join(", "));
    match rule["kind"].as_str() {
        Some("absence") => format!("{metric} is not sent: {severity}"),
        Some("growth") => format!("growth of {metric} in {} {bounds}", word(&rule["window"])),
        Some("forecast") => format!("{metric} in {} {bounds}", word(&rule["horizon"])),
        _ => format!("{metric} {bounds}"),
    }
}

/// A bound without decimals that say nothing.
fn number(value: &Value) -> String {
    let text = word(value);
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// The rule with this id or name.
pub(super) async fn find(client: &Client, rule: &str) -> Result<Value, ClientError> {
    let all = client.whole(PATH, &[]).await?;
    let by_id = all.iter().find(|found| word(&found["id"]) == rule);
    let named: Vec<&Value> = all.iter().filter(|found| found["name"] == rule).collect();
    match (by_id, &named[..]) {
        (Some(found), _) => Ok(found.clone()),
        (None, [found]) => Ok((*found).clone()),
        (None, []) => Err(ClientError::NotFound(format!(
            "there is no rule {rule:?}; `muster rules` shows them"
        ))),
        (None, several) => {
            let ids: Vec<String> = several.iter().map(|found| word(&found["id"])).collect();
            Err(ClientError::Usage(format!(
                "several rules are called {rule:?}: say which of {}",
                ids.join(", ")
            )))
        }
    }
}

fn path(rule: &Value) -> String {
    format!("{PATH}/{}", word(&rule["id"]))
}

async fn change(client: &Client, rule: &str, body: &Value) -> Result<Value, ClientError> {
    let path = path(&find(client, rule).await?);
    client.change(Method::PATCH, &path, body).await
}

/// `NAME=VALUE` as an object; values are YAML.
fn changes(fields: &[String]) -> Result<Value, ClientError> {
    let mut changes = Map::new();
    for field in fields {
        let Some((name, value)) = field.split_once('=') else {
            return Err(ClientError::Usage(format!("{field:?} is not NAME=VALUE")));
        };
        let value: Value = serde_norway::from_str(value)
            .map_err(|error| ClientError::Usage(format!("the value of {name} is no YAML: {error}")))?;
        if changes.insert(name.trim().to_owned(), value).is_some() {
            return Err(ClientError::Usage(format!("{name} is there twice")));
        }
    }
    Ok(Value::Object(changes))
}

async fn switch(
    client: &Client,
    output: Output,
    rules: &[String],
    is_enabled: bool,
) -> Result<(), ClientError> {
    let mut changed = Vec::new();
    for rule in rules {
        let now = change(client, rule, &json!({"enabled": is_enabled})).await?;
        if output == Output::Table {
            let state = if is_enabled { "judges" } else { "is switched off" };
            say(&format!("{} {state}", word(&now["name"])))?;
        }
        changed.push(now);
    }
    match output {
        Output::Table => Ok(()),
        Output::Json | Output::Yaml => output.value(&Value::Array(changed)),
    }
}

async fn export(client: &Client, output: Output) -> Result<(), ClientError> {
    let text = client.text(&format!("{PATH}/export")).await?;
    if output != Output::Json {
        return print(&text);
    }
    let value: Value = serde_norway::from_str(&text).map_err(|_| ClientError::Unclear {
        path: format!("{PATH}/export"),
    })?;
    output.value(&value)
}

async fn import(client: &Client, output: Output, file: &camino::Utf8Path) -> Result<(), ClientError> {
    let mut answer = client
        .post_yaml(&format!("{PATH}/import"), file::text(file)?)
        .await?;
    let items = match answer["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    output.list(&items, &columns())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_set_to_what_yaml_makes_of_them() {
        let fields: Vec<String> = [
            "threshold=55.5",
            "for=10m",
            "channels=[1, 2]",
            "scope={tags: [lab]}",
            "runbook=null",
            "enabled=true",
            "description=a = b",
        ]
        .map(str::to_owned)
        .to_vec();
        assert_eq!(
            changes(&fields).unwrap(),
            json!({"threshold": 55.5, "for": "10m", "channels": [1, 2], "scope": {"tags": ["lab"]}, "runbook": null,
                "enabled": true, "description": "a = b"})
        );
        for odd in [&["threshold"][..], &["a=1", "a=2"], &["scope={"]] {
            let odd: Vec<String> = odd.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(changes(&odd).unwrap_err().exit_code(), 2, "{odd:?}");
        }
    }

    #[test]
    fn conditions_of_every_kind_are_told() {
        for (rule, told) in [
            (
                json!({"kind": "threshold", "metric_name": "t", "condition": "gt", "threshold": 60.0, "severity": "warning",
                    "critical_threshold": 70.5}),
                "t > 60 warning, > 70.5 critical",
            ),
            (
                json!({"kind": "growth", "metric_name": "t", "condition": "gte", "threshold": 1, "severity": "critical",
                    "window": "1day"}),
                "growth of t in 1day ≥ 1 critical",
            ),
            (
                json!({"kind": "absence", "metric_name": "t", "severity": "info"}),
                "t is not sent: info",
            ),
            (
                json!({"kind": "forecast", "metric_name": "t", "condition": "lt", "threshold": 5, "severity": "warning",
                    "horizon": "1day"}),
                "t in 1day < 5 warning",
            ),
        ] {
            assert_eq!(condition(&rule), told);
        }
    }
}
