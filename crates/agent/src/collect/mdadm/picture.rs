//! One array, put together from whoever knows something of it. Where two disagree, the worse counts: they were read
//! one after the other.

use muster_parse::mdadm_detail::{self, Detail};
use muster_parse::mdstat::{Access, Action, Activity, Array, LEVELS, MdStat, Progress, Sync};

use super::sysfs::{Shown, ShownMember};
use crate::collect::block::{Inventory, md_uuid};

/// An array.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Picture {
    /// Kernel name.
    pub(super) name: String,
    /// The name its maker gave it, such as `lab:mirror`.
    pub(super) given_name: Option<String>,
    pub(super) uuid: Option<String>,
    pub(super) level: Option<String>,
    pub(super) metadata: Option<String>,
    pub(super) activity: Activity,
    pub(super) access: Access,
    pub(super) size_kib: Option<u64>,
    pub(super) chunk_bytes: Option<u64>,
    pub(super) copies: Option<Copies>,
    /// Whether each place has a member that works.
    pub(super) up: Option<Vec<bool>>,
    /// Whether `up` tells the places and not only how many.
    pub(super) knows_places: bool,
    pub(super) members: Vec<Member>,
    pub(super) sync: Option<Sync>,
    /// Whether `sync` names the action, which `resync=DELAYED` does not.
    pub(super) knows_action: bool,
    /// What other arrays are doing, which is what this one waits for.
    pub(super) neighbours: Option<Action>,
    pub(super) mismatch_count: Option<u64>,
    pub(super) last_action: Option<String>,
    pub(super) is_frozen: bool,
    pub(super) is_container: bool,
    /// Arrays of a container that run.
    pub(super) container_arrays: usize,
    /// Kernel name of the container it is in.
    pub(super) container: Option<String>,
    pub(super) spares_expected: Option<u64>,
    pub(super) consistency_policy: Option<String>,
    pub(super) bitmap_pages: Option<(u64, u64)>,
    pub(super) is_understood: bool,
    /// Whether somebody said that it runs and how its members are.
    pub(super) says_state: bool,
    /// Words of `State` of `mdadm --detail`.
    pub(super) states: Vec<String>,
    pub(super) raid_disks: Option<u64>,
    pub(super) degraded: Option<u64>,
    /// What the series of `node_exporter` are made of.
    pub(super) mdstat: Option<Array>,
}

/// How RAID 10 places copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Copies {
    pub(super) near: usize,
    /// Far or offset copies, which are placed alike.
    pub(super) far: usize,
    /// Members that far copies stay within; 0 for all.
    pub(super) set: usize,
}

/// A member.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) slot: Option<usize>,
    pub(super) errors: Option<u64>,
    /// The kernel has no such device any more, whatever md thinks.
    pub(super) is_gone: bool,
}

/// What a member does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Role {
    Active,
    Spare,
    /// It is being filled.
    Rebuilding,
    Replacement,
    Journal,
    Faulty,
    #[default]
    Unknown,
}

impl Role {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Spare => "spare",
            Self::Rebuilding => "rebuilding",
            Self::Replacement => "replacement",
            Self::Journal => "journal",
            Self::Faulty => "faulty",
            Self::Unknown => "unknown",
        }
    }
}

/// Each array of `/proc/mdstat`.
pub(super) fn of_mdstat(stat: &MdStat) -> Vec<Picture> {
    stat.arrays.iter().map(Picture::of_array).collect()
}

/// What arrays know of each other: who waits for whom, and which containers have arrays.
pub(super) fn add_neighbours(pictures: &mut [Picture]) {
    let running = |picture: &&Picture| {
        let sync = picture.sync.as_ref()?;
        matches!(sync.progress, Progress::Running { .. }).then_some(sync.action)
    };
    let actions: Vec<Action> = pictures.iter().filter_map(|picture| running(&picture)).collect();
    // Anything but a check is the worse news.
    let worst = actions
        .iter()
        .find(|action| !matches!(action, Action::Check | Action::Repair))
        .or(actions.first())
        .copied();
    let inside: Vec<String> = pictures
        .iter()
        .filter_map(|picture| picture.container.clone())
        .collect();
    for picture in pictures {
        picture.neighbours = worst;
        picture.container_arrays = inside
            .iter()
            .filter(|container| **container == picture.name)
            .count();
    }
}

