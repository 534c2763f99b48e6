//! Sealing secrets for the state database with a key that is kept outside of it.
//!
//! Format: one byte of version, a random nonce of 12 bytes, ChaCha20-Poly1305 over the secret with its name as
//! additional data, so that a sealed secret cannot be passed off under another name.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};

use camino::Utf8Path;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::{hkdf, hmac};

use super::{IdentityError, random};

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;

/// The sealing key.
pub struct Seal {
    key: LessSafeKey,
    /// What keys for other uses are derived from, so that none of them tells anything of this one.
    derived: hkdf::Prk,
}

impl Seal {
    /// Wraps 32 bytes.
    ///
    /// # Panics
    /// Never: the cipher takes every key of this length.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, b"muster sealing key").extract(key);
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("the cipher takes keys of 32 bytes");
        Self {
            key: LessSafeKey::new(key),
            derived,
        }
    }

    /// A key of its own for `purpose`, with which records outside of the database are signed, or records in it against
    /// whoever has only the database. The same sealing key and purpose always give the same key.
    ///
    /// # Panics
    /// Never: the length asked for is the algorithm's own.
    #[must_use]
    pub fn mac_key(&self, purpose: &str) -> hmac::Key {
        let info = [purpose.as_bytes()];
        let key = self.derived.expand(&info, hmac::HMAC_SHA256);
        hmac::Key::from(key.expect("a key as long as the hash can be derived"))
    }

    /// Reads the key's file. Without one, makes it (mode 0600, synced) if nothing was sealed yet.
    ///
    /// # Errors
    /// [`IdentityError::SealFile`], [`IdentityError::SealLength`], or [`IdentityError::SealMissing`] if
    /// `has_sealed_secrets` and there is no file.
    pub fn load_or_make(path: &Utf8Path, has_sealed_secrets: bool) -> Result<Self, IdentityError> {
        let failed = |doing| {
            move |source| IdentityError::SealFile {
                doing,
                path: path.to_owned(),
                source,
            }
        };
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound && has_sealed_secrets => {
                return Err(IdentityError::SealMissing {
                    path: path.to_owned(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = random::<KEY_BYTES>()?;
                make(path, &key).map_err(failed("make"))?;
                return Ok(Self::new(&key));
            }
            Err(error) => return Err(failed("read")(error)),
        };
        warn_if_open_to_others(path);
        let key = bytes
            .as_slice()
            .try_into()
            .map_err(|_| IdentityError::SealLength {
                path: path.to_owned(),
                bytes: bytes.len(),
            })?;
        Ok(Self::new(key))
    }

    /// Seals a secret under its name.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    ///
    /// # Panics
    /// Never: the cipher takes everything shorter than 256 GiB.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, IdentityError> {
        let nonce = random::<NONCE_LEN>()?;
        let mut body = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(name.as_bytes()),
                &mut body,
            )
            .expect("secrets are shorter than the cipher's limit");
        Ok([&[VERSION][..], &nonce, &body].concat())
    }

    /// Opens what was sealed under this name.
    ///
    /// # Errors
    /// [`IdentityError::Unseal`] if the key or the name is another one, or the bytes were changed.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, IdentityError> {
        self.try_open(name, sealed).ok_or_else(|| IdentityError::Unseal {
            name: name.to_owned(),
        })
    }

    fn try_open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (&VERSION, rest) = sealed.split_first()? else {
            return None;
        };
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut body = body.to_vec();
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(name.as_bytes()), &mut body)
            .ok()?;
        Some(plain.to_vec())
    }
}

fn make(path: &Utf8Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(key)?;
    // Synced before the first secret is sealed with it: a lost key is a lost installation.
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        fs::File::open(if folder.as_str().is_empty() {
            Utf8Path::new(".")
        } else {
            folder
        })?
        .sync_all()?;
    }
    Ok(())
}

fn warn_if_open_to_others(path: &Utf8Path) {
    if let Ok(metadata) = fs::metadata(path)
        && metadata.permissions().mode() & 0o077 != 0
    {
        tracing::warn!(path = %path, "the sealing key is open to other accounts, it should have mode 0600");
    }
}
