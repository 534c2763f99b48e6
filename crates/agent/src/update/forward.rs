//! The way forward, in the order in which a failure costs least.

use std::collections::BTreeMap;

use muster_base::ErrorChain;
use muster_base::shutdown::CancellationToken;
use muster_model::{CommandState, ContainerTarget, UpdatePlan};
use muster_recreate::{Asked, Input, Plan, Why, explain, plan as recreate};
use serde_json::{Value, json};
use uuid::Uuid;

use super::health::has_what_was_asked;
use super::record::{Record, Stage};
use super::undo::normal_image;
use super::{Tell, TransactionError, Updater, checks, is_running, reference, repository, text, unit};
use crate::runtime::{Engine, EngineError, EngineKind, PullProgress, RegistryAuth};

/// The repository of the names that keep old images from being pruned.
const ROLLBACK: &str = "muster-rollback";

/// Why the way forward ended.
#[derive(Debug)]
pub(super) struct Stop {
    pub(super) reason: &'static str,
    pub(super) message: String,
    /// The image failed by itself: nowhere should it be tried again.
    pub(super) is_image: bool,
}

impl Stop {
    pub(super) fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
            is_image: false,
        }
    }

    pub(super) fn by_image(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            is_image: true,
            ..Self::new(reason, message)
        }
    }

    #[expect(clippy::needless_pass_by_value, reason = "what an error is mapped by")]
    pub(super) fn engine(reason: &'static str, error: EngineError) -> Self {
        Self::new(reason, ErrorChain(&error).to_string())
    }

    #[expect(clippy::needless_pass_by_value, reason = "what an error is mapped by")]
    pub(super) fn journal(error: std::io::Error) -> Self {
        Self::new(
            "journal",
            format!("the journal can't be written: {}", ErrorChain(&error)),
        )
    }

    pub(super) fn cancelled() -> Self {
        Self::new("cancelled", "it was cancelled")
    }
}

/// Updates a container, or says why it did not.
pub(super) async fn update(
    updater: &Updater,
    command: Uuid,
    target: &ContainerTarget,
    plan: &UpdatePlan,
    auth: Option<&RegistryAuth>,
    tell: &dyn Tell,
    cancel: &CancellationToken,
) -> Result<Value, TransactionError> {
    tell.step("inspect", None, "reading the container and its image");
    let engine = updater.engine(&target.runtime)?;
    let engine = engine.as_ref();
    let container = checks::container(engine, target, Some(&plan.from_image_id)).await?;
    let _held = updater.hold(checks::keys(target, &container))?;
    let old_image = image(engine, &container).await?;
    let owned = unit::check(updater, engine, &container, &plan.image).await?;
    let asked = match &owned {
        Some(_) => None,
        None => checks::networks(engine, &container, old_image.as_ref()).await?,
    };
    updater
        .ground(engine, target, &container, old_image.as_ref())
        .await?;
    if plan.dry_run {
        return match &owned {
            Some(owned) => Ok(unit::dry_run(owned)),
            None => dry_run(engine, &container, (old_image.as_ref(), asked.as_ref()), plan).await,
        };
    }
    let mut record = begin(updater, command, target, plan, &container);
    record.unit = owned;
    record.old_digest = old_image
        .as_ref()
        .and_then(|image| digest_of(image, text(&container["Config"], "Image")));
    updater.save(&record).map_err(|error| {
        super::refused(
            "journal",
            format!("the journal can't be written: {}", ErrorChain(&error)),
        )
    })?;
    let run = Run {
        updater,
        engine,
        tell,
        cancel,
        old_image: old_image.as_ref(),
    };
    let result = run.pull_and_replace(&mut record, auth).await;
    run.end(&mut record, result).await
}

/// The image that a container was made of; `None`: it is gone.
async fn image(engine: &dyn Engine, container: &Value) -> Result<Option<Value>, TransactionError> {
    match engine.inspect_image(text(container, "Image")).await {
        Ok(image) => Ok(Some(image)),
        Err(EngineError::NotFound { .. }) => Ok(None),
        Err(error) => Err(checks::unreachable(&error)),
    }
}

