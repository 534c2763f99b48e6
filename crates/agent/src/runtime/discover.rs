//! Which engines this server has: those of the settings, and those that listen where engines usually do.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use muster_model::ResourceKey;

use super::{Endpoint, EngineKind};
use crate::config::collect::Containers;
use crate::host::{Files, Host};

/// Sockets of engines that belong to the whole server.
const SOCKETS: [(EngineKind, &str, &str); 4] = [
    (EngineKind::Docker, "docker", "/run/docker.sock"),
    (EngineKind::Docker, "docker", "/var/run/docker.sock"),
    (EngineKind::Podman, "podman", "/run/podman/podman.sock"),
    (EngineKind::Podman, "podman", "/var/run/podman/podman.sock"),
];
/// Sockets of engines that belong to a user, below `/run/user/UID`.
const USER_SOCKETS: [(EngineKind, &str, &str); 2] = [
    (EngineKind::Docker, "docker", "docker.sock"),
    (EngineKind::Podman, "podman", "podman/podman.sock"),
];
/// Most engines of a server.
pub(crate) const ENGINES_MAX: usize = 16;

/// The engines that there seem to be; none for a folder that is read instead of this machine.
pub async fn discover(host: &Host, settings: &Containers) -> Vec<Endpoint> {
    if !host.is_system() {
        return Vec::new();
    }
    let settings = settings.clone();
    let found = host
        .blocking("container engines", move |files| find(files, &settings))
        .await;
    found.unwrap_or_default()
}

fn find(files: &Files, settings: &Containers) -> Vec<Endpoint> {
    let mut found = Found {
        files,
        endpoints: Vec::new(),
        sockets: BTreeSet::new(),
    };
    // Those of the settings are there whether they answer or not.
    for runtime in &settings.runtimes {
        found.add(runtime.kind, &runtime.name, runtime.socket.as_str());
    }
    if settings.discovers {
        for (kind, name, socket) in SOCKETS {
            found.add_if_there(kind, name, socket);
        }
        for uid in files.names("/run/user") {
            for (kind, name, socket) in USER_SOCKETS {
                let socket = format!("/run/user/{uid}/{socket}");
                if files.modified_s(&socket).is_some() {
                    let user = user_name(files, &uid);
                    found.add(kind, &format!("{name}:{user}"), &socket);
                }
            }
        }
    }
    found.endpoints
}

struct Found<'a> {
    files: &'a Files,
    endpoints: Vec<Endpoint>,
    sockets: BTreeSet<String>,
}

impl Found<'_> {
    fn add_if_there(&mut self, kind: EngineKind, name: &str, socket: &str) {
        if self.files.modified_s(socket).is_some() {
            self.add(kind, name, socket);
        }
    }

    /// Adds one, unless it is there under another path or its name is taken.
    fn add(&mut self, kind: EngineKind, name: &str, socket: &str) {
        let socket = match socket.strip_prefix("/var/run/") {
            Some(rest) if self.files.resolve("/var/run") == "/run" => format!("/run/{rest}"),
            _ => socket.to_owned(),
        };
        let key = ResourceKey::new(format!("runtime:{name}"));
        let is_known = self.endpoints.iter().any(|known| known.key == key);
        if is_known
            || ENGINES_MAX <= self.endpoints.len()
            || !self.sockets.insert(self.files.resolve(&socket))
        {
            return;
        }
        self.endpoints.push(Endpoint {
            key,
            kind,
            socket: Utf8PathBuf::from(socket),
        });
    }
}

/// The name of a user in `/etc/passwd`, else the number.
fn user_name(files: &Files, uid: &str) -> String {
    let text = files.text("/etc/passwd").ok().flatten().unwrap_or_default();
    let of_line = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == uid).then(|| name.to_owned())
    };
    text.lines().find_map(of_line).unwrap_or_else(|| uid.to_owned())
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::config::collect::Runtime;

    #[test]
    fn every_engine_is_found_once_and_the_settings_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(folder.path()).unwrap();
        for (path, text) in [
            ("run/docker.sock", ""),
            ("run/podman/podman.sock", ""),
            ("run/user/1000/podman/podman.sock", ""),
            ("run/user/1001/docker.sock", ""),
            (
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nanna:x:1000:1000::/home/anna:/bin/sh\n",
            ),
        ] {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        std::fs::create_dir_all(root.join("var")).unwrap();
        std::os::unix::fs::symlink("/run", root.join("var/run")).unwrap();
        let files = Files::under(root).unwrap();
        let settings = Containers {
            discovers: true,
            runtimes: vec![Runtime {
                name: "lab".to_owned(),
                kind: EngineKind::Docker,
                socket: "/srv/lab.sock".into(),
            }],
        };
        let keys = |settings: &Containers| -> Vec<String> {
            find(&files, settings)
                .iter()
                .map(|found| found.key.to_string())
                .collect()
        };
        assert_eq!(
            keys(&settings),
            [
                "runtime:lab",
                "runtime:docker",
                "runtime:podman",
                "runtime:podman:anna",
                "runtime:docker:1001"
            ]
        );
        let only_settings = Containers {
            discovers: false,
            ..settings
        };
        assert_eq!(keys(&only_settings), ["runtime:lab"]);
    }

    #[tokio::test]
    async fn below_a_root_no_engine_is_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::under(Utf8Path::from_path(folder.path()).unwrap()).unwrap();
        let settings = Containers {
            discovers: true,
            runtimes: vec![Runtime {
                name: "lab".to_owned(),
                kind: EngineKind::Docker,
                socket: "/srv/lab.sock".into(),
            }],
        };
        assert!(discover(&host, &settings).await.is_empty());
    }
}
