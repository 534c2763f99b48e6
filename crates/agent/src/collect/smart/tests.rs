//! SMART through recorded outputs and through a program of our own that records how it is called.

use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8PathBuf;
use muster_model::{Facts, Health, Resource};

use super::*;
use crate::collect::block::tests::Root;

const SCAN: &str = r#"{"json_format_version":[1,0],"smartctl":{"version":[7,3],"svn_revision":"5338","exit_status":0},
    "devices":[{"name":"/dev/sda","type":"scsi","protocol":"SCSI"}]}"#;

fn healthy(serial: &str) -> String {
    format!(
        r#"{{"json_format_version":[1,0],"smartctl":{{"version":[7,3],"exit_status":0}},
        "device":{{"name":"/dev/sda","type":"sat","protocol":"ATA"}},"model_name":"WDC WD20EFRX-68EUZN0",
        "serial_number":"{serial}","firmware_version":"82.00A82","wwn":{{"naa":5,"oui":5358,"id":8758901437}},
        "user_capacity":{{"blocks":3907029168,"bytes":2000398934016}},"logical_block_size":512,
        "physical_block_size":4096,"rotation_rate":5400,"smart_status":{{"passed":true}},
        "smart_support":{{"available":true,"enabled":true}},
        "temperature":{{"current":31,"op_limit_max":60}},"power_on_time":{{"hours":100}},"power_cycle_count":7,
        "ata_smart_attributes":{{"table":[{{"id":5,"name":"Reallocated_Sector_Ct","value":200,"worst":200,"thresh":140,
        "when_failed":"","flags":{{"value":51,"string":"PO--CK ","prefailure":true,"updated_online":true,
        "performance":false,"error_rate":false,"event_count":true,"auto_keep":true}},
        "raw":{{"value":0,"string":"0"}}}}]}}}}"#
    )
}

const ASLEEP: &str = r#"{"smartctl":{"version":[7,3],"messages":[{"string":"Device is in STANDBY mode, exit(2)",
    "severity":"information"}],"exit_status":2},"device":{"name":"/dev/sda","type":"sat","protocol":"ATA"}}"#;

fn collector() -> Smart {
    Smart {
        settings: Settings::default(),
        shared: Arc::default(),
        remembered: HashMap::new(),
    }
}

async fn collect(smart: &mut Smart, host: &Host) -> Facts {
    match smart.collect(host).await.unwrap() {
        Outcome::Facts(facts) => facts,
        Outcome::Absent { reason } => panic!("absent: {reason}"),
    }
}

fn only(facts: &Facts) -> &Resource {
    assert_eq!(facts.resources.len(), 1, "{:?}", facts.resources);
    &facts.resources[0]
}

fn value(facts: &Facts, name: &str) -> Option<f64> {
    facts
        .samples
        .iter()
        .find(|sample| sample.name == name)
        .map(|sample| sample.value)
}

fn disk(root: &Root, name: &str, wwid: &str) {
    let attributes = [("device/wwid", wwid), ("size", "3907029168"), ("dev", "8:0")];
    root.disk(name, &format!("pci0/{wwid}"), &attributes);
}

#[tokio::test]
async fn without_smartctl_it_is_absent_and_says_what_to_do() {
    let root = Root::new();
    disk(&root, "sda", "naa.50014ee20a123abc");
    let outcome = collector().collect(&root.host()).await.unwrap();
    assert_eq!(
        outcome,
        Outcome::absent("smartctl is not installed: apt install smartmontools")
    );
}

#[tokio::test]
async fn a_drive_that_the_kernel_does_not_show_is_known_by_its_own_names() {
    let root = Root::new();
    root.write("muster/run/smartctl/scan", SCAN)
        .write("muster/run/smartctl/sda", healthy("WD-1"));
    let facts = collect(&mut collector(), &root.host()).await;
    assert_eq!(only(&facts).key.as_str(), "device:wwn:0x50014ee20a123abd");
}

