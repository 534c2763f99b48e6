//! Registries: whether there is something newer than what containers run.
//!
//! Owns the talking to registries (`client`), one check per image and platform for the whole fleet (`checks`), and the
//! decision that follows (`decision`, pure). Must not know policies, windows or containers' owners: whoever decides
//! whether an update is done asks here what it would be.
//!
//! Invariants: what could not be told is unknown and never up to date; what a failed check does not know, the last one
//! that succeeded still says; no secret is sent to a host that has nothing to do with the registry.

mod challenge;
mod checks;
mod client;
mod decision;
mod details;
mod exchange;
mod failure;
mod limits;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Short, PoisonError};
use std::time::Duration;

use muster_image::{Digest, Platform, Reference, Track};
use muster_notify::{Network, Roots, Secret};
use url::Url;

use self::challenge::Credential;
pub use self::checks::{Progress, Round};
use self::client::{Client, Endpoint};
use self::decision::Known;
pub use self::decision::{Decision, Offer, Wanted};
pub use self::details::Details;
pub use self::failure::RegistryError;
pub use self::limits::RateLimit;
use crate::app::App;
use crate::app::registries::{RegistryUseError, RegistryView};
use crate::store::{RegistryRow, StoreError};

/// Tracks that are remembered.
const WATCHES_MAX: usize = 5_000;
/// A track that nobody asked about for so long is forgotten.
const WATCHED_MS: i64 = 26 * 3_600_000;

/// What is known of an image for one platform. Times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageCheck {
    /// The image, in normal form, with its tag.
    pub reference: Reference,
    /// The platform.
    pub platform: Platform,
    /// What the tag named when it was last checked with success.
    pub digest: Option<Digest>,
    /// What of that is for the platform, if somebody had to know.
    pub platform_digest: Option<Digest>,
    /// When it was last checked with success.
    pub checked_ms: Option<i64>,
    /// When a check was last tried.
    pub tried_ms: i64,
    /// Why the last check failed; the rest is what the last one that succeeded found.
    pub error: Option<String>,
    /// How many checks have failed since one succeeded.
    pub failures: u32,
    /// When this digest was first seen.
    pub first_seen_ms: Option<i64>,
    /// What its builder says of it, if somebody had to know.
    pub details: Details,
}

/// How registries are reached.
#[derive(Clone)]
pub struct Outbound {
    /// Makes connections.
    pub network: Network,
    /// Whom to trust.
    pub roots: Roots,
    /// Whether registries on this machine itself are reached, and without TLS.
    pub allow_loopback: bool,
    /// How long one request may take.
    pub total_max: Duration,
    /// The longest pause between two images of one registry.
    pub pause: Duration,
}

impl Outbound {
    /// How long one request may take unless told otherwise.
    pub const TOTAL_MAX_DEFAULT: Duration = Duration::from_secs(30);
    /// The longest pause unless told otherwise.
    pub const PAUSE_DEFAULT: Duration = Duration::from_millis(500);
}

/// What registries say. Clones share everything.
#[derive(Clone)]
pub struct Registries {
    app: Arc<App>,
    shared: Arc<Shared>,
}

/// Tracks and when somebody last asked, by image, platform and track.
type Watches = BTreeMap<(Reference, Platform, String), (Track, i64)>;

struct Shared {
    client: Client,
    outbound: Outbound,
    /// Held by whoever checks.
    round: tokio::sync::Mutex<()>,
    /// Tracks that follow other tags, and when somebody last asked, by image, platform and track.
    watches: Short<Watches>,
}

impl Registries {
    /// Over the state database of these use-cases.
    #[must_use]
    pub fn new(app: Arc<App>, outbound: Outbound) -> Self {
        let client = Client::new(
            outbound.network.clone(),
            outbound.roots.clone(),
            outbound.total_max,
            app.clock().clone(),
        );
        let shared = Shared {
            client,
            outbound,
            round: tokio::sync::Mutex::default(),
            watches: Short::default(),
        };
        Self {
            app,
            shared: Arc::new(shared),
        }
    }

    /// What registries said of how much they allow, by registry.
    #[must_use]
    pub fn limits(&self) -> BTreeMap<String, RateLimit> {
        self.shared.client.limits()
    }

