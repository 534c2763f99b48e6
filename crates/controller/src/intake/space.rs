//! Whether there is room: the size of the log and the free space of its filesystem.

use std::sync::Arc;

use camino::Utf8Path;
use rusqlite::Connection;
use thiserror::Error;

/// Room of a filesystem, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub total_bytes: u64,
    /// What a process without privileges may still take.
    pub free_bytes: u64,
}

/// Tells the room of the filesystem that holds a path; `None` if it can't be told.
pub type SpaceProbe = Arc<dyn Fn(&Utf8Path) -> Option<DiskSpace> + Send + Sync>;

/// Why nothing more is taken.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum IntakeFull {
    /// The log is at its limit: consumers are behind.
    #[error("the intake holds {used_bytes} bytes, and {limit_bytes} are allowed")]
    Size {
        /// What records take.
        used_bytes: u64,
        /// What they may take.
        limit_bytes: u64,
    },
    /// The filesystem is nearly full.
    #[error(
        "the filesystem of the intake has {free_percent:.1} % free, and {min_percent} % have to stay free"
    )]
    Disk {
        /// How much is free.
        free_percent: f64,
        /// How much has to stay free.
        min_percent: f64,
    },
}

/// Asks the system.
pub(super) fn filesystem() -> SpaceProbe {
    Arc::new(|path| {
        let stat = nix::sys::statvfs::statvfs(path.as_std_path()).ok()?;
        let unit = stat.fragment_size();
        Some(DiskSpace {
            total_bytes: stat.blocks().saturating_mul(unit),
            free_bytes: stat.blocks_available().saturating_mul(unit),
        })
    })
}

/// Bytes of the file that hold something; deleted records leave room that is used again.
pub(super) fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let figure = |name: &str| {
        connection
            .query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))
            .map(i64::unsigned_abs)
    };
    Ok(figure("page_count")?.saturating_sub(figure("freelist_count")?) * figure("page_size")?)
}

/// Whether there is room for more.
pub(super) fn check(
    used_bytes: u64,
    limit_bytes: u64,
    space: Option<DiskSpace>,
    min_percent: f64,
) -> Result<(), IntakeFull> {
    if limit_bytes <= used_bytes {
        return Err(IntakeFull::Size {
            used_bytes,
            limit_bytes,
        });
    }
    // A filesystem that does not say how big it is can't be judged; SQLite will say when it is full.
    let Some(space) = space.filter(|space| 0 < space.total_bytes) else {
        return Ok(());
    };
    let free_percent = space.free_bytes as f64 * 100.0 / space.total_bytes as f64;
    if free_percent < min_percent {
        return Err(IntakeFull::Disk {
            free_percent,
            min_percent,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_held_exactly() {
        let space = |free_bytes| {
            Some(DiskSpace {
                total_bytes: 1000,
                free_bytes,
            })
        };
        assert!(check(99, 100, space(50), 5.0).is_ok());
        assert!(matches!(
            check(100, 100, space(50), 5.0),
            Err(IntakeFull::Size { .. })
        ));
        assert!(matches!(
            check(99, 100, space(49), 5.0),
            Err(IntakeFull::Disk { .. })
        ));
        assert!(check(99, 100, None, 5.0).is_ok());
    }
}
