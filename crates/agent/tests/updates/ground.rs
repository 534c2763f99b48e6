//! What an update stands on, as the agent itself sees it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use camino::Utf8Path;
use muster_agent::host::Host;
use muster_agent::update::{Ground as _, HostGround};
use tempfile::TempDir;

use super::bench::target;

const WHOLE: &str = "sda[0] sdb[1]\n      1000 blocks super 1.2 [2/2] [UU]";
const DEGRADED: &str = "sda[0]\n      1000 blocks super 1.2 [2/1] [U_]";

fn write(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("a file");
}

fn disk(root: &Path, name: &str, attributes: &[(&str, &str)]) {
    for (attribute, value) in attributes {
        write(
            root,
            &format!("sys/devices/virtual/block/{name}/{attribute}"),
            &format!("{value}\n"),
        );
    }
    fs::create_dir_all(root.join("sys/block")).expect("a folder");
    let to = format!("../devices/virtual/block/{name}");
    symlink(to, root.join("sys/block").join(name)).expect("a link");
}

/// A server whose `/` lies on a disk and whose `/srv` on a mirror with these members.
fn server(members: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    for (name, dev) in [("sda", "8:0"), ("sdb", "8:16"), ("sdc", "8:32")] {
        disk(
            root,
            name,
            &[("size", "100"), ("dev", dev), ("queue/rotational", "1")],
        );
    }
    disk(
        root,
        "md0",
        &[
            ("size", "100"),
            ("dev", "9:0"),
            ("md/level", "raid1"),
            ("md/array_state", "clean"),
            ("md/raid_disks", "2"),
            ("md/uuid", "4eb7912d:d05a9a45:fcb34d9d:19344810"),
        ],
    );
    write(
        root,
        "proc/mdstat",
        &format!("Personalities : [raid1]\nmd0 : active raid1 {members}\n      \nunused devices: <none>\n"),
    );
    write(
        root,
        "proc/self/mountinfo",
        "21 1 8:32 / / rw,relatime - ext4 /dev/sdc rw\n22 21 9:0 / /srv rw,relatime - ext4 /dev/md0 rw\n",
    );
    folder
}

async fn objection(server: &TempDir, places: &[&str]) -> Option<String> {
    let root = Utf8Path::from_path(server.path()).expect("UTF-8");
    let ground = HostGround(Host::under(root).expect("a root"));
    let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
    ground.objection(&target(), &places).await
}

#[tokio::test]
async fn a_degraded_pool_below_a_volume_is_an_objection_and_one_elsewhere_is_none() {
    let (whole, degraded) = (server(WHOLE), server(DEGRADED));
    let both = ["/var/lib/docker", "/srv/data"];
    assert_eq!(objection(&whole, &both).await, None);
    let found = objection(&degraded, &both).await.expect("an objection");
    println!("{found}");
    assert!(found.contains("md0") && found.contains("/srv/data"), "{found}");
    assert_eq!(objection(&degraded, &["/var/lib/docker"]).await, None);
    assert_eq!(objection(&degraded, &[]).await, None);
}

#[tokio::test]
async fn storage_that_cannot_be_read_is_an_objection_too() {
    let server = server(WHOLE);
    fs::remove_file(server.path().join("proc/mdstat")).expect("it is there");
    fs::create_dir(server.path().join("proc/mdstat")).expect("a folder");
    let found = objection(&server, &["/srv"]).await.expect("an objection");
    assert!(found.contains("cannot be told"), "{found}");
}

/// Whatever this machine is, looking at it ends, and says what it is about.
#[tokio::test]
async fn this_machine_is_looked_at_to_an_end() {
    let ground = HostGround(Host::system());
    let found = ground.objection(&target(), &["/var/lib/docker".to_owned()]).await;
    println!("this machine: {found:?}");
    if let Some(found) = found {
        assert!(found.contains("below"), "{found}");
    }
}
