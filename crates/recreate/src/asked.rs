//! Which addresses a container of Podman was given on purpose.
//!
//! Podman's inspects show the address that a container has, and not whether somebody has asked for it. What knows it is
//! the command line that made the container, which Podman keeps; or the label that Muster gives to the containers it
//! makes, since those have no command line. Where neither is there, or they do not fit what the container is in by now,
//! nothing is known: an address that is lost is worse than an update that is not done.

mod command;

use core::net::IpAddr;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::network;
use crate::value::{text, texts};

pub use command::UnreadError;
use command::{CommandLine, DEFAULT};

/// The label by which a container that Muster has made says what was asked for.
pub const LABEL: &str = "muster.networks";
/// The network that Podman's containers are in when nobody says anything.
const DEFAULT_NAME: &str = "podman";

/// What was asked for at each network of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Asked {
    networks: BTreeMap<String, Wish>,
}

/// What was asked for at one network; the names that it is known by there are shown by the engine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Wish {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ips: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
}

/// Why it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AskedError {
    /// Nobody has kept it.
    #[error(
        "podman does not say whether this container's addresses in its own networks were asked for, and keeps no command \
         line that does"
    )]
    Unknown,
    /// The command line cannot be read.
    #[error(transparent)]
    Unread(#[from] UnreadError),
    /// The container was connected elsewhere since.
    #[error("this container has by now {is}, and was made with {asked}")]
    Moved {
        /// Where it is.
        is: String,
        /// Where it was asked to be.
        asked: String,
    },
    /// It cannot be asked for by the compatible API.
    #[error("this container was asked to have {0}, which podman's compatible API can't be told")]
    Unsayable(String),
}

/// What was asked for, from the inspect of `container` as Docker would say it, and `native`, Podman's own one.
///
/// # Errors
/// [`AskedError`] if it can't be known.
pub fn asked(
    container: &Value,
    native: Option<&Value>,
    old_image: Option<&Value>,
) -> Result<Asked, AskedError> {
    if network::is_without(text(&container["HostConfig"], "NetworkMode")) {
        return Ok(Asked::default());
    }
    let shown = network::endpoints(container);
    let line: Vec<&str> = native.map_or_else(Vec::new, |own| texts(own.pointer("/Config/CreateCommand")));
    let asked = if line.is_empty() || command::is_service(&line) {
        match labelled(container, old_image) {
            Some(asked) => asked,
            // A client of Docker's API can't ask for an address there.
            None if shown.keys().all(|name| name == DEFAULT_NAME) => return Ok(Asked::default()),
            None => return Err(AskedError::Unknown),
        }
    } else {
        let line = command::read(&line)?;
        fits(&line, native.unwrap_or(&Value::Null))?;
        of_line(&line, &shown)?
    };
    asked.check(&shown)?;
    let unmet = asked.unmet(container);
    if container["State"]["Running"] == true && !unmet.is_empty() {
        return Err(AskedError::Moved {
            is: "other addresses".to_owned(),
            asked: unmet.join(", "),
        });
    }
    Ok(asked)
}

/// Whether the unit or person that made the container with its command line has the image pulled anew each time.
///
/// # Errors
/// [`AskedError`] if the command line can't be read, or there is none.
pub fn pulls_again(native: &Value) -> Result<bool, AskedError> {
    let line = texts(native.pointer("/Config/CreateCommand"));
    if line.is_empty() || command::is_service(&line) {
        return Err(AskedError::Unknown);
    }
    let line = command::read(&line)?;
    Ok(matches!(line.pull.as_deref(), Some("always" | "newer" | "true")))
}

/// A label counts where somebody has given it to the container: one of its image was written by a stranger.
fn labelled(container: &Value, old_image: Option<&Value>) -> Option<Asked> {
    let label = text(&container["Config"]["Labels"], LABEL);
    let of_image = text(&old_image?["Config"]["Labels"], LABEL);
    if label.is_empty() || label == of_image {
        return None;
    }
    serde_json::from_str(label).ok()
}

/// What stands behind the image's name is the container's command: if it is not, the line was misread.
fn fits(line: &CommandLine, native: &Value) -> Result<(), AskedError> {
    let command = texts(native.pointer("/Config/Cmd"));
    if line.arguments.is_empty() || line.arguments == command {
        return Ok(());
    }
    Err(UnreadError::Arguments.into())
}

