//! Slowing down whoever guesses, without letting anybody hold others out.
//!
//! Of passwords: so many tries a minute for an account from one network; and for networks from which the account has
//! never logged in, so many for the account from all of them together, and so many for one network over all accounts.
//! Whoever comes from a network it logged in from before is therefore held up only by what that network did itself.
//!
//! Of tokens: so many a minute from one network that are none. Beyond that, only tokens are looked at that were shown
//! before.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::AuthError;
use crate::app::limit::RateLimit;

/// Tokens a minute from one network that are none.
const GUESSES_PER_MIN: u32 = 30;
/// Most tokens remembered as shown before. When there are more, all are forgotten, which costs each of them one look
/// under the limit.
const SHOWN_MAX: usize = 8_192;

pub(in crate::app) struct Guard {
    of_pair: RateLimit<(String, String)>,
    of_account: RateLimit<String>,
    of_network: RateLimit<String>,
    guesses: RateLimit<String>,
    shown: Mutex<HashSet<[u8; 32]>>,
}

impl Guard {
    /// With so many login attempts a minute.
    pub(in crate::app) fn new(per_min: u32) -> Self {
        let per_s = f64::from(per_min) / 60.0;
        Self {
            of_pair: RateLimit::new(per_s, per_min),
            of_account: RateLimit::new(per_s, per_min),
            of_network: RateLimit::new(per_s, per_min),
            guesses: RateLimit::new(f64::from(GUESSES_PER_MIN) / 60.0, GUESSES_PER_MIN),
            shown: Mutex::default(),
        }
    }

    /// Counts a try of a password.
    pub(super) fn may_try(
        &self,
        account: &str,
        peer: IpAddr,
        network: String,
        is_known: bool,
        now_ms: i64,
    ) -> Result<(), AuthError> {
        let pair = (account.to_owned(), network.clone());
        self.of_pair.take(pair, now_ms).map_err(too_many)?;
        if is_known {
            return Ok(());
        }
        // Behind a reverse proxy on this machine that is not listed everybody has the same address.
        if !peer.is_loopback() {
            self.of_network.take(network, now_ms).map_err(too_many)?;
        }
        self.of_account.take(account.to_owned(), now_ms).map_err(too_many)
    }

    /// Whether a token may be looked at.
    pub(super) fn may_show(&self, network: &String, hash: &[u8; 32], now_ms: i64) -> Result<(), AuthError> {
        match self.guesses.wait_ms(network, now_ms) {
            0 => Ok(()),
            _ if self.shown_before().contains(hash) => Ok(()),
            wait_ms => Err(too_many(wait_ms)),
        }
    }

    /// Counts a token that was none.
    pub(super) fn guessed(&self, network: String, now_ms: i64) {
        // Whether there was one left was asked before.
        let _ = self.guesses.take(network, now_ms);
    }

    /// Remembers a token that is one.
    pub(super) fn shown(&self, hash: [u8; 32]) {
        let mut shown = self.shown_before();
        if SHOWN_MAX <= shown.len() {
            shown.clear();
        }
        shown.insert(hash);
    }

    fn shown_before(&self) -> std::sync::MutexGuard<'_, HashSet<[u8; 32]>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn too_many(wait_ms: u64) -> AuthError {
    AuthError::TooMany {
        retry_after_s: wait_ms.div_ceil(1_000).max(1),
    }
}
