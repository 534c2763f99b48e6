//! What of a container decides whether it may be changed: its image's repository, the rights it has, and who has made it.

use camino::Utf8Path;
use muster_recreate::Owner;
use serde_json::Value;

/// Sockets of engines: whoever has one has the machine.
const SOCKETS: [&str; 5] = [
    "docker.sock",
    "podman.sock",
    "containerd.sock",
    "crio.sock",
    "buildkitd.sock",
];
/// Folders in which they are, or from which they can be reached.
const ABOVE_SOCKETS: [&str; 9] = [
    "/",
    "/run",
    "/var",
    "/var/run",
    "/run/docker",
    "/run/podman",
    "/var/run/podman",
    "/run/containerd",
    "/run/user",
];

/// A container, as its engine shows it.
#[derive(Debug, Clone)]
pub struct Container(pub Value);

impl Container {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0["Id"].as_str().unwrap_or_default()
    }

    /// Repository of the image it is configured with.
    #[must_use]
    pub fn repository(&self) -> Option<String> {
        // Podman's own answer names it on top.
        let named = self.0["Config"]["Image"].as_str().filter(|name| !name.is_empty());
        let name = named.or_else(|| self.0["ImageName"].as_str())?;
        let is_id = name.starts_with("sha256:") || (name.len() == 64 && is_hex(name));
        if is_id { None } else { repository(name) }
    }

    /// The systemd unit that its label says has made it, which is restarted to make it again.
    #[must_use]
    pub fn unit(&self) -> Option<String> {
        match muster_recreate::owner(&self.0) {
            Owner::Systemd { unit } => Some(unit),
            _ => None,
        }
    }

    /// What gives it rights over the machine, for people.
    #[must_use]
    pub fn privileged(&self) -> Option<String> {
        let config = &self.0["HostConfig"];
        if config["Privileged"].as_bool() == Some(true) {
            return Some("is privileged".to_owned());
        }
        let capability = texts(&config["CapAdd"])
            .map(|name| name.trim_start_matches("CAP_").to_ascii_uppercase())
            .find(|name| matches!(name.as_str(), "ALL" | "SYS_ADMIN" | "SYS_MODULE" | "SYS_PTRACE"));
        if let Some(capability) = capability {
            return Some(format!("has the capability {capability}"));
        }
        for mode in ["PidMode", "UsernsMode"] {
            if config[mode].as_str() == Some("host") {
                return Some(format!("shares the machine's {mode}"));
            }
        }
        let binds = texts(&config["Binds"]).filter_map(|bind| bind.split(':').next());
        let mounts = self.0["Mounts"].as_array().into_iter().flatten();
        let mounts = mounts.filter_map(|mount| mount["Source"].as_str());
        let asked = config["Mounts"].as_array().into_iter().flatten();
        let asked = asked.filter_map(|mount| mount["Source"].as_str());
        let reaches = binds
            .chain(mounts)
            .chain(asked)
            .find(|source| reaches_a_socket(source));
        reaches.map(|source| format!("mounts {source}, from where it reaches an engine's socket"))
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn reaches_a_socket(source: &str) -> bool {
    let path = Utf8Path::new(source);
    if !path.is_absolute() {
        return false;
    }
    // As a kernel reads it: no empty or single-dot steps; a step up may lead anywhere.
    let steps: Vec<&str> = path.components().map(|step| step.as_str()).collect();
    if steps.contains(&"..") {
        return true;
    }
    let plain = format!("/{}", steps[1..].join("/"));
    let is_socket = SOCKETS.contains(&steps.last().copied().unwrap_or_default());
    is_socket || ABOVE_SOCKETS.contains(&plain.as_str()) || plain.starts_with("/run/user/")
}

/// Repository of an image reference, written out: `nginx:1.27` is of `docker.io/library/nginx`.
#[must_use]
pub fn repository(reference: &str) -> Option<String> {
    let name = reference.split('@').next()?;
    // A colon behind the last slash begins a tag; one before it, a port.
    let name = match (name.rfind(':'), name.rfind('/')) {
        (Some(colon), slash) if slash.is_none_or(|slash| slash < colon) => &name[..colon],
        _ => name,
    };
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    if name.is_empty() || name.contains(is_odd) || name.split('/').any(str::is_empty) {
        return None;
    }
    let Some((first, rest)) = name.split_once('/') else {
        return Some(format!("docker.io/library/{name}"));
    };
    let is_host = first.contains(['.', ':']) || first == "localhost";
    Some(match first {
        "docker.io" | "index.docker.io" if !rest.contains('/') => format!("docker.io/library/{rest}"),
        "docker.io" | "index.docker.io" => format!("docker.io/{rest}"),
        _ if is_host => name.to_owned(),
        _ => format!("docker.io/{name}"),
    })
}
