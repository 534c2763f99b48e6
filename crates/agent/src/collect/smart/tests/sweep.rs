//! A recording smartctl over several runs: sleep, swapped names, cadences of their own, old programs, cards.

use super::*;

/// A smartctl that answers with the file of the disk's name in `answers`, and ends with the status in `<name>.rc`.
const PLAYBACK: &str = r#"name=$(basename "$last")
[ "$1" = --scan ] && { echo '{"smartctl":{"version":[7,3],"exit_status":0},"devices":[]}'; exit 0; }
cat "$D/answers/$name" 2>/dev/null
exit "$(cat "$D/answers/$name.rc" 2>/dev/null || echo 0)""#;

impl Fake {
    fn answers(&self, name: &str, document: &str, status: u8) -> &Self {
        self.root
            .write(&format!("bin/answers/{name}"), document)
            .write(&format!("bin/answers/{name}.rc"), status.to_string());
        self
    }

    fn asked(&self, node: &str) -> usize {
        self.calls().iter().filter(|call| call.ends_with(node)).count()
    }
}

fn of<'a>(facts: &'a Facts, name: &str) -> &'a Resource {
    facts
        .resources
        .iter()
        .find(|resource| resource.name == name)
        .unwrap()
}

/// The kernel names under which each drive has its row.
fn rows(facts: &Facts) -> Vec<(String, String)> {
    let rows = facts
        .samples
        .iter()
        .filter(|sample| sample.name == "smartctl_device");
    let mut rows: Vec<(String, String)> = rows
        .map(|sample| {
            let label = |name: &str| sample.labels.get(name).unwrap_or_default().to_owned();
            (label("device"), label("serial_number"))
        })
        .collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn a_disk_that_sleeps_keeps_its_values_says_standby_and_is_never_asked_without_the_guard() {
    for (document, what) in [
        (ASLEEP, "the words of smartctl"),
        (
            r#"{"smartctl":{"version":[7,0],"exit_status":2},"device":{"name":"/dev/sda"}}"#,
            "the status alone",
        ),
        ("", "no word at all"),
    ] {
        let fake = Fake::with(PLAYBACK);
        disk(&fake.root, "sda", "naa.50014ee20a123abc");
        fake.answers("sda", &healthy("WD-1"), 0);
        let mut smart = collector();
        let awake = collect(&mut smart, &fake.host()).await;
        for _ in 0..3 {
            fake.answers("sda", document, 2);
            let asleep = collect(&mut smart, &fake.host()).await;
            let drive = only(&asleep);
            assert_eq!(drive.attributes["power_state"], "standby".into(), "{what}");
            assert_eq!(drive.attributes["temperature_celsius"], 31_i64.into(), "{what}");
            assert_eq!(
                drive.attributes["last_checked"],
                only(&awake).attributes["last_checked"],
                "{what}"
            );
            assert_eq!(drive.shown_health(), Health::Healthy, "{what}");
            assert_eq!(asleep.samples.len(), awake.samples.len(), "{what}");
            assert_eq!(
                value(&asleep, "smartctl_device_smartctl_exit_status"),
                Some(2.0),
                "{what}"
            );
            assert!(asleep.problems.is_empty(), "{what}: {:?}", asleep.problems);
        }
        let calls = fake.calls();
        assert!(
            calls
                .iter()
                .all(|call| call.split(' ').any(|word| word == "--nocheck=standby")),
            "{calls:?}"
        );
    }
}

#[tokio::test]
async fn an_error_with_the_status_of_sleep_is_no_sleep() {
    let fake = Fake::with(PLAYBACK);
    disk(&fake.root, "sda", "naa.50014ee20a123abc");
    fake.answers("sda", &healthy("WD-1"), 0);
    let mut smart = collector();
    collect(&mut smart, &fake.host()).await;
    for document in [
        r#"{"smartctl":{"version":[7,3],"exit_status":2,"messages":[{"string":"Read Device Identity failed: Input/output error",
            "severity":"error"}]},"device":{"name":"/dev/sda","type":"sat","protocol":"ATA"}}"#,
        "cut off { in the middle",
        r#"{"smartctl":{"exit_status":2}}"#,
    ] {
        fake.answers("sda", document, 2);
        let facts = collect(&mut smart, &fake.host()).await;
        assert_ne!(only(&facts).shown_health(), Health::Healthy, "{document}");
        assert!(
            !only(&facts).attributes.contains_key("temperature_celsius"),
            "{document}"
        );
    }
}

