//! A spool without room: thinned first, then dropped from the oldest on, and all of it counted.

use std::collections::BTreeMap;

use super::*;

const SEGMENT_BYTES: u64 = 32 * 1024;
const SIZE_BYTES_MAX: u64 = 256 * 1024;
const LANE_BYTES: u64 = 64 * 1024;
const SERIES: u32 = 30;
const TICKS: i64 = 16;
const SAMPLES: u64 = 480;

/// Sixteen ticks of 15 s, of values that do not compress.
fn ticks(number: i64) -> Report {
    let mut random = fastrand::Rng::with_seed(number.unsigned_abs());
    let times = (number * TICKS..(number + 1) * TICKS)
        .map(|tick| tick * 15_000)
        .collect();
    let values = (0..SAMPLES).map(|_| random.f64()).collect();
    let mut report = Report::empty(0, 0, clock());
    let block = SampleBlock::new(times, (1..=SERIES).collect(), values).unwrap();
    report.blocks.push(block);
    report
}

/// What the segments of all reports but the urgent take.
fn bulk_bytes(files: &Memory) -> u64 {
    let segments = files.names().into_iter().filter(|(path, _)| {
        let number = path.file_stem().and_then(|stem| stem.parse::<u32>().ok());
        path.extension() == Some("seg") && number.is_some_and(|number| number < 1 << 31)
    });
    segments.map(|(_, length)| length as u64).sum()
}

/// Makes reports without a controller, every tenth an urgent one, and looks at the disk after each round.
async fn make(keeper: &mut Keeper, outbox: &Outbox, files: &Memory, numbers: std::ops::RangeInclusive<i64>) {
    for number in numbers {
        if number % 10 == 0 {
            outbox.push_urgent(Report::empty(0, 0, clock()));
        } else {
            outbox.push(ticks(number));
        }
        for _ in 0..60 {
            keeper.round(false);
            let bytes = bulk_bytes(files);
            assert!(bytes <= SIZE_BYTES_MAX, "{bytes} bytes after report {number}");
            tokio::time::advance(Duration::from_secs(1)).await;
            if outbox.is_kept() {
                break;
            }
        }
        assert!(outbox.to_keep(true).is_empty(), "report {number} waits for room");
    }
}

/// Delivers everything to a controller that is there again, the gaps too.
fn deliver_all(keeper: &mut Keeper, outbox: &Outbox, epoch: u64) -> Vec<Report> {
    let mut arrived = Vec::new();
    while !outbox.is_settled() {
        outbox.push_gaps(clock());
        let delivered = deliver(keeper, outbox);
        let numbers: Vec<_> = delivered
            .iter()
            .map(|report| (report.sequence, report.sequence))
            .collect();
        outbox.ack(epoch, &set(&numbers));
        arrived.extend(delivered);
        keeper.round(false);
    }
    arrived
}

/// By number: samples that arrived, and samples of which it was said that they will not.
fn account(arrived: &[Report]) -> BTreeMap<u64, (u64, u64)> {
    let mut accounts: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for report in arrived {
        let account = accounts.entry(report.sequence).or_default();
        account.0 += report.sample_count() as u64;
        for gap in &report.gaps {
            match gap.reason {
                GapReason::Thinned => {
                    assert_eq!(gap.range.first, report.sequence);
                    accounts.entry(report.sequence).or_default().1 += gap.sample_count.unwrap();
                }
                GapReason::BufferFull => {
                    let urgent = (gap.range.first..=gap.range.last).filter(|number| number % 10 == 0);
                    assert_eq!(urgent.count(), 0, "an urgent report was dropped");
                    let count = gap.range.last - gap.range.first + 1;
                    assert_eq!(
                        gap.sample_count,
                        Some(count * SAMPLES),
                        "a gap counts what was made"
                    );
                    for number in gap.range.first..=gap.range.last {
                        accounts.entry(number).or_default().1 += SAMPLES;
                    }
                }
                reason => panic!("{reason:?}"),
            }
        }
    }
    accounts
}

