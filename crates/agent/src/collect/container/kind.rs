//! Whether the server is a container, and whose.

use muster_parse::mounts;

use crate::host::Files;

/// Longest word that is believed.
const WORD_BYTES_MAX: usize = 32;

/// `lxc`, `docker`, `podman`, `systemd-nspawn`, …; `None` if nothing says that the server is a container.
///
/// In systemd's order (systemd-detect-virt(1), <https://systemd.io/CONTAINER_INTERFACE>), and then by what lxcfs lies over.
pub(crate) fn container_word(files: &Files) -> Option<String> {
    let is_there = |path: &str| files.text(path).is_ok_and(|text| text.is_some());
    ["/run/host/container-manager", "/run/systemd/container"]
        .iter()
        .find_map(|path| files.word(path))
        .or_else(|| from_environment(files))
        .or_else(|| is_there("/run/.containerenv").then(|| "podman".to_owned()))
        .or_else(|| is_there("/.dockerenv").then(|| "docker".to_owned()))
        .or_else(|| has_lxcfs(files).then(|| "lxc".to_owned()))
        .filter(|word| is_plain(word))
}

/// The first process of a container is told by the variable `container` whose it is.
fn from_environment(files: &Files) -> Option<String> {
    let bytes = files.bytes("/proc/1/environ").ok()??;
    let value = bytes
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(b"container="))?;
    let word = String::from_utf8(value.to_vec()).ok()?;
    (!word.is_empty()).then_some(word)
}

fn has_lxcfs(files: &Files) -> bool {
    let Ok(Some(text)) = files.text("/proc/self/mountinfo") else {
        return false;
    };
    mounts::parse_mountinfo(&text)
        .value
        .iter()
        .any(|mount| mount.fs_type == "fuse.lxcfs" && mount.mount_point.starts_with("/proc/"))
}

fn is_plain(word: &str) -> bool {
    word.len() <= WORD_BYTES_MAX
        && word
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
