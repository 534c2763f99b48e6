//! What differs between a container and the one made after it, and why.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::value::{self, entries, environment, same, text};
use crate::{Input, RecreateError, host, image, network, plan};

/// Why something differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// A rule wants it.
    Expected(String),
    /// No rule does.
    Unexplained,
}

/// A difference.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Where, such as `Config/Env/PATH`.
    pub path: String,
    /// In the container that there was.
    pub before: Value,
    /// In the one that was made.
    pub after: Value,
    /// Why.
    pub why: Why,
}

impl Difference {
    /// As JSON. Values of the environment are left out: they never leave the server.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let is_secret = self.path.starts_with("Config/Env/");
        let shown = |value: &Value| if is_secret { json!("…") } else { value.clone() };
        json!({
            "path": self.path,
            "before": shown(&self.before),
            "after": shown(&self.after),
            "why": match &self.why {
                Why::Expected(reason) => json!(reason),
                Why::Unexplained => Value::Null,
            },
        })
    }
}

/// Fields of `Config` that the rules of images judge.
const OF_IMAGES: [&str; 8] = [
    "WorkingDir",
    "User",
    "StopSignal",
    "Shell",
    "Healthcheck",
    "Entrypoint",
    "Cmd",
    "Env",
];

/// Compares a container with `after`, the inspect of the one that was made of [`plan`] and not started yet.
///
/// # Errors
/// If there is no plan.
pub fn explain(input: &Input<'_>, after: &Value) -> Result<Vec<Difference>, RecreateError> {
    let plan = plan(input)?;
    let mut found = Found {
        is_podman: input.is_podman,
        differences: Vec::new(),
    };
    let body = entries(Some(&plan.body));
    config(input, after, &body, &mut found);
    host_config(input, after, &plan, &mut found);
    networks(input, after, &mut found);
    mounts(input, after, &mut found);
    let (before, made) = (&input.container["Name"], &after["Name"]);
    if before != made {
        found.unexplained("Name", before, made);
    }
    Ok(found.differences)
}

struct Found {
    is_podman: bool,
    differences: Vec<Difference>,
}

impl Found {
    fn push(&mut self, path: impl Into<String>, before: &Value, after: &Value, why: Why) {
        self.differences.push(Difference {
            path: path.into(),
            before: before.clone(),
            after: after.clone(),
            why,
        });
    }

    fn unexplained(&mut self, path: impl Into<String>, before: &Value, after: &Value) {
        self.push(path, before, after, Why::Unexplained);
    }

    /// What should be there, what was, what is.
    fn judge(&mut self, path: &str, expected: &Value, before: &Value, after: &Value, reason: &str) {
        let key = path.rsplit('/').next().unwrap_or_default();
        if !image::same_field(self.is_podman, key, expected, after) {
            self.unexplained(path, before, after);
        } else if !same(before, after) {
            self.push(path, before, after, Why::Expected(reason.to_owned()));
        }
    }
}

fn keys<'a>(maps: &[&'a Map<String, Value>]) -> BTreeSet<&'a str> {
    maps.iter()
        .flat_map(|map| map.keys())
        .map(String::as_str)
        .collect()
}

