//! Outputs of other versions, kernels and systems, each with what is to be made of it.
//!
//! They are written after the sources that print them: `md_seq_show` and `status_resync` of drivers/md/md.c and the
//! `status` of each personality from Linux 2.4 on, Detail.c of mdadm, zpool_main.c of OpenZFS 0.6 to 2.3, scrub.c of
//! btrfs-progs 4 to 6, lvs(8), and what Synology changed. A heading is `##### what it is | name health | … | problems`, the last only if some must be told.

use camino::Utf8Path;

use super::KINDS;

macro_rules! samples {
    ($($kind:literal),*) => {
        [$(($kind, include_str!(concat!("../../../fixtures/elsewhere/", $kind, ".txt")))),*]
    };
}

/// Kind of output, and the samples of it.
const SAMPLES: [(&str, &str); 7] = samples![
    "btrfs-device-stats",
    "btrfs-scrub",
    "lvm-report",
    "mdadm-detail",
    "mdstat",
    "zpool-list",
    "zpool-status"
];

/// What is wrong with one sample.
fn fault(kind: &str, heading: &str, text: &str) -> Option<String> {
    let (_, parse) = KINDS.iter().find(|(name, _)| *name == kind)?;
    let facts = parse(Utf8Path::new("sample.txt"), text);
    let mut parts = heading.split(" |").map(str::trim);
    let title = parts.next().unwrap_or_default();
    let mut wanted: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let has_problems = wanted.pop_if(|last| *last == "problems").is_some();
    let found: Vec<String> = facts
        .resources
        .iter()
        .map(|resource| format!("{} {}", resource.name, resource.shown_health().as_str()))
        .collect();
    let mut sorted: (Vec<&str>, Vec<&str>) = (wanted, found.iter().map(String::as_str).collect());
    sorted.0.sort_unstable();
    sorted.1.sort_unstable();
    if sorted.0 == sorted.1 && has_problems != facts.problems.is_empty() {
        return None;
    }
    let reasons: Vec<_> = facts
        .resources
        .iter()
        .map(|found| (&found.name, &found.health_reasons))
        .collect();
    Some(format!(
        "{kind}, {title}:\n  expected {:?}\n  found    {:?}\n  problems {:?}\n  {reasons:?}",
        sorted.0, sorted.1, facts.problems
    ))
}

#[test]
fn outputs_of_other_versions_are_read_whole_and_judged_right() {
    let mut count = 0;
    let mut faults = Vec::new();
    for (kind, samples) in SAMPLES {
        for sample in samples.split("##### ").skip(1) {
            let (heading, text) = sample.split_once('\n').unwrap_or((sample, ""));
            count += 1;
            faults.extend(fault(kind, heading, text));
        }
    }
    println!("{count} samples");
    assert!(80 < count, "{count} samples");
    assert!(
        faults.is_empty(),
        "{} of {count}:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// A line that is lost must not make anything look better: whatever is cut off an output that says of something that it
/// is unwell, what is left does not call it healthy, unless the cut took what made it unwell and all after it along.
#[test]
fn a_line_that_nobody_understands_never_makes_anything_healthy() {
    for (kind, samples) in SAMPLES {
        let (_, parse) = KINDS
            .iter()
            .find(|(name, _)| *name == kind)
            .expect("the kind is known");
        for sample in samples.split("##### ").skip(1) {
            let (heading, text) = sample.split_once('\n').unwrap_or((sample, ""));
            let before = parse(Utf8Path::new("sample.txt"), text);
            let odd = text
                .replace("\n\t  ", "\n\t  Ω ")
                .replace(" blocks", " blocks of_a_new_kind");
            let after = parse(Utf8Path::new("sample.txt"), &odd);
            for (was, now) in before.resources.iter().zip(&after.resources) {
                let is_better = now.shown_health() < was.shown_health();
                assert!(
                    !is_better || was.name != now.name,
                    "{heading}: {} became better",
                    was.name
                );
            }
        }
    }
}
