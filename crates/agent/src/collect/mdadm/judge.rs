//! How well an array is. Pure.
//!
//! That an array is `active` says nothing: one that lost two members of RAID 5 is active too. What counts is how many
//! members its level can lose, and which copies are gone. Only what was understood in full can be healthy.

use muster_model::Health;
use muster_parse::mdstat::{Access, Action, Activity, Progress};

use super::picture::{Copies, Picture, Role};

/// Most places of a RAID 10 whose copies are followed one by one.
const PLACES_MAX: usize = 4096;

/// A verdict in the making: the worst counts, and every reason stays.
#[derive(Debug, Default)]
struct Verdict {
    health: Option<Health>,
    reasons: Vec<String>,
}

impl Verdict {
    fn add(&mut self, health: Health, reason: impl Into<String>) {
        self.health = self.health.max(Some(health));
        self.reasons.push(reason.into());
    }
}

/// Judges an array, with the reasons.
pub(super) fn judge(array: &Picture) -> (Health, Vec<String>) {
    let mut verdict = Verdict::default();
    if !array.is_understood {
        let text = "not everything that is said of it was understood: see the problems";
        verdict.add(Health::Unknown, text);
    }
    match array.activity {
        Activity::Unknown => verdict.add(Health::Unknown, "its state is not known"),
        Activity::Broken => verdict.add(
            Health::Failed,
            "broken: a member it cannot do without is gone; bring it back, then restore from a backup what is damaged",
        ),
        Activity::Inactive => judge_inactive(array, &mut verdict),
        Activity::Active if array.is_container => judge_container(array, &mut verdict),
        Activity::Active => {
            judge_members(array, &mut verdict);
            judge_sync(array, &mut verdict);
            judge_rest(array, &mut verdict);
        }
    }
    judge_states(array, &mut verdict);
    if array.activity == Activity::Active && !array.says_state && !array.is_container {
        verdict.add(Health::Unknown, "what was read does not tell its state");
    }
    (verdict.health.unwrap_or(Health::Healthy), verdict.reasons)
}

fn judge_inactive(array: &Picture, verdict: &mut Verdict) {
    if array.is_container {
        judge_container(array, verdict);
    } else if array.members.is_empty() {
        verdict.add(
            Health::Unknown,
            "not started and without members: it is being put together or taken apart",
        );
    } else {
        verdict.add(
            Health::Failed,
            "not started, so that its data cannot be reached: look at its members with mdadm --examine, then try \
             mdadm --assemble",
        );
    }
}

fn judge_container(array: &Picture, verdict: &mut Verdict) {
    let failed = names(array, Role::Faulty);
    if !failed.is_empty() {
        verdict.add(Health::Warning, format!("failed: {}", failed.join(", ")));
    }
    if array.members.is_empty() {
        verdict.add(Health::Unknown, "a container without members");
    } else if array.container_arrays == 0 {
        verdict.add(Health::Unknown, "a container of which no array runs");
    } else {
        verdict
            .reasons
            .push("a container: its arrays are judged one by one".to_owned());
    }
}

fn judge_members(array: &Picture, verdict: &mut Verdict) {
    let failed = names(array, Role::Faulty);
    let gone: Vec<String> = array
        .members
        .iter()
        .filter(|member| member.is_gone)
        .map(|m| m.name.clone())
        .collect();
    let unnoticed = array
        .members
        .iter()
        .any(|member| member.is_gone && member.role == Role::Active);
    let lost = lost(array);
    let left = left(array, &lost);
    match (left, lost.len()) {
        (Left::Unknown, 0) => {}
        (Left::Unknown, count) => {
            let text = format!(
                "degraded: {count} members are missing, and whether it can do without them is not known"
            );
            verdict.add(Health::Critical, text);
        }
        (_, 0) => {}
        (Left::Nothing, count) => {
            let text = format!(
                "failed: {count} of {} members are missing, more than {} can lose; stop using it, and bring members \
                 back before anything else",
                array.up.as_ref().map_or(0, Vec::len),
                array.level.as_deref().unwrap_or("it")
            );
            verdict.add(Health::Failed, text);
        }
        (left, count) => {
            let (health, text) = degraded(array, left, count);
            verdict.add(health, text);
        }
    }
    if !failed.is_empty() {
        let text = format!(
            "failed: {}; replace, then mdadm --remove and --add",
            failed.join(", ")
        );
        verdict.add(Health::Warning, text);
    }
    if !gone.is_empty() {
        let noticed = if unnoticed {
            ", which md has not noticed yet"
        } else {
            ""
        };
        let text = format!("no longer in the server: {}{noticed}", gone.join(", "));
        verdict.add(Health::Warning, text);
    }
    judge_odd_members(array, verdict);
}

