//! What an engine's inspect JSON says of a container or an image, whichever engine and version wrote it.
//!
//! Fields are taken one by one: one that is missing is not known, one of another type is a problem, and one that
//! nobody knows here is passed over. Values of environment variables are not taken at all.

use std::collections::BTreeMap;

use serde_json::Value;

/// A container as its engine describes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Container {
    /// Its id, 64 hexadecimal digits.
    pub(crate) id: String,
    /// Its name, without a slash.
    pub(crate) name: String,
    /// The image reference as configured.
    pub(crate) image: Option<String>,
    /// Id of the image that it runs, with `sha256:` in front.
    pub(crate) image_id: Option<String>,
    pub(crate) status: Status,
    pub(crate) pid: Option<u32>,
    pub(crate) exit_code: Option<i64>,
    pub(crate) is_oom_killed: Option<bool>,
    /// Why the engine could not start it.
    pub(crate) error: Option<String>,
    pub(crate) restart_count: Option<u64>,
    pub(crate) restart_policy: Option<String>,
    /// healthy, unhealthy, starting or none.
    pub(crate) health: Option<String>,
    pub(crate) created_at: Option<String>,
    pub(crate) started_at: Option<String>,
    pub(crate) finished_at: Option<String>,
    pub(crate) ports: Vec<String>,
    pub(crate) mounts: Vec<MountPoint>,
    pub(crate) networks: Vec<String>,
    pub(crate) network_mode: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) environment_keys: Vec<String>,
    /// Containers that it cannot be without, as written: names or ids.
    pub(crate) needs: Vec<String>,
    pub(crate) auto_remove: Option<bool>,
    pub(crate) memory_limit_bytes: Option<u64>,
    pub(crate) pod: Option<String>,
    pub(crate) create_command: Vec<String>,
}

/// What the container does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Status {
    Running,
    Exited,
    Paused,
    Restarting,
    Created,
    Dead,
    Removing,
    Stopped,
    #[default]
    Unknown,
}

impl Status {
    /// The word of the attribute.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Created => "created",
            Self::Dead => "dead",
            Self::Removing => "removing",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }

    /// Of the words of both engines.
    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "running" | "stopping" => Self::Running,
            "exited" => Self::Exited,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            // Podman: made, and perhaps mounted, but never started.
            "created" | "configured" | "initialized" => Self::Created,
            "dead" => Self::Dead,
            "removing" => Self::Removing,
            "stopped" => Self::Stopped,
            "unknown" => Self::Unknown,
            _ => return None,
        })
    }
}

/// Something of outside that is mounted in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MountPoint {
    /// volume, bind, tmpfs, …
    pub(crate) kind: String,
    /// The volume's name.
    pub(crate) name: Option<String>,
    /// The path outside.
    pub(crate) source: Option<String>,
    /// The path inside.
    pub(crate) destination: String,
    pub(crate) is_writable: bool,
    pub(crate) driver: Option<String>,
}

/// An image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    /// With `sha256:` in front.
    pub(crate) id: String,
    pub(crate) repo_tags: Vec<String>,
    pub(crate) repo_digests: Vec<String>,
    pub(crate) size_bytes: Option<u64>,
    pub(crate) created_at: Option<String>,
    /// os/architecture, perhaps with /variant.
    pub(crate) platform: Option<String>,
}

