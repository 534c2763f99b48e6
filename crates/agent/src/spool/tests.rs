//! Damage, failing disks, limits, and a model over random operations.

use std::collections::BTreeSet;

use muster_model::{Labels, MetricType, ResourceKey};
use nix::errno::Errno;
use proptest::prelude::*;

use super::memory::Memory;
use super::*;

const DIR: &str = "/spool";
const EPOCH: u64 = 0xe1;
const AGENT: AgentId = AgentId(uuid::Uuid::from_u128(7));

fn options() -> Options {
    Options {
        segment_bytes: 16 * 1024,
        size_bytes_max: 80 * 1024,
        lane_bytes: 32 * 1024,
        ..Options::default()
    }
}

fn clock() -> Clock {
    Clock {
        wall_ms: 1_700_000_000_000,
        boottime_ms: 5_000,
        boot_id: "boot-a".to_owned(),
    }
}

fn open(files: &Memory, epoch: u64) -> (Spool, Vec<Past>) {
    let files = Arc::new(files.clone());
    Spool::open(files, Utf8Path::new(DIR), options(), AGENT, epoch, &clock()).unwrap()
}

fn series(id: u32) -> Arc<SeriesDef> {
    Arc::new(SeriesDef {
        name: format!("metric_{id}").into(),
        labels: Labels::of(&[("device", "sda")]),
        metric_type: MetricType::Gauge,
        unit: "".into(),
        collector: "test".into(),
        resource_key: ResourceKey::server(),
        interval_ms: 15_000,
    })
}

fn define(first: u32, last: u32) -> Vec<Arc<SeriesDef>> {
    (first..=last).map(series).collect()
}

/// A message that says which one it is and does not compress to nothing.
fn message(sequence: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(sequence);
    (0..200).map(|_| random.u8(..)).collect()
}

fn record(sequence: u64) -> Record {
    Record {
        sequence,
        // Grows within the file, so that definitions stand between the records.
        definitions: u32::try_from(sequence / 8 + 1).unwrap(),
        sample_count: 3,
        wall_ms: clock().wall_ms,
        boottime_ms: clock().boottime_ms,
        is_urgent: false,
        message: message(sequence).into(),
    }
}

fn keep(spool: &mut Spool, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        spool.append(&record(sequence), &define).unwrap();
    }
    spool.sync().unwrap();
}

fn held(past: &[Past]) -> BTreeSet<u64> {
    let reports = past.iter().flat_map(|past| &past.reports);
    reports.map(|report| report.sequence).collect()
}

fn lost(past: &[Past]) -> BTreeSet<u64> {
    let gaps = past.iter().flat_map(|past| &past.lost);
    gaps.flat_map(|gap| gap.range.first..=gap.range.last).collect()
}

fn all(last: u64) -> BTreeSet<u64> {
    (1..=last).collect()
}

/// One that is alert-relevant.
fn urgent(sequence: u64) -> Record {
    Record {
        definitions: 0,
        is_urgent: true,
        ..record(sequence)
    }
}

/// 32 records in a segment of either lane, every fifth urgent, three of them settled.
fn filled() -> Memory {
    let files = Memory::default();
    let (mut spool, past) = open(&files, EPOCH);
    assert!(past.is_empty());
    spool.prepare().unwrap();
    for sequence in 1..=32 {
        let record = if sequence % 5 == 0 {
            urgent(sequence)
        } else {
            record(sequence)
        };
        spool.append(&record, &define).unwrap();
        if sequence % 16 == 0 {
            spool.sync().unwrap();
        }
    }
    spool.settle(EPOCH, &[1, 2, 9]);
    spool.clean().unwrap();
    files
}

fn segment(files: &Memory) -> Utf8PathBuf {
    let (path, _) = files
        .names()
        .into_iter()
        .find(|(path, _)| path.extension() == Some("seg"))
        .unwrap();
    path
}

