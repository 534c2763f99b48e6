//! One alert, with all that helps whoever was woken by it.

use serde_json::{Value, json};

use super::{PATH, resource, server};
use crate::client::{Client, ClientError};
use crate::render::{Column, Output, age, clean, print, table, word};

/// Deliveries that are shown.
const DELIVERIES_MAX: usize = 50;
/// Things that rest on it that are shown.
const AFFECTED_MAX: usize = 30;
/// Where lines of running text end.
const WIDTH: usize = 96;

/// Shows one.
pub(super) async fn show(client: &Client, output: Output, id: i64) -> Result<(), ClientError> {
    let alert = client.get(&format!("{PATH}/{id}"), &[]).await?;
    let rule = rule(client, &alert["alert_rule_id"]).await?;
    let of_alert = [("alert_id", id.to_string())];
    let (deliveries, total) = client.first("/api/deliveries", &of_alert, DELIVERIES_MAX).await?;
    if output != Output::Table {
        return output.value(&json!({"alert": alert, "rule": rule, "deliveries": deliveries}));
    }
    let channels = client.list("/api/channels", &[]).await?;
    let mut text = describe(&alert, &rule);
    text.push_str(&told(&deliveries, total, &channels));
    print(&text)
}

/// The rule; null if it is not there any more.
async fn rule(client: &Client, id: &Value) -> Result<Value, ClientError> {
    let path = format!("/api/infrastructure/alert-rules/{}", word(id));
    match client.get(&path, &[]).await {
        Ok(rule) => Ok(rule),
        Err(ClientError::Refused(refusal)) if refusal.code == "rule_not_found" => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

fn describe(alert: &Value, rule: &Value) -> String {
    let mut lines = vec![format!(
        "{}, {}: {}",
        word(&alert["severity"]).to_uppercase(),
        word(&alert["status"]),
        word(&alert["message"])
    )];
    let mut fact = |term: &str, value: String| {
        if value != "-" {
            lines.push(format!("  {term:<14}{value}"));
        }
    };
    fact("Server", server(alert));
    fact("Of", resource(alert));
    fact("Labels", labels(&alert["labels"]));
    fact("Holds since", time(&alert["started_at"]));
    fact("Active since", time(&alert["triggered_at"]));
    fact(
        "Known",
        said(alert, "acknowledged_by", "acknowledged_at", "acknowledged_note"),
    );
    fact("Waits until", word(&alert["snoozed_until"]));
    fact("Over", over(alert));
    fact("Told last", time(&alert["notified_at"]));
    if alert["late"] == true {
        fact(
            "Late",
            "it was judged by what came long after it was measured".to_owned(),
        );
    }
    if !alert["inside_alert_id"].is_null() {
        let inside = format!(
            "named in alert {}, which tells of both",
            word(&alert["inside_alert_id"])
        );
        fact("Inside", inside);
    }
    let mut text = clean(&lines.join("\n"));
    text.push_str("\n\n");
    text.push_str(&meaning(alert, rule));
    text.push_str(&affected(&alert["affected"]));
    text
}

fn over(alert: &Value) -> String {
    if alert["resolved"] != true {
        return "-".to_owned();
    }
    let why = match alert["resolution"].as_str() {
        Some("cleared") => "the condition does not hold any more",
        Some("manual") => "somebody said so",
        Some("gone") => "what it is about is not there any more",
        Some("no_data") => "nothing was heard of it for a week",
        Some("rule_changed") => "the rule judges something else now",
        Some("rule_gone") => "the rule was deleted or switched off",
        _ => "-",
    };
    let who = said(alert, "resolved_by", "resolved_at", "resolution_notes");
    match who.as_str() {
        "-" => format!("{}: {why}", time(&alert["resolved_at"])),
        _ => format!("{who}: {why}"),
    }
}

fn said(alert: &Value, by: &str, at: &str, note: &str) -> String {
    if alert[by].is_null() {
        return "-".to_owned();
    }
    let note = alert[note]
        .as_str()
        .map(|note| format!(": {note:?}"))
        .unwrap_or_default();
    format!("by {}, {}{note}", word(&alert[by]), time(&alert[at]))
}

fn time(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        value => format!("{} ({})", word(value), age(value)),
    }
}

fn labels(labels: &Value) -> String {
    let labels: Vec<String> = labels
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", word(value)))
        .collect();
    if labels.is_empty() {
        "-".to_owned()
    } else {
        labels.join(", ")
    }
}

fn meaning(alert: &Value, rule: &Value) -> String {
    if rule.is_null() {
        return format!(
            "The rule {} is not there any more.\n",
            clean(&word(&alert["rule_name"]))
        );
    }
    let mut text = format!("Rule {}: {}\n", word(&rule["id"]), clean(&word(&rule["name"])));
    if let Some(description) = rule["description"].as_str().filter(|text| !text.is_empty()) {
        text.push_str(&wrapped(&clean(description), WIDTH));
    }
    if let Some(runbook) = rule["runbook"].as_str() {
        text.push_str(&format!("  What to do: {}\n", clean(runbook)));
    }
    text
}

/// Running text in lines that are not too long, each a little in.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    for paragraph in text.lines() {
        let mut line = String::from(" ");
        for word in paragraph.split_whitespace() {
            if width < line.chars().count() + 1 + word.chars().count() && 1 < line.len() {
                out.push_str(&line);
                out.push('\n');
                line = String::from(" ");
            }
            line.push(' ');
            line.push_str(word);
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn affected(affected: &Value) -> String {
    let Some(all) = affected.as_array().filter(|all| !all.is_empty()) else {
        return String::new();
    };
    let mut text = String::from("\nWhat rests on it\n");
    for one in all.iter().take(AFFECTED_MAX) {
        text.push_str(&clean(&format!(
            "  {} {}\n",
            word(&one["kind"]),
            word(&one["name"])
        )));
    }
    if AFFECTED_MAX < all.len() {
        text.push_str(&format!("  and {} more\n", all.len() - AFFECTED_MAX));
    }
    text
}

fn told(deliveries: &[Value], total: usize, channels: &[Value]) -> String {
    if deliveries.is_empty() {
        return "\nNobody was told of it.\n".to_owned();
    }
    let rows: Vec<Value> = deliveries
        .iter()
        .map(|delivery| {
            let channel = channels
                .iter()
                .find(|channel| channel["id"] == delivery["channel_id"])
                .map_or_else(
                    || delivery["channel_id"].clone(),
                    |channel| channel["name"].clone(),
                );
            json!({"at": delivery["updated_at"], "kind": delivery["kind"], "channel": channel,
                "state": delivery["state"], "attempts": delivery["attempts"], "answer": delivery["answer"]})
        })
        .collect();
    let columns = [
        Column::age("  TOLD", "at"),
        Column::field("OF", "kind"),
        Column::field("CHANNEL", "channel"),
        Column::field("STATE", "state"),
        Column::field("TRIES", "attempts"),
        Column::field("ANSWER", "answer"),
    ];
    let more = match total.saturating_sub(deliveries.len()) {
        0 => String::new(),
        more => format!("and {more} more: `muster channels deliveries --alert ID`\n"),
    };
    format!("\n{}{more}", table(&rows, &columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_told_with_what_it_means_what_rests_on_it_and_who_was_told() {
        let alert = json!({"id": 7, "alert_rule_id": 2, "rule_name": "Disk is failing", "severity": "critical",
            "status": "acknowledged", "message": "Disk is failing: health is 3, the bound is 2",
            "server_id": 3, "server_name": "web", "resource_type": "device", "resource_name": "sda\u{1b}[2J",
            "labels": {"device": "sda"}, "started_at": "2026-01-01T00:00:00Z",
            "acknowledged_by": "ann", "acknowledged_at": "2026-01-01T00:05:00Z", "acknowledged_note": "on my way",
            "affected": [{"kind": "pool", "name": "tank"}], "late": true, "inside_alert_id": 6});
        let rule = json!({"id": 2, "name": "Disk is failing", "description": "word ".repeat(60),
            "runbook": "https://wiki.example.com/disk"});
        let text = describe(&alert, &rule);
        for part in [
            "CRITICAL, acknowledged: Disk is failing",
            "web",
            "device sda\u{fffd}[2J",
            "by ann",
            "\"on my way\"",
            "What to do: https://wiki.example.com/disk",
            "  pool tank",
            "named in alert 6",
            "long after",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\u{1b}'));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let channels = [json!({"id": 1, "name": "pager"})];
        let deliveries = [
            json!({"channel_id": 1, "state": "sent", "kind": "firing", "attempts": 1, "answer": "202",
            "updated_at": "2026-01-01T00:00:01Z"}),
        ];
        let told = told(&deliveries, 60, &channels);
        assert!(
            told.contains("pager") && told.contains("202") && told.contains("and 59 more"),
            "{told}"
        );
    }

    #[test]
    fn an_answer_of_any_shape_is_survived() {
        for odd in [
            Value::Null,
            json!([]),
            json!({"labels": 5, "affected": {"a": 1}, "resolved": true}),
        ] {
            let text = describe(&odd, &odd);
            assert!(!text.is_empty());
            assert!(!told(std::slice::from_ref(&odd), 0, &[]).is_empty());
        }
        assert!(describe(&json!({"rule_name": "x"}), &Value::Null).contains("not there any more"));
    }
}
