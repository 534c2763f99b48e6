//! Thinning one segment: what it leaves, what damage and crashes do to it.

use std::collections::BTreeMap;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::AgentId;
use muster_model::{Clock, GapReason, Labels, MetricType, Report, ResourceKey, SampleBlock, SeriesDef};
use muster_proto::convert::report_from_wire;
use muster_proto::v1::AgentMessage;
use muster_proto::v1::agent_message::Body;
use nix::errno::Errno;
use prost::Message as _;

use super::*;
use crate::spool::memory::Memory;
use crate::spool::{Files, Options, Past, Record};
use std::sync::Arc;

const DIR: &str = "/spool";
const EPOCH: u64 = 0xe1;
const SERIES: u32 = 40;
const ROWS: i64 = 16;
const REPORTS: u64 = 9;

fn clock() -> Clock {
    Clock {
        wall_ms: 1_700_000_000_000,
        boottime_ms: 5_000,
        boot_id: "boot-a".to_owned(),
    }
}

fn open(files: &Memory, epoch: u64) -> (Spool, Vec<Past>) {
    // One segment fits, and nothing beside it: so there is always need.
    let options = Options {
        segment_bytes: 64 * 1024,
        size_bytes_max: 128 * 1024,
        lane_bytes: 32 * 1024,
        ..Options::default()
    };
    let files = Arc::new(files.clone());
    let agent = AgentId(uuid::Uuid::from_u128(7));
    Spool::open(files, Utf8Path::new(DIR), options, agent, epoch, &clock()).unwrap()
}

fn define(first: u32, last: u32) -> Vec<Arc<SeriesDef>> {
    let series = |id: u32| SeriesDef {
        name: format!("metric_{id}").into(),
        labels: Labels::of(&[("device", "sda")]),
        metric_type: MetricType::Gauge,
        unit: "".into(),
        collector: "test".into(),
        resource_key: ResourceKey::server(),
        interval_ms: 15_000,
    };
    (first..=last).map(|id| Arc::new(series(id))).collect()
}

/// Sixteen ticks of 15 s whose values do not compress.
fn report(sequence: u64) -> Report {
    let mut random = fastrand::Rng::with_seed(sequence);
    let first = i64::try_from(sequence).unwrap() * ROWS;
    let times = (first..first + ROWS).map(|tick| tick * 15_000).collect();
    let values = (0..ROWS * i64::from(SERIES)).map(|_| random.f64()).collect();
    let mut report = Report::empty(EPOCH, sequence, clock());
    let block = SampleBlock::new(times, (1..=SERIES).collect(), values).unwrap();
    report.blocks.push(block);
    report
}

fn record(report: Report, is_urgent: bool) -> Record {
    Record {
        sequence: report.sequence,
        definitions: if report.blocks.is_empty() { 0 } else { SERIES },
        sample_count: u32::try_from(report.sample_count()).unwrap(),
        wall_ms: report.clock.wall_ms,
        boottime_ms: report.clock.boottime_ms,
        is_urgent,
        message: framing::report_message(report).into(),
    }
}

/// Reports 1 to 9 of a former start, and an urgent one after them.
fn filled() -> Memory {
    let files = Memory::default();
    let (mut spool, _) = open(&files, EPOCH);
    spool.prepare().unwrap();
    for sequence in 1..=REPORTS {
        spool.append(&record(report(sequence), false), &define).unwrap();
    }
    let urgent = Report::empty(EPOCH, REPORTS + 1, clock());
    spool.append(&record(urgent, true), &define).unwrap();
    spool.sync().unwrap();
    files
}

/// The segment of the reports that are not urgent.
fn segment(files: &Memory) -> Utf8PathBuf {
    let is_bulk = |path: &Utf8PathBuf| {
        let number = path.file_stem().and_then(|stem| stem.parse().ok());
        path.extension() == Some("seg") && number.is_some_and(|number| !format::is_urgent(number))
    };
    let mut segments = files.names().into_iter().map(|(path, _)| path).filter(is_bulk);
    segments.next().unwrap()
}

fn decoded(plain: &[u8]) -> Report {
    let Some(Body::Report(report)) = AgentMessage::decode(plain).unwrap().body else {
        panic!("no report");
    };
    report_from_wire(report).unwrap()
}

