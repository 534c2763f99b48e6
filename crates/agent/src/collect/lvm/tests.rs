//! Volume groups of captures and of reports made by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8PathBuf;
use muster_model::{Attribute, Facts, Health, Resource, ResourceKind};

use super::*;
use crate::collect::block::tests::Root;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../parse/fixtures/lvm");

fn fixture(name: &str) -> String {
    fs::read_to_string(format!("{FIXTURES}/{name}")).unwrap()
}

fn parsed(text: &str) -> Facts {
    let mut draft = Draft::new("lvm");
    describe_recorded(&mut draft, text);
    draft.finish()
}

fn find<'a>(facts: &'a Facts, name: &str) -> &'a Resource {
    facts
        .resources
        .iter()
        .find(|resource| resource.name == name)
        .unwrap_or_else(|| panic!("{name} of {:?}", facts.resources))
}

fn number(resource: &Resource, name: &str) -> Option<f64> {
    match resource.attributes.get(name)? {
        Attribute::Int(number) => Some(*number as f64),
        Attribute::Float(number) => Some(*number),
        _ => None,
    }
}

fn text<'a>(resource: &'a Resource, name: &str) -> Option<&'a str> {
    match resource.attributes.get(name)? {
        Attribute::Text(text) => Some(text),
        _ => None,
    }
}

fn value(facts: &Facts, name: &str, lv: &str) -> Option<f64> {
    let found = facts
        .samples
        .iter()
        .find(|sample| sample.name == name && sample.labels.get("lv") == Some(lv));
    found.map(|sample| sample.value)
}

/// File, name, kind, health, and words of its reasons.
const CASES: &[(&str, &str, &str, Health, &str)] = &[
    (
        "bookworm-healthy.json",
        "vg0",
        "",
        Health::Healthy,
        "all physical volumes are there",
    ),
    (
        "bookworm-healthy.json",
        "vg0/linear",
        "linear",
        Health::Healthy,
        "",
    ),
    (
        "bookworm-healthy.json",
        "vg0/linear-snap",
        "snapshot",
        Health::Healthy,
        "",
    ),
    (
        "bookworm-healthy.json",
        "vg0/mirrored",
        "raid1",
        Health::Healthy,
        "",
    ),
    (
        "bookworm-healthy.json",
        "vg0/pool",
        "thin_pool",
        Health::Healthy,
        "",
    ),
    (
        "bookworm-healthy.json",
        "vg0/striped",
        "striped",
        Health::Healthy,
        "",
    ),
    ("bookworm-healthy.json", "vg0/thin1", "thin", Health::Healthy, ""),
    (
        "bookworm-healthy.json",
        "vg0/thin1-snap",
        "thin",
        Health::Healthy,
        "not active",
    ),
    (
        "bookworm-thin-fill.json",
        "vg0/pool",
        "thin_pool",
        Health::Warning,
        "% full",
    ),
    (
        "bookworm-thin-full.json",
        "vg0/pool",
        "thin_pool",
        Health::Failed,
        "no room left",
    ),
    (
        "bookworm-thin-full.json",
        "vg0/thin2",
        "thin",
        Health::Critical,
        "its pool vg0/pool has no room left",
    ),
    (
        "bookworm-snap-full.json",
        "vg0/linear-snap",
        "snapshot",
        Health::Failed,
        "invalid",
    ),
    (
        "bookworm-snap-full.json",
        "vg0/linear",
        "linear",
        Health::Healthy,
        "",
    ),
    (
        "bookworm-disk-gone.json",
        "vg0",
        "",
        Health::Critical,
        "1 of 2 physical volumes are missing",
    ),
    (
        "bookworm-disk-gone.json",
        "vg0/mirrored",
        "raid1",
        Health::Critical,
        "no redundancy is left",
    ),
    (
        "bookworm-disk-gone.json",
        "vg0/linear",
        "linear",
        Health::Failed,
        "cannot be read",
    ),
    (
        "bookworm-disk-gone.json",
        "vg0/striped",
        "striped",
        Health::Failed,
        "",
    ),
    (
        "bookworm-disk-gone.json",
        "vg0/pool",
        "thin_pool",
        Health::Failed,
        "",
    ),
    (
        "bookworm-disk-gone.json",
        "vg0/swap",
        "linear",
        Health::Healthy,
        "",
    ),
    (
        "bookworm-disk-gone.json",
        "vg0/linear-snap",
        "snapshot",
        Health::Failed,
        "is a snapshot of",
    ),
    (
        "trixie-healthy.json",
        "vg0/pool",
        "thin_pool",
        Health::Healthy,
        "",
    ),
    ("trixie-healthy.json", "vg0", "", Health::Healthy, ""),
    (
        "kinds-synthetic.json",
        "big/pair",
        "raid1",
        Health::Warning,
        "37.50 % in step",
    ),
    (
        "kinds-synthetic.json",
        "big/checked",
        "raid5",
        Health::Healthy,
        "",
    ),
    (
        "kinds-synthetic.json",
        "big/differs",
        "raid1",
        Health::Warning,
        "copies differ",
    ),
    (
        "kinds-synthetic.json",
        "big/six",
        "raid6",
        Health::Warning,
        "1 more may be lost",
    ),
    (
        "kinds-synthetic.json",
        "big/refresh",
        "raid1",
        Health::Critical,
        "left out",
    ),
    ("kinds-synthetic.json", "big/fast", "cache", Health::Healthy, ""),
    (
        "kinds-synthetic.json",
        "big/wc",
        "writecache",
        Health::Critical,
        "met errors",
    ),
    (
        "kinds-synthetic.json",
        "big/deep",
        "vdo_pool",
        Health::Critical,
        "96.00 % full",
    ),
    ("kinds-synthetic.json", "big/shown", "vdo", Health::Healthy, ""),
    (
        "kinds-synthetic.json",
        "big/check",
        "thin_pool",
        Health::Critical,
        "needs to be checked",
    ),
    (
        "kinds-synthetic.json",
        "big/meta",
        "thin_pool",
        Health::Critical,
        "metadata can only be read",
    ),
    (
        "kinds-synthetic.json",
        "big/almost",
        "thin_pool",
        Health::Critical,
        "its metadata is 95.00 % full",
    ),
    (
        "kinds-synthetic.json",
        "big/strange",
        "linear",
        Health::Unknown,
        "is unknown",
    ),
    (
        "kinds-synthetic.json",
        "big/held",
        "linear",
        Health::Warning,
        "suspended",
    ),
    (
        "kinds-synthetic.json",
        "big/broken",
        "error",
        Health::Failed,
        "with an error",
    ),
    (
        "kinds-synthetic.json",
        "big/old",
        "mirror",
        Health::Warning,
        "in step",
    ),
    (
        "kinds-synthetic.json",
        "big/quiet",
        "raid1",
        Health::Unknown,
        "not active",
    ),
    (
        "kinds-synthetic.json",
        "big/silent",
        "linear",
        Health::Unknown,
        "not reported",
    ),
];

