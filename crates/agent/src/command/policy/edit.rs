//! Adding to the policy: what `muster-agent allow` does.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use super::{Loaded, Policy, load};
use crate::command::refused::Refused;
use crate::durable;

/// What is to be allowed.
#[derive(Debug, Clone, Default)]
pub struct Rule {
    /// The verb.
    pub verb: String,
    /// Patterns of containers' names.
    pub containers: Vec<String>,
    /// Patterns of runtimes' keys.
    pub runtimes: Vec<String>,
    /// Patterns of repositories.
    pub repositories: Vec<String>,
    /// Patterns of systemd units.
    pub units: Vec<String>,
    /// Patterns of pools' keys.
    pub pools: Vec<String>,
    /// Containers with rights over the machine too.
    pub allow_privileged: bool,
    /// Containers that run too.
    pub allow_force: bool,
    /// Images with a tag too.
    pub allow_all_images: bool,
}

/// Why nothing was added.
#[derive(Debug, Error)]
pub enum EditError {
    /// The file can't be used.
    #[error("write the policy {path}")]
    File {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It would say what cannot be.
    #[error("the policy {path} would not be one: {why}")]
    Invalid {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It is written, and does not count.
    #[error(transparent)]
    Unusable(#[from] Refused),
}

/// Adds a rule to the policy, which is made if there is none. What it says already stays as it is, comments too.
///
/// # Errors
/// [`EditError`]; but for [`EditError::Unusable`], nothing was written.
pub fn allow(path: &Utf8Path, rule: &Rule) -> Result<Loaded, EditError> {
    let failed = |source| EditError::File {
        path: path.to_owned(),
        source,
    };
    let mut text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HEAD.to_owned(),
        Err(error) => return Err(failed(error)),
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&rule.to_toml());
    Policy::parse(&text).map_err(|why| EditError::Invalid {
        path: path.to_owned(),
        why,
    })?;
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(failed)?;
    }
    durable::write(path, text.as_bytes(), durable::PUBLIC).map_err(failed)?;
    Ok(load(path)?)
}

const HEAD: &str = "# What this server lets its controller do; what is not allowed here is refused.\n\
                    # docs/commands.md says what can be allowed. This file must belong to root.\n";

impl Rule {
    fn to_toml(&self) -> String {
        let mut text = format!("\n[[allow]]\nverb = {}\n", quoted(&self.verb));
        for (key, patterns) in [
            ("containers", &self.containers),
            ("runtimes", &self.runtimes),
            ("repositories", &self.repositories),
            ("units", &self.units),
            ("pools", &self.pools),
        ] {
            if !patterns.is_empty() {
                let list: Vec<String> = patterns.iter().map(|pattern| quoted(pattern)).collect();
                text.push_str(&format!("{key} = [{}]\n", list.join(", ")));
            }
        }
        for (key, is_set) in [
            ("allow_privileged", self.allow_privileged),
            ("allow_force", self.allow_force),
            ("allow_all_images", self.allow_all_images),
        ] {
            if is_set {
                text.push_str(&format!("{key} = true\n"));
            }
        }
        text
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
