//! The sample consumer: blocks of samples into the sample store.
//!
//! A report's series ids are looked up once per list of series, not once per sample: an agent sends the same lists
//! tick after tick. The store keeps what it got in memory until a window is sealed, so this consumer's position is
//! not what it has handed over but what the store says is safe (`task` stores that).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use muster_model::STALE_NAN;
use muster_samples::{AppendOutcome, Batch, SeriesRef};

use super::renamed::Ended;
use super::series::SeriesCache;
use super::{ConsumeError, Consumer, ConsumerMetrics, SAMPLES_CONSUMER};
use crate::intake::{Accepted, Intake};
use crate::store::Store;

pub(super) struct SamplesConsumer {
    samples: Arc<muster_samples::Store>,
    intake: Intake,
    series: SeriesCache,
    metrics: Arc<ConsumerMetrics>,
}

/// A record with the series of each of its blocks, and those that end with it.
struct Resolved {
    record: Arc<Accepted>,
    blocks: Vec<Arc<Columns>>,
    ended: Ended,
}

/// Which columns of a block are stored, and as which series.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Columns {
    /// All of them.
    All(Vec<SeriesRef>),
    /// Some of them: their places in the block, and their series.
    Some(Vec<usize>, Vec<SeriesRef>),
}

impl SamplesConsumer {
    pub(super) fn new(
        intake: Intake,
        store: Store,
        samples: Arc<muster_samples::Store>,
        metrics: Arc<ConsumerMetrics>,
    ) -> Self {
        let series = SeriesCache::new(intake.clone(), store, Arc::clone(&samples), Arc::clone(&metrics));
        Self {
            samples,
            intake,
            series,
            metrics,
        }
    }

    async fn append(&mut self, records: &[Arc<Accepted>]) -> Result<Appended, ConsumeError> {
        let mut resolved = Vec::with_capacity(records.len());
        for record in records.iter().filter(|record| !record.report.blocks.is_empty()) {
            let (blocks, may_contradict) = self.series.resolve(record).await?;
            let ended = if may_contradict {
                if let Appended::UnknownSeries = self.store(std::mem::take(&mut resolved)).await? {
                    return Ok(Appended::UnknownSeries);
                }
                self.series.ended(record).await?
            } else {
                Ended::new()
            };
            resolved.push(Resolved {
                record: Arc::clone(record),
                blocks,
                ended,
            });
        }
        self.store(resolved).await
    }

    async fn store(&self, resolved: Vec<Resolved>) -> Result<Appended, ConsumeError> {
        let samples = Arc::clone(&self.samples);
        let metrics = Arc::clone(&self.metrics);
        // Sealing may hold a lock for a while: not on a thread that others need.
        let appended = tokio::task::spawn_blocking(move || append(&samples, &resolved, &metrics)).await;
        appended.map_err(|error| ConsumeError::Record {
            attempted: "append samples",
            source: Box::new(error),
        })
    }
}

#[async_trait]
impl Consumer for SamplesConsumer {
    fn name(&self) -> &'static str {
        SAMPLES_CONSUMER
    }

    async fn apply(&mut self, records: &[Arc<Accepted>]) -> Result<(), ConsumeError> {
        if self.samples.is_full() {
            // The next sealing makes room, unless it fails; until then the intake keeps the records.
            return Err(ConsumeError::Transient {
                attempted: "append samples",
                source: "the sample store's memory is full".into(),
            });
        }
        if let Appended::UnknownSeries = self.append(records).await? {
            // The store has let go of series that nobody used for long. They are looked up anew; what is in
            // already stays as it is.
            self.series.forget();
            self.append(records).await?.complete()?;
        }
        match records.last() {
            Some(last) => self.pass(last.position).await,
            None => Ok(()),
        }
    }

    async fn pass(&mut self, position: i64) -> Result<(), ConsumeError> {
        self.samples.passed(position);
        self.intake.release(position);
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
enum Appended {
    All,
    UnknownSeries,
}

impl Appended {
    /// Series that were just looked up and are unknown all the same stay so: the record is set aside.
    fn complete(self) -> Result<(), ConsumeError> {
        match self {
            Self::All => Ok(()),
            Self::UnknownSeries => Err(ConsumeError::Record {
                attempted: "append samples",
                source: "the sample store does not know series that it has just given".into(),
            }),
        }
    }
}

fn append(samples: &muster_samples::Store, resolved: &[Resolved], metrics: &ConsumerMetrics) -> Appended {
    let mut unknown = 0;
    for Resolved {
        record,
        blocks,
        ended,
    } in resolved
    {
        for (at_ms, series) in ended {
            // Counted nowhere: no agent sent them.
            append_block(samples, record, &[*at_ms], series, &vec![STALE_NAN; series.len()]);
        }
        for (block, columns) in record.report.blocks.iter().zip(blocks) {
            let outcome = match &**columns {
                Columns::All(series) => {
                    append_block(samples, record, block.times_ms(), series, block.values())
                }
                Columns::Some(places, series) => {
                    let left_out = (block.series().len() - places.len()) * block.times_ms().len();
                    add(&metrics.samples_refused, left_out as u64);
                    let row =
                        |(_, row): (i64, &[f64])| places.iter().map(|place| row[*place]).collect::<Vec<_>>();
                    let values: Vec<f64> = block.rows().flat_map(row).collect();
                    append_block(samples, record, block.times_ms(), series, &values)
                }
            };
            add(&metrics.samples, outcome.appended);
            add(&metrics.samples_duplicate, outcome.duplicates);
            add(&metrics.samples_refused, outcome.too_old + outcome.too_new);
            unknown += outcome.unknown;
        }
    }
    if unknown == 0 {
        Appended::All
    } else {
        Appended::UnknownSeries
    }
}

fn append_block(
    samples: &muster_samples::Store,
    record: &Accepted,
    times_ms: &[i64],
    series: &[SeriesRef],
    values: &[f64],
) -> AppendOutcome {
    let batch = Batch {
        position: record.position,
        received_ms: record.received_ms,
        times_ms,
        series,
        values,
    };
    samples
        .append(&batch)
        .expect("a block is a rectangle, and so is what is left of one without some columns")
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_that_stay_unknown_are_a_fault_of_the_record() {
        assert!(Appended::All.complete().is_ok());
        let refused = Appended::UnknownSeries.complete().unwrap_err();
        assert!(!refused.is_transient());
    }
}