/// What is held can be read and is what was written, with every definition it needs.
fn assert_readable(files: &Memory) -> Vec<Past> {
    let (mut spool, past) = open(files, EPOCH + 1);
    for one in &past {
        for (id, definition) in (1..).zip(&one.definitions) {
            assert_eq!(*definition, series(id));
        }
        for report in &one.reports {
            assert!(report.definitions as usize <= one.definitions.len());
            assert_eq!(
                spool.read(one.epoch, report.sequence),
                Some(message(report.sequence))
            );
        }
    }
    past
}

#[test]
fn what_was_synced_is_there_after_a_death_without_goodbye() {
    let files = filled();
    let past = assert_readable(&files);
    assert_eq!(past[0].epoch, EPOCH);
    assert_eq!(past[0].definitions.len(), 5);
    assert_eq!(held(&past).len(), 29);
    assert!(lost(&past).is_empty());
    assert!(!held(&past).contains(&9), "what is settled is not offered again");
}

/// Files by what they are for.
fn kind(path: &Utf8Path) -> &str {
    match path.extension() {
        Some("seg") => "segment",
        _ => path.file_name().unwrap(),
    }
}

const SETTLED: [u64; 3] = [1, 2, 9];

/// Everything is held, counted as lost or settled, each exactly once; returns how many are held and lost.
fn assert_accounted(past: &[Past], what: &str) -> (usize, usize) {
    let (held, lost) = (held(past), lost(past));
    assert!(held.is_disjoint(&lost), "{what}");
    let counted: u64 = past
        .iter()
        .flat_map(|past| &past.lost)
        .map(|gap| gap.range.last - gap.range.first + 1)
        .sum();
    assert_eq!(counted, lost.len() as u64, "{what}: a loss is counted twice");
    let known: BTreeSet<u64> = held.union(&lost).copied().chain(SETTLED).collect();
    assert_eq!(known, all(32), "{what}");
    (held.len(), lost.len())
}

/// D6
#[test]
fn a_file_cut_at_any_byte_loses_what_was_cut_and_counts_it() {
    let files = filled();
    let mut cuts = 0;
    for (path, _) in files.names() {
        let kind = kind(&path);
        let bytes = files.read(&path).unwrap();
        // Behind the last record there is nothing to lose.
        let used = bytes
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1);
        let mut before = None;
        for length in 0..=used {
            let cut = files.copy();
            cut.change(&path, |bytes| bytes.truncate(length));
            let (_, past) = open(&cut, EPOCH + 1);
            let (held, lost) = assert_accounted(&past, &format!("{path} cut at {length}"));
            if kind != "segment" {
                assert_eq!(lost, 0, "{path} cut at {length}");
                continue;
            }
            // Where the cut ends on a record, no other record is lost with it.
            let before = before.replace(held).unwrap_or(held);
            assert!(before <= held && held <= before + 1, "{path} cut at {length}");
            cuts += 1;
        }
    }
    assert!(8_000 < cuts, "{cuts}");
    println!("{cuts} cuts of segments");
}

/// D6
#[test]
fn flipped_bits_lose_at_most_one_record_each_and_count_it() {
    let rounds = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        10_000
    } else {
        2_500
    };
    let files = filled();
    let names = files.names();
    let mut random = fastrand::Rng::with_seed(42);
    let (mut losses, mut kinds) = (0, BTreeSet::new());
    for round in 0..rounds {
        let damaged = files.copy();
        let (name, length) = &names[round % names.len()];
        // Most of a segment is empty yet: the flips go where the records are.
        let at = random.usize(..(*length).min(10_000));
        let bit = random.u32(..8);
        damaged.change(name, |bytes| bytes[at] ^= 1 << bit);
        let what = format!("bit {bit} of byte {at} of {name}");
        let (_, lost) = assert_accounted(&assert_readable(&damaged), &what);
        assert!(lost <= 1, "{what}");
        losses += lost;
        kinds.insert(kind(name).to_owned());
    }
    for kind in ["segment", "dictionary", "cursor", "mark"] {
        assert!(kinds.contains(kind), "{kind} was not damaged");
    }
    assert!(rounds / 50 < losses, "the damage hit records: {losses}");
    println!("{rounds} flipped bits, {losses} records lost and counted");
}

