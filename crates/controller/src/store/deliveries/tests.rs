//! The bounds of what waits and of what is kept, at their full size.

use std::collections::HashMap;

use muster_notify::test_news;

use super::*;
use crate::store::tests::open;

const NOW: i64 = 1_800_000_000_000;

/// A channel that is enabled, and `count` deliveries to it in that state, numbered from 1 and changed a ms after another.
async fn full_of(store: &Store, state: DeliveryState, count: u64) {
    store
        .tamper(
            "INSERT INTO notification_channel (id, name, kind, enabled, settings, options, secret_names, seal_name, \
             created_ms, changed_ms) VALUES (1, 'pager', 'webhook', 1, '{}', '{}', '[]', 'x', 0, 0)",
        )
        .await;
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO notification_delivery (id, notification_id, channel_id, alert_id, kind, title, body, state, \
         attempts, created_ms, due_ms, changed_ms) \
         SELECT i, 'old-' || i, 1, i, 'firing', 'old', '{{}}', '{}', 0, {NOW} + i, {NOW} + i, {NOW} + i FROM n",
        state.as_str()
    );
    store.tamper(&fill).await;
}

async fn count(store: &Store, state: DeliveryState) -> u64 {
    let query = DeliveryQuery {
        state: Some(state),
        ..DeliveryQuery::default()
    };
    store.deliveries(query, None, 1).await.unwrap().1
}

#[tokio::test]
async fn beyond_ten_thousand_that_wait_the_oldest_are_given_up_and_say_so() {
    let opened = open().await;
    let store = &opened.store;
    full_of(store, DeliveryState::Waiting, WAITING_MAX).await;
    let news: Vec<Notification> = (1..=3).map(|at_ms| test_news("pager", at_ms)).collect();
    for news in &news {
        store.put_news(news, &[1], NOW).await.unwrap();
    }
    assert_eq!(count(store, DeliveryState::Waiting).await, WAITING_MAX);
    let query = DeliveryQuery {
        state: Some(DeliveryState::Dead),
        ..DeliveryQuery::default()
    };
    let (dead, total) = store.deliveries(query, None, 10).await.unwrap();
    let ids: Vec<i64> = dead.iter().map(|row| row.id).collect();
    assert_eq!((ids, total), (vec![3, 2, 1], 3));
    for row in &dead {
        assert_eq!(row.answer.as_deref(), Some("too many news waited"), "{row:?}");
    }
    for news in &news {
        let kept = store.delivery_of(&news.id, 1).await.unwrap().unwrap();
        assert_eq!(kept.state, DeliveryState::Waiting, "what is new waits");
    }
    // What was given up can wait again, and another is given up for it.
    assert_eq!(store.revive_delivery(1, NOW).await.unwrap(), Some(true));
    assert_eq!(count(store, DeliveryState::Waiting).await, WAITING_MAX);
    println!("{WAITING_MAX} wait");
}

#[tokio::test]
async fn beyond_a_hundred_thousand_records_the_oldest_go_and_what_waits_stays() {
    let opened = open().await;
    let store = &opened.store;
    let excess = 2_500;
    full_of(store, DeliveryState::Sent, KEPT_MAX + excess).await;
    let news = test_news("pager", 1);
    store.put_news(&news, &[1], NOW).await.unwrap();
    store.forget_deliveries(NOW).await.unwrap();
    assert_eq!(count(store, DeliveryState::Sent).await, KEPT_MAX);
    assert_eq!(count(store, DeliveryState::Waiting).await, 1);
    let excess = i64::try_from(excess).unwrap();
    let told = store.told(&[1, excess, excess + 1]).await.unwrap();
    assert_eq!(
        told,
        HashMap::from([(excess + 1, NOW + excess + 1)]),
        "the oldest went"
    );
    // A year later all of them go, and what waits does not.
    store.forget_deliveries(NOW + 2 * KEPT_MS).await.unwrap();
    assert_eq!(count(store, DeliveryState::Sent).await, 0);
    assert_eq!(count(store, DeliveryState::Waiting).await, 1);
    println!("{KEPT_MAX} kept");
}
