//! What a container has of its image, and what was set beside it.

use serde_json::{Map, Value};

use crate::value::{self, entries, environment, is_empty, same};
use crate::{Input, Note, RecreateError};

/// Fields that are the image's or the user's as a whole.
pub(crate) const WHOLE: [&str; 4] = ["WorkingDir", "User", "StopSignal", "Shell"];
/// Fields of which each key is judged by itself.
pub(crate) const KEYED: [&str; 3] = ["Labels", "ExposedPorts", "Volumes"];
/// Fields that engines fill by themselves from the image.
pub(crate) const LEFT_OUT: [&str; 2] = ["OnBuild", "ArgsEscaped"];

/// Compose compares this label with the image it would use, and makes the container anew when they differ.
const COMPOSE_IMAGE: &str = "com.docker.compose.image";

/// The body of the new container, without `HostConfig` and networks.
pub(crate) fn carried(
    input: &Input<'_>,
    config: &Map<String, Value>,
    notes: &mut Vec<Note>,
) -> Result<Map<String, Value>, RecreateError> {
    let new = image_config(input.new_image);
    let mut body = config.clone();
    for key in LEFT_OUT {
        body.remove(key);
    }
    body.insert("Image".to_owned(), Value::from(input.image));
    if let Some(image) = input.old_image {
        let old = image_config(image);
        for key in WHOLE {
            whole(input.is_podman, key, &old, &new, &mut body, notes);
        }
        for key in KEYED {
            keyed(key, &old, &new, config, &mut body, notes);
        }
        env(input, &old, &new, &mut body, notes);
        command(&old, &mut body);
        health(&old, &new, &mut body, notes);
    } else {
        notes.push(Note {
            path: "Config".to_owned(),
            message: "the image it was made of is gone: all is kept as it is".to_owned(),
        });
    }
    published(input, config, &mut body);
    let id = value::text(input.new_image, "Id");
    if let Some(label) = body
        .get_mut("Labels")
        .and_then(|labels| labels.get_mut(COMPOSE_IMAGE))
    {
        *label = Value::from(id);
    }
    Ok(body)
}

/// The configuration in an image's inspect.
pub(crate) fn image_config(image: &Value) -> Map<String, Value> {
    entries(image.get("Config"))
}

fn get<'a>(from: &'a Map<String, Value>, key: &str) -> &'a Value {
    from.get(key).unwrap_or(&Value::Null)
}

/// Podman writes `/` where nothing is set, and signals as numbers.
fn same_whole(is_podman: bool, key: &str, a: &Value, b: &Value) -> bool {
    let is_nothing = |value: &Value| {
        let is_default = match key {
            "WorkingDir" => value == "/",
            "StopSignal" => value == "15",
            _ => false,
        };
        is_empty(value) || (is_podman && is_default)
    };
    same(a, b) || (is_nothing(a) && is_nothing(b))
}

fn whole(
    is_podman: bool,
    key: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    body: &mut Map<String, Value>,
    notes: &mut Vec<Note>,
) {
    let own = get(body, key).clone();
    if same_whole(is_podman, key, &own, get(old, key)) {
        body.remove(key);
    } else if is_empty(&own) && !is_empty(get(new, key)) {
        notes.push(Note {
            path: format!("Config/{key}"),
            message: "was cleared, which can't be said to an engine: the new image's is used".to_owned(),
        });
    }
}

fn keyed(
    key: &str,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    config: &Map<String, Value>,
    body: &mut Map<String, Value>,
    notes: &mut Vec<Note>,
) {
    let (old, new, own) = (
        entries(old.get(key)),
        entries(new.get(key)),
        entries(config.get(key)),
    );
    let mut kept = own.clone();
    kept.retain(|name, value| old.get(name) != Some(value));
    for name in new
        .keys()
        .filter(|name| old.contains_key(*name) && !own.contains_key(*name))
    {
        let message = if key == "Labels" {
            kept.insert(name.clone(), Value::from(""));
            "was cleared, and is kept empty"
        } else {
            "was cleared, which can't be said to an engine: the new image's is used"
        };
        notes.push(Note {
            path: format!("Config/{key}/{name}"),
            message: message.to_owned(),
        });
    }
    if kept.is_empty() {
        body.remove(key);
    } else {
        body.insert(key.to_owned(), Value::Object(kept));
    }
}

/// What somebody has published stays known as exposed, whatever the new image says.
fn published(input: &Input<'_>, config: &Map<String, Value>, body: &mut Map<String, Value>) {
    let host = &input.container["HostConfig"];
    if value::text(host, "NetworkMode").starts_with("container:") {
        // Ports are the other container's.
        body.remove("ExposedPorts");
        return;
    }
    let own = entries(config.get("ExposedPorts"));
    let bound = entries(host.get("PortBindings"));
    let again: Vec<_> = own
        .into_iter()
        .filter(|(port, _)| bound.contains_key(port))
        .collect();
    if again.is_empty() {
        return;
    }
    let mut kept = entries(body.get("ExposedPorts"));
    kept.extend(again);
    body.insert("ExposedPorts".to_owned(), Value::Object(kept));
}