#[test]
fn every_volume_of_the_captures_has_its_kind_and_health() {
    for &(file, name, kind, health, words) in CASES {
        let facts = parsed(&fixture(file));
        let found = find(&facts, name);
        let reasons = found.health_reasons.join("; ");
        assert_eq!(found.shown_health(), health, "{file} {name}: {reasons}");
        assert!(
            reasons.contains(words) && !reasons.is_empty(),
            "{file} {name}: {reasons}"
        );
        if !kind.is_empty() {
            assert_eq!(text(found, "volume_type"), Some(kind), "{file} {name}");
        }
    }
}

#[test]
fn inner_volumes_are_not_told_of_and_what_lies_on_what_is() {
    let facts = parsed(&fixture("bookworm-healthy.json"));
    let volumes: Vec<&str> = facts
        .resources
        .iter()
        .filter(|resource| resource.kind == ResourceKind::Volume)
        .map(|resource| resource.name.as_str())
        .collect();
    let expected = [
        "vg0/linear",
        "vg0/linear-snap",
        "vg0/mirrored",
        "vg0/pool",
        "vg0/striped",
        "vg0/swap",
        "vg0/thin1",
        "vg0/thin1-snap",
        "vg0/thin2",
    ];
    assert_eq!(volumes, expected);
    let rests = |from: &str, to: &str| {
        let (from, to) = (&find(&facts, from).key, &find(&facts, to).key);
        facts
            .links
            .iter()
            .any(|link| link.from == *from && link.to == *to)
    };
    assert!(rests("vg0/thin1", "vg0/pool") && rests("vg0/thin1-snap", "vg0/pool"));
    assert!(rests("vg0/linear-snap", "vg0/linear") && rests("vg0/swap", "vg0"));
    assert!(!rests("vg0/thin1-snap", "vg0/thin1") && !rests("vg0/linear", "vg0/linear-snap"));
    assert_eq!(facts.problems, []);
}

