//! What consumers are promised: everything in order, at least once, and nothing in their way.

mod renamed;

use std::collections::HashSet;
use std::sync::Mutex;

use camino::{Utf8Path, Utf8PathBuf};
use muster_samples::{Filter, Select, selector};
use tokio::sync::mpsc;

use super::*;
use crate::intake::ReplyTo;
use crate::intake::tests::{
    EPOCH, NOW, define, incoming, open_in, quick, report_of, series, submit, with_samples,
};

/// Takes everything but what it is told to refuse.
#[derive(Clone, Default)]
struct Picky {
    taken: Arc<Mutex<Vec<u64>>>,
    batches: Arc<Mutex<Vec<usize>>>,
    poison: Arc<Mutex<HashSet<u64>>>,
    defect: Arc<Mutex<HashSet<u64>>>,
    failures_left: Arc<Mutex<u32>>,
    passed: Arc<Mutex<i64>>,
}

#[async_trait]
impl Consumer for Picky {
    fn name(&self) -> &'static str {
        "picky"
    }

    async fn apply(&mut self, records: &[Arc<Accepted>]) -> Result<(), ConsumeError> {
        let is_failing = {
            let mut left = self.failures_left.lock().unwrap();
            *left = left.saturating_sub(1);
            0 < *left
        };
        if is_failing {
            return Err(ConsumeError::Transient {
                attempted: "try",
                source: "the disk is full".into(),
            });
        }
        let defects = self.defect.lock().unwrap().clone();
        assert!(
            !records
                .iter()
                .any(|record| defects.contains(&record.report.sequence)),
            "a defect"
        );
        let poison = self.poison.lock().unwrap();
        if records
            .iter()
            .any(|record| poison.contains(&record.report.sequence))
        {
            return Err(ConsumeError::Record {
                attempted: "try",
                source: "poison".into(),
            });
        }
        self.batches.lock().unwrap().push(records.len());
        self.taken
            .lock()
            .unwrap()
            .extend(records.iter().map(|record| record.report.sequence));
        Ok(())
    }

    async fn pass(&mut self, position: i64) -> Result<(), ConsumeError> {
        *self.passed.lock().unwrap() = position;
        Ok(())
    }
}

struct Bench {
    folder: tempfile::TempDir,
    intake: Intake,
    stop: CancellationToken,
}

pub(crate) fn dir_of(folder: &tempfile::TempDir) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap()
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let intake = open_in(&dir_of(&folder), quick());
        Self {
            folder,
            intake,
            stop: CancellationToken::new(),
        }
    }

    fn start(&self, picky: &Picky, after: i64, limit: watch::Receiver<i64>) -> Running {
        let feeder = Feeder {
            intake: self.intake.clone(),
            clock: WallClock::fixed(NOW),
            stop: self.stop.clone(),
        };
        feeder.spawn(picky.clone(), after, limit, Arc::new(ConsumerMetrics::default()))
    }

    async fn store(&self, sequences: std::ops::RangeInclusive<u64>) {
        let (answer_tx, mut answers) = mpsc::unbounded_channel();
        for sequence in sequences.clone() {
            let reply_to = ReplyTo::new(answer_tx.clone(), None);
            self.intake
                .report(incoming(report_of(EPOCH, sequence)), reply_to)
                .await
                .unwrap();
        }
        for _ in sequences {
            answers.recv().await.unwrap();
        }
    }
}

