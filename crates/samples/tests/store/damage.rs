//! Bytes flipped and files cut: no panic, no wrong value, nothing missing without a word.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use muster_samples::{DamageKind, Options, Store};

use crate::world::{DAY, HOUR, Samples, World, all, open, samples, select};

/// A closed store of three servers and two days, and what is in it.
fn written() -> (World, Samples) {
    let mut world = World::new();
    let mut random = fastrand::Rng::with_seed(7);
    for day in 0..2 {
        for server in 1..=3 {
            let series: Vec<_> = (0..12).map(|n| world.series(server, &format!("m{n}"))).collect();
            for tick in 0..300 {
                let time = world.now_ms + day * DAY + tick * 30_000;
                let values: Vec<f64> = (0..12).map(|n| random.f64() * f64::from(n)).collect();
                world.now_ms += day * DAY + 3 * HOUR;
                world.append(&[time], &series, &values);
                world.now_ms -= day * DAY + 3 * HOUR;
            }
        }
    }
    world.store.flush_all().unwrap();
    let before = all(&world.store);
    assert_eq!(before.len(), 2 * 3 * 12 * 300);
    // Closing puts everything into the files themselves.
    let elsewhere = tempfile::tempdir().unwrap();
    world.store = open(
        Utf8Path::from_path(elsewhere.path()).unwrap(),
        &Options::default(),
    );
    (world, before)
}

fn copy(world: &World) -> (tempfile::TempDir, Utf8PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let to = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
    for entry in world.dir().read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    (folder, to)
}

/// Opens what was damaged and says whether everything is there.
fn check(dir: &Utf8Path, before: &Samples, what: &str) -> bool {
    let store = Store::open(dir, Options::default()).unwrap_or_else(|error| panic!("{what}: {error}"));
    let selected = select(&store.snapshot(), 0, i64::MAX);
    let read = samples(&selected);
    for (key, bits) in &read {
        assert_eq!(before.get(key), Some(bits), "{what}: wrong value of {key:?}");
    }
    let is_whole = read.len() == before.len();
    let is_told = !selected.damaged.is_empty() || !store.damaged().is_empty() || !store.verify().is_empty();
    assert!(
        is_whole || is_told,
        "{what}: {} of {} samples and not a word",
        read.len(),
        before.len()
    );
    is_whole
}

fn flip(path: &Utf8Path, random: &mut fastrand::Rng) -> String {
    let mut bytes = fs::read(path).unwrap();
    let place = random.usize(..bytes.len());
    bytes[place] ^= 1 << random.u8(..8);
    fs::write(path, &bytes).unwrap();
    format!("{path} byte {place}")
}

#[test]
fn flipped_bits_in_a_day_file_never_become_values() {
    let (world, before) = written();
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..80 {
        let (_folder, dir) = copy(&world);
        let what = flip(&dir.join("raw-2025-11-22.db"), &mut random);
        check(&dir, &before, &what);
    }
}

#[test]
fn flipped_bits_in_the_index_never_rename_samples() {
    let (world, before) = written();
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..60 {
        let (_folder, dir) = copy(&world);
        let what = flip(&dir.join("index.db"), &mut random);
        check(&dir, &before, &what);
    }
}

#[test]
fn numbers_of_lost_series_are_not_given_again() {
    let (world, before) = written();
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..40 {
        let (_folder, dir) = copy(&world);
        let what = flip(&dir.join("index.db"), &mut random);
        let store = open(&dir, &Options::default());
        for server in 1..=4 {
            for name in ["new", "newer"] {
                store.series(&crate::world::spec(server, name, "new", 0)).unwrap();
            }
        }
        let read = samples(&select(&store.snapshot(), 0, i64::MAX));
        assert!(read.keys().all(|key| before.contains_key(key)), "{what}");
    }
}

#[test]
fn a_cut_file_serves_what_is_left_and_the_other_day_is_untouched() {
    let (world, before) = written();
    let length = fs::metadata(world.dir().join("raw-2025-11-22.db")).unwrap().len();
    let others = before
        .keys()
        .filter(|(.., time)| crate::world::MIDNIGHT + DAY <= *time)
        .count();
    for part in [
        0,
        1,
        99,
        100,
        4_096,
        16_384,
        length / 3,
        length / 2,
        length - 16_384,
        length - 1,
    ] {
        let (_folder, dir) = copy(&world);
        let path = dir.join("raw-2025-11-22.db");
        fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(part)
            .unwrap();
        let what = format!("cut to {part}");
        assert!(!check(&dir, &before, &what), "{what}");
        let store = open(&dir, &Options::default());
        assert!(others <= all(&store).len(), "{what}");
        assert!(!store.damaged().is_empty(), "{what}: told when opened");
    }
}

