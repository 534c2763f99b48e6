//! What is sent next: reports that alerts depend on, then those of now, then those of before, and how much of each may
//! be on its way.
//!
//! What of the running epoch alerts depend on is short, goes first, the newest first, and has credit of its own: neither
//! live reports nor backlog that nobody acknowledges keep it waiting.
//! Live are reports of the running epoch made at most [`LIVE_MS`](muster_model::limits::LIVE_MS) ago, the newest
//! first: what people look at is now. Everything else is backlog, the oldest first: earlier epochs, then what of the
//! running one has grown old. Backlog has a share of the credit and never keeps a live report waiting.

use super::held::{Next, Pick, Way};
use super::state::State;
use super::{Outbox, Outgoing};

/// How many bytes of messages may be unacknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credit {
    /// All of them but those that alerts depend on.
    pub all_bytes: u64,
    /// Those of backlog.
    pub backlog_bytes: u64,
    /// Those that alerts depend on.
    pub alert_bytes: u64,
}

/// Which reports are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Those that alerts depend on, the newest first.
    Alert,
    /// Others of now, the newest first.
    Live,
    /// Those of before, the oldest first.
    Backlog,
    /// All, by ascending number: when the controller can take nothing else.
    InOrder,
}

impl Outbox {
    /// The next report that was not sent on this stream, unless it would put more on its way than `credit` allows.
    /// One report of each kind may always be, so that a small credit slows down and does not stop.
    pub fn next_of(&self, wanted: Wanted, credit: Credit) -> Option<Outgoing> {
        let (next, is_on_disk) = self.lock().next_of(self.epoch, wanted, credit);
        if is_on_disk {
            self.spool_needed.notify_one();
        }
        next
    }

    /// As [`Outbox::next_of`] with [`Wanted::InOrder`] and one credit for all.
    pub fn next_unsent(&self, credit_bytes: u64) -> Option<Outgoing> {
        let credit = Credit {
            all_bytes: credit_bytes,
            backlog_bytes: credit_bytes,
            alert_bytes: credit_bytes,
        };
        self.next_of(Wanted::InOrder, credit)
    }
}

impl State {
    fn next_of(&mut self, epoch: u64, wanted: Wanted, credit: Credit) -> (Option<Outgoing>, bool) {
        let past_bytes: u64 = self.past.iter().map(|past| past.held.sent_bytes()).sum();
        let all_bytes = past_bytes + self.held.sent_bytes();
        let backlog_bytes = past_bytes + self.held.backlog_bytes();
        let live_bytes = all_bytes - backlog_bytes;
        let fits_all = |bytes| all_bytes + bytes <= credit.all_bytes;
        let live_fits = |bytes| live_bytes == 0 || fits_all(bytes);
        let backlog_fits =
            |bytes| backlog_bytes == 0 || (fits_all(bytes) && backlog_bytes + bytes <= credit.backlog_bytes);
        if wanted == Wanted::Alert {
            let alert_bytes = self.held.alert_bytes();
            let alert_fits = |bytes| alert_bytes == 0 || alert_bytes + bytes <= credit.alert_bytes;
            let next = self.held.next_unsent(Pick::NewestUrgent, Way::Alert, alert_fits);
            return settle(epoch, next).unwrap_or((None, false));
        }
        let live_pick = match wanted {
            Wanted::Live => Some(Pick::NewestLive),
            // What the running epoch holds goes first: its holes are what stands in the way.
            Wanted::InOrder => Some(Pick::Oldest),
            Wanted::Backlog | Wanted::Alert => None,
        };
        if let Some(pick) = live_pick {
            let next = self.held.next_unsent(pick, Way::Live, live_fits);
            if let Some(settled) = settle(epoch, next) {
                return settled;
            }
        }
        if wanted == Wanted::Live {
            return (None, false);
        }
        for past in &mut self.past {
            let next = past.held.next_unsent(Pick::Oldest, Way::Backlog, backlog_fits);
            if let Some(settled) = settle(past.epoch, next) {
                return settled;
            }
        }
        let next = self
            .held
            .next_unsent(Pick::OldestLate, Way::Backlog, backlog_fits);
        settle(epoch, next).unwrap_or((None, false))
    }
}

/// What is to be answered, and whether it has to be read first; `None` if the next epoch is to be asked.
fn settle(epoch: u64, next: Next) -> Option<(Option<Outgoing>, bool)> {
    match next {
        Next::Ready(outgoing) => Some((Some(Outgoing { epoch, ..outgoing }), false)),
        Next::Later => Some((None, false)),
        Next::OnDisk => Some((None, true)),
        Next::None => None,
    }
}
