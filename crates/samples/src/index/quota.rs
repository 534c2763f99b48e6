//! How many series a server may have, and of what.
//!
//! Metrics fall into families. The families by which a server is judged (itself, its storage, its health) have
//! series reserved for them that no other family can take, so that a database with very many tables or a container
//! host with very many containers displaces none of them. What is left is for whoever comes first, up to a bound for
//! each family that has none reserved.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use muster_base::id::ServerId;

use crate::series::{SeriesMeta, SeriesRefused};

/// Different (server, family, reason) of which refusals are counted; those of further ones count for server 0.
const CUT_MAX: usize = 10_000;

/// What a metric is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// The server itself: processors, memory, network, filesystems.
    Node,
    /// Drives and pools.
    Storage,
    /// Whether things work, the agent among them.
    Health,
    /// Databases.
    Database,
    /// Containers.
    Container,
    /// Anything else.
    Other,
}

impl Family {
    const COUNT: usize = 6;
    /// Those that have series reserved.
    const RESERVED: usize = 3;

    /// The family of a metric.
    #[must_use]
    pub fn of(metric: &str) -> Self {
        let is_any = |prefixes: &[&str]| prefixes.iter().any(|prefix| metric.starts_with(prefix));
        if is_any(&[
            "smartctl_",
            "zfs_",
            "node_md_",
            "node_zfs_",
            "node_btrfs_",
            "lvm_",
            "muster_smart_",
            "muster_pool_",
            "muster_device_",
        ]) {
            Self::Storage
        } else if is_any(&["node_", "process_"]) {
            Self::Node
        } else if metric == "up" || is_any(&["muster_agent_", "muster_health_", "muster_collector_"]) {
            Self::Health
        } else if is_any(&["pg_", "postgres_", "mysql_"]) {
            Self::Database
        } else if is_any(&["container_", "cadvisor_", "muster_container_"]) {
            Self::Container
        } else {
            Self::Other
        }
    }

    /// Its word, for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Storage => "storage",
            Self::Health => "health",
            Self::Database => "database",
            Self::Container => "container",
            Self::Other => "other",
        }
    }

    const fn is_reserved(self) -> bool {
        (self as usize) < Self::RESERVED
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How many series one server may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeriesLimits {
    /// Of all families together.
    pub per_server_max: usize,
    /// Of one family that has none reserved.
    pub per_family_max: usize,
    /// Reserved for each of node, storage and health; together never more than three quarters.
    pub reserved: usize,
}

impl SeriesLimits {
    /// The default of [`SeriesLimits::per_server_max`].
    pub const PER_SERVER_MAX: usize = muster_model::limits::SERIES_PER_AGENT_MAX;
    /// The default of [`SeriesLimits::per_family_max`].
    pub const PER_FAMILY_MAX: usize = 6_000;
    /// The default of the field `reserved`.
    pub const RESERVED: usize = 1_000;

    /// So many series, with the other limits in proportion.
    #[must_use]
    pub fn of_server(per_server_max: usize) -> Self {
        Self {
            per_server_max,
            per_family_max: Self::PER_FAMILY_MAX.max(per_server_max / 10 * 6),
            ..Self::default()
        }
    }

    fn reserved(&self) -> usize {
        self.reserved.min(self.per_server_max / 4)
    }

    /// How many series that are not reserved all families together may have.
    fn shared(&self) -> usize {
        self.per_server_max - Family::RESERVED * self.reserved()
    }
}

impl Default for SeriesLimits {
    fn default() -> Self {
        Self {
            per_server_max: Self::PER_SERVER_MAX,
            per_family_max: Self::PER_FAMILY_MAX,
            reserved: Self::RESERVED,
        }
    }
}

/// Series that were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// The server; 0 for those of which too many servers had some.
    pub server: ServerId,
    /// What they are about.
    pub family: Family,
    /// Why: `server_full`, `family_full`, `name` or `exhausted`.
    pub reason: &'static str,
    /// How often since the store was opened.
    pub times: u64,
}

/// Counts of a server by family.
type Counts = [usize; Family::COUNT];

/// How many series each server has.
#[derive(Debug, Default)]
pub(super) struct Quota {
    limits: SeriesLimits,
    servers: HashMap<ServerId, Counts>,
    total: usize,
    cut: BTreeMap<(ServerId, Family, &'static str), u64>,
}

impl Quota {
    pub(super) fn new(limits: SeriesLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Whether a server may have one more series of this name.
    pub(super) fn check(&self, server: ServerId, metric: &str) -> Result<(), SeriesRefused> {
        let family = Family::of(metric);
        let counts = self.servers.get(&server).copied().unwrap_or_default();
        let limits = &self.limits;
        let is_reserved = family.is_reserved() && counts[family as usize] < limits.reserved();
        if is_reserved {
            return Ok(());
        }
        if !family.is_reserved() && limits.per_family_max <= counts[family as usize] {
            let limit = limits.per_family_max;
            return Err(SeriesRefused::FamilyFull {
                server,
                family,
                limit,
            });
        }
        let beyond = |(index, count): (usize, &usize)| match index {
            reserved if reserved < Family::RESERVED => count.saturating_sub(limits.reserved()),
            _ => *count,
        };
        let shared: usize = counts.iter().enumerate().map(beyond).sum();
        if limits.shared() <= shared {
            let limit = limits.per_server_max;
            return Err(SeriesRefused::TooMany { server, limit });
        }
        Ok(())
    }

    pub(super) fn add(&mut self, meta: &SeriesMeta) {
        self.servers.entry(meta.server).or_default()[Family::of(&meta.name) as usize] += 1;
        self.total += 1;
    }

    pub(super) fn remove(&mut self, meta: &SeriesMeta) {
        if let Some(counts) = self.servers.get_mut(&meta.server) {
            let count = &mut counts[Family::of(&meta.name) as usize];
            *count = count.saturating_sub(1);
            self.total = self.total.saturating_sub(1);
            if counts.iter().all(|count| *count == 0) {
                self.servers.remove(&meta.server);
            }
        }
    }

    pub(super) const fn total(&self) -> usize {
        self.total
    }

    /// Counts a refusal.
    pub(super) fn note(&mut self, server: ServerId, metric: &str, refused: &SeriesRefused) {
        let mut key = (server, Family::of(metric), refused.reason());
        if CUT_MAX <= self.cut.len() && !self.cut.contains_key(&key) {
            key.0 = ServerId(0);
        }
        *self.cut.entry(key).or_default() += 1;
    }

    pub(super) fn cut(&self) -> Vec<Cut> {
        let cut = |((server, family, reason), times): (&(ServerId, Family, &'static str), &u64)| Cut {
            server: *server,
            family: *family,
            reason,
            times: *times,
        };
        self.cut.iter().map(cut).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fall_into_families() {
        for (metric, family) in [
            ("node_load1", Family::Node),
            ("node_md_disks", Family::Storage),
            ("smartctl_device_temperature", Family::Storage),
            ("zfs_pool_health", Family::Storage),
            ("up", Family::Health),
            ("muster_agent_info", Family::Health),
            ("pg_stat_user_tables_n_live_tup", Family::Database),
            ("container_memory_usage_bytes", Family::Container),
            ("upper", Family::Other),
        ] {
            assert_eq!(Family::of(metric), family, "{metric}");
        }
    }

    #[test]
    fn reserved_series_and_what_is_left_make_the_whole() {
        for per_server_max in [0, 1, 3, 4, 100, 10_000] {
            let limits = SeriesLimits::of_server(per_server_max);
            assert_eq!(limits.shared() + 3 * limits.reserved(), per_server_max);
        }
    }
}
