//! `muster silences`: when, and of what, nobody is told.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{rules, servers};
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, Output, age, say, word};

const PATH: &str = "/api/infrastructure/silences";

/// Silences and maintenance windows: list, add, end. What is judged goes on; only news wait.
#[derive(Debug, Args)]
pub(crate) struct Silences {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them; what `silences` alone does too.
    List,
    /// Adds one: once with --for or --until, again and again with --cron, or with --from and --to.
    Add(Box<Add>),
    /// Ends one: what is active and untold is told now.
    #[command(visible_alias = "rm")]
    Delete {
        /// Their ids.
        #[arg(required = true)]
        ids: Vec<i64>,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("when").required(true).args(["for_time", "until", "cron", "from"]))]
#[command(group = ArgGroup::new("scope").required(true).multiple(true).args(["on", "tags", "resources", "rules", "everything"]))]
struct Add {
    /// What or why it is.
    name: String,
    /// Of this server, by id or name; can be given several times.
    #[arg(long, value_name = "SERVER")]
    on: Vec<String>,
    /// Of servers with this tag; can be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Of this resource and what rests on it, by id; can be given several times.
    #[arg(long = "resource", value_name = "ID")]
    resources: Vec<i64>,
    /// Of this rule, by id or name; can be given several times.
    #[arg(long = "rule", value_name = "RULE")]
    rules: Vec<String>,
    /// Of everything.
    #[arg(long, conflicts_with_all = ["on", "tags", "resources", "rules"])]
    everything: bool,
    /// Once, for so long, such as `2h`.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    for_time: Option<Duration>,
    /// Once, until then, RFC 3339.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// When that one begins, RFC 3339; now if not given.
    #[arg(long, value_name = "TIME", conflicts_with_all = ["cron", "from"])]
    starts: Option<String>,
    /// Again and again at the times of this cron expression, such as `0 3 * * TUE`.
    #[arg(long, value_name = "EXPRESSION", requires = "duration")]
    cron: Option<String>,
    /// How long each time of --cron lasts, such as `2h`.
    #[arg(long, value_name = "TIME", requires = "cron")]
    duration: Option<String>,
    /// On these days, such as `mon,tue`; every day if not given.
    #[arg(long, value_name = "DAYS", value_delimiter = ',', requires = "from")]
    days: Vec<String>,
    /// Again and again from this time of day on, such as `22:00`.
    #[arg(long, value_name = "TIME", requires = "to")]
    from: Option<String>,
    /// Up to this time of day, on the next day if that is earlier.
    #[arg(long, value_name = "TIME", requires = "from")]
    to: Option<String>,
    /// Time zone of --cron, --from and --to, such as `Europe/Berlin`; UTC if not given.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["for_time", "until"])]
    timezone: Option<String>,
}

impl Silences {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        match self.command {
            None | Some(Command::List) => output.list(&client.whole(PATH, &[]).await?, &columns()),
            Some(Command::Add(add)) => {
                let scope = add.scope(&client).await?;
                let body = add.body(scope, Timestamp::now())?;
                let (_, made) = client.post(PATH, &body).await?;
                match output {
                    Output::Table => output.list(&[made], &columns()),
                    Output::Json | Output::Yaml => output.value(&made),
                }
            }
            Some(Command::Delete { ids }) => {
                for id in ids {
                    client.delete(&format!("{PATH}/{id}")).await?;
                    say(&format!("ended {id}"))?;
                }
                Ok(())
            }
        }
    }
}

impl Add {
    /// Of what, with names made to numbers.
    async fn scope(&self, client: &Client) -> Result<Value, ClientError> {
        if self.everything {
            return Ok(json!({"everything": true}));
        }
        let mut of_servers = Vec::new();
        for server in &self.on {
            of_servers.push(servers::resolve(client, server).await?);
        }
        let mut of_rules = Vec::new();
        for rule in &self.rules {
            of_rules.push(rules::find(client, rule).await?["id"].clone());
        }
        Ok(json!({"servers": of_servers, "tags": self.tags, "resources": self.resources, "rules": of_rules}))
    }

    /// What the API takes.
    fn body(&self, scope: Value, now: Timestamp) -> Result<Value, ClientError> {
        let mut body = Map::new();
        body.insert("name".to_owned(), json!(self.name));
        body.insert("scope".to_owned(), scope);
        let mut put = |name: &str, value: &Option<String>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), json!(value));
            }
        };
        put("ends", &self.until);
        put("starts", &self.starts);
        put("cron", &self.cron);
        put("duration", &self.duration);
        put("from", &self.from);
        put("to", &self.to);
        put("timezone", &self.timezone);
        if !self.days.is_empty() {
            body.insert("days".to_owned(), json!(self.days));
        }
        if let Some(time) = self.for_time {
            let start = match &self.starts {
                None => now,
                Some(text) => text
                    .parse()
                    .map_err(|_| ClientError::Usage(format!("{text:?} is no time in RFC 3339")))?,
            };
            let ends = start
                .checked_add(time)
                .map_err(|_| ClientError::Usage("that is too long".to_owned()))?;
            body.insert("ends".to_owned(), json!(ends.to_string()));
        }
        Ok(Value::Object(body))
    }
}

