use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::{Store, tests::open};
use super::*;

struct Folder {
    path: Utf8PathBuf,
    _folder: tempfile::TempDir,
}

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        Self {
            path,
            _folder: folder,
        }
    }

    /// A database as the version with the first `steps` steps left it, with something in it.
    async fn old_database(&self, steps: u32) -> Utf8PathBuf {
        let path = self.path.join("state.db");
        let database = Database::connect(options(&path, 1, Access::Write)).await.unwrap();
        Migrator::up(&database, Some(steps)).await.unwrap();
        let row = "INSERT INTO secret (name, sealed, updated_ms) VALUES ('kept', x'0102', 7)";
        database.execute_unprepared(row).await.unwrap();
        database.close().await.unwrap();
        path
    }
}

/// The database with its log as a crash would leave them at this moment.
fn copy_as_it_is(from: &Utf8Path, to: &Utf8Path) {
    fs::create_dir_all(to).unwrap();
    for companion in ["", "-wal"] {
        let file = format!("{from}{companion}");
        if Utf8Path::new(&file).exists() {
            fs::copy(&file, to.join(format!("state.db{companion}"))).unwrap();
        }
    }
}

async fn assert_whole(path: &Utf8Path) {
    let store = Store::open(path).await.unwrap();
    assert_eq!(applied(&store.writer).await.unwrap(), known());
    assert_eq!(store.secrets().await.unwrap(), [("kept".to_owned(), vec![1, 2])]);
    let check = Statement::from_string(
        store.writer.get_database_backend(),
        "SELECT integrity_check AS found FROM pragma_integrity_check",
    );
    let row = store.writer.query_one_raw(check).await.unwrap().unwrap();
    assert_eq!(row.try_get::<String>("", "found").unwrap(), "ok");
    store.close().await.unwrap();
}

/// O3
#[tokio::test]
async fn an_upgrade_killed_at_any_statement_is_made_whole_by_the_next_start() {
    let newest = u32::try_from(known().len()).unwrap();
    let from: Vec<u32> = if std::env::var_os("MUSTER_TEST_FULL").is_some() {
        (1..newest).collect()
    } else {
        vec![1]
    };
    let mut crashes = 0;
    for steps in from {
        let folder = Folder::new();
        let path = folder.old_database(steps).await;
        let mut writer = Database::connect(options(&path, 1, Access::Write)).await.unwrap();
        // What is changed goes to disk before the commit.
        writer.execute_unprepared("PRAGMA cache_size = 1").await.unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let crashed = folder.path.join("crashed");
        writer.set_metric_callback({
            let (count, path, crashed) = (Arc::clone(&count), path.clone(), crashed.clone());
            move |_| {
                let number = count.fetch_add(1, Ordering::SeqCst);
                copy_as_it_is(&path, &crashed.join(number.to_string()));
            }
        });
        migrate(&writer, &path, true).await.unwrap();
        writer.close().await.unwrap();
        let count = count.load(Ordering::SeqCst);
        for number in 0..count {
            assert_whole(&crashed.join(number.to_string()).join("state.db")).await;
        }
        assert_whole(&path).await;
        crashes += count;
    }
    assert!(10 < crashes, "only {crashes} statements were seen");
    println!("O3: killed at each of {crashes} statements, 0 databases lost");
}

/// O3
#[tokio::test]
async fn a_newer_database_is_refused_untouched_with_the_copy_of_before_the_upgrade() {
    let folder = Folder::new();
    let path = folder.old_database(3).await;
    Store::open(&path).await.unwrap().close().await.unwrap();
    let snapshot = folder
        .path
        .join(SNAPSHOTS_DIR)
        .join(format!("state-{}.db", known()[2]));
    assert_eq!(applied_in(&snapshot).await.unwrap(), known()[..3]);

    let writer = Database::connect(options(&path, 1, Access::Write)).await.unwrap();
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m30000101_000001_flying', 0)";
    writer.execute_unprepared(newer).await.unwrap();
    writer.close().await.unwrap();
    let before = fs::read(&path).unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(error.to_string().contains(snapshot.as_str()), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    // And the copy is one that this version can go on with.
    assert_whole(&snapshot).await;
}

#[tokio::test]
async fn only_the_latest_copies_are_kept_and_no_copy_is_made_of_what_is_up_to_date() {
    let folder = Folder::new();
    for steps in 1..=5 {
        let path = folder.old_database(steps).await;
        Store::open(&path).await.unwrap().close().await.unwrap();
        Store::open(&path).await.unwrap().close().await.unwrap();
        fs::remove_file(path).unwrap();
    }
    let kept = list(&folder.path.join(SNAPSHOTS_DIR)).unwrap();
    let kept: Vec<String> = kept.into_iter().map(|(step, _)| step).collect();
    assert_eq!(kept, known()[2..5]);
}

/// O3
#[tokio::test]
async fn an_upgrade_without_room_for_the_copy_does_not_begin() {
    let folder = Folder::new();
    let path = folder.old_database(2).await;
    // A file where the folder would be: as good as a full disk.
    fs::write(folder.path.join(SNAPSHOTS_DIR), "").unwrap();
    let error = Store::open(&path).await.unwrap_err();
    assert!(matches!(error, StoreError::Snapshot { .. }), "{error}");
    assert_eq!(applied_in(&path).await.unwrap(), known()[..2]);
}

#[tokio::test]
async fn a_new_database_needs_no_copy() {
    let opened = open().await;
    assert!(!snapshots_of(&opened.path).exists());
    assert!(way_back(&opened.path, &known()).contains("restore a backup"));
}
