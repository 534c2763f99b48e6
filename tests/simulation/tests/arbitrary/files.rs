//! Files that were changed while nobody looked: the spool, the intake and the sample store open and read them.

use std::path::Path;
use std::sync::Arc;

use camino::{Utf8Path, Utf8PathBuf};
use muster_agent::spool::{self, Disk, Record, Spool};
use muster_base::clock::WallClock;
use muster_base::id::{AgentId, ServerId};
use muster_controller::app::ingest::{Ingest, Limits, Placement, Source};
use muster_controller::intake::{Intake, Options, ReplyTo};
use muster_model::{Clock, Labels, MetricType, Report, ResourceKey, SampleBlock, SeriesDef};
use muster_proto::framing;

use crate::fuzz;
use crate::mutate::Corpus;

const AGENT: AgentId = AgentId(uuid::Uuid::from_u128(5));

fn clock() -> Clock {
    Clock {
        wall_ms: 1_800_000_000_000,
        boottime_ms: 5_000,
        boot_id: "5f1c2e10".to_owned(),
    }
}

fn series(id: u32) -> SeriesDef {
    SeriesDef {
        name: format!("metric_{id}").into(),
        labels: Labels::of(&[("device", "sda")]),
        metric_type: MetricType::Gauge,
        unit: "".into(),
        collector: "test".into(),
        resource_key: ResourceKey::server(),
        interval_ms: 15_000,
    }
}

fn report(sequence: u64) -> Report {
    let mut report = Report::empty(7, sequence, clock());
    let block = SampleBlock::new(vec![clock().wall_ms], vec![1], vec![sequence as f64]).unwrap();
    report.blocks.push(block);
    report
}

fn utf8(path: &Path) -> &Utf8Path {
    Utf8Path::from_path(path).unwrap()
}

/// Every file below a folder, by its path there.
fn files_of(dir: &Utf8Path) -> Vec<(Utf8PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir_utf8().unwrap() {
            let path = entry.unwrap().into_path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                found.push((path.strip_prefix(dir).unwrap().to_owned(), bytes));
            }
        }
    }
    found.sort();
    found
}

fn write_all(dir: &Utf8Path, files: &[(Utf8PathBuf, Vec<u8>)]) {
    for (path, bytes) in files {
        let path = dir.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Feeds each file of `files`, changed, to `open`, with the others as they are.
fn fuzz_files(name: &str, files: &[(Utf8PathBuf, Vec<u8>)], weight: u64, open: impl Fn(&Utf8Path)) {
    for (index, (path, bytes)) in files.iter().enumerate() {
        let corpus = Corpus::of([bytes.clone()]);
        fuzz(&format!("{name} {path}"), &corpus, weight, |bytes| {
            let dir = tempfile::tempdir_in(memory()).unwrap();
            let dir = utf8(dir.path());
            let mut changed = files.to_vec();
            changed[index].1 = bytes.to_vec();
            write_all(dir, &changed);
            open(dir);
        });
    }
}

fn memory() -> std::path::PathBuf {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        return shared.to_owned();
    }
    std::env::temp_dir()
}

fn open_spool(dir: &Utf8Path, epoch: u64) -> (Spool, Vec<spool::Past>) {
    let options = spool::Options {
        segment_bytes: 8 * 1024,
        ..spool::Options::default()
    };
    Spool::open(Arc::new(Disk), dir, options, AGENT, epoch, &clock()).unwrap()
}

/// D6, S15
#[test]
fn no_file_of_the_spool_keeps_the_agent_from_starting() {
    let dir = tempfile::tempdir_in(memory()).unwrap();
    let (mut spool, _) = open_spool(utf8(dir.path()), 7);
    let define = |first, last| (first..=last).map(|id| Arc::new(series(id))).collect();
    for sequence in 1..=12 {
        let record = Record {
            is_urgent: false,
            sequence,
            definitions: 1,
            sample_count: 1,
            wall_ms: clock().wall_ms,
            boottime_ms: clock().boottime_ms,
            message: framing::report_message(report(sequence)).into(),
        };
        spool.append(&record, &define).unwrap();
    }
    spool.sync().unwrap();
    spool.settle(7, &[1, 2]);
    spool.clean().unwrap();
    let files = files_of(utf8(dir.path()));
    assert!(4 <= files.len(), "{files:?}");
    fuzz_files("spool", &files, 5, |dir| {
        let (mut spool, past) = open_spool(dir, 8);
        for past in past {
            let held: Vec<u64> = past.reports.iter().map(|report| report.sequence).collect();
            assert!(held.iter().all(|number| (1..=12).contains(number)), "{held:?}");
            for report in &past.reports {
                if let Some(message) = spool.read(past.epoch, report.sequence) {
                    assert_eq!(message, framing::report_message(self::report(report.sequence)));
                }
            }
        }
        spool.clean().unwrap();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

fn open_intake(dir: &Utf8Path) -> Option<Intake> {
    let options = Options {
        commit_after: std::time::Duration::ZERO,
        space: Arc::new(|_| None),
        ..Options::default()
    };
    Intake::open(dir, options, WallClock::fixed(clock().wall_ms)).ok()
}

async fn hand_in(intake: &Intake, sequence: u64) {
    let ingest = Ingest::new(
        intake.clone(),
        WallClock::fixed(clock().wall_ms),
        Limits::default(),
    );
    let source = Source {
        agent: AGENT,
        server: ServerId(1),
    };
    let (answer_tx, mut answers) = tokio::sync::mpsc::unbounded_channel();
    let definitions = framing::definitions_message(7, 1, vec![series(1)]);
    let reply_to = ReplyTo::new(answer_tx.clone(), None);
    ingest
        .definitions(source, 7, 1, 1, definitions, reply_to)
        .await
        .unwrap();
    let (report, plain) = (report(sequence), framing::report_message(report(sequence)));
    let reply_to = ReplyTo::new(answer_tx, None);
    ingest
        .report(source, report, plain, Placement::AS_SENT, reply_to)
        .await
        .unwrap();
    answers.recv().await.unwrap();
    answers.recv().await.unwrap();
}

/// O5, S15
#[test]
fn no_file_of_the_intake_makes_the_controller_panic() {
    let dir = tempfile::tempdir_in(memory()).unwrap();
    let runtime = runtime();
    runtime.block_on(async {
        let intake = open_intake(utf8(dir.path())).unwrap();
        for sequence in 1..=8 {
            hand_in(&intake, sequence).await;
        }
        intake.close().await;
    });
    let files = files_of(utf8(dir.path()));
    fuzz_files("intake", &files, 10, |dir| {
        runtime.block_on(async {
            // That it can't be used is an error, said at the start; what was read is what was stored.
            let Some(intake) = open_intake(dir) else { return };
            if let Ok(page) = intake.page_after(0, 100, 1 << 20).await {
                for record in page.records {
                    if let muster_controller::intake::Record::Good(accepted) = record {
                        let _ = accepted.report.sample_count();
                    }
                }
            }
            let _ = intake.definitions(AGENT, 7, 1).await;
            intake.close().await;
        });
    });
}
