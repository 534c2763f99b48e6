//! Campaigns of damage: files cut at every byte, and many flipped bits.
//!
//! Whatever happens to a file, the store opens, serves no wrong value, and says of each loss that there is one. The
//! other files serve everything.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use camino::{Utf8Path, Utf8PathBuf};
use muster_samples::{Filter, MatchOp, Matcher, Options, Resolution, Select, Store};

use crate::world::{DAY, HOUR, MIDNIGHT, Samples, World, samples, select};

/// How many bits are flipped in the ordinary run; all 10,000 if `MUSTER_TEST_FULL` is set.
const FLIPS: usize = 120;
const FLIPS_FULL: usize = 10_000;
/// Bytes between two cuts in the ordinary run.
const CUT_STEP: usize = 97;

fn is_full() -> bool {
    std::env::var_os("MUSTER_TEST_FULL").is_some()
}

/// Files of a closed store, in memory, with everything that can be read of them.
struct Written {
    files: Vec<(String, Vec<u8>)>,
    samples: Samples,
    rolled: Samples,
}

/// A small store: one day compacted, one day not, and roll-ups.
fn written() -> Written {
    let mut world = World::new();
    let mut random = fastrand::Rng::with_seed(7);
    for day in 0..2 {
        for server in 1..=2 {
            let series: Vec<_> = (0..4).map(|n| world.series(server, &format!("m{n}"))).collect();
            for tick in 0..60 {
                let time = MIDNIGHT + day * DAY + 10 * HOUR + tick * 60_000;
                world.now_ms = time;
                let values: Vec<f64> = (0..4).map(|n| f64::from(random.u16(..)) * f64::from(n)).collect();
                world.append(&[time], &series, &values);
            }
        }
    }
    world.store.flush_all().unwrap();
    world.store.compact(MIDNIGHT + DAY + 2 * HOUR).unwrap();
    let samples = samples(&select(&world.store.snapshot(), 0, i64::MAX));
    let rolled = rolled(&world.store).0;
    assert_eq!((samples.len(), rolled.len()), (2 * 2 * 4 * 60, 2 * 2 * 4 * 12));
    // Closing puts everything into the files themselves.
    let elsewhere = tempfile::tempdir().unwrap();
    world.store = crate::world::open(
        Utf8Path::from_path(elsewhere.path()).unwrap(),
        &Options::default(),
    );
    let mut files: Vec<_> = world
        .dir()
        .read_dir_utf8()
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().ends_with(".db"))
        .map(|entry| (entry.file_name().to_owned(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    let names: Vec<&str> = files.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(
        names,
        [
            "1h-2025.db",
            "5m-2025-11-17.db",
            "index.db",
            "raw-2025-11-22.1c.db",
            "raw-2025-11-23.db"
        ]
    );
    Written {
        files,
        samples,
        rolled,
    }
}

/// The greatest values by 5 minutes, and whether all could be read.
fn rolled(store: &Store) -> (Samples, bool) {
    let all = [Matcher::new("__name__", MatchOp::Re, ".+").unwrap()];
    let select = Select::new(Filter::new(&all), 0, MIDNIGHT + 9 * DAY);
    let rolled = store.snapshot().rolled(&select, Resolution::FiveMinutes);
    let mut maxima = Samples::new();
    for series in &rolled.series {
        for (time, max) in series.times_ms.iter().zip(&series.max) {
            let key = (series.meta.server.0, series.meta.name.to_string(), *time);
            maxima.insert(key, max.to_bits());
        }
    }
    (maxima, rolled.damaged.is_empty())
}

impl Written {
    /// Opens a copy in which one file is replaced, and checks all that must hold; says whether something was lost.
    fn check(&self, damaged: usize, bytes: &[u8], goes_on: bool, what: &dyn Fn() -> String) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        for (index, (name, whole)) in self.files.iter().enumerate() {
            fs::write(dir.join(name), if index == damaged { bytes } else { whole }).unwrap();
        }
        let store =
            Store::open(&dir, Options::default()).unwrap_or_else(|error| panic!("{}: {error}", what()));
        let selected = select(&store.snapshot(), 0, i64::MAX);
        let read = samples(&selected);
        let (maxima, are_rolled_whole) = rolled(&store);
        let is_told = !selected.damaged.is_empty()
            || !are_rolled_whole
            || !store.damaged().is_empty()
            || !store.verify().is_empty();
        for (key, bits) in &read {
            assert_eq!(
                self.samples.get(key),
                Some(bits),
                "{}: wrong value of {key:?}",
                what()
            );
        }
        // What is summed up of the samples that are left may differ; then it is told too.
        let are_same = maxima == self.rolled;
        assert!(
            (read.len() == self.samples.len() && are_same) || is_told,
            "{}: a loss and not a word",
            what()
        );
        assert!(
            maxima.keys().all(|key| self.rolled.contains_key(key)),
            "{}: a bucket of nothing",
            what()
        );
        // The other files serve everything: without the index nobody knows whose samples they hold.
        let name = &self.files[damaged].0;
        let is_other = |(.., time): &(i64, String, i64)| match &name[..] {
            "raw-2025-11-22.1c.db" => MIDNIGHT + DAY <= *time,
            "raw-2025-11-23.db" => *time < MIDNIGHT + DAY,
            other => other != "index.db",
        };
        let others = self.samples.keys().filter(|key| is_other(key));
        assert!(
            others.into_iter().all(|key| read.contains_key(key)),
            "{}: another file",
            what()
        );
        // And the store goes on.
        if !goes_on {
            return read.len() < self.samples.len() || maxima.len() < self.rolled.len();
        }
        store.compact(MIDNIGHT + 3 * DAY).unwrap();
        for (key, bits) in &samples(&select(&store.snapshot(), 0, i64::MAX)) {
            assert_eq!(
                self.samples.get(key),
                Some(bits),
                "{}: wrong once compacted",
                what()
            );
        }
        read.len() < self.samples.len() || maxima.len() < self.rolled.len()
    }
}

/// Runs `check` for every case on all processors.
fn in_parallel(cases: usize, check: impl Fn(usize) -> bool + Sync) -> usize {
    let (next, lossy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let case = next.fetch_add(1, Ordering::Relaxed);
                    if cases <= case {
                        return;
                    }
                    lossy.fetch_add(usize::from(check(case)), Ordering::Relaxed);
                }
            });
        }
    });
    lossy.into_inner()
}

