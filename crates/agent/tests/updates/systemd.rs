//! A systemd with one unit, whose container the fake engine has, and which does what a test wants of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use muster_agent::runtime::EngineKind;
use muster_agent::update::{LastStart, Patience, TransactionError, UnitError, UnitState, Units, Updater};
use muster_base::shutdown::CancellationToken;
use muster_fake_engine::{Behaviour, FakeEngine, Fault};
use muster_model::CommandState;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use super::bench::{Firm, NAME, PATIENCE, REFERENCE, digest, image_id, update, updater_of};

pub(crate) const UNIT: &str = "web.service";

/// Where a restart ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Break {
    /// It never comes back, and nothing was done.
    Before,
    /// It never comes back, and all was done.
    After,
    /// Systemd refuses.
    Refused,
    /// Nobody answers, and all was done.
    Lost,
    /// From now on nobody answers, and nothing was done.
    Deaf,
    /// From now on nobody answers, and all was done.
    Mute,
    /// From now on nobody answers, and the unit was stopped.
    Fallen,
    /// Somebody has masked the unit.
    Masked,
    /// What it needs does not start.
    Dependency,
    /// It was stopped, and started too often.
    TooOften,
    /// It was stopped, and a condition of it is not met: systemctl does not call that a failure.
    Unmet,
    /// It was stopped, and what comes before its process failed.
    Prepared,
    /// It was stopped, and again while it started.
    Cancelled,
}

impl Break {
    /// What systemctl says.
    fn said(self) -> Result<(), UnitError> {
        let said = match self {
            Self::Before | Self::After | Self::Unmet => return Ok(()),
            Self::Lost | Self::Deaf | Self::Mute | Self::Fallen => {
                return Err(UnitError::Unanswered("systemctl did not end".to_owned()));
            }
            Self::Refused => "Access denied",
            Self::Masked => "Unit web.service is masked.",
            Self::Dependency => "A dependency job for web.service failed.",
            Self::TooOften => {
                "Job for web.service failed because start of the service was attempted too often."
            }
            Self::Prepared => {
                "Job for web.service failed because the control process exited with error code."
            }
            Self::Cancelled => "Job for web.service canceled.",
        };
        Err(UnitError::Failed(said.to_owned()))
    }

    /// Whether the unit is down afterwards, as it was before the restart began.
    fn stops(self) -> bool {
        matches!(
            self,
            Self::Fallen | Self::TooOften | Self::Unmet | Self::Prepared | Self::Cancelled
        )
    }
}

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// Systemd does.
    None,
    /// It does what it is told, and says nothing of its units.
    OfUnits,
    /// Nobody does.
    Total,
}

/// How a process that crashed is shown: it ended, and the unit with it.
fn crashed() -> LastStart {
    LastStart {
        result: "exit-code".to_owned(),
        has_run: true,
        status: Some(7),
        began_us: 10,
        ended_us: 20,
        left_us: 21,
        ..LastStart::default()
    }
}

/// A systemd with one unit, whose container the engine has.
pub(crate) struct Systemd {
    engine: Arc<FakeEngine>,
    body: Value,
    pub(crate) restarts: AtomicUsize,
    /// Starts that were not refused.
    starts: AtomicUsize,
    /// Which restart breaks, counted from 1, and how.
    pub(crate) fault: Mutex<Option<(usize, Break)>>,
    /// Rings when one never comes back.
    pub(crate) dead: CancellationToken,
    /// What is shown beside the truth.
    pub(crate) shown: Mutex<Option<UnitState>>,
    /// What is shown of the unit once it is down.
    pub(crate) down: Mutex<LastStart>,
    is_masked: AtomicBool,
    /// Whether anybody answers.
    pub(crate) silence: Mutex<Silence>,
}

impl Systemd {
    /// The truth.
    pub(crate) fn state(&self) -> UnitState {
        let monitor = self.engine.with(|world| world.monitor(NAME));
        let down = self.down.lock().clone();
        let (active, sub) = match down.result.as_str() {
            _ if monitor != 0 => ("active", "running"),
            "success" => ("inactive", "dead"),
            _ => ("failed", "failed"),
        };
        let load = if self.is_masked.load(Ordering::SeqCst) {
            "masked"
        } else {
            "loaded"
        };
        let invocation = format!("start {}", self.starts.load(Ordering::SeqCst));
        let last = if monitor == 0 { down } else { LastStart::default() };
        UnitState {
            id: UNIT.to_owned(),
            load: load.to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
            main_pid: monitor,
            is_restartable: true,
            last: LastStart { invocation, ..last },
        }
    }

    /// What a start does, whoever wants it: a restart, a boot, or somebody by hand.
    pub(crate) fn start(&self) -> Result<(), String> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        *self.down.lock() = crashed();
        self.engine.with(|world| world.replace(NAME, &self.body))
    }

    /// The unit is down, and this is how.
    pub(crate) fn stop(&self, down: LastStart) {
        *self.down.lock() = down;
        self.engine.with(|world| world.stop_and_forget(NAME));
    }

    /// Does what a restart that breaks so leaves behind.
    fn leave(&self, fault: Break) {
        match fault {
            Break::Deaf | Break::Mute | Break::Fallen => *self.silence.lock() = Silence::Total,
            Break::Masked => self.is_masked.store(true, Ordering::SeqCst),
            Break::Prepared | Break::Cancelled => {
                self.starts.fetch_add(1, Ordering::SeqCst);
            }
            _ => {}
        }
        if !fault.stops() {
            return;
        }
        let down = match fault {
            Break::TooOften => "start-limit-hit",
            Break::Unmet | Break::Fallen => "success",
            // What was killed while it started may have ended with 143.
            _ => "exit-code",
        };
        self.stop(LastStart {
            result: down.to_owned(),
            has_run: fault == Break::Cancelled,
            is_condition_unmet: fault == Break::Unmet,
            ..LastStart::default()
        });
    }
}

