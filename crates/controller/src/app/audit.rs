//! The audit log: who did what, or was kept from it, in a chain that shows when somebody changed it.
//!
//! Every entry carries an HMAC over all its fields and the HMAC of the entry before. The key is derived from the sealing
//! key, which is not in the database: whoever can write only there can make no entry and take none away unseen. The head
//! of the chain is written to a file beside the database every few seconds (`anchor`) and told to the log, so that
//! cutting off the end shows too. [`verify`] finds what was done to it.
//!
//! An entry is on disk when [`Audit::record`] returns, also if its caller is gone by then; entries that come together
//! are written together. Refusals cost their maker nothing, so of one kind only some get an entry of their own and the
//! rest is counted (`flood`). What people change has a file from before it is tried until its entry is written (`begun`),
//! so that a crash in between is told by the next start.

mod anchor;
mod begun;
mod chain;
mod entry;
mod flood;
mod verify;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use camino::Utf8Path;
use muster_base::ErrorChain;
use muster_base::clock::WallClock;
use thiserror::Error;
use tokio::sync::oneshot;

use self::anchor::{Anchor, AnchorFile};
pub use self::begun::Begun;
use self::begun::BegunFiles;
use self::chain::{Chain, Head};
pub use self::entry::{Actor, AuditFilter, Entry, Outcome, Recorded};
use self::flood::Flood;
pub use self::verify::{Damage, Verdict, verify};
use super::{AppError, Page, PageRequest, page};
use crate::store::{AuditQuery, AuditStart, Store, StoreError};

/// The file of anchors in the data folder.
pub const ANCHOR_FILE: &str = "audit-anchor";
/// What the key is derived for.
pub const KEY_PURPOSE: &str = "audit log";
/// How long entries are kept unless told otherwise.
pub const RETENTION_DEFAULT: Duration = Duration::from_secs(2 * 31_557_600);
/// Most entries kept, whatever their age: about 1 GiB.
const ENTRIES_MAX: i64 = 2_000_000;
/// What went by for a restore; the only entry before which numbers may be missing.
pub const RESTORED: &str = "store.restore";

/// An entry could not be written.
#[derive(Debug, Clone, Error)]
pub enum AuditError {
    /// The database failed.
    #[error("write to the audit log")]
    Store(#[source] Arc<StoreError>),
    /// A file beside the database failed.
    #[error("use the files of the audit log beside the database")]
    Anchor(#[source] Arc<std::io::Error>),
    /// The runtime ended first.
    #[error("the controller ended before the audit log was written")]
    Ended,
}

impl From<StoreError> for AuditError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}

/// The audit log. Clones share it.
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    store: Store,
    clock: WallClock,
    chain: Chain,
    anchors: AnchorFile,
    begun: BegunFiles,
    /// Entries that could not be written.
    lost: AtomicU64,
    flood: Flood,
    /// Entries that nobody writes yet. Each has a caller who waits, so callers bound it.
    waiting: Mutex<Vec<Waiting>>,
    head: tokio::sync::Mutex<Known>,
}

struct Waiting {
    entry: Entry,
    count: i64,
    time_ms: i64,
    done_tx: oneshot::Sender<Result<(), AuditError>>,
}

/// What is known of the end of the chain.
struct Known {
    /// The newest entry; `None` if a write failed, so that only the database knows.
    head: Option<Head>,
    /// The entry that was anchored last.
    anchored_id: i64,
}

impl Audit {
    /// Opens the log of a database; `folder` is where its anchors are. Says in the log if the end of the chain is not
    /// what was anchored, and writes an entry for each change that a former process has begun and not told.
    ///
    /// # Errors
    /// A failure of the database or of the file.
    pub async fn open(
        store: Store,
        clock: WallClock,
        key: ring::hmac::Key,
        folder: &Utf8Path,
    ) -> Result<Self, AuditError> {
        let chain = Chain::new(key);
        let anchors = AnchorFile::new(folder.join(ANCHOR_FILE));
        let head = Head::of(store.last_audit().await?);
        let last = anchors
            .last(&chain)
            .map_err(|error| AuditError::Anchor(Arc::new(error)))?;
        if let Some(anchor) = &last
            && !is_there(&store, anchor).await?
        {
            tracing::error!(
                anchored = anchor.id,
                found = head.id,
                "the audit log lacks entries that were anchored or has others in their place: see `muster-controller \
                 audit verify`"
            );
        }
        let known = Known {
            anchored_id: last.map_or(0, |anchor| anchor.id),
            head: Some(head),
        };
        let opened = Self(Arc::new(Inner {
            store,
            clock,
            chain,
            anchors,
            begun: BegunFiles::new(folder.join(begun::FOLDER)),
            lost: AtomicU64::new(0),
            flood: Flood::default(),
            waiting: Mutex::default(),
            head: tokio::sync::Mutex::new(known),
        }));
        opened.tell_interrupted().await?;
        Ok(opened)
    }

