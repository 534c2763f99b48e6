//! Pools of captures and of scripts that behave as zpool and zfs do.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8PathBuf;
use muster_base::clock::WallClock;
use muster_model::{Attribute, Facts};

use super::*;
use crate::collect::block::tests::Root;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../parse/fixtures");

fn fixture(path: &str) -> String {
    fs::read_to_string(format!("{FIXTURES}/{path}")).unwrap()
}

fn collector() -> Zfs {
    Zfs {
        settings: Settings::default(),
        shared: Arc::default(),
        forms: Forms::default(),
        known: BTreeMap::new(),
        snapshots: None,
        datasets: Vec::new(),
    }
}

async fn collect(zfs: &mut Zfs, host: &Host) -> Facts {
    match zfs.collect(host).await.unwrap() {
        Outcome::Facts(facts) => facts,
        Outcome::Absent { reason } => panic!("{reason}"),
    }
}

fn parsed(text: &str) -> Facts {
    let mut draft = Draft::new("zfs");
    describe_status(&mut draft, text);
    draft.finish()
}

fn pool<'a>(facts: &'a Facts, name: &str) -> &'a Resource {
    facts
        .resources
        .iter()
        .find(|resource| resource.kind == ResourceKind::Pool && resource.name == name)
        .unwrap_or_else(|| panic!("{name} of {:?}", facts.resources))
}

fn value(facts: &Facts, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let found = facts.samples.iter().find(|sample| {
        sample.name == name
            && labels
                .iter()
                .all(|(label, value)| sample.labels.get(label) == Some(value))
    });
    found.map(|sample| sample.value)
}

fn int(resource: &Resource, name: &str) -> Option<i64> {
    match resource.attributes.get(name) {
        Some(Attribute::Int(number)) => Some(*number),
        _ => None,
    }
}

fn text<'a>(resource: &'a Resource, name: &str) -> Option<&'a str> {
    match resource.attributes.get(name) {
        Some(Attribute::Text(text)) => Some(text),
        _ => None,
    }
}

/// File, name, health, and words of its reasons.
const CASES: &[(&str, &str, Health, &str)] = &[
    (
        "bookworm-healthy.txt",
        "tank",
        Health::Healthy,
        "no errors counted",
    ),
    ("bookworm-vdevs.txt", "odd", Health::Healthy, ""),
    ("bookworm-vdevs-Lpt.txt", "tank", Health::Healthy, ""),
    (
        "bookworm-corrupt.txt",
        "tank",
        Health::Warning,
        "virtio-LABZFS1 (1147 checksum)",
    ),
    (
        "bookworm-data-lost.txt",
        "tank",
        Health::Critical,
        "data is lost in 1 places",
    ),
    (
        "bookworm-data-lost-Pvs.txt",
        "tank",
        Health::Critical,
        "data is lost",
    ),
    (
        "bookworm-disk-gone.txt",
        "tank",
        Health::Critical,
        "no redundancy left",
    ),
    (
        "bookworm-replacing.txt",
        "dozer",
        Health::Warning,
        "resilver is 88.67 % done",
    ),
    (
        "bookworm-resilvering.txt",
        "tank",
        Health::Warning,
        "23.14 % done",
    ),
    ("bookworm-resilvering.txt", "dozer", Health::Healthy, ""),
    ("bookworm-scrub-paused.txt", "tank", Health::Healthy, ""),
    ("bookworm-scrubbing.txt", "tank", Health::Healthy, ""),
    ("bookworm-suspended.txt", "dozer", Health::Failed, "SUSPENDED"),
    ("bookworm-suspended.txt", "tank", Health::Healthy, ""),
    (
        "trixie-resilvering.json",
        "tank",
        Health::Warning,
        "resilver is 23.93 % done",
    ),
    ("trixie-suspended.json", "dozer", Health::Failed, "stands still"),
    ("trixie-vdevs.json", "odd", Health::Healthy, ""),
    ("trixie-scrubbing.txt", "tank", Health::Healthy, ""),
    ("forms-synthetic.txt", "seven", Health::Healthy, ""),
    (
        "forms-synthetic.txt",
        "eight",
        Health::Healthy,
        "zpool says: Some supported features",
    ),
    (
        "forms-synthetic.txt",
        "spared",
        Health::Critical,
        "the spare sdz is UNAVAIL",
    ),
    ("forms-synthetic.txt", "gone", Health::Failed, "cannot be used"),
    (
        "forms-synthetic.txt",
        "with a blank",
        Health::Critical,
        "(REMOVED|/var/b.img)",
    ),
    (
        "forms-synthetic.txt",
        "lost",
        Health::Critical,
        "data is lost in 4 places",
    ),
    (
        "forms-synthetic.txt",
        "odd",
        Health::Critical,
        "the state \"REBUILT\" of sda is unknown",
    ),
    ("forms-synthetic.txt", "unread", Health::Failed, "FAULTED"),
    (
        "forms-synthetic.txt",
        "cut",
        Health::Unknown,
        "whether data is damaged is not known",
    ),
];