async fn reached(running: &Running, position: i64) {
    running
        .applied
        .clone()
        .wait_for(|applied| position <= *applied)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_consumer_gets_what_it_has_missed_and_then_what_comes() {
    let bench = Bench::new();
    bench.store(1..=600).await;
    // Everyone had these; only the file has them now.
    bench.intake.release(300);
    let picky = Picky::default();
    let running = bench.start(&picky, 10, bench.intake.committed());
    reached(&running, 600).await;
    bench.store(601..=610).await;
    reached(&running, 610).await;
    assert_eq!(*picky.taken.lock().unwrap(), (11..=610).collect::<Vec<u64>>());
    let from_disk = running.metrics.records_from_disk.load(Ordering::Relaxed);
    assert!((290..=600).contains(&from_disk), "{from_disk}");
    assert!(
        picky
            .batches
            .lock()
            .unwrap()
            .iter()
            .all(|batch| *batch <= RECORDS_MAX)
    );
}

#[tokio::test]
async fn a_record_that_cannot_be_taken_is_set_aside_and_the_others_pass() {
    let bench = Bench::new();
    let picky = Picky::default();
    picky.poison.lock().unwrap().insert(3);
    picky.defect.lock().unwrap().insert(4);
    bench.store(1..=6).await;
    let running = bench.start(&picky, 0, bench.intake.committed());
    reached(&running, 6).await;
    assert_eq!(*picky.taken.lock().unwrap(), [1, 2, 5, 6]);
    assert_eq!(*picky.passed.lock().unwrap(), 4);
    assert_eq!(running.metrics.set_aside.load(Ordering::Relaxed), 2);
    let file = rusqlite::Connection::open(bench.folder.path().join("intake.db")).unwrap();
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let kept: (i64, String, bool) = file
        .query_row(
            "SELECT position, error, payload IS NOT NULL FROM set_aside",
            [],
            row,
        )
        .unwrap();
    assert_eq!(kept, (3, "try: poison".to_owned(), true));
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_machine_is_tried_again_and_nothing_is_set_aside() {
    let bench = Bench::new();
    let picky = Picky::default();
    *picky.failures_left.lock().unwrap() = 21;
    let (limit_tx, limit) = watch::channel(0);
    bench.store(1..=3).await;
    let running = bench.start(&picky, 0, limit);
    limit_tx.send_replace(3);
    while running.metrics.failures.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(running.metrics.is_failing.load(Ordering::Relaxed));
    reached(&running, 3).await;
    assert!(!running.metrics.is_failing.load(Ordering::Relaxed));
    assert_eq!(*picky.taken.lock().unwrap(), [1, 2, 3]);
    assert_eq!(running.metrics.failures.load(Ordering::Relaxed), 20);
    assert_eq!(running.metrics.set_aside.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn nobody_passes_who_comes_before() {
    let bench = Bench::new();
    bench.store(1..=9).await;
    let picky = Picky::default();
    let (limit_tx, limit) = watch::channel(4);
    let running = bench.start(&picky, 0, limit);
    reached(&running, 4).await;
    assert_eq!(*picky.taken.lock().unwrap(), [1, 2, 3, 4]);
    limit_tx.send_replace(9);
    reached(&running, 9).await;
}

#[tokio::test]
async fn what_was_deleted_is_passed() {
    let bench = Bench::new();
    bench.store(1..=5).await;
    bench.intake.trim(i64::MAX, 0).await.unwrap();
    bench.intake.release(5);
    let picky = Picky::default();
    let running = bench.start(&picky, 0, bench.intake.committed());
    reached(&running, 5).await;
    assert!(picky.taken.lock().unwrap().is_empty());
    assert_eq!(*picky.passed.lock().unwrap(), 5);
}

/// The real consumers over a folder; what they know in memory is lost with this.
pub(crate) struct Whole {
    pub(crate) intake: Intake,
    pub(crate) store: Store,
    pub(crate) samples: Arc<muster_samples::Store>,
    pub(crate) consumers: Consumers,
    stop: CancellationToken,
}

impl Whole {
    pub(crate) async fn open(dir: &Utf8Path) -> Self {
        let intake = open_in(dir, quick());
        let store = Store::open(&dir.join("state.db")).await.unwrap();
        let samples = Arc::new(
            muster_samples::Store::open(&dir.join("samples"), muster_samples::Options::default()).unwrap(),
        );
        let stop = CancellationToken::new();
        let parts = Parts {
            intake: intake.clone(),
            store: store.clone(),
            samples: Arc::clone(&samples),
            alerts: None,
            clock: WallClock::fixed(NOW),
        };
        let consumers = spawn(parts, stop.clone()).await.unwrap();
        Self {
            intake,
            store,
            samples,
            consumers,
            stop,
        }
    }

    pub(crate) async fn caught_up(&self) {
        let committed = *self.intake.committed().borrow();
        self.consumers
            .applied
            .clone()
            .wait_for(|applied| committed <= *applied)
            .await
            .unwrap();
    }

    /// Number of samples of every series by name.
    pub(crate) fn counts(&self) -> Vec<(String, usize)> {
        let matchers = selector::parse("{__name__=~\"test_.*\"}").unwrap();
        let found = self.samples.snapshot().select(&Select::new(
            Filter::new(&matchers),
            NOW - 100_000,
            NOW + 100_000,
        ));
        let mut counts: Vec<_> = found
            .series
            .iter()
            .map(|series| (series.meta.name.to_string(), series.values.len()))
            .collect();
        counts.sort();
        counts
    }

    /// Ends without sealing, flushing or closing anything.
    pub(crate) async fn kill(self) {
        self.stop.cancel();
        self.consumers.ended().await;
    }
}

#[tokio::test]
async fn after_a_restart_every_sample_is_there_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir_of(&folder);
    let whole = Whole::open(&dir).await;
    define(&whole.intake, 1, vec![series("test_a"), series("test_b")]).await;
    for sequence in 1..=20 {
        let time_ms = NOW - 20_000 + sequence as i64 * 1_000;
        submit(
            &whole.intake,
            with_samples(report_of(EPOCH, sequence), vec![1, 2], time_ms),
        )
        .await;
    }
    whole.caught_up().await;
    let wanted = [("test_a".to_owned(), 20), ("test_b".to_owned(), 20)];
    assert_eq!(whole.counts(), wanted);
    whole.kill().await;
    let again = Whole::open(&dir).await;
    again.caught_up().await;
    assert_eq!(again.counts(), wanted);
    // Sent again by an agent that has not heard the ack.
    submit(&again.intake, with_samples(report_of(EPOCH, 20), vec![1, 2], NOW)).await;
    again.caught_up().await;
    assert_eq!(again.counts(), wanted);
    again.kill().await;
}

#[tokio::test]
async fn samples_whose_definition_is_bad_are_dropped_and_counted_alone() {
    let folder = tempfile::tempdir().unwrap();
    let whole = Whole::open(&dir_of(&folder)).await;
    define(
        &whole.intake,
        1,
        vec![series("test_a"), series("not a name"), series("test_c")],
    )
    .await;
    submit(
        &whole.intake,
        with_samples(report_of(EPOCH, 1), vec![1, 2, 3], NOW),
    )
    .await;
    whole.caught_up().await;
    assert_eq!(
        whole.counts(),
        [("test_a".to_owned(), 1), ("test_c".to_owned(), 1)]
    );
    let refused = whole
        .consumers
        .samples_metrics
        .samples_refused
        .load(Ordering::Relaxed);
    assert_eq!(refused, 1);
    whole.kill().await;
}

fn remove_log(dir: &Utf8Path) {
    for name in ["intake.db", "intake.db-wal", "intake.db-shm"] {
        let _ = std::fs::remove_file(dir.join(name));
    }
}

#[tokio::test]
async fn what_is_acknowledged_after_the_log_was_lost_is_applied() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir_of(&folder);
    let whole = Whole::open(&dir).await;
    define(&whole.intake, 1, vec![series("test_a")]).await;
    let sample = |sequence: u64| {
        let time_ms = NOW - 20_000 + sequence as i64 * 100;
        with_samples(report_of(EPOCH, sequence), vec![1], time_ms)
    };
    for sequence in 1..=30 {
        submit(&whole.intake, sample(sequence)).await;
    }
    whole.caught_up().await;
    whole.intake.close().await;
    whole.kill().await;
    remove_log(&dir);
    let again = Whole::open(&dir).await;
    again.caught_up().await;
    define(&again.intake, 1, vec![series("test_a")]).await;
    for sequence in 31..=40 {
        submit(&again.intake, sample(sequence)).await;
    }
    again.caught_up().await;
    // What was sealed before or not: all that was acknowledged by this log is there.
    assert_eq!(again.counts(), [("test_a".to_owned(), 10)]);
    assert_eq!(*again.intake.committed().borrow(), 40);
    again.intake.close().await;
    again.kill().await;
    let last = Whole::open(&dir).await;
    last.caught_up().await;
    assert_eq!(last.counts(), [("test_a".to_owned(), 10)]);
    last.kill().await;
}

/// D5
#[tokio::test]
async fn samples_of_a_resource_that_is_described_later_are_stored_once() {
    use muster_model::{Resource, ResourceKey, ResourceKind};
    let folder = tempfile::tempdir().unwrap();
    let dir = dir_of(&folder);
    let whole = Whole::open(&dir).await;
    for name in ["a", "b", "c"] {
        let fields = crate::store::ServerFields::named(name);
        whole.store.create_server(fields, 1).await.unwrap();
    }
    let mut of_disk = series("test_a");
    of_disk.resource_key = ResourceKey::new("device:late");
    define(&whole.intake, 1, vec![of_disk]).await;
    submit(&whole.intake, with_samples(report_of(EPOCH, 1), vec![1], NOW)).await;
    whole.caught_up().await;
    whole.samples.flush_all().unwrap();
    let mut described = with_samples(report_of(EPOCH, 2), vec![1], NOW + 1_000);
    described.resources = vec![Resource::new(
        ResourceKind::Device,
        ResourceKey::new("device:late"),
        "sda",
    )];
    submit(&whole.intake, described).await;
    whole.caught_up().await;
    let expected = [("test_a".to_owned(), 2)];
    assert_eq!(whole.counts(), expected);
    whole.kill().await;
    // Everything is applied again, and now the resource is known from the beginning.
    let again = Whole::open(&dir).await;
    again.caught_up().await;
    assert_eq!(again.counts(), expected);
    let id = again
        .store
        .resource_ids(muster_base::id::ServerId(3))
        .await
        .unwrap()[&ResourceKey::new("device:late")];
    let matchers = selector::parse("test_a").unwrap();
    let (metas, _) = again.samples.snapshot().series(&Filter::new(&matchers));
    assert_eq!(metas.iter().map(|meta| meta.resource).collect::<Vec<_>>(), [id]);
    again.kill().await;
}
