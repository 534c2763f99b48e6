//! The order of a roll-out: one first, then more and more, and a stop as soon as it does harm.
//!
//! [`step`] is asked again and again with how things are; it says what the roll-out is from then on and what is to be
//! done. Whoever asks writes the first down before doing the second, so that an end in between loses nothing: a member
//! that was said to begin is begun under the same id again, and never under another.

use serde::{Deserialize, Serialize};

use crate::FieldProblem;
use crate::field::Problems;

/// How long it is waited after a wave: ten minutes.
pub const SOAK_MS_DEFAULT: i64 = 600_000;
/// The waves unless somebody says otherwise: one server, then 5, 25 and 100 % of them.
pub const WAVES_DEFAULT: [Wave; 4] = [
    Wave::Servers(1),
    Wave::Percent(5),
    Wave::Percent(25),
    Wave::Percent(100),
];
/// Most waves.
const WAVES_MAX: usize = 20;
/// Most members.
pub(crate) const MEMBERS_MAX: usize = 2_000;
/// How much of a later wave may fail, in percent.
const FAILED_PERCENT_MAX: usize = 5;
/// How many begin at once in a wave.
const AT_ONCE_MAX: usize = 10;
/// Times between beginnings of updates of one wave: never all at once.
const SPREAD_MS: i64 = 5_000;

/// Up to how many servers have it when a wave is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wave {
    /// This many.
    Servers(u32),
    /// This share of all, in percent.
    Percent(u8),
}

/// How far a member is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// Its wave has not come.
    #[default]
    Waiting,
    /// It was begun, or is about to be.
    Started,
    /// It runs the new image.
    Completed,
    /// It does not.
    Failed,
    /// There was nothing to do any more, or it may not be done.
    Skipped,
}

impl MemberState {
    const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Skipped)
    }
}

/// One container of a roll-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Number of the update.
    pub update_id: i64,
    /// Number of the container.
    pub container_id: i64,
    /// Number of its server.
    pub server_id: i64,
    /// How far it is.
    #[serde(default)]
    pub state: MemberState,
    /// The wave it belongs to, from 0.
    pub wave: usize,
}

/// What becomes of a roll-out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// It goes on.
    Running,
    /// Somebody stopped it for a while.
    Paused,
    /// It did harm: nothing more is begun until somebody resumes it.
    Stopped,
    /// Somebody ended it.
    Aborted,
    /// It is through.
    Completed,
}

impl RolloutState {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Aborted => "aborted",
            Self::Completed => "completed",
        }
    }

    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Aborted | Self::Completed)
    }
}

/// What somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RolloutBody {
    /// What people call it.
    pub name: String,
    /// A regular expression that the whole image reference of its containers matches.
    pub image_pattern: Option<String>,
    /// Numbers of updates; every one that is open and matches if absent.
    pub update_ids: Option<Vec<i64>>,
    /// The server that goes first; the one with the lowest number if absent.
    pub canary_server_id: Option<i64>,
    /// Up to how many servers have it after each wave.
    pub waves: Option<Vec<Wave>>,
    /// How long it is waited after a wave, in seconds.
    pub soak_s: Option<i64>,
}

/// A roll-out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// What people call it.
    pub name: String,
    /// Up to how many servers have it after each wave.
    pub waves: Vec<Wave>,
    /// How long it is waited after a wave, ms.
    pub soak_ms: i64,
    /// What becomes of it.
    pub state: RolloutState,
    /// Why it stopped, or what it waits for, in words.
    pub reason: String,
    /// The wave that it is at, from 0.
    pub wave: usize,
    /// When this wave began, Unix ms; `None` before it has.
    pub wave_began_ms: Option<i64>,
    /// When its last member was over, Unix ms; the soak counts from then.
    pub soak_began_ms: Option<i64>,
    /// When the last member was begun, Unix ms.
    pub last_start_ms: Option<i64>,
    /// Its containers.
    pub members: Vec<Member>,
}

/// How things are, as far as the servers of the waves so far are concerned.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gate {
    /// Why nothing at all is changed, if the switch is on.
    pub freeze: Option<String>,
    /// Members that were over since it was asked last: the update's number and what it became.
    pub over: Vec<(i64, MemberState)>,
    /// Servers of waves so far that are not heard of.
    pub silent_servers: Vec<i64>,
    /// Alerts that began on servers of waves so far since the first of them began, in words.
    pub new_alerts: Vec<String>,
}

/// What is to be done, once the roll-out is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Begin the update with this number, unless it has begun.
    Start(i64),
}