    /// Notes on disk that something is about to be tried; `entry` is what is known of it by now. To be ended once its
    /// entry is written. If it can't be noted, that is logged, and it goes on without.
    pub async fn begin(&self, entry: &Entry) -> Begun {
        let lost = self.0.lost.load(Ordering::Relaxed);
        match self.0.begun.begin(entry, self.0.clock.now_ms()).await {
            Ok(begun) => Begun { lost, ..begun },
            Err(error) => {
                tracing::error!(action = entry.action, error = %ErrorChain(&error), "not noted that it was begun");
                Begun::none()
            }
        }
    }

    /// Writes the entry of what was begun, and forgets that it was. If it can't be written, that is logged, and the next
    /// start tells what was begun.
    pub async fn conclude(&self, begun: Option<Begun>, entry: Entry) {
        let action = entry.action;
        if let Err(error) = self.record(entry).await {
            tracing::error!(action, error = %ErrorChain(&error), "audit entry lost");
            return;
        }
        if let Some(begun) = begun {
            self.forget(begun).await;
        }
    }

    /// Forgets what was begun and wrote its entry by itself. If any entry was lost since it began, that may be its own,
    /// and the next start tells it.
    pub async fn end(&self, begun: Begun) {
        if begun.lost == self.0.lost.load(Ordering::Relaxed) {
            self.forget(begun).await;
        }
    }

    async fn forget(&self, begun: Begun) {
        if let Err(error) = self.0.begun.end(begun).await {
            tracing::warn!(error = %ErrorChain(&error), "what was begun is not forgotten, the next start tells it");
        }
    }

    async fn tell_interrupted(&self) -> Result<(), AuditError> {
        let failed = |error| AuditError::Anchor(Arc::new(error));
        for (file, entry) in self.0.begun.left().map_err(failed)? {
            tracing::warn!(
                what = entry.target,
                "begun by a process that ended before it was done or told"
            );
            self.append(entry, 1, self.0.clock.now_ms()).await?;
            std::fs::remove_file(file).map_err(failed)?;
        }
        Ok(())
    }

    /// Writes an entry; it is on disk when this returns. A refusal of which there were many lately is only counted, and
    /// its number is written with the next [`Audit::anchor`].
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn record(&self, entry: Entry) -> Result<(), AuditError> {
        let time_ms = self.0.clock.now_ms();
        match self.0.flood.admit(entry, time_ms) {
            Some(entry) => self.append(entry, 1, time_ms).await,
            None => Ok(()),
        }
    }

    /// Writes an entry about something that goes on whether or not it can be written; a failure is logged.
    pub async fn note(&self, entry: Entry) {
        let action = entry.action;
        if let Err(error) = self.record(entry).await {
            self.0.lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(action, error = %ErrorChain(&error), "audit entry lost");
        }
    }