/// D6
#[test]
fn a_zeroed_or_missing_file_is_survived_and_what_it_held_is_counted() {
    let files = filled();
    for (path, _) in files.names() {
        for is_missing in [false, true] {
            let damaged = files.copy();
            if is_missing {
                damaged.remove(&path).unwrap();
            } else {
                damaged.change(&path, |bytes| bytes.fill(0));
            }
            let what = format!("{path} missing: {is_missing}");
            let (held, lost) = assert_accounted(&assert_readable(&damaged), &what);
            match kind(&path) {
                "segment" => assert!(0 < lost && 0 < held, "{what}"),
                _ => assert_eq!(lost, 0, "{what}"),
            }
        }
    }
}

#[test]
fn definitions_are_whole_from_either_copy_alone() {
    let files = filled();
    let dictionary = files
        .names()
        .into_iter()
        .find(|(path, _)| path.ends_with("dictionary"));
    let without = files.copy();
    without.remove(&dictionary.unwrap().0).unwrap();
    assert_eq!(held(&assert_readable(&without)).len(), 29);

    // Without the definitions of the segment: each of their records damaged.
    let path = segment(&files);
    let id = FileId {
        agent: AGENT,
        epoch: EPOCH,
        segment: path.file_stem().unwrap().parse().unwrap(),
    };
    let bytes = files.read(&path).unwrap();
    for found in format::scan(id, &bytes, format::HEADER_BYTES) {
        if found.head.kind == format::Kind::Definitions {
            files.change(&path, |bytes| bytes[found.offset + 70] ^= 1);
        }
    }
    assert_eq!(held(&assert_readable(&files)).len(), 29);
}

#[test]
fn a_missing_or_swapped_file_is_a_counted_loss_and_no_crash() {
    let files = Memory::default();
    let (mut spool, _) = open(&files, EPOCH);
    keep(&mut spool, 1..=120);
    let segments: Vec<Utf8PathBuf> = files
        .names()
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.extension() == Some("seg"))
        .collect();
    assert!(3 <= segments.len());
    for path in &segments {
        let without = files.copy();
        without.remove(path).unwrap();
        let past = assert_readable(&without);
        assert!(!lost(&past).is_empty());
        assert_eq!(held(&past).len() + lost(&past).len(), 120);
    }
    files.swap(&segments[0], &segments[1]);
    let past = assert_readable(&files);
    assert_eq!((held(&past).len(), lost(&past).len()), (120, 0));
}

#[test]
fn what_a_failing_disk_took_is_not_kept_and_the_next_file_takes_it() {
    for errno in [Errno::EIO, Errno::ENOSPC] {
        let files = Memory::default();
        let (mut spool, _) = open(&files, EPOCH);
        keep(&mut spool, 1..=3);
        spool.append(&record(4), &define).unwrap();
        files.set(|faults| faults.sync = Some(errno));
        assert!(spool.sync().is_err());
        files.set(|faults| faults.sync = None);
        // No second sync makes a failed one good.
        assert_eq!(spool.sync().unwrap(), Vec::<u64>::new());

        files.set(|faults| faults.write = Some(errno));
        assert!(spool.append(&record(4), &define).is_err());
        files.set(|faults| faults.write = None);
        files.set(|faults| faults.create = Some(errno));
        assert!(spool.append(&record(4), &define).is_err());
        files.set(|faults| faults.create = None);

        for sequence in 4..=10 {
            spool.append(&record(sequence), &define).unwrap();
        }
        assert_eq!(spool.sync().unwrap(), (4..=10).collect::<Vec<_>>());
        let past = assert_readable(&files);
        assert_eq!(held(&past), all(10));
        assert!(lost(&past).is_empty());
    }
}