fn judge_odd_members(array: &Picture, verdict: &mut Verdict) {
    let is_counted = array.up.is_some();
    let is_odd = |member: &&super::picture::Member| member.role == Role::Unknown;
    if array.members.iter().any(|member| is_odd(&member)) {
        verdict.add(Health::Unknown, "the state of a member is not known");
    }
    match array.level.as_deref() {
        Some("linear" | "raid0") => {
            // Of these nothing counts the members; the kernel started it complete.
            if array.members.is_empty() {
                verdict.add(Health::Unknown, "its members are not known");
            } else if array
                .members
                .iter()
                .any(|member| member.role == Role::Faulty || member.is_gone)
            {
                verdict.add(Health::Failed, "failed: it cannot do without any member");
            }
        }
        Some("faulty") => verdict.add(
            Health::Unknown,
            "a driver for tests, which makes errors on purpose",
        ),
        Some(_) if !is_counted => verdict.add(Health::Unknown, "how many of its members work is not known"),
        Some(_) => {}
        None => verdict.add(Health::Unknown, "its level is not known"),
    }
}

fn degraded(array: &Picture, left: Left, count: usize) -> (Health, String) {
    let recovering = array.sync.as_ref().filter(|sync| sync.action == Action::Recovery);
    let spare = names(array, Role::Spare);
    let members = if count == 1 {
        "a member is missing".to_owned()
    } else {
        format!("{count} members are missing")
    };
    let (health, risk) = match left {
        Left::Some => (Health::Warning, "it can lose one more"),
        _ => (Health::Critical, "the next loss takes the data"),
    };
    match recovering.map(|sync| sync.progress) {
        Some(Progress::Running { percent, .. }) => (
            Health::Warning,
            format!("degraded: {members}, {risk}; recovering, {percent:.1} % done"),
        ),
        Some(_) => (
            Health::Warning,
            format!("degraded: {members}, {risk}; recovery waits for its turn"),
        ),
        None if !spare.is_empty() => {
            let frozen = if array.is_frozen {
                ": synchronisation is frozen"
            } else {
                ""
            };
            let text = format!(
                "degraded: {members}, {risk}; the spare {} is not used{frozen}",
                spare.join(", ")
            );
            (health, text)
        }
        None => (
            health,
            format!("degraded: {members}, {risk}; add a new one with mdadm --add"),
        ),
    }
}

/// The places without a member that works.
fn lost(array: &Picture) -> Vec<usize> {
    let up = array.up.iter().flatten().enumerate();
    let mut lost: Vec<usize> = up.filter(|(_, up)| !**up).map(|(place, _)| place).collect();
    // Counted only where mdstat and sysfs show no places.
    if array.up.is_none()
        && let Some(degraded) = array.degraded.and_then(|count| usize::try_from(count).ok())
    {
        lost.extend(0..degraded.min(PLACES_MAX));
    }
    lost
}

/// What an array could still lose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// It has lost too much already.
    Nothing,
    /// No more member.
    None,
    /// At least one more.
    Some,
    Unknown,
}

