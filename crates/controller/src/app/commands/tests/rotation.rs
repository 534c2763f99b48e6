//! Another key while commands are asked for and sent, and a rotation of which it is open whether it was stored.

use std::pin::pin;

use super::*;
use crate::identity::NextCommandKey;

/// Whether the key that signs now has signed what is sent, and is named on it.
fn is_of_the_key(estate: &Estate, sending: &Sending) -> bool {
    let key = estate.test.app.identity().command_keys().remove(0);
    let signed = muster_proto::convert::signed_bytes(&sending.envelope.command);
    sending.envelope.key_id == estate.commands().key().id
        && is_signed(&key, &signed, &sending.envelope.signature)
}

async fn sent(estate: &Estate) -> Vec<Sending> {
    let sent = estate.commands().to_send(estate.agent, Some(1), 0).await;
    sent.unwrap()
}

#[tokio::test]
async fn what_is_sent_while_the_key_is_held_is_signed_by_it_and_a_rotation_waits_for_that() {
    let estate = Estate::new().await;
    let commands = estate.commands();
    let waiting = estate.issue().await;
    let held = commands.hold_key().await.unwrap();
    let before = commands.key();
    let mut rotation = pin!(commands.rotate_key());
    assert!(futures::poll!(rotation.as_mut()).is_pending(), "the key is held");
    // Whoever asks for a command meanwhile waits behind the rotation, and is signed by the new key.
    let mut asked = pin!(estate.issue());
    assert!(futures::poll!(asked.as_mut()).is_pending());
    let sendings = commands
        .to_send_under(&held, estate.agent, Some(1), 0)
        .await
        .unwrap();
    assert_eq!(commands.key(), before);
    assert_eq!(sendings.len(), 1);
    assert!(is_of_the_key(&estate, &sendings[0]));
    drop(held);
    let (rotated, later) = futures::join!(rotation, asked);
    let (_, after) = rotated.unwrap();
    assert_ne!(after.id, before.id);
    let sendings = sent(&estate).await;
    let counters: Vec<u64> = sendings.iter().map(|sending| sending.counter).collect();
    assert_eq!(counters, [waiting.counter, later.counter]);
    for sending in &sendings {
        assert!(is_of_the_key(&estate, sending), "{}", sending.counter);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_asked_for_and_sent_through_many_rotations_are_all_of_the_key_that_was_seen() {
    const ROTATIONS: usize = 8;
    let estate = Estate::new().await;
    let commands = estate.commands();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let rotate = async {
        for _ in 0..ROTATIONS {
            commands.rotate_key().await.unwrap();
        }
        is_over.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let ask = async {
        let mut counters = Vec::new();
        for _ in 0..ROTATIONS {
            counters.push(estate.issue().await.counter);
        }
        counters
    };
    let send = async {
        let mut looks = 0;
        while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
            let held = commands.hold_key().await.unwrap();
            let sendings = commands
                .to_send_under(&held, estate.agent, Some(1), 0)
                .await
                .unwrap();
            for sending in &sendings {
                assert!(is_of_the_key(&estate, sending), "{}", sending.counter);
            }
            drop(held);
            looks += 1;
        }
        looks
    };
    let ((), counters, looks) = futures::join!(rotate, ask, send);
    println!("{looks} looks through {ROTATIONS} rotations");
    // None was taken for a forged one on the way.
    let sendings = sent(&estate).await;
    let left: Vec<u64> = sendings.iter().map(|sending| sending.counter).collect();
    assert_eq!(left, counters);
    assert!(sendings.iter().all(|sending| is_of_the_key(&estate, sending)));
    assert_eq!(commands.key_way().unwrap().steps.len(), ROTATIONS);
}

/// Stores another key as a rotation does, of which then nobody hears; or only makes it.
async fn broken_off(estate: &Estate, is_stored: bool) -> String {
    let inner = &estate.commands().inner;
    let next: NextCommandKey = inner.identity.next_command_key().unwrap();
    if is_stored {
        let again = |bytes: &[u8]| {
            let envelope = CommandEnvelope::decode(bytes).unwrap();
            let signed = CommandEnvelope {
                signature: next.sign(&envelope.command),
                key_id: next.id(),
                ..envelope
            };
            Some(signed.encode_to_vec())
        };
        let now_ms = inner.clock.now_ms();
        let stored = inner
            .store
            .rotate_command_key(next.changes(), again, now_ms)
            .await;
        stored.unwrap();
    }
    let id = next.id();
    *inner.signing.write().await = Some(next);
    id
}

#[tokio::test]
async fn after_a_rotation_that_broke_off_the_key_signs_that_the_database_has() {
    for is_stored in [true, false] {
        let estate = Estate::new().await;
        let before = estate.commands().key().id;
        let waiting = estate.issue().await;
        let rotated = estate.commands().rotated();
        let other = broken_off(&estate, is_stored).await;
        let sendings = sent(&estate).await;
        let expected = if is_stored { &other } else { &before };
        assert_eq!(&estate.commands().key().id, expected, "stored: {is_stored}");
        assert_eq!(rotated.has_changed().unwrap(), is_stored);
        assert_eq!(sendings.len(), 1);
        assert_eq!(sendings[0].counter, waiting.counter);
        assert!(is_of_the_key(&estate, &sendings[0]), "stored: {is_stored}");
        // From there on it goes on as ever.
        let (from, to) = estate.commands().rotate_key().await.unwrap();
        assert_eq!(&from.id, expected);
        assert_ne!(&to.id, expected);
        assert!(is_of_the_key(&estate, &sent(&estate).await[0]));
    }
}

#[tokio::test]
async fn nothing_is_signed_or_judged_while_it_is_open_which_key_signs() {
    let estate = Estate::new().await;
    let waiting = estate.issue().await;
    let other = broken_off(&estate, true).await;
    let store = estate.test.app.store();
    store.tamper("ALTER TABLE secret RENAME TO secret_away").await;
    assert!(estate.commands().hold_key().await.is_err());
    let sent_none = estate.commands().to_send(estate.agent, Some(1), 0).await;
    assert!(sent_none.is_err());
    let issuer = Issuer::task("test");
    let none = estate
        .commands()
        .issue(estate.server, start(), &issuer, IssueOptions::default());
    assert!(matches!(none.await, Err(IssueError::Store(_))));
    assert!(estate.commands().rotate_key().await.is_err());
    store.tamper("ALTER TABLE secret_away RENAME TO secret").await;
    let sendings = sent(&estate).await;
    assert_eq!(estate.commands().key().id, other);
    let counters: Vec<u64> = sendings.iter().map(|sending| sending.counter).collect();
    assert_eq!(
        counters,
        [waiting.counter],
        "what waited was not taken for forged"
    );
}

#[tokio::test]
async fn a_rotation_that_the_database_refuses_changes_nothing() {
    let estate = Estate::new().await;
    let waiting = estate.issue().await;
    let before = estate.commands().key();
    let store = estate.test.app.store();
    store
        .tamper("CREATE TRIGGER refused BEFORE UPDATE ON command BEGIN SELECT RAISE(ABORT, 'no'); END")
        .await;
    let error = estate.commands().rotate_key().await.unwrap_err();
    assert!(matches!(error, RotateError::Store(_)), "{error:?}");
    store.tamper("DROP TRIGGER refused").await;
    assert_eq!(estate.commands().key(), before);
    let sendings = sent(&estate).await;
    assert_eq!(sendings[0].counter, waiting.counter);
    assert!(is_of_the_key(&estate, &sendings[0]));
}

/// As when whoever asked for it has hung up.
#[tokio::test]
async fn a_rotation_that_is_given_up_half_way_is_whole_or_nothing() {
    for polls in [1, 2, 3, 5, 8, 13, 21, 34, 55, 1_000] {
        let estate = Estate::new().await;
        let waiting = estate.issue().await;
        let before = estate.commands().key().id;
        let is_done = {
            let mut rotation = pin!(estate.commands().rotate_key());
            let mut is_done = false;
            for _ in 0..polls {
                if futures::poll!(rotation.as_mut()).is_ready() {
                    is_done = true;
                    break;
                }
                tokio::task::yield_now().await;
            }
            is_done
        };
        let sendings = sent(&estate).await;
        assert_eq!(sendings.len(), 1, "after {polls}");
        assert_eq!(sendings[0].counter, waiting.counter);
        assert!(is_of_the_key(&estate, &sendings[0]), "after {polls}");
        assert!(!is_done || estate.commands().key().id != before);
    }
}
