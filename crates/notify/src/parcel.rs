//! What is sent at once: one piece of news, or several that were collected.

use muster_alert::{Notification, NotificationKind, Severity};

use crate::template::Wording;

/// News, worded, on their way to one channel.
#[derive(Debug, Clone)]
pub(crate) struct Parcel<'a> {
    /// At least one.
    pub(crate) news: &'a [Notification],
    pub(crate) wording: Wording,
    /// The same for the same news to the same channel: who gets it twice can tell.
    pub(crate) id: String,
    /// Unix ms.
    pub(crate) now_ms: i64,
}

/// How the message as a whole looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// All of it is over, or it is a test.
    Calm,
    /// The worst of it.
    Of(Severity),
}

impl Parcel<'_> {
    /// How the message as a whole looks.
    pub(crate) fn tone(&self) -> Tone {
        let worst = self
            .news
            .iter()
            .filter(|news| is_active(news))
            .map(|news| news.severity)
            .max();
        worst.map_or(Tone::Calm, Tone::Of)
    }

    /// Where to look, if it is about one thing.
    pub(crate) fn link(&self) -> Option<&str> {
        match self.news {
            [only] => only.links.first().map(|link| link.url.as_str()),
            _ => None,
        }
    }
}

fn is_active(news: &Notification) -> bool {
    !matches!(news.kind, NotificationKind::Resolved | NotificationKind::Test)
}

impl Tone {
    /// As a colour, `0xRRGGBB`.
    pub(crate) const fn colour(self) -> u32 {
        match self {
            Self::Calm => 0x2e_7d32,
            Self::Of(Severity::Info) => 0x19_76d2,
            Self::Of(Severity::Warning) => 0xf9_a825,
            Self::Of(Severity::Critical) => 0xd3_2f2f,
        }
    }
}
