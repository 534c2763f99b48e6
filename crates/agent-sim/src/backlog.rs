//! What an agent has produced before it begins: reports of an earlier epoch, as an agent finds them in its spool after a
//! long time without a controller.
//!
//! Nothing of it is held: a report is made anew whenever the outbox wants to send it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_agent::outbox::{Acked, Outbox};
use muster_agent::spool::{Past, PastReport};
use muster_model::{Clock, Report, SampleBlock, SeriesDef};
use muster_proto::framing::report_message;

/// Ticks of one report, as a real agent makes them while it is offline.
const TICKS_PER_REPORT: u64 = 16;
/// Values of one report, so that it fits into a message.
const SAMPLES_PER_REPORT: u64 = 20_000;
/// How often the end is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Ticks that were produced before the start, the last one just then.
pub(crate) struct Backlog {
    epoch: u64,
    ticks: u64,
    ticks_per_report: u64,
    interval_ms: i64,
    /// The clocks at the start.
    start: Clock,
    series: Vec<Arc<SeriesDef>>,
    acked: AtomicU64,
}

impl Backlog {
    /// As many ticks as fit into `length`; `None` if that is none.
    pub(crate) fn new(
        epoch: u64,
        length: Duration,
        interval: Duration,
        start: Clock,
        series: &[Arc<SeriesDef>],
    ) -> Option<Self> {
        let ticks = u64::try_from(length.as_millis() / interval.as_millis().max(1)).ok()?;
        let most = SAMPLES_PER_REPORT / (series.len() as u64).max(1);
        (0 < ticks).then(|| Self {
            epoch,
            ticks,
            ticks_per_report: TICKS_PER_REPORT.min(most.max(1)),
            interval_ms: i64::try_from(interval.as_millis()).unwrap_or(i64::MAX),
            start,
            series: series.to_vec(),
            acked: AtomicU64::new(0),
        })
    }

    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many samples it has.
    pub(crate) fn sample_count(&self) -> u64 {
        self.ticks * self.series.len() as u64
    }

    fn reports(&self) -> u64 {
        self.ticks.div_ceil(self.ticks_per_report)
    }

    /// The ticks of a report, whose numbers begin with 1.
    fn ticks_of(&self, sequence: u64) -> std::ops::Range<u64> {
        let end = self.ticks.min(sequence * self.ticks_per_report);
        (sequence - 1) * self.ticks_per_report..end
    }

    fn time_ms(&self, tick: u64) -> i64 {
        let before = i64::try_from(self.ticks - tick).unwrap_or(i64::MAX);
        self.start.wall_ms - before * self.interval_ms
    }

    fn clock(&self, tick: u64) -> Clock {
        let ago_ms = self.start.wall_ms - self.time_ms(tick);
        Clock {
            wall_ms: self.start.wall_ms - ago_ms,
            boottime_ms: self.start.boottime_ms - ago_ms,
            boot_id: self.start.boot_id.clone(),
        }
    }

    fn report(&self, sequence: u64) -> Report {
        let ticks = self.ticks_of(sequence);
        let mut report = Report::empty(self.epoch, sequence, self.clock(ticks.end - 1));
        let ids: Vec<u32> = (1..=u32::try_from(self.series.len()).unwrap_or(u32::MAX)).collect();
        let times: Vec<i64> = ticks.clone().map(|tick| self.time_ms(tick)).collect();
        let values: Vec<f64> = ticks
            .flat_map(|tick| ids.iter().map(move |_| tick as f64))
            .collect();
        let block = SampleBlock::new(times, ids, values);
        report
            .blocks
            .push(block.expect("a value for each tick and series, below the bound"));
        report
    }

    /// The same as the outbox wants it.
    pub(crate) fn past(&self) -> Past {
        let definitions = u32::try_from(self.series.len()).unwrap_or(u32::MAX);
        let reports = (1..=self.reports()).map(|sequence| {
            let ticks = self.ticks_of(sequence);
            let sample_count = (ticks.end - ticks.start) * self.series.len() as u64;
            PastReport {
                sequence,
                definitions,
                sample_count: u32::try_from(sample_count).unwrap_or(u32::MAX),
                plain_bytes: usize::try_from(sample_count * 8 + 256).unwrap_or(usize::MAX),
            }
        });
        Past {
            epoch: self.epoch,
            reports: reports.collect(),
            definitions: self.series.clone(),
            last_clock: Some(self.clock(self.ticks - 1)),
            lost: Vec::new(),
        }
    }

    /// Takes note of what is acknowledged, and says when it was sampled.
    pub(crate) fn acked(&self, reports: &[Acked]) -> Vec<Acked> {
        self.acked.fetch_add(reports.len() as u64, Ordering::Relaxed);
        let times = |acked: &Acked| {
            let ticks = self.ticks_of(acked.sequence);
            Acked {
                first_ms: self.time_ms(ticks.start),
                last_ms: self.time_ms(ticks.end - 1),
                ..acked.clone()
            }
        };
        reports.iter().map(times).collect()
    }

    /// Hands the outbox what it wants to send, for ever.
    pub(crate) async fn feed(&self, outbox: &Outbox) {
        loop {
            outbox.spool_needed().await;
            for (epoch, sequence) in outbox.to_read() {
                if epoch == self.epoch {
                    outbox.loaded(epoch, sequence, report_message(self.report(sequence)));
                }
            }
            // There is no disk on which anything would have to be given up.
            let _ = (outbox.take_released(), outbox.take_finished());
        }
    }

    /// Waits until everything is acknowledged.
    pub(crate) async fn settled(&self) {
        while self.acked.load(Ordering::Relaxed) < self.reports() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::series;

    #[test]
    fn every_tick_before_the_start_is_in_one_report() {
        let start = Clock {
            wall_ms: 1_000_000,
            boottime_ms: 500_000,
            boot_id: "boot".to_owned(),
        };
        let interval = Duration::from_secs(15);
        let length = Duration::from_secs(15 * 20 + 7);
        let backlog = Backlog::new(9, length, interval, start.clone(), &series(3, interval)).unwrap();
        assert_eq!((backlog.sample_count(), backlog.reports()), (60, 2));
        let mut times = Vec::new();
        for sequence in 1..=2 {
            let report = backlog.report(sequence);
            assert_eq!((report.epoch, report.sequence), (9, sequence));
            assert_eq!(report.sample_count(), report.blocks[0].times_ms().len() * 3);
            times.extend_from_slice(report.blocks[0].times_ms());
        }
        let expected: Vec<i64> = (0..20).map(|tick| 1_000_000 - (20 - tick) * 15_000).collect();
        assert_eq!(times, expected);
        let past = backlog.past();
        assert_eq!((past.reports.len(), past.reports[1].sample_count), (2, 12));
        assert_eq!(past.last_clock.unwrap().boottime_ms, 485_000);
        assert!(Backlog::new(9, Duration::ZERO, interval, start, &[]).is_none());
    }
}
