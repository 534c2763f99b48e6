//! Password hashes: argon2id, off the async threads, few at a time.
//!
//! A hash takes much memory and time by intent, so it is what somebody would ask for to keep a controller busy: one of
//! the places is kept for accounts that come from where they logged in before, and few may wait for the others.

use std::sync::Arc;

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AuthError;

/// Hashes at once for whoever is not known; together with the one for others four times the memory is taken at most.
const FOR_ANYBODY: usize = 3;
/// Hashes at once for whoever comes from a known place, and for what the controller itself asks for.
const FOR_KNOWN: usize = 1;
/// Tries that may wait for a place.
const WAITING_MAX: usize = 32;

/// What a hash costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory, KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
}

impl Default for HashCost {
    fn default() -> Self {
        Self {
            memory_kib: 64 * 1_024,
            passes: 3,
        }
    }
}

/// Computes and checks hashes.
pub(in crate::app) struct Hasher {
    cost: HashCost,
    anybody: Arc<Semaphore>,
    known: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Hasher {
    pub(in crate::app) fn new(cost: HashCost) -> Self {
        Self {
            cost,
            anybody: Arc::new(Semaphore::new(FOR_ANYBODY)),
            known: Arc::new(Semaphore::new(FOR_KNOWN)),
            waiting: Semaphore::new(WAITING_MAX),
        }
    }

    /// Whether the password fits; without a stored hash one is made all the same, so that it takes as long.
    pub(in crate::app) async fn verify(
        &self,
        stored: Option<String>,
        password: String,
        is_known: bool,
    ) -> Result<bool, AuthError> {
        let Some(stored) = stored else {
            self.hash(password, is_known).await?;
            return Ok(false);
        };
        let argon2 = self.argon2()?;
        self.run(is_known, move || {
            match argon2.verify_password(password.as_bytes(), stored.as_str()) {
                Ok(()) => Ok(true),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    pub(in crate::app) async fn hash(&self, password: String, is_known: bool) -> Result<String, AuthError> {
        let argon2 = self.argon2()?;
        self.run(is_known, move || {
            let hash = argon2.hash_password(password.as_bytes());
            hash.map(|hash| hash.to_string())
                .map_err(|error| error.to_string())
        })
        .await
    }

    /// Whether a stored hash costs what one costs now.
    pub(in crate::app) fn is_current(&self, stored: &str) -> bool {
        let HashCost { memory_kib, passes } = self.cost;
        stored.starts_with(&format!("$argon2id$v=19$m={memory_kib},t={passes},p=1$"))
    }

    fn argon2(&self) -> Result<Argon2<'static>, AuthError> {
        let params = Params::new(self.cost.memory_kib, self.cost.passes, 1, None);
        let params = params.map_err(|error| AuthError::Hash(error.to_string()))?;
        Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
    }

    async fn run<T: Send + 'static>(
        &self,
        is_known: bool,
        work: impl FnOnce() -> Result<T, String> + Send + 'static,
    ) -> Result<T, AuthError> {
        let permit = self.place(is_known).await?;
        // The permit goes along, so that a caller who gives up does not make room for more.
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await
            .map_err(|error| AuthError::Hash(error.to_string()))?
            .map_err(AuthError::Hash)
    }

    async fn place(&self, is_known: bool) -> Result<OwnedSemaphorePermit, AuthError> {
        let places = if is_known { &self.known } else { &self.anybody };
        let _waiting = if is_known {
            None
        } else {
            let turn = self.waiting.try_acquire();
            Some(turn.map_err(|_| AuthError::TooMany { retry_after_s: 1 })?)
        };
        let permit = Arc::clone(places).acquire_owned().await;
        Ok(permit.expect("the semaphore is never closed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_hashed_as_promised_and_checked() {
        let hasher = Hasher::new(HashCost::default());
        let hash = hasher.hash("correct horse".to_owned(), true).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=65536,t=3,p=1$"), "{hash}");
        assert!(hasher.is_current(&hash));
        assert!(!hasher.is_current("$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA"));
        let check = async |password: &str| {
            hasher
                .verify(Some(hash.clone()), password.to_owned(), false)
                .await
        };
        assert!(check("correct horse").await.unwrap());
        assert!(!check("wrong horse").await.unwrap());
        assert!(
            !hasher
                .verify(None, "correct horse".to_owned(), false)
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn a_crowd_is_refused_while_known_places_are_served() {
        let hasher = Hasher::new(HashCost {
            memory_kib: 1_024,
            passes: 1,
        });
        // Held as if hashes were under way that do not end.
        let _all = hasher.anybody.clone().acquire_many_owned(3).await.unwrap();
        let _waiting = hasher.waiting.acquire_many(32).await.unwrap();
        let refused = hasher.hash("x".to_owned(), false).await;
        assert!(
            matches!(refused, Err(AuthError::TooMany { retry_after_s: 1 })),
            "{refused:?}"
        );
        assert!(hasher.hash("x".to_owned(), true).await.is_ok());
    }
}
