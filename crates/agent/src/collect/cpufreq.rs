//! Frequencies of the CPUs, and how often heat held them back.

use muster_catalogue::{
    NODE_CPU_CORE_THROTTLES_TOTAL, NODE_CPU_FREQUENCY_HERTZ, NODE_CPU_FREQUENCY_MAX_HERTZ,
    NODE_CPU_FREQUENCY_MIN_HERTZ, NODE_CPU_PACKAGE_THROTTLES_TOTAL, NODE_CPU_SCALING_FREQUENCY_HERTZ,
    NODE_CPU_SCALING_FREQUENCY_MAX_HERTZ, NODE_CPU_SCALING_FREQUENCY_MIN_HERTZ, NODE_CPU_SCALING_GOVERNOR,
};
use std::collections::HashSet;

use super::Descriptor;
use super::reading::{Attribute, FileCollector, Reading, every_15s};
use crate::host::HostError;

/// CPUs told of.
const CPUS_MAX: usize = 256;
/// Governors told of for each CPU.
const GOVERNORS_MAX: usize = 8;
const KILOHERTZ: f64 = 1000.0;

/// The cpufreq collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "cpufreq",
    "frequencies of CPUs, and how often heat held them back",
    |_| Box::new(CPUFREQ),
);

const CPUFREQ: FileCollector = FileCollector {
    name: DESCRIPTOR.name,
    absent: "the kernel does not set the frequency of CPUs (a virtual machine, or no cpufreq driver)",
    read,
};

/// Documentation/admin-guide/pm/cpufreq.rst.
const ATTRIBUTES: [Attribute; 6] = [
    Attribute::scaled("cpuinfo_cur_freq", NODE_CPU_FREQUENCY_HERTZ, KILOHERTZ),
    Attribute::scaled("cpuinfo_max_freq", NODE_CPU_FREQUENCY_MAX_HERTZ, KILOHERTZ),
    Attribute::scaled("cpuinfo_min_freq", NODE_CPU_FREQUENCY_MIN_HERTZ, KILOHERTZ),
    Attribute::scaled("scaling_cur_freq", NODE_CPU_SCALING_FREQUENCY_HERTZ, KILOHERTZ),
    Attribute::scaled(
        "scaling_max_freq",
        NODE_CPU_SCALING_FREQUENCY_MAX_HERTZ,
        KILOHERTZ,
    ),
    Attribute::scaled(
        "scaling_min_freq",
        NODE_CPU_SCALING_FREQUENCY_MIN_HERTZ,
        KILOHERTZ,
    ),
];

fn read(reading: &mut Reading<'_>) -> Result<(), HostError> {
    let root = "/sys/devices/system/cpu";
    let (mut cores, mut packages) = (HashSet::new(), HashSet::new());
    for (number, name) in reading.numbered(root, "cpu", CPUS_MAX) {
        let (cpu, folder) = (number.to_string(), format!("{root}/{name}"));
        let frequencies = format!("{folder}/cpufreq");
        reading.attributes(&frequencies, &ATTRIBUTES, &[("cpu", &cpu)]);
        governor(reading, &frequencies, &cpu);
        throttles(reading, &folder, &mut cores, &mut packages);
    }
    Ok(())
}

fn governor(reading: &mut Reading<'_>, folder: &str, cpu: &str) {
    let word = |file: &str| {
        reading
            .files
            .word(&format!("{folder}/{file}"))
            .unwrap_or_default()
    };
    let now = word("scaling_governor");
    for name in word("scaling_available_governors")
        .split_ascii_whitespace()
        .take(GOVERNORS_MAX)
    {
        let value = if name == now { 1.0 } else { 0.0 };
        reading.draft.sample(
            &NODE_CPU_SCALING_GOVERNOR,
            &[("cpu", cpu), ("governor", name)],
            value,
        );
    }
}

/// Documentation/arch/x86: threads of one core share the count of the core, cores those of the package.
fn throttles(
    reading: &mut Reading<'_>,
    folder: &str,
    cores: &mut HashSet<(String, String)>,
    packages: &mut HashSet<String>,
) {
    let word = |file: &str| reading.files.word(&format!("{folder}/topology/{file}"));
    let (Some(core), Some(package)) = (word("core_id"), word("physical_package_id")) else {
        return;
    };
    if cores.insert((package.clone(), core.clone())) {
        reading.file(
            &format!("{folder}/thermal_throttle/core_throttle_count"),
            &NODE_CPU_CORE_THROTTLES_TOTAL,
            &[("package", &package), ("core", &core)],
        );
    }
    if packages.insert(package.clone()) {
        reading.file(
            &format!("{folder}/thermal_throttle/package_throttle_count"),
            &NODE_CPU_PACKAGE_THROTTLES_TOTAL,
            &[("package", &package)],
        );
    }
}