/// The digest of an image in the repository of a reference.
pub(super) fn digest_of(image: &Value, reference: &str) -> Option<String> {
    let listed = image["RepoDigests"].as_array()?.iter().filter_map(Value::as_str);
    let mut own = listed.filter_map(|listed| {
        let (name, digest) = listed.split_once('@')?;
        (name == repository(reference)).then(|| digest.to_owned())
    });
    own.next()
}

/// A new journal.
pub(super) fn begin(
    updater: &Updater,
    command: Uuid,
    target: &ContainerTarget,
    plan: &UpdatePlan,
    container: &Value,
) -> Record {
    let mark: String = command.simple().to_string().chars().rev().take(8).collect();
    Record {
        command,
        runtime: target.runtime.to_string(),
        name: target.name.clone(),
        backup: format!("{}-old-{mark}", target.name),
        plan: plan.clone(),
        began_ms: updater.now_ms(),
        stage: Stage::Pull,
        old_id: text(container, "Id").to_owned(),
        old_image: normal_image(text(container, "Image")),
        rollback_tag: None,
        old_digest: None,
        new_id: None,
        new_image: None,
        is_retagged: false,
        tag_was: None,
        was_running: is_running(container),
        is_stop_sent: false,
        before: container.clone(),
        keep_until_ms: None,
        steps: Vec::new(),
        differences: Vec::new(),
        notes: Vec::new(),
        health: None,
        cause: None,
        reason: None,
        bad_digest: None,
        dependents: Vec::new(),
        ancestors: Vec::new(),
        attached: Vec::new(),
        asked: None,
        unit: None,
        outcome: None,
    }
}

/// What would be done.
async fn dry_run(
    engine: &dyn Engine,
    container: &Value,
    (old_image, asked): (Option<&Value>, Option<&Asked>),
    plan: &UpdatePlan,
) -> Result<Value, TransactionError> {
    let steps = [
        "pull", "rename", "create", "compare", "stop", "start", "health", "commit",
    ];
    let there = format!("{}@{}", repository(&plan.image), plan.to_digest);
    let new_image = match engine.inspect_image(&there).await {
        Ok(image) => image,
        Err(EngineError::NotFound { .. }) => {
            let message = "the image is not here yet, so what it changes is known only after the pull";
            return Ok(json!({"dry_run": true, "steps": steps, "message": message}));
        }
        Err(error) => return Err(checks::unreachable(&error)),
    };
    let names = names(engine).await.map_err(|error| checks::unreachable(&error))?;
    let input = Input {
        is_podman: engine.kind() == EngineKind::Podman,
        container,
        old_image,
        new_image: &new_image,
        image: &plan.image,
        asked,
        names: &names,
    };
    let made = recreate(&input).map_err(|error| super::refused("configuration", error.to_string()))?;
    let differences = foreseen(&input, &made);
    Ok(json!({"dry_run": true, "steps": steps, "differences": differences, "notes": notes(&made)}))
}

/// What the new container would differ in, as far as that can be told before it is there.
fn foreseen(input: &Input<'_>, made: &Plan) -> Vec<Value> {
    let before = &input.container["Config"];
    let keys = [
        "Env",
        "Cmd",
        "Entrypoint",
        "WorkingDir",
        "User",
        "Labels",
        "ExposedPorts",
        "Healthcheck",
    ];
    let image = |image: Option<&Value>, key: &str| image.map(|image| image["Config"][key].clone());
    let changed = keys.into_iter().filter(|key| {
        made.body[*key] != before[*key] && image(input.old_image, key) != image(Some(input.new_image), key)
    });
    changed
        .map(|key| json!({"path": format!("Config/{key}"), "why": "of the new image"}))
        .collect()
}

fn notes(plan: &Plan) -> Vec<String> {
    plan.notes
        .iter()
        .map(|note| format!("{}: {}", note.path, note.message))
        .collect()
}

/// Names of all containers by id.
async fn names(engine: &dyn Engine) -> Result<BTreeMap<String, String>, EngineError> {
    let all = engine.containers().await?;
    let named = all.iter().filter_map(|container| {
        // A link gives a container further names, with a slash in them.
        let names = container["Names"].as_array()?.iter().filter_map(Value::as_str);
        let name = names
            .map(|name| name.trim_start_matches('/'))
            .find(|name| !name.contains('/'))?;
        Some((text(container, "Id").to_owned(), name.to_owned()))
    });
    Ok(named.collect())
}

