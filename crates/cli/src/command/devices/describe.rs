//! One disk in words: what it is, the verdict and what that rests on, its attributes, how it wears.

use serde_json::Value;

use crate::render::{Column, clean, size, table, word};

/// Writes a device and its verdict for people.
pub(super) fn describe(device: &Value, verdict: &Value) -> String {
    let mut text = head(device);
    text.push_str(&format!(
        "\nVerdict: {}\n",
        words(verdict, "health").to_uppercase()
    ));
    for reason in list(verdict, "reasons") {
        let mark = match reason.get("health").and_then(Value::as_str) {
            Some("healthy") => "note",
            Some(other) => other,
            None => "?",
        };
        text.push_str(&format!("  [{}] {}\n", clean(mark), words(reason, "text")));
    }
    text.push_str(&decisions(verdict));
    text.push_str(&trends(verdict));
    let attributes = list(verdict, "attributes");
    if !attributes.is_empty() {
        let columns = [
            Column::field("ID", "id"),
            Column::field("ATTRIBUTE", "name"),
            Column::field("VALUE", "value"),
            Column::field("WORST", "worst"),
            Column::field("THRESH", "thresh"),
            Column::field("RAW", "raw"),
            Column::field("FAILED", "when_failed"),
            Column::field("ACCEPTED", "accepted"),
        ];
        text.push('\n');
        text.push_str(&table(attributes, &columns));
    }
    text
}

fn head(device: &Value) -> String {
    const FACTS: [(&str, &str); 10] = [
        ("Device", "device_name"),
        ("Model", "model"),
        ("Serial number", "serial_number"),
        ("Firmware", "firmware_version"),
        ("Type", "device_type"),
        ("Temperature, °C", "temperature_celsius"),
        ("Hours powered on", "power_on_hours"),
        ("Endurance used, %", "wear_level_percent"),
        ("Power state", "power_state"),
        ("Last read", "last_checked"),
    ];
    let mut text = String::new();
    let mut line = |title: &str, value: &str| text.push_str(&format!("{title:<20}{value}\n"));
    for (title, field) in FACTS {
        if device.get(field).is_some_and(|value| !value.is_null()) {
            line(title, &words(device, field));
        }
    }
    for (title, field) in [("Size", "size_bytes"), ("Written", "total_bytes_written")] {
        if let Some(bytes) = device.get(field).and_then(Value::as_f64) {
            line(title, &size(bytes));
        }
    }
    text
}

fn decisions(verdict: &Value) -> String {
    let mut text = String::new();
    if let Some(baseline) = verdict.get("baseline").filter(|baseline| !baseline.is_null()) {
        let note = match baseline.get("note").and_then(Value::as_str) {
            Some(note) => format!(": {}", clean(note)),
            None => String::new(),
        };
        let (by, at) = (
            words(baseline, "acknowledged_by"),
            words(baseline, "acknowledged_at"),
        );
        text.push_str(&format!(
            "Accepted by {by} at {at}{note}; only what came on top counts\n"
        ));
    }
    if let Some(rules) = verdict.get("overrides").filter(|rules| !rules.is_null()) {
        let (by, at) = (words(rules, "changed_by"), words(rules, "changed_at"));
        text.push_str(&format!("Rules of its own, made by {by} at {at}\n"));
    }
    text
}

fn trends(verdict: &Value) -> String {
    let null = Value::Null;
    let wear = verdict.get("wear").unwrap_or(&null);
    let number = |of: &Value, name: &str| of.get(name).and_then(Value::as_f64);
    let pace =
        number(wear, "percent_per_year").map_or_else(String::new, |pace| format!(" at {pace:.1} % a year"));
    let mut text = match wear.get("outcome").and_then(Value::as_str) {
        Some("at") => format!("Wear: worn out about {}{pace}\n", words(wear, "worn_out_at")),
        Some("reached") => "Wear: all of what it is rated for is used\n".to_owned(),
        Some("not_in_sight") => format!("Wear: not worn out within fifty years{pace}\n"),
        _ if number(wear, "used_percent").is_some() => {
            format!(
                "Wear: when it is worn out cannot be told: {}\n",
                words(wear, "reason")
            )
        }
        _ => String::new(),
    };
    if let Some(heat) = verdict.get("temperature").filter(|heat| !heat.is_null()) {
        let celsius =
            |name: &str| number(heat, name).map_or_else(|| "?".to_owned(), |celsius| format!("{celsius:.0}"));
        let (min, mean, max) = (celsius("min"), celsius("mean"), celsius("max"));
        let days = number(heat, "span_days").unwrap_or_default();
        text.push_str(&format!(
            "Temperature: {min} to {max} °C, {mean} °C on average, over {days:.0} days\n"
        ));
    }
    text
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn words(value: &Value, name: &str) -> String {
    clean(&value.get(name).map_or_else(|| "-".to_owned(), word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_disk_is_told_in_words_with_what_it_rests_on() {
        let device = json!({"device_name": "sda", "model": "WDC", "size_bytes": 2_000_398_934_016_u64});
        let verdict = json!({
            "health": "warning",
            "reasons": [{"code": "pending_sectors", "health": "warning", "text": "8 sectors cannot be read"},
                {"code": "smart_status_passed", "health": "healthy", "text": "the drive calls itself good"}],
            "baseline": {"acknowledged_by": "ann", "acknowledged_at": "2026-01-01T00:00:00Z", "note": "\u{1b}[31mmoved"},
            "wear": {"outcome": "at", "worn_out_at": "2027-01-01T00:00:00Z", "percent_per_year": 12.34, "used_percent": 40},
            "temperature": {"min": 20.0, "max": 41.0, "mean": 30.0, "span_days": 30.0},
            "attributes": [{"id": 197, "name": "Current_Pending_Sector", "value": 200, "raw": "8"}],
        });
        let text = describe(&device, &verdict);
        for part in [
            "Verdict: WARNING",
            "[warning] 8 sectors",
            "[note] the drive",
            "Accepted by ann",
            "worn out about 2027-01-01T00:00:00Z at 12.3 % a year",
            "20 to 41 °C",
            "Current_Pending_Sector",
            "2.0 TB",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn an_answer_of_any_shape_is_survived() {
        for odd in [
            json!(null),
            json!([]),
            json!({"reasons": 7, "wear": [], "attributes": [1]}),
        ] {
            let _ = describe(&odd, &odd);
        }
    }
}
