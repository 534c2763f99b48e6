//! Secrets in memory: never printed, never serialised.

use std::collections::BTreeMap;
use std::fmt;

/// Shortest secret that is looked for in answers: shorter ones would blot out ordinary words.
const REDACTED_CHARS_MIN: usize = 6;

/// A password, key or address that is as good as one. Its text is only given out by [`Secret::expose`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for whoever sends or seals it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// The secrets of a channel, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// The secret of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name)
    }

    /// Sets a secret.
    pub fn set(&mut self, name: impl Into<String>, secret: Secret) {
        self.0.insert(name.into(), secret);
    }

    /// Removes a secret.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The names of those that are set.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// As JSON, to be sealed.
    #[must_use]
    pub fn to_plain(&self) -> Vec<u8> {
        let texts: BTreeMap<&str, &str> = self
            .0
            .iter()
            .map(|(name, secret)| (name.as_str(), secret.expose()))
            .collect();
        serde_json::to_vec(&texts).expect("a map of texts is JSON")
    }

    /// What [`Secrets::to_plain`] made. `None` if it is something else.
    #[must_use]
    pub fn from_plain(plain: &[u8]) -> Option<Self> {
        let texts: BTreeMap<String, String> = serde_json::from_slice(plain).ok()?;
        let secrets = texts.into_iter().map(|(name, text)| (name, Secret(text)));
        Some(Self(secrets.collect()))
    }

    /// The text without any of these secrets: the other side may repeat what it was sent.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut redacted = text.to_owned();
        for secret in self.0.values() {
            let secret = secret.expose();
            if REDACTED_CHARS_MIN <= secret.chars().count() && redacted.contains(secret) {
                redacted = redacted.replace(secret, "(secret)");
            }
        }
        redacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed_and_not_repeated_by_the_other_side() {
        let mut secrets = Secrets::default();
        secrets.set("token", Secret::new("canary-4711"));
        assert!(!format!("{secrets:?}").contains("canary"));
        assert_eq!(
            secrets.redact("bad token canary-4711, sorry"),
            "bad token (secret), sorry"
        );
        assert_eq!(Secrets::from_plain(&secrets.to_plain()), Some(secrets));
    }
}
