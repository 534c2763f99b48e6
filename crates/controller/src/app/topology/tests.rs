//! What goes down with what, over stacks as real servers have them, and over nonsense.

use std::collections::BTreeMap;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attribute, Attributes, Health};

use super::*;

/// A stack in the making: resources by name, and what rests on what.
#[derive(Default)]
pub(crate) struct Stack {
    pub(crate) resources: Vec<ResourceView>,
    pub(crate) links: Vec<LinkRow>,
}

impl Stack {
    /// Adds a resource that rests on others; its key is its name.
    pub(crate) fn with(
        mut self,
        kind: ResourceKind,
        name: &str,
        attributes: &[(&str, Attribute)],
        below: &[&str],
    ) -> Self {
        self.resources.push(ResourceView {
            id: ResourceId(i64::try_from(self.resources.len()).unwrap() + 1),
            server: ServerId(1),
            kind,
            key: name.to_owned(),
            name: name.to_owned(),
            health: Health::Healthy,
            health_reasons: Vec::new(),
            attributes: attributes
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect::<Attributes>(),
            observed_ms: 0,
            first_seen_ms: 0,
            gone_ms: None,
        });
        self.linked(name, below)
    }

    /// Adds links only.
    pub(crate) fn linked(mut self, from: &str, below: &[&str]) -> Self {
        self.links.extend(below.iter().map(|to| LinkRow {
            from: ResourceKey::new(from),
            to: ResourceKey::new(*to),
            link_type: LinkType::RestsOn,
            gone_ms: None,
        }));
        self
    }

    fn disk(self, name: &str) -> Self {
        self.with(ResourceKind::Device, name, &[], &[])
    }

    fn filesystem(self, place: &str, below: &[&str]) -> Self {
        let attributes = [("mountpoint", Attribute::from(place))];
        self.with(ResourceKind::Filesystem, place, &attributes, below)
    }

    fn impact_of(&self, name: &str) -> Impact {
        let known: HashMap<ResourceKey, ResourceView> = self
            .resources
            .iter()
            .map(|view| (ResourceKey::new(view.key.clone()), view.clone()))
            .collect();
        let graph = Graph::of(self.links.iter().cloned());
        let key = ResourceKey::new(name);
        let around = graph.around(&key, RESOURCES_MAX);
        impact::of(known[&key].clone(), &graph, &around, &known)
    }

