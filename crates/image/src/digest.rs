//! Digests: what names bytes by what they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Digest of some bytes, such as `sha256:…`: algorithm and lower-case hexadecimal digits (OCI image specification,
/// "Descriptor").
///
/// ```
/// let digest = muster_image::Digest::of(b"");
/// assert!(digest.as_str().starts_with("sha256:e3b0c442"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DigestError {
    /// It has no colon.
    #[error("a digest looks like sha256:…")]
    Shape,
    /// The algorithm is none of those that are registered.
    #[error("the digest's algorithm is none of sha256, sha384 and sha512")]
    Algorithm,
    /// Its digits are too many, too few, or no lower-case hexadecimal ones.
    #[error("the digest does not have {0} lower-case hexadecimal digits")]
    Digits(usize),
}

impl Digest {
    /// SHA-256 of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in Sha256::digest(bytes) {
            text.push(char::from(HEX[usize::from(byte >> 4)]));
            text.push(char::from(HEX[usize::from(byte & 15)]));
        }
        Self(text)
    }

    /// The whole of it: `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one that [`Digest::of`] can check.
    #[must_use]
    pub fn is_sha256(&self) -> bool {
        self.0.starts_with("sha256:")
    }

    /// Its first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        let digits = self.0.split_once(':').map_or("", |(_, digits)| digits);
        &digits[..12.min(digits.len())]
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let (algorithm, digits) = text.split_once(':').ok_or(DigestError::Shape)?;
        let count = match algorithm {
            "sha256" => 64,
            "sha384" => 96,
            "sha512" => 128,
            _ => return Err(DigestError::Algorithm),
        };
        let is_hex = digits.bytes().all(|byte| HEX.contains(&byte));
        if digits.len() != count || !is_hex {
            return Err(DigestError::Digits(count));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_digest_has_a_known_algorithm_and_as_many_digits_as_that_makes() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").as_str(), empty);
        assert_eq!(empty.parse::<Digest>().unwrap().short(), "e3b0c44298fc");
        for (text, error) in [
            ("", DigestError::Shape),
            ("sha256", DigestError::Shape),
            ("sha256:", DigestError::Digits(64)),
            ("md5:d41d8cd98f00b204e9800998ecf8427e", DigestError::Algorithm),
            (&empty[..70], DigestError::Digits(64)),
            (
                &empty.to_uppercase().replace("SHA", "sha"),
                DigestError::Digits(64),
            ),
            (&empty.replace("sha256", "sha512"), DigestError::Digits(128)),
        ] {
            assert_eq!(text.parse::<Digest>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(text in ".{0,140}|sha256:[0-9a-f]{60,68}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert_eq!(digest.to_string(), text);
            }
        }
    }
}