/// D7
#[tokio::test(start_paused = true)]
async fn a_full_spool_is_thinned_before_anything_is_dropped_and_every_sample_is_there_or_counted() {
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        size_bytes_max: SIZE_BYTES_MAX,
        lane_bytes: LANE_BYTES,
        age_ms_max: i64::MAX,
        ..Options::default()
    };
    // The second does not fit whole, the third not even with a sample in ten minutes.
    for (reports, is_thinned, is_dropped) in [(30, false, false), (150, true, false), (1_200, true, true)] {
        let files = Memory::default();
        let (mut keeper, outbox) = start(&files, 1, options);
        let figures = keeper.figures();
        make(&mut keeper, &outbox, &files, 1..=reports).await;
        let last = outbox.stats().last_sequence;
        let thinned = figures.thinned_samples.load(Ordering::Relaxed);
        // Old and new segment together, with cursor, mark and dictionary.
        let replaced = *files.replaced.lock().unwrap();
        let peak_max = SIZE_BYTES_MAX + LANE_BYTES + 16 * 1024;
        assert!(
            replaced.peak_bytes <= peak_max,
            "{} bytes at once",
            replaced.peak_bytes
        );
        welcome(&outbox);
        let arrived = deliver_all(&mut keeper, &outbox, 1);
        let accounts = account(&arrived);
        let made = |number: u64| match i64::try_from(number) {
            Ok(number) if number <= reports && number % 10 != 0 => SAMPLES,
            _ => 0,
        };
        for number in 1..=last {
            let (there, told) = accounts[&number];
            assert_eq!(
                there + told,
                made(number),
                "report {number}: {there} there, {told} told"
            );
        }
        let dropped = outbox.stats().dropped_samples;
        assert_eq!(
            (0 < thinned, 0 < dropped),
            (is_thinned, is_dropped),
            "{reports} reports"
        );
        // The youngest are as they were made.
        let youngest = u64::try_from(reports - 1).unwrap();
        assert_eq!(accounts[&youngest], (SAMPLES, 0));
        println!(
            "{reports} reports of {SAMPLES} samples in {SIZE_BYTES_MAX} bytes: {thinned} thinned, {dropped} dropped, all told; \
             {} bytes written again",
            replaced.bytes
        );
    }
}

#[tokio::test(start_paused = true)]
async fn thinning_writes_nothing_again_and_again() {
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        size_bytes_max: SIZE_BYTES_MAX,
        lane_bytes: LANE_BYTES,
        age_ms_max: i64::MAX,
        ..Options::default()
    };
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, options);
    make(&mut keeper, &outbox, &files, 1..=400).await;
    let made = 400 * SAMPLES * 8;
    let before = files.replaced.lock().unwrap().bytes;
    assert!(
        before < made,
        "{before} bytes were written again for {made} bytes made"
    );
    // Full as it is: nothing new comes, and nothing is written.
    for _ in 0..100 {
        keeper.round(false);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let after = files.replaced.lock().unwrap().bytes;
    assert!(after - before <= 3 * SIZE_BYTES_MAX, "{} bytes", after - before);
    let settled = after;
    for _ in 0..100 {
        keeper.round(false);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(files.replaced.lock().unwrap().bytes, settled);
}

/// D7
#[tokio::test(start_paused = true)]
async fn where_somebody_else_has_filled_the_disk_what_is_kept_stays() {
    let options = Options {
        segment_bytes: SEGMENT_BYTES,
        size_bytes_max: SIZE_BYTES_MAX,
        lane_bytes: LANE_BYTES,
        ..Options::default()
    };
    let files = Memory::default();
    let (mut keeper, outbox) = start(&files, 1, options);
    make(&mut keeper, &outbox, &files, 1..=9).await;
    drop((keeper, outbox));
    let (mut keeper, outbox) = start(&files, 2, options);
    files.set(|faults| faults.free_bytes = Some(0));
    for number in 1..=30 {
        outbox.push(ticks(number));
        keeper.round(false);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert_eq!(
        outbox.stats().past_reports,
        9,
        "dropping them would not make room"
    );
    assert_eq!(outbox.stats().dropped_reports, 0);
    files.set(|faults| faults.free_bytes = None);
    tokio::time::advance(PAUSE_MAX).await;
    keeper.round(false);
    assert!(outbox.is_kept());
}
