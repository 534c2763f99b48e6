//! Alerts as they come and go.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Filter, PATH, columns, resource, server, status, urgency};
use crate::client::{Client, ClientError, Events};
use crate::render::{Output, clean, print, say, table, word};

/// Shortest and longest time until a lost stream is asked for again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Which events are shown.
struct Wanted {
    statuses: Option<Vec<String>>,
    severities: Option<Vec<String>>,
    numbers: Vec<(&'static str, String)>,
}

/// Shows what is open, and from then on every change; ends when it may not go on.
pub(super) async fn run(client: &Client, output: Output, filter: &Filter) -> Result<(), ClientError> {
    let query = filter.query(client).await?;
    let wanted = Wanted::of(filter, &query);
    // Listening comes before looking: what happens in between is in both rather than in none.
    let mut events = client.listen(&format!("{PATH}/events"), &[]).await?;
    look(client, output, filter, query.clone()).await?;
    loop {
        match follow(&mut events, output, &wanted).await {
            // It ends by itself now and then, and when more happened than it could hold.
            Ok(()) => {}
            Err(ClientError::Unreachable { .. }) => say("the stream was lost; asking for it again")?,
            Err(error) => return Err(error),
        }
        events = again(client).await?;
        look(client, output, filter, query.clone()).await?;
    }
}

/// Shows every event until the stream ends or has lost some.
async fn follow(events: &mut Events, output: Output, wanted: &Wanted) -> Result<(), ClientError> {
    while let Some((name, alert)) = events.next().await? {
        match name.as_str() {
            "alert" if wanted.takes(&alert) => print(&line(output, &alert))?,
            // Looking at what is open shows what came of it.
            "missed" => return Ok(()),
            _ => {}
        }
    }
    Ok(())
}

/// Asks until the controller answers; a refusal is the end.
async fn again(client: &Client) -> Result<Events, ClientError> {
    let mut pause = AGAIN.0;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN.1);
        match client.listen(&format!("{PATH}/events"), &[]).await {
            Ok(events) => return Ok(events),
            Err(ClientError::Unreachable { .. }) => {}
            // It starts, or something before it says that it is away.
            Err(ClientError::Refused(refusal)) if refusal.status.is_server_error() => {}
            Err(error) => return Err(error),
        }
    }
}

/// Shows what is open now.
async fn look(
    client: &Client,
    output: Output,
    filter: &Filter,
    mut query: Vec<(&'static str, String)>,
) -> Result<(), ClientError> {
    query.extend(
        filter
            .status
            .clone()
            .or_else(|| Some("open".to_owned()))
            .map(|status| ("status", status)),
    );
    let (mut items, _) = client.first(PATH, &query, filter.limit as usize).await?;
    items.sort_by_key(|item| urgency(&item["severity"]));
    match output {
        Output::Table if items.is_empty() => say("no alert is open"),
        Output::Table => print(&table(&items, &columns())),
        Output::Json | Output::Yaml => {
            let lines: String = items.iter().map(|item| line(output, item)).collect();
            print(&lines)
        }
    }
}

/// One change in a line; for programs the alert as JSON in one line, or as a document of YAML.
fn line(output: Output, alert: &Value) -> String {
    match output {
        Output::Table => {
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
            let (id, severity) = (word(&alert["id"]), word(&alert["severity"]));
            let text = format!(
                "{now}  {:<12} {severity:<8} {id:>5}  {}  {}  {}",
                status(alert),
                server(alert),
                resource(alert),
                word(&alert["message"])
            );
            format!("{}\n", clean(&text).replace('\n', " "))
        }
        Output::Json => format!("{alert}\n"),
        Output::Yaml => format!("---\n{}", serde_norway::to_string(alert).unwrap_or_default()),
    }
}

impl Wanted {
    fn of(filter: &Filter, query: &[(&'static str, String)]) -> Self {
        let words = |text: &Option<String>| {
            let text = text.as_deref()?;
            Some(text.split(',').map(|word| word.trim().to_owned()).collect())
        };
        Self {
            statuses: words(&filter.status),
            severities: words(&filter.severity),
            numbers: query
                .iter()
                .filter(|(name, _)| name.ends_with("_id"))
                .cloned()
                .collect(),
        }
    }

    fn takes(&self, alert: &Value) -> bool {
        let is_open = ["active", "acknowledged"].contains(&alert["status"].as_str().unwrap_or_default());
        let is_one_of = |words: &Option<Vec<String>>, value: &Value| {
            words.as_ref().is_none_or(|words| {
                words
                    .iter()
                    .any(|word| value == word.as_str() || word == "open" && is_open)
            })
        };
        is_one_of(&self.statuses, &alert["status"])
            && is_one_of(&self.severities, &alert["severity"])
            && self
                .numbers
                .iter()
                .all(|(name, number)| word(&alert[*name]) == *number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_filter_takes_is_shown_in_one_line_that_steers_nothing() {
        let filter = Filter {
            severity: Some("warning,critical".to_owned()),
            ..Filter::default()
        };
        let wanted = Wanted::of(&filter, &[("server_id", "3".to_owned())]);
        let mut alert = json!({"id": 7, "server_id": 3, "severity": "critical", "status": "resolved",
            "message": "x\u{1b}[2J\ny"});
        assert!(wanted.takes(&alert));
        let shown = line(Output::Table, &alert);
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 1, "{shown}");
        assert_eq!(line(Output::Json, &alert).lines().count(), 1);
        alert["severity"] = json!("info");
        assert!(!wanted.takes(&alert));
        let open = Filter {
            status: Some("open".to_owned()),
            ..Filter::default()
        };
        let wanted = Wanted::of(&open, &[]);
        assert!(!wanted.takes(&alert) && wanted.takes(&json!({"status": "active"})));
    }
}
