use super::*;
use crate::app::tests::TestApp;

fn ann() -> Actor {
    Actor::User {
        id: 7,
        name: "ann".to_owned(),
    }
}

fn refusal(n: u64) -> Entry {
    Entry::refused(
        Actor::Nobody,
        "auth.login",
        format!("account {n}"),
        "bad_credentials",
    )
}

/// An app with this many entries a second apart, the newest of them anchored.
async fn filled(entries: usize) -> TestApp {
    let test = TestApp::new().await;
    for n in 0..entries {
        test.pass(1_000);
        let entry = Entry::allowed(ann(), "server.create", format!("server {n}"))
            .from_peer("192.0.2.1".parse().unwrap())
            .with_detail("hostname=a");
        test.app.audit().record(entry).await.unwrap();
    }
    test.app.audit().anchor().await.unwrap();
    test
}

async fn verdict(test: &TestApp) -> Verdict {
    let key = test.app.identity().mac_key(KEY_PURPOSE);
    verify(test.app.store(), key, &test.folder).await.unwrap()
}

async fn reopened(test: &TestApp) -> Audit {
    let key = test.app.identity().mac_key(KEY_PURPOSE);
    let opened = Audit::open(test.app.store().clone(), test.clock.clone(), key, &test.folder);
    opened.await.unwrap()
}

async fn all(test: &TestApp) -> Vec<Recorded> {
    let page = test
        .app
        .audit()
        .list(AuditFilter::default(), PageRequest::default());
    page.await.unwrap().items
}

/// S27
#[tokio::test]
async fn what_a_crash_leaves_between_an_effect_and_its_entry_is_told_once_by_the_next_start() {
    let test = filled(1).await;
    let entry =
        Entry::allowed(ann(), "user.delete", "/api/users/9\nx").from_peer("192.0.2.1".parse().unwrap());
    let told = test.app.audit().begin(&entry).await;
    test.app.audit().conclude(Some(told), entry.clone()).await;
    assert_eq!(all(&test).await.len(), 2);
    // As after a kill: nobody ends it.
    drop(test.app.audit().begin(&entry).await);
    for _ in 0..2 {
        reopened(&test).await.anchor().await.unwrap();
        let entries = all(&test).await;
        assert_eq!(entries.len(), 3);
        let newest = &entries[0];
        assert_eq!(
            (
                newest.action.as_str(),
                newest.outcome.as_str(),
                newest.target.as_str()
            ),
            ("audit.interrupted", "unknown", "user.delete /api/users/9 x")
        );
        assert!(
            newest.detail.contains("user 7 ann from 192.0.2.1"),
            "{}",
            newest.detail
        );
        assert!(newest.detail.starts_with("intended by"), "{}", newest.detail);
        assert!(newest.detail.ends_with("outcome unknown"), "{}", newest.detail);
    }
}

#[tokio::test]
async fn what_was_recorded_is_listed_newest_first_and_filtered() {
    let test = filled(5).await;
    let refused = refusal(1).from_peer("198.51.100.7".parse().unwrap());
    test.app.audit().record(refused).await.unwrap();
    let entries = all(&test).await;
    assert_eq!(entries.len(), 6);
    let newest = &entries[0];
    assert_eq!(
        (newest.id, newest.actor_kind.as_str(), newest.peer.as_str()),
        (6, "nobody", "198.51.100.7")
    );
    assert_eq!(
        (newest.outcome.as_str(), newest.reason.as_str(), newest.count),
        ("refused", "bad_credentials", 1)
    );
    let filter = AuditFilter {
        actor: Some("ann".to_owned()),
        action: Some("server.create".to_owned()),
        from_ms: Some(entries[4].time_ms),
        to_ms: Some(entries[1].time_ms),
    };
    let request = PageRequest {
        limit: Some(2),
        cursor: None,
    };
    let found = test.app.audit().list(filter.clone(), request).await.unwrap();
    assert_eq!(
        (found.total, found.items[0].id, found.next.as_deref()),
        (3, 4, Some("3"))
    );
    let rest = PageRequest {
        limit: Some(2),
        cursor: found.next,
    };
    let found = test.app.audit().list(filter, rest).await.unwrap();
    assert_eq!((found.items.len(), found.items[0].id, found.next), (1, 2, None));
}