/// A transaction that is under way.
pub(super) struct Run<'a> {
    pub(super) updater: &'a Updater,
    pub(super) engine: &'a dyn Engine,
    pub(super) tell: &'a dyn Tell,
    pub(super) cancel: &'a CancellationToken,
    pub(super) old_image: Option<&'a Value>,
}

impl Run<'_> {
    pub(super) fn check_cancel(&self) -> Result<(), Stop> {
        if self.cancel.is_cancelled() {
            Err(Stop::cancelled())
        } else {
            Ok(())
        }
    }

    pub(super) fn enter(
        &self,
        record: &mut Record,
        stage: Stage,
        step: &'static str,
        message: &str,
    ) -> Result<(), Stop> {
        self.tell.step(step, None, message);
        self.updater.enter(record, stage, step)
    }

    async fn pull_and_replace(&self, record: &mut Record, auth: Option<&RegistryAuth>) -> Result<(), Stop> {
        self.keep_image(record).await?;
        self.pull(record, auth).await?;
        if record.new_image.as_ref() == Some(&record.old_image) {
            record
                .notes
                .push("the container runs from this image already".to_owned());
            return Ok(());
        }
        self.replace(record).await
    }

    /// Gives the old image a name of its own, so that no prune takes it.
    pub(super) async fn keep_image(&self, record: &mut Record) -> Result<(), Stop> {
        if self.old_image.is_none() {
            return Ok(());
        }
        let tag = record.command.simple().to_string();
        record.rollback_tag = Some(format!("{ROLLBACK}:{tag}"));
        self.enter(
            record,
            Stage::Pull,
            "keep",
            "giving the old image a name that keeps it",
        )?;
        let tagged = self.engine.tag(&record.old_image, ROLLBACK, &tag).await;
        tagged.map_err(|error| Stop::engine("keep", error))
    }

    async fn pull(&self, record: &mut Record, auth: Option<&RegistryAuth>) -> Result<(), Stop> {
        self.enter(record, Stage::Pull, "pull", "pulling the image")?;
        let plan = record.plan.clone();
        let progress = |seen: PullProgress| {
            let part = (0 < seen.total_bytes).then(|| seen.done_bytes as f64 / seen.total_bytes as f64);
            self.tell.step("pull", part, "pulling the image");
        };
        let pulling = self.engine.pull(
            repository(&plan.image),
            &plan.to_digest,
            plan.platform.as_deref(),
            auth,
            &progress,
        );
        let pulled = tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(Stop::cancelled()),
            pulled = pulling => pulled,
        };
        let image = pulled.map_err(|error| Stop::engine("pull", error))?;
        record.new_image = Some(image.0);
        Ok(())
    }

    /// From the pulled image to a container that is well.
    pub(super) async fn replace(&self, record: &mut Record) -> Result<(), Stop> {
        if record.unit.is_some() {
            return unit::replace(self, record).await;
        }
        let failed = |error| Stop::engine("engine", error);
        let id = record.new_image.clone().unwrap_or_default();
        let new_image = self.engine.inspect_image(&id).await.map_err(failed)?;
        let names = names(self.engine).await.map_err(failed)?;
        let before = record.before.clone();
        let asked = checks::networks(self.engine, &before, self.old_image).await;
        record.asked = asked.map_err(|error| Stop::new("podman_network", error.to_string()))?;
        let (reference_text, asked) = (record.plan.image.clone(), record.asked.clone());
        let input = Input {
            is_podman: self.engine.kind() == EngineKind::Podman,
            container: &before,
            old_image: self.old_image,
            new_image: &new_image,
            image: &reference_text,
            asked: asked.as_ref(),
            names: &names,
        };
        let made = recreate(&input).map_err(|error| Stop::new("configuration", error.to_string()))?;
        record.notes.extend(notes(&made));
        let found = super::dependents::of(self.engine, &record.old_id, &record.name).await;
        let mut found = found.map_err(failed)?;
        for names in [&mut found.sharing, &mut found.attached] {
            names.retain(|name| !record.ancestors.contains(name));
        }
        (record.dependents, record.attached) = (found.sharing, found.attached);
        self.check_cancel()?;
        if id != record.old_image
            && let Some((repository, tag)) = reference(&record.plan.image)
        {
            let holder = self.engine.inspect_image(&record.plan.image).await.ok();
            record.tag_was = holder.map(|image| normal_image(text(&image, "Id")));
            record.is_retagged = true;
            self.enter(record, Stage::Pull, "tag", "giving the new image its name")?;
            self.engine.tag(&id, &repository, &tag).await.map_err(failed)?;
        }
        self.create(record, &made).await?;
        self.compare(record, &input, &id).await?;
        self.check_cancel()?;
        self.swap(record).await
    }

    /// Makes the new container while the old one runs on: a mistake in its configuration costs no downtime.
    async fn create(&self, record: &mut Record, made: &Plan) -> Result<(), Stop> {
        let failed = |error| Stop::engine("create", error);
        self.enter(
            record,
            Stage::Rename,
            "rename",
            "the old container gives up its name",
        )?;
        self.engine
            .rename(&record.old_id, &record.backup)
            .await
            .map_err(failed)?;
        self.enter(record, Stage::Create, "create", "making the new container")?;
        let id = self
            .engine
            .create(&record.name, None, &made.body)
            .await
            .map_err(failed)?;
        record.new_id = Some(id.clone());
        for network in &made.networks {
            self.enter(record, Stage::Connect, "connect", "connecting it to its networks")?;
            let connected = self.engine.connect(&network.name, &id, &network.endpoint).await;
            connected.map_err(failed)?;
        }
        Ok(())
    }

    /// Nothing is stopped for a container that differs without a reason.
    async fn compare(&self, record: &mut Record, input: &Input<'_>, image: &str) -> Result<(), Stop> {
        self.enter(record, Stage::Connect, "compare", "comparing it with the old one")?;
        let id = record.new_id.clone().unwrap_or_default();
        let inspected = self.engine.inspect(&id).await;
        let after = inspected.map_err(|error| Stop::engine("compare", error))?;
        let found = explain(input, &after).map_err(|error| Stop::new("configuration", error.to_string()))?;
        record.differences = found.iter().map(muster_recreate::Difference::to_json).collect();
        let unexplained: Vec<&str> = found
            .iter()
            .filter(|difference| difference.why == Why::Unexplained)
            .map(|difference| difference.path.as_str())
            .collect();
        if !unexplained.is_empty() {
            let paths = unexplained.join(", ");
            return Err(Stop::new(
                "unexplained",
                format!("the new container would differ in what nothing explains: {paths}"),
            ));
        }
        if normal_image(text(&after, "Image")) != image {
            return Err(Stop::new(
                "image",
                "the engine made it of another image than the one that was pulled",
            ));
        }
        Ok(())
    }

    /// The only part in which neither may run.
    async fn swap(&self, record: &mut Record) -> Result<(), Stop> {
        let (old, new) = (record.old_id.clone(), record.new_id.clone().unwrap_or_default());
        let policy = text(&record.before["HostConfig"]["RestartPolicy"], "Name");
        if !matches!(policy, "" | "no") {
            self.enter(
                record,
                Stage::Neutralise,
                "policy",
                "the old one is not to start by itself",
            )?;
            let none = json!({"Name": "no", "MaximumRetryCount": 0});
            let is_set = self.engine.set_restart_policy(&old, &none).await;
            if !is_set.map_err(|error| Stop::engine("policy", error))? {
                let note = "this engine can't change a restart policy: after a boot both may run until the agent has started";
                record.notes.push(note.to_owned());
            }
        }
        if record.was_running {
            record.is_stop_sent = true;
            self.enter(record, Stage::Stop, "stop", "stopping the old container")?;
            self.engine
                .stop(&old, None)
                .await
                .map_err(|error| Stop::engine("stop", error))?;
            self.enter(record, Stage::Start, "start", "starting the new container")?;
            self.engine
                .start(&new)
                .await
                .map_err(|error| not_started(&error))?;
            self.enter(record, Stage::Health, "health", "watching the new container")?;
            self.updater.watch(self.engine, record, &new, self.cancel).await?;
            has_what_was_asked(self.engine, record, &new).await?;
        }
        self.commit(record)
    }

    pub(super) fn commit(&self, record: &mut Record) -> Result<(), Stop> {
        let grace = i64::try_from(record.plan.grace_ms).unwrap_or(i64::MAX);
        record.keep_until_ms = Some(self.updater.now_ms().saturating_add(grace));
        self.enter(
            record,
            Stage::Committed,
            "commit",
            "the new container has the place",
        )
    }

    /// Says what became of it, after putting everything back where that is due.
    pub(super) async fn end(
        &self,
        record: &mut Record,
        result: Result<(), Stop>,
    ) -> Result<Value, TransactionError> {
        let Err(stop) = result else {
            return Ok(self.succeeded(record).await);
        };
        record.cause = Some(stop.message.clone());
        record.reason.get_or_insert_with(|| stop.reason.to_owned());
        self.tell.step("rollback", None, &stop.message);
        let was_stopped = Stage::Stop <= record.stage;
        // Written down before, for whoever goes on with it.
        if stop.is_image {
            record.bad_digest = Some(record.plan.to_digest.clone());
        }
        let undone = self.updater.undo(self.engine, record).await;
        if record.unit.is_some() && undone.is_err() {
            // A unit that does not start with the old image either says nothing of the new one.
            record.bad_digest = None;
        }
        if was_stopped && undone.is_ok() {
            super::dependents::restart(self.engine, &record.dependents).await;
        }
        let (state, message) = match (&undone, stop.reason) {
            (Ok(()), "cancelled") => (
                CommandState::Cancelled,
                "cancelled; the old container is as before".to_owned(),
            ),
            (Ok(()), _) => (
                CommandState::Failed,
                format!("{}; the old container is as before", stop.message),
            ),
            (Err(why), _) => (
                CommandState::Unknown,
                format!("{}; putting it back: {why}", stop.message),
            ),
        };
        record.outcome = (record.stage.is_final()).then(|| (state, message.clone()));
        // What can't be written is found out again at the next start.
        let _ = self.updater.save(record);
        self.updater.journal.trim();
        Err(match state {
            CommandState::Cancelled => TransactionError::Cancelled { message },
            CommandState::Unknown => TransactionError::Unknown { message },
            _ => TransactionError::Failed {
                reason: stop.reason,
                message,
                result: Some(record.result()),
            },
        })
    }

    /// The end of the way forward.
    pub(super) async fn succeeded(&self, record: &mut Record) -> Value {
        if record.stage == Stage::Committed {
            let mut pending = std::mem::take(&mut record.dependents);
            pending.append(&mut record.attached);
            super::dependents::make_again(self.updater, self.engine, record, pending, self.tell).await;
        } else {
            record.stage = Stage::Done;
            if let Some(tag) = &record.rollback_tag {
                let _ = self.engine.remove_image(tag).await;
            }
        }
        record.outcome = Some((CommandState::Succeeded, "updated".to_owned()));
        let _ = self.updater.save(record);
        let result = record.result();
        if record.stage == Stage::Committed {
            super::reconcile::remove_old(self.updater, self.engine, record).await;
        }
        self.updater.journal.trim();
        result
    }
}

/// A taken port is this server's, an entry point that does not exist the image's.
fn not_started(error: &EngineError) -> Stop {
    let message = ErrorChain(error).to_string();
    match error {
        EngineError::Refused { .. } | EngineError::NotFound { .. } => {
            not_started_by(&message.clone(), message)
        }
        _ => Stop::new("start", message),
    }
}

/// The same of what an engine or systemd said.
pub(super) fn not_started_by(said: &str, message: String) -> Stop {
    let words = [
        "port is already allocated",
        "address already in use",
        "bind for",
        "no space left",
    ];
    let lower = said.to_ascii_lowercase();
    if words.iter().any(|word| lower.contains(word)) {
        Stop::new("start", message)
    } else {
        Stop::by_image("start", message)
    }
}
