//! The server itself: its name, operating system, kernel, clock and machine.

use std::time::Duration;

use async_trait::async_trait;
use muster_catalogue::{NODE_OS_INFO, NODE_OS_VERSION, NODE_TIME_SECONDS, NODE_UNAME_INFO};
use muster_model::{Resource, ResourceKey, ResourceKind};
use muster_parse::os_release::{self, OsRelease};
use muster_parse::{meminfo, stat};

use super::container::{Groups, Share, container_word};
use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::{Files, Host, HostError, Machine};

/// The collector of the server's own facts.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "os",
    summary: "the server: name, operating system, kernel, clock, machine",
    interval: Duration::from_secs(15),
    interval_min: Duration::from_secs(1),
    timeout: Duration::from_secs(10),
    place: Place::Net,
    build: |_| Box::<Os>::default(),
};

/// `btime` moves by a second when the clock is adjusted; a boot time that moves by less than this is the same.
const BOOT_TIME_JITTER_S: u64 = 5;

#[derive(Default)]
struct Os {
    machine: Option<Machine>,
    boot: Option<Boot>,
    ground: Option<Ground>,
}

/// What the server's system runs on; it does not change while the agent runs.
#[derive(Debug, Clone, Default)]
struct Ground {
    container: Option<String>,
    groups: Groups,
    kernel_name: Option<String>,
    kernel_release: Option<String>,
    kernel_version: Option<String>,
    architecture: Option<String>,
    boot_id: Option<String>,
    vendor: Option<String>,
    product: Option<String>,
}