#[tokio::test]
async fn a_healthy_drive_is_told_with_its_facts_and_series() {
    let root = Root::new();
    disk(&root, "sda", "naa.50014ee20a123abc");
    root.write("muster/run/smartctl/scan", SCAN)
        .write("muster/run/smartctl/sda", healthy("WD-1"));
    let facts = collect(&mut collector(), &root.host()).await;
    let drive = only(&facts);
    assert_eq!(drive.key.as_str(), "device:wwn:0x50014ee20a123abc");
    assert_eq!(
        drive.shown_health(),
        Health::Healthy,
        "{:?}",
        drive.health_reasons
    );
    assert_eq!(drive.attributes["temperature_celsius"], 31_i64.into());
    assert_eq!(drive.attributes["serial_number"], "WD-1".into());
    assert_eq!(drive.attributes["device_type"], "hdd".into());
    assert_eq!(drive.attributes["power_state"], "active".into());
    assert!(drive.attributes.contains_key("last_checked"));
    assert_eq!(value(&facts, "smartctl_devices"), Some(1.0));
    assert_eq!(value(&facts, "smartctl_version"), Some(1.0));
    assert_eq!(value(&facts, "smartctl_device_power_on_seconds"), Some(360_000.0));
    assert_eq!(value(&facts, "smartctl_device_smartctl_exit_status"), Some(0.0));
    let temperatures = facts
        .samples
        .iter()
        .filter(|sample| sample.name == "smartctl_device_temperature");
    assert_eq!(temperatures.count(), 1);
    assert_eq!(
        value(&facts, "muster_smart_temperature_limit_celsius"),
        Some(60.0)
    );
    let rows = facts
        .samples
        .iter()
        .filter(|sample| sample.name == "smartctl_device")
        .count();
    assert_eq!(rows, 1);
    let flags = facts
        .samples
        .iter()
        .find_map(|sample| sample.labels.get("attribute_flags_long"));
    assert_eq!(flags, Some("prefailure,updated_online,event_count,auto_keep"));
}

#[tokio::test]
async fn namespaces_of_one_controller_share_its_health_and_keep_their_names() {
    let root = Root::new();
    for number in ["1", "2"] {
        let eui = format!("00 25 38 b1 71 c0 1a 0{number}");
        let attributes = [("eui", eui.as_str()), ("size", "8")];
        root.disk(
            &format!("nvme0n{number}"),
            &format!("pci0/nvme/nvme0/ns{number}"),
            &attributes,
        );
    }
    let document = r#"{"smartctl":{"version":[7,3],"exit_status":0},"device":{"name":"/dev/nvme0","type":"nvme",
        "protocol":"NVMe"},"serial_number":"S1","smart_status":{"passed":true,"nvme":{"value":0}},
        "nvme_total_capacity":9000,"nvme_smart_health_information_log":{"critical_warning":0,"available_spare":100,
        "available_spare_threshold":10,"percentage_used":1,"media_errors":0}}"#;
    root.write(
        "muster/run/smartctl/scan",
        SCAN.replace("sda", "nvme0").replace("scsi", "nvme"),
    )
    .write("muster/run/smartctl/nvme0", document);
    let facts = collect(&mut collector(), &root.host()).await;
    let names: Vec<_> = facts
        .resources
        .iter()
        .map(|resource| resource.name.as_str())
        .collect();
    assert_eq!(names, ["nvme0n1", "nvme0n2"]);
    for drive in &facts.resources {
        assert_eq!(
            drive.shown_health(),
            Health::Healthy,
            "{:?}",
            drive.health_reasons
        );
        assert!(
            !drive.attributes.contains_key("size_bytes"),
            "the total is no namespace's size"
        );
    }
    let rows = facts
        .samples
        .iter()
        .filter(|sample| sample.name == "smartctl_device")
        .count();
    assert_eq!(rows, 1);
}

#[tokio::test]
async fn a_drive_that_falls_asleep_keeps_its_values_and_says_so() {
    let root = Root::new();
    disk(&root, "sda", "naa.50014ee20a123abc");
    root.write("muster/run/smartctl/scan", SCAN)
        .write("muster/run/smartctl/sda", healthy("WD-1"));
    let mut smart = collector();
    let awake = collect(&mut smart, &root.host()).await;
    root.write("muster/run/smartctl/sda", ASLEEP)
        .write("muster/run/smartctl/sda.rc", "2");
    let asleep = collect(&mut smart, &root.host()).await;
    let drive = only(&asleep);
    assert_eq!(drive.attributes["power_state"], "standby".into());
    assert_eq!(
        drive.attributes["last_checked"],
        only(&awake).attributes["last_checked"]
    );
    assert_eq!(drive.shown_health(), Health::Healthy);
    assert_eq!(value(&asleep, "smartctl_device_temperature"), Some(31.0));
    assert_eq!(value(&asleep, "smartctl_device_smartctl_exit_status"), Some(2.0));
    assert_eq!(asleep.samples.len(), awake.samples.len());
}

