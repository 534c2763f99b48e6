//! What agents say of themselves when they connect, written in groups.
//!
//! Ten thousand agents that come back at once must not cost ten thousand commits: whoever comes while a commit is under
//! way waits for it, and then one of them writes for all. A note that makes the others' transaction fail is written by
//! its own caller alone.
//!
//! Bounded: a caller waits for its note, and there are as many as there are streams.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use muster_base::id::{AgentId, ServerId};
use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ActiveValue::Set, ColumnTrait as _, DatabaseTransaction, EntityTrait as _, ExprTrait as _,
    QueryFilter as _, QueryOrder as _, QuerySelect as _,
};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::entity::{agent_identity, boot_clock};
use super::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, commit, identities, servers};

/// Boots whose clocks are remembered, per agent; the latest stay.
const BOOTS_PER_AGENT_MAX: u64 = 16;
/// Notes of one transaction; each statement of it has at most six values a note.
const NOTES_MAX: usize = ROWS_PER_STATEMENT;

/// One thing to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Note {
    /// An agent of this server has connected.
    Connected {
        server: ServerId,
        version: String,
        at_ms: i64,
    },
    /// The offset between boot time and wall clock of a boot.
    Boot {
        agent: AgentId,
        boot_id: String,
        offset_ms: i64,
        at_ms: i64,
    },
}

/// Notes that wait for the next transaction.
#[derive(Debug, Default)]
pub(super) struct Notes {
    waiting: Mutex<Vec<Waiting>>,
    /// Whoever holds it writes for all that wait.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Waiting {
    note: Note,
    written_tx: oneshot::Sender<()>,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        // A list is whole between any two calls.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// Notes what an agent said of itself when it connected.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn note_connected(
        &self,
        server: ServerId,
        agent_version: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.note(Note::Connected {
            server,
            version: agent_version.to_owned(),
            at_ms: now_ms,
        })
        .await
    }

    /// Keeps the offset of a boot; the 16 latest boots of an agent are kept.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn set_boot_offset(
        &self,
        agent: AgentId,
        boot_id: &str,
        offset_ms: i64,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        self.note(Note::Boot {
            agent,
            boot_id: boot_id.to_owned(),
            offset_ms,
            at_ms: now_ms,
        })
        .await
    }

    /// Writes a note together with all that wait by then.
    async fn note(&self, note: Note) -> Result<(), StoreError> {
        let (written_tx, mut written) = oneshot::channel();
        self.notes.lock().push(Waiting {
            note: note.clone(),
            written_tx,
        });
        let _writing = self.notes.writing.lock().await;
        loop {
            match written.try_recv() {
                Ok(()) => return Ok(()),
                // It was in a group that could not be written.
                Err(TryRecvError::Closed) => return self.write_notes(&[&note]).await,
                // Nobody has taken it yet: it is this caller's turn to write for those that wait.
                Err(TryRecvError::Empty) => self.write_group().await,
            }
        }
    }

    async fn write_group(&self) {
        let group: Vec<Waiting> = {
            let mut waiting = self.notes.lock();
            let count = waiting.len().min(NOTES_MAX);
            waiting.drain(..count).collect()
        };
        let notes: Vec<&Note> = group.iter().map(|waiting| &waiting.note).collect();
        if self.write_notes(&notes).await.is_err() {
            // Each caller finds its sender gone, tries alone, and says what is wrong.
            return;
        }
        for waiting in group {
            // Whoever asked may be gone; what is written is written.
            let _ = waiting.written_tx.send(());
        }
    }

    async fn write_notes(&self, notes: &[&Note]) -> Result<(), StoreError> {
        const DOING: &str = "note that agents connected";
        let transaction = self.begin(DOING).await?;
        write_connected(&transaction, notes).await?;
        write_boots(&transaction, notes).await?;
        commit(transaction, DOING).await
    }
}