#[test]
fn sizes_and_percentages_are_those_of_the_tools() {
    let facts = parsed(&fixture("bookworm-healthy.json"));
    let group = find(&facts, "vg0");
    assert_eq!(
        group.key.as_str(),
        "pool:lvm:QEDRTf-iAC2-CacW-qa5O-iqLL-0csq-fEfyz5"
    );
    for (name, expected) in [
        ("total_size_bytes", 796_917_760.0),
        ("available_size_bytes", 83_886_080.0),
        ("used_size_bytes", 713_031_680.0),
        ("device_count", 2.0),
        ("missing_device_count", 0.0),
        ("volume_count", 9.0),
        ("snapshot_count", 1.0),
    ] {
        assert_eq!(number(group, name), Some(expected), "{name}");
    }
    let pool = find(&facts, "vg0/pool");
    assert_eq!(
        pool.key.as_str(),
        "volume:lvm:xiYZZL-VQt1-xasl-bCPK-2kuW-IIPN-8TuM0P"
    );
    assert_eq!(number(pool, "data_percent"), Some(50.49));
    assert_eq!(number(pool, "metadata_percent"), Some(11.13));
    assert_eq!(
        value(&facts, "muster_lvm_lv_data_used_ratio", "pool"),
        Some(0.5049)
    );
    let snapshot = find(&facts, "vg0/linear-snap");
    assert_eq!(number(snapshot, "snapshot_percent"), Some(50.34));
    assert_eq!(
        value(&facts, "muster_lvm_lv_snapshot_used_ratio", "linear-snap"),
        Some(0.5034)
    );
    assert_eq!(
        value(&facts, "muster_lvm_lv_data_used_ratio", "linear-snap"),
        None
    );
    assert_eq!(value(&facts, "muster_lvm_lv_sync_ratio", "mirrored"), Some(1.0));
}

#[tokio::test]
async fn a_report_of_nothing_is_absent_and_one_that_fails_is_an_error() {
    let root = Root::new();
    let mut lvm = Lvm {
        shared: Arc::default(),
        form: 0,
    };
    let outcome = lvm.collect(&root.host()).await.unwrap();
    assert!(matches!(outcome, Outcome::Absent { .. }), "{outcome:?}");
    root.write("muster/run/lvm/report", r#"{"report":[]}"#);
    let outcome = lvm.collect(&root.host()).await.unwrap();
    assert!(matches!(outcome, Outcome::Absent { .. }), "{outcome:?}");
    root.write("muster/run/lvm/report", "")
        .write("muster/run/lvm/report.rc", "5\n");
    assert!(lvm.collect(&root.host()).await.is_err());
}

#[tokio::test]
async fn without_rights_nothing_seen_is_not_nothing_there() {
    let root = Root::new();
    let script = "#!/bin/sh\necho '  WARNING: Running as a non-root user. Functionality may be unavailable.' >&2\n\
                  echo '{\"report\":[]}'\n";
    root.write("bin/lvm", script);
    let folder = Utf8PathBuf::from_path_buf(root.path().join("bin")).unwrap();
    fs::set_permissions(folder.join("lvm"), fs::Permissions::from_mode(0o755)).unwrap();
    let host = root.host().with_programs_in(vec![folder]);
    let mut lvm = Lvm {
        shared: Arc::default(),
        form: 0,
    };
    let error = lvm.collect(&host).await.unwrap_err();
    assert!(error.to_string().contains("rights of root"), "{error}");
}

#[tokio::test]
async fn a_release_without_an_option_is_asked_without_it() {
    let root = Root::new();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *--nolocking*) echo 'unrecognized option' >&2; exit 3;; esac\n\
         cat {FIXTURES}/bookworm-healthy.json\n"
    );
    root.write("bin/lvm", script);
    let folder = Utf8PathBuf::from_path_buf(root.path().join("bin")).unwrap();
    fs::set_permissions(folder.join("lvm"), fs::Permissions::from_mode(0o755)).unwrap();
    let host = root.host().with_programs_in(vec![folder]);
    let mut lvm = Lvm {
        shared: Arc::default(),
        form: 0,
    };
    for _ in 0..2 {
        let outcome = lvm.collect(&host).await.unwrap();
        let Outcome::Facts(facts) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(find(&facts, "vg0").shown_health(), Health::Healthy);
    }
    assert_eq!(lvm.form, 2);
}

