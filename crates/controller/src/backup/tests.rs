//! What a backup promises: all of it or nothing, and a restored store is one of its own.

use std::collections::BTreeMap;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::clock::WallClock;

use super::*;
use crate::app::{self, Settings};
use crate::intake::FILE_NAME;
use crate::intake::tests::{
    EPOCH, NOW, agent, define, open_in, quick, report_of, series, submit, with_samples,
};
use crate::run::STATE_FILE;
use crate::store::Store;

/// A data folder in which a controller has worked, and a place for backups.
struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bench = Self { folder };
        let data_dir = bench.path("data");
        fs::create_dir(&data_dir).unwrap();
        let app = app::open(
            &data_dir.join(STATE_FILE),
            &data_dir.join("secret.key"),
            WallClock::fixed(NOW),
            Settings::default(),
        )
        .await
        .unwrap();
        app.ensure_first_admin(|_| Ok(())).await.unwrap();
        app.local_session(0).await.unwrap();
        let intake = open_in(&data_dir, quick());
        define(&intake, 1, vec![series("a")]).await;
        for sequence in 1..=3 {
            submit(&intake, with_samples(report_of(EPOCH, sequence), vec![1], NOW)).await;
        }
        intake.close().await;
        app.store().close().await.unwrap();
        bench
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.folder.path()).unwrap().join(name)
    }

    async fn back_up(&self) -> Manifest {
        let (data_dir, file) = (self.path("data"), self.path("backup"));
        let made = tokio::task::spawn_blocking(move || {
            let out = fs::File::create(file).unwrap();
            make(&data_dir, out, NOW + 5, |_| ()).unwrap().1
        });
        made.await.unwrap()
    }

    async fn restore(&self, file: &str) -> Result<Restored, BackupError> {
        let data_dir = self.path("data");
        let key = data_dir.join("secret.key");
        restore(&self.path(file), &data_dir, &key, NOW + 10, |_| ()).await
    }

    /// Everything in the data folder with its content.
    fn content(&self) -> BTreeMap<Utf8PathBuf, Vec<u8>> {
        let entries = self.path("data").read_dir_utf8().unwrap();
        entries
            .map(|entry| entry.unwrap().into_path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }
}

/// O2
#[tokio::test]
async fn what_was_backed_up_is_what_is_restored_under_a_new_epoch() {
    let bench = Bench::new().await;
    let manifest = bench.back_up().await;
    let names: Vec<&str> = manifest.files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, [STATE_FILE, FILE_NAME]);
    assert_eq!(verify(&bench.path("backup")).unwrap(), manifest);
    assert!(!bench.path("data/backup.partial").exists());

    // What came after is gone afterwards, and kept aside.
    let intake = open_in(&bench.path("data"), quick());
    submit(&intake, report_of(EPOCH, 4)).await;
    intake.close().await;
    let restored = bench.restore("backup").await.unwrap();
    assert_ne!(restored.store_epoch, manifest.store_epoch);
    assert!(restored.has_replaced && bench.path("data/replaced/state.db").exists());
    assert_eq!(restored.sessions_void, 1);

    let store = Store::open(&bench.path("data").join(STATE_FILE)).await.unwrap();
    let described = crate::store::describe(&bench.path("data").join(STATE_FILE))
        .await
        .unwrap();
    assert_eq!(described.installation.store_epoch, restored.store_epoch);
    assert_eq!(described.installation.store_id, manifest.store_id);
    store.close().await.unwrap();
    let intake = open_in(&bench.path("data"), quick());
    let cursors = intake.cursors(agent(), vec![EPOCH]).await.unwrap();
    assert_eq!(
        cursors[0]
            .ranges
            .iter()
            .map(|range| range.last)
            .collect::<Vec<_>>(),
        [3]
    );
    intake.close().await;
}