/// Every report of the former start that can be read.
fn all(spool: &mut Spool, past: &[Past]) -> BTreeMap<u64, Report> {
    let numbers: Vec<u64> = past
        .iter()
        .flat_map(|past| past.reports.iter().map(|report| report.sequence))
        .collect();
    let read = numbers.into_iter().filter_map(|sequence| {
        let plain = spool.read(EPOCH, sequence)?;
        Some((sequence, decoded(&plain)))
    });
    read.collect()
}

fn left_out(report: &Report) -> u64 {
    let own = report.gaps.iter().filter(|gap| {
        gap.reason == GapReason::Thinned
            && gap.epoch == report.epoch
            && (gap.range.first, gap.range.last) == (report.sequence, report.sequence)
    });
    own.filter_map(|gap| gap.sample_count).sum()
}

fn thin_once(spool: &mut Spool) -> Option<Thinned> {
    let what = spool.to_thin()?;
    assert_eq!(what.epoch, EPOCH);
    spool.thin(what, &define).unwrap()
}

/// Each report is as it was made, or has fewer samples, all of them its own, and says how many are missing.
fn assert_accounted(found: &BTreeMap<u64, Report>) {
    let numbers: Vec<u64> = found.keys().copied().collect();
    assert_eq!(numbers, (1..=REPORTS + 1).collect::<Vec<_>>());
    for (sequence, found) in found {
        if *sequence == REPORTS + 1 {
            assert_eq!(*found, Report::empty(EPOCH, *sequence, clock()));
            continue;
        }
        let made = report(*sequence);
        assert_eq!(
            found.sample_count() as u64 + left_out(found),
            made.sample_count() as u64
        );
        let rows: Vec<_> = made.blocks.iter().flat_map(SampleBlock::rows).collect();
        for row in found.blocks.iter().flat_map(SampleBlock::rows) {
            assert!(rows.contains(&row), "a row that was never made");
        }
        let unchanged = Report {
            blocks: found.blocks.clone(),
            gaps: found.gaps.clone(),
            ..made
        };
        assert_eq!(*found, unchanged, "nothing else changes");
    }
}

#[test]
fn the_oldest_is_thinned_to_a_minute_and_then_to_ten_and_says_how_much_is_gone() {
    let files = filled();
    let (mut spool, past) = open(&files, 2);
    let whole = all(&mut spool, &past);
    assert_eq!(whole.values().map(left_out).sum::<u64>(), 0);
    let before = spool.size_bytes();
    let first = thin_once(&mut spool).unwrap();
    assert_eq!((first.period_ms, first.reports), (60_000, REPORTS));
    let by_minute = all(&mut spool, &past);
    assert_accounted(&by_minute);
    assert_eq!(by_minute.values().map(left_out).sum::<u64>(), first.samples);
    for report in by_minute.values().filter(|report| !report.blocks.is_empty()) {
        assert_eq!(report.blocks[0].times_ms().len(), 4, "one of four a minute");
    }
    let second = thin_once(&mut spool).unwrap();
    assert_eq!(second.period_ms, 600_000);
    assert!(spool.to_thin().is_none(), "each is tried once for each period");
    let by_ten_minutes = all(&mut spool, &past);
    assert_accounted(&by_ten_minutes);
    let gone = by_ten_minutes.values().map(left_out).sum::<u64>();
    assert_eq!(
        gone,
        first.samples + second.samples,
        "what was told before is told still"
    );
    assert_eq!(
        before - spool.size_bytes(),
        first.freed_bytes + second.freed_bytes
    );
    // 36 minutes: four periods of ten end within them.
    let rows: usize = by_ten_minutes
        .values()
        .flat_map(|report| &report.blocks)
        .map(|block| block.times_ms().len())
        .sum();
    assert!((4..=5).contains(&rows), "{rows} rows");
    drop(spool);

    let (mut spool, past) = open(&files, 3);
    assert_eq!(
        all(&mut spool, &past),
        by_ten_minutes,
        "the next start finds the same"
    );
    assert!(past.iter().all(|past| past.lost.is_empty()));
}