fn config(input: &Input<'_>, after: &Value, body: &Map<String, Value>, found: &mut Found) {
    const NEW: &str = "of the new image";
    let (before, made) = (
        entries(input.container.get("Config")),
        entries(after.get("Config")),
    );
    let expected = image::effective(body, &image::image_config(input.new_image));
    let null = Value::Null;
    for key in keys(&[&before, &made]) {
        let (old, new) = (before.get(key).unwrap_or(&null), made.get(key).unwrap_or(&null));
        let path = format!("Config/{key}");
        if image::LEFT_OUT.contains(&key) {
            continue;
        }
        if key == "Env" {
            let wanted = entries(expected.get(key));
            per_key(
                input,
                after,
                key,
                &wanted,
                &environment(Some(old)),
                &environment(Some(new)),
                found,
            );
        } else if key == "Volumes" && input.is_podman {
            // Podman lists none here; what is mounted is judged by itself.
        } else if image::KEYED.contains(&key) {
            let wanted = entries(expected.get(key));
            per_key(
                input,
                after,
                key,
                &wanted,
                &entries(Some(old)),
                &entries(Some(new)),
                found,
            );
        } else if OF_IMAGES.contains(&key) {
            found.judge(&path, expected.get(key).unwrap_or(&null), old, new, NEW);
        } else if key == "Image" {
            found.judge(
                &path,
                &Value::from(input.image),
                old,
                new,
                "the reference of the plan",
            );
        } else if same(old, new) || is_given_name(key, input.container, old, after, new) {
            // As it was, or given anew by the engine.
        } else if key == "MacAddress" && !body.contains_key(key) {
            found.push(path, old, new, Why::Expected("made from the address".to_owned()));
        } else {
            found.unexplained(path, old, new);
        }
    }
}

/// Host names that the engine gives: each container's own id, or that of whose network it shares.
fn is_given_name(key: &str, before: &Value, old: &Value, after: &Value, new: &Value) -> bool {
    let is_name = key == "Hostname" || key == "Domainname";
    let own = |container: &Value, name: &Value| {
        let name = name.as_str().unwrap_or_default();
        name.is_empty() || text(container, "Id").starts_with(name) || !crate::has_own_hostname(container)
    };
    is_name && !crate::has_own_hostname(before) && own(before, old) && own(after, new)
}

fn per_key(
    input: &Input<'_>,
    after: &Value,
    field: &str,
    expected: &Map<String, Value>,
    before: &Map<String, Value>,
    made: &Map<String, Value>,
    found: &mut Found,
) {
    let absent = Value::Null;
    // A variable without a value is one that was taken away: some engines list it, some do not.
    let get = |map: &Map<String, Value>, key: &str| map.get(key).unwrap_or(&absent).clone();
    for key in keys(&[expected, before, made]) {
        let (want, old, new) = (get(expected, key), get(before, key), get(made, key));
        let path = format!("Config/{field}/{key}");
        let is_given = field == "Env"
            && (image::is_given(input, input.container, key, &old) || old.is_null())
            && image::is_given(input, after, key, &new);
        if is_given {
            continue;
        }
        if want != new {
            found.unexplained(path, &old, &new);
        } else if old != new {
            let reason = match key {
                "com.docker.compose.image" => "so that compose finds the image it would use",
                crate::LABEL => "so that the next update knows which addresses were asked for",
                _ => "of the new image",
            };
            found.push(path, &old, &new, Why::Expected(reason.to_owned()));
        }
    }
}

fn host_config(input: &Input<'_>, after: &Value, plan: &crate::Plan, found: &mut Found) {
    let (before, made) = (
        entries(input.container.get("HostConfig")),
        entries(after.get("HostConfig")),
    );
    let given = entries(plan.body.get("HostConfig"));
    let null = Value::Null;
    for key in keys(&[&before, &made]) {
        let (old, new) = (before.get(key).unwrap_or(&null), made.get(key).unwrap_or(&null));
        let path = format!("HostConfig/{key}");
        if same(old, new) {
            continue;
        }
        let note = plan.notes.iter().find(|note| note.path == path);
        let wanted = given.get(key).unwrap_or(&null);
        let is_wanted = match key {
            "Links" => links(wanted) == links(new),
            "Binds" => binds(wanted) == binds(new),
            "NetworkMode" | "IpcMode" | "PidMode" => named(input, wanted) == named(input, new),
            _ => same(wanted, new),
        };
        match note {
            Some(note) if is_wanted => found.push(path, old, new, Why::Expected(note.message.clone())),
            _ if is_wanted && matches!(key, "Links" | "Binds" | "NetworkMode" | "IpcMode" | "PidMode") => {
                let reason = "the same in other words".to_owned();
                found.push(path, old, new, Why::Expected(reason));
            }
            _ => found.unexplained(path, old, new),
        }
    }
}

