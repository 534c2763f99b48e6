//! What happens without anything arriving: reminders, ends of mutes and cooldowns, absences, the end of what is not
//! heard any more.

use super::target::Open;
use super::{Change, Engine};
use crate::{AlertState, End};

/// A series that was said to have ended and does not come back within this is gone, ms.
const GONE_MS: i64 = 3_600_000;
/// An alert of which nothing was heard for this long, while its server was, ends, ms.
const NO_DATA_MS: i64 = 7 * 24 * 3_600_000;
/// Something pending that is not heard for this long is not pending any more, ms.
const PENDING_MAX_MS: i64 = 24 * 3_600_000;
/// How often idle series are forgotten, ms.
const SWEEP_EVERY_MS: i64 = 3_600_000;
/// Series that were not heard for this long are forgotten, ms.
const IDLE_MS: i64 = 8 * 24 * 3_600_000;

impl Engine {
    /// Lets time pass; to be called about once a second.
    pub fn tick(&mut self, now_ms: i64, changes: &mut Vec<Change>) {
        let before_t = self.clock.t();
        self.clock.advance(now_ms, self.settings.step_max_ms);
        let step_ms = self.clock.t() - before_t;
        let absences: Vec<u32> = self.absences.iter().copied().collect();
        for slot in absences {
            self.judge(slot, now_ms, changes);
        }
        let busy: Vec<u32> = self.busy.iter().copied().collect();
        for slot in busy {
            self.pass_time(slot, step_ms, changes);
        }
        self.tell_groups(changes);
        self.close_idle_tracks(changes);
        let t = self.clock.t();
        if SWEEP_EVERY_MS <= t - self.swept_t {
            self.swept_t = t;
            self.forget_idle(t - IDLE_MS);
        }
    }

    fn pass_time(&mut self, slot: u32, step_ms: i64, changes: &mut Vec<Change>) {
        let t = self.clock.t();
        let now_ms = self.clock.now_ms();
        let Some(target) = self.targets.get(slot) else {
            return;
        };
        let is_lost = self.estate.is_lost(target.key.server);
        let is_about_loss = self.is_about_loss(&target.key);
        let has_ended = !target.inputs.is_empty()
            && target.inputs.iter().all(|(input, _)| {
                self.series
                    .get(*input)
                    .is_some_and(|series| series.live.is_ended && GONE_MS <= t - series.live.heard_t)
            });
        let Some(open) = self
            .targets
            .get_mut(slot)
            .and_then(|target| target.open.as_deref_mut())
        else {
            return;
        };
        if is_lost && !is_about_loss {
            // Time in which nothing can be heard counts for nothing.
            open.heard_t = open.heard_t.saturating_add(step_ms).min(t);
            if open.alert.state == AlertState::Pending {
                self.end_alert(slot, End::NoData, None, changes);
            }
            return;
        }
        let silent_ms = t - open.heard_t;
        let is_over = match open.alert.state {
            AlertState::Pending => PENDING_MAX_MS <= silent_ms,
            _ => NO_DATA_MS <= silent_ms,
        };
        if has_ended || is_over {
            let end = if has_ended { End::Gone } else { End::NoData };
            self.end_alert(slot, end, None, changes);
            return;
        }
        let is_awake = Open::end_snooze(open, now_ms);
        if self.tell(slot, changes) || is_awake {
            self.write(slot, true, changes);
        }
    }
}

impl Open {
    /// Ends a snooze whose time is over; returns whether it did.
    pub(super) fn end_snooze(open: &mut Self, now_ms: i64) -> bool {
        let is_over = open.alert.snoozed_until_ms.is_some_and(|until| until <= now_ms);
        if is_over {
            open.alert.snoozed_until_ms = None;
            open.is_reminder_due = open.alert.told.is_some();
        }
        is_over
    }
}
