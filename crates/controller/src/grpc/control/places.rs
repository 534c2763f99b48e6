//! Places for streams: few for one account, and not many in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most streams of one account.
const OF_ONE_MAX: usize = 8;
/// Most streams in all.
const OF_ALL_MAX: usize = 32;

/// Who has how many streams; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<i64, usize>>>);

/// A place of an account; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    user: i64,
}

impl Places {
    /// A place, unless the account or all together have too many.
    pub(super) fn take(&self, user: i64) -> Option<Place> {
        let mut held = self.lock();
        let (all, own) = (
            held.values().sum::<usize>(),
            held.get(&user).copied().unwrap_or(0),
        );
        if OF_ALL_MAX <= all || OF_ONE_MAX <= own {
            return None;
        }
        held.insert(user, own + 1);
        drop(held);
        Some(Place {
            places: self.clone(),
            user,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i64, usize>> {
        // Nothing in here can panic half way.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        match held.get_mut(&self.user) {
            Some(count) if 1 < *count => *count -= 1,
            _ => {
                held.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_few_places_and_all_together_not_many() {
        let places = Places::default();
        let of_one: Vec<_> = (0..OF_ONE_MAX).map(|_| places.take(1).unwrap()).collect();
        assert!(places.take(1).is_none());
        let others: Vec<_> = (0..OF_ALL_MAX as i64)
            .filter_map(|n| places.take(2 + n / 4))
            .collect();
        assert_eq!(of_one.len() + others.len(), OF_ALL_MAX);
        drop(of_one);
        assert!(places.take(1).is_some());
        drop(others);
        assert!(places.lock().is_empty());
    }
}
