//! From (agent, epoch, series id) to the sample store's own number.
//!
//! An agent sends the same lists of series tick after tick, so what is remembered is whole lists. Bounded in epochs
//! ([`PerEpoch`]) and in lists an epoch; what is forgotten is looked up again.
//!
//! A series belongs to a resource, and which one must not depend on when a report is applied: applied again, its
//! samples would be stored once more elsewhere. A resource that nobody has described yet is therefore held by its key
//! ([`Store::hold_resources`]), and described later under the same id.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use muster_base::id::{AgentId, ResourceId, ServerId};
use muster_model::{ResourceKey, SeriesDef};
use muster_samples::{SeriesRef, SeriesSpec};

use super::renamed::{self, Ended};
use super::samples::Columns;
use super::state::classify;
use super::{ConsumeError, ConsumerMetrics};
use crate::intake::{Accepted, Intake, PerEpoch};
use crate::store::Store;

/// Most lists remembered of one epoch; a collector has a few.
const LISTS_MAX: usize = 128;

pub(super) struct SeriesCache {
    intake: Intake,
    store: Store,
    samples: Arc<muster_samples::Store>,
    metrics: Arc<ConsumerMetrics>,
    epochs: PerEpoch<Epoch>,
}

#[derive(Default)]
struct Epoch {
    /// By id, from 1; `None` where the store takes no samples of it.
    series: Vec<Option<SeriesRef>>,
    lists: Vec<(Box<[u32]>, Arc<Columns>)>,
}

impl SeriesCache {
    pub(super) fn new(
        intake: Intake,
        store: Store,
        samples: Arc<muster_samples::Store>,
        metrics: Arc<ConsumerMetrics>,
    ) -> Self {
        Self {
            intake,
            store,
            samples,
            metrics,
            epochs: PerEpoch::default(),
        }
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.epochs.clear();
    }

    /// The series of each block of a record, and whether new ones may contradict what was said in an earlier epoch.
    pub(super) async fn resolve(
        &mut self,
        record: &Accepted,
    ) -> Result<(Vec<Arc<Columns>>, bool), ConsumeError> {
        let key = (record.agent, record.report.epoch);
        let epoch = self.epochs.entry(key.0, key.1);
        let highest = record
            .report
            .blocks
            .iter()
            .flat_map(|block| block.series())
            .max()
            .copied()
            .unwrap_or(0);
        let may_contradict = epoch.series.len() < highest as usize && self.learn(key, record).await?;
        let epoch = self.epochs.entry(key.0, key.1);
        let blocks = record.report.blocks.iter();
        let blocks = blocks.map(|block| epoch.columns(block.series())).collect();
        Ok((blocks, may_contradict))
    }

    /// What the series of a record's epoch end of those before it; what came before the record has to be stored.
    pub(super) async fn ended(&self, record: &Accepted) -> Result<Ended, ConsumeError> {
        let times = || record.report.blocks.iter().flat_map(|block| block.times_ms());
        let (Some(first_ms), Some(last_ms)) = (times().min().copied(), times().max().copied()) else {
            return Ok(Ended::new());
        };
        let key = (record.agent, record.report.epoch);
        let known = self.epochs.get(key.0, key.1).map(|epoch| &epoch.series);
        let current: HashSet<SeriesRef> = known.into_iter().flatten().flatten().copied().collect();
        let (samples, server) = (Arc::clone(&self.samples), record.server);
        // Files may be read.
        let found = tokio::task::spawn_blocking(move || {
            renamed::ended(&samples.snapshot(), server, &current, (first_ms, last_ms))
        });
        let ended = found.await.map_err(|error| ConsumeError::Record {
            attempted: "look for series under former names",
            source: Box::new(error),
        })?;
        if !ended.is_empty() {
            let count: usize = ended.values().map(Vec::len).sum();
            tracing::info!(server.id = %server, series = count, "series ended: what they tell of has another name now");
        }
        Ok(ended)
    }

    /// Looks up the definitions that came since the last time. Returns whether any may contradict what was said in an
    /// earlier epoch.
    async fn learn(&mut self, key: (AgentId, u64), record: &Accepted) -> Result<bool, ConsumeError> {
        let server = record.server;
        let known = self
            .epochs
            .get(key.0, key.1)
            .map_or(0, |epoch| epoch.series.len());
        let from_id = u32::try_from(known).unwrap_or(u32::MAX).saturating_add(1);
        let definitions = self.intake.definitions(key.0, key.1, from_id).await?;
        let keys = definitions
            .series
            .iter()
            .flatten()
            .map(|definition| &definition.resource_key)
            .filter(|key| **key != ResourceKey::server());
        let ids = self
            .store
            .hold_resources(server, keys, record.received_ms)
            .await
            .map_err(|error| classify("look up the resources of series", error))?;
        let may_contradict = definitions.series.iter().flatten().any(|definition| {
            definition.resource_key != ResourceKey::server()
                && renamed::may_contradict(&definition.name, &definition.labels)
        });
        let mut strays = 0;
        let mut refused = 0;
        let mut series = Vec::with_capacity(definitions.series.len());
        for definition in definitions.series {
            let Some(definition) = definition else {
                refused += 1;
                series.push(None);
                continue;
            };
            let resource = match &definition.resource_key {
                key if key.is_server() => Some(server.resource()),
                key => ids.get(key).copied(),
            };
            // No room for it among the server's resources, and there never will be.
            strays += u64::from(resource.is_none());
            let taken = self
                .samples
                .series(&spec(definition, server, resource.unwrap_or(server.resource())));
            refused += u64::from(taken.is_err());
            series.push(taken.ok());
        }
        if 0 < refused {
            tracing::warn!(server.id = %server, refused, "some series of an agent are not taken, their samples are dropped");
        }
        self.metrics
            .series_without_resource
            .fetch_add(strays, Ordering::Relaxed);
        self.epochs.entry(key.0, key.1).series.extend(series);
        Ok(may_contradict)
    }
}

impl Epoch {
    /// The list's series; made and remembered if it has not come before.
    fn columns(&mut self, list: &[u32]) -> Arc<Columns> {
        if let Some((_, columns)) = self.lists.iter().rev().find(|(known, _)| **known == *list) {
            return Arc::clone(columns);
        }
        let columns = Arc::new(self.columns_of(list));
        if LISTS_MAX <= self.lists.len() {
            // A collector whose list changes each time must not push out all the others: only the older half goes.
            self.lists.drain(..LISTS_MAX / 2);
        }
        self.lists.push((list.into(), Arc::clone(&columns)));
        columns
    }

    fn columns_of(&self, list: &[u32]) -> Columns {
        let series_of = |id: &u32| self.series.get((*id as usize).wrapping_sub(1)).copied().flatten();
        let found: Vec<(usize, SeriesRef)> = list
            .iter()
            .enumerate()
            .filter_map(|(place, id)| Some((place, series_of(id)?)))
            .collect();
        let is_whole = found.len() == list.len();
        let (places, series) = found.into_iter().unzip();
        if is_whole {
            Columns::All(series)
        } else {
            Columns::Some(places, series)
        }
    }
}

fn spec(definition: SeriesDef, server: ServerId, resource: ResourceId) -> SeriesSpec {
    SeriesSpec {
        server,
        resource,
        name: definition.name.into_owned(),
        labels: definition.labels,
        metric_type: definition.metric_type,
        unit: definition.unit.into_owned(),
        collector: definition.collector.into_owned(),
        interval_ms: definition.interval_ms,
    }
}
