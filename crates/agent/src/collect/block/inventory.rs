//! All block devices of the server, read at one time, and which resource each is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use muster_model::ResourceKey;
use muster_parse::{lsblk, udev};

use super::identity::{self, Identity};
use super::node::{self, Fingerprint, Node, Partition, UdevRecords};
use super::recorded;
use super::resolve::Keys;
use crate::collect::draft::{Draft, bounded_key};
use crate::host::{Files, Host, HostError, ProgramCall};

/// A reading older than this is not used again, even if no change shows.
const AGE_MAX: Duration = Duration::from_secs(300);
/// For so long nobody looks for changes again if the kernel has told of none. It does not tell of a member that md
/// takes in, which changes only what lies on what.
const QUIET_MAX: Duration = Duration::from_secs(10);
/// For so long the kernel has told of no change before it is taken that udev has written down what it told of last.
const SETTLED_AFTER: Duration = Duration::from_secs(10);
/// Longest that one collector waits for the reading of another; far less than any of them may take.
const TURN_MAX: Duration = Duration::from_secs(3);
/// When lsblk is given up.
const LSBLK_DEADLINE: Duration = Duration::from_secs(10);

/// The block devices of the server.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Every device that is not a partition, by name; those above others included.
    pub nodes: Vec<Node>,
    /// What is odd about them.
    pub problems: Vec<String>,
    identities: BTreeMap<String, Identity>,
    pub(super) keys: Keys,
    names: BTreeMap<(u32, u32), String>,
}

impl Inventory {
    /// Reads all of it; `None` if the server has no sysfs.
    ///
    /// # Errors
    /// [`HostError`] if the list of devices is there and cannot be read.
    pub fn read(files: &Files) -> Result<Option<Self>, HostError> {
        Ok(Self::read_with_looks(files)?.map(|(_, inventory)| inventory))
    }

    fn read_with_looks(files: &Files) -> Result<Option<(Fingerprint, Self)>, HostError> {
        // First: what changes meanwhile is another fingerprint than this.
        let partitions = node::partitions(files);
        let Some(names) = files.list("/sys/block")? else {
            return Ok(None);
        };
        let (mut nodes, mut looks) = (Vec::new(), BTreeMap::new());
        for name in names {
            let (look, node) = node::read(files, &name, partitions.is_some());
            nodes.extend(node);
            looks.insert(name, look);
        }
        Ok(Some((Fingerprint::of(looks, partitions), Self::of(nodes))))
    }

    /// Works out identities and indexes.
    #[must_use]
    pub fn of(nodes: Vec<Node>) -> Self {
        let identity::Identities {
            by_name: identities,
            problems,
        } = identity::assign(&nodes);
        let mut names = BTreeMap::new();
        for node in &nodes {
            names.extend(node.numbers.map(|numbers| (numbers, node.name.clone())));
            for partition in &node.partitions {
                names.extend(partition.numbers.map(|numbers| (numbers, partition.name.clone())));
            }
        }
        let key_of_disk = |name: &str| identities.get(name).map(|identity| identity.key.clone());
        Self {
            keys: Keys::of(&nodes, key_of_disk),
            nodes,
            problems,
            identities,
            names,
        }
    }

    /// The device of this kernel name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// The devices that are resources, each with its identity. Two paths to one drive come one after the other.
    pub fn devices(&self) -> impl Iterator<Item = (&Node, &Identity)> {
        self.nodes
            .iter()
            .filter_map(|node| Some((node, self.identities.get(&node.name)?)))
    }

    /// Which resource the device of this kernel name is.
    #[must_use]
    pub fn identity(&self, name: &str) -> Option<&Identity> {
        self.identities.get(name)
    }

