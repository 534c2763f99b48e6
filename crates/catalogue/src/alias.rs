//! Short names for what rules judge: those that people know from the tables of servers, disks and filesystems.
//!
//! An alias says which series it means and how a number of it is had. A name that is neither an alias nor a metric is
//! refused with the nearest ones, because a rule on a name that does not exist never fires and nobody notices.

use std::fmt;

use crate::{
    FAMILIES, MUSTER_DEVICE_WEAR_USED_PERCENT, Metric, NODE_BOOT_TIME_SECONDS, NODE_CPU_SECONDS_TOTAL,
    NODE_DISK_READ_BYTES_TOTAL, NODE_DISK_WRITTEN_BYTES_TOTAL, NODE_FILESYSTEM_AVAIL_BYTES,
    NODE_FILESYSTEM_SIZE_BYTES, NODE_LOAD1, NODE_LOAD5, NODE_LOAD15, NODE_NETWORK_RECEIVE_BYTES_TOTAL,
    NODE_NETWORK_TRANSMIT_BYTES_TOTAL, SMARTCTL_DEVICE_ATTRIBUTE, SMARTCTL_DEVICE_BLOCK_SIZE,
    SMARTCTL_DEVICE_BYTES_READ, SMARTCTL_DEVICE_BYTES_WRITTEN, SMARTCTL_DEVICE_CAPACITY_BYTES,
    SMARTCTL_DEVICE_MEDIA_ERRORS, SMARTCTL_DEVICE_POWER_ON_SECONDS, SMARTCTL_DEVICE_TEMPERATURE,
    SMARTCTL_READ_TOTAL_UNCORRECTED_ERRORS, SMARTCTL_SCSI_GROWN_DEFECT_LIST, all, lookup,
};

/// Most nearest names that a refusal lists.
const NEAREST_MAX: usize = 3;
/// Names less like what was asked for than this are not worth showing; 1 is the same.
const LIKENESS_MIN: f64 = 0.7;
/// Longest name that is looked for; a metric's name is never longer.
const NAME_CHARS_MAX: usize = 256;

/// What an alias is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// A server.
    Server,
    /// A disk.
    Device,
    /// A filesystem.
    Filesystem,
    /// A network interface of a server.
    Interface,
}

impl Subject {
    /// The word that documents and rules use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Device => "device",
            Self::Filesystem => "filesystem",
            Self::Interface => "interface",
        }
    }
}

/// The series of a metric that have these labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pick {
    /// The metric's name.
    pub metric: &'static str,
    /// Labels that must have these values.
    pub labels: &'static [(&'static str, &'static str)],
}

impl Pick {
    const fn of(metric: Metric) -> Self {
        Self::with(metric, &[])
    }

    const fn with(metric: Metric, labels: &'static [(&'static str, &'static str)]) -> Self {
        Self {
            metric: metric.name,
            labels,
        }
    }
}

impl fmt::Display for Pick {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.metric)?;
        if self.labels.is_empty() {
            return Ok(());
        }
        let labels: Vec<String> = self
            .labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        write!(formatter, "{{{}}}", labels.join(","))
    }
}

/// How an alias's number is had.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Meaning {
    /// The largest number of those that a resource has of these, divided by a factor that changes the unit.
    Value {
        /// The series; kinds of disks have different ones for the same thing, and some have several.
        picks: &'static [Pick],
        /// What it is divided by.
        divisor: f64,
    },
    /// How much a counter grows in a second.
    Rate(Pick),
    /// Seconds since the time that the number is.
    Age(Pick),
    /// 100 × (1 − part ÷ whole), percent.
    PercentUsed {
        /// What is left.
        left: Pick,
        /// Of how much.
        whole: Pick,
    },
    /// 100 × (1 − the mean growth in a second of counters that run while nothing is done), percent.
    PercentBusy(Pick),
    /// 1 while the controller hears from the server, else 0; no series says so.
    Connected,
}

impl fmt::Display for Meaning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value { picks, divisor } => {
                match picks {
                    [pick] => write!(formatter, "{pick}")?,
                    several => {
                        let several: Vec<String> = several.iter().map(Pick::to_string).collect();
                        write!(formatter, "max({})", several.join(" or "))?;
                    }
                }
                if (divisor - 1.0).abs() < f64::EPSILON {
                    Ok(())
                } else {
                    write!(formatter, " / {divisor}")
                }
            }
            Self::Rate(pick) => write!(formatter, "rate({pick})"),
            Self::Age(pick) => write!(formatter, "time() - {pick}"),
            Self::PercentUsed { left, whole } => write!(formatter, "100 * (1 - {left} / {whole})"),
            Self::PercentBusy(pick) => write!(formatter, "100 * (1 - avg(rate({pick})))"),
            Self::Connected => formatter.write_str("1 while the controller hears from the server, else 0"),
        }
    }
}

