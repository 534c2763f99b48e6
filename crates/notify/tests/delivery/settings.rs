//! What a channel is refused for.

use std::collections::BTreeMap;

use muster_notify::{Channel, Kind, Options, Secret, Secrets};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Case {
    kind: Kind,
    #[serde(default)]
    settings: Option<Value>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    options: Options,
    fields: Vec<String>,
}

#[test]
fn what_cannot_be_used_is_told_field_by_field() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../fixtures/refused.json")).unwrap();
    for case in cases {
        let settings = case.settings.unwrap_or_else(|| json!({}));
        let mut secrets = Secrets::default();
        for (name, text) in case.secrets {
            secrets.set(name, Secret::new(text));
        }
        let problems = Channel::build(case.kind, &settings, secrets, case.options).unwrap_err();
        let fields: Vec<String> = problems.into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, case.fields, "{} {settings}", case.kind);
    }
}
