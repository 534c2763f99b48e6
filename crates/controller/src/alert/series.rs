//! From (agent, epoch, series id) to the engine's slots, and from key to resource.
//!
//! Bounded in epochs ([`PerEpoch`]); what is forgotten is looked up again.

use std::collections::HashMap;

use muster_alert::{Engine, SeriesInfo, SeriesSlot};
use muster_base::id::ServerId;
use muster_model::{ResourceKey, ResourceKind};

use crate::intake::{Accepted, Intake, IntakeError, PerEpoch};
use crate::store::EstateRow;

/// What is known of the resources of a server.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) rows: Vec<EstateRow>,
    pub(super) links: Vec<(i64, i64)>,
    by_key: HashMap<String, (i64, ResourceKind)>,
    /// Changes with the resources that there are.
    version: u64,
}

impl Known {
    /// Takes what a server has now; returns whether other resources are there than before.
    pub(super) fn take(&mut self, rows: Vec<EstateRow>) -> bool {
        let names = |rows: &[EstateRow]| -> Vec<(i64, String)> {
            rows.iter().map(|row| (row.id, row.name.clone())).collect()
        };
        let is_changed = names(&self.rows) != names(&rows);
        if is_changed || self.by_key.is_empty() {
            self.by_key = rows
                .iter()
                .map(|row| (row.key.clone(), (row.id, row.kind)))
                .collect();
            self.version += 1;
        }
        self.rows = rows;
        is_changed
    }

    /// The number of a resource.
    pub(super) fn id_of(&self, key: &ResourceKey) -> Option<i64> {
        self.by_key.get(key.as_str()).map(|(id, _)| *id)
    }
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    epochs: PerEpoch<Epoch>,
}

#[derive(Debug, Default)]
struct Epoch {
    generation: u64,
    version: u64,
    /// By id, from 1.
    slots: Vec<Option<SeriesSlot>>,
}

impl Slots {
    /// The slots of the series of a record's epoch, by id from 1.
    pub(super) async fn of(
        &mut self,
        intake: &Intake,
        engine: &mut Engine,
        known: &Known,
        record: &Accepted,
    ) -> Result<&[Option<SeriesSlot>], IntakeError> {
        let key = (record.agent, record.report.epoch);
        let generation = engine.generation(record.server.0);
        let epoch = self.epochs.entry(key.0, key.1);
        if epoch.generation != generation || epoch.version != known.version {
            epoch.slots.clear();
            epoch.generation = generation;
            epoch.version = known.version;
        }
        let ids = record.report.blocks.iter().flat_map(|block| block.series());
        let highest = ids.max().copied().unwrap_or(0) as usize;
        if epoch.slots.len() < highest {
            let from_id = u32::try_from(epoch.slots.len())
                .unwrap_or(u32::MAX)
                .saturating_add(1);
            let definitions = intake.definitions(key.0, key.1, from_id).await?;
            for definition in definitions.series {
                let slot = definition.and_then(|definition| {
                    let (resource, kind) = place(record.server, known, &definition.resource_key)?;
                    engine.bind(SeriesInfo {
                        server: record.server.0,
                        resource,
                        kind,
                        name: definition.name.into_owned(),
                        labels: definition.labels,
                        interval_ms: definition.interval_ms,
                        is_fact: false,
                    })
                });
                epoch.slots.push(slot);
            }
        }
        Ok(&epoch.slots)
    }
}

/// What a series belongs to; nothing if nobody has described that yet.
fn place(server: ServerId, known: &Known, key: &ResourceKey) -> Option<(i64, ResourceKind)> {
    if key.is_server() {
        return Some((server.0, ResourceKind::Server));
    }
    known.by_key.get(key.as_str()).copied()
}