fn left(array: &Picture, lost: &[usize]) -> Left {
    let places = array.up.as_ref().map_or(0, Vec::len);
    let of = |bearable: usize| match bearable.checked_sub(lost.len()) {
        None => Left::Nothing,
        Some(0) => Left::None,
        Some(_) => Left::Some,
    };
    match array.level.as_deref() {
        Some("raid1" | "multipath") => of(places.saturating_sub(1)),
        Some("raid4" | "raid5") => of(1),
        Some("raid6") => of(2),
        Some("raid0" | "linear") => of(0),
        Some("raid10") => match array.copies.filter(|_| array.knows_places) {
            Some(copies) => copies_left(copies, places, lost),
            None => Left::Unknown,
        },
        _ => Left::Unknown,
    }
}

/// Where each chunk's copies are (md(4), drivers/md/raid10.c): near ones follow each other over all members, far and
/// offset ones are the same moved on by as many members as there are near ones.
fn copies_left(copies: Copies, places: usize, lost: &[usize]) -> Left {
    let Copies { near, far, set } = copies;
    let set = if set == 0 || places < set { places } else { set };
    if places == 0 || PLACES_MAX < places || places < near || near.saturating_mul(far) == 0 {
        return Left::Unknown;
    }
    let mut is_lost = vec![false; places];
    for place in lost {
        is_lost[*place] = true;
    }
    let fewest = (0..places).map(|chunk| {
        let first = chunk * near % places;
        let mut at: Vec<usize> = (0..near)
            .flat_map(|near_copy| {
                let place = (first + near_copy) % places;
                let base = place / set * set;
                (0..far).map(move |far_copy| base + (place - base + far_copy * near) % set)
            })
            .filter(|place| *place < places)
            .collect();
        at.sort_unstable();
        at.dedup();
        at.into_iter().filter(|place| !is_lost[*place]).count()
    });
    match fewest.min() {
        None => Left::Unknown,
        Some(0) => Left::Nothing,
        Some(1) => Left::None,
        Some(_) => Left::Some,
    }
}

fn judge_sync(array: &Picture, verdict: &mut Verdict) {
    let Some(sync) = &array.sync else { return };
    let is_whole = lost(array).is_empty();
    let done = match sync.progress {
        Progress::Running { percent, .. } => format!(", {percent:.1} % done"),
        Progress::Delayed => ", waits for another array".to_owned(),
        Progress::Pending => ", waits for the first write".to_owned(),
        Progress::Remote => ", on another node".to_owned(),
    };
    if sync.progress == Progress::Delayed && !array.knows_action {
        if is_whole {
            let (health, text) = unclear(array.neighbours);
            verdict.add(health, text);
        }
        return;
    }
    match sync.action {
        Action::Resync => {
            let text = format!("resync{done}: until it is through, copies or parity may not agree");
            verdict.add(Health::Warning, text);
        }
        Action::Recovery if is_whole && names(array, Role::Replacement).is_empty() => {
            verdict.add(Health::Warning, format!("recovery{done}"));
        }
        Action::Recovery if is_whole => {
            verdict.reasons.push(format!("a member is being replaced{done}"));
        }
        Action::Recovery => {}
        Action::Reshape => verdict.reasons.push(format!("reshape{done}")),
        Action::Check | Action::Repair => {}
    }
}

/// `resync=DELAYED` is written for a check that waits, too.
fn unclear(neighbours: Option<Action>) -> (Health, &'static str) {
    match neighbours {
        Some(Action::Check | Action::Repair) => (
            Health::Healthy,
            "waits for another array that is being checked, as it will be itself",
        ),
        Some(_) => (
            Health::Warning,
            "a resync waits for another array: until it is through, copies may not agree",
        ),
        None => (Health::Unknown, "a resync or a check waits; which, is not told"),
    }
}

