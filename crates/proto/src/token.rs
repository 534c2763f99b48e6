//! The text of an enrolment token: `muster1.<public id>.<secret>.<pin>.<checksum>`.
//!
//! The pin is the SHA-256 of the root CA's public key and travels with the secret, so that whoever can be told the
//! token can also tell the true controller from a false one. The public id may be logged; the secret never.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use thiserror::Error;

/// Prefix of every token, fixed so that scanners can find leaked ones.
const PREFIX: &str = "muster1";

/// Why a text is not a token.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TokenError {
    /// It does not have the five parts, or another prefix.
    #[error("not an enrolment token: it should look like {PREFIX}.<id>.<secret>.<pin>.<checksum>")]
    Shape,
    /// It was damaged, probably when it was copied.
    #[error("the enrolment token was damaged in copying: its checksum does not fit")]
    Checksum,
}

/// An enrolment token.
#[derive(Clone, PartialEq, Eq)]
pub struct EnrolmentToken {
    /// Names the token in logs and tables: 16 hexadecimal digits.
    pub public_id: String,
    /// Proves that its holder was given it.
    pub secret: [u8; 32],
    /// SHA-256 of the root CA's SubjectPublicKeyInfo, DER.
    pub pin: [u8; 32],
}

impl std::fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret stays out of every log, also by accident.
        f.debug_struct("EnrolmentToken")
            .field("public_id", &self.public_id)
            .finish_non_exhaustive()
    }
}

impl EnrolmentToken {
    /// Reads a token; white space around it is ignored.
    ///
    /// # Errors
    /// [`TokenError`] if it is not a token or was damaged.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let (body, checksum) = text.rsplit_once('.').ok_or(TokenError::Shape)?;
        let parts: Vec<&str> = body.split('.').collect();
        let [PREFIX, public_id, secret, pin] = parts[..] else {
            return Err(TokenError::Shape);
        };
        if checksum != checksum_of(body) {
            return Err(TokenError::Checksum);
        }
        let is_id = public_id.len() == 16 && public_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(TokenError::Shape);
        }
        Ok(Self {
            public_id: public_id.to_owned(),
            secret: decode(secret)?,
            pin: decode(pin)?,
        })
    }

    /// The text that [`EnrolmentToken::parse`] reads. Contains the secret.
    #[must_use]
    pub fn to_text(&self) -> String {
        let body = format!(
            "{PREFIX}.{}.{}.{}",
            self.public_id,
            BASE64.encode(self.secret),
            BASE64.encode(self.pin)
        );
        let checksum = checksum_of(&body);
        format!("{body}.{checksum}")
    }
}

fn checksum_of(body: &str) -> String {
    format!("{:08x}", crc32fast::hash(body.as_bytes()))
}

fn decode(part: &str) -> Result<[u8; 32], TokenError> {
    BASE64
        .decode(part)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(TokenError::Shape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> EnrolmentToken {
        EnrolmentToken {
            public_id: "0123456789abcdef".to_owned(),
            secret: [7; 32],
            pin: [9; 32],
        }
    }

    #[test]
    fn a_token_survives_being_written_and_read() {
        let text = token().to_text();
        assert_eq!(EnrolmentToken::parse(&format!("  {text}\n")), Ok(token()));
    }

    #[test]
    fn any_changed_character_is_noticed() {
        let text = token().to_text();
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(EnrolmentToken::parse(&changed).is_err(), "{changed}");
        }
    }

    #[test]
    fn debug_output_hides_the_secret() {
        let shown = format!("{:?}", token());
        assert!(
            shown.contains("0123456789abcdef") && !shown.contains("secret"),
            "{shown}"
        );
    }
}
