//! Whether there is something new for a container, in words. What cannot be told never looks like good.

use maud::{Markup, html};
use muster_update::{Candidate, Change, Offer};

use crate::update::Seen;

/// What there is for a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Known {
    /// There is something new.
    Available(Offer),
    /// It runs what its registry has.
    Current,
    /// It is configured with a digest: nobody wants another image.
    Pinned,
    /// It cannot be told, and why.
    Unknown(String),
}

impl Known {
    /// Every word, for choosing.
    pub(super) const WORDS: [(&'static str, &'static str); 4] = [
        ("available", "update available"),
        ("current", "up to date"),
        ("pinned", "pinned"),
        ("unknown", "unknown"),
    ];

    /// Of what is known of a container; nothing known is unknown.
    pub(super) fn of(seen: &Seen, candidate: Option<&Candidate>) -> Self {
        match candidate {
            Some(Candidate::Available(offer)) => Self::Available(offer.clone()),
            // A container that runs what it names is not more up to date for that.
            _ if seen.container.image.contains('@') => Self::Pinned,
            Some(Candidate::Current) => Self::Current,
            Some(Candidate::Unknown(why)) => Self::Unknown(why.clone()),
            None => Self::Unknown("nobody has looked yet".to_owned()),
        }
    }

    /// Its word in addresses.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Available(_) => "available",
            Self::Current => "current",
            Self::Pinned => "pinned",
            Self::Unknown(_) => "unknown",
        }
    }

    /// As a coloured word, with what there is or why that is not known below it.
    pub(super) fn pill(&self) -> Markup {
        html! {
            @match self {
                Self::Available(offer) => {
                    span class="pill warn" { "update available" }
                    @if let Some(tag) = offer.tag() { div class="under" { (tag) } }
                }
                Self::Current => { span class="pill good" { "up to date" } }
                Self::Pinned => {
                    span class="pill dim" { "pinned" }
                    div class="under" { "to a digest" }
                }
                Self::Unknown(why) => {
                    span class="pill dim" { "unknown" }
                    div class="under" { (why) }
                }
            }
        }
    }
}

/// How far an update goes, in words.
pub(in crate::http::page) const fn change_word(change: Change) -> &'static str {
    match change {
        Change::Digest => "the same tag, built anew",
        Change::Patch => "a patch",
        Change::Minor => "a minor version",
        Change::Major => "a major version",
        Change::Unknown => "how far it goes can't be told",
    }
}
