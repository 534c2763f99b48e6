//! Tokens: where they are got, for what, and how long they count.

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use muster_notify::Secret;
use url::Url;

use super::super::challenge::{Challenge, Credential, is_related, read_token};
use super::super::exchange::{Call, Reply, authority};
use super::{Client, Endpoint, RegistryError, lock};

/// Most bytes that are read of an answer with a token.
const TOKEN_BYTES_MAX: usize = 256 * 1_024;
/// Most bytes that are read of an answer to the question what is wanted.
const PING_BYTES_MAX: usize = 64 * 1_024;
/// For how many repositories one token is asked for. Each makes it longer, and servers take heads of some 8 KiB.
const SCOPES_MAX: usize = 8;
/// Tokens that are kept.
const TOKENS_MAX: usize = 2_000;
/// How long it is believed what a registry wants to be shown.
const CHALLENGE_MS: i64 = 6 * 3_600_000;
/// Before a token expires it is replaced, so that it does not on its way.
const SPARE_MS: i64 = 5_000;

/// What is known of how to be let in.
#[derive(Default)]
pub(super) struct Memory {
    /// By registry: what it wants, as of when, for which credentials.
    challenges: HashMap<String, (Challenge, i64, i64)>,
    /// By registry and scope.
    tokens: HashMap<(String, String), Kept>,
}

struct Kept {
    token: Secret,
    until_ms: i64,
    version: i64,
}

/// What a request is sent with.
pub(super) enum Granted {
    Nothing,
    Basic(Secret),
    Token { token: Secret, is_from_password: bool },
}

impl Granted {
    pub(super) fn header(&mut self) -> Option<String> {
        match self {
            Self::Nothing => None,
            Self::Basic(encoded) => Some(format!("Basic {}", encoded.expose())),
            Self::Token { token, .. } => Some(format!("Bearer {}", token.expose())),
        }
    }

    /// Whether it was given in exchange for a password.
    pub(super) const fn is_from_password(&self) -> bool {
        matches!(
            self,
            Self::Token {
                is_from_password: true,
                ..
            }
        )
    }
}

impl Client {
    /// Forgets what authorizes us at a registry.
    pub(super) fn forget(&self, registry: &str) {
        let mut memory = lock(&self.memory);
        memory.challenges.remove(registry);
        memory.tokens.retain(|(of, _), _| of != registry);
    }

    /// What a request for a repository is sent with.
    pub(super) async fn grant(
        &self,
        at: &Endpoint,
        repository: Option<&str>,
        siblings: &[String],
    ) -> Result<Granted, RegistryError> {
        if let Credential::Token(token) = &at.credential {
            return Ok(Granted::Token {
                token: token.clone(),
                is_from_password: false,
            });
        }
        let turn = {
            let mut asking = lock(&self.asking);
            // Those that nobody waits for need not be kept.
            asking.retain(|_, turn| 1 < Arc::strong_count(turn));
            Arc::clone(asking.entry(at.registry.clone()).or_default())
        };
        let _only = turn.lock().await;
        let (realm, service) = match self.challenge(at).await? {
            Challenge::Nothing => return Ok(Granted::Nothing),
            Challenge::Basic => return basic(at),
            Challenge::Bearer { realm, service, .. } => (realm, service),
        };
        let scope = repository.map_or_else(String::new, scope_of);
        if let Some(granted) = self.kept(at, &scope) {
            return Ok(granted);
        }
        let mut scopes = vec![scope];
        if repository.is_some() {
            let others = siblings.iter().map(|sibling| scope_of(sibling));
            let missing = others.filter(|other| *other != scopes[0] && self.kept(at, other).is_none());
            scopes.extend(missing.take(SCOPES_MAX - 1).collect::<Vec<_>>());
        }
        self.token(at, &realm, service.as_deref(), &scopes).await
    }

    /// The same after what was sent was refused: for this repository alone, and as the refusal says.
    pub(super) async fn grant_anew(
        &self,
        at: &Endpoint,
        repository: &str,
        refusal: &Reply,
    ) -> Result<Granted, RegistryError> {
        self.forget_scope(at, &scope_of(repository));
        if matches!(at.credential, Credential::Token(_)) {
            return self.grant(at, Some(repository), &[]).await;
        }
        let challenge = read(refusal)?;
        let now_ms = self.clock.now_ms();
        let known = (challenge.clone(), now_ms, at.version);
        lock(&self.memory).challenges.insert(at.registry.clone(), known);
        match challenge {
            Challenge::Nothing => Ok(Granted::Nothing),
            Challenge::Basic => basic(at),
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => {
                let own = scope_of(repository);
                // A registry may say more than is needed, such as the right to push; only what reads is asked for.
                let scope =
                    scope.filter(|scope| scope.starts_with("repository:") && scope.ends_with(":pull"));
                let granted = self
                    .token(at, &realm, service.as_deref(), &[scope.unwrap_or(own)])
                    .await?;
                Ok(granted)
            }
        }
    }

