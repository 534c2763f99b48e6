//! Reading the policy, if it can be trusted.

use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use camino::Utf8Path;
use muster_base::ErrorChain;
use muster_model::CommandRefusal;
use nix::fcntl::OFlag;

use super::Policy;
use crate::alarm::trusted;
use crate::command::refused::Refused;
use crate::command::sha256_hex;

/// Where the policy is unless the settings say otherwise.
pub const DEFAULT_PATH: &str = "/etc/muster/policy.toml";
/// Longest policy.
const BYTES_MAX: u64 = 256 * 1024;

/// A policy that counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What it says.
    pub policy: Policy,
    /// SHA-256 of its text; empty if there is none.
    pub sha256: String,
}

/// Reads the policy. Without one nothing is allowed, which is no error.
///
/// # Errors
/// [`Refused`] for everything if there is one that cannot be trusted or read.
pub fn load(path: &Utf8Path) -> Result<Loaded, Refused> {
    let unusable = |why: String| {
        let message = format!("the policy of this server does not count, so nothing is allowed: {why}");
        Refused::new(CommandRefusal::PolicyUnusable, message)
    };
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Loaded::default()),
        Err(error) => return Err(unusable(format!("{path}: {error}"))),
        Ok(_) => {}
    }
    let real = trusted(path).map_err(|error| unusable(ErrorChain(&error).to_string()))?;
    if real != path {
        return Err(unusable(format!("a symbolic link leads from {path} to {real}")));
    }
    let text = read(path).map_err(|error| unusable(format!("{path}: {error}")))?;
    let policy = Policy::parse(&text).map_err(|why| unusable(format!("{path}: {why}")))?;
    Ok(Loaded {
        policy,
        sha256: sha256_hex(text.as_bytes()),
    })
}

fn read(path: &Utf8Path) -> io::Result<String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    // Of the file that is read, not of what had its name before.
    let found = file.metadata()?;
    if !found.is_file() || found.uid() != 0 || found.mode() & 0o022 != 0 {
        return Err(io::Error::other("it was replaced while it was looked at"));
    }
    let mut text = String::new();
    file.take(BYTES_MAX + 1).read_to_string(&mut text)?;
    if BYTES_MAX < text.len() as u64 {
        return Err(io::Error::other(format!("it is longer than {BYTES_MAX} bytes")));
    }
    Ok(text)
}
