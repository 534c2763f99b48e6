//! One fault, one page: many servers, and what rests on what.

use super::*;
use crate::AFFECTED_MAX;

fn lost() -> Value {
    json!({"name": "lost", "metric_name": "is_connected", "condition": "lt", "critical_threshold": 1})
}

fn add_servers(world: &mut World, count: i64) {
    for server in 1..=count {
        world.act(|engine, now, changes| {
            let facts = ServerFacts {
                name: format!("s{server}"),
                tags: vec![],
            };
            engine.set_server(now, server, facts, changes);
        });
        say(world, server, true);
    }
}

fn say(world: &mut World, server: i64, is_connected: bool) {
    world.act(|engine, now, _| engine.set_connected(now, server, is_connected));
    let value = if is_connected { 1.0 } else { 0.0 };
    world.fact("is_connected", ResourceKind::Server, server, server, value);
}

/// D15
#[test]
fn a_thousand_servers_lost_at_once_are_one_page_and_one_end() {
    let mut world = World::new(&[lost(), hot(&json!({}))]);
    add_servers(&mut world, 1_000);
    for server in 1..=1_000 {
        say(&mut world, server, false);
        if server % 50 == 0 {
            world.pass(1_000);
        }
    }
    world.pass(2 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    let news = &world.news[0];
    assert!(news.server.is_none() && AFFECTED_MAX <= news.affected.len());
    println!("{} ({} more)", news.title, news.affected_more);
    world.boot();
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing], "a restart tells nobody again");
    for server in 1..=999 {
        say(&mut world, server, true);
    }
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    say(&mut world, 1_000, true);
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved]);
    assert!(
        world
            .rows
            .values()
            .all(|alert| alert.state == AlertState::Resolved)
    );
}

#[test]
fn one_lost_server_is_told_by_itself_soon_and_one_lost_much_later_too() {
    let mut world = World::new(&[lost()]);
    add_servers(&mut world, 10);
    say(&mut world, 1, false);
    world.pass(11_000);
    assert_eq!(world.kinds(), [Firing]);
    assert_eq!(
        world.news[0].server.as_ref().map(|server| server.name.as_str()),
        Some("s1")
    );
    for server in 2..=5 {
        say(&mut world, server, false);
    }
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing, Firing]);
    say(&mut world, 6, false);
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing, Firing], "joins those lost a minute ago");
    world.pass(10 * MINUTE);
    say(&mut world, 7, false);
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing; 3]);
    assert_eq!(world.news[2].server.as_ref().map(|server| server.id), Some(7));
}

#[test]
fn a_server_that_is_back_before_it_was_told_is_not_told() {
    let mut world = World::new(&[lost()]);
    add_servers(&mut world, 1);
    say(&mut world, 1, false);
    world.pass(5_000);
    say(&mut world, 1, true);
    world.pass(5 * MINUTE);
    assert!(world.news.is_empty());
}

const POOL: i64 = 11;
const FILESYSTEM: i64 = 12;

fn chain(world: &mut World) {
    let resource = |id, kind, name: &str| ResourceFacts {
        id,
        kind,
        name: name.to_owned(),
    };
    let resources = vec![
        resource(DISK, ResourceKind::Device, "sda"),
        resource(POOL, ResourceKind::Pool, "md0"),
        resource(FILESYSTEM, ResourceKind::Filesystem, "/srv"),
    ];
    world.act(|engine, now, changes| {
        engine.set_resources(
            now,
            SERVER,
            resources,
            &[(POOL, DISK), (FILESYSTEM, POOL)],
            changes,
        );
    });
}

fn failing(kind: &str) -> Value {
    json!({"name": format!("{kind} fails"), "resource_type": kind, "metric_name": "health", "condition": "gte",
        "warning_threshold": 1, "critical_threshold": 2, "covers": true, "cooldown": 0})
}

#[test]
fn what_rests_on_a_failed_disk_is_named_inside_its_alert_and_told_when_it_outlasts_that() {
    let mut world = World::new(&[failing("device"), failing("pool")]);
    chain(&mut world);
    world.fact("health", ResourceKind::Device, SERVER, DISK, 3.0);
    world.fact("health", ResourceKind::Pool, SERVER, POOL, 2.0);
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    let names: Vec<&str> = world.news[0]
        .affected
        .iter()
        .map(|resource| resource.name.as_str())
        .collect();
    assert_eq!(names, ["md0", "/srv"]);
    assert!(
        world.news[0].text.contains("Affected: md0, /srv."),
        "{}",
        world.news[0].text
    );
    assert_eq!(world.rows[&2].inside, Some(1));
    world.boot();
    chain(&mut world);
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    world.fact("health", ResourceKind::Pool, SERVER, POOL, 2.0);
    world.fact("health", ResourceKind::Device, SERVER, DISK, 0.0);
    world.pass(MINUTE);
    assert_eq!(world.kinds(), [Firing, Resolved, Firing]);
    assert_eq!(
        world.news[2].resource.as_ref().map(|resource| resource.id),
        Some(POOL)
    );
}

#[test]
fn what_is_worse_than_the_fault_below_it_is_told_by_itself() {
    let mut world = World::new(&[failing("device"), failing("pool")]);
    chain(&mut world);
    world.fact("health", ResourceKind::Device, SERVER, DISK, 1.0);
    world.fact("health", ResourceKind::Pool, SERVER, POOL, 2.0);
    assert_eq!(world.kinds(), [Firing, Firing]);
}
