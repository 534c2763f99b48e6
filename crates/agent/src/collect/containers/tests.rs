//! Recordings of a Docker 20.10 and a Podman 4.3 with containers of every kind, and inspects made up by chance.

use muster_model::{Attribute, Facts, Health, Resource};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::describe::{Engine, describe};
use super::inspect;
use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/containers");

fn recorded(name: &str) -> Facts {
    let kind = if name.starts_with("podman") {
        "podman"
    } else {
        "docker"
    };
    describe_recorded(
        kind,
        &std::fs::read_to_string(format!("{FIXTURES}/{name}.json")).unwrap(),
    )
}

fn containers(facts: &Facts) -> Vec<&Resource> {
    let all = facts.resources.iter();
    all.filter(|resource| resource.kind == muster_model::ResourceKind::Container)
        .collect()
}

fn text(resource: &Resource, name: &str) -> String {
    match resource.attributes.get(name) {
        Some(Attribute::Text(text)) => text.clone(),
        other => format!("{other:?}"),
    }
}

fn list(resource: &Resource, name: &str) -> Vec<String> {
    match resource.attributes.get(name) {
        Some(Attribute::List(list)) => list.clone(),
        other => vec![format!("{other:?}")],
    }
}

#[test]
fn recordings_of_real_engines_are_understood() {
    insta::glob!("../../../fixtures/containers", "*.json", |path| {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let facts = recorded(name);
        assert_eq!(facts.problems, [], "{name}");
        insta::assert_json_snapshot!(facts.resources);
    });
}

#[test]
fn values_of_environment_variables_never_leave_the_server() {
    for name in ["docker-full", "podman-full"] {
        let facts = recorded(name);
        let container = containers(&facts)[0];
        assert!(
            list(container, "environment_keys").contains(&"SECRET".to_owned()),
            "{name}"
        );
        let everything = format!("{facts:?}");
        assert!(!everything.contains("hunter2"), "{name}: {everything}");
    }
}

#[test]
fn a_compose_container_keeps_its_key_under_another_name() {
    let facts = recorded("docker-compose-web-1");
    let container = containers(&facts)[0];
    assert_eq!(container.key.as_str(), "container:docker:compose/shop/web/1");
    assert_eq!(text(container, "owner"), "compose");
}

#[test]
fn while_one_is_replaced_the_one_that_runs_is_itself() {
    let value: Value = serde_json::from_str(
        &std::fs::read_to_string(format!("{FIXTURES}/docker-compose-web-1.json")).unwrap(),
    )
    .unwrap();
    let mut problems = Vec::new();
    let running = inspect::container(&value[0], &mut problems).unwrap();
    let mut new = running.clone();
    new.id = "f".repeat(64);
    new.name = "compose-web-1-new".to_owned();
    new.pid = None;
    new.status = Status::Created;
    new.created_at = Some("2099-01-01T00:00:00Z".to_owned());
    let engine = |containers| Engine {
        name: "docker".to_owned(),
        kind: "docker",
        containers,
        ..Engine::default()
    };
    for (containers, expected) in [
        (
            vec![running.clone(), new.clone()],
            ["compose/shop/web/1", "compose-web-1-new"],
        ),
        (vec![new, running], ["compose-web-1-new", "compose/shop/web/1"]),
    ] {
        let keys = engine(containers).container_keys();
        let keys: Vec<&str> = keys.iter().map(ResourceKey::as_str).collect();
        assert_eq!(keys, expected.map(|key| format!("container:docker:{key}")));
    }
}

#[test]
fn an_engine_that_does_not_answer_makes_no_container_healthy_or_gone() {
    let value: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{FIXTURES}/docker-full.json")).unwrap())
            .unwrap();
    let mut problems = Vec::new();
    let engine = Engine {
        name: "docker".to_owned(),
        kind: "docker",
        containers: vec![inspect::container(&value[0], &mut problems).unwrap()],
        silence: Some("no answer".to_owned()),
        ..Engine::default()
    };
    let mut draft = Draft::new("containers");
    describe(&mut draft, &engine, None);
    let facts = draft.finish();
    let container = containers(&facts)[0];
    assert_eq!(container.health, Some(Health::Unknown));
    assert_eq!(text(container, "status"), "unknown");
    assert_eq!(facts.resources[0].health, Some(Health::Critical));
}

#[test]
fn a_flood_of_labels_is_bounded_and_told_of() {
    let mut labels = serde_json::Map::new();
    for number in 0..200 {
        labels.insert(format!("label{number:03}"), json!("v".repeat(300)));
    }
    let inspect = json!([{"Id": "a".repeat(64), "Name": "/a", "Config": {"Labels": labels}, "State": {"Status": "running"}}]);
    let facts = describe_recorded("docker", &inspect.to_string());
    let labels = list(containers(&facts)[0], "labels");
    assert_eq!(labels.len(), 64);
    assert!(labels.iter().all(|label| label.len() <= 256));
    let told: Vec<&str> = facts
        .problems
        .iter()
        .map(|problem| problem.message.as_str())
        .collect();
    assert!(
        told.iter().any(|message| message.contains("136 of 200 left out")),
        "{told:?}"
    );
}

#[test]
fn what_is_no_inspect_is_a_problem_and_no_resource() {
    for text in [
        "",
        "{",
        "[]",
        "{}",
        "[1]",
        "\"x\"",
        "[{\"Id\":1,\"Name\":\"/a\"}]",
    ] {
        let facts = describe_recorded("docker", text);
        assert!(facts.resources.is_empty(), "{text}");
        assert!(!facts.problems.is_empty(), "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
            prop::collection::hash_map(
                prop::sample::select(vec![
                    "Id",
                    "Name",
                    "State",
                    "Status",
                    "Health",
                    "Config",
                    "Labels",
                    "Env",
                    "HostConfig",
                    "Mounts",
                    "Destination",
                    "NetworkSettings",
                    "Networks",
                    "Ports",
                    "RestartPolicy",
                    "Pid",
                    "Image",
                    "RepoDigests",
                    "Created",
                    "Type",
                    "Source",
                    "RW",
                    "VolumesFrom",
                    "Os",
                    "RootFS",
                ]),
                inner,
                0..8
            )
            .prop_map(|map| Value::Object(
                map.into_iter()
                    .map(|(key, value)| (key.to_owned(), value))
                    .collect()
            )),
        ]
    })
}

proptest! {
    #[test]
    fn nothing_that_looks_like_an_inspect_panics(mut value in any_json()) {
        if let Value::Object(map) = &mut value {
            map.insert("Id".to_owned(), json!("b".repeat(64)));
            map.insert("Name".to_owned(), json!("/b"));
        }
        describe_recorded("docker", &json!([value]).to_string());
        describe_recorded("podman", &value.to_string());
    }

    #[test]
    fn a_cut_inspect_is_never_healthy(cut in 0_usize..10_000) {
        let text = std::fs::read_to_string(format!("{FIXTURES}/docker-full.json")).unwrap();
        let cut = text.floor_char_boundary(cut.min(text.trim_end().len() - 1));
        let facts = describe_recorded("docker", &text[..cut]);
        prop_assert!(facts.resources.iter().all(|resource| resource.health != Some(Health::Healthy)));
        prop_assert!(!facts.problems.is_empty());
    }
}
