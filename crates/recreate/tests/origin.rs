//! The rule of origin over generated images and containers, and over captured ones.
//!
//! What should come out is not computed by the crate: a container is generated from what its user set, an engine of
//! the test's own merges that with an image, and afterwards the user's settings merged with the new image are expected.

use std::collections::BTreeMap;

use muster_recreate::{Input, Plan, Why, explain, plan};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const OLD_ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const NEW_ID: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

/// What Docker does with a request: `merge` of its daemon, and what it gives by itself.
fn create(id: &str, body: &Value, image: &Value, volumes: &[Value]) -> Value {
    let mut config = body.as_object().cloned().unwrap_or_default();
    let host = config.remove("HostConfig").unwrap_or_default();
    let networking = config.remove("NetworkingConfig").unwrap_or_default();
    let of_image = &image["Config"];
    for key in ["User", "WorkingDir", "StopSignal", "Shell"] {
        if is_nothing(config.get(key)) {
            config.insert(key.to_owned(), of_image[key].clone());
        }
    }
    for key in ["Labels", "ExposedPorts", "Volumes"] {
        let mut all = object(&of_image[key]);
        all.extend(object(config.get(key).unwrap_or(&Value::Null)));
        config.insert(key.to_owned(), Value::Object(all));
    }
    let own: Vec<String> = strings(config.get("Env"));
    let mut env = own.clone();
    for pair in strings(of_image.get("Env")) {
        let key = pair.split('=').next().unwrap_or_default();
        if !own.iter().any(|mine| mine.split('=').next() == Some(key)) {
            env.push(pair);
        }
    }
    config.insert("Env".to_owned(), json!(env));
    if is_nothing(config.get("Entrypoint")) {
        if is_nothing(config.get("Cmd")) {
            config.insert("Cmd".to_owned(), of_image["Cmd"].clone());
        }
        if config.get("Entrypoint").is_none_or(Value::is_null) {
            config.insert("Entrypoint".to_owned(), of_image["Entrypoint"].clone());
        }
    }
    let mut health = object(&of_image["Healthcheck"]);
    health.extend(object(config.get("Healthcheck").unwrap_or(&Value::Null)));
    config.insert("Healthcheck".to_owned(), Value::Object(health));
    if is_nothing(config.get("Hostname")) {
        config.insert("Hostname".to_owned(), json!(id[..12]));
    }
    let mut mounts: Vec<Value> = strings(host.get("Binds"))
        .iter()
        .map(|bind| {
            let parts: Vec<&str> = bind.split(':').collect();
            json!({"Type": "volume", "Name": parts[0], "Destination": parts[1], "RW": parts.get(2) != Some(&"ro")})
        })
        .collect();
    for place in object(&config["Volumes"]).keys() {
        if !mounts.iter().any(|mount| mount["Destination"] == *place) {
            let known = volumes.iter().find(|mount| mount["Destination"] == *place);
            let fresh = json!({"Type": "volume", "Name": format!("new-{id}-{place}"), "Destination": place, "RW": true});
            mounts.push(known.cloned().unwrap_or(fresh));
        }
    }
    let networks = object(&networking["EndpointsConfig"]);
    json!({
        "Id": id, "Name": "/web", "Image": image["Id"], "Config": config, "HostConfig": host,
        "Mounts": mounts, "NetworkSettings": {"Networks": networks},
    })
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn strings(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_array).cloned().unwrap_or_default();
    items
        .iter()
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn is_nothing(value: Option<&Value>) -> bool {
    value.is_none_or(|value| {
        matches!(value.as_array().map(Vec::len), Some(0)) || value.is_null() || value == ""
    })
}

fn pairs(prefix: &'static str) -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(
        (0..5_u8).prop_map(move |n| format!("{prefix}{n}")),
        (0..3_u8).prop_map(|n| format!("v{n}")),
        0..4,
    )
}

fn words() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        (0..3_u8).prop_map(|n| json!([format!("/w{n}")])),
        (0..3_u8).prop_map(|n| json!([format!("/w{n}"), "x"])),
    ]
}

fn word() -> impl Strategy<Value = Value> {
    prop_oneof![Just(json!("")), (0..3_u8).prop_map(|n| json!(format!("s{n}")))]
}

