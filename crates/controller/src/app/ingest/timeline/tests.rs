//! D12: clocks that jump, stand in another century, drift or are stepped in the middle of a batch.

use super::*;

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const YEAR_2038: i64 = 2_147_483_648_000;
const YEAR_2100: i64 = 4_102_444_800_000;

/// An agent's machine: it was booted at a true time, and its wall clock is off by whatever it is told.
struct Machine {
    booted_ms: i64,
    boot_id: &'static str,
}

impl Machine {
    /// Its clocks at the true time `at_ms`, with the wall clock off by `error_ms`.
    fn clock(&self, at_ms: i64, error_ms: i64) -> Clock {
        Clock {
            wall_ms: at_ms.saturating_add(error_ms),
            boottime_ms: at_ms - self.booted_ms,
            boot_id: self.boot_id.to_owned(),
        }
    }
}

fn machine() -> Machine {
    Machine {
        booted_ms: NOW - 10 * DAY,
        boot_id: "boot",
    }
}

fn empty() -> Timeline {
    Timeline::new(0, &[], NOW)
}

/// The time that a report made at the true time `at_ms` gets.
fn placed(timeline: &Timeline, clock: &Clock, received_ms: i64) -> i64 {
    clock.wall_ms + timeline.place(clock, received_ms).shift_ms
}

#[test]
fn a_clock_within_ten_minutes_is_believed() {
    let (timeline, machine) = (empty(), machine());
    timeline.read(&machine.clock(NOW, 0), NOW);
    for error_ms in [0, 5_000, -5_000, DISAGREEMENT_MS, -DISAGREEMENT_MS] {
        let clock = machine.clock(NOW + HOUR, error_ms);
        assert_eq!(
            timeline.place(&clock, NOW + HOUR),
            Placement::AS_SENT,
            "{error_ms}"
        );
    }
}

/// D12
#[test]
fn whatever_a_known_boots_clock_jumps_to_its_reports_keep_their_order_and_place() {
    let machine = machine();
    let jumps = [
        HOUR,
        -HOUR,
        DAY,
        -DAY,
        -NOW,
        YEAR_2038 - NOW,
        YEAR_2100 - NOW,
        i64::MAX - NOW - 20 * DAY,
        i64::MIN + NOW,
    ];
    let mut worst = 0;
    for jump_ms in jumps {
        let timeline = empty();
        timeline.read(&machine.clock(NOW, 0), NOW);
        let mut before = i64::MIN;
        for tick in 1..=2_000 {
            let at_ms = NOW + tick * 15_000;
            // It jumps, is set right, and jumps again.
            let error_ms = if (tick / 100) % 2 == 0 { jump_ms } else { 0 };
            let clock = machine.clock(at_ms, error_ms);
            let got = placed(&timeline, &clock, at_ms + 50);
            assert!(before < got, "order is lost at {tick} with {jump_ms}");
            before = got;
            worst = worst.max(got.abs_diff(at_ms));
        }
    }
    println!("{} jumps, 2000 reports each: at most {worst} ms off", jumps.len());
    assert!(worst <= 1_000);
}

/// D12: the live window is 60 s, so what is rebuilt within it is never taken for a silence.
#[test]
fn a_wrong_clock_makes_no_report_look_late() {
    let (timeline, machine) = (empty(), machine());
    timeline.read(&machine.clock(NOW, YEAR_2100 - NOW), NOW);
    for tick in 0..100 {
        let at_ms = NOW + tick * 15_000;
        let got = placed(&timeline, &machine.clock(at_ms, YEAR_2100 - NOW), at_ms + 200);
        assert!((at_ms + 200).abs_diff(got) < 60_000);
    }
}

/// D12: a month of a clock that loses five seconds a day, pinged all the while.
#[test]
fn slow_drift_is_followed_and_written_down_now_and_then() {
    let (timeline, machine) = (empty(), machine());
    let mut news = 0;
    for minute in 0..30 * 24 * 60 {
        let at_ms = NOW + minute * 60_000;
        // The time since boot runs as wrongly as the wall clock does.
        let mut clock = machine.clock(at_ms, 0);
        clock.boottime_ms -= minute * 5_000 / (24 * 60);
        clock.wall_ms -= minute * 5_000 / (24 * 60);
        news += u32::from(timeline.read(&clock, at_ms).news_ms.is_some());
        assert_eq!(timeline.place(&clock, at_ms), Placement::AS_SENT);
    }
    println!("{news} offsets written down in 30 days");
    assert!((100..200).contains(&news));
}