#[test]
fn every_state_of_the_captures_has_its_health_and_a_reason() {
    for &(file, name, health, words) in CASES {
        let facts = parsed(&fixture(&format!("zpool_status/{file}")));
        let found = pool(&facts, name);
        let reasons = found.health_reasons.join("; ");
        assert_eq!(found.shown_health(), health, "{file} {name}: {reasons}");
        let words = words.trim_matches(|c| c == '(' || c == ')');
        let words: Vec<&str> = if words.contains('|') {
            words.split('|').collect()
        } else {
            vec![words]
        };
        assert!(
            words.iter().all(|words| reasons.contains(words)),
            "{file} {name}: {reasons}"
        );
        assert!(!reasons.is_empty(), "{file} {name}");
    }
}

#[test]
fn no_cut_of_a_capture_is_healthier_than_the_whole() {
    for file in [
        "bookworm-healthy.txt",
        "bookworm-corrupt.txt",
        "bookworm-disk-gone.txt",
        "bookworm-data-lost-Pvs.txt",
    ] {
        let text = fixture(&format!("zpool_status/{file}"));
        let whole = parsed(&text);
        for length in (0..text.len()).filter(|length| text.is_char_boundary(*length)) {
            let cut = parsed(&text[..length]);
            for resource in &cut.resources {
                // A name may be cut, too.
                let before = whole
                    .resources
                    .iter()
                    .find(|pool| pool.name.starts_with(&resource.name));
                let before = before.unwrap().shown_health();
                let is_better = resource.shown_health() == Health::Healthy && before != Health::Healthy;
                assert!(!is_better, "{file} cut at {length}: {}", resource.name);
                let is_whole = text[..length].matches("No known data errors").count() == cut.resources.len();
                let is_first = 1 < cut.resources.len() && resource.name == whole.resources[0].name;
                if !is_whole && !is_first {
                    assert!(
                        resource.shown_health() != Health::Healthy,
                        "{file} cut at {length}: {}",
                        resource.name
                    );
                }
            }
        }
    }
}

#[test]
fn what_is_left_of_a_vdev_decides_between_warning_and_critical() {
    let tree = |level: &str, states: &[&str]| {
        let mut text = format!(
            "  pool: p\n state: DEGRADED\n  scan: none requested\nconfig:\n\n\tNAME        STATE     READ WRITE CKSUM\n\
             \tp           DEGRADED     0     0     0\n\t  {level:<8}  DEGRADED     0     0     0\n"
        );
        for (place, state) in states.iter().enumerate() {
            text += &format!("\t    sd{place}     {state:<8}     0     0     0\n");
        }
        text + "\nerrors: No known data errors\n"
    };
    for (level, states, health) in [
        ("mirror-0", &["ONLINE", "OFFLINE"][..], Health::Critical),
        ("mirror-0", &["ONLINE", "ONLINE", "FAULTED"], Health::Warning),
        ("mirror-0", &["ONLINE", "DEGRADED"], Health::Warning),
        ("raidz1-0", &["ONLINE", "UNAVAIL", "ONLINE"], Health::Critical),
        (
            "raidz2-0",
            &["ONLINE", "UNAVAIL", "ONLINE", "ONLINE"],
            Health::Warning,
        ),
        (
            "raidz2-0",
            &["REMOVED", "UNAVAIL", "ONLINE", "ONLINE"],
            Health::Critical,
        ),
        (
            "raidz3-0",
            &["REMOVED", "UNAVAIL", "ONLINE", "ONLINE", "ONLINE"],
            Health::Warning,
        ),
    ] {
        let facts = parsed(&tree(level, states));
        let found = pool(&facts, "p");
        assert_eq!(
            found.shown_health(),
            health,
            "{level} {states:?}: {:?}",
            found.health_reasons
        );
        assert_eq!(text(found, "raid_level"), Some(level.trim_end_matches("-0")));
        assert_eq!(int(found, "device_count"), i64::try_from(states.len()).ok());
    }
}

