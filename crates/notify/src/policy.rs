//! When a channel is sent to, what is told of together, and what becomes of what failed. Pure: it is told the time.
//!
//! What always holds:
//! - news of one alert are sent in the order in which they came: a resolve never overtakes its alert;
//! - nothing is given up but what the other side will never take, or could not take for days;
//! - a channel is sent no more than its rate allows, and nothing is dropped for it: what waits is told of together;
//! - no jump of the clock keeps news back for longer than the longest wait, nor gives anything up.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::outcome::{Blame, Outcome, RETRY_AFTER_MAX};

/// First wait after a failure; it doubles with each.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// Longest wait after a failure, unless the other side asks for more.
pub const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);
/// News that failed temporarily for so long are given up.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(3 * 24 * 3_600);
/// But not before so many attempts: a clock that jumps ahead is no reason.
const GIVE_UP_ATTEMPTS_MIN: u32 = 10;
/// Whatever the clock says, after so many.
const GIVE_UP_ATTEMPTS_MAX: u32 = 1_000;
/// Most news told of together.
const TOGETHER_MAX: usize = 200;

/// When a channel may be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Whether several news can be one message.
    pub merges: bool,
    /// For how long news are collected; they are sent at once if not given.
    pub digest: Option<Duration>,
    /// Most messages a minute; as many may come at once.
    pub per_minute: u32,
}

/// News that wait for a channel; times are Unix ms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Waiting {
    /// Names it.
    pub id: i64,
    /// What it is about: news of one alert stay in order.
    pub lane: i64,
    /// Whether it may not be collected.
    pub is_urgent: bool,
    /// Whether it is always a message of its own.
    pub is_alone: bool,
    /// Since when it waits.
    pub created_ms: i64,
    /// Not to be tried before.
    pub due_ms: i64,
    /// How often it was tried.
    pub attempts: u32,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plan {
    /// Nothing waits.
    Nothing,
    /// Look again after so long, or when there is something new.
    Wait(Duration),
    /// Send these as one message.
    Send(Vec<Waiting>),
}

/// What becomes of news after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Delivered.
    Done,
    /// Tried again, not before this time, Unix ms.
    Retry(i64),
    /// Given up.
    Dead,
}

/// How it goes with a channel. Forgotten at a restart, which costs no more than an attempt too early.
#[derive(Debug, Clone)]
pub struct Flow {
    tokens: f64,
    /// When they were counted, Unix ms.
    counted_ms: i64,
    blocked_until_ms: i64,
    /// Attempts in a row that failed for the channel's sake.
    failures: u32,
    /// Were refused together with others, and are to be tried by themselves. Holds only what waits.
    alone: BTreeSet<i64>,
}

impl Flow {
    /// A channel that was not sent to yet.
    #[must_use]
    pub fn new(policy: &Policy, now_ms: i64) -> Self {
        Self {
            tokens: f64::from(policy.per_minute),
            counted_ms: now_ms,
            blocked_until_ms: i64::MIN,
            failures: 0,
            alone: BTreeSet::new(),
        }
    }

    /// What to do with what waits, the oldest first. What is to be sent counts against the rate.
    pub fn plan(&mut self, policy: &Policy, waiting: &[Waiting], now_ms: i64) -> Plan {
        self.alone.retain(|id| waiting.iter().any(|news| news.id == *id));
        if waiting.is_empty() {
            return Plan::Nothing;
        }
        if let Some(wait) = ahead(self.blocked_until_ms, now_ms) {
            return Plan::Wait(wait);
        }
        let ready = ready(waiting, now_ms);
        if ready.is_empty() {
            let waits = waiting.iter().filter_map(|news| ahead(news.due_ms, now_ms));
            return Plan::Wait(waits.min().unwrap_or(BACKOFF_FIRST));
        }
        if let Some(wait) = policy
            .digest
            .and_then(|digest| collecting(&ready, digest, now_ms))
        {
            return Plan::Wait(wait);
        }
        self.refill(policy, now_ms);
        if self.tokens < 1.0 {
            return Plan::Wait(until_a_token(self.tokens, policy));
        }
        let chosen = self.choose(policy, &ready);
        self.tokens -= 1.0;
        Plan::Send(chosen)
    }

    /// Which of what is ready is the next message.
    fn choose(&self, policy: &Policy, ready: &[Waiting]) -> Vec<Waiting> {
        let is_crowded = self.tokens < ready.len() as f64;
        if policy.merges && (policy.digest.is_some() || is_crowded) {
            let together = self.together(ready);
            if !together.is_empty() {
                return together;
            }
        }
        // Of each alert the oldest; among them first what was tried the least, so that nothing that always fails
        // stands in the way of the rest.
        let mut lanes = BTreeSet::new();
        let first = ready
            .iter()
            .filter(|news| lanes.insert(news.lane))
            .min_by_key(|news| news.attempts);
        first.copied().into_iter().collect()
    }

