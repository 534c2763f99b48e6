//! What the intake promises: stored once, answered after the fsync, read back in order, never overfull.

use std::sync::atomic::{AtomicBool, Ordering};

use camino::Utf8PathBuf;
use muster_base::id::ServerId;
use muster_model::{
    Clock, Gap, GapReason, Labels, MetricType, Report, ResourceKey, SampleBlock, SequenceRange, SeriesDef,
};
use muster_proto::convert::definitions_to_wire;
use muster_proto::v1::{AgentMessage, agent_message::Body};
use prost::Message as _;
use tokio::sync::mpsc;

use super::*;

pub(crate) const NOW: i64 = 1_800_000_000_000;
pub(crate) const EPOCH: u64 = 0xffff_0000_dead_beef;

pub(crate) fn agent() -> AgentId {
    AgentId(uuid::Uuid::from_u128(7))
}

/// An intake in a folder of its own.
struct Bench {
    folder: tempfile::TempDir,
    intake: Intake,
}

fn dir_of(folder: &tempfile::TempDir) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap()
}

/// Commits at once unless a test is about waiting, so that tests are quick.
pub(crate) fn quick() -> Options {
    Options {
        commit_after: Duration::from_millis(1),
        free_percent_min: 5.0,
        space: Arc::new(|_| {
            Some(DiskSpace {
                total_bytes: 100,
                free_bytes: 50,
            })
        }),
        ..Options::default()
    }
}

pub(crate) fn open_in(dir: &Utf8Path, options: Options) -> Intake {
    Intake::open(dir, options, WallClock::fixed(NOW)).unwrap()
}

fn bench_with(options: Options) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let intake = open_in(&dir_of(&folder), options);
    Bench { folder, intake }
}

fn bench() -> Bench {
    bench_with(quick())
}

pub(crate) fn report_of(epoch: u64, sequence: u64) -> Report {
    let clock = Clock {
        wall_ms: NOW,
        boottime_ms: 1,
        boot_id: "boot".to_owned(),
    };
    Report::empty(epoch, sequence, clock)
}

pub(crate) fn with_samples(mut report: Report, series: Vec<u32>, time_ms: i64) -> Report {
    let values = series.iter().map(|id| f64::from(*id)).collect();
    report
        .blocks
        .push(SampleBlock::new(vec![time_ms], series, values).unwrap());
    report
}

fn gap(epoch: u64, first: u64, last: u64) -> Gap {
    Gap {
        epoch,
        range: SequenceRange { first, last },
        sample_count: None,
        reason: GapReason::BufferFull,
    }
}

pub(crate) fn incoming(report: Report) -> IncomingReport {
    IncomingReport {
        agent: agent(),
        server: ServerId(3),
        received_ms: NOW,
        kind: RecordKind::Report,
        plain: encode_report(&report),
        report: Arc::new(report),
    }
}

pub(crate) fn series(name: &str) -> SeriesDef {
    SeriesDef {
        name: name.to_owned().into(),
        labels: Labels::default(),
        metric_type: MetricType::Gauge,
        unit: "".into(),
        collector: "test".into(),
        resource_key: ResourceKey::server(),
        interval_ms: 15_000,
    }
}

pub(crate) fn incoming_definitions(first_id: u32, series: Vec<SeriesDef>) -> IncomingDefinitions {
    definitions_in(EPOCH, first_id, series)
}

fn definitions_in(epoch: u64, first_id: u32, series: Vec<SeriesDef>) -> IncomingDefinitions {
    let last_id = first_id + series.len() as u32 - 1;
    let body = Some(Body::Definitions(definitions_to_wire(epoch, first_id, series)));
    let plain = AgentMessage { body }.encode_to_vec();
    IncomingDefinitions {
        agent: agent(),
        epoch,
        first_id,
        last_id,
        plain,
    }
}

/// Hands in a report and waits for the answer.
pub(crate) async fn submit(intake: &Intake, report: Report) -> Answer {
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    intake
        .report(incoming(report), ReplyTo::new(answer_tx, None))
        .await
        .unwrap();
    answers.recv().await.unwrap()
}