impl Rollout {
    /// Plans one for `candidates`: number of the update, container, server.
    ///
    /// # Errors
    /// Every problem with the field it is of.
    pub fn plan(body: &RolloutBody, candidates: &[(i64, i64, i64)]) -> Result<Self, Vec<FieldProblem>> {
        let mut problems = Problems::default();
        problems.text("name", &body.name, 200);
        let waves = body.waves.clone().unwrap_or_else(|| WAVES_DEFAULT.to_vec());
        check_waves(&waves, &mut problems);
        let soak_ms = body
            .soak_s
            .map_or(SOAK_MS_DEFAULT, |soak| soak.saturating_mul(1_000));
        if !(0..=7 * 86_400_000).contains(&soak_ms) {
            problems.note("soak_s", "must be from 0 to a week");
        }
        if candidates.is_empty() {
            problems.note("update_ids", "there is no open update that this takes");
        }
        if MEMBERS_MAX < candidates.len() {
            problems.note(
                "update_ids",
                format!(
                    "these are {}, and at most {MEMBERS_MAX} are taken",
                    candidates.len()
                ),
            );
        }
        let mut servers: Vec<i64> = candidates.iter().map(|(_, _, server)| *server).collect();
        servers.sort_unstable();
        servers.dedup();
        if let Some(canary) = body.canary_server_id {
            match servers.iter().position(|server| *server == canary) {
                Some(at) => servers[..=at].rotate_right(1),
                None => problems.note("canary_server_id", "none of the updates is on this server"),
            }
        }
        let (waves, wave_of) = assign(&waves, servers.len());
        let members = candidates
            .iter()
            .map(|(update_id, container_id, server_id)| {
                let at = servers.iter().position(|server| server == server_id).unwrap_or(0);
                Member {
                    update_id: *update_id,
                    container_id: *container_id,
                    server_id: *server_id,
                    state: MemberState::Waiting,
                    wave: wave_of.get(at).copied().unwrap_or(0),
                }
            })
            .collect();
        problems.finish(Some(Self {
            name: body.name.clone(),
            waves,
            soak_ms,
            state: RolloutState::Running,
            reason: String::new(),
            wave: 0,
            wave_began_ms: None,
            soak_began_ms: None,
            last_start_ms: None,
            members,
        }))
    }

    /// Somebody stops it for a while. `false` if it does not go on.
    pub fn pause(&mut self, by: &str) -> bool {
        let can = self.state == RolloutState::Running;
        if can {
            self.state = RolloutState::Paused;
            self.reason = format!("paused by {by}");
        }
        can
    }

    /// Somebody lets it go on: what failed so far does not count again. `false` if it was neither paused nor stopped.
    pub fn resume(&mut self, now_ms: i64) -> bool {
        let can = matches!(self.state, RolloutState::Paused | RolloutState::Stopped);
        if can {
            if self.state == RolloutState::Stopped {
                for member in &mut self.members {
                    if member.state == MemberState::Failed {
                        member.state = MemberState::Skipped;
                    }
                }
                // Alerts from before were seen by whoever resumes it.
                self.wave_began_ms = self.wave_began_ms.map(|_| now_ms);
                self.soak_began_ms = self.soak_began_ms.map(|_| now_ms);
            }
            self.state = RolloutState::Running;
            self.reason.clear();
        }
        can
    }

    /// Somebody ends it. What was begun goes on to its own end. `false` if it is over.
    pub fn abort(&mut self, by: &str) -> bool {
        let can = !self.state.is_over();
        if can {
            self.state = RolloutState::Aborted;
            self.reason = format!("ended by {by}");
            for member in &mut self.members {
                if member.state == MemberState::Waiting {
                    member.state = MemberState::Skipped;
                }
            }
        }
        can
    }

    /// Servers of the waves so far.
    #[must_use]
    pub fn reached_servers(&self) -> Vec<i64> {
        let mut servers: Vec<i64> = self
            .members
            .iter()
            .filter(|member| member.state != MemberState::Waiting && member.wave <= self.wave)
            .map(|member| member.server_id)
            .collect();
        servers.sort_unstable();
        servers.dedup();
        servers
    }

    fn stop(&mut self, reason: String) {
        self.state = RolloutState::Stopped;
        self.reason = reason;
    }

