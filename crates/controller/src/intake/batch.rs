//! What one transaction does with each thing that was handed in.
//!
//! Nothing here is durable until the caller commits; a refusal leaves no trace in the transaction.

use std::sync::Arc;

use muster_base::id::AgentId;
use muster_model::{RangeSet, RangesFull, Report};
use rusqlite::{Connection, params};
use thiserror::Error;

use super::clip;
use super::codec::{self, Packer};
use super::cursor::{Cursors, Key};
use super::envelope::{DefinitionsHead, LedgerBody, LedgerEntry, RecordHead};
use super::{IncomingDefinitions, IncomingReport, RecordKind, Trimmed, schema};

/// Records deleted in one step of trimming, so that no commit waits long.
const TRIM_RECORDS: i64 = 256;
/// Epochs deleted in one step of trimming.
const TRIM_EPOCHS: i64 = 32;
/// Free pages that are kept for the next records rather than given back.
const FREE_PAGES_KEPT: i64 = 4_096;
/// Free pages given back in one step of trimming.
const VACUUM_PAGES: i64 = 256;
/// Most records kept aside; beyond it the oldest go.
const SET_ASIDE_MAX: i64 = 1_000;

/// Why a transaction can't be completed.
#[derive(Debug, Error)]
pub(super) enum BatchError {
    #[error("write to the database")]
    Sql(#[from] rusqlite::Error),
    #[error("compress a record")]
    Pack(#[from] std::io::Error),
}

/// What became of one report or of definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Stored {
        position: i64,
        packed_bytes: usize,
    },
    Duplicate,
    Defined {
        definitions: u32,
        new: u32,
        packed_bytes: usize,
    },
    NeedDefinitions {
        from_id: u32,
    },
    TooManyHoles {
        epoch: u64,
        lowest_hole: u64,
    },
}

/// An open transaction with what it needs.
pub(super) struct Batch<'a> {
    pub(super) transaction: &'a Connection,
    pub(super) cursors: &'a mut Cursors,
    pub(super) packer: &'a mut Packer,
    /// The last position given; read when it is first needed.
    last_position: Option<i64>,
    /// The records of this transaction.
    entries: Vec<LedgerEntry>,
}

impl<'a> Batch<'a> {
    pub(super) const fn new(
        transaction: &'a Connection,
        cursors: &'a mut Cursors,
        packer: &'a mut Packer,
    ) -> Self {
        Self {
            transaction,
            cursors,
            packer,
            last_position: None,
            entries: Vec::new(),
        }
    }

    /// Writes the second account of what was stored, and what is durable of each epoch now.
    pub(super) fn finish(self) -> Result<(), BatchError> {
        if !self.entries.is_empty() {
            let ledger = LedgerBody {
                floor: schema::floor(self.transaction)?,
                entries: self.entries,
            };
            schema::insert_ledger(self.transaction, &ledger)?;
        }
        if self.cursors.has_changes() {
            let written_at = match self.last_position {
                Some(position) => position,
                None => schema::last_position(self.transaction)?,
            };
            self.cursors.write(self.transaction, written_at)?;
        }
        Ok(())
    }

    fn next_position(&mut self) -> rusqlite::Result<i64> {
        let last = match self.last_position {
            Some(position) => position,
            None => schema::last_position(self.transaction)?,
        };
        self.last_position = Some(last + 1);
        Ok(last + 1)
    }

    /// Stores a report with the ranges it fills, unless it is there, rests on unknown definitions, or makes one
    /// hole too many. What its gaps say that is known already is taken out of it.
    pub(super) fn report(&mut self, incoming: &mut IncomingReport) -> Result<Taken, BatchError> {
        let key = (incoming.agent, incoming.report.epoch);
        let report = &*incoming.report;
        let cursor = self.cursors.get(self.transaction, key)?;
        if cursor.ranges.contains(report.sequence) {
            return Ok(Taken::Duplicate);
        }
        if cursor.definitions < highest_series(report) {
            return Ok(Taken::NeedDefinitions {
                from_id: cursor.definitions.saturating_add(1),
            });
        }
        self.clip_gaps(incoming)?;
        let (incoming, report) = (&*incoming, &*incoming.report);
        if let Err((epoch, RangesFull { lowest_hole })) = self.fill_ranges(incoming)? {
            return Ok(Taken::TooManyHoles { epoch, lowest_hole });
        }
        let packed = self.packer.pack(&incoming.plain)?;
        let head = RecordHead {
            position: self.next_position()?,
            agent: incoming.agent,
            server: incoming.server,
            epoch: report.epoch,
            sequence: report.sequence,
            received_ms: incoming.received_ms,
            kind: kind_to_sql(incoming.kind),
            size_bytes: u32::try_from(incoming.plain.len()).unwrap_or(u32::MAX),
        };
        let packed_bytes = schema::insert_record(self.transaction, &head, &packed)?;
        self.entries.push(head.entry());
        Ok(Taken::Stored {
            position: head.position,
            packed_bytes,
        })
    }

