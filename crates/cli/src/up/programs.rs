//! Muster's other programs, which lie beside this one wherever it was built or installed.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

/// Where the programs are.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    /// This program, which children are started through.
    pub(super) muster: Utf8PathBuf,
    pub(super) controller: Utf8PathBuf,
    pub(super) agent: Utf8PathBuf,
}

/// Why they cannot be started.
#[derive(Debug, Error)]
pub(crate) enum ProgramsError {
    #[error("find out where this program is")]
    Myself { source: io::Error },
    #[error(
        "{name} is not in {folder}, where it belongs beside muster: build all programs with \
         `cargo build --release --bins`, or install the package again"
    )]
    Missing { name: &'static str, folder: Utf8PathBuf },
}

impl Programs {
    /// The programs beside the one that runs.
    pub(super) fn beside_this() -> Result<Self, ProgramsError> {
        let myself = |source| ProgramsError::Myself { source };
        let muster = std::env::current_exe().map_err(myself)?;
        let muster = Utf8PathBuf::from_path_buf(muster).map_err(|_| {
            myself(io::Error::new(
                io::ErrorKind::InvalidData,
                "its path is not UTF-8",
            ))
        })?;
        Self::beside(muster)
    }

    fn beside(muster: Utf8PathBuf) -> Result<Self, ProgramsError> {
        let folder = muster.parent().unwrap_or(Utf8Path::new("/")).to_owned();
        let sibling = |name: &'static str| {
            let path = folder.join(name);
            if path.is_file() {
                Ok(path)
            } else {
                Err(ProgramsError::Missing {
                    name,
                    folder: folder.clone(),
                })
            }
        };
        Ok(Self {
            controller: sibling("muster-controller")?,
            agent: sibling("muster-agent")?,
            muster,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_named_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        std::fs::write(folder.join("muster-controller"), "").unwrap();
        let error = Programs::beside(folder.join("muster")).unwrap_err().to_string();
        assert!(error.starts_with("muster-agent is not in"), "{error}");
        assert!(error.contains("cargo build --release --bins"), "{error}");
    }

    #[test]
    fn programs_are_found_beside_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Utf8Path::from_path(folder.path()).unwrap();
        for name in ["muster-controller", "muster-agent"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
        let programs = Programs::beside(folder.join("muster")).unwrap();
        assert_eq!(programs.agent, folder.join("muster-agent"));
    }
}
