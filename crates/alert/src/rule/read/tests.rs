use proptest::prelude::*;
use serde_json::json;

use super::*;

/// The rule that the predecessor's documents show.
fn example() -> Value {
    json!({"name": "High Temperature Alert", "resource_type": "device", "metric_name": "temperature_celsius",
        "condition": "gt", "threshold": 60, "severity": "warning"})
}

fn problems(changes: &Value) -> Vec<FieldProblem> {
    let mut body = example();
    for (name, value) in changes.as_object().unwrap() {
        body[name] = value.clone();
    }
    read(body).expect_err("refused")
}

#[test]
fn the_predecessors_example_works_as_it_is() {
    let rule = read(example()).unwrap();
    assert_eq!(rule.name, "High Temperature Alert");
    assert_eq!(rule.levels.lower, Some((Severity::Warning, 60.0)));
    assert_eq!(rule.levels.critical, None);
    assert_eq!(rule.resource_kind, Some(ResourceKind::Device));
    assert_eq!((rule.for_ms, rule.cooldown_ms, rule.repeat_ms), (0, 900_000, 0));
    assert!(rule.enabled);
}

#[test]
fn the_predecessors_documented_names_work() {
    for (metric, kind) in [
        ("cpu_usage", "server"),
        ("available_space_gb", "server"),
        ("available_space_gb", "filesystem"),
        ("is_connected", "server"),
        ("smart_status", "device"),
        ("reallocated_sectors", "device"),
        ("health_status", "pool"),
    ] {
        let body = json!({"name": "r", "resource_type": kind, "metric_name": metric, "condition": "lt",
            "threshold": 1, "cooldown_minutes": 0, "notification_channels": [1, "2"]});
        let rule = read(body).unwrap_or_else(|problems| panic!("{metric} of {kind}: {problems:?}"));
        assert_eq!((rule.channels.as_slice(), rule.cooldown_ms), (&[1, 2][..], 0));
    }
}

#[test]
fn each_problem_names_its_field() {
    for (changes, field) in [
        (json!({"name": 5}), "name"),
        (json!({"name": " "}), "name"),
        (json!({"name": "x".repeat(201)}), "name"),
        (json!({"kind": "expression"}), "kind"),
        (json!({"kind": "magic"}), "kind"),
        (json!({"metric_name": "temperature_celsiu"}), "metric_name"),
        (json!({"metric_name": null}), "metric_name"),
        (json!({"resource_type": "host"}), "resource_type"),
        (json!({"resource_type": "pool"}), "resource_type"),
        (json!({"condition": "above"}), "condition"),
        (json!({"condition": null}), "condition"),
        (json!({"threshold": "hot"}), "threshold"),
        (json!({"threshold": null}), "threshold"),
        (json!({"threshold": "NaN"}), "threshold"),
        (json!({"threshold": "inf"}), "threshold"),
        (json!({"warning_threshold": 1}), "threshold"),
        (json!({"critical_threshold": 50}), "critical_threshold"),
        (json!({"clear_threshold": 61}), "clear_threshold"),
        (
            json!({"condition": "eq", "clear_threshold": 1}),
            "clear_threshold",
        ),
        (json!({"severity": "fatal"}), "severity"),
        (json!({"for": "soon"}), "for"),
        (json!({"for": -1}), "for"),
        (json!({"for": "8d"}), "for"),
        (json!({"window": "1h"}), "window"),
        (json!({"kind": "growth", "window": "1s"}), "window"),
        (json!({"horizon": "1h"}), "horizon"),
        (json!({"only_past": 1}), "only_past"),
        (json!({"cooldown_minutes": -5}), "cooldown_minutes"),
        (
            json!({"cooldown": "1h", "cooldown_minutes": 5}),
            "cooldown_minutes",
        ),
        (json!({"repeat": "5s"}), "repeat"),
        (json!({"channels": ["mail"]}), "channels[0]"),
        (json!({"channels": 1}), "channels"),
        (json!({"runbook": "wiki"}), "runbook"),
        (json!({"runbook": "javascript:alert(1)"}), "runbook"),
        (json!({"enabled": "maybe"}), "enabled"),
        (json!({"colour": "red"}), "colour"),
        (json!({"scope": []}), "scope"),
        (json!({"scope": {"servers": [{}]}}), "scope.servers[0]"),
        (json!({"scope": {"labels": ["("]}}), "scope.labels[0]"),
        (json!({"scope": {"labels": {"a": 1}}}), "scope.labels.\"a\""),
        (json!({"scope": {"rack": 1}}), "scope.rack"),
        (json!({"kind": "absence"}), "condition"),
    ] {
        let found = problems(&changes);
        assert!(
            found.iter().any(|problem| problem.field == field),
            "{changes}: {found:?}"
        );
    }
}

