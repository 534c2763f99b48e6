//! A damaged intake starts, loses no more than what was damaged, and never lists what it has lost.

use std::collections::BTreeSet;

use muster_base::clock::WallClock;
use muster_model::GapReason;

use super::*;
use crate::intake::tests::{
    EPOCH, NOW, agent, define, open_in, quick, report_of, series, submit, with_samples,
};
use crate::intake::{FILE_NAME, Intake, Options, Record};

const RECORDS: u64 = 32;

/// In memory where there is such a place: thousands of files are made.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn dir(folder: &tempfile::TempDir) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap()
}

/// The bytes of an intake with 32 reports, one of them longer than a page.
async fn written() -> Vec<u8> {
    let folder = folder();
    let intake = open_in(&dir(&folder), quick());
    let names: Vec<_> = (0..40)
        .map(|number| series(&format!("series_{number}")))
        .collect();
    define(&intake, 1, names).await;
    for sequence in 1..=RECORDS {
        let report = report_of(EPOCH, sequence);
        let report = if sequence == 7 {
            long(report)
        } else {
            with_samples(report, (1..=40).collect(), NOW + sequence as i64)
        };
        submit(&intake, report).await;
    }
    intake.close().await;
    fs::read(dir(&folder).join(FILE_NAME)).unwrap()
}

/// Incompressible, so that it needs overflow pages.
fn long(mut report: muster_model::Report) -> muster_model::Report {
    let mut random = fastrand::Rng::with_seed(1);
    let times: Vec<i64> = (0..100).map(|tick| NOW + 1_000 + tick).collect();
    let values = (0..times.len() * 40).map(|_| random.f64()).collect();
    let block = muster_model::SampleBlock::new(times, (1..=40).collect(), values).unwrap();
    report.blocks.push(block);
    report
}

/// What became of the numbers.
#[derive(Debug, Default)]
struct Fate {
    whole: BTreeSet<u64>,
    gaps: BTreeSet<u64>,
    listed: BTreeSet<u64>,
}

impl Fate {
    fn lost(&self) -> usize {
        RECORDS as usize - self.whole.len()
    }

    /// Listed as stored, and neither there nor told as lost: the one thing that must never be.
    fn vanished(&self) -> Vec<u64> {
        let is_known = |number: &&u64| self.whole.contains(number) || self.gaps.contains(number);
        self.listed
            .iter()
            .filter(|number| !is_known(number))
            .copied()
            .collect()
    }
}

/// Opens an intake with this content.
async fn fate_of(folder: &tempfile::TempDir, content: &[u8]) -> Fate {
    let dir = dir(folder);
    for entry in dir.read_dir_utf8().unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    fs::write(dir.join(FILE_NAME), content).unwrap();
    let intake = Intake::open(&dir, quick(), WallClock::fixed(NOW)).unwrap();
    let mut fate = Fate::default();
    for record in intake.page_after(0, 10_000, usize::MAX).await.unwrap().records {
        let Record::Good(accepted) = record else {
            panic!("a record of a mended file cannot be read");
        };
        let report = &accepted.report;
        if report.gaps.is_empty() {
            assert_eq!(report.epoch, EPOCH);
            assert!(!report.blocks.is_empty() && report.blocks[0].series().len() == 40);
            fate.whole.insert(report.sequence);
        }
        for gap in &report.gaps {
            assert_eq!((gap.epoch, gap.reason), (EPOCH, GapReason::Damaged));
            fate.gaps.extend(gap.range.first..=gap.range.last);
        }
    }
    for cursor in intake.cursors(agent(), vec![EPOCH]).await.unwrap() {
        for range in cursor.ranges.iter() {
            fate.listed.extend(range.first..=range.last);
        }
        assert!(
            fate.whole.is_empty() || cursor.definitions == 40,
            "{}",
            cursor.definitions
        );
    }
    // And it goes on.
    let answer = submit(&intake, report_of(EPOCH, 1_000)).await;
    assert!(
        matches!(answer, crate::intake::Answer::Stored { duplicate: false, .. }),
        "{answer:?}"
    );
    intake.close().await;
    fate
}

fn is_full() -> bool {
    std::env::var_os("MUSTER_TEST_FULL").is_some()
}