pub(crate) async fn define(intake: &Intake, first_id: u32, series: Vec<SeriesDef>) -> Answer {
    define_in(intake, EPOCH, first_id, series).await
}

/// The same in another epoch.
pub(crate) async fn define_in(intake: &Intake, epoch: u64, first_id: u32, series: Vec<SeriesDef>) -> Answer {
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    let definitions = definitions_in(epoch, first_id, series);
    intake
        .define(definitions, ReplyTo::new(answer_tx, None))
        .await
        .unwrap();
    answers.recv().await.unwrap()
}

fn stored(sequence: u64) -> Answer {
    Answer::Stored {
        epoch: EPOCH,
        sequence,
        duplicate: false,
    }
}

async fn cursor(intake: &Intake, epoch: u64) -> EpochCursor {
    intake.cursors(agent(), vec![epoch]).await.unwrap().remove(0)
}

async fn ranges(intake: &Intake, epoch: u64) -> Vec<(u64, u64)> {
    cursor(intake, epoch)
        .await
        .ranges
        .iter()
        .map(|range| (range.first, range.last))
        .collect()
}

/// Sequence numbers of all records, in order of position.
async fn sequences(intake: &Intake, after: i64) -> Vec<u64> {
    let page = intake.page_after(after, 10_000, usize::MAX).await.unwrap();
    let sequence = |record: &Record| match record {
        Record::Good(accepted) => accepted.report.sequence,
        Record::Damaged { .. } => 0,
    };
    page.records.iter().map(sequence).collect()
}

/// What a `kill -9` would leave: the files as they are, while everything runs.
fn crashed(bench: &Bench) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(bench.folder.path()).unwrap() {
        let entry = entry.unwrap();
        // The shared memory file is made anew from the log.
        if !entry.file_name().to_string_lossy().ends_with("-shm") {
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
        }
    }
    let intake = open_in(&dir_of(&folder), quick());
    Bench { folder, intake }
}

#[tokio::test]
async fn a_report_is_stored_once_however_often_it_comes() {
    let bench = bench();
    assert_eq!(submit(&bench.intake, report_of(EPOCH, 1)).await, stored(1));
    let again = Answer::Stored {
        epoch: EPOCH,
        sequence: 1,
        duplicate: true,
    };
    assert_eq!(submit(&bench.intake, report_of(EPOCH, 1)).await, again);
    let after_crash = crashed(&bench);
    assert_eq!(submit(&after_crash.intake, report_of(EPOCH, 1)).await, again);
    assert_eq!(sequences(&after_crash.intake, 0).await, [1]);
    assert_eq!(IntakeMetrics::get(&bench.intake.metrics().reports_duplicate), 1);
}