fn judge_rest(array: &Picture, verdict: &mut Verdict) {
    if array.access == Access::ReadOnly {
        let text = "read-only: if not on purpose, look for a lost journal, then mdadm --readwrite";
        verdict.add(Health::Warning, text);
    }
    let mut journals = array.members.iter().filter(|member| member.role == Role::Journal);
    let is_wanted = array.consistency_policy.as_deref() == Some("journal");
    let journal_lost = journals.clone().any(|member| member.is_gone)
        || is_wanted && !array.members.is_empty() && journals.next().is_none();
    let stat = array.mdstat.iter().flat_map(|stat| &stat.members);
    let journal_failed = stat
        .into_iter()
        .any(|member| member.is_journal && member.is_faulty);
    if journal_lost || journal_failed {
        let text =
            "its journal is lost: it may not be written to until it has a new one, see mdadm --add-journal";
        verdict.add(Health::Critical, text);
    }
    judge_mismatches(array, verdict);
    let spares = u64::try_from(names(array, Role::Spare).len()).unwrap_or(u64::MAX);
    if let Some(expected) = array.spares_expected.filter(|expected| spares < *expected) {
        let text = format!("{spares} of {expected} spares that mdadm.conf expects are there");
        verdict.add(Health::Warning, text);
    }
    let errors = array.members.iter().filter_map(|member| {
        let errors = member.errors.filter(|errors| 0 < *errors)?;
        Some(format!("{} {errors}", member.name))
    });
    let errors: Vec<String> = errors.collect();
    if !errors.is_empty() {
        let text = format!(
            "read errors that were put right: {}; look at SMART",
            errors.join(", ")
        );
        verdict.reasons.push(text);
    }
    if array.level.as_deref() == Some("raid1") && array.up.as_ref().is_some_and(|up| up.len() == 1) {
        verdict
            .reasons
            .push("made for one member only: there is no copy".to_owned());
    }
}

/// Only a check counts what it finds; after a resync the number means something else.
fn judge_mismatches(array: &Picture, verdict: &mut Verdict) {
    let Some(count) = array.mismatch_count.filter(|count| 0 < *count) else {
        return;
    };
    let is_checking = array
        .sync
        .as_ref()
        .is_some_and(|sync| sync.action == Action::Check);
    match array.last_action.as_deref() {
        Some("repair") if !is_checking => {
            verdict
                .reasons
                .push(format!("the last repair made {count} sectors agree"));
        }
        Some("check") | None if array.sync.is_none() || is_checking => {
            let why = match array.level.as_deref() {
                Some("raid1" | "raid10") => "harmless for swap; otherwise compare with a backup, then repair",
                _ => "look for a bad disk, cable or memory, then repair",
            };
            verdict.add(
                Health::Warning,
                format!("a check found {count} sectors that do not agree: {why}"),
            );
        }
        _ => {}
    }
}

/// What mdadm itself thinks.
fn judge_states(array: &Picture, verdict: &mut Verdict) {
    const KNOWN: [&str; 19] = [
        // Of mdadm 1.
        "dirty",
        "no-errors",
        "clean",
        "active",
        "resyncing",
        "recovering",
        "reshaping",
        "checking",
        "degraded",
        "read-only",
        "readonly",
        "read-auto",
        "write-pending",
        "active-idle",
        "inactive",
        "Not Started",
        "broken",
        "suspended",
        "clear",
    ];
    for state in &array.states {
        let first = state.split('(').next().unwrap_or_default().trim_end();
        match first {
            "FAILED" if verdict.health < Some(Health::Failed) => {
                verdict.add(Health::Failed, "mdadm calls it failed");
            }
            "degraded" if verdict.health < Some(Health::Warning) => {
                verdict.add(Health::Critical, "mdadm calls it degraded");
            }
            "suspended" => verdict.add(Health::Warning, "suspended: all I/O waits"),
            "FAILED" => {}
            known if KNOWN.contains(&known) => {}
            unknown => verdict.add(
                Health::Unknown,
                format!("mdadm calls it {unknown:?}, which is not known"),
            ),
        }
    }
}

/// The members in a role.
pub(super) fn names(array: &Picture, role: Role) -> Vec<String> {
    let of_role = array.members.iter().filter(|member| member.role == role);
    of_role.map(|member| member.name.clone()).collect()
}
