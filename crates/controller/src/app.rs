//! The controller's use-cases: what may be done, in the words of the domain.
//!
//! Owns the rules that stand between an adapter (`http`, `grpc`, `control`) and the tables (`store`): who may log in,
//! when a token is spent, what a server's status is. Must not know axum, tonic or sea-orm. Identity never comes from
//! a body: callers pass a [`Principal`](auth::Principal) or a
//! [`PeerCertificate`](crate::identity::PeerCertificate).

mod alerts;
pub mod audit;
pub mod auth;
pub mod channels;
pub mod collect;
pub mod collectors;
pub mod commands;
pub mod devices;
pub mod enrolment;
pub mod ingest;
pub mod limit;
pub mod live;
pub mod presence;
pub mod registries;
pub mod resources;
pub mod rotation;
pub mod series;
pub mod servers;
pub mod status;
pub mod tokens;
pub mod topology;
pub mod users;

use std::sync::Arc;
use std::time::Duration;

use std::collections::HashMap;

use camino::Utf8Path;
use muster_base::clock::WallClock;
use muster_base::id::{AgentId, ServerId};
use thiserror::Error;
use tokio::sync::{Mutex, broadcast};

use crate::identity::revocations::{self, RevocationKey, Revocations, RevocationsError};
use crate::identity::{Identity, IdentityError, Installation, Seal};
use crate::store::{Store, StoreError};

/// Most items of one page; a larger `limit` is held at it.
pub const PAGE_LIMIT_MAX: u32 = 1_000;
/// Items of a page whose `limit` is not given.
pub const PAGE_LIMIT_DEFAULT: u32 = 100;

/// How many changes of agents' standing a slow reader may be behind before it loses one; a reader that does closes
/// every stream.
const CHANGES_HELD: usize = 1_024;
/// How often an agent that is held is written down anew, a second.
const HOLDS_PER_S: f64 = 1.0 / 60.0;
/// Renewals a second of one agent: a certificate lives for a minute at least and is renewed half way.
const RENEWALS_PER_S: f64 = 0.1;
/// Renewals of one agent at once, for answers that are lost.
const RENEWALS_AT_ONCE: u32 = 5;
/// For how long enrolment tokens that ended stay known, so that whoever shows one learns that it expired.
const TOKENS_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// What the use-cases are set to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long an access token lives.
    pub session_ttl: Duration,
    /// Login attempts a minute: for an account from one address, for an account from all addresses it never logged in
    /// from, and for such an address over all accounts.
    pub login_per_min: u32,
    /// Enrolments a second from one address.
    pub enrolment_per_address_per_s: f64,
    /// How many enrolments of one address may come at once.
    pub enrolment_burst: u32,
    /// Enrolments a second from all addresses together.
    pub enrolment_per_s: f64,
    /// How long an enrolment token lives unless its maker says otherwise.
    pub token_ttl: Duration,
    /// What hashing a password costs.
    pub hash_cost: auth::HashCost,
    /// How long entries of the audit log are kept.
    pub audit_retention: Duration,
    /// How long alerts that are over are kept.
    pub alert_retention: Duration,
    /// How long an agent's certificate is valid.
    pub agent_certificate_ttl: Duration,
    /// `HOST:PORT` under which agents reach this controller; goes into install commands.
    pub agent_address: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session_ttl: Duration::from_secs(12 * 3_600),
            login_per_min: 10,
            enrolment_per_address_per_s: 1.0,
            enrolment_burst: 20,
            enrolment_per_s: 20.0,
            token_ttl: Duration::from_secs(30 * 60),
            hash_cost: auth::HashCost::default(),
            audit_retention: audit::RETENTION_DEFAULT,
            alert_retention: Duration::from_secs(365 * 86_400),
            agent_certificate_ttl: Duration::from_secs(7 * 24 * 3_600),
            agent_address: "127.0.0.1:8481".to_owned(),
        }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// How many there are in all pages.
    pub total: u64,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Which page is wanted.
#[derive(Debug, Clone, Default)]
pub struct PageRequest {
    /// Most items; [`PAGE_LIMIT_DEFAULT`] if not given, never more than [`PAGE_LIMIT_MAX`].
    pub limit: Option<u32>,
    /// [`Page::next`] of the page before.
    pub cursor: Option<String>,
}

