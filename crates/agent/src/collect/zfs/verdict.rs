//! How well a pool is. Pure: from what zpool says, the time, and a limit.
//!
//! Healthy is only what was read whole, is ONLINE in every part, counts no error and has no word that is unknown. Each
//! reason says what it rests on and what to do.

use muster_model::Health;
use muster_parse::zpool::{Class, Pool, Scan, ScanKind, ScanState, State, Vdev};

/// Most devices that reasons name one by one.
const NAMED_MAX: usize = 8;

/// A judgement and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) health: Health,
    pub(super) reasons: Vec<String>,
}

impl Verdict {
    fn new() -> Self {
        Self {
            health: Health::Healthy,
            reasons: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, health: Health, reason: impl Into<String>) {
        self.health = self.health.max(health);
        let reason = reason.into();
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// Words of `status:` that are no fault: what could be switched on, and what only costs speed (zpool_main.c,
/// `print_status_reason` and its successors).
const HARMLESS: [&str; 7] = [
    "Some supported features are not enabled",
    "Some supported and requested features are not enabled",
    "The pool is formatted using a legacy on-disk format",
    "The pool is formatted using an older on-disk format",
    "One or more devices are configured to use a non-native block size",
    "One or more features are enabled on the pool despite not being requested",
    "One or more devices is currently being initialized",
];

/// Judges a pool by itself. How old the last scrub may be is [`judge_scrub`]'s.
pub(super) fn judge(pool: &Pool) -> Verdict {
    let mut verdict = Verdict::new();
    if pool.is_importable {
        verdict.add(
            Health::Unknown,
            "not imported: nothing is known of it but what its labels say",
        );
    }
    judge_state(pool, &mut verdict);
    judge_vdevs(pool, &mut verdict);
    judge_data(pool, &mut verdict);
    for scan in &pool.scans {
        judge_scan(scan, &mut verdict);
    }
    if pool.is_odd {
        verdict.add(
            Health::Unknown,
            "something that zpool says of it was not understood: see the problems",
        );
    }
    if let Some(status) = &pool.status
        && verdict.health < Health::Warning
        && !HARMLESS.iter().any(|words| status.starts_with(words))
    {
        verdict.add(Health::Warning, format!("zpool says: {status}"));
    }
    if verdict.health == Health::Healthy {
        verdict.reasons.push(healthy_words(pool));
        let status = pool.status.iter().map(|status| format!("zpool says: {status}"));
        verdict.reasons.extend(status);
    }
    verdict
}

fn healthy_words(pool: &Pool) -> String {
    match pool.scans.iter().find(|scan| scan.kind == ScanKind::Scrub) {
        Some(scan) if scan.state == ScanState::Finished => {
            "ONLINE in every part, no errors counted, the last scrub found no damage".to_owned()
        }
        _ => "ONLINE in every part, no errors counted".to_owned(),
    }
}

fn judge_state(pool: &Pool, verdict: &mut Verdict) {
    let action = match &pool.action {
        Some(action) => format!(": {action}"),
        None => ": see zpool status".to_owned(),
    };
    match pool.state {
        None => verdict.add(
            Health::Unknown,
            match &pool.state_word {
                Some(word) => format!("its state {word:.60?} is unknown"),
                None => "zpool does not say its state".to_owned(),
            },
        ),
        Some(State::Online) => {}
        Some(State::Degraded) => verdict.add(
            Health::Warning,
            format!("DEGRADED: works with less than it should have{action}"),
        ),
        Some(State::Suspended) => verdict.add(
            Health::Failed,
            format!("SUSPENDED: all reading and writing stands still{action}"),
        ),
        Some(state @ (State::Faulted | State::Unavail | State::Removed)) => {
            verdict.add(
                Health::Failed,
                format!("{}: cannot be used{action}", state.word()),
            );
        }
        Some(state) => verdict.add(
            Health::Unknown,
            format!("{}: is not in use, so that nothing is known of it", state.word()),
        ),
    }
    // Releases before 0.8 have no word for it.
    if let Some(status) = &pool.status
        && status.contains("are faulted in response to")
        && status.to_ascii_lowercase().contains("io failures")
        && pool.state != Some(State::Suspended)
    {
        verdict.add(Health::Failed, format!("stands still after I/O failures{action}"));
    }
}

fn judge_vdevs(pool: &Pool, verdict: &mut Verdict) {
    if pool.vdevs.len() < 2 && !matches!(pool.state, Some(State::Faulted | State::Unavail)) {
        verdict.add(Health::Unknown, "which devices it has is not known");
    }
    for top in pool.tops() {
        judge_top(pool, top, verdict);
    }
    let mut errors = Vec::new();
    for vdev in pool.vdevs.iter().skip(1) {
        judge_vdev(vdev, verdict);
        errors.extend(error_words(vdev));
    }
    // The pool's own line may count what none of its devices does.
    if errors.is_empty() {
        errors.extend(pool.root().and_then(error_words));
    }
    if !errors.is_empty() {
        let more = errors.len().saturating_sub(NAMED_MAX);
        errors.truncate(NAMED_MAX);
        let more = if 0 < more {
            format!(" and {more} more")
        } else {
            String::new()
        };
        verdict.add(
            Health::Warning,
            format!(
                "errors are counted on {}{more}: check disk and cabling, run zpool scrub, then zpool clear",
                errors.join(", ")
            ),
        );
    }
}

fn error_words(vdev: &Vdev) -> Option<String> {
    let counts: Vec<String> = [
        (vdev.read_errors, "read"),
        (vdev.write_errors, "write"),
        (vdev.checksum_errors, "checksum"),
    ]
    .into_iter()
    .filter_map(|(count, word)| Some(format!("{} {word}", count.filter(|count| 0 < *count)?)))
    .collect();
    (!counts.is_empty()).then(|| format!("{} ({})", vdev.name, counts.join(", ")))
}

/// One line of the tree, for itself.
fn judge_vdev(vdev: &Vdev, verdict: &mut Verdict) {
    let name = &vdev.name;
    let Some(state) = vdev.state else {
        let word = &vdev.state_word;
        verdict.add(
            Health::Unknown,
            format!("the state {word:.60?} of {name} is unknown"),
        );
        return;
    };
    if vdev.class == Class::Spare {
        if !matches!(state, State::Avail | State::Inuse | State::Online) {
            verdict.add(
                Health::Warning,
                format!("the spare {name} is {}: it cannot stand in", state.word()),
            );
        }
        return;
    }
    let has_counters = [vdev.read_errors, vdev.write_errors, vdev.checksum_errors]
        .iter()
        .all(Option::is_some);
    if !has_counters {
        verdict.add(
            Health::Unknown,
            format!("the error counters of {name} are not known"),
        );
    }
    if state == State::Online {
        return;
    }
    let is_bare = vdev.is_group || vdev.group_kind().is_some();
    if is_bare && vdev.class != Class::Cache {
        // Its members say why, and what is left of it is judged as a whole; the word alone still counts.
        verdict.health = verdict.health.max(Health::Warning);
        return;
    }
    let note = match &vdev.note {
        Some(note) => format!(" ({note})"),
        None => String::new(),
    };
    let what_to_do = match (state, vdev.class) {
        (State::Offline, _) => "bring it back with zpool online, or replace it",
        (State::Removed, _) => "put it back, or replace it with zpool replace",
        (_, Class::Cache) => "only reading becomes slower; replace it when convenient",
        _ => "replace it with zpool replace",
    };
    verdict.add(
        Health::Warning,
        format!("{name}{note} is {}: {what_to_do}", state.word()),
    );
}

/// What is left of one of the vdevs that data is spread over. Only caches may be lost without harm.
fn judge_top(pool: &Pool, top: usize, verdict: &mut Verdict) {
    let vdev = &pool.vdevs[top];
    if matches!(vdev.class, Class::Cache | Class::Spare) {
        return;
    }
    let (name, group) = (&vdev.name, vdev.group_kind());
    match group {
        Some("indirect" | "hole") => return,
        Some("missing") => {
            verdict.add(Health::Failed, format!("{name}: a whole vdev is missing"));
            return;
        }
        _ => {}
    }
    let is_dead = matches!(
        vdev.state,
        Some(State::Faulted | State::Unavail | State::Removed | State::Offline)
    );
    if is_dead && vdev.class == Class::Log {
        verdict.add(
            Health::Critical,
            format!("the log {name} cannot be used: what was written last may be lost with a crash"),
        );
        return;
    }
    if is_dead {
        verdict.add(
            Health::Failed,
            format!("{name} cannot be used: what is on it is lost unless it comes back"),
        );
        return;
    }
    judge_members(pool, top, verdict);
}

/// How many of the members of a vdev are left.
fn judge_members(pool: &Pool, top: usize, verdict: &mut Verdict) {
    let vdev = &pool.vdevs[top];
    let (name, group) = (&vdev.name, vdev.group_kind());
    let members: Vec<usize> = pool.children(top).collect();
    if members.is_empty() {
        if vdev.state == Some(State::Degraded) {
            verdict.add(
                Health::Critical,
                format!("{name} is DEGRADED and nothing else holds what is on it"),
            );
        }
        return;
    }
    let spare_count = match (group, vdev.parity()) {
        (Some("mirror" | "replacing" | "spare"), _) => members.len() - 1,
        (_, Some(parity)) => parity,
        _ => return,
    };
    let lost = members
        .iter()
        .filter(|&&member| !holds_data(pool, member, 0))
        .count();
    if lost == 0 {
        return;
    }
    // After a short absence a member is ONLINE while it catches up; one that takes the place of another is not yet
    // worth anything, and its group DEGRADED.
    let gone = if vdev.state == Some(State::Online) {
        0
    } else {
        lost
    };
    if spare_count <= gone {
        // What a log holds is also in memory: it takes a crash besides to lose it.
        let health = if vdev.class == Class::Log {
            Health::Warning
        } else {
            Health::Critical
        };
        verdict.add(
            health,
            format!("{name} has no redundancy left: one more failure loses data"),
        );
    } else if gone == 0 {
        verdict.add(
            Health::Warning,
            format!("{name}: {lost} of its members do not hold everything yet: wait for the resilver"),
        );
    } else {
        verdict.add(
            Health::Warning,
            format!(
                "{name} can lose {} of its members instead of {spare_count}",
                spare_count - gone
            ),
        );
    }
}

/// Groups within groups end soon: replacing within spare within raidz.
const DEPTH_MAX: usize = 8;

/// Whether a member can be read from, and holds all it should.
fn holds_data(pool: &Pool, place: usize, depth: usize) -> bool {
    let vdev = &pool.vdevs[place];
    if vdev.is_group && depth < DEPTH_MAX {
        return pool
            .children(place)
            .any(|member| holds_data(pool, member, depth + 1));
    }
    let is_filling = ["resilver", "resilvering"].iter().any(|words| vdev.notes(words));
    is_usable(vdev) && !is_filling
}

fn is_usable(vdev: &Vdev) -> bool {
    matches!(vdev.state, Some(State::Online | State::Degraded | State::Inuse))
}

fn judge_data(pool: &Pool, verdict: &mut Verdict) {
    let errors = &pool.errors;
    let what_to_do = "restore what zpool status -v names from a backup";
    match errors.count {
        Some(count) if 0 < count => verdict.add(
            Health::Critical,
            format!("data is lost in {count} places: {what_to_do}"),
        ),
        _ if errors.is_listed => verdict.add(Health::Critical, format!("data is lost: {what_to_do}")),
        _ if errors.unavailable.is_some() => verdict.add(
            Health::Critical,
            "there are data errors, and their list is not to be had: run zpool status -v as root",
        ),
        Some(_) => {}
        None if matches!(pool.state, Some(State::Suspended)) => {}
        None => verdict.add(Health::Unknown, "whether data is damaged is not known"),
    }
}

fn judge_scan(scan: &Scan, verdict: &mut Verdict) {
    let errors = scan.errors.unwrap_or(0);
    match (scan.kind, scan.state) {
        (ScanKind::Resilver, ScanState::InProgress | ScanState::Paused) => verdict.add(
            Health::Warning,
            match scan.percent {
                Some(percent) => {
                    format!("a resilver is {percent:.2} % done: redundancy is back when it ends")
                }
                None => "a resilver runs: redundancy is back when it ends".to_owned(),
            },
        ),
        (ScanKind::Resilver, ScanState::Canceled) => verdict.add(
            Health::Warning,
            "a resilver was cancelled: start it again with zpool resilver",
        ),
        (_, ScanState::Finished | ScanState::InProgress | ScanState::Paused) if 0 < errors => verdict.add(
            Health::Warning,
            format!(
                "the last {} met {errors} errors that it could not repair: see zpool status -v",
                scan.kind.as_str().replace('_', " ")
            ),
        ),
        _ => {}
    }
}

/// Says when everything was last read too long ago. `age_s` is that of the last scrub or resilver, of the pool itself if
/// there was none.
pub(super) fn judge_scrub(verdict: &mut Verdict, age_s: Option<i64>, limit_s: Option<u64>, ever: bool) {
    let (Some(age_s), Some(limit_s)) = (age_s.and_then(|age| u64::try_from(age).ok()), limit_s) else {
        return;
    };
    if age_s <= limit_s {
        return;
    }
    const DAY_S: u64 = 86_400;
    let (age, limit) = (age_s / DAY_S, limit_s / DAY_S);
    let since = if ever {
        format!("the last scrub ended {age} days ago")
    } else {
        format!("it was never scrubbed in the {age} days it exists")
    };
    if verdict.health == Health::Healthy {
        verdict.reasons.clear();
    }
    verdict.add(
        Health::Warning,
        format!("{since}, more than {limit}: run zpool scrub, best by a timer"),
    );
}