async fn write_connected(transaction: &DatabaseTransaction, notes: &[&Note]) -> Result<(), StoreError> {
    let mut by_version: HashMap<&str, Vec<i64>> = HashMap::new();
    let mut heard = Vec::new();
    for note in notes {
        if let Note::Connected {
            server,
            version,
            at_ms,
        } = note
        {
            by_version.entry(version).or_default().push(server.0);
            heard.push((*server, *at_ms));
        }
    }
    for (version, servers) in by_version {
        agent_identity::Entity::update_many()
            .col_expr(agent_identity::Column::AgentVersion, Expr::value(version))
            .filter(agent_identity::Column::ServerId.is_in(servers))
            .filter(agent_identity::Column::Status.eq(identities::ACTIVE))
            .exec(transaction)
            .await
            .doing("note the versions of agents")?;
    }
    servers::seen_all(transaction, &heard).await
}

async fn write_boots(transaction: &DatabaseTransaction, notes: &[&Note]) -> Result<(), StoreError> {
    use boot_clock::{ActiveModel, Column, Entity};
    // The last one of a boot wins: one statement must not touch a row twice.
    let mut rows: HashMap<(String, &str), ActiveModel> = HashMap::new();
    for note in notes {
        if let Note::Boot {
            agent,
            boot_id,
            offset_ms,
            at_ms,
        } = note
        {
            let row = ActiveModel {
                agent: Set(agent.to_string()),
                boot_id: Set(boot_id.clone()),
                offset_ms: Set(*offset_ms),
                seen_ms: Set(*at_ms),
            };
            rows.insert((agent.to_string(), boot_id), row);
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let agents: Vec<String> = rows.keys().map(|(agent, _)| agent.clone()).collect();
    let replace = OnConflict::columns([Column::Agent, Column::BootId])
        .update_columns([Column::OffsetMs, Column::SeenMs])
        .to_owned();
    Entity::insert_many(rows.into_values())
        .on_conflict(replace)
        .exec_without_returning(transaction)
        .await
        .doing("keep the clocks of boots")?;
    forget_boots(transaction, agents).await
}

/// Forgets the oldest boots of those agents that have too many.
async fn forget_boots(transaction: &DatabaseTransaction, agents: Vec<String>) -> Result<(), StoreError> {
    use boot_clock::{Column, Entity};
    const DOING: &str = "forget the clocks of old boots";
    let limit = i64::try_from(BOOTS_PER_AGENT_MAX).unwrap_or(i64::MAX);
    let crowded: Vec<String> = Entity::find()
        .select_only()
        .column(Column::Agent)
        .filter(Column::Agent.is_in(agents))
        .group_by(Column::Agent)
        .having(Column::BootId.count().gt(limit))
        .into_tuple()
        .all(transaction)
        .await
        .doing(DOING)?;
    for agent in crowded {
        let beyond: Vec<String> = Entity::find()
            .select_only()
            .column(Column::BootId)
            .filter(Column::Agent.eq(agent.as_str()))
            .order_by_desc(Column::SeenMs)
            .offset(BOOTS_PER_AGENT_MAX)
            .limit(BOOTS_PER_AGENT_MAX)
            .into_tuple()
            .all(transaction)
            .await
            .doing(DOING)?;
        Entity::delete_many()
            .filter(Column::Agent.eq(agent.as_str()))
            .filter(Column::BootId.is_in(beyond))
            .exec(transaction)
            .await
            .doing(DOING)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::open;

    #[tokio::test]
    async fn notes_of_many_agents_at_once_are_all_there_and_share_commits() {
        let opened = open().await;
        let store = &opened.store;
        let agent = |number: u128| AgentId(uuid::Uuid::from_u128(number));
        let offsets: Vec<_> = (0..300_i64)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .set_boot_offset(agent(number as u128), "boot", number, 1_000)
                        .await
                })
            })
            .collect();
        for offset in offsets {
            offset.await.unwrap().unwrap();
        }
        for number in 0..300_i64 {
            let kept = store.boot_offset(agent(number as u128), "boot").await.unwrap();
            assert_eq!(kept, Some(number));
        }
        assert!(store.notes.lock().is_empty());
    }
}