/// A field of a request that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field's name in the API.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// Why a use-case did not do what was asked.
#[derive(Debug, Error)]
pub enum AppError {
    /// There is no such thing (any more).
    #[error("no {what} with id {id}")]
    NotFound {
        /// The word for the thing.
        what: &'static str,
        /// The id asked for.
        id: i64,
    },
    /// The request has fields that cannot be taken.
    #[error("{} of the request cannot be taken", .0.iter().map(|problem| problem.field).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<FieldProblem>),
    /// The cursor is not one of ours.
    #[error("the cursor is not one that this list gave")]
    Cursor,
    /// Making an enrolment token failed.
    #[error(transparent)]
    Enrolment(#[from] enrolment::EnrolError),
    /// A revocation counts, but could not be written beside the state database.
    #[error("write down a revocation")]
    NotKept(#[from] RevocationsError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A failure of the store or of the identity.
#[derive(Debug, Error)]
pub enum KeepError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Keys or certificates failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The audit log failed.
    #[error(transparent)]
    Audit(#[from] audit::AuditError),
    /// The revocations beside the state database failed.
    #[error(transparent)]
    Revocations(#[from] RevocationsError),
}

/// All use-cases over one store and one identity. Shared as `Arc<App>`.
pub struct App {
    store: Store,
    identity: Arc<Identity>,
    audit: audit::Audit,
    clock: WallClock,
    presence: Arc<presence::Presence>,
    settings: Settings,
    started_ms: i64,
    guard: auth::Guard,
    hasher: auth::Hasher,
    enrolment_limit: limit::RateLimit<std::net::IpAddr>,
    enrolment_limit_all: limit::RateLimit<()>,
    renewal_limit: limit::RateLimit<AgentId>,
    /// Told of every server whose cadence was set.
    cadence_tx: broadcast::Sender<(ServerId, live::Cadence)>,
    hold_limit: limit::RateLimit<AgentId>,
    refusals: Arc<enrolment::Refusals>,
    revoked: enrolment::Revoked,
    change_tx: broadcast::Sender<enrolment::Change>,
    /// Held by whoever changes certificates of our own.
    ca_lock: Mutex<()>,
    commands: commands::Commands,
    /// Names and tags of servers; emptied by whatever changes one.
    names: Mutex<Option<Arc<HashMap<ServerId, servers::ServerName>>>>,
}

impl App {
    /// Use-cases over an open store and identity.
    #[must_use]
    pub fn new(
        store: Store,
        identity: Arc<Identity>,
        audit: audit::Audit,
        revocations: Revocations,
        clock: WallClock,
        settings: Settings,
    ) -> Self {
        Self {
            guard: auth::Guard::new(settings.login_per_min),
            hasher: auth::Hasher::new(settings.hash_cost),
            enrolment_limit: limit::RateLimit::new(
                settings.enrolment_per_address_per_s,
                settings.enrolment_burst,
            ),
            enrolment_limit_all: limit::RateLimit::new(
                settings.enrolment_per_s,
                // A second's worth may come at once.
                settings.enrolment_per_s.ceil().max(1.0) as u32,
            ),
            renewal_limit: limit::RateLimit::new(RENEWALS_PER_S, RENEWALS_AT_ONCE),
            started_ms: clock.now_ms(),
            commands: commands::Commands::new(
                store.clone(),
                Arc::clone(&identity),
                audit.clone(),
                clock.clone(),
            ),
            store,
            identity,
            audit,
            clock,
            presence: Arc::default(),
            settings,
            cadence_tx: broadcast::Sender::new(CHANGES_HELD),
            hold_limit: limit::RateLimit::new(HOLDS_PER_S, 2),
            refusals: Arc::default(),
            revoked: enrolment::Revoked::new(revocations),
            change_tx: broadcast::Sender::new(CHANGES_HELD),
            ca_lock: Mutex::default(),
            names: Mutex::default(),
        }
    }

    /// The state database.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Keys and certificates.
    #[must_use]
    pub const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// Who did what.
    #[must_use]
    pub const fn audit(&self) -> &audit::Audit {
        &self.audit
    }

    /// What agents are asked to do.
    #[must_use]
    pub const fn commands(&self) -> &commands::Commands {
        &self.commands
    }

    /// Which servers are connected.
    #[must_use]
    pub const fn presence(&self) -> &Arc<presence::Presence> {
        &self.presence
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &WallClock {
        &self.clock
    }

    /// What the use-cases are set to.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// When the controller started, Unix ms.
    #[must_use]
    pub const fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// Renews what of our own certificates is half over, and forgets enrolment tokens and audit entries of long ago. To be
    /// called about once an hour.
    ///
    /// # Errors
    /// [`KeepError`]; what was not done is done the next time.
    pub async fn upkeep(&self) -> Result<(), KeepError> {
        let now_ms = self.clock.now_ms();
        {
            let _only = self.ca_lock.lock().await;
            let fresh = self.identity.renew()?;
            self.store.put_secrets(&fresh, now_ms).await?;
        }
        self.keep_revocations().await?;
        self.store
            .forget_tokens(now_ms.saturating_sub(TOKENS_KEPT_MS))
            .await?;
        self.store
            .forget_api_tokens(now_ms.saturating_sub(TOKENS_KEPT_MS))
            .await?;
        self.commands.forget_old().await?;
        self.audit.retain(self.settings.audit_retention).await?;
        Ok(())
    }
}

impl PageRequest {
    /// How many items are wanted, within the bounds.
    pub(crate) fn limit(&self) -> u32 {
        self.limit.unwrap_or(PAGE_LIMIT_DEFAULT).clamp(1, PAGE_LIMIT_MAX)
    }

    /// The id after which the page begins; 0 for the first page.
    pub(crate) fn after(&self) -> Result<i64, AppError> {
        let Some(cursor) = &self.cursor else { return Ok(0) };
        cursor.parse().ok().filter(|&id| 0 <= id).ok_or(AppError::Cursor)
    }
}

/// A page of rows, of which one more than wanted were read to know whether there is another page.
pub(crate) fn page<T>(mut items: Vec<T>, limit: u32, total: u64, cursor: impl Fn(&T) -> String) -> Page<T> {
    let has_more = (limit as usize) < items.len();
    items.truncate(limit as usize);
    let next = items.last().filter(|_| has_more).map(cursor);
    Page { items, total, next }
}

/// Makes a store and an identity, and from them the use-cases: what `run` and the command line do alike.
///
/// # Errors
/// [`KeepError`].
pub async fn open(
    database: &Utf8Path,
    secret_key_file: &Utf8Path,
    clock: WallClock,
    settings: Settings,
) -> Result<App, KeepError> {
    let store = Store::open(database).await?;
    let now_ms = clock.now_ms();
    let installation = store.installation(Installation::random()?, now_ms).await?;
    let sealed = store.secrets().await?;
    let seal = Seal::load_or_make(secret_key_file, !sealed.is_empty())?;
    let revocation_key = RevocationKey::of(&seal);
    let (identity, fresh) = Identity::open(installation, sealed, seal, clock.clone())?;
    store.put_secrets(&fresh, now_ms).await?;
    let folder = database.parent().unwrap_or(Utf8Path::new("."));
    let key = identity.mac_key(audit::KEY_PURPOSE);
    let audit = audit::Audit::open(store.clone(), clock.clone(), key, folder).await?;
    let revocations = open_revocations(&store, database, revocation_key, now_ms).await?;
    Ok(App::new(
        store,
        Arc::new(identity),
        audit,
        revocations,
        clock,
        settings,
    ))
}

/// Brings the revocations in the database and those in the file beside it together.
async fn open_revocations(
    store: &Store,
    database: &Utf8Path,
    key: RevocationKey,
    now_ms: i64,
) -> Result<Revocations, KeepError> {
    let known = store.revocations().await?;
    let file = database.with_file_name(revocations::FILE);
    let revocations = Revocations::open(&file, key, &known, now_ms)?;
    let mut new = revocations.entries().clone();
    new.retain(|agent, _| !known.contains_key(agent));
    if !new.is_empty() {
        tracing::warn!(
            count = new.len(),
            "the state database did not know of revocations that are kept beside it, and takes them over"
        );
    }
    store.take_revocations(&new).await?;
    Ok(revocations)
}

#[cfg(test)]
pub(crate) mod tests;