    fn of_wave(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.wave == self.wave)
    }

    /// Why no more may be begun, if something speaks against it.
    fn harm(&self, gate: &Gate) -> Option<String> {
        let failed = self
            .of_wave()
            .filter(|member| member.state == MemberState::Failed)
            .count();
        let all = self.of_wave().count();
        let is_too_much = if self.wave == 0 {
            0 < failed
        } else {
            FAILED_PERCENT_MAX * all < 100 * failed
        };
        if is_too_much {
            return Some(format!(
                "{failed} of {all} updates of wave {} failed",
                self.wave + 1
            ));
        }
        if let Some(server) = gate.silent_servers.first() {
            return Some(format!("server {server} is not heard of since its update"));
        }
        let first = gate.new_alerts.first()?;
        Some(format!(
            "{} new alerts since it began, the first is: {first}",
            gate.new_alerts.len()
        ))
    }
}

/// What a roll-out is from now on, and what is to be done.
#[must_use]
pub fn step(rollout: &Rollout, gate: &Gate, now_ms: i64) -> (Rollout, Vec<Action>) {
    let mut next = rollout.clone();
    for (update, state) in &gate.over {
        for member in &mut next.members {
            if member.update_id == *update && !member.state.is_over() {
                member.state = *state;
            }
        }
    }
    if next.state != RolloutState::Running {
        return (next, Vec::new());
    }
    if let Some(harm) = next.harm(gate) {
        next.stop(harm);
        return (next, Vec::new());
    }
    // Members that were said to begin are said again: whoever begins them knows what was begun.
    let mut actions: Vec<Action> = next
        .members
        .iter()
        .filter(|member| member.state == MemberState::Started)
        .map(|member| Action::Start(member.update_id))
        .collect();
    if gate.freeze.is_some() {
        "the freeze switch is on".clone_into(&mut next.reason);
        return (next, Vec::new());
    }
    next.reason.clear();
    if next.of_wave().all(|member| member.state.is_over()) {
        after_wave(&mut next, now_ms);
        return (next, actions);
    }
    next.wave_began_ms.get_or_insert(now_ms);
    let is_spread = next.last_start_ms.is_none_or(|last| last + SPREAD_MS <= now_ms);
    let under_way = next
        .of_wave()
        .filter(|member| member.state == MemberState::Started)
        .count();
    let wave = next.wave;
    let waiting = next
        .members
        .iter_mut()
        .find(|member| member.wave == wave && member.state == MemberState::Waiting);
    if let Some(member) = waiting.filter(|_| is_spread && under_way < AT_ONCE_MAX) {
        member.state = MemberState::Started;
        actions.push(Action::Start(member.update_id));
        next.last_start_ms = Some(now_ms);
    }
    (next, actions)
}

/// A wave is over: it soaks, and then comes the next.
fn after_wave(next: &mut Rollout, now_ms: i64) {
    let since = *next.soak_began_ms.get_or_insert(now_ms);
    let until = since.saturating_add(next.soak_ms);
    let is_last = next.members.iter().all(|member| member.state.is_over());
    if now_ms < until {
        let left_s = (until - now_ms).saturating_add(999) / 1_000;
        next.reason = format!("wave {} is watched for another {left_s} s", next.wave + 1);
    } else if is_last {
        next.state = RolloutState::Completed;
    } else {
        next.wave += 1;
        next.wave_began_ms = Some(now_ms);
        next.soak_began_ms = None;
    }
}

fn check_waves(waves: &[Wave], problems: &mut Problems) {
    if waves.is_empty() || WAVES_MAX < waves.len() {
        problems.note("waves", format!("1 to {WAVES_MAX} are expected"));
    }
    let is_odd = |wave: &Wave| match wave {
        Wave::Servers(count) => *count == 0,
        Wave::Percent(share) => !(1..=100).contains(share),
    };
    if waves.iter().any(is_odd) {
        problems.note("waves", "each has at least one server, or from 1 to 100 percent");
    }
}

/// The waves that have servers, and the wave of each of `count` servers. What no wave takes is in one more.
fn assign(waves: &[Wave], count: usize) -> (Vec<Wave>, Vec<usize>) {
    let mut kept = Vec::new();
    let mut wave_of = Vec::with_capacity(count);
    for wave in waves {
        let up_to = match wave {
            Wave::Servers(servers) => *servers as usize,
            Wave::Percent(share) => (count * usize::from(*share)).div_ceil(100),
        };
        let up_to = up_to.min(count);
        if wave_of.len() < up_to {
            wave_of.resize(up_to, kept.len());
            kept.push(*wave);
        }
    }
    if wave_of.len() < count {
        wave_of.resize(count, kept.len());
        kept.push(Wave::Percent(100));
    }
    (kept, wave_of)
}
