//! From a container and two images to the request that makes the container again with the second image.
//!
//! Pure: it reads what engines say as the JSON it is, and writes the body of `POST /containers/create`. No engine keeps
//! where a value came from, so a container is compared with the image it was made of: what is equal came from the image
//! and is left to the new one, what differs was set by somebody and is kept. Whatever no rule here knows is passed on.
//!
//! [`explain`] is the other half: it compares the container with the one that was made, and names each difference
//! with the rule that wants it, or as unexplained. Nothing unexplained may ever be started.

mod asked;
mod explain;
mod host;
mod image;
mod network;
mod owner;
mod value;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use thiserror::Error;

pub use asked::{Asked, AskedError, LABEL, UnreadError, asked, pulls_again};
pub use explain::{Difference, Why, explain};
pub use owner::{Owner, owner};

/// What is needed to make a container again.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Whether the engine is Podman, whose inspect says some things in words that its create does not take.
    pub is_podman: bool,
    /// The container's inspect.
    pub container: &'a Value,
    /// Inspect of the image it was made of, found by its id; `None`: it is gone.
    pub old_image: Option<&'a Value>,
    /// Inspect of the image it is to be made of.
    pub new_image: &'a Value,
    /// The reference it is to be configured with.
    pub image: &'a str,
    /// Which addresses were asked for, where the engine does not show it: of Podman.
    pub asked: Option<&'a Asked>,
    /// Names, without a slash, of all containers of the engine by id.
    pub names: &'a BTreeMap<String, String>,
}

/// Something a rule did that is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where, such as `HostConfig/Binds`.
    pub path: String,
    /// What was done, and why.
    pub message: String,
}

/// A network that the new container is to be connected to before it is started.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// `EndpointConfig` of `POST /networks/{name}/connect`.
    pub endpoint: Value,
}

/// How the container is made again.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The container's name, without a slash.
    pub name: String,
    /// What `POST /containers/create` takes.
    pub body: Value,
    /// Further networks.
    pub networks: Vec<Network>,
    /// Names of containers it needs: network, volumes, links.
    pub needs: Vec<String>,
    /// What was changed on the way.
    pub notes: Vec<Note>,
}

/// Why a container can't be made again.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecreateError {
    /// The engine removes it as soon as it stops: there would be nothing to go back to.
    #[error(
        "the engine removes this container when it stops (--rm), so there would be nothing to go back to"
    )]
    AutoRemove,
    /// An inspect is not what it should be.
    #[error("{0} is missing in what the engine says")]
    Missing(&'static str),
    /// It names another container that is not there.
    #[error("{path} names a container that is not there: {id}")]
    Unresolved {
        /// Where.
        path: String,
        /// Which one.
        id: String,
    },
}

/// The plan for `input`.
///
/// # Errors
/// If the container can't be made again without losing something.
pub fn plan(input: &Input<'_>) -> Result<Plan, RecreateError> {
    let config = object(input.container.get("Config"), "Config")?;
    let host = object(input.container.get("HostConfig"), "HostConfig")?;
    if host.get("AutoRemove") == Some(&Value::Bool(true)) {
        return Err(RecreateError::AutoRemove);
    }
    let mut notes = Vec::new();
    let (host, needs) = host::carried(input, host, &mut notes)?;
    let mut body = image::carried(input, config, &mut notes)?;
    hostname(input, &mut body, &mut notes);
    mac(input, &mut body, &mut notes);
    label(input, &mut body);
    let (first, networks) = network::split(input, &host);
    body.insert("HostConfig".to_owned(), Value::Object(host));
    if !first.is_empty() {
        body.insert("NetworkingConfig".to_owned(), json!({"EndpointsConfig": first}));
    }
    Ok(Plan {
        name: name(input.container)?.to_owned(),
        body: Value::Object(body),
        networks,
        needs,
        notes,
    })
}

/// A container's name, without the slash that engines write before it.
///
/// # Errors
/// If it has none.
pub fn name(container: &Value) -> Result<&str, RecreateError> {
    let name = value::text(container, "Name").trim_start_matches('/');
    if name.is_empty() {
        Err(RecreateError::Missing("Name"))
    } else {
        Ok(name)
    }
}

fn object<'a>(value: Option<&'a Value>, what: &'static str) -> Result<&'a Map<String, Value>, RecreateError> {
    value
        .and_then(Value::as_object)
        .ok_or(RecreateError::Missing(what))
}

/// Whether the host name is one that the engine gives by itself: the container's own id, or that of whose it shares.
fn has_own_hostname(container: &Value) -> bool {
    let hostname = container.pointer("/Config/Hostname").and_then(Value::as_str);
    let mode = |name: &str| value::text(&container["HostConfig"], name);
    let is_shared = mode("NetworkMode").starts_with("container:")
        || mode("NetworkMode") == "host"
        || mode("UTSMode") == "host";
    let is_id =
        hostname.is_some_and(|name| name.len() == 12 && value::text(container, "Id").starts_with(name));
    !is_shared && !is_id
}

fn hostname(input: &Input<'_>, body: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    if has_own_hostname(input.container) {
        return;
    }
    let shared = value::text(&input.container["HostConfig"], "NetworkMode").starts_with("container:");
    if body
        .remove("Hostname")
        .is_some_and(|name| !value::is_empty(&name))
    {
        notes.push(Note {
            path: "Config/Hostname".to_owned(),
            message: "the engine gives it: it was the container's id or another's name".to_owned(),
        });
    }
    if shared {
        body.remove("Domainname");
    }
}

/// What was made has no command line that could say the next time what was asked for.
fn label(input: &Input<'_>, body: &mut Map<String, Value>) {
    let Some(text) = input.asked.and_then(Asked::label) else {
        return;
    };
    let mut labels = value::entries(body.get("Labels"));
    labels.insert(LABEL.to_owned(), Value::from(text));
    body.insert("Labels".to_owned(), Value::Object(labels));
}

/// Only an address that somebody has set is kept: one that was made from the IP address would be doubled.
fn mac(input: &Input<'_>, body: &mut Map<String, Value>, notes: &mut Vec<Note>) {
    if input.is_podman {
        // It shows here the one that the container has; what was asked for is said at the network.
        body.remove("MacAddress");
        return;
    }
    let Some(mac) = body.get("MacAddress").and_then(Value::as_str) else {
        return;
    };
    let endpoints = network::endpoints(input.container);
    let is_made = endpoints
        .values()
        .any(|endpoint| value::mac_of(value::text(endpoint, "IPAddress")).as_deref() == Some(mac));
    if is_made {
        body.remove("MacAddress");
        notes.push(Note {
            path: "Config/MacAddress".to_owned(),
            message: "it was made from the container's address".to_owned(),
        });
    }
}