    /// The key of the disk, or partition of one, that has this kernel name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&ResourceKey> {
        let is_of_disk = || {
            let holds = |(node, _): &(&Node, &Identity)| {
                node.partitions.iter().any(|partition| partition.name == name)
            };
            self.devices().any(|found| holds(&found))
        };
        let is_it = self.identities.contains_key(name) || is_of_disk();
        is_it.then(|| self.key_of(name))?
    }

    /// The kernel name that belongs to major and minor number.
    #[must_use]
    pub fn name_of(&self, numbers: (u32, u32)) -> Option<&str> {
        self.names.get(&numbers).map(String::as_str)
    }

    /// What a layer lies on: its slaves, or, for a partition of a layer, that layer.
    pub(super) fn lies_on(&self, name: &str) -> Vec<&str> {
        if let Some(node) = self.node(name) {
            return node.slaves.iter().map(String::as_str).collect();
        }
        let holds = |node: &&Node| node.partitions.iter().any(|partition| partition.name == name);
        self.nodes
            .iter()
            .find(holds)
            .map(|node| node.name.as_str())
            .into_iter()
            .collect()
    }

    /// The id of the filesystem on the device or partition of this kernel name, as udev read it.
    #[must_use]
    pub fn fs_uuid(&self, name: &str) -> Option<&str> {
        self.content(name)?.get("ID_FS_UUID")
    }

    /// What udev knows of the content of the device or partition of this kernel name.
    #[must_use]
    pub fn content(&self, name: &str) -> Option<&udev::Record> {
        let of_node = self.node(name).map(|node| &node.udev);
        of_node.or_else(|| self.partition(name).map(|partition| &partition.udev))
    }

    fn partition(&self, name: &str) -> Option<&Partition> {
        self.nodes
            .iter()
            .flat_map(|node| &node.partitions)
            .find(|partition| partition.name == name)
    }
}

/// The key of a partition: that of its disk or layer, and its number.
#[must_use]
pub fn partition_key(disk: &ResourceKey, number: u64) -> ResourceKey {
    let kinds = ["device:", "pool:", "mapping:", "volume:"];
    let bare = kinds.iter().find_map(|kind| disk.as_str().strip_prefix(kind));
    let disk = bare.unwrap_or(disk.as_str());
    bounded_key(format!("partition:{disk}:{number}"))
}

/// What lsblk says, where there is no sysfs: below a root that has only its recorded output. A running kernel always
/// has sysfs, so lsblk never runs in earnest.
async fn read_recorded(host: &Host) -> Option<Inventory> {
    let call = ProgramCall {
        program: "lsblk",
        args: vec!["--json", "--bytes", "--output-all"],
        record: "lsblk/all",
        deadline: LSBLK_DEADLINE,
    };
    let output = host.run(&call).await.ok()?;
    let parsed = lsblk::parse(&String::from_utf8_lossy(&output.stdout));
    let mut inventory = Inventory::of(recorded::nodes(&parsed.value));
    inventory.problems.extend(
        parsed
            .problems
            .into_iter()
            .map(|problem| format!("lsblk: {}", problem.message)),
    );
    Some(inventory)
}

/// The last reading, shared by the collectors that name their resources by it.
#[derive(Debug, Default)]
pub struct Shared {
    last: Mutex<Option<Reading>>,
    /// Who reads, reads for all: several collectors that want it at once wait for one reading.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct Reading {
    fingerprint: Arc<Fingerprint>,
    /// When it was complete.
    read_at: Instant,
    /// The number of events when changes were last looked for, and when that was.
    looked: Option<(u64, Instant)>,
    /// The number of events when it was begun, and since when it is known to have been that.
    calm: Option<(u64, Instant)>,
    /// Whether all that the kernel had told of was long over when it was begun.
    is_settled: bool,
    /// What udev had written down when it was begun.
    udev: UdevRecords,
    inventory: Arc<Inventory>,
}

/// What was read, to be looked at again.
struct Known {
    inventory: Arc<Inventory>,
    fingerprint: Arc<Fingerprint>,
    udev: UdevRecords,
    is_settled: bool,
}

impl Known {
    fn of(reading: &Reading) -> Self {
        Self {
            inventory: Arc::clone(&reading.inventory),
            fingerprint: Arc::clone(&reading.fingerprint),
            udev: reading.udev,
            is_settled: reading.is_settled,
        }
    }