    /// Writes the entry of a restore. What was written after the backup is missing from the restored database; the
    /// chain goes on behind the numbers that were anchored, so that none is ever given twice.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn restored(&self, actor: Actor, detail: impl Into<String>) -> Result<(), AuditError> {
        let anchors = self.0.anchors.last(&self.0.chain);
        let anchored = anchors.map_err(|error| AuditError::Anchor(Arc::new(error)))?;
        {
            let mut known = self.0.head.lock().await;
            let head = self.0.head(&mut known).await?;
            known.head = Some(Head {
                id: head.id.max(anchored.map_or(0, |anchor| anchor.id)),
                hash: head.hash,
            });
        }
        let entry = Entry::allowed(actor, RESTORED, "state database").with_detail(detail);
        self.append(entry, 1, self.0.clock.now_ms()).await?;
        self.anchor().await
    }

    /// Writes what was only counted, and then the head of the chain into the file of anchors if it has moved. To be
    /// called at least once a minute and at the end.
    ///
    /// # Errors
    /// A failure of the database or of the file.
    pub async fn anchor(&self) -> Result<(), AuditError> {
        let time_ms = self.0.clock.now_ms();
        for (entry, count) in self.0.flood.held_back() {
            self.append(entry, count, time_ms).await?;
        }
        let mut known = self.0.head.lock().await;
        let head = self.0.head(&mut known).await?;
        if head.id <= known.anchored_id {
            return Ok(());
        }
        let anchor = Anchor {
            time_ms,
            id: head.id,
            hash: head.hash.clone(),
        };
        self.0
            .anchors
            .append(&self.0.chain, &anchor)
            .map_err(|error| AuditError::Anchor(Arc::new(error)))?;
        known.anchored_id = head.id;
        // Whoever collects our log elsewhere has an anchor that this machine cannot take back.
        tracing::info!(audit.id = head.id, audit.hash = %chain::hex(&head.hash), "audit log anchored");
        Ok(())
    }

    /// Removes entries older than `keep`, and the oldest beyond the bound. The new start is signed, so that it can be
    /// told from a beginning that somebody cut off. Returns how many were removed.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn retain(&self, keep: Duration) -> Result<u64, AuditError> {
        let now_ms = self.0.clock.now_ms();
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let Some(last) = self.0.store.last_audit().await? else {
            return Ok(0);
        };
        let since = self
            .0
            .store
            .first_audit_since(now_ms.saturating_sub(keep_ms))
            .await?;
        // The newest entry stays, however old: the next one hangs on it.
        let by_age = since.map_or(last.id, |row| row.id);
        let first_id = by_age.max(last.id.saturating_sub(ENTRIES_MAX - 1));
        let Some(first) = self.0.store.audit_row(first_id).await? else {
            return Ok(0); // A number that a restore left out; the next run finds another.
        };
        let mut start = AuditStart {
            first_id,
            previous: first.previous,
            removed_ms: now_ms,
            mac: Vec::new(),
        };
        start.mac = self.0.chain.start_mac(&start);
        let begins = self.0.store.audit_after(0, 1).await?;
        if begins.first().is_none_or(|row| first_id <= row.id) {
            return Ok(0);
        }
        let removed = self.0.store.cut_audit(start).await?;
        let detail = format!("{removed} entries removed, {first_id} is the first now");
        let entry = Entry::allowed(Actor::System, "audit.retain", "audit log").with_detail(detail);
        self.record(entry).await?;
        Ok(removed)
    }

    /// Entries, newest first.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn list(&self, filter: AuditFilter, wanted: PageRequest) -> Result<Page<Recorded>, AppError> {
        let limit = wanted.limit();
        let before = match wanted.after()? {
            0 => i64::MAX,
            before => before,
        };
        let query = AuditQuery {
            actor: filter.actor,
            action: filter.action,
            from_ms: filter.from_ms,
            to_ms: filter.to_ms,
        };
        let (rows, total) = self
            .0
            .store
            .audit_page(&query, before, u64::from(limit) + 1)
            .await?;
        let rows = page(rows, limit, total, |row| row.id.to_string());
        Ok(Page {
            items: rows.items.into_iter().map(Recorded::from).collect(),
            total: rows.total,
            next: rows.next,
        })
    }

    async fn append(&self, entry: Entry, count: i64, time_ms: i64) -> Result<(), AuditError> {
        let (done_tx, done_rx) = oneshot::channel();
        self.0.waiting().push(Waiting {
            entry,
            count,
            time_ms,
            done_tx,
        });
        // In a task of its own: a caller that gives up must neither leave others waiting nor the chain in doubt.
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move { inner.write_waiting().await });
        done_rx.await.unwrap_or(Err(AuditError::Ended))
    }
}

impl Inner {
    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The end of the chain, from the database if it is in doubt.
    async fn head(&self, known: &mut Known) -> Result<Head, AuditError> {
        if let Some(head) = &known.head {
            return Ok(head.clone());
        }
        let head = Head::of(self.store.last_audit().await?);
        known.head = Some(head.clone());
        Ok(head)
    }

    /// Writes all that wait in one transaction; whoever comes while it runs is written by the next.
    async fn write_waiting(&self) {
        let mut known = self.head.lock().await;
        let batch = std::mem::take(&mut *self.waiting());
        if batch.is_empty() {
            return;
        }
        let outcome = self.write(&mut known, &batch).await;
        for waiting in batch {
            // Whoever is gone does not want to know.
            let _ = waiting.done_tx.send(outcome.clone());
        }
    }

    async fn write(&self, known: &mut Known, batch: &[Waiting]) -> Result<(), AuditError> {
        let mut head = self.head(known).await?;
        let mut rows = Vec::with_capacity(batch.len());
        for waiting in batch {
            let row = self
                .chain
                .link(&head, &waiting.entry, waiting.count, waiting.time_ms);
            head = Head {
                id: row.id,
                hash: row.hash.clone(),
            };
            rows.push(row);
        }
        // A commit that fails may have happened all the same.
        known.head = None;
        self.store.append_audit(rows).await?;
        known.head = Some(head);
        Ok(())
    }
}

async fn is_there(store: &Store, anchor: &Anchor) -> Result<bool, AuditError> {
    let start = store.audit_start().await?.map_or(0, |start| start.first_id);
    let row = store.audit_row(anchor.id).await?;
    Ok(anchor.id < start || row.is_some_and(|row| row.hash == anchor.hash))
}

#[cfg(test)]
mod tests;