/// A short name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alias {
    /// The name.
    pub name: &'static str,
    /// What it is of.
    pub subject: Subject,
    /// Unit of the number; empty if it has none.
    pub unit: &'static str,
    /// How the number is had.
    pub meaning: Meaning,
}

impl Alias {
    /// The series it is made of; none if it is not made of series.
    #[must_use]
    pub fn picks(&self) -> Vec<Pick> {
        match self.meaning {
            Meaning::Value { picks, .. } => picks.to_vec(),
            Meaning::Rate(pick) | Meaning::Age(pick) | Meaning::PercentBusy(pick) => vec![pick],
            Meaning::PercentUsed { left, whole } => vec![left, whole],
            Meaning::Connected => Vec::new(),
        }
    }
}

const fn value(
    name: &'static str,
    subject: Subject,
    unit: &'static str,
    picks: &'static [Pick],
    divisor: f64,
) -> Alias {
    Alias {
        name,
        subject,
        unit,
        meaning: Meaning::Value { picks, divisor },
    }
}

const fn other(name: &'static str, subject: Subject, unit: &'static str, meaning: Meaning) -> Alias {
    Alias {
        name,
        subject,
        unit,
        meaning,
    }
}

const BYTES_PER_GB: f64 = 1e9;
const SECONDS_PER_HOUR: f64 = 3600.0;
const RAW: (&str, &str) = ("attribute_value_type", "raw");

const AVAILABLE: Pick = Pick::of(NODE_FILESYSTEM_AVAIL_BYTES);
const SIZE: Pick = Pick::of(NODE_FILESYSTEM_SIZE_BYTES);
const IDLE: Pick = Pick::with(NODE_CPU_SECONDS_TOTAL, &[("mode", "idle")]);
const MEMORY_LEFT: Pick = Pick {
    metric: "node_memory_MemAvailable_bytes",
    labels: &[],
};
const MEMORY_TOTAL: Pick = Pick {
    metric: "node_memory_MemTotal_bytes",
    labels: &[],
};
const SENSOR: Pick = Pick {
    metric: "node_hwmon_temp_celsius",
    labels: &[],
};
const DRIVE_TEMPERATURE: Pick = Pick::with(SMARTCTL_DEVICE_TEMPERATURE, &[("temperature_type", "current")]);

