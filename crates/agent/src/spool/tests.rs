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
        size_bytes_max: 64 * 1024,
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
        name: format!("metric_{id}"),
        labels: Labels::of(&[("device", "sda")]),
        metric_type: MetricType::Gauge,
        unit: String::new(),
        collector: "test".to_owned(),
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

/// 32 records in one segment, three of them settled.
fn filled() -> Memory {
    let files = Memory::default();
    let (mut spool, past) = open(&files, EPOCH);
    assert!(past.is_empty());
    keep(&mut spool, 1..=16);
    keep(&mut spool, 17..=32);
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

#[test]
fn a_segment_cut_at_any_byte_loses_what_was_cut_and_says_so() {
    let files = filled();
    let path = segment(&files);
    let whole = files.names().iter().find(|(name, _)| *name == path).unwrap().1;
    let settled: BTreeSet<u64> = [1, 2, 9].into();
    let mut before = BTreeSet::new();
    for length in 0..=whole {
        let cut = files.copy();
        cut.change(&path, |bytes| bytes.truncate(length));
        let (_, past) = open(&cut, EPOCH + 1);
        let (held, lost) = (held(&past), lost(&past));
        assert!(held.is_disjoint(&lost), "cut at {length}");
        let known: BTreeSet<u64> = held.union(&lost).copied().chain(settled.clone()).collect();
        assert_eq!(known, all(32), "cut at {length}");
        assert!(before.is_subset(&held), "cut at {length}");
        // Where the cut ends on a record, no other record is lost with it.
        assert!(held.len() <= before.len() + 2, "cut at {length}");
        before = held;
    }
    assert_eq!(before.len(), 29);
}

#[test]
fn ten_thousand_flipped_bits_lose_at_most_one_record_each_and_say_so() {
    let files = filled();
    let names = files.names();
    let total: usize = names.iter().map(|(_, length)| length).sum();
    let mut random = fastrand::Rng::with_seed(42);
    let settled: BTreeSet<u64> = [1, 2, 9].into();
    let mut losses = 0;
    for round in 0..10_000 {
        let damaged = files.copy();
        // Most of a segment is empty yet: half of the flips go where the records are.
        let mut at = random.usize(..total);
        let path = segment(&files);
        let (name, at) = if round % 2 == 0 {
            (path, random.usize(..10_000))
        } else {
            let hit = names.iter().find(|(_, length)| {
                let is_here = at < *length;
                if !is_here {
                    at -= length;
                }
                is_here
            });
            (hit.unwrap().0.clone(), at)
        };
        let bit = random.u32(..8);
        damaged.change(&name, |bytes| bytes[at] ^= 1 << bit);
        let past = assert_readable(&damaged);
        let (held, lost) = (held(&past), lost(&past));
        assert!(lost.len() <= 1, "bit {bit} of byte {at} of {name}: {lost:?}");
        let known: BTreeSet<u64> = held.union(&lost).copied().chain(settled.clone()).collect();
        assert_eq!(known, all(32), "bit {bit} of byte {at} of {name}");
        losses += lost.len();
    }
    assert!(1_000 < losses, "the damage hit records: {losses}");
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
    let id = FileId {
        agent: AGENT,
        epoch: EPOCH,
        segment: 1,
    };
    let path = segment(&files);
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
    let dropped = spool.drop_oldest().unwrap().unwrap();
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
    assert_eq!(spool.drop_oldest().unwrap(), None);
    files.set(|faults| faults.free_bytes = None);
    keep(&mut spool, 1..=1);
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
    let dropped = spool.drop_aged(&later).unwrap().unwrap();
    assert_eq!((dropped.epoch, dropped.sequences.len()), (EPOCH, 29));
    assert_eq!(spool.drop_aged(&later).unwrap(), None);
}

#[test]
fn an_epoch_that_was_delivered_leaves_nothing() {
    let files = filled();
    let (mut spool, past) = open(&files, EPOCH + 1);
    spool.settle(EPOCH, &held(&past).into_iter().collect::<Vec<_>>());
    spool.clean().unwrap();
    spool.forget(EPOCH);
    assert!(files.names().is_empty(), "{:?}", files.names());
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
                    if let Some(dropped) = spool.drop_oldest().unwrap() {
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