    /// Whether the kernel lists what it did, and each device passes. Of a loop device's file, and of sizes that drivers
    /// change quietly, the list is the only sign.
    fn is_as_it_was(&self, files: &Files, is_same: impl Fn(&Files, &Node) -> bool) -> bool {
        node::partitions(files).as_deref() == self.fingerprint.partitions()
            && self.inventory.nodes.iter().all(|node| is_same(files, node))
    }

    /// Whether names, places, appearances, members and the kernel's list are what they were: where it may have told of
    /// anything.
    fn looks_as_it_did(&self, files: &Files) -> Result<bool, HostError> {
        let names = files.list("/sys/block")?.unwrap_or_default();
        Ok(node::fingerprint(files, &names) == *self.fingerprint)
    }
}

/// Whether the kernel has told of nothing since changes were last looked for.
fn has_told_nothing(reading: &Reading, events: Option<u64>) -> bool {
    events.is_some() && events == reading.looked.map(|(known, _)| known)
}

/// Whether changes were looked for a moment ago, and the kernel has told of none since.
fn is_quiet(reading: &Reading, events: Option<u64>, now: Instant) -> bool {
    reading.looked.is_some_and(|(known, looked_at)| {
        events == Some(known) && now.saturating_duration_since(looked_at) < QUIET_MAX
    })
}

impl Shared {
    /// Reads anew, and keeps it for the others; `None` if the server has no sysfs.
    ///
    /// # Errors
    /// [`HostError`] if the devices cannot be read.
    pub async fn refresh(&self, host: &Host) -> Result<Option<Arc<Inventory>>, HostError> {
        let asked = host.instant();
        let _turn = self.take_turn().await;
        // Whoever was waited for has read it meanwhile.
        if let Some(reading) = self.lock().as_ref()
            && asked < reading.read_at
            && is_quiet(reading, host.device_events(), host.instant())
        {
            return Ok(Some(Arc::clone(&reading.inventory)));
        }
        if let Some(inventory) = self.renew(host).await? {
            return Ok(Some(inventory));
        }
        self.read(host).await
    }

    /// The last reading, if it is as good as a new one: the kernel has told of no change since, udev has written nothing more
    /// (or, where it keeps no records, all was calm before), and what health and links rest on and nobody tells of is as it
    /// was. Most of what is read of a device stays what it is for as long as it is there; new firmware, another format of an
    /// NVMe drive's sectors and `blockdev --setro` are seen when the reading is too old.
    async fn renew(&self, host: &Host) -> Result<Option<Arc<Inventory>>, HostError> {
        let events = host.device_events();
        let begun = host.instant();
        let known = {
            let last = self.lock();
            let is_good = |reading: &&Reading| {
                let is_calm = events.is_some() && events == reading.calm.map(|(events, _)| events);
                is_calm && reading.read_at.elapsed() < AGE_MAX
            };
            last.as_ref().filter(is_good).map(Known::of)
        };
        let Some(known) = known else {
            return Ok(None);
        };
        let inventory = Arc::clone(&known.inventory);
        let look = host.blocking("block devices", move |files| {
            let is_whole = known.udev.are_as_they_were(files).unwrap_or(known.is_settled);
            is_whole && known.is_as_it_was(files, node::is_as_it_was)
        });
        if !look.await? {
            return Ok(None);
        }
        self.note_look(&inventory, events, begun);
        Ok(Some(inventory))
    }

    /// Waits for whoever reads, but not for one whom a dying disk keeps: that must not keep the others too.
    async fn take_turn(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        tokio::time::timeout(TURN_MAX, self.turn.lock()).await.ok()
    }