fn places(prefix: &'static str) -> impl Strategy<Value = Value> {
    proptest::collection::btree_set(0..4_u8, 0..3).prop_map(move |all| {
        let all = all.into_iter().map(|n| (format!("{prefix}{n}"), json!({})));
        Value::Object(all.collect())
    })
}

/// `Config` as an image or a user would give it.
fn config() -> impl Strategy<Value = Value> {
    let maps = (pairs("E"), pairs("l"), places("8/tcp"), places("/v"));
    let single = (word(), word(), word(), words(), words(), words());
    let health = prop_oneof![
        Just(Value::Null),
        (1..4_u8, 1..4_u8)
            .prop_map(|(test, interval)| json!({"Test": ["CMD", format!("t{test}")], "Interval": interval})),
    ];
    (maps, single, health).prop_map(|(maps, single, health)| {
        let env: Vec<String> = maps
            .0
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        json!({
            "Env": env, "Labels": maps.1, "ExposedPorts": maps.2, "Volumes": maps.3,
            "WorkingDir": single.0, "User": single.1, "StopSignal": single.2,
            "Shell": single.3, "Entrypoint": single.4, "Cmd": single.5, "Healthcheck": health,
        })
    })
}

/// `HostConfig` with fields that no rule knows.
fn host() -> impl Strategy<Value = Value> {
    let scalars = (any::<bool>(), 0..9_i64, word());
    (scalars, proptest::collection::vec(0..9_u8, 0..3), places("/t")).prop_map(|(scalars, list, tmpfs)| {
        json!({
            "NetworkMode": "default", "AutoRemove": false, "Binds": ["named:/named", "r:/r:ro"],
            "Init": scalars.0, "Memory": scalars.1, "Unknown": scalars.2, "UnknownList": list,
            "UnknownObject": tmpfs, "RestartPolicy": {"Name": "always", "MaximumRetryCount": 0},
        })
    })
}

#[derive(Debug)]
struct World {
    old: Value,
    new: Value,
    user: Value,
    container: Value,
}

fn world() -> impl Strategy<Value = World> {
    (config(), config(), config(), host()).prop_map(|(old, new, user, host)| {
        let old = json!({"Id": "sha256:00", "Config": old});
        let new = json!({"Id": "sha256:11", "Config": new});
        let mut user = user;
        user["HostConfig"] = host;
        user["Image"] = json!("r/a:1");
        let container = create(OLD_ID, &user, &old, &[]);
        World {
            old,
            new,
            user,
            container,
        }
    })
}

fn with<T>(world: &World, ask: impl FnOnce(&Input<'_>) -> T) -> T {
    let names = BTreeMap::new();
    ask(&Input {
        is_podman: false,
        container: &world.container,
        old_image: Some(&world.old),
        new_image: &world.new,
        image: "r/a:1",
        asked: None,
        names: &names,
    })
}

fn unexplained(world: &World, after: &Value) -> Vec<String> {
    let found = with(world, |input| explain(input, after)).expect("a plan");
    let bad = found
        .into_iter()
        .filter(|difference| difference.why == Why::Unexplained);
    bad.map(|difference| format!("{difference:?}")).collect()
}

fn planned(world: &World) -> Plan {
    with(world, plan).expect("a plan")
}

/// What the user set, as far as it can be told: what equals the old image's cannot be told from it.
fn environment(world: &World) -> BTreeMap<String, String> {
    let map = |config: &Value| -> BTreeMap<String, String> {
        let env = strings(config.get("Env"));
        env.iter()
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect()
    };
    let (old, mut made, user) = (
        map(&world.old["Config"]),
        map(&world.new["Config"]),
        map(&world.user),
    );
    made.extend(
        user.into_iter()
            .filter(|(key, value)| old.get(key) != Some(value)),
    );
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("MUSTER_TEST_FULL").is_some() { 20_000 } else { 600 }))]

    #[test]
    fn nothing_that_was_made_of_a_plan_differs_without_a_reason(world in world()) {
        let made = planned(&world);
        let after = create(NEW_ID, &made.body, &world.new, &[]);
        let bad = unexplained(&world, &after);
        prop_assert!(bad.is_empty(), "{bad:#?}\nplan {:#}", made.body);
        let env = strings(after["Config"].get("Env"));
        let env: BTreeMap<String, String> =
            env.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(env, environment(&world));
        for mount in world.container["Mounts"].as_array().into_iter().flatten() {
            let kept = after["Mounts"].as_array().into_iter().flatten()
                .any(|other| other["Name"] == mount["Name"] && other["Destination"] == mount["Destination"]);
            prop_assert!(kept, "{} is gone", mount);
        }
    }

    #[test]
    fn a_field_that_was_dropped_is_always_found(world in world(), choice in any::<prop::sample::Index>()) {
        let made = planned(&world);
        let mut after = create(NEW_ID, &made.body, &world.new, &[]);
        let mut paths = Vec::new();
        for part in ["Config", "HostConfig"] {
            for (key, value) in object(&after[part]) {
                if is_nothing(Some(&value)) || value.as_object().is_some_and(Map::is_empty) || key == "Hostname" {
                    continue;
                }
                paths.push((part, key));
            }
        }
        let (part, key) = &paths[choice.index(paths.len())];
        after[part].as_object_mut().expect("an object").remove(key);
        prop_assert!(!unexplained(&world, &after).is_empty(), "{part}/{key} was dropped and nobody noticed");
    }

    #[test]
    fn a_volume_that_was_swapped_is_always_found(world in world(), choice in any::<prop::sample::Index>()) {
        let made = planned(&world);
        let mut after = create(NEW_ID, &made.body, &world.new, &[]);
        let old: Vec<Value> = world.container["Mounts"].as_array().cloned().unwrap_or_default();
        let place = old[choice.index(old.len())]["Destination"].clone();
        for mount in after["Mounts"].as_array_mut().expect("mounts") {
            if mount["Destination"] == place {
                mount["Name"] = json!("another");
            }
        }
        prop_assert!(!unexplained(&world, &after).is_empty());
    }
}

