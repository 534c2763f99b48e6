//! Token buckets by key, bounded in memory.
//!
//! A bucket that is full again is forgotten. At the bound of keys the fullest buckets go first, so that a flood of new
//! addresses cannot free one that is being held back.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

/// Most keys remembered at once.
const KEYS_MAX: usize = 16_384;

/// What sums of fractions may be off.
const ROUNDING: f64 = 1e-9;

/// A rate per key.
#[derive(Debug)]
pub struct RateLimit<K> {
    per_ms: f64,
    burst: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    level: f64,
    at_ms: i64,
}

impl<K: Eq + Hash + Clone> RateLimit<K> {
    /// `per_s` a second on the long run, `burst` at once. A rate of zero refuses all beyond the burst.
    #[must_use]
    pub fn new(per_s: f64, burst: u32) -> Self {
        Self {
            per_ms: per_s.max(0.0) / 1_000.0,
            burst: f64::from(burst.max(1)),
            buckets: Mutex::default(),
        }
    }

    /// Takes one from the key's bucket.
    ///
    /// # Errors
    /// The number of milliseconds after which there will be one.
    pub fn take(&self, key: K, now_ms: i64) -> Result<(), u64> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if KEYS_MAX <= buckets.len() && !buckets.contains_key(&key) {
            self.forget_fullest(&mut buckets, now_ms);
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            level: self.burst,
            at_ms: now_ms,
        });
        bucket.level = self.level(*bucket, now_ms);
        bucket.at_ms = now_ms;
        if bucket.level < 1.0 - ROUNDING {
            return Err(self.until_one(bucket.level));
        }
        bucket.level -= 1.0;
        Ok(())
    }

    /// How many milliseconds until the key's bucket has one; takes nothing.
    pub fn wait_ms(&self, key: &K, now_ms: i64) -> u64 {
        let buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let level = buckets
            .get(key)
            .map_or(self.burst, |bucket| self.level(*bucket, now_ms));
        self.until_one(level)
    }

    /// How many milliseconds until a level has grown to one.
    fn until_one(&self, level: f64) -> u64 {
        let missing = 1.0 - ROUNDING - level;
        if missing <= 0.0 {
            return 0;
        }
        // A rate of zero gives infinity; an hour is as good as never and fits everywhere.
        (missing / self.per_ms).ceil().min(3_600_000.0) as u64
    }

    fn level(&self, bucket: Bucket, now_ms: i64) -> f64 {
        // A clock that was set back must not drain or fill a bucket.
        let passed_ms = now_ms.saturating_sub(bucket.at_ms).max(0) as f64;
        (bucket.level + passed_ms * self.per_ms).min(self.burst)
    }

    fn forget_fullest(&self, buckets: &mut HashMap<K, Bucket>, now_ms: i64) {
        let mut levels: Vec<f64> = buckets
            .values()
            .map(|bucket| self.level(*bucket, now_ms))
            .collect();
        let middle = levels.len() / 2;
        let (_, &mut median, _) = levels.select_nth_unstable_by(middle, f64::total_cmp);
        // At least a half goes: this is paid once per 8,192 new keys.
        buckets.retain(|_, bucket| self.level(*bucket, now_ms) < median);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let limit = RateLimit::new(1.0, 3);
        for _ in 0..3 {
            assert_eq!(limit.take("a", 0), Ok(()));
        }
        assert_eq!(limit.take("a", 0), Err(1_000));
        assert_eq!(limit.take("b", 0), Ok(()), "another key has its own bucket");
        assert_eq!((limit.wait_ms(&"a", 999), limit.wait_ms(&"c", 999)), (1, 0));
        assert_eq!(limit.take("a", 999), Err(1));
        assert_eq!(limit.take("a", 1_000), Ok(()));
    }

    #[test]
    fn a_clock_set_back_neither_fills_nor_drains() {
        let limit = RateLimit::new(1.0, 1);
        assert_eq!(limit.take((), 10_000), Ok(()));
        assert_eq!(limit.take((), 0), Err(1_000));
        assert_eq!(limit.take((), 1_000), Ok(()));
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_frees_nobody_who_is_held_back() {
        let limit = RateLimit::new(0.001, 2);
        for _ in 0..2 {
            limit.take(usize::MAX, 0).unwrap();
        }
        for key in 0..KEYS_MAX * 3 {
            let _ = limit.take(key, 0);
        }
        assert!(limit.buckets.lock().unwrap().len() <= KEYS_MAX);
        assert!(limit.take(usize::MAX, 0).is_err());
    }

    #[test]
    fn a_rate_of_zero_refuses_all_beyond_the_burst() {
        let limit = RateLimit::new(0.0, 1);
        assert_eq!(limit.take((), 0), Ok(()));
        assert_eq!(limit.take((), i64::MAX), Err(3_600_000));
    }
}
