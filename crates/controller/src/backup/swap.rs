//! Putting restored data in the place of what is there, so that a crash at any moment does no harm.
//!
//! The restored files lie in `restore.ready`, which gets that name only when all of it is on disk; from then on the
//! restore will happen. Each file is moved in two steps, the old one away and the new one in, and as long as a new one
//! still lies in `restore.ready`, whatever has its name in the data folder is old. So the steps can be taken up again
//! after each.

use std::fs;
use std::io;

use camino::Utf8Path;

use super::BackupError;

/// Where restored data is being made.
pub(super) const PARTIAL: &str = "restore.partial";
/// Where it is when it is whole.
pub(super) const READY: &str = "restore.ready";
/// Where the data that was replaced last is kept.
pub(super) const REPLACED: &str = "replaced";

/// Says that what lies in `restore.partial` is whole: from now on it will be the data.
pub(super) fn commit(data_dir: &Utf8Path) -> Result<(), BackupError> {
    sync_folder(&data_dir.join(PARTIAL))?;
    rename(&data_dir.join(PARTIAL), &data_dir.join(READY))?;
    sync_folder(data_dir)
}

/// Finishes a restore that was begun for good; returns whether there was one. To be called before anything in the data
/// folder is opened, with its lock held.
///
/// # Errors
/// [`BackupError::Io`]; it goes on where it was at the next call.
pub fn finish(data_dir: &Utf8Path) -> Result<bool, BackupError> {
    finish_stepwise(data_dir, &mut || Ok(()))
}

/// `before_each` stands before each change; tests fail there as a crash would.
fn finish_stepwise(
    data_dir: &Utf8Path,
    before_each: &mut dyn FnMut() -> Result<(), BackupError>,
) -> Result<bool, BackupError> {
    remove_tree(&data_dir.join(PARTIAL))?;
    let ready = data_dir.join(READY);
    if !ready.exists() {
        return Ok(false);
    }
    let replaced = data_dir.join(REPLACED);
    fs::create_dir_all(&replaced).map_err(BackupError::io("make", &replaced))?;
    let listed = ready.read_dir_utf8().map_err(BackupError::io("list", &ready))?;
    for entry in listed {
        let entry = entry.map_err(BackupError::io("list", &ready))?;
        let name = entry.file_name();
        // The log of an old database must not be taken for the new one's.
        for companion in ["-wal", "-shm", "-journal", ""] {
            let old = data_dir.join(format!("{name}{companion}"));
            if old.exists() {
                let away = replaced.join(format!("{name}{companion}"));
                before_each()?;
                remove_tree(&away)?;
                before_each()?;
                rename(&old, &away)?;
            }
        }
        sync_folder(data_dir)?;
        before_each()?;
        rename(entry.path(), &data_dir.join(name))?;
        sync_folder(data_dir)?;
    }
    before_each()?;
    remove_tree(&ready)?;
    sync_folder(data_dir)?;
    Ok(true)
}

/// Removes a file, or a folder with all that is in it; what is not there is no failure.
pub(super) fn remove_tree(path: &Utf8Path) -> Result<(), BackupError> {
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(BackupError::io("remove", path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn sync_folder(path: &Utf8Path) -> Result<(), BackupError> {
    fs::File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(BackupError::io("sync", path))
}

fn rename(from: &Utf8Path, to: &Utf8Path) -> Result<(), BackupError> {
    fs::rename(from, to).map_err(BackupError::io("rename", from))
}

#[cfg(test)]
mod tests {
    use camino::Utf8PathBuf;

    use super::*;

    /// Old data with its logs, and new data that is ready.
    fn prepared() -> (tempfile::TempDir, Utf8PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = Utf8PathBuf::from_path_buf(folder.path().to_owned()).unwrap();
        for (name, content) in [
            ("state.db", "old"),
            ("state.db-wal", "old"),
            ("intake.db", "old"),
            ("intake.db-wal", "old"),
            ("samples/a.db", "old"),
            ("secret.key", "key"),
            ("restore.partial/state.db", "new"),
            ("restore.partial/intake.db", "new"),
            ("restore.partial/samples/b.db", "new"),
        ] {
            let path = data_dir.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        (folder, data_dir)
    }

    fn assert_new(data_dir: &Utf8Path) {
        let mut found: Vec<String> = walk(data_dir)
            .into_iter()
            .filter(|name| !name.starts_with(REPLACED))
            .collect();
        found.sort();
        assert_eq!(found, ["intake.db", "samples/b.db", "secret.key", "state.db"]);
        assert_eq!(fs::read_to_string(data_dir.join("state.db")).unwrap(), "new");
        assert_eq!(
            fs::read_to_string(data_dir.join("replaced/state.db-wal")).unwrap(),
            "old"
        );
        assert_eq!(
            fs::read_to_string(data_dir.join("replaced/samples/a.db")).unwrap(),
            "old"
        );
    }

    fn walk(folder: &Utf8Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in folder.read_dir_utf8().unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                let inner = walk(entry.path());
                found.extend(
                    inner
                        .into_iter()
                        .map(|name| format!("{}/{name}", entry.file_name())),
                );
            } else {
                found.push(entry.file_name().to_owned());
            }
        }
        found
    }

    /// O1
    #[test]
    fn a_restore_cut_short_at_any_step_is_finished_by_the_next_start() {
        for steps in 0.. {
            let (_folder, data_dir) = prepared();
            commit(&data_dir).unwrap();
            let mut left = steps;
            let mut crash = || {
                if left == 0 {
                    let full = io::Error::from(io::ErrorKind::StorageFull);
                    return Err(BackupError::io("crash at", "x")(full));
                }
                left -= 1;
                Ok(())
            };
            let is_through = finish_stepwise(&data_dir, &mut crash).is_ok();
            finish(&data_dir).unwrap();
            assert_new(&data_dir);
            if is_through {
                assert!(10 < steps, "only {steps} steps");
                println!("O1: a restore cut short at each of {steps} steps was finished");
                return;
            }
        }
    }

    #[test]
    fn what_was_not_ready_is_thrown_away_and_the_data_stays() {
        let (_folder, data_dir) = prepared();
        assert!(!finish(&data_dir).unwrap());
        assert!(!data_dir.join(PARTIAL).exists());
        assert_eq!(fs::read_to_string(data_dir.join("intake.db-wal")).unwrap(), "old");
    }
}