#[test]
fn no_pool_is_no_resource_and_a_message_is_a_problem() {
    assert_eq!(parsed("no pools available\n"), Facts::default());
    for text in [
        "",
        "all pools are healthy\n",
        "The ZFS modules are not loaded.\n",
        "cannot open 'x'\n",
    ] {
        let facts = parsed(text);
        assert!(
            facts.resources.is_empty() && !facts.problems.is_empty(),
            "{text:?}"
        );
    }
}

fn recorded(root: &Root) {
    root.write(
        "muster/run/zpool/status",
        fixture("zpool_status/bookworm-vdevs.txt"),
    )
    .write("muster/run/zpool/list", fixture("zpool_list/bookworm-o.txt"))
    .write("muster/run/zfs/list", fixture("zfs_list/bookworm-o.txt"))
    .write(
        "muster/run/zfs/snapshots",
        "tank/home@monday\ntank/home@tuesday\n",
    )
    .write("proc/spl/kstat/zfs/tank/state", "ONLINE\n")
    .write(
        "proc/self/mountinfo",
        "77 1 0:50 / /tank/home rw - zfs tank/home rw,xattr\n",
    );
}

/// 2026-11-22 00:10:40 UTC, when the last scrub of tank ended.
const SCRUBBED_S: i64 = 1_795_306_240;

#[tokio::test]
async fn pools_have_sizes_datasets_and_the_series_of_zfs_exporter() {
    let root = Root::new();
    recorded(&root);
    let host = root
        .host()
        .with_clock(WallClock::fixed((SCRUBBED_S + 3_600) * 1_000));
    let facts = collect(&mut collector(), &host).await;
    let tank = pool(&facts, "tank");
    assert_eq!(tank.key.as_str(), "pool:zfs:7401123316308787599");
    assert_eq!(tank.shown_health(), Health::Healthy, "{:?}", tank.health_reasons);
    for (name, number) in [
        ("total_size_bytes", 251_658_240),
        ("used_size_bytes", 34_762_752),
        ("available_size_bytes", 216_895_488),
        ("device_count", 3),
        ("spare_count", 1),
        ("cache_count", 1),
        ("scan_age_seconds", 3_600),
    ] {
        assert_eq!(int(tank, name), Some(number), "{name}");
    }
    assert_eq!(text(tank, "scan_finished_at"), Some("2026-11-22T00:10:40Z"));
    let name = [("pool", "tank")];
    assert_eq!(value(&facts, "zfs_pool_health", &name), Some(0.0));
    assert_eq!(value(&facts, "zfs_pool_fragmentation_ratio", &name), Some(0.07));
    let home = [("name", "tank/home"), ("type", "filesystem")];
    assert_eq!(
        value(&facts, "zfs_dataset_quota_bytes", &home),
        Some(134_217_728.0)
    );
    assert_eq!(
        value(&facts, "zfs_dataset_snapshot_count_total", &home),
        Some(2.0)
    );
    let volume = facts
        .resources
        .iter()
        .find(|resource| resource.name == "tank/zvol")
        .unwrap();
    assert_eq!(text(volume, "volume_type"), Some("zvol"));
    assert_eq!(volume.shown_health(), Health::Healthy);
    assert!(
        facts
            .links
            .iter()
            .any(|link| link.from == volume.key && link.to == tank.key)
    );
    let mounted = facts
        .links
        .iter()
        .find(|link| link.from.as_str() == "filesystem:tank/home:/tank/home");
    let home = facts
        .resources
        .iter()
        .find(|resource| resource.name == "tank/home");
    assert_eq!(mounted.map(|link| &link.to), home.map(|home| &home.key));
    assert_eq!(facts.problems, []);
}

