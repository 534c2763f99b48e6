//! Backlog after an outage is history.

use super::*;

fn late(world: &mut World, time_ms: i64, value: f64) {
    row(world, true, time_ms, value);
}

fn row(world: &mut World, is_late: bool, time_ms: i64, value: f64) {
    world.act(|engine, now, changes| {
        let slot = World::slot_of(engine, SERVER, DISK);
        engine.row(
            now,
            is_late,
            time_ms,
            slot.map(|slot| (slot, value)).into_iter(),
            changes,
        );
    });
}

fn outage(world: &mut World, values: &[(i64, f64)]) {
    for (minute, value) in values {
        for step in 0..6 {
            late(world, START - 3_600_000 + minute * MINUTE + step * 10_000, *value);
        }
    }
}

#[test]
fn what_was_over_before_it_could_be_told_is_kept_as_late_and_pages_nobody() {
    let mut world = World::new(&[hot(&json!({"for": "1m"}))]);
    world.sample(50.0);
    let values: Vec<(i64, f64)> = (0..30)
        .map(|minute| (minute, if (10..15).contains(&minute) { 65.0 } else { 50.0 }))
        .collect();
    outage(&mut world, &values);
    world.hold(50.0, 20 * MINUTE);
    assert!(world.news.is_empty());
    let alert = &world.rows[&1];
    assert!(alert.is_late && alert.state == AlertState::Resolved);
    assert_eq!(alert.started_ms, START - 3_600_000 + 10 * MINUTE);
    assert_eq!(alert.ended_ms, Some(START - 3_600_000 + 15 * MINUTE - 10_000));
    assert_eq!(world.rows.len(), 1);
}

#[test]
fn what_goes_on_from_history_into_the_present_is_one_alert_told_once_with_its_true_beginning() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    let values: Vec<(i64, f64)> = (0..60)
        .map(|minute| (minute, if minute < 30 { 50.0 } else { 65.0 }))
        .collect();
    outage(&mut world, &values);
    world.hold(65.0, 15 * MINUTE);
    assert_eq!(world.kinds(), [Firing]);
    assert_eq!(world.rows.len(), 1);
    assert_eq!(world.rows[&1].started_ms, START - 30 * MINUTE);
    assert_eq!(world.state(), [AlertState::Active]);
}

#[test]
fn a_clear_backlog_does_not_end_an_alert_that_fires_now() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(65.0);
    outage(&mut world, &[(0, 50.0), (1, 50.0), (2, 40.0)]);
    assert_eq!(world.state(), [AlertState::Active]);
    assert_eq!(world.kinds(), [Firing]);
}

#[test]
fn a_short_peak_in_history_is_no_alert_if_the_rule_waits_for_longer() {
    let mut world = World::new(&[hot(&json!({"for": "10m"}))]);
    outage(&mut world, &[(0, 50.0), (1, 65.0), (2, 65.0), (3, 50.0)]);
    world.pass(15 * MINUTE);
    assert!(world.rows.is_empty() && world.news.is_empty());
}

#[test]
fn a_number_that_a_newer_one_has_overtaken_neither_ends_nor_begins_anything() {
    let mut world = World::new(&[hot(&json!({}))]);
    world.sample(50.0);
    world.pass(MINUTE);
    world.sample(65.0);
    let newest = START + MINUTE;
    for behind_ms in [10_000, 30_000, 59_000] {
        row(&mut world, false, newest - behind_ms, 50.0);
    }
    assert_eq!(world.state(), [AlertState::Active]);
    world.sample(50.0);
    assert_eq!(world.kinds(), [Firing, Resolved]);
    row(&mut world, false, newest - 5_000, 65.0);
    assert_eq!(world.kinds(), [Firing, Resolved]);
    // A clock that was set back by more than reports can be late is what the clock is now.
    row(&mut world, false, newest - 24 * 60 * MINUTE, 65.0);
    assert_eq!(world.state().iter().filter(|state| state.is_open()).count(), 1);
}
