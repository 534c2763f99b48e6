//! How the part that talks to the network gives its rights up, once the child has started.
//!
//! Leaving user 0 takes every capability away (capabilities(7)); glibc does it for all threads.

use std::io;

use nix::sys::prctl;
use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};
use thiserror::Error;

/// Why the rights could not be given up; the agent does not go on with them then.
#[derive(Debug, Error)]
pub enum RightsError {
    /// There is nobody of that name.
    #[error("there is no user {name}, whom the setting user names")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The user has all rights, so that nothing would be given up.
    #[error("the setting user names {name}, who is root")]
    Root {
        /// The name.
        name: String,
    },
    /// A system call failed.
    #[error("become user {name}, as the setting user says")]
    Refused {
        /// The name.
        name: String,
        /// Why not.
        source: io::Error,
    },
}

/// Who the agent becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl User {
    /// Looks a user up.
    ///
    /// # Errors
    /// [`RightsError`] if there is none, or it is root.
    pub fn find(name: &str) -> Result<Self, RightsError> {
        let found = nix::unistd::User::from_name(name).map_err(|error| RightsError::Refused {
            name: name.to_owned(),
            source: error.into(),
        })?;
        let Some(found) = found else {
            return Err(RightsError::Unknown {
                name: name.to_owned(),
            });
        };
        if found.uid.is_root() {
            return Err(RightsError::Root {
                name: name.to_owned(),
            });
        }
        Ok(Self {
            name: found.name,
            uid: found.uid,
            gid: found.gid,
        })
    }

    /// Becomes this user for good. An agent that is that user already stays as it is.
    ///
    /// # Errors
    /// [`RightsError`] if that is refused.
    pub fn become_for_good(&self) -> Result<(), RightsError> {
        let refused = |error: nix::Error| RightsError::Refused {
            name: self.name.clone(),
            source: error.into(),
        };
        prctl::set_no_new_privs().map_err(refused)?;
        if geteuid() == self.uid {
            return Ok(());
        }
        setgroups(&[self.gid]).map_err(refused)?;
        setresgid(self.gid, self.gid, self.gid).map_err(refused)?;
        setresuid(self.uid, self.uid, self.uid).map_err(refused)?;
        // That it cannot be undone is the point of it.
        match setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)) {
            Err(_) => Ok(()),
            Ok(()) => Err(RightsError::Refused {
                name: self.name.clone(),
                source: io::Error::other("the rights came back"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_someone_without_rights_can_be_named() {
        assert!(matches!(User::find("root"), Err(RightsError::Root { .. })));
        assert!(matches!(
            User::find("nobody-of-this-name"),
            Err(RightsError::Unknown { .. })
        ));
        assert_eq!(User::find("nobody").unwrap().name, "nobody");
    }
}