fn capture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("a capture")).expect("JSON")
}

/// The same image is nothing new, so what is planned must be taken for what there is, and each loss be found.
#[test]
fn captured_containers_are_explained_and_each_field_taken_from_them_is_missed() {
    let mut missed = 0;
    for (engine, is_podman) in [("docker-20.10", false), ("podman-4.3", true)] {
        let image = capture(&format!("{engine}-image"));
        for which in ["full", "child", "parent"] {
            let container = capture(&format!("{engine}-{which}"));
            let parent = capture(&format!("{engine}-parent"));
            let name = |value: &Value| {
                let text = |key: &str| value[key].as_str().expect("text").to_owned();
                (text("Id"), text("Name").trim_start_matches('/').to_owned())
            };
            let names = BTreeMap::from([name(&container), name(&parent)]);
            let reference = container["Config"]["Image"].as_str().expect("text").to_owned();
            let input = Input {
                is_podman,
                container: &container,
                old_image: Some(&image),
                new_image: &image,
                image: &reference,
                asked: None,
                names: &names,
            };
            let bad = |after: &Value| {
                let found = explain(&input, after).expect("a plan");
                found
                    .into_iter()
                    .filter(|one| one.why == Why::Unexplained)
                    .collect::<Vec<_>>()
            };
            assert_eq!(bad(&container), [], "{engine} {which}");
            missed += losses(&container, is_podman, &bad);
        }
    }
    println!("{missed} losses in 6 captured containers, each found");
}

/// What podman says by itself is not given to it, and so not expected.
const BY_PODMAN: [&str; 4] = ["Runtime", "MemorySwappiness", "CpuPeriod", "CpuQuota"];

fn losses(
    container: &Value,
    is_podman: bool,
    bad: &dyn Fn(&Value) -> Vec<muster_recreate::Difference>,
) -> usize {
    let mut missed = 0;
    for part in ["Config", "HostConfig"] {
        for (key, value) in object(&container[part]) {
            let says_nothing = is_nothing(Some(&value)) || value.as_object().is_some_and(Map::is_empty);
            let is_own = is_podman && BY_PODMAN.contains(&key.as_str());
            if says_nothing
                || is_own
                || ["Hostname", "OnBuild", "WorkingDir", "StopSignal"].contains(&key.as_str())
            {
                continue;
            }
            let mut after = container.clone();
            after[part].as_object_mut().expect("an object").remove(&key);
            assert!(
                !bad(&after).is_empty(),
                "{part}/{key} was dropped and nobody noticed"
            );
            missed += 1;
        }
    }
    missed
}
