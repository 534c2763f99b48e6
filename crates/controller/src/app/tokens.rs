//! API tokens: for programs, with scopes and an end.
//!
//! A token's text is `muster_pat_ID_SECRET_CHECKSUM`, all hexadecimal: findable wherever it leaks, and a mistyped one is
//! known without asking the database. It never may more than its account may at the time.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::auth::{AuthError, Credential, Principal, Role};
use super::{App, AppError, FieldProblem, Page, PageRequest, page};
use crate::identity::random;
use crate::store::{ApiTokenRow, NewApiToken, StoreError};

/// What every token begins with.
pub const PREFIX: &str = "muster_pat_";
/// How long a token lives unless its maker says otherwise.
pub const TTL_DEFAULT: Duration = Duration::from_secs(90 * 86_400);
/// Longest life of a token.
pub const TTL_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Shortest life of a token.
const TTL_MIN: Duration = Duration::from_secs(60);
/// Most tokens of one account.
const PER_ACCOUNT_MAX: u64 = 100;
const NAME_BYTES_MAX: usize = 100;
const ID_DIGITS: usize = 12;
const SECRET_DIGITS: usize = 64;
const CHECKSUM_DIGITS: usize = 8;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Reading metrics, and nothing else.
    Metrics,
    /// What a viewer may.
    Read,
    /// What an operator may.
    Operate,
    /// What an admin may.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Metrics, Self::Read, Self::Operate, Self::Admin];

    /// The word used in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    const fn role(self) -> Role {
        match self {
            Self::Metrics | Self::Read => Role::Viewer,
            Self::Operate => Role::Operator,
            Self::Admin => Role::Admin,
        }
    }

    /// The scopes in a stored text; a word of a newer version grants nothing.
    fn of_text(text: &str) -> impl Iterator<Item = Self> + '_ {
        Self::ALL
            .into_iter()
            .filter(|scope| text.split(' ').any(|word| word == scope.as_str()))
    }
}

/// The role that the greatest of these scopes gives.
pub(super) fn role_of_scopes(text: &str) -> Role {
    Scope::of_text(text)
        .map(Scope::role)
        .max()
        .unwrap_or(Role::Viewer)
}

/// Whether these scopes are good for nothing but metrics.
pub(super) fn is_metrics_only(text: &str) -> bool {
    Scope::of_text(text).all(|scope| scope == Scope::Metrics)
}

/// A token's text, taken apart.
pub(super) struct TokenText {
    /// Names it in the database.
    pub(super) public_id: String,
    secret: String,
}

impl TokenText {
    fn random() -> Result<Self, AuthError> {
        let id: [u8; ID_DIGITS / 2] = random().map_err(AuthError::Random)?;
        let secret: [u8; SECRET_DIGITS / 2] = random().map_err(AuthError::Random)?;
        Ok(Self {
            public_id: hex(&id),
            secret: hex(&secret),
        })
    }

