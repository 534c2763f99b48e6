//! What the kernel says of a process and of files.

use std::fs;
use std::path::Path;

/// Processor seconds of a process so far; 0 if it is gone.
pub(crate) fn cpu_s(pid: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
    // proc(5): user and system time are fields 14 and 15, in ticks of a hundredth.
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

/// Bytes that files below a folder take on disk, of those whose name begins so.
pub(crate) fn disk_bytes(folder: &Path, start: &str) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            bytes += disk_bytes(&entry.path(), start);
        } else if entry.file_name().to_string_lossy().starts_with(start) {
            bytes += metadata.blocks() * 512;
        }
    }
    bytes
}