impl Picture {
    fn of_array(array: &Array) -> Self {
        let count = |copies: Option<u64>| usize::try_from(copies?).ok();
        let far = array.far_copies.or(array.offset_copies);
        let is_raid10 = array.level.as_deref() == Some("raid10");
        let copies = Copies {
            near: count(array.near_copies).unwrap_or(1),
            far: count(far).unwrap_or(1),
            set: count(array.devices_per_set).unwrap_or(0),
        };
        let is_known = is_raid10 && (array.near_copies.is_some() || far.is_some());
        let mut picture = Self {
            name: array.name.clone(),
            level: array.level.clone(),
            metadata: array.metadata.clone(),
            activity: array.activity,
            access: array.access,
            size_kib: array.size_kib,
            chunk_bytes: array
                .chunk_kib
                .filter(|kib| 0 < *kib)
                .map(|kib| kib.saturating_mul(1024)),
            copies: is_known.then_some(copies),
            up: array.up.clone(),
            knows_places: true,
            sync: array.sync.clone(),
            knows_action: array
                .sync
                .as_ref()
                .is_none_or(|sync| sync.progress != Progress::Delayed),
            is_container: array.is_container(),
            container: array.container().map(str::to_owned),
            bitmap_pages: array
                .bitmap
                .as_ref()
                .and_then(|bitmap| bitmap.pages.zip(bitmap.pages_total)),
            is_understood: array.is_understood,
            says_state: array.activity != Activity::Unknown,
            mdstat: Some(array.clone()),
            ..Self::default()
        };
        picture.members = array.members.iter().map(member_of_mdstat).collect();
        picture.find_rebuilding(array);
        picture
    }

    /// mdstat does not mark a member that is being filled: it is one of those beyond the number that work, and the
    /// newest numbers are the highest.
    fn find_rebuilding(&mut self, array: &Array) {
        let is_recovering = array
            .sync
            .as_ref()
            .is_some_and(|sync| sync.action == Action::Recovery);
        let Some(working) = array.working.and_then(|working| usize::try_from(working).ok()) else {
            return;
        };
        let mut active: Vec<(Option<u32>, usize)> = array
            .members
            .iter()
            .enumerate()
            .filter(|(index, _)| self.members[*index].role == Role::Active)
            .map(|(index, member)| (member.number, index))
            .collect();
        active.sort_unstable();
        // `resync=DELAYED` with a member too many: it waits to be filled.
        let waits = !is_recovering && !self.knows_action && working < active.len();
        if waits && let Some(sync) = &mut self.sync {
            sync.action = Action::Recovery;
            self.knows_action = true;
        }
        if is_recovering || waits {
            for (_, index) in active.into_iter().skip(working) {
                self.members[index].role = Role::Rebuilding;
            }
        }
    }

    /// Adds what sysfs shows.
    pub(super) fn add_sysfs(&mut self, shown: Shown) {
        self.uuid = shown.uuid.or(self.uuid.take());
        self.metadata = self.metadata.take().or(shown.metadata);
        let is_level = |level: &String| LEVELS.contains(&level.as_str());
        self.level = self.level.take().or_else(|| shown.level.filter(is_level));
        self.chunk_bytes = shown.chunk_bytes.filter(|bytes| 0 < *bytes).or(self.chunk_bytes);
        match shown.array_state.as_deref() {
            Some("broken") => self.activity = Activity::Broken,
            Some("inactive" | "clear") if self.activity == Activity::Active => {
                self.activity = Activity::Inactive;
            }
            _ => {}
        }
        self.add_shown_sync(
            shown.sync_action.as_deref(),
            shown.sync_completed,
            shown.sync_speed_kib,
        );
        self.mismatch_count = shown.mismatch_count;
        self.last_action = shown.last_sync_action;
        self.consistency_policy = shown.consistency_policy;
        self.raid_disks = shown.raid_disks;
        self.degraded = shown.degraded;
        if self.copies.is_none() && self.level.as_deref() == Some("raid10") {
            self.copies = shown.layout.and_then(copies_of_layout);
        }
        self.add_shown_members(&shown.members, shown.raid_disks);
    }

