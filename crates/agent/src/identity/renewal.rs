//! The next generation of an identity, on disk.
//!
//! `next.pem` is the key that asks, on disk before the call. With the answer, key, chain and roots are written under
//! names of their own generation, and replacing `identity.json` makes them count. Whatever was before is removed after
//! that. A crash before the switch leaves the old identity and `next.pem`, with which the same question is asked
//! again; one after it leaves the new identity and files that nobody reads.

use camino::Utf8Path;
use rcgen::KeyPair;
use rustls::pki_types::PrivateKeyDer;
use tracing::warn;

use super::{Identity, IdentityDir, IdentityError, IdentityFile, durable, pem, private_key, read_key};

const NEXT_KEY: &str = "next.pem";

impl IdentityDir {
    /// The key that will follow `current`: the one that was about to when the agent ended, or a new one. On disk
    /// before this returns.
    ///
    /// # Errors
    /// [`IdentityError`] if it can't be read, made or kept.
    pub(crate) fn next_key_or_new(&self, current: &PrivateKeyDer<'_>) -> Result<KeyPair, IdentityError> {
        let path = self.path().join(NEXT_KEY);
        match read_key(&path) {
            Ok(None) => {}
            Ok(Some(pem)) => match KeyPair::from_pem(&pem) {
                // Left over by a crash after the switch, if it is the one in use.
                Ok(key) if private_key(&key).secret_der() == current.secret_der() => {}
                Ok(key) => return Ok(key),
                Err(error) => {
                    warn!(path = %path, error = %error, "unused key is damaged, another one is made");
                }
            },
            Err(error @ IdentityError::Read { .. }) => return Err(error),
            Err(error) => warn!(error = %error, "unused key can't be used, another one is made"),
        }
        let key = KeyPair::generate().map_err(IdentityError::MakeKey)?;
        self.write_as(NEXT_KEY, key.serialize_pem().as_bytes(), durable::SECRET)?;
        Ok(key)
    }

    /// Makes `next` with its key the identity that counts.
    ///
    /// # Errors
    /// [`IdentityError::Write`] if a file can't be written; then the identity before still counts.
    pub(crate) fn switch(&self, next: &Identity, key: &KeyPair) -> Result<(), IdentityError> {
        let file = IdentityFile::of(next, true);
        self.write_as(&file.name("key"), key.serialize_pem().as_bytes(), durable::SECRET)?;
        self.write(&file.name("chain"), pem(&next.chain).as_bytes())?;
        self.write(&file.name("roots"), pem(&next.roots).as_bytes())?;
        self.write("identity.json", &file.to_json())?;
        self.remove_all_but(&["key", "chain", "roots"].map(|what| file.name(what)));
        Ok(())
    }

    /// Removes keys and certificates that do not count any more. What can't be removed now is removed the next time.
    fn remove_all_but(&self, kept: &[String]) {
        let Ok(entries) = self.path().read_dir_utf8() else {
            return;
        };
        let is_old = |path: &Utf8Path| {
            path.extension() == Some("pem")
                && path
                    .file_name()
                    .is_some_and(|name| !kept.iter().any(|kept| kept == name))
        };
        for entry in entries.flatten().filter(|entry| is_old(entry.path())) {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                warn!(path = %entry.path(), error = %error, "replaced file can't be removed");
            }
        }
    }

    fn write_as(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), IdentityError> {
        let path = self.path().join(name);
        durable::write(&path, bytes, mode).map_err(|source| IdentityError::Write { path, source })
    }
}

#[cfg(test)]
mod tests;
