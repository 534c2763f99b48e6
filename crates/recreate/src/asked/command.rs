//! The command line that made a container of Podman: `podman [flag…] run|create [flag…] image [argument…]`.
//!
//! It is read as pflag reads it. Whether a word behind a flag is its value can only be known of flags that are known, so
//! one that is not ends the reading: a name of an image taken for a flag's value would make arguments of the container's
//! own program look like Podman's.

use core::net::IpAddr;
use std::collections::BTreeMap;

use thiserror::Error;

/// Stands for the network that Podman uses when none is named.
pub(super) const DEFAULT: &str = "";

/// Flags of `run` and `create` with a value, of Podman 3 to 5.
const VALUED: &[&str] = &[
    "add-host",
    "annotation",
    "arch",
    "attach",
    "authfile",
    "blkio-weight",
    "blkio-weight-device",
    "cap-add",
    "cap-drop",
    "cert-dir",
    "cgroup-conf",
    "cgroup-parent",
    "cgroupns",
    "cgroups",
    "chrootdirs",
    "cidfile",
    "conmon-pidfile",
    "cpu-period",
    "cpu-quota",
    "cpu-rt-period",
    "cpu-rt-runtime",
    "cpu-shares",
    "cpus",
    "cpuset-cpus",
    "cpuset-mems",
    "creds",
    "decryption-key",
    "detach-keys",
    "device",
    "device-cgroup-rule",
    "device-read-bps",
    "device-read-iops",
    "device-write-bps",
    "device-write-iops",
    "dns",
    "dns-opt",
    "dns-option",
    "dns-search",
    "entrypoint",
    "env",
    "env-file",
    "env-merge",
    "expose",
    "gidmap",
    "gpus",
    "group-add",
    "group-entry",
    "health-cmd",
    "health-interval",
    "health-log-destination",
    "health-max-log-count",
    "health-max-log-size",
    "health-on-failure",
    "health-retries",
    "health-start-period",
    "health-startup-cmd",
    "health-startup-interval",
    "health-startup-retries",
    "health-startup-success",
    "health-startup-timeout",
    "health-timeout",
    "healthcheck-command",
    "healthcheck-interval",
    "healthcheck-retries",
    "healthcheck-start-period",
    "healthcheck-timeout",
    "hostname",
    "hosts-file",
    "hostuser",
    "image-volume",
    "init-ctr",
    "init-path",
    "intel-rdt-clos-id",
    "ip",
    "ip6",
    "ipc",
    "kernel-memory",
    "label",
    "label-file",
    "log-driver",
    "log-opt",
    "mac-address",
    "memory",
    "memory-reservation",
    "memory-swap",
    "memory-swappiness",
    "mount",
    "name",
    "net",
    "network",
    "network-alias",
    "oom-score-adj",
    "os",
    "override-arch",
    "override-os",
    "override-variant",
    "passwd-entry",
    "personality",
    "pid",
    "pidfile",
    "pids-limit",
    "platform",
    "pod",
    "pod-id-file",
    "preserve-fd",
    "preserve-fds",
    "publish",
    "pull",
    "rdt-class",
    "requires",
    "restart",
    "retry",
    "retry-delay",
    "sdnotify",
    "seccomp-policy",
    "secret",
    "security-opt",
    "shm-size",
    "shm-size-systemd",
    "signature-policy",
    "stop-signal",
    "stop-timeout",
    "storage-opt",
    "subgidname",
    "subuidname",
    "sysctl",
    "systemd",
    "timeout",
    "tmpfs",
    "tz",
    "uidmap",
    "ulimit",
    "umask",
    "unsetenv",
    "user",
    "userns",
    "uts",
    "variant",
    "volume",
    "volumes-from",
    "workdir",
];
/// Flags of theirs without one.
const SWITCHES: &[&str] = &[
    "detach",
    "disable-content-trust",
    "env-host",
    "http-proxy",
    "init",
    "interactive",
    "no-healthcheck",
    "no-hostname",
    "no-hosts",
    "oom-kill-disable",
    "passwd",
    "privileged",
    "publish-all",
    "quiet",
    "read-only",
    "read-only-tmpfs",
    "replace",
    "rm",
    "rmi",
    "rootfs",
    "sig-proxy",
    "tls-verify",
    "tty",
    "unsetenv-all",
];
/// Their short forms.
const VALUED_SHORT: &str = "acehlmpuvw";
const SWITCHES_SHORT: &str = "diPqt";
/// Flags of `podman` itself, which may also stand behind the verb.
const GLOBAL_VALUED: &[&str] = &[
    "cdi-spec-dir",
    "cgroup-manager",
    "cni-config-dir",
    "config",
    "conmon",
    "connection",
    "context",
    "cpu-profile",
    "db-backend",
    "default-mounts-file",
    "events-backend",
    "hooks-dir",
    "host",
    "identity",
    "imagestore",
    "log-level",
    "max-workers",
    "memory-profile",
    "module",
    "namespace",
    "network-cmd-path",
    "network-config-dir",
    "out",
    "pull-option",
    "registries-conf",
    "root",
    "runroot",
    "runtime",
    "runtime-flag",
    "ssh",
    "storage-driver",
    "storage-opt",
    "tmpdir",
    "tls-ca",
    "tls-cert",
    "tls-key",
    "url",
    "volumepath",
];
const GLOBAL_SWITCHES: &[&str] = &["noout", "remote", "syslog", "trace", "transient-store"];
const GLOBAL_VALUED_SHORT: &str = "cH";
const GLOBAL_SWITCHES_SHORT: &str = "r";
/// Modes that are no network.
const OTHER_MODES: [&str; 8] = [
    "container",
    "host",
    "none",
    "ns",
    "pasta",
    "pod",
    "slirp4netns",
    "path",
];

