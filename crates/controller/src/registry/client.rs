//! The distribution protocol as a client: digests by HEAD, manifests, configurations, tags.
//!
//! What authorizes a request is asked for once and kept until it expires. How much registries allow is kept too: one
//! that had too many requests is not asked before its time, and when few pulls are left, requests that count as pulls
//! are not made.

mod authorize;

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex as Short;
use std::time::Duration;

use hyper::{Method, StatusCode};
use muster_base::clock::WallClock;
use muster_image::manifest::{self, Descriptor, Document, ImageConfig};
use muster_image::{DEFAULT_REGISTRY, Digest};
use muster_notify::{Network, Roots};
use url::Url;

use self::authorize::{Granted, Memory};
use super::RegistryError;
use super::challenge::Credential;
use super::exchange::{Call, Exchange, Reply, authority};
use super::limits::{Limits, RateLimit};

/// Most bytes of a manifest or index that are read: what registries take.
const MANIFEST_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// Most bytes of a configuration that are read.
const CONFIG_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// Most bytes of one page of tags that are read.
const TAGS_BYTES_MAX: usize = 4 * 1_024 * 1_024;
/// Most tags of a repository that are read, and pages of them.
const TAGS_MAX: usize = 10_000;
const PAGES_MAX: usize = 100;
const TAG_CHARS_MAX: usize = 128;
/// Tags that are asked for at once.
const PAGE_TAGS: usize = 1_000;

/// Where a registry is, and what shows who we are.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// As references name it.
    pub(super) registry: String,
    /// Its API: `/v2/` is below.
    pub(super) base: Url,
    pub(super) credential: Credential,
    /// Changes with the credentials, so that tokens of old ones are not used.
    pub(super) version: i64,
}

impl Endpoint {
    /// The API of a registry that nothing more is known of.
    pub(super) fn anonymous(registry: &str, is_plain: bool) -> Option<Self> {
        let host = if registry == DEFAULT_REGISTRY {
            "registry-1.docker.io"
        } else {
            registry
        };
        let scheme = if is_plain { "http" } else { "https" };
        Some(Self {
            registry: registry.to_owned(),
            base: Url::parse(&format!("{scheme}://{host}/")).ok()?,
            credential: Credential::Anonymous,
            version: 0,
        })
    }

    fn host(&self) -> String {
        authority(&self.base)
    }

    fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.base.join(path).map_err(|_| RegistryError::Answer {
            host: self.host(),
            why: "a path that is no address",
        })
    }
}

/// What a tag or digest names, and the bytes.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    pub(super) digest: Digest,
    pub(super) document: Document,
}

/// Tags of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tags {
    pub(super) tags: Vec<String>,
    /// There are more.
    pub(super) is_cut: bool,
}

/// Asks registries.
pub(super) struct Client {
    exchange: Exchange,
    clock: WallClock,
    limits: Short<Limits>,
    memory: Short<Memory>,
    /// Held while a registry is asked for a token, so that one is asked for and not ten.
    asking: Short<HashMap<String, std::sync::Arc<tokio::sync::Mutex<()>>>>,
}

impl Client {
    pub(super) fn new(network: Network, roots: Roots, total_max: Duration, clock: WallClock) -> Self {
        Self {
            exchange: Exchange {
                network,
                roots,
                total_max,
            },
            clock,
            limits: Short::default(),
            memory: Short::default(),
            asking: Short::default(),
        }
    }

    /// What registries allow, by registry.
    pub(super) fn limits(&self) -> BTreeMap<String, RateLimit> {
        lock(&self.limits).all()
    }

    /// How long a registry must be left alone.
    pub(super) fn wait(&self, registry: &str) -> Option<Duration> {
        lock(&self.limits).wait(registry, self.clock.now_ms())
    }

