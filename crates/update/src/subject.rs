//! What is judged: a container, what there is for it, and what stands in the way.

use std::collections::BTreeMap;

use muster_image::Reference;
use serde::{Deserialize, Serialize};

use crate::Change;

/// Who made a container, and has to be asked when it is to be made anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Nobody but whoever started it.
    #[default]
    None,
    /// A compose project.
    Compose,
    /// A unit of systemd.
    Systemd,
    /// A quadlet of Podman.
    Quadlet,
    /// A service of a swarm.
    Swarm,
    /// A pod of Podman.
    Pod,
    /// Kubernetes.
    Kubernetes,
    /// A word that this version does not know.
    Other,
}

impl Owner {
    /// Reads the word of the inventory.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "" | "none" => Self::None,
            "compose" => Self::Compose,
            "systemd" => Self::Systemd,
            "quadlet" => Self::Quadlet,
            "swarm" => Self::Swarm,
            "pod" => Self::Pod,
            "kubernetes" => Self::Kubernetes,
            _ => Self::Other,
        }
    }

    /// Why containers of this owner are not updated from here, and what to do; `None` if they are.
    #[must_use]
    pub const fn held_because(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Compose | Self::Systemd | Self::Quadlet => None,
            Self::Swarm => Some(
                "it belongs to a service of a swarm, which would put the old one back: use docker service update there",
            ),
            Self::Pod => {
                Some("it belongs to a pod, whose containers share what only making the pod anew can keep")
            }
            Self::Kubernetes => {
                Some("it belongs to Kubernetes, which decides itself what it runs: change the deployment")
            }
            Self::Other => Some("somebody made it whom this version does not know: ask them"),
        }
    }
}

/// A container as far as deciding needs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Number of its resource.
    pub id: i64,
    /// Number of its server.
    pub server: i64,
    /// Its name.
    pub name: String,
    /// The image reference it is configured with.
    pub image: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Who made it.
    pub owner: Owner,
    /// The compose project it belongs to.
    pub compose_project: Option<String>,
    /// Whether the engine removes it as soon as it stops.
    pub is_auto_remove: bool,
}

/// An image that it could be updated to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The reference, with the tag.
    pub image: String,
    /// Digest of the tag's index or manifest.
    pub digest: String,
    /// Digest of what of it is for the platform, if that is known: the same under several indexes.
    #[serde(default)]
    pub platform_digest: Option<String>,
    /// When this digest was first seen, Unix ms; `None` if that is not known.
    pub first_seen_ms: Option<i64>,
    /// Where it is told what is new in it.
    pub release_notes: Option<String>,
}

impl Offer {
    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<String> {
        tag_of(&reference(&self.image)?)
    }

    /// How far it is from the image that a container is configured with.
    #[must_use]
    pub fn change_from(&self, image: &str) -> Change {
        let (Some(from), Some(to)) = (reference(image), reference(&self.image)) else {
            return Change::Unknown;
        };
        match (tag_of(&from), tag_of(&to)) {
            (Some(tag), Some(offered)) if from.name() == to.name() => Change::forward(&tag, &offered),
            _ => Change::Unknown,
        }
    }
}

/// A name as people write it; `None` if it names no image.
pub(crate) fn reference(image: &str) -> Option<Reference> {
    image.parse().ok()
}

fn tag_of(reference: &Reference) -> Option<String> {
    reference.effective_tag().map(str::to_owned)
}

/// What the registry said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidate {
    /// It cannot be told whether there is something new, and why.
    Unknown(String),
    /// What runs is what the registry has.
    Current,
    /// There is something new.
    Available(Offer),
}

/// What sort of thing stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldKind {
    /// The storage under its volumes is not well.
    Storage,
    /// There is too little room for another image.
    Space,
    /// The server cannot be reached.
    Server,
    /// The server's own policy does not let it.
    LocalPolicy,
    /// A roll-out has it.
    Rollout,
}

/// Something that stands in the way, whoever asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What sort.
    pub kind: HoldKind,
    /// In words, with what to do.
    pub words: String,
}