/// What Podman puts into each container's environment by itself.
pub(crate) fn is_given(input: &Input<'_>, container: &Value, key: &str, value: &Value) -> bool {
    const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    input.is_podman
        && match key {
            "container" => value == "podman" || value == "oci",
            "HOSTNAME" => container.pointer("/Config/Hostname") == Some(value),
            "TERM" => value == "xterm",
            "PATH" => value == PATH,
            _ => false,
        }
}

fn env(
    input: &Input<'_>,
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    body: &mut Map<String, Value>,
    notes: &mut Vec<Note>,
) {
    let (old, new) = (environment(old.get("Env")), environment(new.get("Env")));
    let own = environment(body.get("Env"));
    let mut kept: Vec<String> = Vec::new();
    for (key, value) in &own {
        if old.get(key) != Some(value) && !is_given(input, input.container, key, value) {
            kept.push(
                value
                    .as_str()
                    .map_or_else(|| key.clone(), |value| format!("{key}={value}")),
            );
        }
    }
    for key in new
        .keys()
        .filter(|key| old.contains_key(*key) && !own.contains_key(*key))
    {
        let message = if input.is_podman {
            "was cleared, which can't be said to podman: the new image's is used"
        } else {
            kept.push(key.clone());
            "was cleared, and stays cleared"
        };
        notes.push(Note {
            path: format!("Config/Env/{key}"),
            message: message.to_owned(),
        });
    }
    if kept.is_empty() {
        body.remove("Env");
    } else {
        body.insert("Env".to_owned(), Value::from(kept));
    }
}

/// The two are one choice: whoever sets an entry point has no command of the image's any more.
fn command(old: &Map<String, Value>, body: &mut Map<String, Value>) {
    let (entry, command) = (get(body, "Entrypoint").clone(), get(body, "Cmd").clone());
    let has_entry = same(&entry, get(old, "Entrypoint"));
    let has_command = same(&command, get(old, "Cmd"));
    match (has_entry, has_command) {
        (true, true) => {
            body.remove("Entrypoint");
            body.remove("Cmd");
        }
        // Without a command of its own, although the image has one: the same entry point was set by somebody.
        (true, false) if is_empty(&command) => {
            body.remove("Cmd");
        }
        (true, false) => {
            body.remove("Entrypoint");
        }
        // An empty list is how an entry point is cleared; the image's command is in force then.
        (false, true) if is_empty(&entry) => {
            body.insert("Entrypoint".to_owned(), Value::Array(Vec::new()));
            body.remove("Cmd");
        }
        (false, _) if is_empty(&entry) => {
            body.insert("Entrypoint".to_owned(), Value::Array(Vec::new()));
        }
        (false, _) => {}
    }
}

fn health(
    old: &Map<String, Value>,
    new: &Map<String, Value>,
    body: &mut Map<String, Value>,
    notes: &mut Vec<Note>,
) {
    let own = get(body, "Healthcheck").clone();
    let old = get(old, "Healthcheck");
    if same(&own, old) {
        body.remove("Healthcheck");
        return;
    }
    if is_empty(&own) {
        if !is_empty(get(new, "Healthcheck")) {
            let none = serde_json::json!({"Test": ["NONE"]});
            body.insert("Healthcheck".to_owned(), none);
            notes.push(Note {
                path: "Config/Healthcheck".to_owned(),
                message: "was cleared, and stays cleared".to_owned(),
            });
        }
        return;
    }
    let old = entries(Some(old));
    let mut merged = entries(new.get("Healthcheck"));
    let own = entries(Some(&own));
    merged.retain(|key, _| old.contains_key(key) == own.contains_key(key) || own.contains_key(key));
    for (key, value) in own {
        if old.get(&key) != Some(&value) {
            merged.insert(key, value);
        }
    }
    // Nothing can be checked without a test: it was the old image's, and the new one has none.
    if merged.get("Test").is_none_or(is_empty)
        && let Some(test) = old.get("Test")
    {
        merged.insert("Test".to_owned(), test.clone());
    }
    body.insert("Healthcheck".to_owned(), Value::Object(merged));
}

/// What an engine makes of a body and an image: `Config` of the container's inspect, as far as images go into it.
pub(crate) fn effective(body: &Map<String, Value>, image: &Map<String, Value>) -> Map<String, Value> {
    let mut made = Map::new();
    for key in WHOLE.into_iter().chain(["Healthcheck"]) {
        let own = get(body, key);
        let value = if is_empty(own) { get(image, key) } else { own };
        made.insert(key.to_owned(), value.clone());
    }
    for key in KEYED {
        let mut all = entries(image.get(key));
        all.extend(entries(body.get(key)));
        made.insert(key.to_owned(), Value::Object(all));
    }
    let mut env = environment(image.get("Env"));
    env.extend(environment(body.get("Env")));
    made.insert("Env".to_owned(), Value::Object(env));
    let (entry, command) = (get(body, "Entrypoint"), get(body, "Cmd"));
    let inherits = is_empty(entry) && is_empty(command);
    let command = if inherits { get(image, "Cmd") } else { command };
    let entry = if entry.is_null() {
        get(image, "Entrypoint")
    } else {
        entry
    };
    made.insert("Entrypoint".to_owned(), entry.clone());
    made.insert("Cmd".to_owned(), command.clone());
    made
}

/// Whether an image's field says the same in both.
pub(crate) fn same_field(is_podman: bool, key: &str, a: &Value, b: &Value) -> bool {
    same_whole(is_podman, key, a, b)
}