fn columns() -> [Column; 6] {
    [
        Column::field("ID", "id"),
        Column::field("NAME", "name"),
        Column::field("ENABLED", "enabled"),
        Column::new("OF", of),
        Column::new("WHEN", when),
        Column::field("BY", "created_by"),
    ]
}

fn of(silence: &Value) -> String {
    let scope = &silence["scope"];
    if scope["everything"] == true {
        return "everything".to_owned();
    }
    let parts: Vec<String> = [
        ("servers", "server"),
        ("tags", "tag"),
        ("resources", "resource"),
        ("rules", "rule"),
    ]
    .into_iter()
    .filter(|(list, _)| scope[*list].as_array().is_some_and(|items| !items.is_empty()))
    .map(|(list, one)| format!("{one} {}", word(&scope[list])))
    .collect();
    parts.join(", ")
}

fn when(silence: &Value) -> String {
    let zone = word(&silence["timezone"]);
    if !silence["cron"].is_null() {
        let (cron, duration) = (word(&silence["cron"]), word(&silence["duration"]));
        return format!("{cron} for {duration}, {zone}");
    }
    if !silence["from"].is_null() {
        let days = word(&silence["days"]);
        let clock = |name: &str| word(&silence[name]).chars().take(5).collect::<String>();
        return format!("{days} {} to {}, {zone}", clock("from"), clock("to"));
    }
    let is_over = |name: &str| {
        let time = silence[name]
            .as_str()
            .and_then(|text| text.parse::<Timestamp>().ok());
        time.is_some_and(|time| time <= Timestamp::now())
    };
    match (is_over("starts"), is_over("ends")) {
        (_, true) => format!("over, {}", age(&silence["ends"])),
        (true, false) => format!("until {} ({})", word(&silence["ends"]), age(&silence["ends"])),
        (false, false) => format!("{} to {}", word(&silence["starts"]), word(&silence["ends"])),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        silences: Silences,
    }

    fn add(words: &[&str]) -> Result<Add, clap::Error> {
        let line = Line::try_parse_from([&["x", "add", "n"], words].concat())?;
        match line.silences.command {
            Some(Command::Add(add)) => Ok(*add),
            _ => unreachable!("the words are add"),
        }
    }

    #[test]
    fn each_form_becomes_what_the_api_takes() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let body = |words: &[&str]| add(words).unwrap().body(json!({}), now).unwrap();
        let once = body(&["--everything", "--for", "2h"]);
        assert_eq!(
            once,
            json!({"name": "n", "scope": {}, "ends": "2026-01-01T02:00:00Z"})
        );
        let later = body(&["--tag", "lab", "--for", "1h", "--starts", "2026-02-01T00:00:00Z"]);
        assert_eq!(later["ends"], "2026-02-01T01:00:00Z");
        let cron = body(&[
            "--on",
            "web",
            "--cron",
            "0 3 * * TUE",
            "--duration",
            "2h",
            "--timezone",
            "Europe/Berlin",
        ]);
        assert_eq!(
            cron,
            json!({"name": "n", "scope": {}, "cron": "0 3 * * TUE", "duration": "2h", "timezone": "Europe/Berlin"})
        );
        let weekly = body(&[
            "--rule", "Load", "--days", "mon,tue", "--from", "22:00", "--to", "06:00",
        ]);
        assert_eq!(
            weekly,
            json!({"name": "n", "scope": {}, "days": ["mon", "tue"], "from": "22:00", "to": "06:00"})
        );
    }

    #[test]
    fn what_does_not_say_when_or_of_what_is_refused() {
        for odd in [
            &[][..],
            &["--everything"],
            &["--for", "2h"],
            &["--everything", "--for", "2h", "--until", "2027-01-01T00:00:00Z"],
            &["--everything", "--tag", "lab", "--for", "2h"],
            &["--everything", "--cron", "0 3 * * *"],
            &["--everything", "--from", "22:00"],
            &["--everything", "--for", "2h", "--timezone", "Europe/Berlin"],
            &["--everything", "--for", "2h", "--days", "mon"],
        ] {
            assert!(add(odd).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn when_and_of_what_are_told_in_words() {
        let weekly = json!({"scope": {"everything": false, "servers": [3], "tags": [], "rules": [1, 2]},
            "days": ["mon"], "from": "22:00:00", "to": "06:00:00", "timezone": "UTC"});
        assert_eq!(of(&weekly), "server 3, rule 1,2");
        assert_eq!(when(&weekly), "mon 22:00 to 06:00, UTC");
        assert_eq!(of(&json!({"scope": {"everything": true}})), "everything");
        let over = json!({"starts": "2020-01-01T00:00:00Z", "ends": "2020-01-02T00:00:00Z"});
        assert!(when(&over).starts_with("over, "), "{}", when(&over));
    }
}