/// D6
#[tokio::test]
async fn an_intake_with_any_bit_flipped_starts_and_loses_at_most_one_record() {
    let content = written().await;
    let folder = folder();
    let untouched = fate_of(&folder, &content).await;
    assert_eq!((untouched.whole.len(), untouched.gaps.len()), (32, 0));
    let flips = if is_full() { 10_000 } else { 200 };
    let mut random = fastrand::Rng::with_seed(8);
    let (mut losses, mut set_aside) = (0, 0);
    for _ in 0..flips {
        let mut damaged = content.clone();
        let (byte, bit) = (random.usize(..content.len()), random.u8(..8));
        damaged[byte] ^= 1 << bit;
        let fate = fate_of(&folder, &damaged).await;
        assert!(fate.vanished().is_empty(), "byte {byte} bit {bit}: {fate:?}");
        assert!(fate.lost() <= 1, "byte {byte} bit {bit}: {fate:?}");
        assert_eq!(fate.gaps.len(), fate.lost(), "byte {byte} bit {bit}: {fate:?}");
        losses += fate.lost();
        set_aside += usize::from(dir(&folder).join(format!("{FILE_NAME}.damaged-1")).exists());
    }
    println!(
        "D6: {flips} bit flips in an intake of {RECORDS} records: all started, {set_aside} files set aside, {losses} \
         records lost, each a gap, 0 listed and gone"
    );
}

/// D6
#[tokio::test]
async fn an_intake_cut_anywhere_starts_and_lists_nothing_that_is_gone() {
    let content = written().await;
    let folder = folder();
    let step = if is_full() { 37 } else { 1_999 };
    let (mut cuts, mut gaps, mut asked) = (0, 0, 0);
    for length in (0..content.len()).step_by(step) {
        let fate = fate_of(&folder, &content[..length]).await;
        assert!(fate.vanished().is_empty(), "cut at {length}: {fate:?}");
        cuts += 1;
        gaps += fate.gaps.len();
        asked += RECORDS as usize - fate.listed.len();
    }
    println!(
        "D6: an intake of {RECORDS} records cut at {cuts} places: all started, 0 listed and gone; over all, {gaps} \
         records told as gaps and {asked} asked for again"
    );
}

#[tokio::test]
async fn what_every_consumer_has_passed_is_no_loss() {
    let mut content = written().await;
    let folder = folder();
    let dir = dir(&folder);
    // Inside the longest record.
    let middle = content
        .windows(3)
        .rposition(|window| window == [0xa7, b'M', b'r'])
        .unwrap();
    content[middle + 40] ^= 1;
    fs::write(dir.join(FILE_NAME), content).unwrap();
    let options = Options {
        applied: RECORDS as i64,
        ..quick()
    };
    let intake = Intake::open(&dir, options, WallClock::fixed(NOW)).unwrap();
    let lost = &intake.metrics().records_lost;
    assert_eq!(crate::intake::IntakeMetrics::get(lost), 0);
    intake.close().await;
}

#[tokio::test]
async fn a_replacement_cut_short_is_taken_up_again_and_few_damaged_files_are_kept() {
    let content = written().await;
    let folder = folder();
    let dir = dir(&folder);
    let path = dir.join(FILE_NAME);
    for round in 1..=5_u8 {
        let mut damaged = content.clone();
        damaged[8192 * 5..8192 * 5 + 64].fill(round);
        fs::write(&path, damaged).unwrap();
        ensure_sound(&path, 0, NOW).unwrap().unwrap();
        assert_eq!(ensure_sound(&path, 0, NOW).unwrap(), None);
    }
    let size = |number: usize| {
        dir.join(format!("{FILE_NAME}.damaged-{number}"))
            .metadata()
            .unwrap()
            .len()
    };
    assert_eq!((size(1), size(2)), (0, 0));
    assert!((3..=5).all(|number| 0 < size(number)));
    // As a crash between the two renames leaves it.
    fs::rename(&path, dir.join(format!("{FILE_NAME}{SALVAGED_MARK}"))).unwrap();
    ensure_sound(&path, 0, NOW).unwrap();
    assert!(path.exists());
}