#[test]
fn a_report_that_cannot_be_read_any_more_is_lost_and_stays_lost() {
    let files = filled();
    let (mut spool, _) = open(&files, EPOCH + 1);
    files.set(|faults| faults.read = Some(Errno::EIO));
    assert_eq!(spool.read(EPOCH, 20), None);
    files.set(|faults| faults.read = None);
    spool.clean().unwrap();
    let (_, past) = open(&files, EPOCH + 2);
    assert_eq!(lost(&past), BTreeSet::from([20]));
    assert_eq!(past[0].lost[0].reason, GapReason::Damaged);
    assert_eq!(past[0].lost[0].sample_count, Some(3));
}

#[test]
fn a_full_spool_drops_its_oldest_segment_and_counts_it() {
    let files = Memory::default();
    let (mut spool, _) = open(&files, EPOCH);
    let mut sequence = 0;
    while !matches!(
        spool.append(&record(sequence + 1), &define),
        Err(SpoolError::Full)
    ) {
        sequence += 1;
        spool.sync().unwrap();
    }
    assert!(spool.size_bytes() <= options().size_bytes_max);
    let dropped = spool.drop_oldest(false).unwrap().unwrap();
    assert_eq!(dropped.epoch, EPOCH);
    assert_eq!(dropped.sequences[0], 1);
    keep(&mut spool, sequence + 1..=sequence + 1);
    let past = assert_readable(&files);
    assert_eq!(lost(&past), dropped.sequences.iter().copied().collect());
    assert_eq!(past[0].lost[0].reason, GapReason::BufferFull);
    assert_eq!(
        past[0].lost[0].sample_count,
        Some(3 * dropped.sequences.len() as u64)
    );
    assert_eq!(
        held(&past).len() + dropped.sequences.len(),
        usize::try_from(sequence + 1).unwrap()
    );
}

#[test]
fn a_file_system_that_is_nearly_full_is_left_alone() {
    let files = Memory::default();
    let (mut spool, _) = open(&files, EPOCH);
    files.set(|faults| faults.free_bytes = Some((1 << 40) / 25));
    assert!(matches!(spool.append(&record(1), &define), Err(SpoolError::Full)));
    assert_eq!(spool.drop_oldest(false).unwrap(), None);
    files.set(|faults| faults.free_bytes = None);
    keep(&mut spool, 1..=1);
}

/// D7
#[test]
fn urgent_reports_are_kept_when_nothing_else_is_and_survive_the_next_start() {
    let files = Memory::default();
    let (mut spool, _) = open(&files, EPOCH);
    spool.prepare().unwrap();
    files.set(|faults| {
        faults.free_bytes = Some(0);
        faults.create = Some(Errno::ENOSPC);
    });
    assert!(spool.append(&record(1), &define).is_err());
    let mut count = 0;
    // Random bytes: each takes 64 for its head and 200, rounded up.
    while count < 80 {
        count += 1;
        spool.append(&urgent(count), &define).unwrap();
        assert_eq!(spool.sync().unwrap(), [count]);
    }
    let past = assert_readable(&files);
    assert_eq!(held(&past), all(80));
    assert!(lost(&past).is_empty());
}

#[test]
fn a_full_urgent_lane_drops_its_oldest_and_never_grows() {
    let files = Memory::default();
    let (mut spool, _) = open(&files, EPOCH);
    spool.prepare().unwrap();
    let size_bytes = spool.size_bytes();
    files.set(|faults| faults.create = Some(Errno::ENOSPC));
    let mut dropped = BTreeSet::new();
    for sequence in 1..=300 {
        while let Err(error) = spool.append(&urgent(sequence), &define) {
            assert!(matches!(error, SpoolError::Full), "{error}");
            dropped.extend(spool.drop_oldest(true).unwrap().unwrap().sequences);
        }
        spool.sync().unwrap();
    }
    files.set(|faults| faults.create = None);
    assert_eq!(spool.size_bytes(), size_bytes);
    assert!(!dropped.is_empty());
    let past = assert_readable(&files);
    assert_eq!(held(&past).len() + dropped.len(), 300);
}