#[test]
fn an_expression_is_refused_with_what_can_be_had() {
    let found = problems(&json!({"kind": "expression"}));
    assert!(found[0].message.contains("query language"), "{found:?}");
}

#[test]
fn a_rule_that_is_written_reads_as_the_same() {
    let body = json!({"name": "r", "kind": "forecast", "metric_name": "disk_percent", "condition": "gte",
        "warning_threshold": 90, "critical_threshold": 98, "clear_threshold": 80, "for": "1h", "window": "6h",
        "horizon": "1day", "only_past": 60, "repeat": "4h", "cooldown": "30m", "covers": true, "channels": [3],
        "runbook": "https://wiki.example/disk", "template": "short",
        "scope": {"servers": ["db1", 4], "tags": ["prod"], "labels": ["fstype!=\"squashfs\""]}});
    let first = read(body).unwrap().to_json();
    let second = read(first.clone()).unwrap().to_json();
    assert_eq!(first, second);
    assert_eq!(first["scope"]["servers"], json!(["db1", 4]));
}

#[test]
fn yaml_is_one_rule_a_list_or_an_object_with_rules() {
    let one = "name: hot\nmetric_name: temperature_celsius\ncondition: gt\nthreshold: 60\n";
    assert_eq!(read_yaml(one).unwrap().len(), 1);
    let list = "- {name: a, metric_name: load_1m, condition: gt, threshold: 4}\n- {name: b, metric_name: nope, condition: gt, threshold: 4}\n";
    let found = read_yaml(list).unwrap_err();
    assert_eq!(found[0].field, "rules[1].metric_name");
    assert_eq!(
        read_yaml(&format!("rules:\n{}", list.replace("nope", "load_5m")))
            .unwrap()
            .len(),
        2
    );
    assert_eq!(read_yaml("a: [").unwrap_err()[0].field, "body");
}

/// Anything that is JSON, with names that a rule has more often than not.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z_=\"~!.*()\\[]{0,12}".prop_map(Value::from),
        prop_oneof![
            Just("temperature_celsius"),
            Just("gt"),
            Just("threshold"),
            Just("10m"),
            Just("warning")
        ]
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,6}|servers|tags|labels|resources", inner), 0..5)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

const FIELDS: [&str; 22] = [
    "name",
    "description",
    "enabled",
    "kind",
    "resource_type",
    "metric_name",
    "condition",
    "threshold",
    "warning_threshold",
    "critical_threshold",
    "clear_threshold",
    "for",
    "window",
    "horizon",
    "only_past",
    "cooldown",
    "cooldown_minutes",
    "repeat",
    "scope",
    "channels",
    "template",
    "runbook",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every body is either a rule that judges and can be written, or is refused with a field and a reason.
    #[test]
    fn any_body_is_a_rule_or_is_refused_with_its_fields(
        changes in prop::collection::vec((prop::sample::select(&FIELDS[..]), any_json()), 1..6),
    ) {
        let mut body = example();
        for (name, value) in changes {
            body[name] = value;
        }
        match read(body) {
            Ok(rule) => {
                let again = read(rule.to_json()).expect("what is written can be read");
                prop_assert_eq!(again.to_json(), rule.to_json());
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                prop_assert!(problems.iter().all(|problem| !problem.field.is_empty() && !problem.message.is_empty()));
            }
        }
    }

    #[test]
    fn anything_else_is_refused_and_nothing_panics(body in any_json(), text in ".{0,200}") {
        let _ = read(body);
        let _ = read_yaml(&text);
    }
}
