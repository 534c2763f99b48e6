//! After a commit: consumers, counts, and everyone who waits for an answer.

use std::sync::Arc;

use muster_base::id::AgentId;

use super::{Outcome, Writer};
use crate::intake::batch::Taken;
use crate::intake::{Accepted, Answer, EpochCursor, IncomingReport, Item, RecordKind, WriteError};

impl Writer {
    /// Tells everyone what became of it. Consumers come first, so that whoever is answered can wait for them.
    pub(super) fn answer(&mut self, batch: Vec<Item>, outcomes: Vec<Outcome>) {
        let accepted = batch
            .iter()
            .zip(&outcomes)
            .filter_map(|(item, outcome)| match (item, outcome) {
                (Item::Report(incoming, _), Outcome::Taken(Taken::Stored { position, .. })) => {
                    Some(Arc::new(accepted_of(incoming, *position)))
                }
                _ => None,
            });
        self.parts.feed.push(accepted.collect());
        for (item, outcome) in batch.into_iter().zip(outcomes) {
            match (item, outcome) {
                (Item::Report(incoming, waiting), Outcome::Taken(taken)) => {
                    self.count_report(&incoming, taken);
                    waiting.reply_to.answer(answer_of(
                        taken,
                        incoming.report.epoch,
                        incoming.report.sequence,
                    ));
                }
                (Item::Definitions(incoming, waiting), Outcome::Taken(taken)) => {
                    self.count_definitions(taken, incoming.plain.len());
                    waiting.reply_to.answer(answer_of(taken, incoming.epoch, 0));
                }
                (Item::Trim { reply, .. }, Outcome::Trimmed(trimmed)) => {
                    self.parts
                        .metrics
                        .add(&self.parts.metrics.records_trimmed, trimmed.records as u64);
                    // Room may be back.
                    self.room_checked = None;
                    let _ = reply.send(Ok(trimmed));
                }
                (Item::BeginAfter { reply, .. }, Outcome::Begun(position)) => {
                    self.parts.feed.begin_after(position);
                    let _ = reply.send(Ok(()));
                }
                (Item::SetAside { reply, .. }, _) => {
                    self.parts.metrics.add(&self.parts.metrics.set_aside, 1);
                    let _ = reply.send(Ok(()));
                }
                (Item::Cursors { agent, epochs, reply }, _) => {
                    if let Ok(cursors) = self.cursors_of(agent, epochs) {
                        let _ = reply.send(cursors);
                    }
                }
                _ => {}
            }
        }
    }

    fn cursors_of(&mut self, agent: AgentId, epochs: Vec<u64>) -> rusqlite::Result<Vec<EpochCursor>> {
        epochs
            .into_iter()
            .map(|epoch| {
                let cursor = self.cursors.get(&self.connection, (agent, epoch))?;
                Ok(EpochCursor {
                    epoch,
                    ranges: cursor.ranges.clone(),
                    definitions: cursor.definitions,
                })
            })
            .collect()
    }

    fn count_report(&self, incoming: &IncomingReport, taken: Taken) {
        let metrics = &self.parts.metrics;
        match taken {
            Taken::Stored { packed_bytes, .. } => {
                metrics.add(&metrics.reports_stored, 1);
                metrics.add(&metrics.samples_stored, incoming.report.sample_count() as u64);
                metrics.add(&metrics.plain_bytes, incoming.plain.len() as u64);
                metrics.add(&metrics.packed_bytes, packed_bytes as u64);
                if incoming.kind == RecordKind::Refused {
                    metrics.add(&metrics.reports_refused, 1);
                }
            }
            Taken::Duplicate => metrics.add(&metrics.reports_duplicate, 1),
            Taken::NeedDefinitions { .. } => metrics.add(&metrics.definitions_missing, 1),
            Taken::TooManyHoles { .. } => metrics.add(&metrics.too_many_holes, 1),
            Taken::Defined { .. } => {}
        }
    }

    fn count_definitions(&self, taken: Taken, plain_bytes: usize) {
        let metrics = &self.parts.metrics;
        match taken {
            Taken::Defined {
                new, packed_bytes, ..
            } if 0 < new => {
                metrics.add(&metrics.definitions_stored, new.into());
                metrics.add(&metrics.plain_bytes, plain_bytes as u64);
                metrics.add(&metrics.packed_bytes, packed_bytes as u64);
            }
            Taken::NeedDefinitions { .. } => metrics.add(&metrics.definitions_missing, 1),
            _ => {}
        }
    }
}

fn accepted_of(incoming: &IncomingReport, position: i64) -> Accepted {
    Accepted {
        position,
        agent: incoming.agent,
        server: incoming.server,
        received_ms: incoming.received_ms,
        report: Arc::clone(&incoming.report),
        size_bytes: incoming.plain.len(),
    }
}

fn answer_of(taken: Taken, epoch: u64, sequence: u64) -> Answer {
    match taken {
        Taken::Stored { .. } => Answer::Stored {
            epoch,
            sequence,
            duplicate: false,
        },
        Taken::Duplicate => Answer::Stored {
            epoch,
            sequence,
            duplicate: true,
        },
        Taken::Defined { definitions, .. } => Answer::Defined { epoch, definitions },
        Taken::NeedDefinitions { from_id } => Answer::NeedDefinitions { epoch, from_id },
        Taken::TooManyHoles { epoch, lowest_hole } => Answer::TooManyHoles { epoch, lowest_hole },
    }
}

/// Answers everything of a failed commit. Cursors are not answered: their askers see the channel close.
pub(super) fn refuse(batch: Vec<Item>) {
    for item in batch {
        match item {
            Item::Report(_, waiting) | Item::Definitions(_, waiting) => {
                waiting.reply_to.answer(Answer::Failed);
            }
            Item::Trim { reply, .. } => {
                let _ = reply.send(Err(WriteError));
            }
            Item::SetAside { reply, .. } | Item::BeginAfter { reply, .. } => {
                let _ = reply.send(Err(WriteError));
            }
            Item::Cursors { .. } | Item::Close => {}
        }
    }
}