#[test]
fn the_room_of_urgent_reports_is_handed_on_from_start_to_start() {
    let files = Memory::default();
    for epoch in 1..=6 {
        let (mut spool, _) = open(&files, epoch);
        spool.prepare().unwrap();
        spool.append(&urgent(1), &define).unwrap();
        spool.sync().unwrap();
        spool.settle(epoch, &[1]);
        for past in 1..epoch {
            spool.forget(past);
        }
        // Half of the starts die before they can settle anything.
        if epoch % 2 == 0 {
            spool.clean().unwrap();
        }
        let lane = |(path, _): &(Utf8PathBuf, usize)| {
            path.as_str().contains("spare-") || path.file_name().unwrap().starts_with("21474")
        };
        assert_eq!(
            files.names().iter().filter(|file| lane(file)).count(),
            reserve::SEGMENTS
        );
    }
}

#[test]
fn reports_are_dropped_for_age_by_the_boot_clock_within_a_boot() {
    let files = filled();
    let (mut spool, _) = open(&files, EPOCH + 1);
    let age_ms = options().age_ms_max;
    let wall_jumped = Clock {
        wall_ms: clock().wall_ms + 10 * age_ms,
        ..clock()
    };
    assert_eq!(spool.drop_aged(&wall_jumped).unwrap(), None);
    let later = Clock {
        boottime_ms: clock().boottime_ms + age_ms + 1,
        ..clock()
    };
    let mut count = 0;
    for _lane in 0..2 {
        let dropped = spool.drop_aged(&later).unwrap().unwrap();
        assert_eq!(dropped.epoch, EPOCH);
        count += dropped.sequences.len();
    }
    assert_eq!(count, 29);
    assert_eq!(spool.drop_aged(&later).unwrap(), None);
}

#[test]
fn an_epoch_that_was_delivered_leaves_nothing() {
    let files = filled();
    let (mut spool, past) = open(&files, EPOCH + 1);
    spool.settle(EPOCH, &held(&past).into_iter().collect::<Vec<_>>());
    spool.clean().unwrap();
    spool.forget(EPOCH);
    let left: Vec<_> = files.names();
    assert!(
        left.iter().all(|(path, _)| path.as_str().contains("spare-")),
        "{left:?}"
    );
}

#[test]
fn what_another_identity_kept_is_not_sent() {
    let files = filled();
    let other = AgentId(uuid::Uuid::from_u128(8));
    let opened = Spool::open(
        Arc::new(files),
        Utf8Path::new(DIR),
        options(),
        other,
        EPOCH + 1,
        &clock(),
    );
    assert!(opened.unwrap().1.is_empty());
}

#[test]
fn more_epochs_than_a_controller_hears_of_cost_the_oldest() {
    let files = Memory::default();
    for epoch in 1..=EPOCHS_MAX as u64 + 2 {
        let (mut spool, _) = open(&files, epoch);
        // A larger bound, since here it is epochs that run out.
        spool.options.size_bytes_max = u64::MAX;
        keep(&mut spool, 1..=2);
    }
    let (_, past) = open(&files, 1_000);
    assert_eq!(
        past.iter().filter(|past| !past.reports.is_empty()).count(),
        EPOCHS_MAX
    );
    assert_eq!(past[0].epoch, 1);
    assert_eq!(lost(&past[..1]), all(2));
}

#[derive(Debug, Clone)]
enum Step {
    Append,
    Sync,
    Settle(usize),
    Clean,
    Drop,
    FailSync,
    FailWrite,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Append),
        4 => Just(Step::Sync),
        3 => any::<usize>().prop_map(Step::Settle),
        1 => Just(Step::Clean),
        1 => Just(Step::Drop),
        1 => Just(Step::FailSync),
        1 => Just(Step::FailWrite),
        1 => Just(Step::Restart),
    ]
}

/// What must be there: `(epoch, sequence)`.
#[derive(Debug, Default)]
struct Model {
    kept: BTreeSet<(u64, u64)>,
    dropped: BTreeSet<(u64, u64)>,
    appended: BTreeSet<(u64, u64)>,
    /// A write that failed half-way may leave a head, and its report is lost with the process.
    tried: BTreeSet<(u64, u64)>,
}

