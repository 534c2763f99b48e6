//! References: what people write where an image is asked for, in Docker's normal form.
//!
//! The grammar is that of the distribution project's `reference` package, which engines and registries share:
//! `[registry[:port]/]path[:tag][@digest]`. What has no registry is on Docker Hub, and what has no folder there is in
//! `library`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::digest::{Digest, DigestError};

/// Docker Hub, as references name it. Its API is elsewhere.
pub const DEFAULT_REGISTRY: &str = "docker.io";
/// The tag that is meant where neither tag nor digest is given.
pub const DEFAULT_TAG: &str = "latest";

/// Most characters of a whole reference.
const REFERENCE_BYTES_MAX: usize = 1_024;
const REPOSITORY_BYTES_MAX: usize = 255;
const TAG_BYTES_MAX: usize = 128;

/// An image as people write it.
///
/// ```
/// let image: muster_image::Reference = "nginx:1.27".parse()?;
/// assert_eq!(image.to_string(), "docker.io/library/nginx:1.27");
/// assert_eq!(image.familiar(), "nginx:1.27");
/// # Ok::<(), muster_image::ReferenceError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReferenceError {
    /// It is empty, or too long.
    #[error("an image's name has 1 to {REFERENCE_BYTES_MAX} characters")]
    Length,
    /// It is an image's id.
    #[error("64 hexadecimal digits are the id of an image, not its name")]
    Id,
    /// The registry is no host name or address with a port.
    #[error("the registry is no host name or address")]
    Registry,
    /// The path has characters, or separators, that none may have.
    #[error("the image's path is not lower-case words with single separators")]
    Repository,
    /// The tag has characters that none may have.
    #[error("the tag is not 1 to {TAG_BYTES_MAX} letters, digits, dots, dashes and underscores")]
    Tag,
    /// The digest is none.
    #[error(transparent)]
    Digest(#[from] DigestError),
}

impl Reference {
    /// Host, and port if there is one, of the registry; `docker.io` for Docker Hub.
    #[must_use]
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path within the registry, such as `library/nginx`.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and path: what the part before the `@` of a repository digest is, in normal form.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// The tag that is written.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that is written.
    #[must_use]
    pub const fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The tag that is meant: the one that is written, `latest` without tag and digest, none if only a digest says
    /// which image it is.
    #[must_use]
    pub fn effective_tag(&self) -> Option<&str> {
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some(tag),
            (None, None) => Some(DEFAULT_TAG),
            (None, Some(_)) => None,
        }
    }

    /// The same image's repository with this tag and no digest.
    ///
    /// # Errors
    /// [`ReferenceError::Tag`].
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag);
        }
        Ok(Self {
            registry: self.registry.clone(),
            repository: self.repository.clone(),
            tag: Some(tag.to_owned()),
            digest: None,
        })
    }

    /// The same name with this digest; the tag stays.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..self.clone()
        }
    }

    /// As people write it: without Docker Hub's name and its `library`.
    #[must_use]
    pub fn familiar(&self) -> String {
        let name = if self.registry == DEFAULT_REGISTRY {
            let short = self.repository.strip_prefix("library/");
            match short {
                // A name with a folder in `library` would be read as another folder.
                Some(short) if !short.contains('/') => short.to_owned(),
                _ if self.repository.contains('/') => self.repository.clone(),
                _ => self.name(),
            }
        } else {
            self.name()
        };
        name + &self.ending()
    }

    /// Digest of a repository digest (`repo@sha256:…`) if it is of this repository. Engines list digests of every
    /// repository an image was pulled from, and those of others say nothing here.
    #[must_use]
    pub fn digest_of_own(&self, repo_digest: &str) -> Option<Digest> {
        let other: Self = repo_digest.parse().ok()?;
        let is_own = other.registry == self.registry && other.repository == self.repository;
        is_own.then_some(other.digest).flatten()
    }

    fn ending(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        tag.chain(self.digest.iter().map(|digest| format!("@{digest}")))
            .collect()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.is_empty() || REFERENCE_BYTES_MAX < text.len() {
            return Err(ReferenceError::Length);
        }
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ReferenceError::Id);
        }
        let (text, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, rest) = split_registry(text);
        if !is_registry(&registry.to_ascii_lowercase()) {
            return Err(ReferenceError::Registry);
        }
        // Without a dot or a port it is its capitals that tell it from a folder.
        let registry = if registry.contains(['.', ':']) {
            registry.to_ascii_lowercase()
        } else {
            registry.to_owned()
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) if is_tag(tag) => (path, Some(tag.to_owned())),
            Some(_) => return Err(ReferenceError::Tag),
            None => (rest, None),
        };
        let repository = if registry == DEFAULT_REGISTRY && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if REPOSITORY_BYTES_MAX < repository.len() || !repository.split('/').all(is_component) {
            return Err(ReferenceError::Repository);
        }
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }
}

/// What is before the first slash is a registry if it could be no folder: it has a dot, a port or capitals, or is
/// `localhost`.
fn split_registry(text: &str) -> (&str, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|byte| byte.is_ascii_uppercase()) =>
        {
            let is_hub = matches!(first, "index.docker.io" | "registry-1.docker.io");
            (if is_hub { DEFAULT_REGISTRY } else { first }, rest)
        }
        _ => (DEFAULT_REGISTRY, text),
    }
}

/// `domain-name | IPv4 | "[" IPv6 "]"`, and a port.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else {
                return false;
            };
            let is_address = address.contains(':')
                && address
                    .bytes()
                    .all(|byte| byte.is_ascii_hexdigit() || byte == b':');
            if !is_address {
                return false;
            }
            (None, port)
        }
        None => {
            let end = text.find(':').unwrap_or(text.len());
            (Some(&text[..end]), &text[end..])
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.parse::<u16>().is_ok() && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    is_port && host.is_none_or(|host| host.len() <= 253 && host.split('.').all(is_label))
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// `[a-z0-9]+ ( ("." | "_" | "__" | "-"+) [a-z0-9]+ )*`
fn is_component(component: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !is_inner(*first) || !is_inner(*last) {
        return false;
    }
    component
        .split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        .all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (1..=TAG_BYTES_MAX).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag
            .bytes()
            .all(|byte| is_word(byte) || matches!(byte, b'.' | b'-'))
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Self, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}/{}{}",
            self.registry,
            self.repository,
            self.ending()
        )
    }
}

#[cfg(test)]
mod tests;