fn nobody() -> UnitError {
    UnitError::Unanswered("nobody answers".to_owned())
}

#[async_trait]
impl Units for Systemd {
    async fn show(&self, unit: &str) -> Result<UnitState, UnitError> {
        assert_eq!(unit, UNIT);
        if *self.silence.lock() != Silence::None {
            return Err(nobody());
        }
        let shown = self.shown.lock().clone();
        Ok(shown.unwrap_or_else(|| self.state()))
    }

    async fn restart(&self, unit: &str) -> Result<(), UnitError> {
        assert_eq!(unit, UNIT);
        if *self.silence.lock() == Silence::Total {
            return Err(nobody());
        }
        let number = self.restarts.fetch_add(1, Ordering::SeqCst) + 1;
        let fault = self
            .fault
            .lock()
            .filter(|(at, _)| *at == number)
            .map(|(_, fault)| fault);
        let Some(fault) = fault else {
            return self.start().map_err(UnitError::Failed);
        };
        if matches!(fault, Break::After | Break::Lost | Break::Mute) {
            let _ = self.start();
        }
        if matches!(fault, Break::Before | Break::After) {
            self.dead.cancel();
            return std::future::pending().await;
        }
        self.leave(fault);
        fault.said()
    }
}

/// A unit whose container runs version 1.
pub(crate) struct Bench {
    dir: TempDir,
    pub(crate) engine: Arc<FakeEngine>,
    pub(crate) systemd: Arc<Systemd>,
}

impl Bench {
    /// With a version 2 that behaves so.
    pub(crate) fn new(version_two: Behaviour) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let engine = Arc::new(FakeEngine::start(&dir.path().join("engine.sock")).expect("a socket"));
        let body = json!({
            "Image": REFERENCE, "Labels": {"PODMAN_SYSTEMD_UNIT": UNIT},
            "HostConfig": {"NetworkMode": "bridge", "AutoRemove": true, "Binds": ["named:/named"]},
        });
        engine.with(|world| {
            let line = [
                "podman",
                "run",
                "--replace",
                "--rm",
                "-d",
                "--name",
                NAME,
                REFERENCE,
            ];
            world.command_line = line.map(str::to_owned).to_vec();
            world.image(1, REFERENCE, json!({}), Behaviour::Runs);
            world.pullable(2, &format!("r.test/app@{}", digest()), json!({}), version_two);
            world.run(NAME, &body);
        });
        let systemd = Arc::new(Systemd {
            engine: Arc::clone(&engine),
            body,
            restarts: AtomicUsize::new(0),
            starts: AtomicUsize::new(1),
            fault: Mutex::default(),
            dead: CancellationToken::new(),
            shown: Mutex::default(),
            down: Mutex::new(crashed()),
            is_masked: AtomicBool::new(false),
            silence: Mutex::new(Silence::None),
        });
        Self { dir, engine, systemd }
    }

    pub(crate) fn updater(&self) -> Updater {
        self.updater_for(PATIENCE.patience)
    }

    /// One that asks who does not answer for so long.
    pub(crate) fn updater_for(&self, patience: Duration) -> Updater {
        let units = Arc::clone(&self.systemd) as Arc<dyn Units>;
        let (socket, data) = (self.dir.path().join("engine.sock"), self.dir.path().join("data"));
        let patience = Patience { patience, ..PATIENCE };
        updater_of(
            EngineKind::Podman,
            units,
            (patience, Duration::from_secs(30)),
            (&socket, &data),
            Firm::default(),
        )
    }

    /// The unit runs the image that belongs to this end, and would run it again after a boot.
    pub(crate) fn check(&self, state: CommandState, because: &str) {
        let expected = match state {
            CommandState::Succeeded => image_id(2),
            CommandState::Failed | CommandState::Refused | CommandState::Cancelled => image_id(1),
            other => panic!("{because}: nobody knows: {other:?}"),
        };
        let violations = self.engine.with(|world| world.violations().to_vec());
        assert!(violations.is_empty(), "{because}: {violations:?}");
        let running = self.engine.with(|world| world.running());
        assert_eq!(running, [(NAME.to_owned(), expected.clone())], "{because}");
        let restarted = self.engine.with(|world| world.replace(NAME, &self.systemd.body));
        restarted.expect("it starts again");
        let running = self.engine.with(|world| world.running());
        assert_eq!(running, [(NAME.to_owned(), expected)], "{because}: after a boot");
    }

    pub(crate) fn restarts(&self) -> usize {
        self.systemd.restarts.load(Ordering::SeqCst)
    }
}

/// Which call of its engine, counted from 1, gives the new image the name.
pub(crate) async fn tag_call() -> usize {
    let bench = Bench::new(Behaviour::Runs);
    bench.engine.break_call(usize::MAX, Fault::Refuse);
    update(&bench.updater(), Uuid::new_v4()).await.expect("an update");
    let calls = bench.engine.calls();
    let tag = calls.iter().rposition(|call| call.ends_with("/tag"));
    tag.expect("it was given its name") + 1
}

/// The reason of an update that failed, and what is told of it.
pub(crate) fn failed(result: Result<Value, TransactionError>) -> (&'static str, Value) {
    match result {
        Err(TransactionError::Failed { reason, result, .. }) => (reason, result.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}