#[tokio::test]
async fn the_same_report_twice_in_one_commit_is_stored_once() {
    let bench = bench_with(Options {
        commit_after: Duration::from_millis(200),
        ..quick()
    });
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    for _ in 0..2 {
        let reply_to = ReplyTo::new(answer_tx.clone(), None);
        bench
            .intake
            .report(incoming(report_of(EPOCH, 4)), reply_to)
            .await
            .unwrap();
    }
    assert_eq!(answers.recv().await, Some(stored(4)));
    assert!(matches!(
        answers.recv().await,
        Some(Answer::Stored { duplicate: true, .. })
    ));
    assert_eq!(sequences(&bench.intake, 0).await, [4]);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash_and_ranges_agree_with_records() {
    let bench = bench();
    for sequence in [1, 2, 3, 7] {
        assert_eq!(
            submit(&bench.intake, report_of(EPOCH, sequence)).await,
            stored(sequence)
        );
    }
    let after_crash = crashed(&bench);
    assert_eq!(sequences(&after_crash.intake, 0).await, [1, 2, 3, 7]);
    assert_eq!(ranges(&after_crash.intake, EPOCH).await, [(1, 3), (7, 7)]);
    assert_eq!(*after_crash.intake.committed().borrow(), 4);
}

#[tokio::test]
async fn reports_that_come_together_share_commits() {
    let bench = bench_with(Options {
        commit_after: Duration::from_millis(20),
        ..quick()
    });
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    for sequence in 1..=500 {
        let reply_to = ReplyTo::new(answer_tx.clone(), None);
        bench
            .intake
            .report(incoming(report_of(EPOCH, sequence)), reply_to)
            .await
            .unwrap();
    }
    for sequence in 1..=500 {
        assert_eq!(answers.recv().await, Some(stored(sequence)));
    }
    let commits = IntakeMetrics::get(&bench.intake.metrics().commits);
    assert!(commits < 100, "{commits} commits for 500 reports");
}

#[tokio::test]
async fn a_report_naming_an_unknown_series_is_not_stored_and_the_next_id_is_asked_for() {
    let bench = bench();
    let report = || with_samples(report_of(EPOCH, 1), vec![1, 3], NOW);
    let need = |from_id| Answer::NeedDefinitions {
        epoch: EPOCH,
        from_id,
    };
    assert_eq!(submit(&bench.intake, report()).await, need(1));
    let two = vec![series("a"), series("b")];
    assert_eq!(
        define(&bench.intake, 1, two).await,
        Answer::Defined {
            epoch: EPOCH,
            definitions: 2
        }
    );
    assert_eq!(submit(&bench.intake, report()).await, need(3));
    assert_eq!(
        define(&bench.intake, 3, vec![series("c")]).await,
        Answer::Defined {
            epoch: EPOCH,
            definitions: 3
        }
    );
    assert_eq!(submit(&bench.intake, report()).await, stored(1));
    assert_eq!(cursor(&crashed(&bench).intake, EPOCH).await.definitions, 3);
}

#[tokio::test]
async fn definitions_with_a_hole_are_asked_for_and_overlapping_ones_continue() {
    let bench = bench();
    define(&bench.intake, 1, vec![series("a"), series("b")]).await;
    let need = Answer::NeedDefinitions {
        epoch: EPOCH,
        from_id: 3,
    };
    assert_eq!(define(&bench.intake, 4, vec![series("d")]).await, need);
    let overlapping = vec![series("changed"), series("c")];
    assert_eq!(
        define(&bench.intake, 2, overlapping).await,
        Answer::Defined {
            epoch: EPOCH,
            definitions: 3
        }
    );
    let known = Answer::Defined {
        epoch: EPOCH,
        definitions: 3,
    };
    assert_eq!(define(&bench.intake, 1, vec![series("again")]).await, known);
    let read = bench.intake.definitions(agent(), EPOCH, 1).await.unwrap();
    let names: Vec<_> = read
        .series
        .iter()
        .flatten()
        .map(|series| series.name.as_ref())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(
        bench
            .intake
            .definitions(agent(), EPOCH, 3)
            .await
            .unwrap()
            .series
            .len(),
        1
    );
}

#[tokio::test]
async fn a_bad_definition_keeps_its_id_and_its_neighbours() {
    let bench = bench();
    define(
        &bench.intake,
        1,
        vec![series("a"), series("not a name"), series("c")],
    )
    .await;
    let read = bench.intake.definitions(agent(), EPOCH, 1).await.unwrap();
    let is_good: Vec<bool> = read.series.iter().map(Option::is_some).collect();
    assert_eq!(is_good, [true, false, true]);
}

#[tokio::test]
async fn definitions_beyond_the_limit_are_not_read_back() {
    let bench = bench();
    let mut definitions = incoming_definitions(1, vec![series("a"), series("b")]);
    definitions.last_id = 1;
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    bench
        .intake
        .define(definitions, ReplyTo::new(answer_tx, None))
        .await
        .unwrap();
    assert_eq!(
        answers.recv().await,
        Some(Answer::Defined {
            epoch: EPOCH,
            definitions: 1
        })
    );
    assert_eq!(
        bench
            .intake
            .definitions(agent(), EPOCH, 1)
            .await
            .unwrap()
            .series
            .len(),
        1
    );
}

#[tokio::test]
async fn a_gap_closes_its_numbers_also_in_another_epoch() {
    let bench = bench();
    submit(&bench.intake, report_of(5, 1)).await;
    let mut report = report_of(EPOCH, 1);
    report.gaps = vec![gap(5, 2, 9), gap(EPOCH, 2, 3)];
    assert_eq!(submit(&bench.intake, report).await, stored(1));
    let after_crash = crashed(&bench);
    assert_eq!(ranges(&after_crash.intake, 5).await, [(1, 9)]);
    assert_eq!(ranges(&after_crash.intake, EPOCH).await, [(1, 3)]);
}

#[tokio::test]
async fn with_too_many_holes_only_what_fills_the_lowest_is_taken() {
    let bench = bench();
    let mut holes = report_of(EPOCH, 1);
    let bound = muster_model::limits::RANGES_PER_EPOCH_MAX as u64;
    holes.gaps = (1..bound).map(|n| gap(9, 10 + 2 * n, 10 + 2 * n)).collect();
    assert_eq!(submit(&bench.intake, holes).await, stored(1));
    let refused = Answer::TooManyHoles {
        epoch: 9,
        lowest_hole: 1,
    };
    assert_eq!(submit(&bench.intake, report_of(9, 5)).await, refused);
    assert_eq!(submit(&bench.intake, report_of(9, 13)).await, refused);
    // A gap of the full epoch that does not fit leaves nothing of its report behind.
    let mut other = report_of(EPOCH, 2);
    other.gaps = vec![gap(8, 1, 4), gap(9, 3, 4)];
    assert_eq!(submit(&bench.intake, other).await, refused);
    assert_eq!(
        (ranges(&bench.intake, 8).await, ranges(&bench.intake, EPOCH).await),
        (vec![], vec![(1, 1)])
    );
    // A report of the full epoch itself may tell of the gap that makes room for it.
    let mut telling = report_of(9, 9_000);
    telling.gaps = vec![gap(9, 1, 11)];
    let told = |sequence| Answer::Stored {
        epoch: 9,
        sequence,
        duplicate: false,
    };
    assert_eq!(submit(&bench.intake, telling).await, told(9_000));
    assert_eq!(submit(&bench.intake, report_of(9, 13)).await, told(13));
    assert_eq!(submit(&bench.intake, report_of(9, 9_500)).await, told(9_500));
}

#[tokio::test]
async fn without_room_nothing_is_answered_until_there_is_some() {
    let has_room = Arc::new(AtomicBool::new(false));
    let probed = Arc::clone(&has_room);
    let space: SpaceProbe = Arc::new(move |_| {
        let free_bytes = if probed.load(Ordering::SeqCst) { 50 } else { 4 };
        Some(DiskSpace {
            total_bytes: 100,
            free_bytes,
        })
    });
    let bench = bench_with(Options {
        space,
        queue_bytes: 100,
        ..quick()
    });
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    let big = || incoming(report_of(EPOCH, 1));
    let mut state = bench.intake.inner.state_rx.clone();
    bench
        .intake
        .report(big(), ReplyTo::new(answer_tx.clone(), None))
        .await
        .unwrap();
    state
        .wait_for(|state| matches!(state, IntakeState::Full(IntakeFull::Disk { .. })))
        .await
        .unwrap();
    // Everything else goes on.
    assert_eq!(ranges(&bench.intake, EPOCH).await, []);
    assert!(answers.try_recv().is_err());
    // The queue is bounded: its sender waits. What is handed in by someone who leaves is not answered.
    let (other_tx, _) = mpsc::unbounded_channel();
    let fill = async {
        loop {
            let reply_to = ReplyTo::new(other_tx.clone(), None);
            bench.intake.report(big(), reply_to).await.unwrap();
        }
    };
    tokio::select! {
        biased;
        () = fill => {}
        () = tokio::task::yield_now() => {}
    }
    assert!(100 < bench.intake.queue_bytes() + big().plain.len());
    has_room.store(true, Ordering::SeqCst);
    assert_eq!(answers.recv().await, Some(stored(1)));
    assert_eq!(bench.intake.state(), IntakeState::Taking);
}

#[tokio::test]
async fn a_log_at_its_limit_takes_nothing_more_until_it_is_trimmed() {
    let bench = bench_with(Options {
        size_bytes_max: 400 * 1024,
        ..quick()
    });
    let noise = |sequence| {
        let mut report = report_of(EPOCH, sequence);
        let values: Vec<f64> = (0..4_000)
            .map(|_| f64::from_bits(fastrand::u64(..) >> 2))
            .collect();
        report
            .blocks
            .push(SampleBlock::new((0..4_000).collect(), vec![1], values).unwrap());
        report
    };
    define(&bench.intake, 1, vec![series("a")]).await;
    let mut state = bench.intake.inner.state_rx.clone();
    let mut sequence = 0;
    let full = async {
        loop {
            sequence += 1;
            submit(&bench.intake, noise(sequence)).await;
        }
    };
    tokio::select! {
        () = full => {}
        seen = state.wait_for(|state| matches!(state, IntakeState::Full(IntakeFull::Size { .. }))) => { seen.unwrap(); }
    }
    assert!(1 < sequence);
    while bench.intake.trim(i64::MAX, 0).await.unwrap() != Trimmed::default() {}
    state
        .wait_for(|state| *state == IntakeState::Taking)
        .await
        .unwrap();
}

#[tokio::test]
async fn positions_are_never_used_twice_even_after_everything_is_deleted() {
    let bench = bench();
    for sequence in 1..=3 {
        submit(&bench.intake, report_of(EPOCH, sequence)).await;
    }
    assert_eq!(bench.intake.trim(3, 0).await.unwrap().records, 2);
    assert_eq!(bench.intake.trim(3, 0).await.unwrap(), Trimmed::default());
    assert_eq!(bench.intake.trim(i64::MAX, 0).await.unwrap().records, 1);
    let after_crash = crashed(&bench);
    assert_eq!(*after_crash.intake.committed().borrow(), 3);
    submit(&after_crash.intake, report_of(EPOCH, 4)).await;
    assert_eq!(*after_crash.intake.committed().borrow(), 4);
    assert_eq!(sequences(&after_crash.intake, 0).await, [4]);
}

#[tokio::test]
async fn trimming_goes_in_small_steps() {
    let bench = bench_with(Options {
        commit_after: Duration::from_millis(20),
        ..quick()
    });
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    for sequence in 1..=600 {
        let reply_to = ReplyTo::new(answer_tx.clone(), None);
        bench
            .intake
            .report(incoming(report_of(EPOCH, sequence)), reply_to)
            .await
            .unwrap();
    }
    for _ in 1..=600 {
        answers.recv().await.unwrap();
    }
    let mut steps = Vec::new();
    loop {
        let trimmed = bench.intake.trim(551, 0).await.unwrap();
        if trimmed == Trimmed::default() {
            break;
        }
        steps.push(trimmed.records);
    }
    assert_eq!(steps, [256, 256, 38]);
    assert_eq!(sequences(&crashed(&bench).intake, 0).await.len(), 50);
}

#[tokio::test]
async fn an_epoch_long_without_a_report_is_forgotten_with_its_definitions() {
    let bench = bench();
    define(&bench.intake, 1, vec![series("a")]).await;
    submit(&bench.intake, with_samples(report_of(EPOCH, 1), vec![1], NOW)).await;
    // As long as a record may need the definitions they stay.
    assert_eq!(bench.intake.trim(0, NOW + 1).await.unwrap(), Trimmed::default());
    assert_eq!(
        bench.intake.trim(2, NOW + 1).await.unwrap(),
        Trimmed {
            records: 1,
            epochs: 1
        }
    );
    assert_eq!(
        cursor(&bench.intake, EPOCH).await,
        EpochCursor {
            epoch: EPOCH,
            ..EpochCursor::default()
        }
    );
    assert!(
        bench
            .intake
            .definitions(agent(), EPOCH, 1)
            .await
            .unwrap()
            .series
            .is_empty()
    );
}

#[tokio::test]
async fn a_record_damaged_while_in_use_is_told_and_those_around_it_are_read() {
    let bench = bench();
    for sequence in 1..=3 {
        submit(&bench.intake, report_of(EPOCH, sequence)).await;
    }
    let vandal = rusqlite::Connection::open(bench.folder.path().join(FILE_NAME)).unwrap();
    vandal
        .execute("UPDATE record SET payload = x'00112233' WHERE position = 2", [])
        .unwrap();
    drop(vandal);
    bench.intake.release(3);
    assert_eq!(sequences(&bench.intake, 0).await, [1, 0, 3]);
    bench
        .intake
        .set_aside(2, "state", "damaged".to_owned(), NOW)
        .await
        .unwrap();
    assert_eq!(IntakeMetrics::get(&bench.intake.metrics().set_aside), 1);
    // The next opening takes over what is good, and says what is not.
    let again = crashed(&bench);
    assert_eq!(sequences(&again.intake, 0).await, [1, 3, 2]);
    assert_eq!(IntakeMetrics::get(&again.intake.metrics().records_lost), 1);
}

#[tokio::test]
async fn a_commit_that_fails_acknowledges_nothing_and_the_next_one_works() {
    let bench = bench();
    submit(&bench.intake, report_of(EPOCH, 1)).await;
    let vandal = rusqlite::Connection::open(bench.folder.path().join(FILE_NAME)).unwrap();
    let trigger = "CREATE TRIGGER broken BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'broken'); END";
    vandal.execute(trigger, []).unwrap();
    assert_eq!(submit(&bench.intake, report_of(EPOCH, 2)).await, Answer::Failed);
    vandal.execute("DROP TRIGGER broken", []).unwrap();
    assert_eq!(ranges(&bench.intake, EPOCH).await, [(1, 1)]);
    assert_eq!(submit(&bench.intake, report_of(EPOCH, 2)).await, stored(2));
    assert_eq!(sequences(&bench.intake, 0).await, [1, 2]);
    assert_eq!(IntakeMetrics::get(&bench.intake.metrics().commits_failed), 1);
}

#[tokio::test]
async fn closing_commits_what_was_handed_in() {
    let bench = bench_with(Options {
        commit_after: Duration::from_secs(3_600),
        ..quick()
    });
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    bench
        .intake
        .report(
            incoming(report_of(EPOCH, 1)),
            ReplyTo::new(answer_tx.clone(), None),
        )
        .await
        .unwrap();
    bench.intake.close().await;
    assert_eq!(answers.recv().await, Some(stored(1)));
    let late = bench
        .intake
        .report(incoming(report_of(EPOCH, 2)), ReplyTo::new(answer_tx, None))
        .await;
    assert!(matches!(late, Err(IntakeError::Closed)));
    assert_eq!(sequences(&crashed(&bench).intake, 0).await, [1]);
}

#[tokio::test]
async fn a_file_of_a_newer_version_is_refused() {
    let bench = bench();
    bench.intake.close().await;
    let other = rusqlite::Connection::open(bench.folder.path().join(FILE_NAME)).unwrap();
    other.pragma_update(None, "user_version", 99).unwrap();
    other
        .pragma_update(None, "application_id", 0x4d49_4e00 + 99)
        .unwrap();
    let refused = Intake::open(&dir_of(&bench.folder), quick(), WallClock::fixed(NOW));
    assert!(matches!(refused, Err(IntakeError::TooNew { found: 99, .. })));
}

/// Makes every commit fail, and keeps the file from being opened anew; returns what undoes both.
fn break_file(bench: &Bench) -> impl FnOnce() {
    let path = bench.folder.path().join(FILE_NAME);
    let away = bench.folder.path().join("away");
    let vandal = rusqlite::Connection::open(&path).unwrap();
    let trigger = "CREATE TRIGGER broken BEFORE INSERT ON record BEGIN SELECT RAISE(ABORT, 'broken'); END";
    vandal.execute(trigger, []).unwrap();
    std::fs::rename(&path, &away).unwrap();
    std::fs::create_dir(&path).unwrap();
    move || {
        vandal.execute("DROP TRIGGER broken", []).unwrap();
        drop(vandal);
        std::fs::remove_dir(&path).unwrap();
        std::fs::rename(&away, &path).unwrap();
    }
}

#[tokio::test]
async fn while_the_file_cannot_be_opened_anew_nothing_is_taken_and_then_everything_is() {
    let bench = bench();
    submit(&bench.intake, report_of(EPOCH, 1)).await;
    let repair = break_file(&bench);
    assert_eq!(submit(&bench.intake, report_of(EPOCH, 2)).await, Answer::Failed);
    let mut state = bench.intake.inner.state_rx.clone();
    state
        .wait_for(|state| *state == IntakeState::Broken)
        .await
        .unwrap();
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    let reply_to = ReplyTo::new(answer_tx, None);
    let resent = incoming(report_of(EPOCH, 2));
    bench.intake.report(resent, reply_to).await.unwrap();
    // What does not wait is told so.
    assert!(matches!(
        bench.intake.trim(0, 0).await,
        Err(IntakeError::Write(WriteError))
    ));
    assert!(answers.try_recv().is_err());
    repair();
    assert_eq!(answers.recv().await, Some(stored(2)));
    assert_eq!(bench.intake.state(), IntakeState::Taking);
    assert_eq!(sequences(&bench.intake, 0).await, [1, 2]);
}

#[tokio::test]
async fn a_broken_intake_can_be_closed() {
    let bench = bench();
    let repair = break_file(&bench);
    assert_eq!(submit(&bench.intake, report_of(EPOCH, 1)).await, Answer::Failed);
    bench.intake.close().await;
    repair();
}

#[tokio::test]
async fn a_file_that_was_replaced_while_in_use_goes_on_after_the_positions_given() {
    let bench = bench();
    for sequence in 1..=3 {
        submit(&bench.intake, report_of(EPOCH, sequence)).await;
    }
    let repair = break_file(&bench);
    assert_eq!(submit(&bench.intake, report_of(EPOCH, 4)).await, Answer::Failed);
    repair();
    let away = bench.folder.path().join("away");
    for suffix in ["", "-wal", "-shm"] {
        let name = format!("{FILE_NAME}{suffix}");
        let _ = std::fs::rename(bench.folder.path().join(name), &away);
    }
    assert_eq!(submit(&bench.intake, report_of(EPOCH, 4)).await, stored(4));
    assert_eq!(*bench.intake.committed().borrow(), 4);
    // Those before are in memory still, for consumers that have not had them.
    assert_eq!(sequences(&bench.intake, 0).await, [1, 2, 3, 4]);
    bench.intake.release(4);
    assert_eq!(sequences(&bench.intake, 0).await, [4]);
}

#[tokio::test]
async fn positions_go_on_after_those_that_consumers_have_passed() {
    let bench = bench();
    bench.intake.begin_after(31).await.unwrap();
    assert_eq!(*bench.intake.committed().borrow(), 31);
    submit(&bench.intake, report_of(EPOCH, 1)).await;
    assert_eq!(*bench.intake.committed().borrow(), 32);
    bench.intake.begin_after(7).await.unwrap();
    submit(&bench.intake, report_of(EPOCH, 2)).await;
    assert_eq!(*crashed(&bench).intake.committed().borrow(), 33);
    assert_eq!(sequences(&bench.intake, 31).await, [1, 2]);
}

#[tokio::test]
async fn an_epoch_that_a_report_of_the_same_commit_continues_is_not_forgotten() {
    let bench = bench_with(Options {
        commit_after: Duration::from_millis(100),
        ..quick()
    });
    let (answer_tx, mut answers) = mpsc::unbounded_channel();
    let mut old = incoming(report_of(EPOCH, 1));
    old.received_ms = 1_000;
    let reply_to = ReplyTo::new(answer_tx.clone(), None);
    bench.intake.report(old, reply_to).await.unwrap();
    assert_eq!(answers.recv().await, Some(stored(1)));
    let reply_to = ReplyTo::new(answer_tx, None);
    let new = incoming(report_of(EPOCH, 2));
    bench.intake.report(new, reply_to).await.unwrap();
    // Record 1 goes, so that nothing but this report speaks for the epoch.
    bench.intake.trim(2, NOW).await.unwrap();
    assert_eq!(answers.recv().await, Some(stored(2)));
    assert_eq!(ranges(&bench.intake, EPOCH).await, [(1, 2)]);
    assert_eq!(ranges(&crashed(&bench).intake, EPOCH).await, [(1, 2)]);
}