#[tokio::test]
async fn a_drive_that_slept_from_the_start_is_unknown() {
    let root = Root::new();
    disk(&root, "sda", "naa.50014ee20a123abc");
    root.write("muster/run/smartctl/scan", SCAN)
        .write("muster/run/smartctl/sda", ASLEEP);
    let facts = collect(&mut collector(), &root.host()).await;
    assert_eq!(only(&facts).shown_health(), Health::Unknown);
    assert_eq!(only(&facts).attributes["power_state"], "standby".into());
    assert_eq!(value(&facts, "smartctl_device_temperature"), None);
}

#[tokio::test]
async fn a_sleeping_drive_that_took_anothers_name_does_not_take_its_values() {
    let root = Root::new();
    disk(&root, "sda", "naa.50014ee20a123abc");
    root.write("muster/run/smartctl/scan", SCAN)
        .write("muster/run/smartctl/sda", healthy("WD-1"));
    let mut smart = collector();
    collect(&mut smart, &root.host()).await;
    let swapped = Root::new();
    disk(&swapped, "sda", "naa.5000c500deadbeef");
    swapped
        .write("muster/run/smartctl/scan", SCAN)
        .write("muster/run/smartctl/sda", ASLEEP);
    let facts = collect(&mut smart, &swapped.host()).await;
    assert_eq!(only(&facts).key.as_str(), "device:wwn:0x5000c500deadbeef");
    assert_eq!(only(&facts).shown_health(), Health::Unknown);
    assert_eq!(value(&facts, "smartctl_device_temperature"), None);
}

#[tokio::test]
async fn a_drive_that_can_no_longer_be_opened_loses_its_good_name() {
    let root = Root::new();
    disk(&root, "sda", "naa.50014ee20a123abc");
    root.write("muster/run/smartctl/scan", SCAN)
        .write("muster/run/smartctl/sda", healthy("WD-1"));
    let mut smart = collector();
    collect(&mut smart, &root.host()).await;
    let failed = r#"{"smartctl":{"messages":[{"string":"Smartctl open device: /dev/sda failed: No such device",
        "severity":"error"}],"exit_status":2}}"#;
    root.write("muster/run/smartctl/sda", failed)
        .write("muster/run/smartctl/sda.rc", "2");
    let facts = collect(&mut smart, &root.host()).await;
    assert_ne!(only(&facts).shown_health(), Health::Healthy);
    assert_eq!(value(&facts, "smartctl_device_temperature"), None);
    assert_eq!(value(&facts, "smartctl_device_smartctl_exit_status"), Some(2.0));
}

#[tokio::test]
async fn a_drive_without_an_output_is_unknown_and_says_why() {
    let root = Root::new();
    disk(&root, "sda", "naa.50014ee20a123abc");
    root.write("muster/run/smartctl/scan", SCAN);
    let facts = collect(&mut collector(), &root.host()).await;
    assert_eq!(only(&facts).shown_health(), Health::Unknown);
    assert_eq!(
        only(&facts).health_reasons,
        ["its SMART data could not be read: there is no output of smartctl for it"]
    );
    assert_eq!(value(&facts, "smartctl_device"), None);
}

#[tokio::test]
async fn an_output_that_is_no_document_makes_no_series_of_the_drive() {
    let root = Root::new();
    disk(&root, "sda", "naa.50014ee20a123abc");
    root.write("muster/run/smartctl/scan", SCAN)
        .write("muster/run/smartctl/sda", "smartctl: not found")
        .write("muster/run/smartctl/sda.rc", "127");
    let facts = collect(&mut collector(), &root.host()).await;
    assert_ne!(only(&facts).shown_health(), Health::Healthy);
    assert!(!only(&facts).health_reasons.is_empty());
    assert_eq!(value(&facts, "smartctl_device"), None);
}

#[tokio::test]
async fn what_the_process_says_counts_beside_what_the_document_says() {
    for (status, health) in [
        ("16", Health::Warning),
        ("32", Health::Warning),
        ("64", Health::Healthy),
    ] {
        let root = Root::new();
        disk(&root, "sda", "naa.50014ee20a123abc");
        root.write("muster/run/smartctl/scan", SCAN)
            .write("muster/run/smartctl/sda", healthy("WD-1"))
            .write("muster/run/smartctl/sda.rc", status);
        let facts = collect(&mut collector(), &root.host()).await;
        assert_eq!(only(&facts).shown_health(), health, "{status}");
    }
}

#[tokio::test]
async fn a_machine_without_drives_that_have_smart_has_facts_without_drives() {
    let root = Root::new();
    root.write(
        "muster/run/smartctl/scan",
        r#"{"smartctl":{"version":[7,3],"exit_status":0}}"#,
    );
    let facts = collect(&mut collector(), &root.host()).await;
    assert_eq!(value(&facts, "smartctl_devices"), Some(0.0));
    assert!(facts.resources.is_empty() && facts.problems.is_empty());
}

