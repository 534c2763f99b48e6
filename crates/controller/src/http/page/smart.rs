//! The SMART tables of a disk's raw document, and the document itself.

use maud::{Markup, html};
use serde_json::Value;

use super::format;

/// Draws what is found in the document; one that is not JSON is shown as it is.
pub(super) fn draw(raw: &str) -> Markup {
    let parsed = serde_json::from_str::<Value>(raw);
    let pretty = parsed
        .as_ref()
        .ok()
        .and_then(|document| serde_json::to_string_pretty(document).ok());
    html! {
        @if let Ok(document) = &parsed {
            (ata(&document["ata_smart_attributes"]["table"]))
            (log("NVMe health log", &document["nvme_smart_health_information_log"]))
        }
        section class="card" {
            details {
                summary { "Raw SMART document" }
                pre { (pretty.as_deref().unwrap_or(raw)) }
            }
        }
    }
}

/// The attributes of an ATA disk.
fn ata(table: &Value) -> Markup {
    let rows = table.as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        @if !rows.is_empty() {
            section class="card" {
                header { h2 { "SMART attributes" } span class="soft" { (rows.len()) } }
                div class="scroll" {
                    table {
                        thead {
                            tr {
                                th class="num" { "Id" }
                                th { "Attribute" }
                                th class="num" { "Value" }
                                th class="num" { "Worst" }
                                th class="num" { "Threshold" }
                                th class="num" { "Raw" }
                                th { "Failed" }
                            }
                        }
                        tbody {
                            @for row in rows {
                                @let failed = row["when_failed"].as_str().filter(|word| !word.is_empty());
                                tr {
                                    td class="num" { (plain(&row["id"])) }
                                    td { (format::words(&plain(&row["name"]))) }
                                    td class="num" { (plain(&row["value"])) }
                                    td class="num" { (plain(&row["worst"])) }
                                    td class="num" { (plain(&row["thresh"])) }
                                    td class="num" { (plain(&row["raw"]["string"])) }
                                    td {
                                        @match failed {
                                            Some(word) => { span class="pill bad" { (format::words(word)) } }
                                            None => { span class="soft" { "–" } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A log that is an object of numbers.
fn log(title: &str, log: &Value) -> Markup {
    let entries: Vec<(&String, &Value)> = log.as_object().into_iter().flatten().collect();
    html! {
        @if !entries.is_empty() {
            section class="card" {
                header { h2 { (title) } }
                div class="scroll" {
                    table {
                        thead { tr { th { "Entry" } th class="num" { "Value" } } }
                        tbody {
                            @for (name, value) in entries {
                                tr { td { (format::words(name)) } td class="num" { (plain(value)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| number.to_string(), format::grouped),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_tables_are_drawn() {
        let raw = r#"{
            "ata_smart_attributes": {"table": [
                {"id": 5, "name": "Reallocated_Sector_Ct", "value": 90, "worst": 90, "thresh": 95,
                 "when_failed": "now", "raw": {"value": 1234, "string": "1234"}}
            ]},
            "nvme_smart_health_information_log": {"media_errors": 12345, "temperature_sensors": [31, 40]}
        }"#;
        let drawn = draw(raw).into_string();
        for part in [
            "Reallocated Sector Ct",
            "pill bad",
            "media errors",
            "12\u{202f}345",
            "[31,40]",
        ] {
            assert!(drawn.contains(part), "{part}");
        }
    }

    #[test]
    fn a_document_of_any_shape_is_survived_and_escaped() {
        for raw in [
            "",
            "{",
            "[]",
            "null",
            r#"{"ata_smart_attributes":7}"#,
            "<script>alert(1)</script>",
        ] {
            assert!(!draw(raw).into_string().contains("<script>"));
        }
        let hostile = r#"{"ata_smart_attributes":{"table":[{"name":"<img src=x>"}, 7]}}"#;
        assert!(!draw(hostile).into_string().contains("<img"));
    }
}
