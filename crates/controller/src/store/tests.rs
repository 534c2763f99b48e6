use camino::Utf8PathBuf;

use super::*;
use crate::identity::Installation;

pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) path: Utf8PathBuf,
    _folder: tempfile::TempDir,
}

impl Store {
    /// Does what somebody can do who has the database file.
    pub(crate) async fn tamper(&self, sql: &str) {
        use sea_orm::ConnectionTrait as _;
        self.writer.execute_unprepared(sql).await.unwrap();
    }
}

/// A store in a folder of its own.
pub(crate) async fn open() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().join("state.db")).unwrap();
    Opened {
        store: Store::open(&path).await.unwrap(),
        path,
        _folder: folder,
    }
}

#[tokio::test]
async fn a_database_of_a_newer_controller_is_refused_with_what_to_do_and_left_alone() {
    use sea_orm::ConnectionTrait as _;
    let opened = open().await;
    let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m30000101_000001_flying', 0)";
    opened.store.writer.execute_unprepared(newer).await.unwrap();
    opened.store.close().await.unwrap();
    let error = Store::open(&opened.path).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::TooNew { step, .. } if step.contains("flying")),
        "{error}"
    );
    assert!(error.to_string().contains("restore a backup"), "{error}");
}

#[tokio::test]
async fn the_database_is_durable_and_checks_references() {
    use sea_orm::{ConnectionTrait as _, Statement};
    let opened = open().await;
    let db = &opened.store.writer;
    for (pragma, wanted) in [
        ("journal_mode", "wal"),
        ("synchronous", "2"),
        ("foreign_keys", "1"),
    ] {
        let query = format!("SELECT CAST({pragma} AS TEXT) AS value FROM pragma_{pragma}");
        let row = db
            .query_one_raw(Statement::from_string(db.get_database_backend(), query))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(row.try_get::<String>("", "value").unwrap(), wanted, "{pragma}");
    }
    let readers_write = opened.store.reader.execute_unprepared("DELETE FROM secret").await;
    assert!(readers_write.is_err(), "readers must not write");
}

/// D8
#[tokio::test]
async fn after_a_disk_was_full_whatever_is_answered_as_stored_is_in_the_file() {
    let opened = open().await;
    let store = &opened.store;
    let secret = |number: usize, bytes: usize| vec![(format!("secret {number}"), vec![7; bytes])];
    for round in 0..3 {
        // What a full disk does: SQLite takes the whole transaction back by itself.
        store.tamper("PRAGMA max_page_count = 1").await;
        let failed = store.put_secrets(&secret(round, 1 << 20), 1).await.unwrap_err();
        assert!(failed.is_transient(), "{failed}");
        store.tamper("PRAGMA max_page_count = 1000000").await;
        // Taken back by whoever began it, as when a request is refused.
        drop(store.begin("begin and give up").await.unwrap());
        store.put_secrets(&secret(100 + round, 10), 2).await.unwrap();
        store
            .set_consumer_position("state", round as i64 + 1)
            .await
            .unwrap();
        // Another connection sees only what is committed.
        let other = Store::open_read_only(&opened.path).await.unwrap();
        let names: Vec<String> = other
            .secrets()
            .await
            .unwrap()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert!(
            names.contains(&format!("secret {}", 100 + round)),
            "round {round}: answered as stored, and in no file"
        );
        assert_eq!(other.consumer_position("state").await.unwrap(), round as i64 + 1);
        assert!(!names.contains(&format!("secret {round}")));
        other.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_was_stored_is_there_after_opening_again() {
    let opened = open().await;
    let first = Installation::random().unwrap();
    assert_eq!(opened.store.installation(first, 1).await.unwrap(), first);
    opened
        .store
        .put_secrets(&[("a".to_owned(), vec![1, 2])], 1)
        .await
        .unwrap();
    opened
        .store
        .put_secrets(&[("a".to_owned(), vec![3])], 2)
        .await
        .unwrap();
    opened.store.close().await.unwrap();
    let again = Store::open(&opened.path).await.unwrap();
    let other = Installation::random().unwrap();
    assert_eq!(again.installation(other, 2).await.unwrap(), first);
    assert_eq!(again.secrets().await.unwrap(), [("a".to_owned(), vec![3])]);
}

#[tokio::test]
async fn positions_and_clocks_are_kept_the_clocks_of_few_boots_only() {
    let opened = open().await;
    let store = &opened.store;
    assert_eq!(store.consumer_position("x").await.unwrap(), 0);
    store.set_consumer_position("x", 7).await.unwrap();
    store.set_consumer_position("x", 9).await.unwrap();
    assert_eq!(store.consumer_position("x").await.unwrap(), 9);
    let agent = muster_base::id::AgentId(uuid::Uuid::nil());
    for boot in 0..20_i64 {
        store
            .set_boot_offset(agent, &boot.to_string(), boot * 10, boot)
            .await
            .unwrap();
    }
    assert_eq!(store.boot_offset(agent, "19").await.unwrap(), Some(190));
    assert_eq!(store.boot_offset(agent, "4").await.unwrap(), Some(40));
    assert_eq!(store.boot_offset(agent, "3").await.unwrap(), None);
}

#[test]
fn a_busy_or_full_disk_may_pass_and_a_broken_rule_does_not() {
    for (code, is_transient) in [
        ("5", true),
        ("261", true),
        ("13", true),
        ("778", true),
        ("11", true),
        ("26", true),
        ("787", false),
        ("1", false),
    ] {
        assert_eq!(is_transient_code(code), is_transient, "{code}");
    }
}

#[tokio::test]
async fn a_broken_rule_is_told_as_lasting() {
    use sea_orm::ConnectionTrait as _;
    let opened = open().await;
    let orphan = "INSERT INTO session (token_sha256, user_id, created_ms, expires_ms) VALUES ('x', 77, 0, 0)";
    let error = opened
        .store
        .writer
        .execute_unprepared(orphan)
        .await
        .doing("test")
        .unwrap_err();
    assert!(!error.is_transient(), "{error:?}");
}
