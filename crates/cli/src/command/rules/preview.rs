//! Trying a rule: what would fire, or would have fired.

use std::time::Duration;

use camino::Utf8Path;
use serde_json::Value;

use super::{PATH, changes, file, find, path};
use crate::client::{Client, ClientError};
use crate::render::{Column, Output, age, clean, print, say, table, word};

/// Tries a rule that is there, or one of a file.
pub(super) async fn run(
    client: &Client,
    output: Output,
    rule: Option<&str>,
    file: Option<&Utf8Path>,
    with: &[String],
    over: Option<Duration>,
) -> Result<(), ClientError> {
    let query: Vec<_> = over
        .map(|over| ("over", format!("{}s", over.as_secs())))
        .into_iter()
        .collect();
    let answer = match (rule, file) {
        (Some(rule), _) => {
            let path = format!("{}/test", path(&find(client, rule).await?));
            client.post_to(&path, &query, &changes(with)?).await?
        }
        (None, Some(file)) => {
            client
                .post_to(&format!("{PATH}/test"), &query, &file::object(file)?)
                .await?
        }
        (None, None) => return Err(ClientError::Usage("say which rule, or --file".to_owned())),
    };
    if output != Output::Table {
        return output.value(&answer);
    }
    let alerts = answer["alerts"].as_array().cloned().unwrap_or_default();
    say(&sentence(&answer))?;
    if alerts.is_empty() {
        return Ok(());
    }
    print(&table(&alerts, &columns()))?;
    match answer["more"].as_u64().unwrap_or(0) {
        0 => Ok(()),
        more => say(&format!("and {more} more")),
    }
}

/// What came of it in words. What could not be judged is said: silence is no good news then.
fn sentence(answer: &Value) -> String {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    let mut text = format!(
        "{}\n{} samples looked at",
        clean(&word(&answer["message"])),
        count("samples")
    );
    let silent = count("judged").saturating_sub(count("known"));
    if 0 < silent {
        text.push_str(&format!(
            "; of {silent} of {} things there is no number now",
            count("judged")
        ));
    }
    if answer["cut"] == true {
        text.push_str("; there was more than is looked at in one go, so not all of it was judged");
    }
    text
}

fn columns() -> [Column; 7] {
    [
        Column::new("SERVER", |alert| match &alert["server_name"] {
            Value::Null => word(&alert["server_id"]),
            name => word(name),
        }),
        Column::new("OF", |alert| match &alert["resource_name"] {
            Value::Null => "-".to_owned(),
            name => format!("{} {}", word(&alert["resource_type"]), word(name)),
        }),
        Column::field("SEVERITY", "severity"),
        Column::field("VALUE", "metric_value"),
        Column::field("BOUND", "threshold"),
        Column::age("FROM", "started_at"),
        Column::new("TO", |alert| match &alert["ended_at"] {
            Value::Null if alert["pending"] == true => "not yet long enough".to_owned(),
            Value::Null => "goes on".to_owned(),
            ended => age(ended),
        }),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_not_judged_is_said() {
        let answer = json!({"message": "of 4 things judged 0 would alert now", "judged": 4, "known": 1, "samples": 9,
            "cut": true});
        let told = sentence(&answer);
        assert!(
            told.contains("of 3 of 4 things there is no number") && told.contains("not all"),
            "{told}"
        );
        let told = sentence(&json!({"message": "fired", "judged": 4, "known": 4, "samples": 400}));
        assert_eq!(told, "fired\n400 samples looked at");
    }

    #[test]
    fn an_alert_that_goes_on_is_told_from_one_that_is_over_and_one_that_waits() {
        let shown = table(
            &[
                json!({"server_name": "web", "ended_at": null, "pending": false}),
                json!({"server_name": "db", "ended_at": null, "pending": true}),
                json!({"server_name": "mail", "ended_at": "2020-01-01T00:00:00Z"}),
            ],
            &columns(),
        );
        for part in ["goes on", "not yet long enough", " d ago"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    }
}
