//! Applying accepted reports to the state tables.
//!
//! One transaction for a batch and the consumer's position, so that each report counts exactly once. What reports say
//! often (runs, problems, when a server was heard) is gathered and written once a batch; what they say rarely
//! (resources, inventories) is written report by report, in order.
//!
//! Invariants: an older observation never replaces a newer one; a resource is gone when no collector lists it any
//! more, or the kernel does not show it; everything that grows from reports has a bound per server, and what is beyond it becomes a collection error.

mod collections;
mod gathered;
mod inventories;
mod links;
mod resources;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Report, ResourceKey};
use sea_orm::{ColumnTrait as _, DatabaseTransaction, EntityTrait as _, QueryFilter as _, QuerySelect as _};

use self::gathered::Gathered;
use super::entity::server;
use super::{Doing as _, ROWS_PER_STATEMENT, Store, StoreError, commit, positions};

/// Name of the state consumer in the table of positions.
pub const STATE_CONSUMER: &str = "state";
/// Most resources of one server, gone ones included; more are refused.
pub const RESOURCES_PER_SERVER_MAX: usize = 20_000;
/// Most collectors of one server whose runs are kept; more are refused.
pub const COLLECTORS_PER_SERVER_MAX: usize = 128;
/// Most collection errors kept of one server; the oldest give way.
pub const ERRORS_PER_SERVER_MAX: u64 = 1_000;
/// Most links kept of one collector on one server that it tells no more; the oldest give way.
pub const GONE_LINKS_MAX: usize = 1_000;
/// Most gaps kept of one server; the oldest give way.
pub const GAPS_PER_SERVER_MAX: u64 = 1_000;

/// A report as the intake stored it.
#[derive(Debug, Clone)]
pub struct AppliedReport {
    /// Its position in the intake.
    pub position: i64,
    /// The server it is of, from the agent's certificate.
    pub server: ServerId,
    /// The report.
    pub report: Arc<Report>,
    /// When it was received, Unix ms.
    pub received_ms: i64,
}

/// What applying a batch gave.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The ids of the resources that the batch named, by server and key. A key that is neither here nor in
    /// [`Store::resource_ids`] is unknown: its samples belong to the server itself.
    pub ids: HashMap<ServerId, HashMap<ResourceKey, ResourceId>>,
    /// How many reports were passed over because they had been applied before.
    pub skipped: usize,
    /// How many reports were passed over because their server does not exist.
    pub orphaned: usize,
}

impl Store {
    /// Applies reports in order of their positions, in one transaction with the consumer's position. Reports at or
    /// below that position are passed over, so that applying again is harmless.
    ///
    /// # Errors
    /// A failure of the database; then nothing of the batch was applied.
    pub async fn apply_reports(&self, batch: &[AppliedReport]) -> Result<Applied, StoreError> {
        const DOING: &str = "apply reports";
        let transaction = self.begin(DOING).await?;
        let from = positions::position(&transaction, STATE_CONSUMER).await?;
        let mut applied = Applied::default();
        let fresh: Vec<&AppliedReport> = batch.iter().filter(|report| from < report.position).collect();
        applied.skipped = batch.len() - fresh.len();
        let Some(last) = fresh.iter().map(|report| report.position).max() else {
            return Ok(applied);
        };
        let known = known_servers(&transaction, &fresh).await?;
        let mut gathered = Gathered::default();
        for entry in fresh {
            if !known.contains(&entry.server) {
                applied.orphaned += 1;
                continue;
            }
            gathered.add(entry);
            apply_resources(&transaction, entry, &mut gathered, &mut applied).await?;
        }
        gathered.write(&transaction).await?;
        positions::set_position(&transaction, STATE_CONSUMER, last).await?;
        commit(transaction, DOING).await?;
        Ok(applied)
    }
}

async fn apply_resources(
    transaction: &DatabaseTransaction,
    entry: &AppliedReport,
    gathered: &mut Gathered,
    applied: &mut Applied,
) -> Result<(), StoreError> {
    let report = &entry.report;
    if !report.resources.is_empty() {
        let stored = resources::upsert(transaction, entry).await?;
        if 0 < stored.refused {
            let message = format!("the server has {RESOURCES_PER_SERVER_MAX} resources, more are not taken");
            gathered.refuse(entry, "resources", &message, stored.refused);
        }
        applied.ids.entry(entry.server).or_default().extend(stored.ids);
    }
    for inventory in &report.inventories {
        inventories::apply(transaction, entry.server, inventory).await?;
    }
    Ok(())
}

/// Which of the servers exist; deleted ones do, as tombstones.
async fn known_servers(
    transaction: &DatabaseTransaction,
    batch: &[&AppliedReport],
) -> Result<HashSet<ServerId>, StoreError> {
    let asked: HashSet<i64> = batch.iter().map(|entry| entry.server.0).collect();
    let asked: Vec<i64> = asked.into_iter().collect();
    let mut known = HashSet::with_capacity(asked.len());
    for chunk in asked.chunks(ROWS_PER_STATEMENT) {
        let ids: Vec<i64> = server::Entity::find()
            .select_only()
            .column(server::Column::Id)
            .filter(server::Column::Id.is_in(chunk.iter().copied()))
            .into_tuple()
            .all(transaction)
            .await
            .doing("find the servers of reports")?;
        known.extend(ids.into_iter().map(ServerId));
    }
    Ok(known)
}

#[cfg(test)]
mod tests;
