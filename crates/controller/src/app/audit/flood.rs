//! Refusals are free for whoever provokes them: of one kind only some get an entry of their own.
//!
//! A kind is actor, action and reason; those who did not show who they are count as one. Ten of a kind may come at once
//! and ten a minute after that; more are held back, counted, and written as one entry with their number and the newest
//! of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::chain::actor;
use super::{Actor, Entry, Outcome};
use crate::app::limit::RateLimit;

/// Entries a second of one kind.
const PER_S: f64 = 10.0 / 60.0;
/// Entries of one kind at once.
const AT_ONCE: u32 = 10;
/// Most kinds that are counted; those beyond count as one.
const KINDS_MAX: usize = 1_024;

type Kind = (String, &'static str, &'static str);

pub(super) struct Flood {
    limit: RateLimit<Kind>,
    held: Mutex<HashMap<Kind, (Entry, i64)>>,
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            limit: RateLimit::new(PER_S, AT_ONCE),
            held: Mutex::default(),
        }
    }
}

impl Flood {
    /// The entry, or nothing if it was only counted.
    pub(super) fn admit(&self, entry: Entry, now_ms: i64) -> Option<Entry> {
        let Outcome::Refused { reason } = entry.outcome else {
            return Some(entry);
        };
        let (kind_of_actor, id, _) = actor(&entry.actor);
        let kind = (format!("{kind_of_actor} {id}"), entry.action, reason);
        if self.limit.take(kind.clone(), now_ms).is_ok() {
            return Some(entry);
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let (kind, entry) = if held.contains_key(&kind) || held.len() < KINDS_MAX {
            (kind, entry)
        } else {
            let entry = Entry {
                actor: Actor::Nobody,
                target: "several".to_owned(),
                ..entry
            };
            // Actions and reasons are words of ours, so these are few.
            (("several".to_owned(), kind.1, kind.2), entry)
        };
        let (newest, count) = held.entry(kind).or_insert_with(|| (entry.clone(), 0));
        *newest = entry;
        *count += 1;
        None
    }

    /// What was held back since the last time, each with its number.
    pub(super) fn held_back(&self) -> Vec<(Entry, i64)> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *held).into_values().collect()
    }
}