/// Takes a container's inspect JSON apart; `None` if it does not even say which container it is.
pub(crate) fn container(value: &Value, problems: &mut Vec<String>) -> Option<Container> {
    let Some((id, name)) = identity(value) else {
        problems.push("a container without id or name: left out".to_owned());
        return None;
    };
    let mut fields = Fields {
        value,
        what: name.clone(),
        problems,
    };
    let status = fields.text("/State/Status");
    let status = status.map(|word| {
        Status::from_word(&word).unwrap_or_else(|| {
            fields.problem(&format!("unknown state {word:.60?}"));
            Status::Unknown
        })
    });
    let health = fields
        .text("/State/Health/Status")
        .or_else(|| fields.text("/State/Healthcheck/Status"));
    let image_id = fields.text("/Image").map(|id| with_algorithm(&id));
    let image = fields.text("/ImageName").or_else(|| fields.text("/Config/Image"));
    Some(Container {
        id,
        name,
        image,
        image_id,
        status: status.unwrap_or_default(),
        pid: fields
            .number("/State/Pid")
            .and_then(|pid| u32::try_from(pid).ok())
            .filter(|pid| 0 < *pid),
        exit_code: fields.number("/State/ExitCode"),
        is_oom_killed: fields.truth("/State/OOMKilled"),
        error: fields.text("/State/Error"),
        restart_count: fields
            .number("/RestartCount")
            .and_then(|count| u64::try_from(count).ok()),
        restart_policy: fields.text("/HostConfig/RestartPolicy/Name").or_else(|| {
            // An empty word is how both say that there is none.
            value
                .pointer("/HostConfig/RestartPolicy")
                .map(|_| "no".to_owned())
        }),
        health: Some(health.unwrap_or_else(|| "none".to_owned()))
            .filter(|_| value.pointer("/State").is_some()),
        created_at: fields.time("/Created"),
        started_at: fields.time("/State/StartedAt"),
        finished_at: fields.time("/State/FinishedAt"),
        ports: ports(value),
        mounts: mounts(&mut fields),
        networks: fields.keys("/NetworkSettings/Networks"),
        network_mode: fields.text("/HostConfig/NetworkMode"),
        labels: fields.texts("/Config/Labels"),
        environment_keys: environment_keys(&mut fields),
        needs: needs(&mut fields),
        auto_remove: fields.truth("/HostConfig/AutoRemove"),
        memory_limit_bytes: fields
            .number("/HostConfig/Memory")
            .and_then(|bytes| u64::try_from(bytes).ok())
            .filter(|bytes| 0 < *bytes),
        pod: fields.text("/Pod"),
        create_command: fields.list("/Config/CreateCommand"),
    })
}

/// Takes an image's inspect JSON apart, or its row in the list of images.
pub(crate) fn image(value: &Value, problems: &mut Vec<String>) -> Option<Image> {
    let id = value
        .get("Id")
        .and_then(Value::as_str)
        .filter(|id| !id.is_empty());
    let Some(id) = id else {
        problems.push("an image without id: left out".to_owned());
        return None;
    };
    let mut fields = Fields {
        value,
        what: format!("{id:.30}"),
        problems,
    };
    // The list has seconds where inspect has a text.
    let created_at = match value.get("Created") {
        Some(Value::Number(seconds)) => seconds
            .as_i64()
            .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
            .map(|time| time.to_string()),
        _ => fields.time("/Created"),
    };
    let is_named = |text: &String| !text.contains("<none>");
    let platform =
        fields
            .text("/Os")
            .zip(fields.text("/Architecture"))
            .map(|(os, architecture)| match fields.text("/Variant") {
                Some(variant) => format!("{os}/{architecture}/{variant}"),
                None => format!("{os}/{architecture}"),
            });
    Some(Image {
        id: with_algorithm(id),
        repo_tags: fields.list("/RepoTags").into_iter().filter(is_named).collect(),
        repo_digests: fields.list("/RepoDigests").into_iter().filter(is_named).collect(),
        size_bytes: fields.number("/Size").and_then(|bytes| u64::try_from(bytes).ok()),
        created_at,
        platform,
    })
}

/// Podman leaves the algorithm out, Docker writes it.
pub(crate) fn with_algorithm(id: &str) -> String {
    match id.contains(':') {
        true => id.to_owned(),
        false => format!("sha256:{id}"),
    }
}

fn identity(value: &Value) -> Option<(String, String)> {
    let id = value.get("Id")?.as_str().filter(|id| !id.is_empty())?;
    let name = value.get("Name")?.as_str()?.trim_start_matches('/');
    (!name.is_empty()).then(|| (id.to_owned(), name.to_owned()))
}

/// Published ports: as they are while it runs, else as they are wanted.
fn ports(value: &Value) -> Vec<String> {
    let of = |pointer: &str| {
        let listed = value.pointer(pointer).and_then(Value::as_object);
        let mut ports = Vec::new();
        for (inside, bindings) in listed.into_iter().flatten() {
            for binding in bindings.as_array().into_iter().flatten() {
                let address = binding.get("HostIp").and_then(Value::as_str).unwrap_or_default();
                let port = binding
                    .get("HostPort")
                    .and_then(Value::as_str)
                    .unwrap_or_default();
                let address = match address {
                    "" => "0.0.0.0".to_owned(),
                    v6 if v6.contains(':') => format!("[{v6}]"),
                    v4 => v4.to_owned(),
                };
                ports.push(format!("{address}:{port}->{inside}"));
            }
        }
        ports.sort();
        ports
    };
    let actual = of("/NetworkSettings/Ports");
    match actual.is_empty() {
        true => of("/HostConfig/PortBindings"),
        false => actual,
    }
}

