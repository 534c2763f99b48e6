//! From collections to reports.
//!
//! The [`Reporter`] takes the [`Tick`]s of all collectors and pushes reports into the [`Outbox`]: resources only when
//! they changed, a collector's full set ([`Inventory`]) only when that set changed, samples as columns of series ids.
//! When the controller may have missed something for good, everything is said once more.
//!
//! Without a controller, sixteen ticks share one report; what alerts depend on does not wait for that. As soon as
//! there is a stream every batch is a report again.
//!
//! It owns the knowledge of what was said, and none of how it travels. Every report is below
//! 240 KiB encoded, whatever the collectors find: what does not fit is cut, and the cut is a
//! problem in the same report.

mod batch;
mod bounds;
mod dictionary;
mod resources;
mod size;
mod split;

use std::sync::Arc;
use std::time::Duration;

use muster_model::{CollectorRun, Facts, Inventory, Problem, ResourceKey, RunOutcome, limits};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use self::batch::Batch;
use self::bounds::Problems;
use self::dictionary::Dictionary;
use self::resources::Resources;
use self::split::Content;
use crate::clocks::ClockReader;
use crate::collect::Tick;
use crate::outbox::Outbox;

/// How long a tick waits for others that belong into the same report: collectors of one cadence end within
/// milliseconds of each other.
const LINGER: Duration = Duration::from_millis(200);
/// Most ticks of one report.
const TICKS_PER_REPORT_MAX: usize = 64;

/// Makes reports of collections; see the module's documentation.
#[derive(Debug)]
pub struct Reporter {
    outbox: Arc<Outbox>,
    clocks: ClockReader,
    dictionary: Dictionary,
    resources: Resources,
    resyncs: u64,
    batch: Option<Batch>,
    disks_changed: Arc<Notify>,
}

/// Asks the reporter loop to report every tick that is in its channel, and to answer with the highest number given.
pub type Flush = oneshot::Sender<u64>;

impl Reporter {
    /// A reporter that has said nothing yet.
    #[must_use]
    pub fn new(outbox: Arc<Outbox>, clocks: ClockReader) -> Self {
        let resyncs = outbox.resyncs();
        Self {
            outbox,
            clocks,
            dictionary: Dictionary::default(),
            resources: Resources::default(),
            resyncs,
            batch: None,
            disks_changed: Arc::default(),
        }
    }

    /// Tells when disks come, go or swap names: whoever looks at them now and then had better look now.
    #[must_use]
    pub fn disks_changed(&self) -> Arc<Notify> {
        Arc::clone(&self.disks_changed)
    }

    /// Reports `ticks` and those that wait, in one report or, if that would be too long, in several.
    pub fn report(&mut self, ticks: Vec<Tick>) {
        self.gather(ticks);
        self.finish();
    }

    /// Lets `ticks` wait for others. What alerts depend on is reported at once, and all of it when there is enough.
    pub fn hold(&mut self, ticks: Vec<Tick>) {
        self.gather(ticks);
        if self.resources.take_urgent() {
            self.report_urgent();
        }
        if self.batch.as_ref().is_some_and(Batch::is_full) {
            self.finish();
        }
    }

    /// Reports what waits.
    pub fn finish(&mut self) {
        let Some(mut batch) = self.batch.take() else {
            return;
        };
        let blocks = batch.take_blocks();
        let Batch {
            mut content,
            mut problems,
            ..
        } = batch;
        self.resources.take_urgent();
        content.resources = self.resources.take_changed(&mut problems);
        content.inventories = self.inventories(content.clock.wall_ms, &mut problems);
        content.problems = problems.into_bounded();
        content.blocks = blocks;
        for report in content.split() {
            self.outbox.push(report);
        }
    }

    fn gather(&mut self, ticks: Vec<Tick>) {
        let resyncs = self.outbox.resyncs();
        if resyncs != self.resyncs {
            self.resyncs = resyncs;
            self.resources.forget_said();
        }
        let clock = self.clocks.now();
        if self.batch.as_ref().is_some_and(|batch| !batch.fits(&clock)) {
            self.finish();
        }
        let mut batch = match self.batch.take() {
            Some(batch) => batch,
            None => Batch::new(clock.clone()),
        };
        batch.content.clock = clock;
        for tick in ticks {
            batch.count(tick.collector);
            self.take(tick, &mut batch.content, &mut batch.problems);
        }
        self.batch = Some(batch);
    }

