//! `DIR/admin-password`: the first admin's password, until somebody removes the file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};

/// Where the password is kept.
pub(super) fn path(data_dir: &Utf8Path) -> Utf8PathBuf {
    data_dir.join("admin-password")
}

/// Writes the password for its owner alone, and makes sure that it is on disk.
pub(super) fn keep(path: &Utf8Path, password: &str) -> io::Result<()> {
    // What a start that was cut short left behind is the password of no account.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{password}")?;
    file.sync_all()?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn only_the_owner_can_read_the_password_also_over_an_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = path(Utf8Path::from_path(folder.path()).unwrap());
        fs::write(&file, "old").unwrap();
        keep(&file, "new").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new\n");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