#[test]
fn a_reading_tells_how_wrong_the_wall_clock_is() {
    let (timeline, machine) = (empty(), machine());
    let reading = timeline.read(&machine.clock(NOW, 7_000), NOW);
    assert_eq!(
        (reading.skew_ms, reading.news_ms),
        (7_000, Some(machine.booted_ms))
    );
    assert_eq!(
        timeline
            .read(&machine.clock(NOW + 10_000, 0), NOW + 10_200)
            .news_ms,
        None
    );
}

#[test]
fn a_boot_that_was_never_heard_keeps_a_possible_time() {
    let (timeline, machine) = (empty(), machine());
    for age_ms in [0, HOUR, 3 * DAY] {
        let clock = machine.clock(NOW - age_ms, 0);
        assert_eq!(timeline.place(&clock, NOW), Placement::AS_SENT);
    }
    let ahead = machine.clock(NOW, DISAGREEMENT_MS + 1);
    assert_eq!(timeline.place(&ahead, NOW).basis, Basis::Unknown);
    let built = Timeline::new(NOW - DAY, &[], NOW);
    let before_the_build = machine.clock(NOW - 2 * DAY, 0);
    assert_eq!(built.place(&before_the_build, NOW).basis, Basis::Unknown);
}

/// D12: a machine without a clock battery, off line since it was booted.
#[test]
fn an_impossible_boot_is_laid_out_with_its_last_report_at_the_time_of_receipt() {
    let machine = machine();
    let error_ms = -NOW;
    let last = machine.clock(NOW - 2 * DAY, error_ms);
    let timeline = Timeline::new(0, std::slice::from_ref(&last), NOW);
    let mut before = None;
    for tick in 0..=1_000 {
        let at_ms = NOW - 2 * DAY - (1_000 - tick) * 15_000;
        let clock = machine.clock(at_ms, error_ms);
        let placement = timeline.place(&clock, NOW + tick);
        assert_eq!(placement.basis, Basis::Unknown);
        let got = clock.wall_ms + placement.shift_ms;
        if let Some(before) = before {
            assert_eq!(got - before, 15_000, "the distance is kept");
        }
        before = Some(got);
    }
    assert_eq!(before, Some(NOW));
}

#[test]
fn a_clock_that_was_set_right_in_the_end_tells_when_the_boot_was() {
    let machine = machine();
    let last = machine.clock(NOW - HOUR, 0);
    let timeline = Timeline::new(0, &[last], NOW);
    let wrong = machine.clock(NOW - 3 * HOUR, -NOW);
    assert_eq!(placed(&timeline, &wrong, NOW), NOW - 3 * HOUR);
}

#[test]
fn without_any_word_of_the_last_report_nothing_lies_ahead_of_its_receipt() {
    let (timeline, machine) = (empty(), machine());
    let mut before = i64::MIN;
    for tick in 0..1_000 {
        let clock = machine.clock(NOW - 5 * DAY + tick * 60_000, YEAR_2038 - NOW);
        let received_ms = NOW + tick;
        let got = placed(&timeline, &clock, received_ms);
        assert!(before < got && got <= received_ms);
        before = got;
    }
}

#[test]
fn what_the_database_remembers_of_a_boot_counts_until_it_is_heard_again() {
    let (timeline, machine) = (empty(), machine());
    assert!(timeline.is_to_be_asked("boot"));
    assert!(!timeline.is_to_be_asked("boot"), "once is enough");
    timeline.remember("boot", machine.booted_ms);
    let wrong = machine.clock(NOW - DAY, DAY * 20_000);
    assert_eq!(placed(&timeline, &wrong, NOW), NOW - DAY);
}

#[test]
fn boots_without_end_take_no_memory_without_end() {
    let timeline = empty();
    for n in 0..10_000 {
        let clock = Clock {
            wall_ms: 0,
            boottime_ms: n,
            boot_id: n.to_string(),
        };
        timeline.read(&clock, NOW);
        let placement = timeline.place(&clock, NOW);
        assert_ne!(placement, Placement::AS_SENT);
    }
    assert_eq!(timeline.lock().len(), BOOTS_MAX);
}

#[test]
fn the_extremes_of_time_overflow_nothing() {
    for wall_ms in [i64::MIN, 0, i64::MAX] {
        for boottime_ms in [i64::MIN, 0, i64::MAX] {
            let clock = Clock {
                wall_ms,
                boottime_ms,
                boot_id: "boot".to_owned(),
            };
            for timeline in [
                empty(),
                Timeline::new(i64::MAX, std::slice::from_ref(&clock), NOW),
            ] {
                timeline.place(&clock, NOW);
                timeline.read(&clock, NOW);
                timeline.place(&clock, i64::MAX);
                timeline.place(&clock, i64::MIN);
            }
        }
    }
}
