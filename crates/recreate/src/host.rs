//! `HostConfig`: passed on as it is, but for what is said there in a way that creating does not take.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::value::{self, text, texts};
use crate::{Input, Note, RecreateError};

/// What of `HostConfig` is carried, and the names of containers that it needs.
pub(crate) fn carried(
    input: &Input<'_>,
    host: &Map<String, Value>,
    notes: &mut Vec<Note>,
) -> Result<(Map<String, Value>, Vec<String>), RecreateError> {
    let mut carried = host.clone();
    let mut needs = BTreeSet::new();
    for key in ["NetworkMode", "IpcMode", "PidMode"] {
        resolve_mode(input, &mut carried, key, &mut needs, notes)?;
    }
    volumes_from(input, &mut carried, &mut needs, notes)?;
    links(&mut carried, &mut needs, notes);
    anonymous(input, &mut carried, notes);
    if input.is_podman {
        podman(&mut carried, notes);
    }
    Ok((carried, needs.into_iter().collect()))
}

fn note(notes: &mut Vec<Note>, key: &str, message: impl Into<String>) {
    notes.push(Note {
        path: format!("HostConfig/{key}"),
        message: message.into(),
    });
}

/// The name behind an id, a part of one, or a name.
fn resolve(input: &Input<'_>, path: &str, id: &str) -> Result<String, RecreateError> {
    let names = input.names;
    if let Some(name) = names.get(id) {
        return Ok(name.clone());
    }
    if names.values().any(|name| name == id) {
        return Ok(id.to_owned());
    }
    let is_part = 12 <= id.len() && id.chars().all(|c| c.is_ascii_hexdigit());
    let found = names.iter().find(|(full, _)| is_part && full.starts_with(id));
    found
        .map(|(_, name)| name.clone())
        .ok_or_else(|| RecreateError::Unresolved {
            path: path.to_owned(),
            id: id.to_owned(),
        })
}

/// `container:<id>` names a container that may be made again itself: its name stays, its id does not.
fn resolve_mode(
    input: &Input<'_>,
    host: &mut Map<String, Value>,
    key: &str,
    needs: &mut BTreeSet<String>,
    notes: &mut Vec<Note>,
) -> Result<(), RecreateError> {
    let Some(id) = host
        .get(key)
        .and_then(Value::as_str)
        .and_then(|mode| mode.strip_prefix("container:"))
    else {
        return Ok(());
    };
    let name = resolve(input, &format!("HostConfig/{key}"), id)?;
    if name != id {
        note(notes, key, format!("names {name} instead of its id"));
    }
    host.insert(key.to_owned(), Value::from(format!("container:{name}")));
    needs.insert(name);
    Ok(())
}

fn volumes_from(
    input: &Input<'_>,
    host: &mut Map<String, Value>,
    needs: &mut BTreeSet<String>,
    notes: &mut Vec<Note>,
) -> Result<(), RecreateError> {
    let given: Vec<String> = texts(host.get("VolumesFrom"))
        .into_iter()
        .map(str::to_owned)
        .collect();
    if given.is_empty() {
        return Ok(());
    }
    let mut named = Vec::new();
    for entry in &given {
        let (id, mode) = entry
            .split_once(':')
            .map_or((entry.as_str(), None), |(id, mode)| (id, Some(mode)));
        let name = resolve(input, "HostConfig/VolumesFrom", id)?;
        named.push(mode.map_or_else(|| name.clone(), |mode| format!("{name}:{mode}")));
        needs.insert(name);
    }
    if named != given {
        note(notes, "VolumesFrom", "names containers instead of their ids");
    }
    host.insert("VolumesFrom".to_owned(), Value::from(named));
    Ok(())
}

/// Kept as `/target:/self/alias`, taken as `target:alias`.
fn links(host: &mut Map<String, Value>, needs: &mut BTreeSet<String>, notes: &mut Vec<Note>) {
    let given = texts(host.get("Links"));
    if given.is_empty() {
        return;
    }
    let split: Vec<String> = given.iter().map(|link| link_of(link)).collect();
    for link in &split {
        needs.insert(link.split(':').next().unwrap_or_default().to_owned());
    }
    note(notes, "Links", "written as creating takes them");
    host.insert("Links".to_owned(), Value::from(split));
}

/// A link as creating takes it.
pub(crate) fn link_of(link: &str) -> String {
    let Some((target, alias)) = link.split_once(':') else {
        return link.to_owned();
    };
    let alias = alias.rsplit('/').next().unwrap_or(alias);
    format!("{}:{alias}", target.trim_start_matches('/'))
}

/// A volume without a name of its own is found again only by the name that the engine gave it.
fn anonymous(input: &Input<'_>, host: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    let known = destinations(host);
    let mut binds: Vec<Value> = host
        .get("Binds")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let before = binds.len();
    let mounts = input.container.get("Mounts").and_then(Value::as_array);
    for mount in mounts.into_iter().flatten() {
        let (name, place) = (text(mount, "Name"), text(mount, "Destination"));
        if text(mount, "Type") != "volume" || name.is_empty() || known.contains(normal(place)) {
            continue;
        }
        let mode = if mount.get("RW") == Some(&Value::Bool(false)) {
            ":ro"
        } else {
            ""
        };
        binds.push(Value::from(format!("{name}:{place}{mode}")));
    }
    if before < binds.len() {
        note(
            notes,
            "Binds",
            "volumes without a name of their own are kept by the name the engine gave them",
        );
        host.insert("Binds".to_owned(), Value::Array(binds));
    }
}

/// Where something is mounted by `Binds`, `Mounts` or `Tmpfs`.
fn destinations(host: &Map<String, Value>) -> BTreeSet<String> {
    let binds = texts(host.get("Binds"))
        .into_iter()
        .filter_map(|bind| bind.split(':').nth(1));
    let mounts = host.get("Mounts").and_then(Value::as_array).into_iter().flatten();
    let mut all: BTreeSet<String> = binds.map(|place| normal(place).to_owned()).collect();
    all.extend(mounts.map(|mount| normal(text(mount, "Target")).to_owned()));
    all.extend(
        value::entries(host.get("Tmpfs"))
            .keys()
            .map(|place| normal(place).to_owned()),
    );
    all
}

fn normal(place: &str) -> &str {
    let trimmed = place.trim_end_matches('/');
    if trimmed.is_empty() { place } else { trimmed }
}

/// What Podman 4 says and does not take back.
fn podman(host: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    if host
        .get("MemorySwappiness")
        .and_then(Value::as_i64)
        .is_some_and(|value| value <= 0)
    {
        host.remove("MemorySwappiness");
        note(
            notes,
            "MemorySwappiness",
            "not given to podman, which refuses it where none was set",
        );
    }
    let has_cpus = host
        .get("NanoCpus")
        .and_then(Value::as_i64)
        .is_some_and(|cpus| 0 < cpus);
    if has_cpus {
        for key in ["CpuPeriod", "CpuQuota"] {
            host.remove(key);
            note(
                notes,
                key,
                "says the same as NanoCpus, and podman takes only one of them",
            );
        }
    }
    if text(&Value::Object(host.clone()), "Runtime") == "oci" {
        host.remove("Runtime");
        note(notes, "Runtime", "the word for podman's own");
    }
    let Some(limits) = host.get_mut("Ulimits").and_then(Value::as_array_mut) else {
        return;
    };
    for limit in limits {
        let Some(name) = limit
            .get("Name")
            .and_then(Value::as_str)
            .and_then(|name| name.strip_prefix("RLIMIT_"))
        else {
            continue;
        };
        limit["Name"] = Value::from(name.to_ascii_lowercase());
    }
}
