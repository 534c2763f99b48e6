//! Clocks that are wrong or are set: told of, and nobody is called lost for it.

use std::time::{Duration, Instant};

use super::*;

/// What the skew of a clock is to be told within.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

async fn named(world: &World, rule: &str, state: Option<&str>) -> usize {
    let found = world.app.store().alerts(&AlertFilter::default(), None, 100).await;
    let (alerts, _) = found.unwrap();
    alerts
        .iter()
        .filter(|alert| alert.rule_name == rule && state.is_none_or(|state| alert.state.as_str() == state))
        .count()
}

/// Waits until so many alerts of the rule are in that state; after how long they were.
async fn until(world: &World, rule: &str, state: &str, count: usize) -> Duration {
    let began = Instant::now();
    while named(world, rule, Some(state)).await != count {
        assert!(began.elapsed() < TOLD_WITHIN, "{rule} {state}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    began.elapsed()
}

/// D12
#[tokio::test]
async fn clocks_that_jump_are_told_of_within_a_minute_and_no_server_is_called_lost() {
    const HOUR: i64 = 3_600_000;
    let world = World::new().await;
    let presence = world.app.presence();
    // An hour and a day either way, 1970 and 2038.
    let jumps = [HOUR, -HOUR, 24 * HOUR, -24 * HOUR, -NOW, 2_147_483_647_000 - NOW];
    let mut streams = Vec::new();
    for (number, jump_ms) in jumps.into_iter().enumerate() {
        let new = NewServer {
            hostname: format!("jumps{number}"),
            ..NewServer::default()
        };
        let server = world.app.create_server(new, "admin").await.unwrap().server.id;
        let stream = presence.connected(server, NOW);
        presence.clock_read(stream, jump_ms);
        streams.push(stream);
    }
    let told = until(&world, "Clock is wrong", "active", jumps.len()).await;
    // The controller's own clock is set too, while agents go on answering.
    for jump_ms in [HOUR, -24 * HOUR, -NOW, 2_147_483_647_000 - NOW, 0] {
        world.app.clock().set(NOW + jump_ms);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        for stream in &streams {
            presence.ponged(*stream, NOW + jump_ms);
        }
    }
    for stream in &streams {
        presence.clock_read(*stream, 20);
    }
    let ended = until(&world, "Clock is wrong", "resolved", jumps.len()).await;
    assert_eq!(named(&world, "Server is not heard", None).await, 0);
    println!(
        "{} jumps told after {told:?}, goal {TOLD_WITHIN:?}; over after {ended:?}",
        jumps.len()
    );
}