    fn add_shown_sync(
        &mut self,
        action: Option<&str>,
        completed: Option<(u64, u64)>,
        speed_kib: Option<u64>,
    ) {
        self.is_frozen = action == Some("frozen");
        let action = match action {
            Some("resync") => Action::Resync,
            Some("recover") => Action::Recovery,
            Some("check") => Action::Check,
            Some("repair") => Action::Repair,
            Some("reshape") => Action::Reshape,
            _ => return,
        };
        self.knows_action = true;
        match (&mut self.sync, completed) {
            (Some(sync), _) => sync.action = action,
            (none, Some((done, total))) if 0 < total => {
                *none = Some(Sync {
                    action,
                    progress: Progress::Running {
                        percent: 100.0 * done as f64 / total as f64,
                        done_kib: Some(done / 2),
                        total_kib: Some(total / 2),
                        finish_min: None,
                        speed_kib_per_s: speed_kib,
                    },
                });
            }
            (none, _) => {
                *none = Some(Sync {
                    action,
                    progress: Progress::Delayed,
                });
            }
        }
    }

    fn add_shown_members(&mut self, shown: &[ShownMember], raid_disks: Option<u64>) {
        if shown.is_empty() {
            return;
        }
        let before = std::mem::take(&mut self.members);
        let was_faulty = |name: &str| {
            before
                .iter()
                .any(|old| old.name == name && old.role == Role::Faulty)
        };
        self.members = shown
            .iter()
            .map(|member| member_of_sysfs(member, was_faulty(&member.name)))
            .collect();
        self.members.extend(
            before
                .into_iter()
                .filter(|old| !shown.iter().any(|new| new.name == old.name)),
        );
        let places = raid_disks
            .and_then(|places| usize::try_from(places).ok())
            .filter(|places| *places < 4096);
        if let Some(places) = places
            && self.activity != Activity::Inactive
            && 0 < places
        {
            let mut up = vec![false; places];
            for member in &self.members {
                if let (Role::Active, Some(place)) =
                    (member.role, member.slot.and_then(|slot| up.get_mut(slot)))
                {
                    *place = true;
                }
            }
            self.up = Some(match self.up.take() {
                Some(old) if old.len() == up.len() => {
                    old.iter().zip(&up).map(|(old, new)| *old && *new).collect()
                }
                _ => up,
            });
        }
    }

    /// Adds which members the kernel still has. Only where it lists the array itself is its list to be trusted.
    pub(super) fn add_inventory(&mut self, inventory: &Inventory) {
        let kernel_name = self.name.replace('/', "!");
        let Some(node) = inventory.node(&kernel_name) else {
            return;
        };
        let key = inventory.key_of(&kernel_name).map(|key| key.as_str());
        self.uuid = self
            .uuid
            .take()
            .or_else(|| md_uuid(key?.strip_prefix("pool:mdadm:")?));
        self.given_name = node.udev.get("MD_NAME").map(str::to_owned);
        for member in &mut self.members {
            member.is_gone = inventory.key_of(&member.name.replace('/', "!")).is_none();
        }
        let gone = self
            .members
            .iter()
            .filter(|member| member.is_gone && member.role == Role::Active);
        let slots: Vec<Option<usize>> = gone.map(|member| member.slot).collect();
        let Some(up) = &mut self.up else { return };
        for slot in slots {
            match slot.and_then(|slot| up.get_mut(slot)) {
                Some(place) => *place = false,
                None => {
                    // Its place is not known: any will do to count it.
                    self.knows_places = false;
                    if let Some(place) = up.iter_mut().find(|place| **place) {
                        *place = false;
                    }
                }
            }
        }
    }

    /// What `mdadm --detail` would say anew if it changed.
    pub(super) fn look(&self) -> String {
        let members = self
            .members
            .iter()
            .map(|member| format!("{} {:?}", member.name, member.role));
        let members: Vec<String> = members.collect();
        let action = self.sync.as_ref().map(|sync| sync.action);
        format!(
            "{:?} {:?} {:?} {:?} {action:?} {members:?}",
            self.activity, self.access, self.level, self.up
        )
    }