#[test]
fn a_damaged_file_is_not_written_any_more_and_the_store_goes_on() {
    let (world, before) = written();
    let (_folder, dir) = copy(&world);
    let path = dir.join("raw-2025-11-22.db");
    let length = fs::metadata(&path).unwrap().len();
    fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length / 2)
        .unwrap();
    let mut world = World::new();
    world.store = open(&dir, &Options::default());
    let series = world.series(1, "m0");
    let time = world.now_ms + 1;
    world.append(&[time], &[series], &[42.0]);
    assert_eq!(world.store.flush_all().unwrap().samples, 1);
    assert!(dir.join("raw-2025-11-22.1.db").exists());
    let read = all(&world.store);
    assert_eq!(read.get(&(1, "m0".to_owned(), time)), Some(&42.0_f64.to_bits()));
    assert!(read.keys().filter(|key| before.contains_key(key)).count() + 1 == read.len());
    // Of the cut day something is left.
    assert!(before.len() / 2 + 1 < read.len());
    drop(world);
    let store = open(&dir, &Options::default());
    assert_eq!(all(&store), read);
    assert!(!store.damaged().is_empty(), "still told at the next start");
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let (world, before) = written();
    let (_folder, dir) = copy(&world);
    fs::write(dir.join("raw-2025-11-22.db"), vec![0x55; 40_000]).unwrap();
    let store = open(&dir, &Options::default());
    assert!(matches!(&store.damaged()[..], [damage] if matches!(damage.kind, DamageKind::SetAside { .. })));
    assert!(dir.join("raw-2025-11-22.db.damaged-1").exists());
    assert_eq!(all(&store).len(), before.len() / 2);
    let told = store.damaged();
    drop(store);
    assert_eq!(open(&dir, &Options::default()).damaged(), told);
}

#[test]
fn without_its_index_the_store_starts_anew_and_keeps_the_files() {
    for is_removed in [true, false] {
        let (world, _) = written();
        let (_folder, dir) = copy(&world);
        if is_removed {
            fs::remove_file(dir.join("index.db")).unwrap();
        } else {
            fs::write(dir.join("index.db"), vec![0x55; 40_000]).unwrap();
        }
        let store = open(&dir, &Options::default());
        assert!(all(&store).is_empty());
        assert_eq!(store.damaged().len(), 2 + usize::from(!is_removed));
        assert!(dir.join("raw-2025-11-22.db.damaged-1").exists());
        store.series(&crate::world::spec(1, "a", "x", 0)).unwrap();
        assert_eq!(store.flush_all().unwrap().chunks, 0);
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let (world, _) = written();
    let path = world.dir().join("raw-2025-11-22.db");
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    let error = Store::open(&world.dir(), Options::default()).err().unwrap();
    assert!(
        error
            .to_string()
            .ends_with("has schema version 99, this program knows 2"),
        "{error}"
    );
    assert!(path.exists());
}

#[test]
fn a_half_made_file_of_a_crash_is_no_damage() {
    let (world, before) = written();
    fs::write(world.dir().join("raw-2025-11-24.db.new"), b"SQLite").unwrap();
    let store = open(&world.dir(), &Options::default());
    assert_eq!(store.damaged(), []);
    assert_eq!(all(&store), before);
}

#[test]
fn what_is_applied_again_takes_the_place_of_what_is_damaged() {
    let (mut world, before) = written();
    let path = world.dir().join("raw-2025-11-22.db");
    let database = rusqlite::Connection::open(&path).unwrap();
    // The last byte of a chunk is one of its last segment.
    let sql = "UPDATE chunk SET data = CAST(substr(data, 1, length(data) - 1) || x'00' AS BLOB)";
    assert!(0 < database.execute(sql, []).unwrap());
    drop(database);
    world.store = open(&world.dir(), &Options::default());
    let left = all(&world.store);
    assert!(left.len() < before.len());
    for server in 1..=3 {
        for metric in 0..12 {
            let name = format!("m{metric}");
            let series = world.series(server, &name);
            let of_series = before
                .iter()
                .filter(|((of, its, _), _)| *of == server && *its == name);
            let (times, values): (Vec<i64>, Vec<f64>) = of_series
                .map(|((.., time), bits)| (*time, f64::from_bits(*bits)))
                .unzip();
            world.now_ms = times[times.len() - 1];
            world.append(&times, &[series], &values);
        }
    }
    assert_eq!(
        world.store.flush_all().unwrap().samples,
        (before.len() - left.len()) as u64
    );
    assert_eq!(all(&world.store), before);
}
