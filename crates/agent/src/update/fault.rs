//! Whose fault it is that a unit does not run its new image, from what systemd says of it.
//!
//! An image that is called bad is tried on no server any more. So it is called that only if the unit's own process was run
//! and failed by itself. Where systemd refused to start it, where something else failed before, where somebody stopped it
//! or nobody can tell, the unit goes back to the old image and the new one keeps its name.
//!
//! `Result` alone does not tell: a process that was told to end often ends with 143 or 137, which is `exit-code` too, and a
//! start that systemd refuses leaves the result of the one before. Hence the id that each start has, and the times.

use std::ops::RangeInclusive;

use super::systemd::{LastStart, UnitState};

/// Podman's own exit codes for what it could not run: 125 is an error of its own, 126 and 127 are whatever kept the
/// container from starting, a port that is taken or a folder that is not there as well as a program that may not be run or
/// does not exist (podman-run(1)). Of a container that was seen running they are its own.
const PODMAN_FAILED: [i64; 3] = [125, 126, 127];
/// With these systemd ends what it could not make ready to be run: no such folder, no room for its output, …
/// (systemd.exec(5), process exit codes).
const SYSTEMD_FAILED: RangeInclusive<i64> = 200..=243;

/// Of a start that took too long.
const OVER_TIME: &str = "it ran into a time limit of its unit, which may be this server's fault";

/// What systemd says of a unit that should run a new image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its own process failed by itself: how.
    Failed(String),
    /// Something else kept it from running, or nobody can tell: what.
    Spared(String),
    /// It is up.
    Up,
}

/// What was known of the unit before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// The id of the start before it was told to restart; `None`: not known.
    pub(super) before: Option<&'a str>,
    /// Whether its container was seen running with the new image: then it was started.
    pub(super) has_run: bool,
}

/// Whether more is to be known in a moment.
pub(super) fn is_at_work(shown: &UnitState) -> bool {
    matches!(shown.active.as_str(), "activating" | "deactivating" | "reloading") && !is_between(shown)
}

/// Whether it ended and systemd is about to start it again.
fn is_between(shown: &UnitState) -> bool {
    shown.sub.starts_with("auto-restart")
}

/// Judges a unit that is not at work.
pub(super) fn judge(known: Known<'_>, shown: &UnitState) -> Verdict {
    let spared = |why: String| Verdict::Spared(why);
    if shown.load != "loaded" {
        return spared(format!("systemd does not start it: it is {}", shown.load));
    }
    let last = &shown.last;
    // A start that systemd refuses has no id of its own (org.freedesktop.systemd1(5)).
    let is_of_before = known.before.is_none_or(|before| before == last.invocation);
    if !known.has_run && (last.invocation.is_empty() || is_of_before) {
        return spared(not_begun(known, last));
    }
    if is_between(shown) {
        return match by_result(known, last) {
            // Only what ended without being told to is started again.
            Verdict::Spared(_) if last.result == "success" => {
                Verdict::Failed("its process ended, and systemd starts it again".to_owned())
            }
            // Whether it was told to end does not show any more.
            Verdict::Failed(_) if last.result == "timeout" => spared(OVER_TIME.to_owned()),
            other => other,
        };
    }
    if shown.active == "active" {
        // By hand the count begins anew.
        return if known.has_run && 0 < last.restarts {
            let restarts = last.restarts;
            Verdict::Failed(format!(
                "its process ended, and systemd started it again ({restarts})"
            ))
        } else {
            Verdict::Up
        };
    }
    if last.invocation.is_empty() {
        return spared("it was stopped".to_owned());
    }
    if is_at_work(shown) {
        return spared(format!("it is {} for long", shown.active));
    }
    by_result(known, last)
}

/// Why there was no start.
fn not_begun(known: Known<'_>, last: &LastStart) -> String {
    let why = match last.result.as_str() {
        _ if last.is_condition_unmet => "systemd did not start it: a condition of it is not met",
        "start-limit-hit" => "systemd did not start it: it was started too often",
        _ if known.before.is_none() => "whether systemd started it is not known",
        _ => "systemd did not start it",
    };
    why.to_owned()
}