/// D6
#[test]
fn flipped_bits_anywhere_lose_only_what_is_told_and_never_become_values() {
    let written = written();
    let flips = if is_full() { FLIPS_FULL } else { FLIPS };
    let lossy = in_parallel(flips, |case| {
        let mut random = fastrand::Rng::with_seed(case as u64);
        let damaged = case % written.files.len();
        let (name, whole) = &written.files[damaged];
        let mut bytes = whole.clone();
        let place = random.usize(..bytes.len());
        bytes[place] ^= 1 << random.u8(..8);
        written.check(damaged, &bytes, case % 8 == 0, &|| {
            format!("seed {case}: {name} byte {place}")
        })
    });
    println!(
        "{flips} flipped bits in {} files: {lossy} lost something, all told",
        written.files.len()
    );
}

/// D6
#[test]
fn a_file_cut_at_any_byte_loses_only_what_is_told() {
    let written = written();
    let step = if is_full() { 1 } else { CUT_STEP };
    let mut cuts = 0;
    let mut lossy = 0;
    for damaged in 0..written.files.len() {
        let (name, whole) = &written.files[damaged];
        // A file of many empty bytes is cut more coarsely there, in the ordinary run.
        let step = if is_full() {
            step
        } else {
            step.max(whole.len() / 16)
        };
        let places = whole.len().div_ceil(step);
        cuts += places;
        lossy += in_parallel(places, |case| {
            let length = case * step;
            written.check(damaged, &whole[..length], case % 8 == 0, &|| {
                format!("{name} cut to {length}")
            })
        });
    }
    println!("{cuts} cuts: {lossy} lost something, all told");
}