    fn clip_gaps(&mut self, incoming: &mut IncomingReport) -> Result<(), BatchError> {
        let (agent, report) = (incoming.agent, &*incoming.report);
        let clipped = clip::clip(&report.gaps, |epoch| {
            let cursor = self.cursors.get(self.transaction, (agent, epoch))?;
            Ok::<_, BatchError>(cursor.ranges.clone())
        })?;
        if let Some(gaps) = clipped {
            let report = Report {
                gaps,
                ..report.clone()
            };
            incoming.plain = codec::encode_report(&report);
            incoming.report = Arc::new(report);
        }
        Ok(())
    }

    /// Adds the report's own number and what its gaps close: all of it or nothing.
    fn fill_ranges(
        &mut self,
        incoming: &IncomingReport,
    ) -> Result<Result<(), (u64, RangesFull)>, BatchError> {
        let report = &*incoming.report;
        let own = (incoming.agent, report.epoch);
        if report.gaps.is_empty() {
            let cursor = self.cursors.change(self.transaction, own, incoming.received_ms)?;
            let inserted = cursor.ranges.insert(report.sequence);
            return Ok(inserted.map(|_| ()).map_err(|full| (report.epoch, full)));
        }
        let mut filled: Vec<(Key, RangeSet)> =
            vec![(own, self.cursors.get(self.transaction, own)?.ranges.clone())];
        // Gaps first: where an epoch has too many holes, the one they close makes room for the report that tells it.
        for gap in &report.gaps {
            let key = (incoming.agent, gap.epoch);
            let index = match filled.iter().position(|(known, _)| *known == key) {
                Some(index) => index,
                None => {
                    filled.push((key, self.cursors.get(self.transaction, key)?.ranges.clone()));
                    filled.len() - 1
                }
            };
            if let Err(full) = filled[index].1.insert_range(gap.range) {
                return Ok(Err((gap.epoch, full)));
            }
        }
        if let Err(full) = filled[0].1.insert(report.sequence) {
            return Ok(Err((report.epoch, full)));
        }
        for (key, ranges) in filled {
            self.cursors
                .change(self.transaction, key, incoming.received_ms)?
                .ranges = ranges;
        }
        Ok(Ok(()))
    }

    /// Stores definitions that continue what is known; those known already are acknowledged again.
    pub(super) fn definitions(
        &mut self,
        incoming: &IncomingDefinitions,
        now_ms: i64,
    ) -> Result<Taken, BatchError> {
        let key = (incoming.agent, incoming.epoch);
        let known = self.cursors.get(self.transaction, key)?.definitions;
        if known.saturating_add(1) < incoming.first_id {
            return Ok(Taken::NeedDefinitions { from_id: known + 1 });
        }
        if incoming.last_id <= known {
            return Ok(Taken::Defined {
                definitions: known,
                new: 0,
                packed_bytes: 0,
            });
        }
        let packed = self.packer.pack(&incoming.plain)?;
        let head = DefinitionsHead {
            agent: incoming.agent,
            epoch: incoming.epoch,
            first_id: incoming.first_id,
            last_id: incoming.last_id,
        };
        let packed_bytes = schema::insert_definitions(self.transaction, &head, &packed)?;
        self.cursors.change(self.transaction, key, now_ms)?.definitions = incoming.last_id;
        Ok(Taken::Defined {
            definitions: incoming.last_id,
            new: incoming.last_id - known,
            packed_bytes,
        })
    }