#[tokio::test]
async fn the_tree_says_which_resource_each_of_its_disks_is() {
    let root = Root::new();
    for (name, place) in [("vdg", "pci0/virtio1"), ("vdh", "pci0/virtio2")] {
        let serial = format!("LAB-{name}");
        root.disk(name, place, &[("size", "524288"), ("serial", serial.as_str())]);
    }
    root.write(
        "muster/run/zpool/status",
        fixture("zpool_status/bookworm-vdevs-Lpt.txt"),
    );
    let facts = collect(&mut collector(), &root.host()).await;
    let tank = pool(&facts, "tank");
    let links = facts.links.iter().filter(|link| link.from == tank.key);
    let mut linked: Vec<&str> = links.map(|link| link.to.as_str()).collect();
    let tree: serde_json::Value = serde_json::from_str(text(tank, "vdevs").unwrap()).unwrap();
    let told = tree.as_array().unwrap().iter();
    let mut told: Vec<&str> = told.filter_map(|vdev| vdev["resource"].as_str()).collect();
    linked.sort_unstable();
    told.sort_unstable();
    assert_eq!(told.len(), 2, "{tree:#}");
    assert_eq!(told, linked, "files are no resources, groups neither");
}

#[tokio::test]
async fn a_scrub_that_is_overdue_is_a_warning_unless_the_settings_say_otherwise() {
    let root = Root::new();
    recorded(&root);
    let day_s = 86_400;
    for (age_days, limit, health) in [
        (36, Some(36), Health::Healthy),
        (37, Some(36), Health::Warning),
        (400, None, Health::Healthy),
    ] {
        let now_s = SCRUBBED_S + age_days * day_s;
        let host = root.host().with_clock(WallClock::fixed(now_s * 1_000));
        let mut zfs = collector();
        zfs.settings.scrub_warning_after = limit.map(|days| Duration::from_secs(days * 86_400));
        let facts = collect(&mut zfs, &host).await;
        let tank = pool(&facts, "tank");
        assert_eq!(
            tank.shown_health(),
            health,
            "{age_days}: {:?}",
            tank.health_reasons
        );
    }
}

#[tokio::test]
async fn the_kernels_word_counts_beside_the_tools() {
    let root = Root::new();
    recorded(&root);
    root.write("proc/spl/kstat/zfs/tank/state", "SUSPENDED\n")
        .write("proc/spl/kstat/zfs/unseen/state", "ONLINE\n");
    let facts = collect(&mut collector(), &root.host()).await;
    assert_eq!(pool(&facts, "tank").shown_health(), Health::Failed);
    assert_eq!(value(&facts, "zfs_pool_health", &[("pool", "tank")]), Some(6.0));
    let unseen = pool(&facts, "unseen");
    assert_eq!(
        unseen.shown_health(),
        Health::Unknown,
        "{:?}",
        unseen.health_reasons
    );
}

#[tokio::test]
async fn without_zfs_it_is_absent() {
    let root = Root::new();
    let outcome = collector().collect(&root.host()).await.unwrap();
    assert!(matches!(outcome, Outcome::Absent { .. }), "{outcome:?}");
}

/// Programs zpool and zfs of our own making.
struct Scripts {
    root: Root,
    folder: Utf8PathBuf,
}

impl Scripts {
    fn with(zpool: &str, zfs: &str) -> Self {
        let root = Root::new();
        root.write("proc/spl/kstat/zfs/tank/state", "ONLINE\n");
        let folder = Utf8PathBuf::from_path_buf(root.path().join("bin")).unwrap();
        let scripts = Self { root, folder };
        scripts.write("zpool", zpool);
        scripts.write("zfs", zfs);
        scripts
    }

    fn write(&self, name: &str, body: &str) {
        self.root
            .write(&format!("bin/{name}.new"), format!("#!/bin/sh\n{body}\n"));
        let (new, path) = (self.folder.join(format!("{name}.new")), self.folder.join(name));
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
        fs::rename(new, path).unwrap();
    }

    fn host(&self) -> Host {
        self.root.host().with_programs_in(vec![self.folder.clone()])
    }
}