/// Why a command line says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnreadError {
    /// It is of another verb.
    #[error("the command line that made this container is none of podman run or create")]
    Verb,
    /// A word that is not known.
    #[error("the command line that made this container has {0}, which is not known here")]
    Word(String),
    /// It ends too early.
    #[error("the command line that made this container ends before the image")]
    Short,
    /// What was read as the program's arguments is not what the container runs.
    #[error("the command line that made this container does not fit what it runs")]
    Arguments,
}

/// What a command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct CommandLine {
    /// Options by network.
    pub(super) networks: BTreeMap<String, Options>,
    /// When the image is pulled.
    pub(super) pull: Option<String>,
    /// What stands behind the image.
    pub(super) arguments: Vec<String>,
}

/// What is asked for at one network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) ips: Vec<IpAddr>,
    pub(super) mac: Option<String>,
    pub(super) aliases: Vec<String>,
    pub(super) interface: Option<String>,
}

/// Values of the flags that matter, in their order.
#[derive(Default)]
struct Flags<'a> {
    networks: Vec<&'a str>,
    aliases: Vec<String>,
    ip: &'a str,
    ip6: &'a str,
    mac: &'a str,
    pull: Option<&'a str>,
}

type Words<'a> = std::iter::Peekable<std::iter::Copied<std::slice::Iter<'a, &'a str>>>;

/// Reads one.
pub(super) fn read(line: &[&str]) -> Result<CommandLine, UnreadError> {
    let mut words: Words<'_> = line.iter().copied().peekable();
    // What podman was called as.
    words.next().ok_or(UnreadError::Short)?;
    if verb(&mut words)? == "service" {
        return Err(UnreadError::Verb);
    }
    let mut flags = Flags::default();
    let known = Known {
        valued: &[VALUED, GLOBAL_VALUED],
        switches: &[SWITCHES, GLOBAL_SWITCHES],
        valued_short: VALUED_SHORT,
        switches_short: SWITCHES_SHORT,
    };
    while let Some((name, value)) = known.next(&mut words)? {
        flags.take(name, value)?;
    }
    words.next().ok_or(UnreadError::Short)?;
    Ok(CommandLine {
        networks: flags.networks()?,
        pull: flags.pull.map(str::to_owned),
        arguments: words.map(str::to_owned).collect(),
    })
}

/// Whether it is that of Podman's service, which stands for all containers that clients of its API have made.
pub(super) fn is_service(line: &[&str]) -> bool {
    let mut words: Words<'_> = line.iter().copied().peekable();
    words.next();
    matches!(verb(&mut words), Ok("service"))
}

/// Past the flags of `podman` itself and the verb, which is the answer.
fn verb<'a>(words: &mut Words<'a>) -> Result<&'a str, UnreadError> {
    let known = Known {
        valued: &[GLOBAL_VALUED],
        switches: &[GLOBAL_SWITCHES],
        valued_short: GLOBAL_VALUED_SHORT,
        switches_short: GLOBAL_SWITCHES_SHORT,
    };
    while known.next(words)?.is_some() {}
    let mut verb = words.next();
    let group = verb.filter(|verb| matches!(*verb, "container" | "system"));
    if group.is_some() {
        verb = words.next();
    }
    match (group, verb) {
        (None | Some("container"), Some(verb @ ("run" | "create"))) => Ok(verb),
        (Some("system"), Some(verb @ "service")) => Ok(verb),
        _ => Err(UnreadError::Verb),
    }
}