/// Every alias, sorted by name.
pub const ALIASES: &[Alias] = &[
    value(
        "available_space_bytes",
        Subject::Filesystem,
        "bytes",
        &[AVAILABLE],
        1.0,
    ),
    value(
        "available_space_gb",
        Subject::Filesystem,
        "gigabytes",
        &[AVAILABLE],
        BYTES_PER_GB,
    ),
    other(
        "cpu_percent",
        Subject::Server,
        "percent",
        Meaning::PercentBusy(IDLE),
    ),
    other(
        "cpu_usage",
        Subject::Server,
        "percent",
        Meaning::PercentBusy(IDLE),
    ),
    other(
        "disk_io_read",
        Subject::Device,
        "bytes per second",
        Meaning::Rate(Pick::of(NODE_DISK_READ_BYTES_TOTAL)),
    ),
    other(
        "disk_io_write",
        Subject::Device,
        "bytes per second",
        Meaning::Rate(Pick::of(NODE_DISK_WRITTEN_BYTES_TOTAL)),
    ),
    other(
        "disk_percent",
        Subject::Filesystem,
        "percent",
        Meaning::PercentUsed {
            left: AVAILABLE,
            whole: SIZE,
        },
    ),
    other(
        "disk_usage",
        Subject::Filesystem,
        "percent",
        Meaning::PercentUsed {
            left: AVAILABLE,
            whole: SIZE,
        },
    ),
    other("is_connected", Subject::Server, "", Meaning::Connected),
    value("load_15m", Subject::Server, "", &[Pick::of(NODE_LOAD15)], 1.0),
    value("load_1m", Subject::Server, "", &[Pick::of(NODE_LOAD1)], 1.0),
    value("load_5m", Subject::Server, "", &[Pick::of(NODE_LOAD5)], 1.0),
    other(
        "memory_percent",
        Subject::Server,
        "percent",
        Meaning::PercentUsed {
            left: MEMORY_LEFT,
            whole: MEMORY_TOTAL,
        },
    ),
    other(
        "memory_usage",
        Subject::Server,
        "percent",
        Meaning::PercentUsed {
            left: MEMORY_LEFT,
            whole: MEMORY_TOTAL,
        },
    ),
    other(
        "network_recv",
        Subject::Interface,
        "bytes per second",
        Meaning::Rate(Pick::of(NODE_NETWORK_RECEIVE_BYTES_TOTAL)),
    ),
    other(
        "network_sent",
        Subject::Interface,
        "bytes per second",
        Meaning::Rate(Pick::of(NODE_NETWORK_TRANSMIT_BYTES_TOTAL)),
    ),
    value(
        "pending_sectors",
        Subject::Device,
        "",
        &[Pick::with(
            SMARTCTL_DEVICE_ATTRIBUTE,
            &[("attribute_id", "197"), RAW],
        )],
        1.0,
    ),
    value(
        "power_on_hours",
        Subject::Device,
        "hours",
        &[Pick::of(SMARTCTL_DEVICE_POWER_ON_SECONDS)],
        SECONDS_PER_HOUR,
    ),
    value(
        "reallocated_sectors",
        Subject::Device,
        "",
        &[
            Pick::with(SMARTCTL_DEVICE_ATTRIBUTE, &[("attribute_id", "5"), RAW]),
            Pick::of(SMARTCTL_SCSI_GROWN_DEFECT_LIST),
        ],
        1.0,
    ),
    value(
        "sector_size",
        Subject::Device,
        "bytes",
        &[Pick::with(
            SMARTCTL_DEVICE_BLOCK_SIZE,
            &[("blocks_type", "logical")],
        )],
        1.0,
    ),
    value(
        "size_bytes",
        Subject::Device,
        "bytes",
        &[Pick::of(SMARTCTL_DEVICE_CAPACITY_BYTES)],
        1.0,
    ),
    value("temperature", Subject::Server, "celsius", &[SENSOR], 1.0),
    value(
        "temperature_celsius",
        Subject::Device,
        "celsius",
        &[DRIVE_TEMPERATURE],
        1.0,
    ),
    value(
        "total_bytes_read",
        Subject::Device,
        "bytes",
        &[Pick::of(SMARTCTL_DEVICE_BYTES_READ)],
        1.0,
    ),
    value(
        "total_bytes_written",
        Subject::Device,
        "bytes",
        &[Pick::of(SMARTCTL_DEVICE_BYTES_WRITTEN)],
        1.0,
    ),
    value(
        "uncorrectable_errors",
        Subject::Device,
        "",
        &[
            Pick::with(SMARTCTL_DEVICE_ATTRIBUTE, &[("attribute_id", "187"), RAW]),
            Pick::with(SMARTCTL_DEVICE_ATTRIBUTE, &[("attribute_id", "198"), RAW]),
            Pick::of(SMARTCTL_DEVICE_MEDIA_ERRORS),
            Pick::of(SMARTCTL_READ_TOTAL_UNCORRECTED_ERRORS),
        ],
        1.0,
    ),
    other(
        "uptime_seconds",
        Subject::Server,
        "seconds",
        Meaning::Age(Pick::of(NODE_BOOT_TIME_SECONDS)),
    ),
    value(
        "wear_level_percent",
        Subject::Device,
        "percent",
        &[Pick::of(MUSTER_DEVICE_WEAR_USED_PERCENT)],
        1.0,
    ),
];

/// What a rule's name for a number stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Named {
    /// A short name.
    Alias(&'static Alias),
    /// A metric's own name.
    Metric,
}

/// A name that nobody knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    /// What was asked for; cut if it is longer than any name.
    pub name: String,
    /// The names most like it, the likeliest first; none if nothing is like it.
    pub nearest: Vec<String>,
}

impl fmt::Display for UnknownName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no metric is called {:?}", self.name)?;
        match self.nearest.as_slice() {
            [] => Ok(()),
            nearest => write!(formatter, "; the nearest are {}", nearest.join(", ")),
        }
    }
}

impl std::error::Error for UnknownName {}

