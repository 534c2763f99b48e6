//! What people do to alerts.

use thiserror::Error;

use super::{Change, Engine};
use crate::alert::Acknowledgement;
use crate::{AlertId, AlertState, End, NotificationKind};

/// Longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 2_000;
/// What a person resolved does not open again for at least this long, ms, unless it was clear in between.
const REOPEN_MIN_MS: i64 = 60_000;

/// Why an alert was left as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PersonError {
    /// There is no such alert that is open.
    #[error("there is no such alert, or it is over")]
    NotOpen,
    /// It is pending: nobody was told of it, and it may come to nothing.
    #[error("the alert is pending: its condition does not hold for long enough yet")]
    Pending,
    /// Somebody has acknowledged it.
    #[error("the alert is acknowledged already")]
    Acknowledged,
}

impl Engine {
    /// Somebody knows of an alert. It stays open until it is over; reminders stop.
    ///
    /// # Errors
    /// [`PersonError`] if it is not open, or acknowledged already.
    pub fn acknowledge(
        &mut self,
        now_ms: i64,
        alert: AlertId,
        by: &str,
        note: Option<&str>,
        changes: &mut Vec<Change>,
    ) -> Result<(), PersonError> {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        self.check_open(alert)?;
        let now_ms = self.clock.now_ms();
        let open = self.open_mut(alert).ok_or(PersonError::NotOpen)?;
        if open.alert.state == AlertState::Acknowledged {
            return Err(PersonError::Acknowledged);
        }
        open.alert.state = AlertState::Acknowledged;
        open.alert.acknowledgement = Some(Acknowledgement {
            by: by.to_owned(),
            at_ms: now_ms,
            note: note.map(cut),
        });
        let was_told = open.alert.told.is_some();
        if was_told {
            self.announce(alert, NotificationKind::Acknowledged, changes);
        }
        self.write_alert(alert, changes);
        Ok(())
    }

    /// Somebody says that an alert is over. If its condition goes on holding it opens again after the cooldown.
    ///
    /// # Errors
    /// [`PersonError`] if it is not open.
    pub fn resolve(
        &mut self,
        now_ms: i64,
        alert: AlertId,
        by: &str,
        note: Option<&str>,
        changes: &mut Vec<Change>,
    ) -> Result<(), PersonError> {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        self.check_open(alert)?;
        let note = note.map(cut);
        if self.groups.contains_key(&alert) {
            self.end_group(alert, End::Manual, Some((by, note.as_deref())), changes);
            return Ok(());
        }
        let slot = *self.by_alert.get(&alert).ok_or(PersonError::NotOpen)?;
        self.end_alert(slot, End::Manual, Some((by, note.as_deref())), changes);
        let t = self.clock.t();
        if let Some(target) = self.targets.get_mut(slot) {
            let cooldown_ms = self
                .rules
                .get(&target.key.rule)
                .map_or(0, |rule| rule.cooldown_ms);
            target.recent.not_before_t = t + cooldown_ms.max(REOPEN_MIN_MS);
        }
        Ok(())
    }

    /// Nobody is reminded of an alert until `until_ms` (Unix ms); `None` ends that.
    ///
    /// # Errors
    /// [`PersonError`] if it is not open.
    pub fn snooze(
        &mut self,
        now_ms: i64,
        alert: AlertId,
        until_ms: Option<i64>,
        changes: &mut Vec<Change>,
    ) -> Result<(), PersonError> {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        self.check_open(alert)?;
        let open = self.open_mut(alert).ok_or(PersonError::NotOpen)?;
        open.alert.snoozed_until_ms = until_ms;
        self.write_alert(alert, changes);
        Ok(())
    }

    fn check_open(&self, alert: AlertId) -> Result<(), PersonError> {
        if self.groups.contains_key(&alert) {
            return Ok(());
        }
        let slot = self.by_alert.get(&alert).ok_or(PersonError::NotOpen)?;
        let open = self.targets.get(*slot).and_then(|target| target.open.as_ref());
        match open.map(|open| open.alert.state) {
            Some(AlertState::Pending) => Err(PersonError::Pending),
            Some(state) if state.is_open() => Ok(()),
            _ => Err(PersonError::NotOpen),
        }
    }

    fn open_mut(&mut self, alert: AlertId) -> Option<&mut super::target::Open> {
        if let Some(group) = self.groups.get_mut(&alert) {
            return Some(&mut group.open);
        }
        let slot = self.by_alert.get(&alert)?;
        self.targets.get_mut(*slot)?.open.as_deref_mut()
    }

    fn write_alert(&mut self, alert: AlertId, changes: &mut Vec<Change>) {
        if let Some(open) = self.open_mut(alert) {
            open.is_kept = true;
            let row = open.alert.clone();
            changes.push(Change::Alert(Box::new(row)));
        }
    }
}

fn cut(note: &str) -> String {
    note.chars().take(NOTE_CHARS_MAX).collect()
}