    async fn read(&self, host: &Host) -> Result<Option<Arc<Inventory>>, HostError> {
        // First: what changes meanwhile raises it, and is looked for again.
        let events = host.device_events();
        let (begun, begun_ms) = (host.instant(), host.now_ms());
        let calm_before = self.lock().as_ref().and_then(|reading| reading.calm);
        let calm = events.map(|events| match calm_before {
            Some((before, since)) if before == events => (events, since),
            _ => (events, begun),
        });
        let read = host.blocking("block inventory", move |files| {
            // As the number of events, before what it tells of.
            let udev = UdevRecords::look(files, begun_ms);
            let read = Inventory::read_with_looks(files)?;
            Ok(read.map(|(fingerprint, inventory)| (fingerprint, Arc::new(inventory), udev)))
        });
        let (events, (fingerprint, inventory, udev)) = match read.await?? {
            Some(read) => (events, read),
            None => match read_recorded(host).await {
                Some(inventory) => (
                    None,
                    (Fingerprint::default(), Arc::new(inventory), UdevRecords::Absent),
                ),
                None => return Ok(None),
            },
        };
        let now = host.instant();
        let reading = Reading {
            fingerprint: Arc::new(fingerprint),
            read_at: now,
            looked: events.map(|events| (events, now)),
            calm: events.and(calm),
            is_settled: events
                .and(calm)
                .is_some_and(|(_, since)| SETTLED_AFTER <= begun.saturating_duration_since(since)),
            udev,
            inventory: Arc::clone(&inventory),
        };
        *self.lock() = Some(reading);
        Ok(Some(inventory))
    }

    /// The last reading if nothing has changed since, else a new one. Without sysfs, an empty one.
    ///
    /// # Errors
    /// As [`Shared::refresh`].
    pub async fn current(&self, host: &Host) -> Result<Arc<Inventory>, HostError> {
        let _turn = self.take_turn().await;
        let now = host.instant();
        let events = host.device_events();
        let known = {
            let last = self.lock();
            let young = last
                .as_ref()
                .filter(|reading| reading.read_at.elapsed() < AGE_MAX);
            if let Some(reading) = young
                && is_quiet(reading, events, now)
            {
                return Ok(Arc::clone(&reading.inventory));
            }
            young.map(|reading| (Known::of(reading), has_told_nothing(reading, events)))
        };
        if let Some((known, is_untold)) = known {
            let inventory = Arc::clone(&known.inventory);
            let look = host.blocking("block devices", move |files| {
                match known.udev.are_as_they_were(files) {
                    Some(false) => Ok(false),
                    _ if is_untold => Ok(known.is_as_it_was(files, node::lies_as_it_did)),
                    _ => known.looks_as_it_did(files),
                }
            });
            if look.await?? {
                self.note_look(&inventory, events, now);
                return Ok(inventory);
            }
        }
        Ok(self.read(host).await?.unwrap_or_default())
    }

    /// Notes that this inventory was looked at. Where one that waited in vain for its turn has read another meanwhile, that
    /// was not.
    fn note_look(&self, inventory: &Arc<Inventory>, events: Option<u64>, at: Instant) {
        if let Some(reading) = self.lock().as_mut()
            && Arc::ptr_eq(&reading.inventory, inventory)
        {
            reading.looked = events.map(|events| (events, at));
        }
    }

    /// As if the kernel had been calm for long.
    #[cfg(test)]
    pub(super) fn settle(&self) {
        self.lock().as_mut().expect("something was read").is_settled = true;
    }

    /// As if nobody had looked for changes for long.
    #[cfg(test)]
    pub(super) fn make_restless(&self) {
        let mut last = self.lock();
        let reading = last.as_mut().expect("something was read");
        if let Some((_, at)) = &mut reading.looked {
            *at -= QUIET_MAX;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Reading>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Shared::current`]; what cannot be read is noted, and the last reading serves: what was known by it must not
    /// get other keys meanwhile. `None` if there never was one.
    pub(crate) async fn known(&self, host: &Host, draft: &mut Draft) -> Option<Arc<Inventory>> {
        let last = || {
            let last = self.lock();
            last.as_ref().map(|reading| Arc::clone(&reading.inventory))
        };
        match self.current(host).await {
            // That all of them are gone would have been read, and be the last reading.
            Ok(empty) if empty.nodes.is_empty() && last().is_some_and(|last| !last.nodes.is_empty()) => {
                draft.problem("block devices: /sys/block is no longer there");
                last()
            }
            Ok(inventory) => Some(inventory),
            Err(error) => {
                draft.error("block devices", &error);
                last()
            }
        }
    }
}