fn links(value: &Value) -> BTreeSet<String> {
    value::texts(Some(value)).into_iter().map(host::link_of).collect()
}

/// Without regard to order, nor to that of options.
fn binds(value: &Value) -> BTreeSet<Vec<BTreeSet<&str>>> {
    let all = value::texts(Some(value)).into_iter();
    all.map(|bind| {
        let mut parts = bind.split(':').map(|part| part.split(',').collect());
        parts.by_ref().collect()
    })
    .collect()
}

/// A mode with the name of the container that it names.
fn named(input: &Input<'_>, mode: &Value) -> String {
    let mode = mode.as_str().unwrap_or_default();
    let name = mode.strip_prefix("container:").and_then(|id| input.names.get(id));
    name.map_or_else(|| mode.to_owned(), |name| format!("container:{name}"))
}

fn networks(input: &Input<'_>, after: &Value, found: &mut Found) {
    let mode = text(&input.container["HostConfig"], "NetworkMode");
    if mode.starts_with("container:") {
        return;
    }
    let (before, made) = (network::endpoints(input.container), network::endpoints(after));
    // Before its first start some engines list the network by the word it was asked for with.
    let get = |map: &Map<String, Value>, name: &str| {
        let default = if name == "bridge" { "default" } else { name };
        map.get(name).or_else(|| map.get(default)).cloned()
    };
    for name in keys(&[&before, &made]) {
        if name == "default" && before.contains_key("bridge") {
            continue;
        }
        let path = format!("NetworkSettings/Networks/{name}");
        match (get(&before, name), get(&made, name)) {
            (Some(old), Some(new)) => {
                let old = network::desired(input.container, &old);
                let new = network::desired(after, &new);
                for key in keys(&[&old, &new]) {
                    let null = Value::Null;
                    let (old, new) = (old.get(key).unwrap_or(&null), new.get(key).unwrap_or(&null));
                    let equal = if key == "Aliases" {
                        let set = |value: &Value| -> BTreeSet<String> {
                            value::texts(Some(value)).into_iter().map(str::to_owned).collect()
                        };
                        set(old) == set(new)
                    } else {
                        same(old, new)
                    };
                    if !equal {
                        found.unexplained(format!("{path}/{key}"), old, new);
                    }
                }
            }
            (old, new) => {
                let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
                found.unexplained(path, &old, &new);
            }
        }
    }
}

fn mounts(input: &Input<'_>, after: &Value, found: &mut Found) {
    let by_place = |container: &Value| -> Map<String, Value> {
        let mounts = container.get("Mounts").and_then(Value::as_array);
        let all = mounts.into_iter().flatten();
        all.map(|mount| (text(mount, "Destination").to_owned(), mount.clone()))
            .collect()
    };
    let (before, made) = (by_place(input.container), by_place(after));
    let declared = entries(input.new_image.pointer("/Config/Volumes"));
    for place in keys(&[&before, &made]) {
        let path = format!("Mounts{place}");
        match (before.get(place), made.get(place)) {
            (Some(old), Some(new)) => {
                let is_same = ["Type", "Name", "Source", "Driver", "RW"]
                    .iter()
                    .all(|key| same(&old[*key], &new[*key]));
                if !is_same {
                    found.unexplained(path, old, new);
                }
            }
            (None, Some(new)) if declared.contains_key(place) && text(new, "Type") == "volume" => {
                found.push(
                    path,
                    &Value::Null,
                    new,
                    Why::Expected("a volume of the new image".to_owned()),
                );
            }
            (old, new) => {
                let null = Value::Null;
                found.unexplained(path, old.unwrap_or(&null), new.unwrap_or(&null));
            }
        }
    }
}