    /// What is hit, by name.
    fn hit(&self, name: &str) -> BTreeMap<String, &'static str> {
        let affected = self.impact_of(name).affected;
        affected
            .into_iter()
            .map(|affected| (affected.resource.name, affected.effect.as_str()))
            .collect()
    }

    fn assert_hit(&self, name: &str, expected: &[(&str, &'static str)]) {
        let expected: BTreeMap<String, &str> = expected
            .iter()
            .map(|(name, effect)| ((*name).to_owned(), *effect))
            .collect();
        assert_eq!(self.hit(name), expected, "if {name} dies");
    }
}

fn text(text: &str) -> Attribute {
    text.into()
}

fn md(level: &str, disks: i64, active: i64) -> Vec<(&'static str, Attribute)> {
    vec![
        ("pool_type", text("mdadm")),
        ("raid_level", text(level)),
        ("device_count", disks.into()),
        ("missing_device_count", (disks - active).into()),
    ]
}

/// Two disks with a partition each, an array over these.
fn array(level: &str, active: i64) -> Stack {
    let mut stack = Stack::default();
    let names = ["sda", "sdb", "sdc", "sdd"];
    for name in names {
        let partition = format!("{name}1");
        stack = stack
            .disk(name)
            .with(ResourceKind::Partition, &partition, &[], &[name]);
    }
    stack
        .with(
            ResourceKind::Pool,
            "md0",
            &md(level, 4, active),
            &["sda1", "sdb1", "sdc1", "sdd1"],
        )
        .filesystem("/srv", &["md0"])
}

#[test]
fn a_chain_from_disk_to_mount_point_is_lost_from_end_to_end_and_nothing_beside_it() {
    let stack = Stack::default()
        .disk("sda")
        .disk("sdz")
        .with(ResourceKind::Partition, "sda1", &[], &["sda"])
        .with(ResourceKind::Partition, "sda2", &[], &["sda"])
        .with(ResourceKind::Pool, "md0", &md("raid1", 1, 1), &["sda1"])
        .with(
            ResourceKind::Mapping,
            "luks",
            &[("mapping_type", text("crypt"))],
            &["md0"],
        )
        .with(ResourceKind::Pool, "vg", &[("pool_type", text("lvm"))], &["luks"])
        .with(
            ResourceKind::Volume,
            "thin",
            &[("volume_type", text("thin_pool"))],
            &["vg"],
        )
        .with(
            ResourceKind::Volume,
            "lv",
            &[("volume_type", text("thin"))],
            &["thin"],
        )
        .filesystem("/srv", &["lv"])
        .filesystem("/other", &["sdz"]);
    stack.assert_hit(
        "sda",
        &[
            ("sda1", "lost"),
            ("sda2", "lost"),
            ("md0", "lost"),
            ("luks", "lost"),
            ("vg", "lost"),
            ("thin", "lost"),
            ("lv", "lost"),
            ("/srv", "lost"),
        ],
    );
    let impact = stack.impact_of("sda");
    let last = impact.affected.last().unwrap();
    assert_eq!(mount_points(&last.resource), ["/srv"]);
    assert_eq!(
        last.path.len(),
        7,
        "partition, array, crypt, group, pool, volume, filesystem"
    );
    assert_eq!(last.path.last(), Some(&last.resource.id));
    assert!(impact.rests_on.is_empty());
    let below: Vec<_> = stack
        .impact_of("/srv")
        .rests_on
        .into_iter()
        .map(|supporting| supporting.resource.name)
        .collect();
    assert_eq!(below, ["lv", "thin", "vg", "luks", "md0", "sda1", "sda"]);
}

#[test]
fn what_has_something_to_spare_is_degraded_and_what_lies_in_it_lives() {
    for level in ["raid1", "raid5", "raid6", "raid10", "raid4"] {
        array(level, 4).assert_hit(
            "sda",
            &[("sda1", "lost"), ("md0", "degraded"), ("/srv", "degraded")],
        );
    }
    for level in ["raid0", "linear"] {
        array(level, 4).assert_hit("sda", &[("sda1", "lost"), ("md0", "lost"), ("/srv", "lost")]);
    }
}

#[test]
fn what_an_array_lost_before_counts() {
    for (level, active, effect) in [
        ("raid5", 3, "lost"),
        ("raid6", 3, "degraded"),
        ("raid6", 2, "lost"),
        ("raid10", 3, "unknown"),
    ] {
        // What is down already lies below no more.
        let mut stack = array(level, active);
        let gone = usize::try_from(4 - active).unwrap();
        let kept = ["sda1", "sdb1", "sdc1", "sdd1"].iter().take(4 - gone);
        let kept: Vec<&str> = kept.copied().collect();
        stack
            .links
            .retain(|link| link.from.as_str() != "md0" || kept.contains(&link.to.as_str()));
        stack.assert_hit("sda", &[("sda1", "lost"), ("md0", effect), ("/srv", effect)]);
    }
}

#[test]
fn two_members_on_one_disk_die_together() {
    let stack = Stack::default()
        .disk("sda")
        .with(ResourceKind::Partition, "sda1", &[], &["sda"])
        .with(ResourceKind::Partition, "sda2", &[], &["sda"])
        .with(ResourceKind::Pool, "md0", &md("raid1", 2, 2), &["sda1", "sda2"])
        .filesystem("/", &["md0"]);
    stack.assert_hit(
        "sda",
        &[("sda1", "lost"), ("sda2", "lost"), ("md0", "lost"), ("/", "lost")],
    );
    stack.assert_hit("sda1", &[("md0", "degraded"), ("/", "degraded")]);
}

#[test]
fn a_spare_or_what_failed_before_holds_no_data_and_a_member_that_is_gone_is_missed() {
    let members = |texts: [&str; 4]| Attribute::List(texts.map(str::to_owned).to_vec());
    let array = |level: &str, missing: i64, texts: [&str; 4]| {
        let mut attributes = md(level, 3, 3 - missing);
        attributes.push(("members", members(texts)));
        let mut stack = Stack::default();
        for name in ["sda", "sdb", "sdc", "sdd"] {
            stack = stack.disk(name);
        }
        stack.with(
            ResourceKind::Pool,
            "md0",
            &attributes,
            &["sda", "sdb", "sdc", "sdd"],
        )
    };
    let spare = [
        "sda active slot 0",
        "sdb active slot 1",
        "sdc active slot 2",
        "sdd spare",
    ];
    array("raid5", 0, spare).assert_hit("sdd", &[("md0", "degraded")]);
    let rebuilding = [
        "sda active slot 0",
        "sdb active slot 1",
        "sdc rebuilding slot 2",
        "sdd faulty",
    ];
    array("raid5", 1, rebuilding).assert_hit("sda", &[("md0", "lost")]);
    array("raid5", 1, rebuilding).assert_hit("sdc", &[("md0", "degraded")]);
    array("raid5", 1, rebuilding).assert_hit("sdd", &[("md0", "degraded")]);
    let unnoticed = [
        "sda active slot 0",
        "sdb active slot 1",
        "sdx active slot 2 gone",
        "sdd spare",
    ];
    array("raid5", 0, unnoticed).assert_hit("sda", &[("md0", "lost")]);
    let rebuilding = [
        "sda active slot 0",
        "sdb rebuilding slot 1",
        "sdc spare",
        "sdd spare",
    ];
    array("raid1", 1, rebuilding).assert_hit("sda", &[("md0", "lost")]);
}

/// A pool of a mirror, a raidz1 and a log, as its collector tells of it.
fn zfs(state_of_b: &str) -> Stack {
    let vdev = |name: &str, class: &str, kind: &str, parent: Option<usize>, resource: Option<&str>| {
        let state = if name == "b" { state_of_b } else { "ONLINE" };
        serde_json::json!({"name": name, "class": class, "type": kind, "parent": parent, "state": state, "resource": resource})
    };
    let tree = serde_json::json!([
        vdev("tank", "data", "root", None, None),
        vdev("mirror-0", "data", "mirror", Some(0), None),
        vdev("a", "data", "device", Some(1), Some("a")),
        vdev("b", "data", "device", Some(1), Some("b")),
        vdev("raidz1-1", "data", "raidz1", Some(0), None),
        vdev("c", "data", "device", Some(4), Some("c")),
        vdev("d", "data", "device", Some(4), Some("d")),
        vdev("e", "data", "device", Some(4), Some("e")),
        vdev("l", "log", "device", Some(0), Some("l")),
    ]);
    let attributes = [("pool_type", text("zfs")), ("vdevs", tree.to_string().into())];
    let mut stack = Stack::default();
    for name in ["a", "b", "c", "d", "e", "l", "x"] {
        stack = stack.disk(name);
    }
    stack
        .with(ResourceKind::Device, "shelf", &[], &[])
        .linked("c", &["shelf"])
        .linked("d", &["shelf"])
        .with(
            ResourceKind::Pool,
            "tank",
            &attributes,
            &["a", "b", "c", "d", "e", "l", "x"],
        )
        .with(ResourceKind::Volume, "tank/home", &[], &["tank"])
}

#[test]
fn a_zfs_pool_lives_as_long_as_each_of_its_groups() {
    for disk in ["a", "b", "c", "e", "l"] {
        zfs("ONLINE").assert_hit(disk, &[("tank", "degraded"), ("tank/home", "degraded")]);
    }
    zfs("OFFLINE").assert_hit("a", &[("tank", "lost"), ("tank/home", "lost")]);
    zfs("OFFLINE").assert_hit("c", &[("tank", "degraded"), ("tank/home", "degraded")]);
    zfs("OFFLINE").assert_hit("b", &[("tank", "degraded"), ("tank/home", "degraded")]);
    // Two of one group behind one thing.
    zfs("ONLINE").assert_hit(
        "shelf",
        &[
            ("c", "lost"),
            ("d", "lost"),
            ("tank", "lost"),
            ("tank/home", "lost"),
        ],
    );
    // A disk that the tree does not know.
    zfs("ONLINE").assert_hit("x", &[("tank", "unknown"), ("tank/home", "unknown")]);
}

#[test]
fn an_array_of_a_level_that_is_not_known_is_never_called_safe() {
    for level in ["raid42", ""] {
        array(level, 4).assert_hit(
            "sda",
            &[("sda1", "lost"), ("md0", "unknown"), ("/srv", "unknown")],
        );
    }
    let stack = Stack::default()
        .disk("sda")
        .disk("sdb")
        .with(ResourceKind::Pool, "odd", &[], &["sda", "sdb"])
        .filesystem("/", &["odd"]);
    stack.assert_hit("sda", &[("odd", "unknown"), ("/", "unknown")]);
}

#[test]
fn a_volume_dies_with_its_own_disk_and_not_with_another_of_its_group() {
    let group = [("pool_type", text("lvm"))];
    let stack = Stack::default()
        .disk("sda")
        .disk("sdb")
        .with(ResourceKind::Pool, "vg", &group, &["sda", "sdb"])
        .with(ResourceKind::Volume, "a", &[], &["vg", "sda"])
        .with(ResourceKind::Volume, "b", &[], &["vg", "sdb"])
        .with(
            ResourceKind::Volume,
            "both",
            &[
                ("raid_level", text("raid1")),
                ("missing_device_count", 0_i64.into()),
            ],
            &["vg", "sda", "sdb"],
        )
        .with(
            ResourceKind::Volume,
            "filling",
            &[
                ("volume_type", text("raid1")),
                ("sync_percent", Attribute::Float(40.0)),
            ],
            &["vg", "sda", "sdb"],
        )
        .with(
            ResourceKind::Volume,
            "striped",
            &[("volume_type", text("striped"))],
            &["vg", "sda", "sdb"],
        )
        .filesystem("/a", &["a"])
        .filesystem("/b", &["b"])
        .filesystem("/both", &["both"]);
    stack.assert_hit(
        "sda",
        &[
            ("vg", "degraded"),
            ("a", "lost"),
            ("/a", "lost"),
            ("both", "degraded"),
            ("/both", "degraded"),
            ("filling", "unknown"),
            ("striped", "lost"),
        ],
    );
}

#[test]
fn a_filesystem_over_several_disks_lives_as_its_profiles_let_it() {
    for (data, metadata, effect) in [
        ("raid1", "raid1", "degraded"),
        ("RAID1", "raid1c3", "degraded"),
        ("single", "raid1", "lost"),
        ("raid0", "dup", "lost"),
        ("raid9", "raid1", "unknown"),
    ] {
        let attributes = [
            ("pool_type", text("btrfs")),
            ("raid_level", text(data)),
            ("metadata_profile", text(metadata)),
        ];
        let stack = Stack::default()
            .disk("sda")
            .disk("sdb")
            .with(ResourceKind::Pool, "pool", &attributes, &["sda", "sdb"])
            // The mount names one of the disks, which does not mean that it dies with it.
            .filesystem("/srv", &["pool", "sda"]);
        stack.assert_hit("sda", &[("pool", effect), ("/srv", effect)]);
    }
}

#[test]
fn of_two_paths_to_a_disk_one_may_go() {
    let stack = Stack::default()
        .disk("sda")
        .disk("sdb")
        .with(
            ResourceKind::Mapping,
            "mpatha",
            &[("mapping_type", text("multipath"))],
            &["sda", "sdb"],
        )
        .filesystem("/", &["mpatha"]);
    stack.assert_hit("sda", &[("mpatha", "degraded"), ("/", "degraded")]);
}

#[test]
fn cycles_and_links_to_nothing_do_no_harm() {
    let stack = Stack::default()
        .disk("sda")
        .with(ResourceKind::Volume, "a", &[], &["sda", "b", "a"])
        .with(ResourceKind::Volume, "b", &[], &["a"])
        .filesystem("/", &["b", "ghost"])
        .linked("ghost", &["sda"])
        .linked("later", &["b"]);
    stack.assert_hit("sda", &[("a", "lost"), ("b", "lost"), ("/", "lost")]);
    let undescribed = stack.impact_of("sda").undescribed;
    let keys: Vec<&str> = undescribed.iter().map(ResourceKey::as_str).collect();
    assert_eq!(keys, ["ghost", "later"]);
    // Only through what nobody described.
    let stack = Stack::default()
        .disk("sda")
        .linked("ghost", &["sda"])
        .filesystem("/", &["ghost"]);
    stack.assert_hit("sda", &[("/", "unknown")]);
}

#[test]
fn a_wide_and_a_deep_server_are_answered_within_the_bounds() {
    let mut wide = Stack::default().disk("sda");
    for n in 0..RESOURCES_MAX + 10 {
        wide = wide.with(ResourceKind::Partition, &format!("p{n}"), &[], &["sda"]);
    }
    let impact = wide.impact_of("sda");
    assert!(impact.is_truncated);
    assert_eq!(impact.affected.len(), RESOURCES_MAX - 1);
    let mut deep = Stack::default().disk("v0");
    for n in 1..200 {
        deep = deep.with(
            ResourceKind::Volume,
            &format!("v{n}"),
            &[],
            &[&format!("v{}", n - 1)],
        );
    }
    let impact = deep.impact_of("v0");
    assert!(impact.is_truncated && 60 < impact.affected.len());
    assert!(
        impact
            .affected
            .iter()
            .all(|affected| affected.effect == Effect::Lost)
    );
}

#[test]
fn layers_count_from_what_rests_on_nothing() {
    let link = |from: i64, to: i64| LinkView {
        from: ResourceId(from),
        to: ResourceId(to),
        link_type: LinkType::RestsOn,
        gone_ms: None,
    };
    let layers = layers(&[link(2, 1), link(3, 2), link(3, 1), link(4, 5), link(5, 4)]);
    let of = |id: i64| layers[&ResourceId(id)];
    assert_eq!([of(1), of(2), of(3), of(4), of(5)], [0, 1, 2, 0, 0]);
}