/// Everything that can be done to a log of so many entries by one change.
fn changes(entries: usize) -> Vec<String> {
    let mut attempts = Vec::new();
    for id in 1..=entries {
        for text in [
            "actor_kind",
            "actor_id",
            "actor_name",
            "peer",
            "action",
            "target",
            "outcome",
            "reason",
            "detail",
        ] {
            attempts.push(format!(
                "UPDATE audit_entry SET {text} = {text} || 'x' WHERE id = {id}"
            ));
        }
        for number in ["time_ms", "count"] {
            attempts.push(format!(
                "UPDATE audit_entry SET {number} = {number} + 1 WHERE id = {id}"
            ));
        }
        for blob in ["previous", "hash"] {
            attempts.push(format!("UPDATE audit_entry SET {blob} = x'00' WHERE id = {id}"));
            attempts.push(format!(
                "UPDATE audit_entry SET {blob} = zeroblob(33) WHERE id = {id}"
            ));
        }
        // A neighbour that looks as if the entry had never been.
        attempts.push(format!("DELETE FROM audit_entry WHERE id = {id}"));
        attempts.push(format!(
            "DELETE FROM audit_entry WHERE id = {id}; UPDATE audit_entry SET id = id - 1 WHERE id > {id}"
        ));
        attempts.push(format!("DELETE FROM audit_entry WHERE id >= {id}"));
        attempts.push(format!("DELETE FROM audit_entry WHERE id <= {id}"));
        attempts.push(format!(
            "DELETE FROM audit_entry WHERE id <= {id}; INSERT INTO audit_start VALUES (1, {id} + 1, \
             coalesce((SELECT previous FROM audit_entry WHERE id = {id} + 1), x'00'), 0, zeroblob(32))"
        ));
        attempts.push(format!(
            "INSERT INTO audit_entry SELECT id + 100, time_ms, actor_kind, actor_id, actor_name, peer, action, target, \
             outcome, reason, detail, count, previous, hash FROM audit_entry WHERE id = {id}"
        ));
        for other in id + 1..=entries {
            attempts.push(format!(
                "UPDATE audit_entry SET id = -1 WHERE id = {id}; UPDATE audit_entry SET id = {id} WHERE id = {other}; \
                 UPDATE audit_entry SET id = {other} WHERE id = -1"
            ));
        }
    }
    attempts
}

/// S27
#[tokio::test]
async fn every_edit_removal_swap_and_cut_of_the_log_is_found() {
    const ENTRIES: usize = 9;
    let test = filled(ENTRIES).await;
    let store = test.app.store();
    let intact = verdict(&test).await;
    assert_eq!(
        (intact.is_intact(), intact.entries, intact.anchored_id),
        (true, 9, 9),
        "{intact:?}"
    );
    store.tamper("PRAGMA synchronous = OFF").await;
    store
        .tamper("CREATE TABLE kept AS SELECT * FROM audit_entry")
        .await;
    let attempts = changes(ENTRIES);
    let mut found = 0;
    for attempt in &attempts {
        store.tamper(attempt).await;
        let after = verdict(&test).await;
        assert!(!after.is_intact(), "not found: {attempt}");
        found += 1;
        let undo =
            "DELETE FROM audit_start; DELETE FROM audit_entry; INSERT INTO audit_entry SELECT * FROM kept";
        store.tamper(undo).await;
    }
    assert!(verdict(&test).await.is_intact());
    println!("S27: {found} of {} changes found", attempts.len());
}

/// S27
#[tokio::test]
async fn a_chain_made_anew_without_the_key_is_not_ours() {
    let test = filled(3).await;
    let forger = Chain::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &[0; 32]));
    let mut head = Head::of(None);
    let mut forged = Vec::new();
    for n in 0..3 {
        let row = forger.link(&head, &Entry::allowed(ann(), "server.create", "another"), 1, n);
        head = Head::of(Some(row.clone()));
        forged.push(row);
    }
    test.app.store().tamper("DELETE FROM audit_entry").await;
    test.app.store().append_audit(forged).await.unwrap();
    let after = verdict(&test).await;
    for id in 1..=3 {
        assert!(after.damage.contains(&Damage::Changed { id }), "{after:?}");
    }
    assert!(after.damage.contains(&Damage::Replaced { id: 3 }), "{after:?}");
}

/// S27
#[tokio::test]
async fn an_end_that_was_cut_off_stays_visible_when_the_log_goes_on() {
    let test = filled(6).await;
    test.app
        .store()
        .tamper("DELETE FROM audit_entry WHERE id > 3")
        .await;
    let cut = verdict(&test).await;
    assert_eq!(cut.damage, [Damage::CutOff { last: 3, anchored: 6 }]);
    // The controller is started again, and does not know better than to go on.
    let audit = reopened(&test).await;
    for _ in 0..5 {
        audit
            .record(Entry::allowed(ann(), "server.delete", "server 1"))
            .await
            .unwrap();
    }
    audit.anchor().await.unwrap();
    let gone_on = verdict(&test).await;
    assert_eq!(gone_on.damage, [Damage::Replaced { id: 6 }]);
}

#[tokio::test]
async fn the_file_of_anchors_survives_a_cut_line_and_shows_a_forged_one() {
    let test = filled(2).await;
    let path = test.folder.join(ANCHOR_FILE);
    let genuine = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{genuine}{}", &genuine[..20])).unwrap();
    test.app
        .audit()
        .record(Entry::allowed(ann(), "server.create", "x"))
        .await
        .unwrap();
    test.app.audit().anchor().await.unwrap();
    let after = verdict(&test).await;
    assert_eq!(
        (after.anchors, after.anchored_id, after.damage),
        (2, 3, vec![Damage::ForgedAnchor { line: 2 }])
    );
    std::fs::write(&path, genuine.replace(" 2 ", " 1 ")).unwrap();
    assert_eq!(verdict(&test).await.damage, [Damage::ForgedAnchor { line: 1 }]);
}

