//! Which machine an identity was made on, so that a copy of it on another one is noticed before it is used.
//!
//! Beside the key stands a hash of the machine's id (machine-id(5)) with a salt of its own, from which the id cannot be
//! had. A clone of a whole disk that keeps its machine id is not noticed here; the controller notices it.

use std::fmt::Write as _;

use camino::Utf8PathBuf;
use ring::rand::{SecureRandom as _, SystemRandom};
use sha2::{Digest as _, Sha256};

use super::{IdentityDir, IdentityError, damaged, durable, read};
use crate::host::Host;

const FILE: &str = "machine";
const KEY: &str = "key.pem";
const SALT_BYTES: usize = 16;
/// Shorter is no id: `uninitialized` is what an image has before its first boot.
const ID_BYTES_MIN: usize = 32;

/// The machine's own id. Not told to anybody, the controller included.
#[derive(Clone, PartialEq, Eq)]
pub struct Machine(String);

impl Machine {
    /// The id of this machine; `None` if it has none, as in a container.
    pub async fn read(host: &Host) -> Option<Self> {
        let id = host.read_etc("machine-id").await.ok()??;
        Self::of(&id)
    }

    /// From the text of `/etc/machine-id`; `None` if that is no id.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let id = text.trim();
        let is_id = ID_BYTES_MIN <= id.len() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_id.then(|| Self(id.to_owned()))
    }

    fn mark(&self, salt: &str) -> String {
        let mut hash = Sha256::new();
        for part in ["muster machine 1", salt, &self.0] {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        format!("{salt}:{}\n", hex(&hash.finalize()))
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // machine-id(5) asks that it is kept confidential.
        f.write_str("Machine")
    }
}

impl IdentityDir {
    /// Binds the folder to this machine, or checks that it is bound to it. An identity of a version that did not bind
    /// it is bound by its first use. A key of another machine that never became an identity is thrown away.
    ///
    /// # Errors
    /// [`IdentityError::OtherMachine`], or that the mark can't be read or kept.
    pub fn bind(&self, machine: &Machine) -> Result<(), IdentityError> {
        let path = self.path().join(FILE);
        if path.exists() {
            let text = read(&path)?;
            let text = String::from_utf8(text).map_err(|error| damaged(&path, &error))?;
            let (salt, _) = text
                .split_once(':')
                .ok_or_else(|| damaged(&path, &"it is no mark of a machine"))?;
            if text == machine.mark(salt) {
                return Ok(());
            }
            if self.is_enrolled() {
                return Err(IdentityError::OtherMachine {
                    dir: self.path().to_owned(),
                    data_dir: self.data_dir.clone(),
                });
            }
            self.discard_key()?;
        }
        let write = |source| IdentityError::Write {
            path: path.clone(),
            source,
        };
        let mut salt = [0; SALT_BYTES];
        SystemRandom::new()
            .fill(&mut salt)
            .map_err(|_| write(std::io::Error::other("the system gives no random numbers")))?;
        durable::create_dir(self.path()).map_err(write)?;
        durable::write(&path, machine.mark(&hex(&salt)).as_bytes(), durable::SECRET).map_err(write)
    }

    fn discard_key(&self) -> Result<(), IdentityError> {
        let path: Utf8PathBuf = self.path().join(KEY);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(IdentityError::Write { path, source: error })
            }
            _ => Ok(()),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;

    const ONE: &str = "0123456789abcdef0123456789abcdef\n";
    const OTHER: &str = "fedcba9876543210fedcba9876543210\n";

    fn dir() -> (tempfile::TempDir, IdentityDir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = IdentityDir::below(Utf8Path::from_path(folder.path()).unwrap());
        (folder, dir)
    }

    fn machine(text: &str) -> Machine {
        Machine::of(text).unwrap()
    }

    fn enrol(dir: &IdentityDir) {
        std::fs::write(dir.path().join("identity.json"), "{}").unwrap();
    }

    /// S7
    #[test]
    fn an_identity_is_good_on_its_own_machine_and_refused_on_another() {
        let (_folder, dir) = dir();
        dir.bind(&machine(ONE)).unwrap();
        enrol(&dir);
        dir.bind(&machine(ONE)).unwrap();
        let refused = dir.bind(&machine(OTHER)).unwrap_err().to_string();
        assert!(
            refused.contains("another machine") && refused.contains("seal"),
            "{refused}"
        );
        dir.bind(&machine(ONE)).unwrap();
        let mark = std::fs::read_to_string(dir.path().join(FILE)).unwrap();
        assert!(!mark.contains(ONE.trim()), "the id itself is not kept");
    }

    #[test]
    fn an_identity_without_a_mark_is_bound_by_its_first_use() {
        let (_folder, dir) = dir();
        durable::create_dir(dir.path()).unwrap();
        enrol(&dir);
        dir.bind(&machine(ONE)).unwrap();
        assert!(dir.bind(&machine(OTHER)).is_err());
    }

    #[test]
    fn a_key_that_was_copied_before_it_became_an_identity_is_made_anew() {
        let (_folder, dir) = dir();
        dir.bind(&machine(ONE)).unwrap();
        let key = dir.key_or_new().unwrap().serialize_der();
        dir.bind(&machine(ONE)).unwrap();
        assert_eq!(dir.key_or_new().unwrap().serialize_der(), key);
        dir.bind(&machine(OTHER)).unwrap();
        assert_ne!(dir.key_or_new().unwrap().serialize_der(), key);
    }

    #[test]
    fn what_is_no_machine_id_binds_nothing() {
        for text in [
            "",
            "uninitialized\n",
            "0123\n",
            "x123456789abcdef0123456789abcdef\n",
        ] {
            assert!(Machine::of(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_damaged_mark_is_said_and_not_overwritten() {
        let (_folder, dir) = dir();
        durable::create_dir(dir.path()).unwrap();
        enrol(&dir);
        for text in [&b"\xff"[..], b"no mark"] {
            std::fs::write(dir.path().join(FILE), text).unwrap();
            let refused = dir.bind(&machine(ONE)).unwrap_err();
            assert!(matches!(refused, IdentityError::Damaged { .. }), "{refused}");
        }
    }
}
