//! Names in the environment that people know from the tool that was there before. What has a meaning here is taken; what
//! has none is told once at the start, because a setting that does nothing in silence is worse than none.

/// What the environment says under such names; the settings file goes before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Legacy {
    /// `RETENTION_DAYS`: how many days alerts that are over are kept.
    pub retention_days: Option<String>,
    /// `ENABLE_SCHEDULERS`: whether work is done by itself that nothing depends on.
    pub enable_schedulers: Option<String>,
    /// `CONTAINER_UPDATE_CHECK_INTERVAL`: how many seconds from one check of images to the next.
    pub container_update_check_interval: Option<String>,
    /// `CONTAINER_DISCOVERY_INTERVAL`: how many seconds lie between two looks at what containers could be updated to.
    pub container_discovery_interval: Option<String>,
    /// Names that are set and mean nothing here, with what to do instead.
    pub without_effect: Vec<(&'static str, &'static str)>,
}

/// Names that mean nothing here, with what to do instead.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    (
        "INFRASTRUCTURE_COLLECTION_MINUTES",
        "how often is collected is set in each agent's settings",
    ),
    ("DISABLE_AUTH", "nothing is served without authentication"),
    (
        "ENABLE_CONTAINERS",
        "containers are looked at where there are some; nothing is updated before a policy or an operator says so",
    ),
    (
        "CONTAINER_SCAN_INTERVAL_HOURS",
        "this version does not scan images",
    ),
    ("ENABLE_TRIVY", "this version does not scan images"),
];

impl Legacy {
    /// Reads them with `lookup`. What is empty is not set.
    #[must_use]
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.trim().is_empty());
        Self {
            retention_days: set("RETENTION_DAYS"),
            enable_schedulers: set("ENABLE_SCHEDULERS"),
            container_update_check_interval: set("CONTAINER_UPDATE_CHECK_INTERVAL"),
            container_discovery_interval: set("CONTAINER_DISCOVERY_INTERVAL"),
            without_effect: WITHOUT_EFFECT
                .iter()
                .filter(|(name, _)| set(name).is_some())
                .copied()
                .collect(),
        }
    }
}