    /// What a registry wants to be shown: what it said lately, else what it says to a request for nothing.
    async fn challenge(&self, at: &Endpoint) -> Result<Challenge, RegistryError> {
        let now_ms = self.clock.now_ms();
        let known = lock(&self.memory).challenges.get(&at.registry).cloned();
        if let Some((challenge, told_ms, version)) = known
            && version == at.version
            && now_ms < told_ms.saturating_add(CHALLENGE_MS)
        {
            return Ok(challenge);
        }
        let call = Call::get(at.url("v2/")?, PING_BYTES_MAX);
        let reply = self.ask(&at.registry, call).await?;
        let challenge = match reply.status {
            StatusCode::UNAUTHORIZED => read(&reply)?,
            status if status.is_server_error() => {
                return Err(RegistryError::Status {
                    host: authority(&reply.url),
                    status: status.as_u16(),
                    what: "its API".to_owned(),
                });
            }
            // Whether it is a registry at all shows when it is asked for an image.
            _ => Challenge::Nothing,
        };
        let mut memory = lock(&self.memory);
        if TOKENS_MAX <= memory.challenges.len() {
            memory.challenges.clear();
        }
        let known = (challenge.clone(), now_ms, at.version);
        memory.challenges.insert(at.registry.clone(), known);
        Ok(challenge)
    }

    /// Asks for a token, which counts for all these scopes.
    async fn token(
        &self,
        at: &Endpoint,
        realm: &Url,
        service: Option<&str>,
        scopes: &[String],
    ) -> Result<Granted, RegistryError> {
        let mut url = realm.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = service {
                query.append_pair("service", service);
            }
            for scope in scopes.iter().filter(|scope| !scope.is_empty()) {
                query.append_pair("scope", scope);
            }
        }
        let is_plain = realm.scheme() == "http" && at.base.scheme() == "http";
        if realm.scheme() != "https" && !is_plain {
            return Err(RegistryError::Challenge {
                host: at.host(),
                why: "the realm is not reached over TLS".to_owned(),
            });
        }
        let mut call = Call::get(url, TOKEN_BYTES_MAX);
        let is_from_password = !at.credential.is_anonymous();
        if is_from_password {
            if !is_related(&at.base, realm) {
                return Err(RegistryError::HostileRealm {
                    registry: at.registry.clone(),
                    realm: authority(realm),
                });
            }
            call.authorization = basic(at)?.header();
        }
        let reply = self.ask(&at.registry, call).await?;
        let host = authority(&reply.url);
        match reply.status {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if is_from_password => {
                return Err(RegistryError::Credentials {
                    host,
                    registry: at.registry.clone(),
                });
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(RegistryError::Denied {
                    host,
                    what: scopes.join(", "),
                });
            }
            status => {
                return Err(RegistryError::Status {
                    host,
                    status: status.as_u16(),
                    what: "a token".to_owned(),
                });
            }
        }
        let token = read_token(&host, &reply.body)?;
        let life_ms = i64::try_from(token.expires_s.saturating_mul(1_000)).unwrap_or(i64::MAX);
        let until_ms = self.clock.now_ms().saturating_add((life_ms - SPARE_MS).max(0));
        self.keep(at, scopes, &token.text, until_ms);
        Ok(Granted::Token {
            token: token.text,
            is_from_password,
        })
    }

    fn keep(&self, at: &Endpoint, scopes: &[String], token: &Secret, until_ms: i64) {
        let now_ms = self.clock.now_ms();
        let mut memory = lock(&self.memory);
        if TOKENS_MAX <= memory.tokens.len() + scopes.len() {
            memory.tokens.retain(|_, kept| now_ms < kept.until_ms);
            if TOKENS_MAX <= memory.tokens.len() + scopes.len() {
                memory.tokens.clear();
            }
        }
        for scope in scopes {
            let kept = Kept {
                token: token.clone(),
                until_ms,
                version: at.version,
            };
            memory.tokens.insert(token_key(at, scope), kept);
        }
    }

    fn kept(&self, at: &Endpoint, scope: &str) -> Option<Granted> {
        let now_ms = self.clock.now_ms();
        let memory = lock(&self.memory);
        let kept = memory.tokens.get(&token_key(at, scope))?;
        (kept.version == at.version && now_ms < kept.until_ms).then(|| Granted::Token {
            token: kept.token.clone(),
            is_from_password: !at.credential.is_anonymous(),
        })
    }

    fn forget_scope(&self, at: &Endpoint, scope: &str) {
        lock(&self.memory).tokens.remove(&token_key(at, scope));
    }
}

/// The right to read a repository.
fn scope_of(repository: &str) -> String {
    format!("repository:{repository}:pull")
}

/// Without credentials GitHub's registry gives one token that is good for everything that is public.
fn token_key(at: &Endpoint, scope: &str) -> (String, String) {
    let is_shared = at.credential.is_anonymous() && matches!(at.registry.as_str(), "ghcr.io" | "lscr.io");
    let scope = if is_shared { "" } else { scope };
    (at.registry.clone(), scope.to_owned())
}

fn basic(at: &Endpoint) -> Result<Granted, RegistryError> {
    match &at.credential {
        Credential::Basic { username, password } => {
            let plain = format!("{username}:{}", password.expose());
            Ok(Granted::Basic(Secret::new(STANDARD.encode(plain))))
        }
        _ => Err(RegistryError::Denied {
            host: at.host(),
            what: "anybody without a user name and password".to_owned(),
        }),
    }
}

fn read(refusal: &Reply) -> Result<Challenge, RegistryError> {
    let headers = refusal.headers.get_all("www-authenticate");
    let headers: Vec<&str> = headers.iter().filter_map(|value| value.to_str().ok()).collect();
    Challenge::read(&authority(&refusal.url), &headers)
}