/// What a name stands for: an alias, or a metric of the catalogue.
///
/// # Errors
/// [`UnknownName`] with the nearest names, if it is neither.
pub fn resolve(name: &str) -> Result<Named, UnknownName> {
    if let Some(alias) = ALIASES.iter().find(|alias| alias.name == name) {
        return Ok(Named::Alias(alias));
    }
    if lookup(name).is_some() {
        return Ok(Named::Metric);
    }
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    Err(UnknownName {
        nearest: nearest(&name),
        name,
    })
}

fn nearest(name: &str) -> Vec<String> {
    let wanted = name.to_ascii_lowercase();
    let names = ALIASES
        .iter()
        .map(|alias| alias.name.to_owned())
        .chain(all().map(|metric| metric.name.to_owned()))
        .chain(FAMILIES.iter().map(|family| family.name("*")));
    let mut found: Vec<(f64, String)> = names
        .map(|known| (strsim::jaro_winkler(&wanted, &known.to_ascii_lowercase()), known))
        .filter(|(likeness, _)| LIKENESS_MIN <= *likeness)
        .collect();
    found.sort_by(|(one, first), (other, second)| other.total_cmp(one).then_with(|| first.cmp(second)));
    found
        .into_iter()
        .take(NEAREST_MAX)
        .map(|(_, known)| known)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_unique_and_sorted_are_no_metrics_and_mean_metrics() {
        assert!(ALIASES.windows(2).all(|pair| pair[0].name < pair[1].name));
        for alias in ALIASES {
            assert_eq!(lookup(alias.name), None, "{}", alias.name);
            for pick in alias.picks() {
                assert!(lookup(pick.metric).is_some(), "{}: {}", alias.name, pick.metric);
            }
            if let Meaning::Value { divisor, .. } = alias.meaning {
                assert!(0.0 < divisor, "{}", alias.name);
            }
        }
    }

    /// What rules of the product before this one were written with: its columns of numbers, and its documents.
    #[test]
    fn every_name_of_a_disk_or_server_that_rules_were_written_with_is_known() {
        for name in [
            "size_bytes",
            "sector_size",
            "temperature_celsius",
            "power_on_hours",
            "wear_level_percent",
            "total_bytes_written",
            "total_bytes_read",
            "reallocated_sectors",
            "pending_sectors",
            "uncorrectable_errors",
            "uptime_seconds",
            "cpu_usage",
            "available_space_gb",
            "is_connected",
            "cpu_percent",
            "memory_percent",
            "disk_percent",
            "disk_io_read",
            "disk_io_write",
            "network_sent",
            "network_recv",
            "temperature",
        ] {
            assert!(matches!(resolve(name), Ok(Named::Alias(_))), "{name}");
        }
    }

    #[test]
    fn metrics_go_by_their_own_names_too() {
        assert_eq!(resolve("node_load1"), Ok(Named::Metric));
        assert_eq!(resolve("node_memory_MemFree_bytes"), Ok(Named::Metric));
    }

    #[test]
    fn unknown_names_are_refused_with_the_nearest() {
        for (name, wanted) in [
            ("temperatures_celsius", "temperature_celsius"),
            ("CPU_usage", "cpu_usage"),
            ("node_load_1", "node_load1"),
            ("power_on_hour", "power_on_hours"),
        ] {
            let refused = resolve(name).unwrap_err();
            assert_eq!(
                refused.nearest.first().map(String::as_str),
                Some(wanted),
                "{refused}"
            );
            assert!(refused.nearest.len() <= NEAREST_MAX);
        }
        let refused = resolve("§§§").unwrap_err();
        assert_eq!(
            (refused.nearest.len(), refused.to_string()),
            (0, "no metric is called \"§§§\"".to_owned())
        );
        assert_eq!(
            resolve(&"x".repeat(1 << 20)).unwrap_err().name.len(),
            NAME_CHARS_MAX
        );
        assert!(resolve("").is_err());
    }

    #[test]
    fn meanings_are_written_as_expressions() {
        let text = |name: &str| match resolve(name) {
            Ok(Named::Alias(alias)) => alias.meaning.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(text("power_on_hours"), "smartctl_device_power_on_seconds / 3600");
        assert_eq!(
            text("cpu_usage"),
            "100 * (1 - avg(rate(node_cpu_seconds_total{mode=\"idle\"})))"
        );
        assert_eq!(
            text("temperature_celsius"),
            "smartctl_device_temperature{temperature_type=\"current\"}"
        );
    }
}