    /// What can be told of together without leaving anything of the same alert behind that came before.
    fn together(&self, ready: &[Waiting]) -> Vec<Waiting> {
        let mut held = BTreeSet::new();
        let mut together = Vec::new();
        for news in ready {
            if news.is_alone || self.alone.contains(&news.id) {
                held.insert(news.lane);
            } else if !held.contains(&news.lane) {
                together.push(*news);
            }
        }
        together.truncate(TOGETHER_MAX);
        together
    }

    /// What becomes of what was sent. `jitter` is from 0 to 1.
    pub fn settle(
        &mut self,
        sent: &[Waiting],
        outcome: Outcome,
        now_ms: i64,
        jitter: f64,
    ) -> Vec<(i64, Fate)> {
        let all = |fate: &dyn Fn(&Waiting) -> Fate| sent.iter().map(|news| (news.id, fate(news))).collect();
        match outcome {
            Outcome::Delivered => {
                (self.failures, self.blocked_until_ms) = (0, i64::MIN);
                for news in sent {
                    self.alone.remove(&news.id);
                }
                all(&|_| Fate::Done)
            }
            Outcome::Permanent if 1 < sent.len() => {
                // One of them may be to blame, not all.
                self.alone.extend(sent.iter().map(|news| news.id));
                all(&|_| Fate::Retry(now_ms))
            }
            Outcome::Permanent => all(&|_| Fate::Dead),
            Outcome::Temporary { blame, retry_after } => {
                let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                if blame == Blame::Channel {
                    self.failures = self.failures.saturating_add(1);
                    self.blocked_until_ms = after(now_ms, asked.max(backoff(self.failures, jitter)));
                }
                let blocked_ms = self.blocked_until_ms;
                all(&|news| {
                    if is_hopeless(news, now_ms) {
                        return Fate::Dead;
                    }
                    match blame {
                        Blame::Channel => Fate::Retry(blocked_ms),
                        Blame::Message => {
                            let wait = backoff(news.attempts.saturating_add(1), jitter);
                            Fate::Retry(after(now_ms, asked.max(wait)))
                        }
                    }
                })
            }
        }
    }

    fn refill(&mut self, policy: &Policy, now_ms: i64) {
        let most = f64::from(policy.per_minute);
        // A clock that went back tells of no time that has passed.
        let passed_ms = now_ms.saturating_sub(self.counted_ms).clamp(0, 60_000);
        self.counted_ms = now_ms;
        self.tokens = (self.tokens + most * passed_ms as f64 / 60_000.0).min(most);
    }
}

/// How long until `at_ms`; `None` if it is past, or so far off that only a clock which went back can be the reason.
fn ahead(at_ms: i64, now_ms: i64) -> Option<Duration> {
    let wait = Duration::from_millis(u64::try_from(at_ms.saturating_sub(now_ms)).ok()?);
    (Duration::ZERO < wait && wait <= RETRY_AFTER_MAX).then_some(wait)
}

/// What may be tried now: due, and nothing of the same alert before it that is not.
fn ready(waiting: &[Waiting], now_ms: i64) -> Vec<Waiting> {
    let mut held = BTreeSet::new();
    let mut ready = Vec::new();
    for news in waiting {
        if ahead(news.due_ms, now_ms).is_some() {
            held.insert(news.lane);
        } else if !held.contains(&news.lane) {
            ready.push(*news);
        }
    }
    ready
}

/// How long what is ready is still collected.
fn collecting(ready: &[Waiting], digest: Duration, now_ms: i64) -> Option<Duration> {
    if ready
        .iter()
        .any(|news| news.is_urgent || news.is_alone || 0 < news.attempts)
    {
        return None;
    }
    let oldest_ms = ready.iter().map(|news| news.created_ms).min()?;
    let waited = Duration::from_millis(u64::try_from(now_ms.saturating_sub(oldest_ms)).ok()?);
    let rest = digest.saturating_sub(waited);
    (Duration::ZERO < rest).then_some(rest)
}

fn until_a_token(tokens: f64, policy: &Policy) -> Duration {
    let minutes = (1.0 - tokens) / f64::from(policy.per_minute.max(1));
    // A millisecond more, so that rounding does not wake anybody too early.
    Duration::from_secs_f64((minutes * 60.0).clamp(0.0, 60.0)) + Duration::from_millis(1)
}

/// Between half of the full wait and all of it, so that many who failed at once do not come again at once.
fn backoff(failures: u32, jitter: f64) -> Duration {
    let full = BACKOFF_FIRST
        .saturating_mul(1 << failures.saturating_sub(1).min(16))
        .min(BACKOFF_MAX);
    full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
}

fn after(now_ms: i64, wait: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX))
}

fn is_hopeless(news: &Waiting, now_ms: i64) -> bool {
    let attempts = news.attempts.saturating_add(1);
    let age_ms = now_ms.saturating_sub(news.created_ms);
    let is_old = u128::try_from(age_ms).is_ok_and(|age_ms| GIVE_UP_AFTER.as_millis() <= age_ms);
    GIVE_UP_ATTEMPTS_MAX <= attempts || (is_old && GIVE_UP_ATTEMPTS_MIN <= attempts)
}

#[cfg(test)]
mod tests;