/// The flags that may stand somewhere.
struct Known {
    valued: &'static [&'static [&'static str]],
    switches: &'static [&'static [&'static str]],
    valued_short: &'static str,
    switches_short: &'static str,
}

impl Known {
    /// The next flag and its value; `None` at the first word that is none. A short one has no name that matters.
    fn next<'a>(&self, words: &mut Words<'a>) -> Result<Option<(&'a str, &'a str)>, UnreadError> {
        let Some(&word) = words.peek() else {
            return Ok(None);
        };
        if word.len() < 2 || !word.starts_with('-') {
            return Ok(None);
        }
        words.next();
        if word == "--" {
            return Ok(None);
        }
        let Some(long) = word.strip_prefix("--") else {
            self.short(word, words)?;
            return Ok(Some(("", "")));
        };
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let is_in = |lists: &[&[&str]]| lists.iter().any(|list| list.contains(&name));
        if is_in(self.switches) {
            return Ok(Some((name, value.unwrap_or("true"))));
        }
        if !is_in(self.valued) {
            return Err(UnreadError::Word(format!("--{}", shortened(name))));
        }
        let value = value.or_else(|| words.next()).ok_or(UnreadError::Short)?;
        Ok(Some((name, value)))
    }

    /// Several short ones may stand together, and the last may have its value in the same word.
    fn short(&self, word: &str, words: &mut Words<'_>) -> Result<(), UnreadError> {
        let mut letters = word.chars();
        letters.next();
        while let Some(letter) = letters.next() {
            if self.switches_short.contains(letter) {
                if letters.as_str().starts_with('=') {
                    return Ok(());
                }
            } else if self.valued_short.contains(letter) {
                if letters.as_str().is_empty() {
                    words.next().ok_or(UnreadError::Short)?;
                }
                return Ok(());
            } else {
                return Err(UnreadError::Word(shortened(word)));
            }
        }
        Ok(())
    }
}

/// A word of a message; what is secret stands in values, which are never told.
fn shortened(word: &str) -> String {
    let plain = word.chars().filter(|c| !c.is_control());
    plain.take(40).collect()
}

impl<'a> Flags<'a> {
    fn take(&mut self, name: &str, value: &'a str) -> Result<(), UnreadError> {
        match name {
            "net" | "network" => self.networks.push(value),
            // A list in the form of CSV: quotes in it are not for names.
            "network-alias" if value.contains('"') => {
                return Err(UnreadError::Word("--network-alias with quotes".to_owned()));
            }
            "network-alias" => self.aliases.extend(value.split(',').map(str::to_owned)),
            // Of several the last counts.
            "ip" => self.ip = value,
            "ip6" => self.ip6 = value,
            "mac-address" => self.mac = value,
            "pull" => self.pull = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn networks(&self) -> Result<BTreeMap<String, Options>, UnreadError> {
        let mut found = BTreeMap::new();
        for (number, value) in self.networks.iter().enumerate() {
            network(value, number == 0, &mut found)?;
        }
        let is_other = self.networks.first().is_some_and(|first| is_other_mode(first));
        if found.is_empty() && !is_other {
            found.insert(DEFAULT.to_owned(), Options::default());
        }
        for ip in [self.ip, self.ip6] {
            if !ip.is_empty() {
                only(&mut found)?.ips.push(address(ip)?);
            }
        }
        if !self.mac.is_empty() {
            only(&mut found)?.mac = Some(self.mac.to_owned());
        }
        if !self.aliases.is_empty() {
            for options in found.values_mut() {
                options.aliases.clone_from(&self.aliases);
            }
        }
        Ok(found)
    }
}

/// The flags that name no network are for the only one.
fn only(found: &mut BTreeMap<String, Options>) -> Result<&mut Options, UnreadError> {
    let is_one = found.len() == 1;
    let first = found.values_mut().next().filter(|_| is_one);
    first.ok_or_else(|| UnreadError::Word("an address for several networks".to_owned()))
}

fn is_other_mode(value: &str) -> bool {
    let mode = value.split(':').next().unwrap_or_default();
    OTHER_MODES.contains(&mode)
}

/// One `--network`: a mode, `bridge[:options]`, `name[:options]`, or, as the first, names with commas between them.
fn network(value: &str, is_first: bool, found: &mut BTreeMap<String, Options>) -> Result<(), UnreadError> {
    if is_first && is_other_mode(value) {
        return Ok(());
    }
    let (name, text) = match value.split_once(':') {
        Some((name, text)) => (name, Some(text)),
        None => (value, None),
    };
    if is_first && matches!(name, "" | "default" | "private" | "bridge") {
        found.insert(DEFAULT.to_owned(), options(text)?);
        return Ok(());
    }
    if name.is_empty() || is_other_mode(name) {
        return Err(UnreadError::Word("--network without a name".to_owned()));
    }
    if is_first && text.is_none() {
        found.extend(value.split(',').map(|name| (name.to_owned(), Options::default())));
        return Ok(());
    }
    found.insert(name.to_owned(), options(text)?);
    Ok(())
}

fn options(text: Option<&str>) -> Result<Options, UnreadError> {
    let mut options = Options::default();
    for option in text
        .unwrap_or_default()
        .split(',')
        .filter(|option| !option.is_empty())
    {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        match key {
            "ip" | "ip6" => options.ips.push(address(value)?),
            "mac" => options.mac = Some(value.to_owned()),
            "alias" => options.aliases.push(value.to_owned()),
            "interface_name" => options.interface = Some(value.to_owned()),
            _ => {
                return Err(UnreadError::Word(format!(
                    "the network option {}",
                    shortened(key)
                )));
            }
        }
    }
    Ok(options)
}

fn address(text: &str) -> Result<IpAddr, UnreadError> {
    text.parse()
        .map_err(|_| UnreadError::Word(format!("the address {}", shortened(text))))
}