    /// Adds what `mdadm --detail` said. States are only taken of an array that looks as it did then.
    pub(super) fn add_detail(&mut self, detail: &Detail) {
        self.uuid = self
            .uuid
            .take()
            .or_else(|| md_uuid(detail.get("UUID", "MD_UUID")?));
        let given = detail
            .get("Name", "MD_NAME")
            // "lab:with space  (local to host lab)".
            .map(|name| name.split("  (").next().unwrap_or(name).trim());
        self.given_name = given.map(str::to_owned).or(self.given_name.take());
        self.states = detail.states().map(str::to_owned).collect();
    }

    /// An array that only `mdadm --detail` tells of.
    pub(super) fn of_detail(detail: &Detail, fallback: &str) -> Self {
        let path = detail.device.as_deref().or_else(|| detail.get("", "MD_DEVNAME"));
        let name = path.unwrap_or(fallback).trim_start_matches("/dev/");
        let level = detail.get("Raid Level", "MD_LEVEL").map(str::to_owned);
        let is_container = level.as_deref() == Some("container");
        let has_state = detail.states().next().is_some();
        let mut picture = Self {
            name: name.to_owned(),
            metadata: detail.get("Version", "MD_METADATA").map(str::to_owned),
            size_kib: detail.number("Array Size", ""),
            copies: detail.get("Layout", "").and_then(copies_of_words),
            consistency_policy: detail.get("Consistency Policy", "").map(str::to_owned),
            container_arrays: detail
                .get("Member Arrays", "")
                .map_or(0, |text| text.split_whitespace().count()),
            activity: if has_state || is_container {
                Activity::Active
            } else {
                Activity::Unknown
            },
            is_understood: is_container || level.as_deref().is_some_and(|level| LEVELS.contains(&level)),
            says_state: has_state && detail.has_table,
            knows_places: true,
            knows_action: true,
            is_container,
            level,
            ..Self::default()
        };
        picture.add_detail(detail);
        picture.take_states();
        picture.take_members(detail);
        picture.sync = sync_of(detail, &picture.states);
        picture
    }

    fn take_states(&mut self) {
        let has =
            |states: &[String], wanted: &[&str]| states.iter().any(|state| wanted.contains(&state.as_str()));
        if has(&self.states, &["inactive", "Not Started", "clear"]) {
            self.activity = Activity::Inactive;
        }
        if has(&self.states, &["broken"]) {
            self.activity = Activity::Broken;
        }
        if has(&self.states, &["read-only", "readonly"]) {
            self.access = Access::ReadOnly;
        }
    }

    fn take_members(&mut self, detail: &Detail) {
        let present = detail
            .members
            .iter()
            .filter(|member| member.device.is_some() || member.number.is_some());
        self.members = present.map(member_of_detail).collect();
        // Being filled beside the one whose place it is to take.
        let taken: Vec<Option<usize>> = self
            .members
            .iter()
            .filter(|member| member.role == Role::Active)
            .map(|member| member.slot)
            .collect();
        for member in &mut self.members {
            if member.role == Role::Rebuilding && member.slot.is_some() && taken.contains(&member.slot) {
                member.role = Role::Replacement;
            }
        }
        let roles = detail.values.iter().filter_map(|(name, role)| {
            let device = name
                .strip_suffix("_ROLE")
                .and_then(|name| detail.values.get(&format!("{name}_DEV")))?;
            let slot = role.parse().ok();
            Some(Member {
                name: device.trim_start_matches("/dev/").to_owned(),
                role: if slot.is_some() { Role::Active } else { Role::Spare },
                slot,
                ..Member::default()
            })
        });
        self.members.extend(roles);
        let places = detail
            .number("Raid Devices", "MD_DEVICES")
            .and_then(|places| usize::try_from(places).ok());
        if let Some(places) = places.filter(|places| (1..4096).contains(places) && !self.is_container) {
            let mut up = vec![false; places];
            for member in self.members.iter().filter(|member| member.role == Role::Active) {
                if let Some(place) = member.slot.and_then(|slot| up.get_mut(slot)) {
                    *place = true;
                }
            }
            self.up = Some(up);
        }
    }
}

fn member_of_mdstat(member: &muster_parse::mdstat::Member) -> Member {
    let role = match member {
        member if member.is_faulty => Role::Faulty,
        member if member.is_journal => Role::Journal,
        member if member.is_spare => Role::Spare,
        member if member.is_replacement => Role::Replacement,
        _ => Role::Active,
    };
    Member {
        name: member.name.clone(),
        role,
        ..Member::default()
    }
}