/// Judges how a start ended.
fn by_result(known: Known<'_>, last: &LastStart) -> Verdict {
    let spared = |why: &str| Verdict::Spared(why.to_owned());
    if last.is_condition_unmet {
        return spared("systemd did not start it again: a condition of it is not met");
    }
    let is_own = match last.result.as_str() {
        "exit-code" | "signal" | "core-dump" | "oom-kill" | "watchdog" => true,
        // Podman tells systemd of the start as soon as the container runs: until then it is Podman that is slow.
        "timeout" if known.has_run => true,
        "timeout" => return spared(OVER_TIME),
        "success" if was_stopped(last) => return spared("somebody stopped it"),
        "success" => return spared("it ended without a failure"),
        // None of these says that the process failed, and one that nobody here knows does not either.
        "resources" => return spared("systemd could not run its process"),
        // Only what ended without a failure is called so, and nobody else started it.
        "start-limit-hit" if 0 < last.restarts => {
            return Verdict::Failed("its process ended again and again".to_owned());
        }
        "start-limit-hit" => return spared("systemd does not start it any more: it was started too often"),
        "exec-condition" => return spared("what it is to be run only after said no"),
        _ => false,
    };
    if !is_own {
        return Verdict::Spared(format!("systemd calls it {:?}", last.result));
    }
    if !last.has_run {
        return spared("what has to be done before its process is run failed");
    }
    // A watchdog has systemd stop it too.
    if was_stopped(last) && last.result != "watchdog" {
        return spared("it was stopped");
    }
    let status = last.status.filter(|_| last.result == "exit-code");
    match status {
        Some(status) if !known.has_run && PODMAN_FAILED.contains(&status) => Verdict::Spared(format!(
            "podman could not run it (exit code {status}), which may be this server's fault"
        )),
        Some(status) if !known.has_run && SYSTEMD_FAILED.contains(&status) => {
            Verdict::Spared(format!("systemd could not run its process (exit code {status})"))
        }
        // Of a process that went to the background the number is that of what sent it there.
        Some(status) if status != 0 => Verdict::Failed(format!("its process ended with exit code {status}")),
        _ => Verdict::Failed(format!("its process failed: {}", last.result)),
    }
}