    /// Every check, by image and platform.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn checks(&self) -> Result<Vec<ImageCheck>, StoreError> {
        let store = self.app.store();
        let mut checks = Vec::new();
        for row in store.image_checks().await? {
            let (Ok(reference), Ok(platform)) = (row.reference.parse::<Reference>(), row.platform.parse())
            else {
                continue;
            };
            let digests = store.image_digests(&reference.name(), &row.platform).await?;
            checks.push(decision::image_check(reference, platform, &row, &digests));
        }
        Ok(checks)
    }

    /// Logs in to a registry, and writes down how that went.
    ///
    /// # Errors
    /// [`RegistryUseError`]; that the registry does not let us in is none.
    pub async fn validate(&self, id: i64) -> Result<RegistryView, RegistryUseError> {
        let store = self.app.store();
        let row = store.registry(id).await?.ok_or(RegistryUseError::NotFound(id))?;
        if !row.enabled {
            return Err(RegistryUseError::Disabled);
        }
        let at = self.endpoint(&row.host, std::slice::from_ref(&row))?;
        let outcome = self.shared.client.validate(&at).await;
        let (word, error) = match &outcome {
            Ok(()) => ("valid", None),
            Err(error) if error.is_about_credentials() => ("invalid", Some(error)),
            Err(error) => ("unknown", Some(error)),
        };
        let error = error.map(|error| muster_base::ErrorChain(error).to_string());
        let now_ms = self.app.clock().now_ms();
        if !store.put_validation(&row, word, error.as_deref(), now_ms).await? {
            return Err(RegistryUseError::Changed);
        }
        tracing::info!(registry = id, outcome = word, "registry validated");
        self.app.registry(id).await
    }

    /// What an agent shows a registry to pull an image: user name, which is empty if the password is a token, and
    /// password. `None` if nothing is set up for it.
    ///
    /// # Errors
    /// A failure of the database, or credentials that cannot be opened.
    pub async fn credential(
        &self,
        reference: &Reference,
    ) -> Result<Option<(String, Secret)>, RegistryUseError> {
        let rows = self.app.store().registries().await?;
        let is_set_up = |row: &RegistryRow| row.host == reference.registry() && row.enabled;
        if !rows.iter().any(is_set_up) {
            return Ok(None);
        }
        Ok(match self.endpoint(reference.registry(), &rows)?.credential {
            Credential::Anonymous => None,
            Credential::Basic { username, password } => Some((username, password)),
            Credential::Token(token) => Some((String::new(), token)),
        })
    }

    /// Where a registry is and what it is shown: as somebody set it up, else under its own name, without anything.
    fn endpoint(&self, registry: &str, rows: &[RegistryRow]) -> Result<Endpoint, RegistryError> {
        let Some(row) = rows.iter().find(|row| row.host == registry) else {
            let is_plain = self.shared.outbound.allow_loopback && is_loopback(registry);
            return Endpoint::anonymous(registry, is_plain).ok_or(RegistryError::Answer {
                host: registry.to_owned(),
                why: "a name that is no address",
            });
        };
        if !row.enabled {
            return Err(RegistryError::Disabled(row.name.clone()));
        }
        let credential = match &row.sealed {
            None => Credential::Anonymous,
            Some(sealed) => {
                let plain = self.app.identity().open_secret(&row.seal_name, sealed).ok();
                let plain = plain.and_then(|plain| String::from_utf8(plain).ok());
                let password = Secret::new(plain.ok_or_else(|| RegistryError::Sealed(row.name.clone()))?);
                if row.username.is_empty() {
                    Credential::Token(password)
                } else {
                    Credential::Basic {
                        username: row.username.clone(),
                        password,
                    }
                }
            }
        };
        let base = Url::parse(&row.url).map_err(|_| RegistryError::Answer {
            host: registry.to_owned(),
            why: "a name that is no address",
        })?;
        Ok(Endpoint {
            registry: registry.to_owned(),
            base,
            credential,
            version: row.changed_ms,
        })
    }

    /// Remembers that somebody wants to know of other tags.
    fn watch(&self, wanted: &Wanted<'_>, key: &Reference) {
        let now_ms = self.app.clock().now_ms();
        let mut watches = self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = (key.clone(), wanted.platform.clone(), wanted.track.to_string());
        if WATCHES_MAX <= watches.len() && !watches.contains_key(&entry) {
            watches.retain(|_, (_, asked_ms)| now_ms < asked_ms.saturating_add(WATCHED_MS));
            if WATCHES_MAX <= watches.len() {
                return;
            }
        }
        watches.insert(entry, (wanted.track.clone(), now_ms));
    }

    /// Tracks of an image that somebody asked about lately.
    fn tracks_of(&self, reference: &Reference, platform: &Platform) -> Vec<Track> {
        let now_ms = self.app.clock().now_ms();
        let watches = self.shared.watches.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (reference.clone(), platform.clone(), String::new());
        let own = watches
            .range(from..)
            .take_while(|((of, on, _), _)| (of, on) == (reference, platform));
        own.filter(|(_, (_, asked_ms))| now_ms < asked_ms.saturating_add(WATCHED_MS))
            .map(|(_, (track, _))| track.clone())
            .collect()
    }

    /// The use-cases.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// Unix ms.
    pub(crate) fn now_ms(&self) -> i64 {
        self.app.clock().now_ms()
    }

    /// What the last check of an image found; `None` if it was never checked. A reference that names a digest alone is
    /// never checked.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn latest(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<ImageCheck>, StoreError> {
        let Some(key) = key(reference) else {
            return Ok(None);
        };
        let store = self.app.store();
        let Some(row) = store.image_check(&key.to_string(), &platform.to_string()).await? else {
            return Ok(None);
        };
        let digests = store.image_digests(&key.name(), &platform.to_string()).await?;
        Ok(Some(decision::image_check(key, platform.clone(), &row, &digests)))
    }

    /// What a container could be updated to, or why not.
    ///
    /// Asks no registry: it judges what checks have found. A track that follows other tags is remembered, and what it
    /// needs is known after the next check.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn candidate(&self, wanted: &Wanted<'_>) -> Result<Decision, StoreError> {
        let Some(key) = key(wanted.reference).filter(|_| wanted.reference.digest().is_none()) else {
            return Ok(Decision::Pinned);
        };
        if wanted.track.needs_tags() {
            self.watch(wanted, &key);
        }
        let store = self.app.store();
        let platform = wanted.platform.to_string();
        let check = store.image_check(&key.to_string(), &platform).await?;
        let digests = store.image_digests(&key.name(), &platform).await?;
        let tags = if wanted.track.needs_tags() {
            store.image_tags(&key.name()).await?
        } else {
            None
        };
        let known = Known {
            check: check.as_ref(),
            digests: &digests,
            tags: tags.as_ref().map(|row| row.tags.as_slice()),
        };
        Ok(decision::decide(wanted, &known))
    }
}

/// What an image is checked as: its repository and tag.
pub(crate) fn key(reference: &Reference) -> Option<Reference> {
    reference.with_tag(reference.effective_tag()?).ok()
}

/// Whether a registry's name says that it is on this machine.
fn is_loopback(registry: &str) -> bool {
    let Ok(url) = Url::parse(&format!("http://{registry}/")) else {
        return false;
    };
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
pub(crate) mod tests;