#[test]
fn what_is_thinned_is_read_with_its_own_definitions_alone() {
    let files = filled();
    let (mut spool, past) = open(&files, 2);
    thin_once(&mut spool).unwrap();
    let thinned = all(&mut spool, &past);
    drop(spool);
    let dictionaries = files.names().into_iter().map(|(path, _)| path);
    for path in dictionaries.filter(|path| path.as_str().ends_with("dictionary")) {
        files.change(&path, Vec::clear);
    }
    let (mut spool, past) = open(&files, 3);
    assert_eq!(past[0].definitions, define(1, SERIES));
    assert_eq!(all(&mut spool, &past), thinned);
}

#[test]
fn a_crash_at_any_step_leaves_the_old_segment_or_the_new_one() {
    let files = filled();
    let expected = {
        let files = files.copy();
        let (mut spool, past) = open(&files, 2);
        let whole = all(&mut spool, &past);
        thin_once(&mut spool).unwrap();
        [whole, all(&mut spool, &past)]
    };
    let (mut outcomes, mut steps) = ([0, 0], 0);
    loop {
        let files = files.copy();
        let (mut spool, _) = open(&files, 2);
        // Some are settled, and only in memory so far.
        spool.settle(EPOCH, &[2, 5]);
        let what = spool.to_thin().unwrap();
        files.set(|faults| faults.steps_left = Some(steps));
        let thinned = spool.thin(what, &define);
        drop(spool);
        let (mut spool, past) = open(&files.copy(), 3);
        assert!(
            past.iter().all(|past| past.lost.is_empty()),
            "after {steps} steps"
        );
        let mut found = all(&mut spool, &past);
        // What was settled may be offered once more, and then it is what it was.
        for sequence in [2, 5] {
            found.insert(sequence, expected[0][&sequence].clone());
        }
        assert_accounted(&found);
        let is_new = found[&1] == expected[1][&1];
        for (sequence, report) in found.iter().filter(|(sequence, _)| ![2, 5].contains(*sequence)) {
            let is_urgent = *sequence == REPORTS + 1;
            assert!(
                is_urgent || (left_out(report) != 0) == is_new,
                "some of one and some of the other"
            );
        }
        outcomes[usize::from(is_new)] += 1;
        steps += 1;
        if thinned.is_ok() {
            break;
        }
    }
    println!(
        "{steps} steps: {} times the old segment, {} times the new",
        outcomes[0], outcomes[1]
    );
    assert!(outcomes.iter().all(|count| 0 < *count));
}

#[test]
fn a_write_that_was_cut_short_is_cleared_away_and_nothing_is_read_from_it() {
    let files = filled();
    let (mut spool, past) = open(&files, 2);
    let whole = all(&mut spool, &past);
    drop(spool);
    let segment = segment(&files);
    let unfinished = segment.with_extension("new");
    drop(files.create(&unfinished, 0, &[7; 5_000]).unwrap());
    let (mut spool, past) = open(&files, 3);
    assert_eq!(all(&mut spool, &past), whole);
    assert!(files.names().iter().all(|(path, _)| *path != unfinished));
}

#[test]
fn a_segment_with_damage_is_left_alone_and_the_damage_is_found_as_ever() {
    let files = filled();
    let (mut spool, past) = open(&files, 2);
    let segment = segment(&files);
    files.change(&segment, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
    let before = files.read(&segment).unwrap();
    assert_eq!(thin_once(&mut spool), None);
    assert_eq!(files.read(&segment).unwrap(), before);
    assert_eq!(
        all(&mut spool, &past).len() as u64,
        REPORTS,
        "all but the damaged one"
    );
}

#[test]
fn a_disk_that_refuses_leaves_everything_as_it_was() {
    let files = filled();
    let (mut spool, past) = open(&files, 2);
    let whole = all(&mut spool, &past);
    for errno in [Errno::EIO, Errno::ENOSPC] {
        files.set(|faults| faults.create = Some(errno));
        let what = spool.to_thin().unwrap();
        assert!(spool.thin(what, &define).is_err());
        files.set(|faults| faults.create = None);
        assert_eq!(all(&mut spool, &past), whole);
    }
    assert!(
        spool.to_thin().is_none(),
        "it was tried, and the next thing is to drop"
    );
}