#[tokio::test]
async fn two_disks_that_swap_names_keep_identity_values_and_one_row_each() {
    let fake = Fake::with(PLAYBACK);
    let keys = ["naa.50014ee20a123abc", "naa.5000c500deadbeef"];
    let mut smart = collector();
    disk(&fake.root, "sda", keys[0]);
    disk(&fake.root, "sdb", keys[1]);
    fake.answers("sda", &healthy("WD-1"), 0)
        .answers("sdb", &healthy("ST-2"), 0);
    let before = collect(&mut smart, &fake.host()).await;
    let key = |facts: &Facts, name: &str| of(facts, name).key.as_str().to_owned();
    assert_eq!(
        rows(&before),
        [
            ("sda".to_owned(), "WD-1".to_owned()),
            ("sdb".to_owned(), "ST-2".to_owned())
        ]
    );
    // After a boot they have each other's names, and one of them sleeps.
    let swapped = Fake::with(PLAYBACK);
    disk(&swapped.root, "sda", keys[1]);
    disk(&swapped.root, "sdb", keys[0]);
    swapped
        .answers("sda", ASLEEP, 2)
        .answers("sdb", &healthy("WD-1"), 0);
    smart.shared = Arc::default();
    let after = collect(&mut smart, &swapped.host()).await;
    assert_eq!(
        rows(&after),
        [
            ("sda".to_owned(), "ST-2".to_owned()),
            ("sdb".to_owned(), "WD-1".to_owned())
        ]
    );
    assert_eq!(key(&after, "sda"), key(&before, "sdb"));
    assert_eq!(key(&after, "sdb"), key(&before, "sda"));
    assert_eq!(of(&after, "sda").attributes["serial_number"], "ST-2".into());
    assert_eq!(of(&after, "sda").attributes["power_state"], "standby".into());
    for sample in after.samples.iter().filter(|sample| sample.resource.is_some()) {
        let name = sample.labels.get("device").unwrap();
        assert_eq!(
            sample.resource.as_ref(),
            Some(&of(&after, name).key),
            "{sample:?}"
        );
    }
}

#[tokio::test]
async fn a_drive_with_its_own_cadence_is_asked_no_more_often_and_keeps_its_values_between() {
    let fake = Fake::with(PLAYBACK);
    disk(&fake.root, "sda", "naa.50014ee20a123abc");
    disk(&fake.root, "sdb", "naa.5000c500deadbeef");
    // That attributes were below their thresholds once, only the status says.
    fake.answers("sda", &healthy("WD-1"), 32)
        .answers("sdb", &healthy("ST-2"), 0);
    let mut smart = collector();
    let slow = crate::config::collect::smart::Device {
        interval: Some(Duration::from_secs(3600)),
        ..Default::default()
    };
    smart.settings.devices.insert("/dev/sda".to_owned(), slow);
    let first = collect(&mut smart, &fake.host()).await;
    assert_eq!(of(&first, "sda").shown_health(), Health::Warning);
    for _ in 0..3 {
        let again = collect(&mut smart, &fake.host()).await;
        assert_eq!(rows(&again), rows(&first));
        assert_eq!(of(&again, "sda"), of(&first, "sda"));
        assert_eq!(again.samples.len(), first.samples.len());
    }
    assert_eq!((fake.asked("/dev/sda"), fake.asked("/dev/sdb")), (1, 4));
    let key = of(&first, "sda").key.as_str().to_owned();
    let read_at = &mut smart.remembered.get_mut(&key).unwrap().read_at;
    *read_at = read_at.checked_sub(Duration::from_secs(3600)).unwrap();
    collect(&mut smart, &fake.host()).await;
    assert_eq!(fake.asked("/dev/sda"), 2);
}

#[tokio::test]
async fn a_smartctl_that_knows_no_json_is_named_as_the_reason() {
    let fake = Fake::with(
        "echo 'smartctl 6.6 2017-11-05 r4594 [x86_64-linux-4.19.0] (local build)'; echo; echo '=======> UNRECOGNIZED OPTION: json=c'; exit 1",
    );
    disk(&fake.root, "sda", "naa.50014ee20a123abc");
    let facts = collect(&mut collector(), &fake.host()).await;
    assert_eq!(only(&facts).shown_health(), Health::Unknown);
    assert!(
        only(&facts).health_reasons[0].contains("7.0 or newer"),
        "{:?}",
        only(&facts).health_reasons
    );
    assert!(
        facts
            .problems
            .iter()
            .any(|problem| problem.message.contains("7.0 or newer"))
    );
}

#[tokio::test]
async fn a_card_tells_its_wear_also_without_smartctl() {
    let root = Root::new();
    let attributes = [
        ("size", "61079552"),
        ("dev", "179:0"),
        ("device/life_time", "0x02 0x0b"),
        ("device/pre_eol_info", "0x01"),
    ];
    root.disk("mmcblk0", "mmc0", &attributes);
    let facts = collect(&mut collector(), &root.host()).await;
    let card = only(&facts);
    assert_eq!(
        (card.name.as_str(), card.shown_health()),
        ("mmcblk0", Health::Warning),
        "{:?}",
        card.health_reasons
    );
    assert_eq!(value(&facts, "muster_device_wear_used_percent"), Some(110.0));
    assert_eq!(value(&facts, "muster_emmc_pre_eol_info"), Some(1.0));
}