    /// Takes a text apart. `None` if it is none, or not as it was given out.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        let mut parts = rest.split('_');
        let (public_id, secret, checksum) = (parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, digits| {
            part.len() == digits && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if parts.next().is_some() || !is_hex(public_id, ID_DIGITS) || !is_hex(secret, SECRET_DIGITS) {
            return None;
        }
        let parsed = Self {
            public_id: public_id.to_owned(),
            secret: secret.to_owned(),
        };
        (parsed.checksum() == checksum).then_some(parsed)
    }

    fn to_text(&self) -> String {
        format!("{PREFIX}{}_{}_{}", self.public_id, self.secret, self.checksum())
    }

    /// Of typing and cutting, not of malice.
    fn checksum(&self) -> String {
        let mut digits = hex(&Sha256::digest(format!("{}_{}", self.public_id, self.secret)));
        digits.truncate(CHECKSUM_DIGITS);
        digits
    }

    /// What is stored of the secret.
    pub(super) fn secret_sha256(&self) -> Vec<u8> {
        Sha256::digest(self.secret.as_bytes()).to_vec()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A token that is wanted.
#[derive(Debug, Clone)]
pub struct WantedToken {
    /// What its owner calls it.
    pub name: String,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// How long it lives; [`TTL_DEFAULT`] if not given.
    pub ttl: Option<Duration>,
}

/// A token as it is shown; times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenView {
    /// Its id.
    pub id: i64,
    /// How its text begins.
    pub prefix: String,
    /// Id of its account.
    pub user_id: i64,
    /// Name of its account.
    pub username: String,
    /// What its owner calls it.
    pub name: String,
    /// What it is good for.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: i64,
    /// When it was used last, to the minute.
    pub last_used_ms: Option<i64>,
}

/// A token that was just made.
#[derive(Debug, Clone)]
pub struct CreatedApiToken {
    /// What is shown of it later too.
    pub view: TokenView,
    /// Its text; shown this once.
    pub text: String,
}

/// Why no token was made.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Only who logged in may make one: else a token could outlive itself.
    #[error("an API token cannot make another one")]
    NeedsSession,
    /// The account has as many as it may.
    #[error("the account has {PER_ACCOUNT_MAX} API tokens")]
    TooMany,
    /// The request has fields that cannot be taken.
    #[error("{} of the request cannot be taken", .0.iter().map(|problem| problem.field).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<FieldProblem>),
    /// There is no such token of the caller's.
    #[error("no API token with id {0}")]
    NotFound(i64),
    /// A secret could not be made.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ApiTokenRow> for TokenView {
    fn from(row: ApiTokenRow) -> Self {
        Self {
            id: row.id,
            prefix: format!("{PREFIX}{}", row.public_id),
            user_id: row.user_id,
            username: row.username,
            name: row.name,
            scopes: Scope::of_text(&row.scopes).collect(),
            created_ms: row.created_ms,
            expires_ms: row.expires_ms,
            last_used_ms: row.last_used_ms,
        }
    }
}

impl App {
    /// Makes an API token of the caller's.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn create_api_token(
        &self,
        by: &Principal,
        wanted: WantedToken,
    ) -> Result<CreatedApiToken, TokenError> {
        if by.credential != Credential::Session {
            return Err(TokenError::NeedsSession);
        }
        let ttl = wanted.ttl.unwrap_or(TTL_DEFAULT);
        check(by, &wanted, ttl)?;
        let text = TokenText::random()?;
        let scopes: Vec<&str> = Scope::ALL
            .into_iter()
            .filter(|scope| wanted.scopes.contains(scope))
            .map(Scope::as_str)
            .collect();
        let created_ms = self.clock.now_ms();
        let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
        let new = NewApiToken {
            public_id: text.public_id.clone(),
            user_id: by.user_id,
            name: wanted.name,
            secret_sha256: text.secret_sha256(),
            scopes: scopes.join(" "),
            created_ms,
            expires_ms: created_ms.saturating_add(ttl_ms),
        };
        let added = self.store.add_api_token(new.clone(), PER_ACCOUNT_MAX).await?;
        let id = added.ok_or(TokenError::TooMany)?;
        tracing::info!(token = new.public_id, user = by.username, "API token made");
        let row = ApiTokenRow {
            id,
            public_id: new.public_id,
            user_id: new.user_id,
            username: by.username.clone(),
            name: new.name,
            scopes: new.scopes,
            created_ms,
            expires_ms: new.expires_ms,
            last_used_ms: None,
        };
        Ok(CreatedApiToken {
            view: row.into(),
            text: text.to_text(),
        })
    }

    /// API tokens: the caller's, or everybody's if the caller is an admin.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn api_tokens(&self, by: &Principal, wanted: PageRequest) -> Result<Page<TokenView>, AppError> {
        let limit = wanted.limit();
        let (rows, total) = self
            .store
            .api_tokens(owner(by), wanted.after()?, u64::from(limit) + 1)
            .await?;
        let rows = page(rows, limit, total, |row| row.id.to_string());
        Ok(Page {
            items: rows.items.into_iter().map(TokenView::from).collect(),
            total: rows.total,
            next: rows.next,
        })
    }

    /// Removes an API token: the caller's own, or any if the caller is an admin. Somebody else's is as good as none.
    ///
    /// # Errors
    /// [`TokenError::NotFound`] or a failure of the database.
    pub async fn remove_api_token(&self, by: &Principal, id: i64) -> Result<(), TokenError> {
        if !self.store.remove_api_token(id, owner(by)).await? {
            return Err(TokenError::NotFound(id));
        }
        tracing::info!(token = id, user = by.username, "API token removed");
        Ok(())
    }
}

/// Whose tokens the caller may see and remove; `None` means everybody's.
fn owner(by: &Principal) -> Option<i64> {
    (!by.may(Role::Admin)).then_some(by.user_id)
}

fn check(by: &Principal, wanted: &WantedToken, ttl: Duration) -> Result<(), TokenError> {
    let mut problems = Vec::new();
    let mut note = |field, message: String| problems.push(FieldProblem { field, message });
    let name = &wanted.name;
    if name.trim().is_empty() || NAME_BYTES_MAX < name.len() || name.chars().any(char::is_control) {
        let message = format!("1 to {NAME_BYTES_MAX} bytes are needed, none a control character");
        note("name", message);
    }
    if wanted.scopes.is_empty() {
        note(
            "scopes",
            "at least one of metrics, read, operate, admin is needed".to_owned(),
        );
    }
    if let Some(scope) = wanted.scopes.iter().find(|scope| by.role < scope.role()) {
        let message = format!(
            "{} is more than the role {} may",
            scope.as_str(),
            by.role.as_str()
        );
        note("scopes", message);
    }
    if ttl < TTL_MIN || TTL_MAX < ttl {
        let (min, max) = (TTL_MIN.as_secs(), TTL_MAX.as_secs());
        note("expires_in", format!("{min} to {max} seconds are needed"));
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(TokenError::Invalid(problems))
    }
}

#[cfg(test)]
mod tests;