impl Ground {
    fn read(files: &Files) -> Self {
        Self {
            container: container_word(files),
            groups: Groups::find(files),
            kernel_name: files.word("/proc/sys/kernel/ostype"),
            kernel_release: files.word("/proc/sys/kernel/osrelease"),
            kernel_version: files.word("/proc/sys/kernel/version"),
            architecture: files.word("/proc/sys/kernel/arch"),
            boot_id: files.word("/proc/sys/kernel/random/boot_id"),
            vendor: files.word("/sys/class/dmi/id/sys_vendor"),
            product: files.word("/sys/class/dmi/id/product_name"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Boot {
    id: Option<String>,
    time_s: u64,
}

#[async_trait]
impl Collector for Os {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let ground = self.ground.clone();
        let (found, ground) = host.blocking("os", |files| read(files, ground)).await??;
        self.ground = Some(ground);
        // The processor does not change while the agent runs.
        let machine = match &self.machine {
            Some(machine) => machine.clone(),
            None => self.machine.insert(host.machine().await).clone(),
        };
        let mut draft = Draft::new(DESCRIPTOR.name);
        draft.sample(&NODE_TIME_SECONDS, &[], host.now_ms() as f64 / 1000.0);
        let boot = self.steady_boot(&found);
        let server = server(&found, &machine, boot.as_ref());
        draft.resource(server);
        uname(&mut draft, &found, &machine);
        if let Some(release) = &found.release {
            os_info(&mut draft, release);
        }
        for (what, problems) in found.problems {
            draft.parser_problems(what, problems);
        }
        Ok(Outcome::Facts(draft.finish()))
    }
}

impl Os {
    fn steady_boot(&mut self, found: &Found) -> Option<Boot> {
        let now = Boot {
            id: found.boot_id.clone(),
            time_s: found.boot_time_s?,
        };
        let is_same = self
            .boot
            .as_ref()
            .is_some_and(|told| told.id == now.id && told.time_s.abs_diff(now.time_s) < BOOT_TIME_JITTER_S);
        if !is_same {
            self.boot = Some(now);
        }
        self.boot.clone()
    }
}

/// What the files say; each absent if there is no such file.
#[derive(Debug, Default)]
struct Found {
    hostname: Option<String>,
    domain_name: Option<String>,
    kernel_name: Option<String>,
    kernel_release: Option<String>,
    kernel_version: Option<String>,
    architecture: Option<String>,
    boot_id: Option<String>,
    boot_time_s: Option<u64>,
    cpu_count: Option<u64>,
    memory_bytes: Option<u64>,
    vendor: Option<String>,
    product: Option<String>,
    container: Option<String>,
    release: Option<OsRelease>,
    problems: Vec<(&'static str, Vec<muster_parse::Problem>)>,
}

fn read(files: &Files, ground: Option<Ground>) -> Result<(Found, Ground), HostError> {
    let ground = ground.unwrap_or_else(|| Ground::read(files));
    let mut found = Found {
        container: ground.container.clone(),
        hostname: files.word("/proc/sys/kernel/hostname"),
        domain_name: files.word("/proc/sys/kernel/domainname"),
        kernel_name: ground.kernel_name.clone(),
        kernel_release: ground.kernel_release.clone(),
        kernel_version: ground.kernel_version.clone(),
        architecture: ground.architecture.clone(),
        boot_id: ground.boot_id.clone(),
        vendor: ground.vendor.clone(),
        product: ground.product.clone(),
        ..Found::default()
    };
    if let Some(text) = files.text("/proc/stat")? {
        let parsed = stat::parse(&text);
        found.boot_time_s = parsed.value.boot_time_s;
        found.cpu_count = u64::try_from(parsed.value.cpus.len())
            .ok()
            .filter(|count| 0 < *count);
    }
    if let Some(text) = files.text("/proc/meminfo")? {
        let memory = meminfo::parse(&text).value;
        let share = Share::of(found.cpu_count, &memory, &ground.groups.read_allowed(files));
        // Part of a CPU takes a CPU to run on.
        found.cpu_count = share.cpus.map(|cpus| cpus.ceil() as u64);
        found.memory_bytes = share.memory_bytes;
    }
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(text) = files.text(path)? {
            let parsed = os_release::parse(&text);
            found.release = Some(parsed.value);
            found.problems.push((path, parsed.problems));
            break;
        }
    }
    Ok((found, ground))
}

fn server(found: &Found, machine: &Machine, boot: Option<&Boot>) -> Resource {
    let name = found.hostname.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut server = Resource::new(ResourceKind::Server, ResourceKey::server(), name);
    let architecture = found
        .architecture
        .clone()
        .or_else(|| machine.architecture.clone());
    server
        .set("hostname", found.hostname.clone())
        .set(
            "os",
            found
                .release
                .as_ref()
                .map(|release| release.pretty_name().to_owned()),
        )
        .set("kernel", found.kernel_release.clone())
        .set("architecture", architecture)
        .set("cpu_count", found.cpu_count)
        .set("cpu_model", machine.cpu_model.clone())
        .set("cpu_physical_count", machine.physical_cpu_count)
        .set("memory_bytes", found.memory_bytes)
        .set("virtualization", found.container.clone())
        .set("boot_time", boot.and_then(|boot| rfc3339(boot.time_s)))
        .set("boot_id", found.boot_id.clone())
        .set("machine_vendor", found.vendor.clone())
        .set("machine_model", found.product.clone());
    server
}

fn rfc3339(unix_s: u64) -> Option<String> {
    let time = jiff::Timestamp::from_second(i64::try_from(unix_s).ok()?).ok()?;
    Some(time.to_string())
}

fn uname(draft: &mut Draft, found: &Found, machine: &Machine) {
    // Without a kernel version this is no reading of a kernel at all.
    let Some(release) = found.kernel_release.as_deref() else {
        return;
    };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let machine_name = found
        .architecture
        .as_ref()
        .or(machine.architecture.as_ref())
        .cloned()
        .unwrap_or_default();
    draft.sample(
        &NODE_UNAME_INFO,
        &[
            ("domainname", &text(&found.domain_name)),
            ("machine", &machine_name),
            ("nodename", &text(&found.hostname)),
            ("release", release),
            ("sysname", &text(&found.kernel_name)),
            ("version", &text(&found.kernel_version)),
        ],
        1.0,
    );
}

fn os_info(draft: &mut Draft, release: &OsRelease) {
    let value = |name: &str| release.get(name).unwrap_or_default();
    draft.sample(
        &NODE_OS_INFO,
        &[
            ("build_id", value("BUILD_ID")),
            ("id", value("ID")),
            ("id_like", value("ID_LIKE")),
            ("image_id", value("IMAGE_ID")),
            ("image_version", value("IMAGE_VERSION")),
            ("name", value("NAME")),
            ("pretty_name", value("PRETTY_NAME")),
            ("variant", value("VARIANT")),
            ("variant_id", value("VARIANT_ID")),
            ("version", value("VERSION")),
            ("version_codename", value("VERSION_CODENAME")),
            ("version_id", value("VERSION_ID")),
        ],
        1.0,
    );
    // As node_exporter has it: `22.04` is 22.04, `12` is 12, and a version that is no number is left out.
    let number = release.version_id().and_then(leading_number);
    if let Some(number) = number {
        let labels = [
            ("id", value("ID")),
            ("id_like", value("ID_LIKE")),
            ("name", value("NAME")),
        ];
        draft.sample(&NODE_OS_VERSION, &labels, number);
    }
}

/// Major and minor of a dotted version.
fn leading_number(version: &str) -> Option<f64> {
    let mut parts = version.splitn(3, '.');
    let number = match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => format!("{major}.{minor}"),
        (Some(major), None) => major.to_owned(),
        (None, _) => return None,
    };
    number.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_time_that_jitters_stays_and_a_new_boot_does_not() {
        let found = |id: &str, time_s| Found {
            boot_id: Some(id.to_owned()),
            boot_time_s: Some(time_s),
            ..Found::default()
        };
        let mut os = Os::default();
        assert_eq!(os.steady_boot(&found("a", 1000)).unwrap().time_s, 1000);
        assert_eq!(os.steady_boot(&found("a", 1001)).unwrap().time_s, 1000);
        assert_eq!(os.steady_boot(&found("b", 1002)).unwrap().time_s, 1002);
    }

    #[test]
    fn versions_become_numbers_where_they_can() {
        assert_eq!(leading_number("22.04"), Some(22.04));
        assert_eq!(leading_number("12"), Some(12.0));
        assert_eq!(leading_number("3.19.1"), Some(3.19));
        assert_eq!(leading_number("rolling"), None);
    }
}
