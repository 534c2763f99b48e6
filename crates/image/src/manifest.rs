//! Manifests and indexes: what a registry answers when it is asked for an image.
//!
//! All four media types that are in use (Docker's manifest version 2 and manifest list, OCI's manifest and index) are two
//! shapes. Unknown fields are left alone: registries and builders add their own.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use crate::digest::Digest;
use crate::platform::Platform;

/// Docker's image manifest, version 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's list of manifests.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// OCI's image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI's image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// All of them: a registry that is not told of a type converts to another, whose digest is another one.
pub const ACCEPT: [&str; 4] = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST];

/// Most entries of an index that are read.
const ENTRIES_MAX: usize = 1_000;
/// Docker's first manifest, which names no content.
const DOCKER_V1: &str = "application/vnd.docker.distribution.manifest.v1";

/// What is under a tag or digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// An image for one platform.
    Image(ImageManifest),
    /// Images for several.
    Index(Index),
}

/// An image for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ImageManifest {
    /// Where its configuration is.
    pub config: Descriptor,
    /// Where its layers are.
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    /// What its builder wrote.
    #[serde(default, deserialize_with = "or_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Images for several platforms.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Index {
    /// The images, and what belongs to them.
    pub manifests: Vec<Entry>,
    /// What its builder wrote.
    #[serde(default, deserialize_with = "or_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Where content is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Which bytes.
    pub digest: Digest,
    /// How many, in bytes.
    #[serde(default)]
    pub size: u64,
}

/// One of an index.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What it is.
    #[serde(default)]
    pub media_type: String,
    /// Which bytes.
    pub digest: Digest,
    /// How many, in bytes.
    #[serde(default)]
    pub size: u64,
    /// For which platform; absent for what is none.
    #[serde(default, deserialize_with = "platform")]
    pub platform: Option<Platform>,
}

/// An image's configuration, as far as it is of interest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Which platform it is for; absent if it does not say, or says none.
    pub platform: Option<Platform>,
    /// What its builder wrote.
    pub labels: BTreeMap<String, String>,
    /// Its own environment, `NAME=value`.
    pub environment: Vec<String>,
    /// When its builder says it was made; anything may be written there.
    pub created: Option<String>,
}

/// Why bytes are no manifest.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// They are no JSON of the expected shape.
    #[error("the manifest cannot be read")]
    Json(#[source] serde_json::Error),
    /// They could be read as two things, so that two readers would see two images.
    #[error("the manifest is both an image and an index")]
    Ambiguous,
    /// What it says it is and what it was sent as differ.
    #[error("the manifest says it is {said}, but was sent as {sent}")]
    Type {
        /// In the document.
        said: String,
        /// In the header.
        sent: String,
    },
    /// It is none of the four.
    #[error("manifests of type {0} are not supported")]
    Unsupported(String),
    /// An index has too many entries.
    #[error("the index has {0} entries; at most {ENTRIES_MAX} are read")]
    Entries(usize),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: Option<u64>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<serde_json::Value>,
    #[serde(default)]
    config: Option<serde_json::Value>,
    #[serde(default)]
    layers: Option<serde_json::Value>,
}

impl Document {
    /// Reads an answer's body; `sent` is its content type.
    ///
    /// # Errors
    /// [`ManifestError`].
    pub fn parse(sent: Option<&str>, bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            let error = serde::de::Error::custom("it is no object");
            return Err(ManifestError::Json(error));
        }
        let head: Head = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let sent = sent.map(|sent| sent.split(';').next().unwrap_or(sent).trim().to_ascii_lowercase());
        // Registries that store files send general types; those say nothing.
        let sent = sent.filter(|sent| sent.starts_with("application/vnd."));
        let said = head.media_type.filter(|said| !said.is_empty());
        if let (Some(said), Some(sent)) = (&said, &sent)
            && said != sent
        {
            return Err(ManifestError::Type {
                said: said.clone(),
                sent: sent.clone(),
            });
        }
        let is_image_shaped = head.config.is_some() || head.layers.is_some();
        if head.manifests.is_some() && is_image_shaped {
            return Err(ManifestError::Ambiguous);
        }
        let kind = said.or(sent);
        let is_index = match kind.as_deref() {
            Some(DOCKER_LIST | OCI_INDEX) => true,
            Some(DOCKER_MANIFEST | OCI_MANIFEST) => false,
            None if head.schema_version == Some(1) => {
                return Err(ManifestError::Unsupported(DOCKER_V1.to_owned()));
            }
            None => head.manifests.is_some(),
            Some(other) => return Err(ManifestError::Unsupported(other.to_owned())),
        };
        if !is_index {
            return serde_json::from_slice(bytes)
                .map(Self::Image)
                .map_err(ManifestError::Json);
        }
        let index: Index = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        if ENTRIES_MAX < index.manifests.len() {
            return Err(ManifestError::Entries(index.manifests.len()));
        }
        Ok(Self::Index(index))
    }
}

impl Index {
    /// What a machine of this platform runs of it: exactly its own, else the newest older variant. Of several that suit
    /// as well, the first is taken, as engines do.
    #[must_use]
    pub fn child(&self, platform: &Platform) -> Option<&Entry> {
        let suiting = self.manifests.iter().filter_map(|entry| {
            let distance = platform.distance(entry.platform.as_ref()?)?;
            Some((distance, entry))
        });
        suiting
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, entry)| entry)
    }

    /// Entries that are indexes themselves.
    pub fn nested(&self) -> impl Iterator<Item = &Entry> {
        self.manifests.iter().filter(|entry| {
            entry.platform.is_none() && matches!(entry.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
        })
    }
}

impl ImageConfig {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ManifestError::Json`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Raw {
            os: Option<String>,
            architecture: Option<String>,
            variant: Option<String>,
            created: Option<String>,
            config: Option<Inner>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase", default)]
        struct Inner {
            #[serde(deserialize_with = "or_empty")]
            labels: BTreeMap<String, String>,
            #[serde(deserialize_with = "or_empty")]
            env: Vec<String>,
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let platform = match (&raw.os, &raw.architecture) {
            (Some(os), Some(architecture)) => Platform::new(os, architecture, raw.variant.as_deref()).ok(),
            _ => None,
        };
        let inner = raw.config.unwrap_or_default();
        Ok(Self {
            platform,
            labels: inner.labels,
            environment: inner.env,
            created: raw.created,
        })
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find_map(|variable| {
            let (found, value) = variable.split_once('=')?;
            (found == name).then_some(value)
        })
    }
}

/// Builders write `null` for what is empty.
fn or_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Attestations say `unknown/unknown`, which is a platform of no machine.
fn platform<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Platform>, D::Error> {
    #[derive(Deserialize)]
    struct Raw {
        #[serde(default)]
        os: String,
        #[serde(default)]
        architecture: String,
        variant: Option<String>,
    }
    let raw: Option<Raw> = Option::deserialize(deserializer)?;
    Ok(raw.and_then(|raw| Platform::new(&raw.os, &raw.architecture, raw.variant.as_deref()).ok()))
}

#[cfg(test)]
mod tests;
