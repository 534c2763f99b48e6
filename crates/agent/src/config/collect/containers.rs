//! `[containers]`: which container engines are read.

use std::collections::BTreeSet;

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::config::Problems;
use crate::runtime::EngineKind;

/// Which container engines are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// Whether engines are looked for where they usually listen.
    pub discovers: bool,
    /// Further engines.
    pub runtimes: Vec<Runtime>,
}

/// An engine that listens elsewhere, or is called otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// Its key is `runtime:` and this.
    pub name: String,
    /// Which engine it is.
    pub kind: EngineKind,
    /// The Unix socket.
    pub socket: Utf8PathBuf,
}

/// Longest name of an engine, in bytes.
const NAME_BYTES_MAX: usize = 64;
/// Most engines that the settings may name.
const RUNTIMES_MAX: usize = 16;

impl Default for Containers {
    fn default() -> Self {
        Self {
            discovers: true,
            runtimes: Vec::new(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::config) struct RawContainers {
    discover: Option<bool>,
    runtime: Vec<RawRuntime>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRuntime {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    socket: Utf8PathBuf,
}

pub(super) fn validate(raw: RawContainers, problems: &mut Problems) -> Containers {
    if RUNTIMES_MAX < raw.runtime.len() {
        problems.note(
            "containers.runtime",
            &format!("there may be at most {RUNTIMES_MAX}"),
        );
    }
    let mut names = BTreeSet::new();
    let mut runtimes = Vec::new();
    for runtime in raw.runtime {
        let key = format!("containers.runtime.{}", runtime.name);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
        if runtime.name.is_empty()
            || NAME_BYTES_MAX < runtime.name.len()
            || !runtime.name.chars().all(is_plain)
        {
            problems.note(
                &key,
                &format!("the name must be 1 to {NAME_BYTES_MAX} letters, digits or _.:-"),
            );
        }
        if !names.insert(runtime.name.clone()) {
            problems.note(&key, &"the name is taken");
        }
        if !runtime.socket.is_absolute() {
            problems.note(
                &key,
                &format!("socket {} is not an absolute path", runtime.socket),
            );
        }
        let kind = match runtime.kind.as_str() {
            "docker" => EngineKind::Docker,
            "podman" => EngineKind::Podman,
            other => {
                problems.note(&key, &format!("type {other:?} is neither docker nor podman"));
                continue;
            }
        };
        runtimes.push(Runtime {
            name: runtime.name,
            kind,
            socket: runtime.socket,
        });
    }
    Containers {
        discovers: raw.discover.unwrap_or(true),
        runtimes,
    }
}

pub(super) fn default_text() -> String {
    "[containers]\n# Whether container engines are looked for where they usually listen: Docker and Podman, of the whole \
     server and of\n# single users.\n# discover = true\n\
     # Engines that listen elsewhere. The name is part of lasting keys: another name is another engine.\n\
     # runtime = [{ name = \"lab\", type = \"docker\", socket = \"/srv/lab/docker.sock\" }]\n"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use crate::config::Config;

    fn parse(text: &str) -> Result<super::Containers, String> {
        let config = Config::parse(Utf8Path::new("agent.toml"), text);
        config
            .map(|config| config.collect.containers)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn engines_are_looked_for_unless_told_otherwise() {
        assert_eq!(parse("").unwrap(), super::Containers::default());
        let text = "[containers]\ndiscover = false\n[[containers.runtime]]\nname = \"lab\"\ntype = \"podman\"\nsocket = \"/a\"\n";
        let settings = parse(text).unwrap();
        assert!(!settings.discovers);
        assert_eq!(settings.runtimes[0].name, "lab");
    }

    #[test]
    fn every_mistake_is_named() {
        for (text, word) in [
            ("name = \"a b\"\ntype = \"docker\"\nsocket = \"/a\"", "letters"),
            ("name = \"a\"\ntype = \"lxc\"\nsocket = \"/a\"", "lxc"),
            ("name = \"a\"\ntype = \"docker\"\nsocket = \"a\"", "absolute"),
        ] {
            let error = parse(&format!("[[containers.runtime]]\n{text}\n")).unwrap_err();
            assert!(error.contains(word) || error.contains("containers"), "{error}");
        }
    }
}