fn of_line(line: &CommandLine, shown: &Map<String, Value>) -> Result<Asked, AskedError> {
    let mut networks = BTreeMap::new();
    let named: BTreeSet<&str> = line.networks.keys().map(String::as_str).collect();
    for (name, options) in &line.networks {
        if let Some(interface) = &options.interface {
            return Err(AskedError::Unsayable(format!("the interface {interface}")));
        }
        let name = if name == DEFAULT {
            // What the default network is called is a setting: it is the one that no other word stands for.
            let mut others = shown.keys().filter(|name| !named.contains(name.as_str()));
            others.next().map_or(DEFAULT_NAME, String::as_str)
        } else {
            name
        };
        // Each name that was asked for is there still; more may have come, which take nothing away.
        let known = shown
            .get(name)
            .map(|endpoint| texts(endpoint.get("Aliases")))
            .unwrap_or_default();
        if let Some(gone) = options
            .aliases
            .iter()
            .find(|alias| !known.contains(&alias.as_str()))
        {
            return Err(AskedError::Moved {
                is: format!("not the alias {gone} in {name}"),
                asked: "it".to_owned(),
            });
        }
        let wish = Wish {
            ips: options.ips.clone(),
            mac: options.mac.clone(),
        };
        networks.insert(name.to_owned(), wish);
    }
    Ok(Asked { networks })
}

impl Asked {
    /// Only what the container is in, and all of that, was asked for; and the compatible API can say it.
    fn check(&self, shown: &Map<String, Value>) -> Result<(), AskedError> {
        let list = |names: Vec<&String>| -> String {
            if names.is_empty() {
                return "none".to_owned();
            }
            names
                .into_iter()
                .map(String::as_str)
                .collect::<Vec<_>>()
                .join(", ")
        };
        if !self.networks.keys().eq(shown.keys().collect::<BTreeSet<_>>()) {
            return Err(AskedError::Moved {
                is: format!("the networks {}", list(shown.keys().collect())),
                asked: format!("the networks {}", list(self.networks.keys().collect())),
            });
        }
        for (name, wish) in &self.networks {
            let of = |is_v4: bool| wish.ips.iter().filter(|ip| ip.is_ipv4() == is_v4).count();
            if 1 < of(true) || 1 < of(false) {
                return Err(AskedError::Unsayable(format!("several addresses in {name}")));
            }
        }
        Ok(())
    }

    /// Whether a container that is made again needs [`LABEL`], having no command line any more.
    pub(crate) fn label(&self) -> Option<String> {
        let is_usual = self
            .networks
            .iter()
            .all(|(name, wish)| name == DEFAULT_NAME && *wish == Wish::default());
        if is_usual {
            return None;
        }
        serde_json::to_string(self).ok()
    }

    /// Adds to the settings of one network what was asked for there.
    pub(crate) fn add(&self, network: &str, endpoint: &mut Map<String, Value>) {
        let Some(wish) = self.networks.get(network) else {
            return;
        };
        let mut addresses = Map::new();
        for ip in &wish.ips {
            let key = if ip.is_ipv4() {
                "IPv4Address"
            } else {
                "IPv6Address"
            };
            addresses.insert(key.to_owned(), json!(ip.to_string()));
        }
        if !addresses.is_empty() {
            endpoint.insert("IPAMConfig".to_owned(), Value::Object(addresses));
        }
        if let Some(mac) = &wish.mac {
            endpoint.insert("MacAddress".to_owned(), json!(mac));
        }
    }

    /// What was asked for and a running container does not have, in words. Podman shows it only of one that runs.
    #[must_use]
    pub fn unmet(&self, container: &Value) -> Vec<String> {
        let shown = network::endpoints(container);
        let mut unmet = Vec::new();
        for (name, wish) in &self.networks {
            let endpoint = shown.get(name).unwrap_or(&Value::Null);
            let has = |ip: &IpAddr| {
                let key = if ip.is_ipv4() {
                    "IPAddress"
                } else {
                    "GlobalIPv6Address"
                };
                text(endpoint, key).parse() == Ok(*ip)
            };
            unmet.extend(
                wish.ips
                    .iter()
                    .filter(|ip| !has(ip))
                    .map(|ip| format!("the address {ip} in {name}")),
            );
            let digits = |mac: &str| mac.to_ascii_lowercase().replace([':', '-', '.'], "");
            let is_other = |mac: &&String| digits(mac) != digits(text(endpoint, "MacAddress"));
            unmet.extend(
                wish.mac
                    .iter()
                    .filter(is_other)
                    .map(|mac| format!("the MAC {mac} in {name}")),
            );
        }
        unmet
    }
}

#[cfg(test)]
mod tests;