    /// Reports resources and failed runs apart from the samples, which go on waiting.
    fn report_urgent(&mut self) {
        let Some(mut batch) = self.batch.take() else {
            return;
        };
        let mut content = Content::new(batch.content.clock.clone());
        content.resources = self.resources.take_changed(&mut batch.problems);
        content.inventories = self.inventories(content.clock.wall_ms, &mut batch.problems);
        // The outcome of a run that brought facts stays with them: whoever sees it stored looks for them.
        let (waiting, failed) = batch
            .content
            .runs
            .into_iter()
            .partition(|run| run.outcome.is_success());
        (batch.content.runs, content.runs) = (waiting, failed);
        content.problems = std::mem::take(&mut batch.problems).into_bounded();
        for report in content.split() {
            self.outbox.push_urgent(report);
        }
        self.batch = Some(batch);
    }

    /// Reports the ticks of a channel until it is closed.
    pub async fn run(mut self, mut ticks: mpsc::Receiver<Tick>, mut flushes: mpsc::Receiver<Flush>) {
        let outbox = Arc::clone(&self.outbox);
        let mut flushes_open = true;
        loop {
            let deadline = self.batch.as_ref().map(Batch::deadline);
            tokio::select! {
                tick = ticks.recv() => {
                    let Some(tick) = tick else { return self.finish() };
                    let batch = gather(tick, &mut ticks).await;
                    if outbox.is_connected() {
                        self.report(batch);
                    } else {
                        self.hold(batch);
                    }
                }
                () = outbox.connected() => self.finish(),
                () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    self.finish();
                }
                flush = flushes.recv(), if flushes_open => match flush {
                    Some(answer) => self.flush(&mut ticks, answer),
                    None => flushes_open = false,
                },
            }
        }
    }

    fn flush(&mut self, ticks: &mut mpsc::Receiver<Tick>, answer: Flush) {
        let batch: Vec<Tick> = std::iter::from_fn(|| ticks.try_recv().ok()).collect();
        if batch.is_empty() {
            self.finish();
        } else {
            self.report(batch);
        }
        // Whoever asked may have gone away; the reports are made all the same.
        let _ = answer.send(self.outbox.stats().last_sequence);
    }

    fn take(&mut self, tick: Tick, content: &mut Content, problems: &mut Problems) {
        let collector = tick.collector;
        content.runs.push(CollectorRun {
            collector: collector.to_owned(),
            started_ms: tick.started_ms,
            duration_ms: tick.duration_ms,
            outcome: tick.outcome,
            message: bounds::cut(tick.message, limits::PROBLEM_BYTES_MAX),
        });
        let cadence = dictionary::Cadence {
            collector,
            started_ms: tick.started_ms,
            interval_ms: tick.interval_ms,
        };
        content.blocks.extend(self.dictionary.runner_blocks(
            &self.outbox,
            cadence,
            tick.self_samples,
            problems,
        ));
        let facts = match (tick.outcome, tick.facts) {
            (RunOutcome::Facts, Some(facts)) => facts,
            // Nothing there is knowledge: what was there before is gone.
            (RunOutcome::Absent, _) => Facts::default(),
            _ => {
                self.resources.failed(collector);
                return;
            }
        };
        problems.extend(facts.problems);
        content.blocks.extend(
            self.dictionary
                .blocks(&self.outbox, cadence, facts.samples, problems),
        );
        self.resources
            .seen(collector, facts.resources, facts.links, problems);
        if self.resources.take_disks_changed() {
            self.disks_changed.notify_one();
        }
    }

    fn inventories(&mut self, observed_ms: i64, problems: &mut Problems) -> Vec<Inventory> {
        let mut inventories = Vec::new();
        for mut inventory in self.resources.take_inventories(observed_ms) {
            if bounds::fit_inventory(&mut inventory, problems) {
                inventories.push(inventory);
            }
        }
        inventories
    }
}

async fn gather(first: Tick, ticks: &mut mpsc::Receiver<Tick>) -> Vec<Tick> {
    let mut batch = vec![first];
    let deadline = Instant::now() + LINGER;
    while batch.len() < TICKS_PER_REPORT_MAX {
        match tokio::time::timeout_at(deadline, ticks.recv()).await {
            Ok(Some(tick)) => batch.push(tick),
            Ok(None) | Err(_) => break,
        }
    }
    batch
}

/// A problem without a line.
fn problem(collector: &str, message: String) -> Problem {
    Problem {
        collector: collector.to_owned(),
        message,
        line: None,
    }
}

/// Names a resource in a problem without repeating a long key.
fn shown(key: &ResourceKey) -> &str {
    let text = key.as_str();
    &text[..text.floor_char_boundary(120)]
}

#[cfg(test)]
mod tests;