    /// Deletes a few of the records below `below` and of the epochs long without a report, and gives room back.
    pub(super) fn trim(&mut self, below: i64, epochs_before_ms: i64) -> Result<Trimmed, BatchError> {
        let sql = "DELETE FROM record
                   WHERE position < ?1 AND position < (SELECT min(position) FROM record) + ?2";
        let records = self
            .transaction
            .prepare_cached(sql)?
            .execute(params![below, TRIM_RECORDS])?;
        let epochs = self.trim_epochs(epochs_before_ms)?;
        if 0 < records {
            schema::raise_floor(self.transaction, schema::floor(self.transaction)?)?;
            self.give_back_pages()?;
        }
        Ok(Trimmed { records, epochs })
    }

    fn trim_epochs(&mut self, before_ms: i64) -> Result<usize, BatchError> {
        // Definitions stay as long as a record may still need them.
        let sql = "SELECT agent, epoch FROM cursor WHERE last_ms < ?1 AND last_ms <
                   coalesce((SELECT received_ms FROM record ORDER BY position LIMIT 1), ?1) LIMIT ?2";
        let mut statement = self.transaction.prepare_cached(sql)?;
        let old: Vec<([u8; 16], i64)> = statement
            .query_map(params![before_ms, TRIM_EPOCHS], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<Result<_, _>>()?;
        let mut trimmed = 0;
        for (agent, epoch) in &old {
            let key = (AgentId(uuid::Uuid::from_bytes(*agent)), epoch.cast_unsigned());
            // The file does not know yet that a report of this very transaction has given the epoch new life.
            if self.cursors.is_changed(key) {
                continue;
            }
            for sql in [
                "DELETE FROM definition WHERE agent = ?1 AND epoch = ?2",
                "DELETE FROM definition_copy WHERE agent = ?1 AND epoch = ?2",
                "DELETE FROM cursor WHERE agent = ?1 AND epoch = ?2",
            ] {
                self.transaction
                    .prepare_cached(sql)?
                    .execute(params![agent, epoch])?;
            }
            self.cursors.forget(key);
            trimmed += 1;
        }
        Ok(trimmed)
    }

    fn give_back_pages(&mut self) -> Result<(), BatchError> {
        let free: i64 = self
            .transaction
            .query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
        if FREE_PAGES_KEPT < free {
            let mut statement = self
                .transaction
                .prepare(&format!("PRAGMA incremental_vacuum({VACUUM_PAGES})"))?;
            let mut rows = statement.query([])?;
            // Each step frees one page.
            while rows.next()?.is_some() {}
        }
        Ok(())
    }

    /// Passes over positions up to `position`; returns the last one given or passed over.
    pub(super) fn begin_after(&mut self, position: i64) -> Result<i64, BatchError> {
        let found = schema::last_position(self.transaction)?;
        if found < position {
            tracing::error!(
                found,
                position,
                "intake is younger than its consumers, positions go on after theirs"
            );
        }
        let last = schema::raise_position(self.transaction, position)?;
        self.last_position = Some(last);
        Ok(last)
    }

    /// Copies a record to where it is kept although a consumer can't take it.
    pub(super) fn set_aside(
        &mut self,
        position: i64,
        consumer: &str,
        error: &str,
        at_ms: i64,
    ) -> Result<(), BatchError> {
        // The record itself may be missing or unreadable; that it was set aside is still worth a row.
        let sql = "INSERT OR REPLACE INTO set_aside
                   (position, consumer, at_ms, error, agent, server, received_ms, kind, payload)
                   SELECT ?1, ?2, ?3, ?4, record.agent, record.server, record.received_ms, record.kind, record.payload
                   FROM (SELECT 1) LEFT JOIN record ON record.position = ?1";
        self.transaction
            .prepare_cached(sql)?
            .execute(params![position, consumer, at_ms, error])?;
        let sql = "DELETE FROM set_aside WHERE position <
                   (SELECT position FROM set_aside ORDER BY position DESC LIMIT 1 OFFSET ?1)";
        self.transaction
            .prepare_cached(sql)?
            .execute(params![SET_ASIDE_MAX])?;
        Ok(())
    }
}

/// The highest id of a series that the report names; 0 if it names none.
pub(super) fn highest_series(report: &Report) -> u32 {
    report
        .blocks
        .iter()
        .flat_map(|block| block.series().iter().copied())
        .max()
        .unwrap_or(0)
}

const fn kind_to_sql(kind: RecordKind) -> u8 {
    match kind {
        RecordKind::Report => 1,
        RecordKind::Refused => 2,
    }
}
