//! Who people are: logging in, access tokens, roles.
//!
//! An access token is 256 random bits, of a session or of an API token (`tokens`); the store has only SHA-256 hashes. Who
//! a token belongs to and what that account may do is read at each request, so every change holds at once. Passwords are
//! argon2id hashes (`hashing`); an unknown account costs as much as a wrong password. Guessing is slowed down (`guard`).

mod guard;
mod hashing;
mod network;

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub(super) use self::guard::Guard;
pub use self::hashing::HashCost;
pub(super) use self::hashing::Hasher;
use self::network::network_of;
use super::App;
use super::audit::{Actor, Entry};
use super::tokens::{PREFIX, TokenText, is_metrics_only, role_of_scopes};
use crate::identity::{IdentityError, is_same_secret, random};
use crate::store::{AccountRow, NewSession, StoreError};

/// The account that is made at the first start.
pub const FIRST_ADMIN: &str = "admin";
const USERNAME_BYTES_MAX: usize = 255;
const PASSWORD_BYTES_MAX: usize = 1_024;
/// The audit log's word for logging in.
const LOGIN: &str = "auth.login";
const TOKEN_BYTES_MAX: usize = 256;
/// How exactly it is known when an API token was used last.
const USED_EVERY_MS: i64 = 60_000;

/// What a person may do; each role may do all that a lesser one may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Look and act.
    Operator,
    /// Everything.
    Admin,
}

/// How somebody showed who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    /// By logging in.
    Session,
    /// By an API token.
    ApiToken {
        /// Its id.
        id: i64,
        /// Whether it is good for nothing but reading metrics.
        is_metrics_only: bool,
    },
}

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Id of the account.
    pub user_id: i64,
    /// Name of the account.
    pub username: String,
    /// What it may do: its account's role, or less if its API token's scopes are less.
    pub role: Role,
    /// How it showed who it is.
    pub credential: Credential,
}

impl Principal {
    /// Whether it may do what needs this role.
    #[must_use]
    pub fn may(&self, role: Role) -> bool {
        let is_metrics_only = matches!(
            self.credential,
            Credential::ApiToken {
                is_metrics_only: true,
                ..
            }
        );
        !is_metrics_only && role <= self.role
    }

    /// As whom the audit log knows it.
    #[must_use]
    pub fn actor(&self) -> Actor {
        match self.credential {
            Credential::Session => Actor::User {
                id: self.user_id,
                name: self.username.clone(),
            },
            Credential::ApiToken { id, .. } => Actor::ApiToken {
                id,
                user: self.username.clone(),
            },
        }
    }
}

/// A fresh access token.
#[derive(Debug, Clone)]
pub struct Session {
    /// The bearer token; shown this once.
    pub access_token: String,
    /// How long it lives, in seconds.
    pub expires_in_s: u64,
    /// Whose it is.
    pub principal: Principal,
}