fn member_of_sysfs(member: &ShownMember, was_faulty: bool) -> Member {
    let is = |wanted: &str| member.states.iter().any(|state| state == wanted);
    let role = if was_faulty || is("faulty") {
        Role::Faulty
    } else if is("journal") {
        Role::Journal
    } else if is("replacement") {
        Role::Replacement
    } else if is("in_sync") {
        Role::Active
    } else if is("spare") && member.slot.is_some() {
        Role::Rebuilding
    } else if is("spare") {
        Role::Spare
    } else {
        Role::Unknown
    };
    Member {
        name: member.name.clone(),
        role,
        slot: member.slot,
        errors: member.errors,
        is_gone: false,
    }
}

fn member_of_detail(member: &mdadm_detail::Member) -> Member {
    let is = |wanted: &str| member.states.iter().any(|state| state == wanted);
    let role = if is("faulty") {
        Role::Faulty
    } else if is("journal") {
        Role::Journal
    } else if is("rebuilding") {
        Role::Rebuilding
    } else if is("replacement") {
        Role::Replacement
    } else if is("active") && is("sync") {
        Role::Active
    } else if is("spare") {
        Role::Spare
    } else {
        Role::Unknown
    };
    let path = member.device.as_deref().unwrap_or("missing");
    Member {
        name: path.trim_start_matches("/dev/").to_owned(),
        role,
        slot: member.slot.and_then(|slot| usize::try_from(slot).ok()),
        errors: None,
        is_gone: member.device.is_none(),
    }
}

/// The number of sysfs: near copies in the first byte, far ones in the second, then flags.
fn copies_of_layout(layout: u64) -> Option<Copies> {
    const IS_OFFSET: u64 = 1 << 16;
    const FAR_SETS: u64 = 1 << 17;
    const FAR_SETS_FIXED: u64 = 1 << 18;
    if layout & !(0xffff | IS_OFFSET | FAR_SETS | FAR_SETS_FIXED) != 0 {
        return None;
    }
    let byte = |shift: u32| {
        usize::try_from((layout >> shift) & 0xff)
            .ok()
            .filter(|copies| 0 < *copies)
    };
    let (near, far) = (byte(0)?, byte(8)?);
    // Sets are as large as the kernel chooses: members are then not told apart safely.
    let is_plain = layout & (FAR_SETS | FAR_SETS_FIXED) == 0;
    (is_plain || far == 1).then_some(Copies { near, far, set: 0 })
}

/// `near=2`, `far=2`, `offset=2`, also `near=1, far=2`.
fn copies_of_words(text: &str) -> Option<Copies> {
    let mut copies = Copies {
        near: 1,
        far: 1,
        set: 0,
    };
    let mut is_known = false;
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let (name, number) = part.split_once('=')?;
        let number = number.parse().ok().filter(|number| 0 < *number)?;
        match name {
            "near" => copies.near = number,
            "far" | "offset" => copies.far = number,
            _ => return None,
        }
        is_known = true;
    }
    is_known.then_some(copies)
}

fn sync_of(detail: &Detail, states: &[String]) -> Option<Sync> {
    let words = [
        ("recovering", Action::Recovery),
        ("resyncing", Action::Resync),
        ("reshaping", Action::Reshape),
        ("checking", Action::Check),
    ];
    let named = states.iter().find_map(|state| {
        let (_, action) = words.iter().find(|(word, _)| state.starts_with(word))?;
        Some((*action, state))
    });
    let percent = detail.progress();
    let action = named.map(|(action, _)| action).or_else(|| {
        let action = match percent?.0 {
            "Rebuild" => Action::Recovery,
            "Resync" => Action::Resync,
            "Reshape" => Action::Reshape,
            "Check" => Action::Check,
            _ => Action::Repair,
        };
        Some(action)
    })?;
    let waits = |word: &str| named.is_some_and(|(_, state)| state.contains(word));
    let progress = match percent {
        Some((_, percent)) => Progress::Running {
            percent,
            done_kib: None,
            total_kib: None,
            finish_min: None,
            speed_kib_per_s: None,
        },
        None if waits("PENDING") => Progress::Pending,
        None if waits("REMOTE") => Progress::Remote,
        None => Progress::Delayed,
    };
    Some(Sync { action, progress })
}
