//! How collections went: the last run of each collector, what failed, what is lost, and how much there is of all.

use std::collections::HashMap;

use muster_base::id::ServerId;
use muster_model::{Health, ResourceKind};

use super::status::ServerStatus;
use super::{App, AppError, Page, PageRequest, page};

/// The last run of one collector of one server. Times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectorView {
    /// The collector.
    pub collector: String,
    /// How its last run ended: a word of [`muster_model::RunOutcome`].
    pub outcome: String,
    /// Why it failed or what is absent.
    pub message: String,
    /// When its last run began.
    pub started_ms: i64,
    /// How long that took, in ms.
    pub duration_ms: u32,
    /// When a run last succeeded.
    pub last_success_ms: Option<i64>,
    /// How many runs in a row have failed.
    pub failures: u32,
}

/// Something that could not be collected, with how often. Times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CollectionErrorView {
    /// Its id.
    pub id: i64,
    /// The server.
    pub server: ServerId,
    /// `problem`, `refused`, `time_rebuilt`, `time_unknown`, or the outcome of a failed run.
    pub error_type: String,
    /// What went wrong.
    pub error_message: String,
    /// The collector.
    pub service_name: String,
    /// When it was last seen.
    pub occurred_ms: i64,
    /// When it was first seen.
    pub first_ms: i64,
    /// How often.
    pub count: u64,
}

/// Reports that will never come. Times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GapView {
    /// The server.
    pub server: ServerId,
    /// The agent's epoch.
    pub epoch: u64,
    /// First missing sequence number; 0 if nobody knows which are missing.
    pub first: u64,
    /// Last missing sequence number; 0 if nobody knows which are missing.
    pub last: u64,
    /// The last time before the gap at which something was collected, if known.
    pub from_ms: Option<i64>,
    /// The first time after the gap, if known.
    pub to_ms: Option<i64>,
    /// How many samples are lost with them, if known.
    pub sample_count: Option<u64>,
    /// Why: a word of [`muster_model::GapReason`].
    pub reason: String,
    /// When this was noted.
    pub noted_ms: i64,
}

/// How much there is of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Servers.
    pub servers: u64,
    /// Of these, monitored.
    pub servers_monitored: u64,
    /// Of these, online (also with failing collections).
    pub servers_online: u64,
    /// Devices that are not gone.
    pub devices: u64,
    /// Pools that are not gone.
    pub pools: u64,
    /// Databases that are not gone.
    pub databases: u64,
}

impl App {
    /// How many devices, pools and databases, which are not gone, have which health.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn health_counts(&self) -> Result<HealthCounts, AppError> {
        let kinds = [ResourceKind::Device, ResourceKind::Pool, ResourceKind::Database];
        let mut counts = HealthCounts::new();
        for (kind, health, count) in self.store.health_counts(&kinds).await? {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            counts.entry(kind).or_default().push((health, count));
        }
        Ok(counts)
    }

    /// The collectors of one server by name.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn collectors(&self, server: ServerId) -> Result<Vec<CollectorView>, AppError> {
        self.need_server(server).await?;
        Ok(self.store.collectors(server).await?)
    }

    /// What could not be collected, the latest first; of all servers if none is named.
    ///
    /// # Errors
    /// [`AppError::NotFound`], [`AppError::Cursor`], or a failure of the database.
    pub async fn collection_errors(
        &self,
        server: Option<ServerId>,
        wanted: PageRequest,
    ) -> Result<Page<CollectionErrorView>, AppError> {
        if let Some(server) = server {
            self.need_server(server).await?;
        }
        let before = wanted
            .cursor
            .as_deref()
            .map(|cursor| time_and_id(cursor).ok_or(AppError::Cursor));
        let limit = wanted.limit();
        let (rows, total) = self
            .store
            .collection_errors(server, before.transpose()?, u64::from(limit) + 1)
            .await?;
        Ok(page(rows, limit, total, |row| {
            format!("{}.{}", row.occurred_ms, row.id)
        }))
    }

    /// Reports of a server that will never come, the latest first, at most 1,000.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn gaps(&self, server: ServerId) -> Result<Vec<GapView>, AppError> {
        self.need_server(server).await?;
        Ok(self.store.gaps(server).await?)
    }

    /// Counts.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn stats(&self) -> Result<Stats, AppError> {
        let (rows, servers) = self.store.servers(None, 0, i64::MAX.cast_unsigned()).await?;
        let now_ms = self.clock.now_ms();
        let mut stats = Stats {
            servers,
            ..Stats::default()
        };
        for row in &rows {
            stats.servers_monitored += u64::from(row.fields.monitoring_enabled);
            // Whether collections fail does not matter here.
            let status = self.evidence(row, false).status(now_ms);
            stats.servers_online += u64::from(status == ServerStatus::Online);
        }
        let kinds = [ResourceKind::Device, ResourceKind::Pool, ResourceKind::Database];
        for ((_, kind), count) in self.store.resource_counts(None, &kinds).await? {
            match kind {
                ResourceKind::Device => stats.devices += count,
                ResourceKind::Pool => stats.pools += count,
                _ => stats.databases += count,
            }
        }
        Ok(stats)
    }
}

/// How many resources of a kind have which health.
pub type HealthCounts = HashMap<ResourceKind, Vec<(Health, usize)>>;

/// The two numbers of a cursor of [`App::collection_errors`].
fn time_and_id(cursor: &str) -> Option<(i64, i64)> {
    let (at_ms, id) = cursor.split_once('.')?;
    Some((at_ms.parse().ok()?, id.parse().ok()?))
}