/// Whether it was told to end before its process did: what ends by itself takes the unit with it, not the other way round.
fn was_stopped(last: &LastStart) -> bool {
    let was_up = last.began_us < last.left_us;
    was_up && (last.ended_us == 0 || last.left_us < last.ended_us)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::systemd::parsed;

    const SEEN: Known<'static> = Known {
        before: Some("a"),
        has_run: true,
    };
    const UNSEEN: Known<'static> = Known {
        has_run: false,
        ..SEEN
    };

    /// A unit that failed by itself, a second after it was up.
    fn failed(result: &str) -> UnitState {
        UnitState {
            id: "web.service".to_owned(),
            load: "loaded".to_owned(),
            active: "failed".to_owned(),
            sub: "failed".to_owned(),
            main_pid: 0,
            is_restartable: true,
            last: LastStart {
                invocation: "b".to_owned(),
                result: result.to_owned(),
                has_run: true,
                status: (result == "exit-code").then_some(7),
                began_us: 100,
                ended_us: 200,
                left_us: 201,
                ..LastStart::default()
            },
        }
    }

    fn changed(mut shown: UnitState, change: impl FnOnce(&mut UnitState)) -> UnitState {
        change(&mut shown);
        shown
    }

    #[track_caller]
    fn is_failed(known: Known<'_>, shown: &UnitState) {
        let verdict = judge(known, shown);
        assert!(matches!(verdict, Verdict::Failed(_)), "{verdict:?} of {shown:?}");
    }

    #[track_caller]
    fn is_spared(known: Known<'_>, shown: &UnitState, word: &str) {
        let verdict = judge(known, shown);
        assert!(
            matches!(&verdict, Verdict::Spared(why) if why.contains(word)),
            "{verdict:?} of {shown:?}"
        );
    }

    #[test]
    fn what_failed_by_itself_is_called_bad() {
        for result in ["exit-code", "signal", "core-dump", "oom-kill", "watchdog"] {
            is_failed(SEEN, &failed(result));
            is_failed(UNSEEN, &failed(result));
        }
        // It never was up: nothing was left, and what is shown of that is of the start before.
        let late = changed(failed("timeout"), |shown| {
            shown.last.left_us = 50;
            shown.last.ended_us = 0;
        });
        is_failed(SEEN, &late);
        is_spared(UNSEEN, &late, "time limit");
        let again = |active: &str, sub: &str, result: &str| {
            changed(failed(result), |shown| {
                shown.active = active.to_owned();
                shown.sub = sub.to_owned();
                shown.last.restarts = 1;
            })
        };
        is_failed(SEEN, &again("active", "running", "success"));
        is_failed(UNSEEN, &again("activating", "auto-restart", "exit-code"));
        is_failed(UNSEEN, &again("activating", "auto-restart", "success"));
        is_failed(UNSEEN, &again("activating", "auto-restart-queued", "signal"));
        // It ended with 0 as often as systemd allows.
        is_failed(SEEN, &again("failed", "failed", "start-limit-hit"));
    }

    #[test]
    fn what_systemd_did_not_start_is_spared() {
        for load in ["masked", "not-found", "bad-setting", "error", ""] {
            let shown = changed(failed("exit-code"), |shown| shown.load = load.to_owned());
            is_spared(SEEN, &shown, load);
        }
        // Whatever the start before had come to.
        for result in ["success", "exit-code", "signal", "start-limit-hit"] {
            let refused = changed(failed(result), |shown| shown.last.invocation = "a".to_owned());
            is_spared(UNSEEN, &refused, "did not start it");
            let forgotten = changed(failed(result), |shown| shown.last.invocation.clear());
            is_spared(UNSEEN, &forgotten, "did not start it");
            let unknown = Known {
                before: None,
                ..UNSEEN
            };
            let word = if result == "start-limit-hit" {
                "too often"
            } else {
                "not known"
            };
            is_spared(unknown, &failed(result), word);
        }
        let unmet = changed(failed("success"), |shown| {
            shown.last.invocation = "a".to_owned();
            shown.last.is_condition_unmet = true;
        });
        is_spared(UNSEEN, &unmet, "condition");
        let later = changed(failed("exit-code"), |shown| shown.last.is_condition_unmet = true);
        is_spared(SEEN, &later, "condition");
    }

    #[test]
    fn what_was_not_its_own_process_is_spared() {
        for result in [
            "start-limit-hit",
            "resources",
            "exec-condition",
            "protocol",
            "of 2031",
            "",
        ] {
            is_spared(SEEN, &failed(result), "");
            is_spared(UNSEEN, &failed(result), "");
        }
        let before = changed(failed("exit-code"), |shown| shown.last.has_run = false);
        is_spared(UNSEEN, &before, "before its process");
        let ended_with = |status| changed(failed("exit-code"), |shown| shown.last.status = Some(status));
        for status in PODMAN_FAILED {
            is_spared(UNSEEN, &ended_with(status), "podman");
            is_failed(SEEN, &ended_with(status));
        }
        for status in [200, 203, 209, 226, 243] {
            is_spared(UNSEEN, &ended_with(status), "systemd could not run");
            is_failed(SEEN, &ended_with(status));
        }
        let over_time = changed(failed("timeout"), |shown| {
            shown.active = "activating".to_owned();
            shown.sub = "auto-restart".to_owned();
        });
        is_spared(SEEN, &over_time, "time limit");
    }

    #[test]
    fn what_somebody_stopped_is_spared_however_its_process_took_it() {
        // As systemd has it after a stop: the unit left first, its process ended then.
        for result in ["success", "exit-code", "signal", "timeout", "oom-kill"] {
            for ended_us in [0, 300] {
                let shown = changed(failed(result), |shown| shown.last.ended_us = ended_us);
                is_spared(SEEN, &shown, "stopped");
            }
        }
        let gone = changed(failed("success"), |shown| {
            shown.active = "inactive".to_owned();
            shown.last = LastStart {
                result: "success".to_owned(),
                ..LastStart::default()
            };
        });
        is_spared(SEEN, &gone, "stopped");
        is_spared(SEEN, &failed("success"), "without a failure");
        let slow = changed(failed("success"), |shown| {
            shown.active = "deactivating".to_owned();
        });
        assert!(is_at_work(&slow));
        is_spared(SEEN, &slow, "for long");
    }

    #[test]
    fn what_is_up_says_nothing_of_its_image() {
        let up = changed(failed("success"), |shown| shown.active = "active".to_owned());
        assert_eq!(judge(SEEN, &up), Verdict::Up);
        assert_eq!(judge(UNSEEN, &up), Verdict::Up);
        // Up after a start that failed: of that nothing is known any more.
        let again = changed(up, |shown| shown.last.restarts = 2);
        assert_eq!(judge(UNSEEN, &again), Verdict::Up);
    }

    /// A unit as systemd has shown it (fixtures/systemd).
    macro_rules! captured {
        ($name:literal) => {
            parsed(include_str!(concat!(
                "../../fixtures/systemd/",
                $name,
                ".txt"
            )))
        };
    }

    /// Judged as after a start of its own.
    fn anew(shown: &UnitState, has_run: bool) -> Verdict {
        let known = Known {
            before: Some("another"),
            has_run,
        };
        judge(known, shown)
    }

    #[test]
    fn what_a_real_systemd_shows_of_units_that_failed_by_themselves_is_their_fault() {
        for shown in [
            captured!("ended-with-7"),
            captured!("killed"),
            captured!("between-restarts"),
        ] {
            let verdicts = [anew(&shown, true), anew(&shown, false)];
            assert!(
                verdicts.iter().all(|one| matches!(one, Verdict::Failed(_))),
                "{verdicts:?} of {shown:?}"
            );
        }
        let again = captured!("restarted-by-systemd");
        assert!(matches!(anew(&again, true), Verdict::Failed(_)), "{again:?}");
        for shown in [captured!("start-timeout"), captured!("forking-ended-with-127")] {
            let verdicts = (anew(&shown, true), anew(&shown, false));
            let is_judged = matches!(&verdicts, (Verdict::Failed(_), Verdict::Spared(_)));
            assert!(is_judged, "{verdicts:?} of {shown:?}");
        }
    }

    #[test]
    fn what_a_real_systemd_refused_or_somebody_stopped_is_spared() {
        for (shown, word) in [
            (captured!("stopped"), "somebody stopped it"),
            (captured!("stopped-with-143"), "stopped"),
            (captured!("stopped-and-killed"), "stopped"),
            (captured!("stopped-and-forgotten"), "stopped"),
            (captured!("ended-with-0"), "without a failure"),
            (captured!("masked-while-up"), "masked"),
            (captured!("preparation-failed"), "before its process"),
        ] {
            let verdict = anew(&shown, true);
            let is_spared = matches!(&verdict, Verdict::Spared(why) if why.contains(word));
            assert!(is_spared, "{word}: {verdict:?} of {shown:?}");
        }
        let unseen = anew(&captured!("ended-with-126"), false);
        assert!(
            matches!(&unseen, Verdict::Spared(why) if why.contains("podman")),
            "{unseen:?}"
        );
        // The start before is the one that is shown: there was none since.
        for (shown, word) in [
            (captured!("condition-unmet"), "condition"),
            (captured!("started-too-often"), "did not start it"),
            (captured!("dependency-failed"), "did not start it"),
        ] {
            let known = Known {
                before: Some(&shown.last.invocation),
                has_run: false,
            };
            let verdict = judge(known, &shown);
            let is_spared = matches!(&verdict, Verdict::Spared(why) if why.contains(word));
            assert!(is_spared, "{word}: {verdict:?} of {shown:?}");
        }
        // Of this one systemctl's own word tells, before anybody asks here.
        let early = anew(&captured!("stopped-while-starting"), false);
        assert!(matches!(early, Verdict::Failed(_)), "{early:?}");
        let by_hand = captured!("restarted-by-hand");
        assert_eq!(anew(&by_hand, true), Verdict::Up);
    }
}