fn mounts(fields: &mut Fields<'_>) -> Vec<MountPoint> {
    let Some(listed) = fields.value.get("Mounts").and_then(Value::as_array) else {
        return Vec::new();
    };
    let text = |mount: &Value, name: &str| {
        let text = mount.get(name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let mut mounts = Vec::new();
    for mount in listed {
        let Some(destination) = text(mount, "Destination") else {
            fields.problem("a mount without destination: left out");
            continue;
        };
        mounts.push(MountPoint {
            kind: text(mount, "Type").unwrap_or_else(|| "bind".to_owned()),
            name: text(mount, "Name"),
            source: text(mount, "Source"),
            destination,
            is_writable: mount.get("RW").and_then(Value::as_bool).unwrap_or(true),
            driver: text(mount, "Driver"),
        });
    }
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    mounts
}

fn environment_keys(fields: &mut Fields<'_>) -> Vec<String> {
    let variables = fields.list("/Config/Env");
    let keys = variables
        .iter()
        .map(|variable| variable.split('=').next().unwrap_or_default().to_owned());
    let mut keys: Vec<String> = keys.filter(|key| !key.is_empty()).collect();
    keys.sort();
    keys.dedup();
    keys
}

/// Whose network, volumes, processes or names it uses.
fn needs(fields: &mut Fields<'_>) -> Vec<String> {
    let mut needs = Vec::new();
    for pointer in [
        "/HostConfig/NetworkMode",
        "/HostConfig/PidMode",
        "/HostConfig/IpcMode",
    ] {
        let mode = fields.text(pointer);
        needs.extend(mode.and_then(|mode| Some(mode.strip_prefix("container:")?.to_owned())));
    }
    for volumes in fields.list("/HostConfig/VolumesFrom") {
        needs.push(volumes.split(':').next().unwrap_or_default().to_owned());
    }
    for link in fields.list("/HostConfig/Links") {
        let name = link.split(':').next().unwrap_or_default();
        needs.push(name.trim_start_matches('/').to_owned());
    }
    needs.extend(fields.list("/Dependencies"));
    needs.retain(|name| !name.is_empty());
    needs
}

/// Reads fields of the type that they should have.
struct Fields<'a> {
    value: &'a Value,
    what: String,
    problems: &'a mut Vec<String>,
}

impl Fields<'_> {
    fn problem(&mut self, message: &str) {
        self.problems.push(format!("{:.100}: {message}", self.what));
    }

    fn take<T>(&mut self, pointer: &str, word: &str, take: impl Fn(&Value) -> Option<T>) -> Option<T> {
        let found = self.value.pointer(pointer).filter(|found| !found.is_null())?;
        let taken = take(found);
        if taken.is_none() {
            self.problem(&format!("{pointer} is no {word}"));
        }
        taken
    }

    /// A text that is not empty.
    fn text(&mut self, pointer: &str) -> Option<String> {
        let text = self.take(pointer, "text", |value| value.as_str().map(str::to_owned));
        text.filter(|text| !text.is_empty())
    }

    fn number(&mut self, pointer: &str) -> Option<i64> {
        self.take(pointer, "whole number", Value::as_i64)
    }

    fn truth(&mut self, pointer: &str) -> Option<bool> {
        self.take(pointer, "yes or no", Value::as_bool)
    }

    /// A time as RFC 3339; what never happened is year 1.
    fn time(&mut self, pointer: &str) -> Option<String> {
        let text = self.text(pointer).filter(|text| !text.starts_with("0001-"))?;
        if text.parse::<jiff::Timestamp>().is_err() {
            self.problem(&format!("{pointer} is no time"));
            return None;
        }
        Some(text)
    }

    fn list(&mut self, pointer: &str) -> Vec<String> {
        let texts = |value: &Value| {
            let texts = value.as_array()?.iter();
            texts
                .map(|text| text.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        };
        self.take(pointer, "list of texts", texts).unwrap_or_default()
    }

    fn texts(&mut self, pointer: &str) -> BTreeMap<String, String> {
        let texts = |value: &Value| {
            let pairs = value.as_object()?.iter();
            pairs
                .map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect::<Option<BTreeMap<_, _>>>()
        };
        self.take(pointer, "table of texts", texts).unwrap_or_default()
    }

    fn keys(&mut self, pointer: &str) -> Vec<String> {
        let keys = |value: &Value| Some(value.as_object()?.keys().cloned().collect::<Vec<_>>());
        let mut keys = self.take(pointer, "table", keys).unwrap_or_default();
        keys.sort();
        keys
    }
}