/// Why a login or a token was refused.
#[derive(Debug, Error)]
pub enum AuthError {
    /// No such account, a wrong password, or a disabled account: callers learn no more.
    #[error("username or password is wrong")]
    BadCredentials,
    /// The access token is unknown, expired or logged out.
    #[error("the access token is not valid")]
    BadToken,
    /// Too many attempts for this account or from this address.
    #[error("too many attempts, try again in {retry_after_s} s")]
    TooMany {
        /// When to try again, in seconds.
        retry_after_s: u64,
    },
    /// The operating system gives no random numbers.
    #[error("make a secret")]
    Random(#[source] IdentityError),
    /// The first admin's password could not be written down.
    #[error("write down the first admin's password")]
    Keep(#[source] std::io::Error),
    /// The stored hash cannot be read or no hash can be computed.
    #[error("check the password: {0}")]
    Hash(String),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Role {
    /// The word used in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of a word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == word)
    }
}

impl App {
    /// Exchanges a password for an access token.
    ///
    /// # Errors
    /// [`AuthError::BadCredentials`], [`AuthError::TooMany`], or a failure of the database.
    pub async fn login(&self, username: &str, password: &str, peer: IpAddr) -> Result<Session, AuthError> {
        let account = self.store.account(username).await?;
        // People type passwords into the wrong field: a name is written down only if it is one.
        let known = account.as_ref().map(|account| account.username.clone());
        let target = known.clone().unwrap_or_else(|| "an unknown account".to_owned());
        let refused = |reason| Entry::refused(Actor::Nobody, LOGIN, target, reason).from_peer(peer);
        match self.try_login(account, username, password, peer).await {
            Ok(session) => {
                tracing::info!(user = username, peer = %peer, "login");
                let entry = Entry::allowed(session.principal.actor(), LOGIN, username).from_peer(peer);
                self.audit.note(entry).await;
                Ok(session)
            }
            Err(error) => {
                tracing::warn!(user = known, peer = %peer, error = %error, "login refused");
                match error {
                    AuthError::BadCredentials => self.audit.note(refused("bad_credentials")).await,
                    AuthError::TooMany { .. } => self.audit.note(refused("too_many_attempts")).await,
                    _ => {}
                }
                Err(error)
            }
        }
    }

    async fn try_login(
        &self,
        account: Option<AccountRow>,
        username: &str,
        password: &str,
        peer: IpAddr,
    ) -> Result<Session, AuthError> {
        let is_known = self.limit_logins(account.as_ref(), username, peer).await?;
        // What is too long to be a name or password of ours is not worth a hash.
        if USERNAME_BYTES_MAX < username.len() || PASSWORD_BYTES_MAX < password.len() {
            return Err(AuthError::BadCredentials);
        }
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let is_right = self.hasher.verify(stored, password.to_owned(), is_known).await?;
        let Some(account) = account.filter(|account| is_right && !account.disabled) else {
            return Err(AuthError::BadCredentials);
        };
        let now_ms = self.clock.now_ms();
        self.store
            .add_origin(account.id, &network_of(peer), now_ms)
            .await?;
        self.renew_hash(&account, password).await?;
        self.begin_session(principal(account)?).await
    }

    /// Finds out whose access token this is; `peer` is who shows it.
    ///
    /// # Errors
    /// [`AuthError::BadToken`], [`AuthError::TooMany`] if too many were shown that are none, or a failure of the
    /// database.
    pub async fn authenticate(&self, bearer: &str, peer: IpAddr) -> Result<Principal, AuthError> {
        if TOKEN_BYTES_MAX < bearer.len() {
            return Err(AuthError::BadToken);
        }
        let (network, now_ms) = (network_of(peer), self.clock.now_ms());
        let hash = Sha256::digest(bearer.as_bytes()).into();
        self.guard.may_show(&network, &hash, now_ms)?;
        match self.find_principal(bearer).await {
            Ok(principal) => {
                self.guard.shown(hash);
                Ok(principal)
            }
            Err(error) => {
                if matches!(error, AuthError::BadToken | AuthError::BadCredentials) {
                    self.guard.guessed(network, now_ms);
                }
                Err(error)
            }
        }
    }

    /// Finds out whose access token this is, for whoever has shown it before.
    ///
    /// # Errors
    /// [`AuthError::BadToken`], or a failure of the database.
    pub async fn find_principal(&self, bearer: &str) -> Result<Principal, AuthError> {
        if bearer.starts_with(PREFIX) {
            return self.principal_of_api_token(bearer).await;
        }
        let found = self
            .store
            .account_of_session(&token_hash(bearer), self.clock.now_ms())
            .await?;
        principal(found.ok_or(AuthError::BadToken)?)
    }

    async fn principal_of_api_token(&self, bearer: &str) -> Result<Principal, AuthError> {
        let text = TokenText::parse(bearer).ok_or(AuthError::BadToken)?;
        let now_ms = self.clock.now_ms();
        let found = self.store.api_token_by_public_id(&text.public_id, now_ms).await?;
        let (token, secret_sha256, account) = found.ok_or(AuthError::BadToken)?;
        if !is_same_secret(&text.secret_sha256(), &secret_sha256) {
            return Err(AuthError::BadToken);
        }
        if token
            .last_used_ms
            .is_none_or(|used_ms| USED_EVERY_MS <= now_ms.saturating_sub(used_ms))
        {
            self.store.api_token_used(token.id, now_ms).await?;
        }
        let of_account = principal(account)?;
        Ok(Principal {
            role: role_of_scopes(&token.scopes).min(of_account.role),
            credential: Credential::ApiToken {
                id: token.id,
                is_metrics_only: is_metrics_only(&token.scopes),
            },
            ..of_account
        })
    }

    /// Ends a session; one that has ended is no error.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn logout(&self, bearer: &str) -> Result<(), AuthError> {
        Ok(self.store.end_session(&token_hash(bearer)).await?)
    }

    /// An access token of the first admin, for whoever may use the data folder; `uid` is who that is on this machine.
    ///
    /// # Errors
    /// [`AuthError::BadCredentials`] if no enabled admin is left, or a failure of the database.
    pub async fn local_session(&self, uid: u32) -> Result<Session, AuthError> {
        let admin = self.store.first_account(Role::Admin.as_str()).await?;
        let principal = principal(admin.ok_or(AuthError::BadCredentials)?)?;
        tracing::info!(user = principal.username, uid, "local session");
        let entry = Entry::allowed(Actor::Local { uid }, LOGIN, &principal.username);
        self.audit.note(entry).await;
        self.begin_session(principal).await
    }

    /// Makes the first admin with a random password, if there is no account at all. The password is given to `keep`
    /// before the account is made, so that there is never an account whose password nobody knows.
    ///
    /// # Errors
    /// [`AuthError::Keep`], [`AuthError::Hash`], or a failure of the database.
    pub async fn ensure_first_admin(
        &self,
        keep: impl FnOnce(&str) -> std::io::Result<()>,
    ) -> Result<(), AuthError> {
        if 0 < self.store.account_count().await? {
            return Ok(());
        }
        let password = BASE64.encode(random::<18>().map_err(AuthError::Random)?);
        keep(&password).map_err(AuthError::Keep)?;
        let hash = self.hasher.hash(password, true).await?;
        let now_ms = self.clock.now_ms();
        self.store
            .add_account(FIRST_ADMIN, &hash, Role::Admin.as_str(), now_ms)
            .await?;
        tracing::info!(user = FIRST_ADMIN, "first admin made");
        self.audit
            .note(Entry::allowed(Actor::System, "user.create", FIRST_ADMIN))
            .await;
        Ok(())
    }

    /// Counts a try. Returns whether the account has logged in from there before.
    pub(super) async fn limit_logins(
        &self,
        account: Option<&AccountRow>,
        username: &str,
        peer: IpAddr,
    ) -> Result<bool, AuthError> {
        let network = network_of(peer);
        // Asked also for no account at all, so that it takes as long.
        let id = account.map_or(0, |account| account.id);
        let is_known = self.store.is_known_origin(id, &network).await?;
        let now_ms = self.clock.now_ms();
        self.guard
            .may_try(&token_hash(username), peer, network, is_known, now_ms)?;
        Ok(is_known)
    }

    /// Hashes a password anew that was hashed by weaker rules.
    async fn renew_hash(&self, account: &AccountRow, password: &str) -> Result<(), AuthError> {
        if self.hasher.is_current(&account.password_hash) {
            return Ok(());
        }
        let hash = self.hasher.hash(password.to_owned(), true).await?;
        self.store
            .replace_hash(account.id, &account.password_hash, &hash)
            .await?;
        Ok(())
    }

    async fn begin_session(&self, principal: Principal) -> Result<Session, AuthError> {
        let access_token = BASE64.encode(random::<32>().map_err(AuthError::Random)?);
        let now_ms = self.clock.now_ms();
        let ttl_ms = i64::try_from(self.settings.session_ttl.as_millis()).unwrap_or(i64::MAX);
        let session = NewSession {
            token_sha256: token_hash(&access_token),
            user_id: principal.user_id,
            now_ms,
            expires_ms: now_ms.saturating_add(ttl_ms),
        };
        self.store.add_session(session).await?;
        self.guard.shown(Sha256::digest(access_token.as_bytes()).into());
        Ok(Session {
            access_token,
            expires_in_s: self.settings.session_ttl.as_secs(),
            principal,
        })
    }
}

fn principal(account: AccountRow) -> Result<Principal, AuthError> {
    // A role of a newer version is none that we could grant.
    let role = Role::from_word(&account.role).ok_or(AuthError::BadCredentials)?;
    Ok(Principal {
        user_id: account.id,
        username: account.username,
        role,
        credential: Credential::Session,
    })
}

/// What stands for a token in tables.
pub(super) fn token_hash(token: &str) -> String {
    Sha256::digest(token.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
