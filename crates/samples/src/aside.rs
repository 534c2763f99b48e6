//! Setting aside: files that cannot be used are renamed, never removed, and told of until somebody takes them
//! away.

use std::fs;

use camino::{Utf8Path, Utf8PathBuf};

use crate::damage::{Damage, DamageKind, Damages};
use crate::error::StoreError;
use crate::sqlite;

/// What follows the name of a file that was set aside; a number follows it.
const MARK: &str = ".damaged-";

/// Renames a file, and its log with it, and notes that.
pub(crate) fn set_aside(path: &Utf8Path, damages: &Damages) -> Result<(), StoreError> {
    let names = (1..).map(|number| Utf8PathBuf::from(format!("{path}{MARK}{number}")));
    let name = names
        .into_iter()
        .find(|name| !name.exists())
        .expect("there is always a next number");
    rename(path, &name)?;
    let log = sqlite::companion(path, "-wal");
    if log.exists() {
        rename(&log, &sqlite::companion(&name, "-wal"))?;
    }
    sqlite::remove(path)?;
    sqlite::sync_folder_of(path)?;
    damages.note(&Damage {
        file: path.to_owned(),
        kind: DamageKind::SetAside { renamed_to: name },
    });
    Ok(())
}

/// Notes the files of a folder that were set aside before.
pub(crate) fn note_all(dir: &Utf8Path, damages: &Damages) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("list", dir, source);
    for entry in dir.read_dir_utf8().map_err(failed)? {
        let renamed_to = entry.map_err(failed)?.into_path();
        let Some((file, number)) = renamed_to.as_str().rsplit_once(MARK) else {
            continue;
        };
        // The log that was renamed with a file is not a file of its own.
        if number.bytes().all(|byte| byte.is_ascii_digit()) {
            let file = Utf8PathBuf::from(file);
            damages.note(&Damage {
                file,
                kind: DamageKind::SetAside { renamed_to },
            });
        }
    }
    Ok(())
}

fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|source| StoreError::io("rename", from, source))
}