    /// The digest that a tag names, without counting as a pull where that can be. `siblings` are repositories of the
    /// same registry that will be asked for next: one token may do for all.
    pub(super) async fn digest(
        &self,
        at: &Endpoint,
        repository: &str,
        tag: &str,
        siblings: &[String],
    ) -> Result<Digest, RegistryError> {
        let what = format!("{repository}:{tag}");
        let url = at.url(&format!("v2/{repository}/manifests/{tag}"))?;
        let mut call = Call::get(url, 0);
        call.method = Method::HEAD;
        call.accept = manifest::ACCEPT.to_vec();
        let reply = self.authorized(at, repository, siblings, call).await?;
        // Whatever a refused HEAD means, a GET would be refused as well, and be counted.
        let reply = succeeded(reply, &what)?;
        match told_digest(&reply) {
            Some(digest) => Ok(digest),
            None => Ok(self.manifest(at, repository, tag).await?.digest),
        }
    }

    /// What a tag or digest names. This may count as a pull.
    pub(super) async fn manifest(
        &self,
        at: &Endpoint,
        repository: &str,
        reference: &str,
    ) -> Result<Fetched, RegistryError> {
        let host = at.host();
        let reserved = lock(&self.limits).reserved(&at.registry, self.clock.now_ms());
        if let Some((remaining, limit)) = reserved {
            return Err(RegistryError::Reserved {
                host,
                remaining,
                limit,
            });
        }
        let url = at.url(&format!("v2/{repository}/manifests/{reference}"))?;
        let mut call = Call::get(url, MANIFEST_BYTES_MAX);
        call.accept = manifest::ACCEPT.to_vec();
        let reply = self.authorized(at, repository, &[], call).await?;
        let reply = succeeded(reply, &format!("{repository}:{reference}"))?;
        let own = Digest::of(&reply.body);
        let wanted = reference.parse::<Digest>().ok().or_else(|| told_digest(&reply));
        if let Some(wanted) = wanted.filter(|wanted| wanted.is_sha256() && *wanted != own) {
            return Err(RegistryError::Mismatch {
                host,
                digest: wanted.to_string(),
            });
        }
        let document = Document::parse(reply.header("content-type"), &reply.body)
            .map_err(|source| RegistryError::Manifest { host, source })?;
        Ok(Fetched {
            digest: own,
            document,
        })
    }

    /// An image's configuration.
    pub(super) async fn config(
        &self,
        at: &Endpoint,
        repository: &str,
        config: &Descriptor,
    ) -> Result<ImageConfig, RegistryError> {
        let host = at.host();
        let url = at.url(&format!("v2/{repository}/blobs/{}", config.digest))?;
        let call = Call::get(url, CONFIG_BYTES_MAX);
        let reply = self.authorized(at, repository, &[], call).await?;
        let reply = succeeded(reply, &format!("the configuration of {repository}"))?;
        if config.digest.is_sha256() && Digest::of(&reply.body) != config.digest {
            return Err(RegistryError::Mismatch {
                host,
                digest: config.digest.to_string(),
            });
        }
        ImageConfig::parse(&reply.body).map_err(|source| RegistryError::Manifest { host, source })
    }

    /// All tags of a repository, or as many as are read.
    pub(super) async fn tags(&self, at: &Endpoint, repository: &str) -> Result<Tags, RegistryError> {
        #[derive(serde::Deserialize)]
        struct Body {
            tags: Option<Vec<String>>,
        }
        let mut url = at.url(&format!("v2/{repository}/tags/list?n={PAGE_TAGS}"))?;
        let mut tags = Vec::new();
        for _ in 0..PAGES_MAX {
            let call = Call::get(url.clone(), TAGS_BYTES_MAX);
            let reply = self.authorized(at, repository, &[], call).await?;
            let reply = succeeded(reply, &format!("the tags of {repository}"))?;
            let body: Body = serde_json::from_slice(&reply.body).map_err(|_| RegistryError::Answer {
                host: at.host(),
                why: "a list of tags that is none",
            })?;
            let listed = body.tags.unwrap_or_default();
            tags.extend(listed.into_iter().filter(|tag| is_tag(tag)));
            if TAGS_MAX < tags.len() {
                tags.truncate(TAGS_MAX);
                return Ok(Tags { tags, is_cut: true });
            }
            let Some(next) = next_page(&reply) else {
                return Ok(Tags { tags, is_cut: false });
            };
            // What authorizes us is for this registry, whatever a link says.
            if next.origin() != at.base.origin() || next == url {
                return Err(RegistryError::Redirect {
                    host: at.host(),
                    to: authority(&next),
                });
            }
            url = next;
        }
        Ok(Tags { tags, is_cut: true })
    }