#[tokio::test]
async fn the_file_of_anchors_is_bounded_and_keeps_the_newest() {
    let test = filled(1).await;
    let path = test.folder.join(ANCHOR_FILE);
    let line = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, line.repeat(1_100_000 / line.len())).unwrap();
    test.app
        .audit()
        .record(Entry::allowed(ann(), "server.create", "x"))
        .await
        .unwrap();
    test.app.audit().anchor().await.unwrap();
    assert!(std::fs::metadata(&path).unwrap().len() < 300_000);
    let after = verdict(&test).await;
    assert_eq!(
        (after.anchors, after.anchored_id, after.is_intact()),
        (1_024, 2, true)
    );
}

#[tokio::test]
async fn retention_moves_the_start_and_the_log_stays_whole() {
    let test = filled(10).await;
    let kept = test.app.audit().retain(Duration::from_secs(4)).await.unwrap();
    assert_eq!(kept, 5, "the tenth is of now, the sixth four seconds older");
    let after = verdict(&test).await;
    assert_eq!(
        (after.is_intact(), after.first_id, after.last_id),
        (true, 6, 11),
        "{after:?}"
    );
    assert_eq!(all(&test).await[0].action, "audit.retain");
    assert_eq!(test.app.audit().retain(Duration::from_secs(4)).await.unwrap(), 0);
    // However old all of it is, the chain has something to hang on.
    test.pass(1_000_000);
    test.app.audit().retain(Duration::from_secs(4)).await.unwrap();
    assert!(verdict(&test).await.is_intact());
    assert_eq!(all(&test).await.len(), 2);
    test.app
        .store()
        .tamper("UPDATE audit_start SET first_id = first_id + 1")
        .await;
    assert!(verdict(&test).await.damage.contains(&Damage::ForgedStart));
}

#[tokio::test]
async fn a_restored_database_goes_on_behind_what_was_anchored() {
    let test = filled(4).await;
    let store = test.app.store();
    store
        .tamper("CREATE TABLE kept AS SELECT * FROM audit_entry")
        .await;
    for _ in 0..3 {
        test.app
            .audit()
            .record(Entry::allowed(ann(), "server.create", "lost"))
            .await
            .unwrap();
    }
    test.app.audit().anchor().await.unwrap();
    let undo = "DELETE FROM audit_entry; INSERT INTO audit_entry SELECT * FROM kept";
    store.tamper(undo).await;
    let audit = reopened(&test).await;
    audit
        .restored(Actor::Local { uid: 0 }, "from a.backup")
        .await
        .unwrap();
    let after = verdict(&test).await;
    assert_eq!(
        (after.is_intact(), after.last_id, after.lost_by_restore),
        (true, 8, 3),
        "{after:?}"
    );
    // What nobody but the restore may do.
    store.tamper("DELETE FROM audit_entry WHERE id = 4").await;
    assert!(!verdict(&test).await.is_intact());
}

#[tokio::test]
async fn refusals_that_cost_nothing_are_counted_and_not_all_written() {
    let test = TestApp::new().await;
    for n in 0..1_000 {
        test.app.audit().record(refusal(n)).await.unwrap();
    }
    test.app
        .audit()
        .record(Entry::allowed(ann(), "server.create", "x"))
        .await
        .unwrap();
    assert_eq!(
        all(&test).await.len(),
        11,
        "one kind of refusal hides nothing else"
    );
    test.app.audit().anchor().await.unwrap();
    let entries = all(&test).await;
    assert_eq!((entries.len(), entries[0].count), (12, 990));
    assert_eq!(entries[0].target, "account 999");
    assert!(verdict(&test).await.is_intact());
}

#[tokio::test]
async fn entries_that_come_together_are_all_written_in_one_chain() {
    let test = TestApp::new().await;
    let audit = test.app.audit();
    let entry = |n| Entry::allowed(ann(), "server.create", format!("server {n}"));
    let together = (0..200).map(|n| audit.record(entry(n)));
    for outcome in futures::future::join_all(together).await {
        outcome.unwrap();
    }
    // One whose caller gives up at once is written all the same.
    drop(tokio::time::timeout(Duration::ZERO, audit.record(entry(200))).await);
    audit.record(entry(201)).await.unwrap();
    let after = verdict(&test).await;
    assert_eq!((after.is_intact(), after.entries), (true, 202), "{after:?}");
}

#[tokio::test]
async fn long_and_odd_texts_are_cut_and_signed_as_they_are_kept() {
    let test = TestApp::new().await;
    let entry = Entry::allowed(ann(), "server.create", "ä".repeat(400)).with_detail("\u{0}\n".repeat(2_000));
    test.app.audit().record(entry).await.unwrap();
    let kept = all(&test).await.remove(0);
    assert!(kept.target.len() <= 512 && kept.target.ends_with('…'));
    assert!(kept.detail.len() <= 2_048);
    assert!(verdict(&test).await.is_intact());
}