/// S26
#[tokio::test]
async fn a_backup_never_holds_the_sealing_key_and_needs_it() {
    let bench = Bench::new().await;
    bench.back_up().await;
    let key = fs::read(bench.path("data/secret.key")).unwrap();
    let mut plain = Vec::new();
    let file = fs::File::open(bench.path("backup")).unwrap();
    std::io::copy(&mut zstd::Decoder::new(file).unwrap(), &mut plain).unwrap();
    assert!(!plain.windows(key.len()).any(|window| window == key));

    fs::write(bench.path("data/secret.key"), [7; 32]).unwrap();
    let before = bench.content();
    assert!(matches!(
        bench.restore("backup").await.unwrap_err(),
        BackupError::Identity(_)
    ));
    fs::remove_file(bench.path("data/secret.key")).unwrap();
    assert!(matches!(
        bench.restore("backup").await.unwrap_err(),
        BackupError::Identity(_)
    ));
    fs::write(bench.path("data/secret.key"), [7; 32]).unwrap();
    assert!(bench.content() == before, "the folder was touched");
}

/// O2
#[tokio::test]
async fn a_damaged_backup_is_refused_before_anything_is_touched() {
    let bench = Bench::new().await;
    let manifest = bench.back_up().await;
    let whole = fs::read(bench.path("backup")).unwrap();
    let before = bench.content();
    let tries = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        3_000
    } else {
        200
    };
    let mut random = fastrand::Rng::with_seed(3);
    let mut refused = 0;
    for index in 0..tries {
        let mut bytes = whole.clone();
        if index % 2 == 0 {
            bytes.truncate(random.usize(..whole.len()));
        } else {
            bytes[random.usize(..whole.len())] ^= 1 << random.u8(..8);
        }
        fs::write(bench.path("damaged"), bytes).unwrap();
        // A bit that means nothing may be flipped; then nothing else may differ.
        match verify(&bench.path("damaged")) {
            Ok(found) => assert_eq!(found, manifest),
            Err(_) => refused += 1,
        }
    }
    assert!(tries - tries / 20 < refused, "{refused} of {tries}");
    fs::write(bench.path("damaged"), &whole[..whole.len() / 2]).unwrap();
    assert!(bench.restore("damaged").await.is_err());
    fs::write(bench.path("damaged"), "a letter").unwrap();
    assert!(matches!(
        bench.restore("damaged").await.unwrap_err(),
        BackupError::NotABackup { .. }
    ));
    assert!(bench.content() == before, "the folder was touched");
    println!("O2: {refused} of {tries} damaged backups refused, the others bit-equal in content");
}

/// O3
#[tokio::test]
async fn a_backup_of_a_newer_controller_is_refused() {
    let bench = Bench::new().await;
    let mut manifest = bench.back_up().await;
    manifest.format += 1;
    manifest.controller_version = "99.1".to_owned();
    let out = fs::File::create(bench.path("newer")).unwrap();
    archive::ArchiveWriter::new(out)
        .unwrap()
        .finish(manifest)
        .unwrap();
    let error = bench.restore("newer").await.unwrap_err();
    assert!(error.to_string().contains("99.1"), "{error}");
}

#[tokio::test]
async fn names_that_no_backup_has_are_refused() {
    let bench = Bench::new().await;
    let manifest = bench.back_up().await;
    for name in [
        "../state.db",
        "secret.key",
        "samples/../x.db",
        "samples/.x.db",
        "/etc/x.db",
    ] {
        let out = fs::File::create(bench.path("odd")).unwrap();
        let mut encoder = zstd::Encoder::new(out, 1).unwrap();
        {
            let mut tar = tar::Builder::new(&mut encoder);
            let mut header = tar::Header::new_gnu();
            // Written past the checks of the library, as somebody ill-minded would.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_size(3);
            header.set_cksum();
            tar.append(&header, &b"abc"[..]).unwrap();
            tar.finish().unwrap();
        }
        encoder.finish().unwrap();
        let error = bench.restore("odd").await.unwrap_err();
        assert!(matches!(error, BackupError::Damaged { .. }), "{name}: {error}");
    }
    drop(manifest);
}

/// O3
#[tokio::test]
async fn the_state_of_before_an_upgrade_can_be_restored_alone() {
    let bench = Bench::new().await;
    fs::copy(bench.path("data").join(STATE_FILE), bench.path("snapshot.db")).unwrap();
    let restored = bench.restore("snapshot.db").await.unwrap();
    assert!(restored.manifest.is_none() && restored.has_replaced);
    let intake = open_in(&bench.path("data"), quick());
    let cursors = intake.cursors(agent(), vec![EPOCH]).await.unwrap();
    assert!(!cursors[0].ranges.is_empty(), "the intake stays as it is");
    intake.close().await;
}