    /// Whether a registry takes the credentials it is set up with, or answers at all if there are none.
    pub(super) async fn validate(&self, at: &Endpoint) -> Result<(), RegistryError> {
        self.forget(&at.registry);
        let call = Call::get(at.url("v2/")?, MANIFEST_BYTES_MAX);
        let mut granted = self.grant(at, None, &[]).await?;
        // A token without a scope: whoever gives one has looked at the password.
        let reply = self.send(at, call.clone(), &mut granted).await?;
        match reply.status {
            status if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED if at.credential.is_anonymous() => Ok(()),
            // Some refuse a token that is for nothing, but gave it for the right password alone.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if granted.is_from_password() => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Credentials {
                host: at.host(),
                registry: at.registry.clone(),
            }),
            _ => succeeded(reply, "its API").map(|_| ()),
        }
    }

    /// Asks with what authorizes us for a repository, and once more if that has expired.
    async fn authorized(
        &self,
        at: &Endpoint,
        repository: &str,
        siblings: &[String],
        call: Call,
    ) -> Result<Reply, RegistryError> {
        let mut granted = self.grant(at, Some(repository), siblings).await?;
        let reply = self.send(at, call.clone(), &mut granted).await?;
        if reply.status != StatusCode::UNAUTHORIZED {
            return Ok(reply);
        }
        let mut granted = self.grant_anew(at, repository, &reply).await?;
        self.send(at, call, &mut granted).await
    }

    async fn send(
        &self,
        at: &Endpoint,
        mut call: Call,
        granted: &mut Granted,
    ) -> Result<Reply, RegistryError> {
        call.authorization = granted.header();
        self.ask(&at.registry, call).await
    }

    /// Asks, unless the registry must be left alone, and keeps what it says of that.
    async fn ask(&self, registry: &str, call: Call) -> Result<Reply, RegistryError> {
        let host = authority(&call.url);
        if let Some(wait) = self.wait(registry) {
            return Err(limited(host, wait));
        }
        let reply = self.exchange.send(call).await?;
        let now_ms = self.clock.now_ms();
        let status = reply.status.as_u16();
        lock(&self.limits).told(registry, status, &reply.headers, now_ms);
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            let wait = self.wait(registry).unwrap_or(Duration::from_secs(1));
            return Err(limited(host, wait));
        }
        Ok(reply)
    }
}

fn limited(host: String, wait: Duration) -> RegistryError {
    RegistryError::RateLimited {
        host,
        wait_s: wait.as_millis().div_ceil(1_000).try_into().unwrap_or(u64::MAX),
    }
}

/// Plain assignments: nothing is half done when a thread dies.
fn lock<T>(short: &Short<T>) -> std::sync::MutexGuard<'_, T> {
    short.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The answer if it is one.
fn succeeded(reply: Reply, what: &str) -> Result<Reply, RegistryError> {
    let (host, what) = (authority(&reply.url), what.to_owned());
    match reply.status {
        StatusCode::OK => Ok(reply),
        StatusCode::NOT_FOUND => Err(RegistryError::NotFound { host, what }),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(RegistryError::Denied { host, what }),
        status => Err(RegistryError::Status {
            host,
            status: status.as_u16(),
            what,
        }),
    }
}

fn told_digest(reply: &Reply) -> Option<Digest> {
    reply.header("docker-content-digest")?.trim().parse().ok()
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    (1..=TAG_CHARS_MAX).contains(&tag.len()) && tag.bytes().all(is_word)
}

/// Where the next page is: `Link: <…>; rel="next"` (RFC 8288), which may be relative.
fn next_page(reply: &Reply) -> Option<Url> {
    let links = reply.headers.get_all("link");
    links.iter().find_map(|link| {
        let (target, params) = link.to_str().ok()?.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = params.split([';', ',']).any(|param| {
            let Some((name, value)) = param.split_once('=') else {
                return false;
            };
            name.trim().eq_ignore_ascii_case("rel") && value.trim().trim_matches('"') == "next"
        });
        is_next.then(|| reply.url.join(target).ok()).flatten()
    })
}
