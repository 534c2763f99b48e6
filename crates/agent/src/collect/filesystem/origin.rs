//! Where a mount comes from: a device, a pool, the network, or a folder of another mount. Pure.

use muster_model::ResourceKey;
use muster_parse::mounts::Mount;

use crate::collect::block::Inventory;
use crate::collect::draft::bounded_key;

/// Types whose data lies on other machines.
const NETWORK: [&str; 24] = [
    "9p",
    "afs",
    "beegfs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "fuse.ceph",
    "fuse.ceph-fuse",
    "fuse.davfs2",
    "fuse.glusterfs",
    "fuse.juicefs",
    "fuse.rclone",
    "fuse.s3fs",
    "fuse.sshfs",
    "glusterfs",
    "gpfs",
    "lustre",
    "ncpfs",
    "nfs",
    "nfs4",
    "orangefs",
    "smb3",
    "smbfs",
];

/// Whether the data lies on other machines.
pub(super) fn is_network(mount: &Mount) -> bool {
    NETWORK.contains(&mount.fs_type.as_str())
}

/// What carries the filesystem: for BTRFS the pool, whichever of its devices was named at mounting.
pub(super) fn carrier(mount: &Mount, device: Option<&str>, inventory: &Inventory) -> Option<ResourceKey> {
    let name = device?;
    if mount.fs_type == "btrfs"
        && let Some(fsid) = inventory.fs_uuid(name)
    {
        return Some(bounded_key(format!("pool:btrfs:{}", fsid.to_ascii_lowercase())));
    }
    inventory.key_of(name).cloned()
}

/// The subvolume of BTRFS that is mounted.
pub(super) fn subvolume(mount: &Mount) -> Option<&str> {
    let mut options = mount.super_options.iter().chain(&mount.options);
    let found = options.find_map(|option| option.strip_prefix("subvol="));
    found.filter(|_| mount.fs_type == "btrfs")
}

/// The folder that is shown a second time here; `None` for a filesystem's own mount.
///
/// mountinfo tells which folder of the filesystem a mount shows. That of a filesystem's own mount is its root, for
/// BTRFS the subvolume. What is shown a second time as a whole is told from its first mount by its later place in the
/// table.
pub(super) fn bind_of(mount: &Mount, all: &[Mount]) -> Option<String> {
    let detail = mount.detail.as_ref()?;
    let same = all.iter().filter_map(|other| {
        let found = other.detail.as_ref()?;
        let is_same =
            (found.major, found.minor) == (detail.major, detail.minor) && other.fs_type == mount.fs_type;
        is_same.then_some((other, found))
    });
    let is_before =
        |other: &Mount| all.iter().position(|each| each == other) < all.iter().position(|each| each == mount);
    let own_root = subvolume(mount).unwrap_or("/");
    let is_part = detail.root != own_root;
    // The widest of the mounts that hold this folder, and of those the first.
    let origin = same
        .filter(|(other, found)| {
            let is_wider = found.root.len() < detail.root.len();
            *other != mount && below(&detail.root, &found.root).is_some() && (is_wider || is_before(other))
        })
        .min_by_key(|(_, found)| found.root.len());
    let Some((origin, found)) = origin else {
        return is_part.then(|| format!("{}[{}]", mount.source, detail.root));
    };
    if !is_part && subvolume(mount).is_some() && found.root != detail.root {
        // A subvolume below another that is mounted too: both are mounts of their own.
        return None;
    }
    let rest = below(&detail.root, &found.root)?;
    let place = format!("{}{rest}", origin.mount_point.trim_end_matches('/'));
    Some(if place.is_empty() { "/".to_owned() } else { place })
}

/// What remains of a path below a folder: empty or beginning with a slash.
fn below<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(folder.trim_end_matches('/'))?;
    match rest {
        "/" => Some(""),
        rest if rest.is_empty() || rest.starts_with('/') => Some(rest),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use muster_parse::mounts;

    use super::*;

    const MOUNTS: &str = "\
27 1 8:1 / / rw - ext4 /dev/sda1 rw
28 27 8:2 / /home rw - ext4 /dev/sda2 rw
29 27 8:2 /ann/data /srv/data rw - ext4 /dev/sda2 rw
30 27 8:1 / /mnt/all rw - ext4 /dev/sda1 rw
31 27 8:3 /only /part rw - ext4 /dev/sda3 rw
32 27 0:40 / /nfs rw - nfs4 nas:/export rw
33 27 0:36 /@ /btrfs rw - btrfs /dev/sdb rw,subvolid=256,subvol=/@
34 27 0:36 /@home /btrfs/home rw - btrfs /dev/sdb rw,subvolid=257,subvol=/@home
35 27 0:36 /@/etc /bound rw - btrfs /dev/sdb rw,subvolid=256,subvol=/@
";

    #[test]
    fn bind_mounts_name_the_folder_they_show() {
        let mounts = mounts::parse(MOUNTS).value;
        let found: Vec<_> = mounts.iter().map(|mount| bind_of(mount, &mounts)).collect();
        let expected = [
            None,
            None,
            Some("/home/ann/data"),
            Some("/"),
            Some("/dev/sda3[/only]"),
            None,
            None,
            None,
            Some("/btrfs/etc"),
        ];
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn network_filesystems_and_subvolumes_are_told_apart() {
        let mounts = mounts::parse(MOUNTS).value;
        let network: Vec<_> = mounts.iter().filter(|mount| is_network(mount)).collect();
        assert_eq!(network.len(), 1);
        assert_eq!(network[0].source, "nas:/export");
        assert_eq!(subvolume(&mounts[7]), Some("/@home"));
        assert_eq!(subvolume(&mounts[0]), None);
        assert!(NETWORK.windows(2).all(|pair| pair[0] < pair[1]));
    }
}