#[tokio::test]
async fn a_release_without_one_of_the_fields_is_asked_for_all_it_has() {
    let root = Root::new();
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *lv_snapshot_invalid*) echo '{{\"report\":[{{}}]}}'; \
         echo '  Unrecognised field: lv_snapshot_invalid' >&2; exit 5;; esac\ncat {FIXTURES}/bookworm-healthy.json\n"
    );
    root.write("bin/lvm", script);
    let folder = Utf8PathBuf::from_path_buf(root.path().join("bin")).unwrap();
    fs::set_permissions(folder.join("lvm"), fs::Permissions::from_mode(0o755)).unwrap();
    let host = root.host().with_programs_in(vec![folder]);
    let mut lvm = Lvm {
        shared: Arc::default(),
        form: 0,
    };
    let Outcome::Facts(facts) = lvm.collect(&host).await.unwrap() else {
        panic!("no facts")
    };
    assert_eq!(find(&facts, "vg0").shown_health(), Health::Healthy);
    assert_eq!(lvm.form, 1);
}

/// A report of 1,900 volumes, nearly as many resources as a collector may tell of, as `lvm fullreport` prints it, with the fields that are asked for.
#[tokio::test]
async fn as_many_volumes_as_may_be_told_of_fit_into_what_is_taken_of_a_program() {
    let root = Root::new();
    let fields: Vec<&str> = FORMS[0]
        .iter()
        .find(|fields| fields.starts_with("lv_uuid,lv_name"))
        .unwrap()
        .split(',')
        .collect();
    let value = |field: &str, number: usize| match field {
        "lv_uuid" => format!("zkN7OE-62yz-fAed-QFjN-VRWQ-yKAK-{number:06}"),
        "lv_name" => format!("volume-{number:05}"),
        "lv_attr" => "-wi-a-----".to_owned(),
        "lv_layout" => "linear".to_owned(),
        "lv_role" => "public".to_owned(),
        "lv_size" => "134217728".to_owned(),
        "lv_path" => format!("/dev/vg0/volume-{number:05}"),
        _ => String::new(),
    };
    let rows: Vec<String> = (0..1_900)
        .map(|number| {
            let cells = fields
                .iter()
                .map(|field| format!("\"{field}\":\"{}\"", value(field, number)));
            format!("                  {{{}}}", cells.collect::<Vec<_>>().join(", "))
        })
        .collect();
    let segments: Vec<String> = (0..1_900)
        .map(|number| {
            let uuid = value("lv_uuid", number);
            format!(
                "                  {{\"lv_uuid\":\"{uuid}\", \"segtype\":\"linear\", \
                 \"devices\":\"/dev/sda1({number})\", \"metadata_devices\":\"\", \"cache_mode\":\"\"}}"
            )
        })
        .collect();
    let text = format!(
        "{{\"report\":[{{\"vg\":[{{\"vg_name\":\"vg0\",\"vg_attr\":\"wz--n-\",\"pv_count\":\"1\",\
         \"vg_missing_pv_count\":\"0\"}}],\"lv\":[\n{}\n],\"seg\":[\n{}\n]}}]}}",
        rows.join(",\n"),
        segments.join(",\n")
    );
    println!("{} bytes", text.len());
    root.write("report.json", &text);
    let script = format!("#!/bin/sh\ncat {}\n", root.path().join("report.json").display());
    root.write("bin/lvm", script);
    let folder = Utf8PathBuf::from_path_buf(root.path().join("bin")).unwrap();
    fs::set_permissions(folder.join("lvm"), fs::Permissions::from_mode(0o755)).unwrap();
    let host = root.host().with_programs_in(vec![folder]);
    let mut lvm = Lvm {
        shared: Arc::default(),
        form: 0,
    };
    let Outcome::Facts(facts) = lvm.collect(&host).await.unwrap() else {
        panic!("no facts")
    };
    let volumes = facts
        .resources
        .iter()
        .filter(|found| found.kind == ResourceKind::Volume);
    assert_eq!(volumes.count(), 1_900);
    assert!(facts.problems.is_empty(), "{:?}", facts.problems);
}