/// A folder with a smartctl of our own, which notes how it is called.
struct Fake {
    root: Root,
    folder: Utf8PathBuf,
}

impl Fake {
    fn with(body: &str) -> Self {
        let root = Root::new();
        let folder = Utf8PathBuf::from_path_buf(root.path().join("bin")).unwrap();
        let script = format!(
            "#!/bin/sh\nD='{folder}'\nprintf '%s\\n' \"$*\" >>\"$D/calls\"\nfor last; do :; done\n{body}\n"
        );
        root.write("bin/smartctl", script);
        std::fs::set_permissions(folder.join("smartctl"), std::fs::Permissions::from_mode(0o755)).unwrap();
        Self { root, folder }
    }

    fn host(&self) -> Host {
        self.root.host().with_programs_in(vec![self.folder.clone()])
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.folder.join("calls")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn every_call_carries_the_standby_guard_and_a_fixed_argv() {
    let fake = Fake::with(
        r#"echo '{"smartctl":{"exit_status":0},"devices":[{"name":"/dev/bus/0","type":"megaraid,3"}]}'"#,
    );
    disk(&fake.root, "sda", "naa.50014ee20a123abc");
    collect(&mut collector(), &fake.host()).await;
    let mut calls = fake.calls();
    calls.sort_unstable();
    let common = "--json=c --info --health --attributes --tolerance=verypermissive --nocheck=standby --format=brief \
                  --log=error --log=selftest --log=devstat --log=ssd --log=background";
    assert_eq!(
        calls,
        [
            format!("{common} --device=megaraid,3 /dev/bus/0"),
            format!("{common} /dev/sda"),
            "--scan --json=c --nocheck=standby".to_owned(),
        ]
    );
}

#[tokio::test]
async fn a_hung_smartctl_is_killed_and_delays_no_other_drive() {
    let document = healthy("WD-9").replace('\n', " ");
    let fake = Fake::with(&format!(
        "case \"$last\" in\n/dev/sda) sleep 1000;;\n/dev/sdb) echo '{document}';;\n*) echo '{{\"smartctl\":{{}}}}';;\nesac"
    ));
    disk(&fake.root, "sda", "naa.50014ee20a123abc");
    disk(&fake.root, "sdb", "naa.5000c500deadbeef");
    let mut smart = collector();
    smart.settings.deadline = Duration::from_millis(1500);
    let facts = collect(&mut smart, &fake.host()).await;
    let of = |name: &str| {
        facts
            .resources
            .iter()
            .find(|resource| resource.name == name)
            .unwrap()
    };
    assert_eq!(of("sda").shown_health(), Health::Unknown);
    assert!(
        of("sda").health_reasons[0].contains("did not end within"),
        "{:?}",
        of("sda").health_reasons
    );
    assert_eq!(of("sdb").shown_health(), Health::Healthy);
    assert_eq!(facts.problems.len(), 1);
}

#[tokio::test]
async fn forty_eight_drives_are_asked_a_few_at_a_time() {
    // Each call counts those under way by folders it makes and removes, and notes the most it saw.
    let fake = Fake::with(
        "mkdir -p \"$D/now\"\nmkdir \"$D/now/$$\"\nls \"$D/now\" | wc -l >>\"$D/seen\"\nsleep 0.02\nrmdir \"$D/now/$$\"\n\
         echo '{\"smartctl\":{\"exit_status\":0}}'",
    );
    for number in 0..48_u32 {
        let letters = [
            b'a' + u8::try_from(number / 26).unwrap(),
            b'a' + u8::try_from(number % 26).unwrap(),
        ];
        let name = format!("sd{}", String::from_utf8_lossy(&letters));
        disk(&fake.root, &name, &format!("naa.5000c50000{number:06}"));
    }
    let facts = collect(&mut collector(), &fake.host()).await;
    assert_eq!(facts.resources.len(), 48);
    let seen = std::fs::read_to_string(fake.folder.join("seen")).unwrap();
    let most = seen
        .lines()
        .filter_map(|line| line.trim().parse::<usize>().ok())
        .max()
        .unwrap();
    assert!(most <= Settings::CONCURRENCY_DEFAULT, "{most} at once");
    let calls = fake.calls();
    println!("48 drives: {} calls, {most} at once", calls.len());
    assert_eq!(calls.len(), 49, "the scan, and each drive once");
    assert!(
        calls
            .iter()
            .all(|call| call.split(' ').any(|word| word == "--nocheck=standby"))
    );
}

mod sweep;