impl Model {
    fn check(&self, past: &[Past]) {
        let pairs = |past: &Past, set: BTreeSet<u64>| -> Vec<(u64, u64)> {
            set.into_iter().map(|sequence| (past.epoch, sequence)).collect()
        };
        let found: BTreeSet<_> = past
            .iter()
            .flat_map(|one| pairs(one, held(std::slice::from_ref(one))))
            .collect();
        let missing: BTreeSet<_> = past
            .iter()
            .flat_map(|one| pairs(one, lost(std::slice::from_ref(one))))
            .collect();
        assert!(self.kept.is_subset(&found), "{:?} not in {found:?}", self.kept);
        assert!(found.is_subset(&self.appended));
        assert!(missing.is_disjoint(&self.kept), "{missing:?} was kept");
        assert!(
            missing
                .iter()
                .all(|one| self.dropped.contains(one) || self.tried.contains(one)),
            "{missing:?} was never here"
        );
        assert!(found.is_disjoint(&self.dropped));
    }
}

proptest! {
    #[test]
    fn nothing_that_was_kept_goes_unless_it_was_settled_or_dropped(steps in prop::collection::vec(step(), 1..120)) {
        let files = Memory::default();
        let (mut epoch, mut sequence, mut waiting) = (1, 0, 0);
        let (mut spool, _) = open(&files, epoch);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Append => {
                    let next = sequence + waiting + 1;
                    model.tried.insert((epoch, next));
                    if spool.append(&record(next), &define).is_ok() {
                        waiting += 1;
                        model.appended.insert((epoch, next));
                    }
                }
                Step::Sync => {
                    if let Ok(synced) = spool.sync() {
                        model.kept.extend(synced.iter().map(|sequence| (epoch, *sequence)));
                        sequence = synced.last().copied().unwrap_or(sequence);
                        waiting = 0;
                    }
                }
                Step::Settle(index) => {
                    if !model.kept.is_empty() {
                        let (settled_epoch, settled) = *model.kept.iter().nth(index % model.kept.len()).unwrap();
                        spool.settle(settled_epoch, &[settled]);
                        model.kept.remove(&(settled_epoch, settled));
                    }
                }
                Step::Clean => spool.clean().unwrap(),
                Step::Drop => {
                    if let Some(dropped) = spool.drop_oldest(false).unwrap() {
                        for sequence in dropped.sequences {
                            model.kept.remove(&(dropped.epoch, sequence));
                            model.dropped.insert((dropped.epoch, sequence));
                        }
                    }
                }
                Step::FailSync if 0 < waiting => {
                    files.set(|faults| faults.sync = Some(Errno::EIO));
                    if spool.sync().is_err() {
                        waiting = 0;
                    }
                    files.set(|faults| faults.sync = None);
                    let synced = spool.sync().unwrap();
                    model.kept.extend(synced.iter().map(|sequence| (epoch, *sequence)));
                    sequence = synced.last().copied().unwrap_or(sequence);
                }
                Step::FailWrite => {
                    files.set(|faults| faults.write = Some(Errno::ENOSPC));
                    model.tried.insert((epoch, sequence + waiting + 1));
                    let failed = spool.append(&record(sequence + waiting + 1), &define);
                    files.set(|faults| faults.write = None);
                    if let Err(SpoolError::Write { .. }) = failed {
                        waiting = 0;
                        let synced = spool.sync().unwrap();
                        model.kept.extend(synced.iter().map(|sequence| (epoch, *sequence)));
                        sequence = synced.last().copied().unwrap_or(sequence);
                    }
                }
                Step::FailSync => {}
                Step::Restart => {
                    epoch += 1;
                    let (reopened, past) = open(&files, epoch);
                    model.check(&past);
                    (spool, sequence, waiting) = (reopened, 0, 0);
                }
            }
        }
        model.check(&open(&files, epoch + 1).1);
    }
}