/// A zpool of a release before 2.3: it knows no JSON.
fn old_zpool() -> String {
    format!(
        "case \"$*\" in\n*-j*) echo 'invalid option' >&2; exit 2;;\nstatus*) cat {FIXTURES}/zpool_status/bookworm-healthy.txt;;\n\
         list*) cat {FIXTURES}/zpool_list/bookworm-o.txt;;\nesac"
    )
}

#[tokio::test]
async fn a_release_without_json_is_asked_in_its_own_form() {
    let scripts = Scripts::with(&old_zpool(), "exit 1");
    let mut zfs = collector();
    for _ in 0..2 {
        let facts = collect(&mut zfs, &scripts.host()).await;
        assert_eq!(pool(&facts, "tank").kind, ResourceKind::Pool);
        assert_eq!(int(pool(&facts, "tank"), "total_size_bytes"), Some(251_658_240));
        // What zfs says is missing, and said to be.
        assert!(
            facts
                .problems
                .iter()
                .any(|problem| problem.message.starts_with("zfs list: "))
        );
    }
}

#[tokio::test]
async fn a_pool_whose_tool_fails_keeps_what_was_known_as_unknown() {
    let scripts = Scripts::with(&old_zpool(), "exit 1");
    let mut zfs = collector();
    let before = collect(&mut zfs, &scripts.host()).await;
    let key = pool(&before, "tank").key.clone();
    scripts.write("zpool", "echo broken >&2; exit 1");
    let after = collect(&mut zfs, &scripts.host()).await;
    let tank = pool(&after, "tank");
    assert_eq!((&tank.key, tank.shown_health()), (&key, Health::Unknown));
    assert_eq!(int(tank, "total_size_bytes"), Some(251_658_240));
    // The kernel no longer knows the other: it was exported.
    assert!(after.resources.iter().all(|resource| resource.name != "dozer"));
}

#[tokio::test]
async fn a_tool_that_hangs_is_killed_and_the_kernels_word_is_told() {
    let scripts = Scripts::with(&old_zpool(), "exit 1");
    let mut zfs = collector();
    let before = collect(&mut zfs, &scripts.host()).await;
    scripts.write("zpool", "exec sleep 1000");
    scripts.root.write("proc/spl/kstat/zfs/tank/state", "SUSPENDED\n");
    zfs.forms.deadline = Duration::from_millis(300);
    let after = collect(&mut zfs, &scripts.host()).await;
    let tank = pool(&after, "tank");
    assert_eq!(tank.key, pool(&before, "tank").key);
    assert_eq!(tank.shown_health(), Health::Failed, "{:?}", tank.health_reasons);
    assert!(
        tank.health_reasons[0].contains("was killed"),
        "{:?}",
        tank.health_reasons
    );
}

#[tokio::test]
async fn datasets_of_a_pool_that_stands_still_stay_as_they_were_known() {
    let list = |names: &str| format!("grep -E '{names}' {FIXTURES}/zfs_list/bookworm-o.txt");
    let scripts = Scripts::with(&old_zpool(), &list("."));
    scripts.root.write("proc/spl/kstat/zfs/dozer/state", "ONLINE\n");
    let mut zfs = collector();
    let before = collect(&mut zfs, &scripts.host()).await;
    scripts
        .root
        .write("proc/spl/kstat/zfs/dozer/state", "SUSPENDED\n");
    let broken = format!(
        "{}; echo 'cannot iterate filesystems: I/O error' >&2; exit 1",
        list("^tank")
    );
    scripts.write("zfs", &broken);
    let after = collect(&mut zfs, &scripts.host()).await;
    let find = |facts: &Facts, name: &str| {
        let found = facts
            .resources
            .iter()
            .find(|resource| resource.kind == ResourceKind::Volume && resource.name == name);
        found.cloned().unwrap()
    };
    let kept = find(&after, "dozer/with space");
    assert_eq!(kept.key, find(&before, "dozer/with space").key);
    assert_eq!(kept.shown_health(), Health::Failed, "{:?}", kept.health_reasons);
    assert_eq!(find(&after, "tank/home").shown_health(), Health::Healthy);
    let said = |problem: &muster_model::Problem| problem.message.contains("cannot iterate filesystems");
    assert!(after.problems.iter().any(said), "{:?}", after.problems);
}
