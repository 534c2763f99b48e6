//! Who people are: logging in, access tokens, roles.
//!
//! An access token is 256 random bits; the store has only its SHA-256. Passwords are argon2id hashes, computed off the
//! async threads and few at a time. An unknown account costs as much as a wrong password.

use std::net::IpAddr;
use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::App;
use crate::identity::{IdentityError, random};
use crate::store::{AccountRow, NewSession, StoreError};

/// Password hashes computed at the same time; each takes 19 MiB and a few 10 ms.
pub(super) const HASHERS: usize = 2;
/// The account that is made at the first start.
pub const FIRST_ADMIN: &str = "admin";
const USERNAME_BYTES_MAX: usize = 255;
const PASSWORD_BYTES_MAX: usize = 1_024;
const TOKEN_BYTES_MAX: usize = 256;

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

/// Who makes a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Id of the account.
    pub user_id: i64,
    /// Name of the account.
    pub username: String,
    /// Its role.
    pub role: Role,
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

    fn from_word(word: &str) -> Option<Self> {
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
        self.limit_logins(username, peer)?;
        // What is too long to be a name or password of ours is not worth a hash.
        if USERNAME_BYTES_MAX < username.len() || PASSWORD_BYTES_MAX < password.len() {
            return Err(AuthError::BadCredentials);
        }
        let account = self.store.account(username).await?;
        let stored = account.as_ref().map(|account| account.password_hash.clone());
        let is_right = self.verify(stored, password.to_owned()).await?;
        // People type passwords into the wrong field: a name is logged only if it is one.
        let known = account.as_ref().map(|account| account.username.clone());
        let Some(account) = account.filter(|account| is_right && !account.disabled) else {
            tracing::warn!(user = known, peer = %peer, "login refused");
            return Err(AuthError::BadCredentials);
        };
        tracing::info!(user = username, peer = %peer, "login");
        self.begin_session(principal(account)?).await
    }

    /// Finds out whose access token this is.
    ///
    /// # Errors
    /// [`AuthError::BadToken`], or a failure of the database.
    pub async fn authenticate(&self, bearer: &str) -> Result<Principal, AuthError> {
        if TOKEN_BYTES_MAX < bearer.len() {
            return Err(AuthError::BadToken);
        }
        let found = self
            .store
            .account_of_session(&token_hash(bearer), self.clock.now_ms())
            .await?;
        principal(found.ok_or(AuthError::BadToken)?)
    }

    /// Makes an access token worthless; one that is already so is no error.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn logout(&self, bearer: &str) -> Result<(), AuthError> {
        Ok(self.store.end_session(&token_hash(bearer)).await?)
    }

    /// An access token of the first admin, for whoever may open the control socket.
    ///
    /// # Errors
    /// [`AuthError::BadCredentials`] if no enabled admin is left, or a failure of the database.
    pub async fn local_session(&self) -> Result<Session, AuthError> {
        let admin = self.store.first_account(Role::Admin.as_str()).await?;
        let principal = principal(admin.ok_or(AuthError::BadCredentials)?)?;
        tracing::info!(user = principal.username, "local session");
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
        let hash = self.hash(password).await?;
        let now_ms = self.clock.now_ms();
        self.store
            .add_account(FIRST_ADMIN, &hash, Role::Admin.as_str(), now_ms)
            .await?;
        tracing::info!(user = FIRST_ADMIN, "first admin made");
        Ok(())
    }

    fn limit_logins(&self, username: &str, peer: IpAddr) -> Result<(), AuthError> {
        let now_ms = self.clock.now_ms();
        // Behind a reverse proxy on this machine everybody has the same address: there only the account counts.
        let address = (!peer.is_loopback()).then(|| format!("address {peer}"));
        let account = format!("account {}", token_hash(username));
        for key in address.into_iter().chain([account]) {
            self.login_limit
                .take(key, now_ms)
                .map_err(|wait_ms| AuthError::TooMany {
                    retry_after_s: wait_ms.div_ceil(1_000),
                })?;
        }
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
        Ok(Session {
            access_token,
            expires_in_s: self.settings.session_ttl.as_secs(),
            principal,
        })
    }

    /// Whether the password fits; without a stored hash one is made all the same, so that it takes as long.
    async fn verify(&self, stored: Option<String>, password: String) -> Result<bool, AuthError> {
        let Some(stored) = stored else {
            self.hash(password).await?;
            return Ok(false);
        };
        self.hashing(
            move || match Argon2::default().verify_password(password.as_bytes(), stored.as_str()) {
                Ok(()) => Ok(true),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(error.to_string()),
            },
        )
        .await
    }

    async fn hash(&self, password: String) -> Result<String, AuthError> {
        self.hashing(move || {
            let hash = Argon2::default().hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string())
                .map_err(|error| error.to_string())
        })
        .await
    }

    /// Runs work that takes long and much memory: off the async threads, few at a time.
    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, AuthError> {
        let permit = Arc::clone(&self.hashers)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        // The permit goes along, so that a caller who gives up does not make room for more.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await
            .map_err(|error| AuthError::Hash(error.to_string()))?
            .map_err(AuthError::Hash)
    }
}

fn principal(account: AccountRow) -> Result<Principal, AuthError> {
    // A role of a newer version is none that we could grant.
    let role = Role::from_word(&account.role).ok_or(AuthError::BadCredentials)?;
    Ok(Principal {
        user_id: account.id,
        username: account.username,
        role,
    })
}

fn token_hash(token: &str) -> String {
    Sha256::digest(token.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests;
