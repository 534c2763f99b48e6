//! Networks: what was asked for, without what the engine observed.

use serde_json::{Map, Value};

use crate::value::{self, text};
use crate::{Input, Network};

/// What an engine writes into an endpoint by itself. An address here is the one that it has, not one that was asked for.
const OBSERVED: [&str; 10] = [
    "NetworkID",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "MacAddress",
    "DNSNames",
];

/// A container's networks by name.
pub(crate) fn endpoints(container: &Value) -> Map<String, Value> {
    value::entries(container.pointer("/NetworkSettings/Networks"))
}

/// Whether a container with this mode has no networks of its own, whatever is shown.
pub(crate) fn is_without(mode: &str) -> bool {
    let word = mode.split(':').next().unwrap_or_default();
    matches!(
        word,
        "host" | "none" | "container" | "slirp4netns" | "pasta" | "ns"
    )
}

/// What was asked for at one network. Unknown fields stay.
pub(crate) fn desired(container: &Value, endpoint: &Value) -> Map<String, Value> {
    let mut wanted = value::entries(Some(endpoint));
    for key in OBSERVED {
        wanted.remove(key);
    }
    let id = text(container, "Id");
    let hostname = container.pointer("/Config/Hostname").and_then(Value::as_str);
    // The engine adds the id and the host name by itself, each time anew.
    let aliases: Vec<Value> = value::texts(endpoint.get("Aliases"))
        .into_iter()
        .filter(|alias| !(alias.len() == 12 && id.starts_with(alias)) && Some(*alias) != hostname)
        .map(Value::from)
        .collect();
    wanted.insert("Aliases".to_owned(), Value::Array(aliases));
    wanted.retain(|_, value| !value::is_empty(value));
    wanted
}

/// The network given at creation, and those to be connected afterwards, before the start.
pub(crate) fn split(input: &Input<'_>, host: &Map<String, Value>) -> (Map<String, Value>, Vec<Network>) {
    let mode = host
        .get("NetworkMode")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut first = Map::new();
    let mut others = Vec::new();
    if is_without(mode) {
        return (first, others);
    }
    let all = endpoints(input.container);
    if input.is_podman {
        // It takes all of them at once, and calls the mode of each `bridge`.
        for (name, endpoint) in &all {
            let mut wanted = desired(input.container, endpoint);
            if let Some(asked) = input.asked {
                asked.add(name, &mut wanted);
            }
            first.insert(name.clone(), Value::Object(wanted));
        }
        return (first, others);
    }
    let named = if mode == "default" { "bridge" } else { mode };
    let is_first = |name: &str, endpoint: &Value| name == named || text(endpoint, "NetworkID") == named;
    for (name, endpoint) in &all {
        let wanted = desired(input.container, endpoint);
        if is_first(name, endpoint) {
            // The default network takes neither aliases nor addresses, not even empty ones in old versions.
            if !wanted.is_empty() {
                first.insert(name.clone(), Value::Object(wanted));
            }
        } else {
            others.push(Network {
                name: name.clone(),
                endpoint: Value::Object(wanted),
            });
        }
    }
    (first, others)
}
