//! What goes on by itself: looking what there is, beginning what may begin, following what was begun.
//!
//! Never more than one update at a time on a server, what a container depends on goes before it, and few begin at
//! once over the fleet ([`AT_ONCE_MAX`]).

mod follow;
mod unknown;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use muster_base::ErrorChain;
use muster_base::id::{ResourceId, ServerId};
use muster_model::{ResourceKind, UpdatePlan, Verb};
use muster_update::{
    Approval, Candidate, Circumstances, Decision, Explanation, Hold, HoldKind, Offer, Policy, Window,
    explain, select,
};
use serde_json::json;
use uuid::Uuid;

use super::figures::{self, Figure};
use super::holds::Ground;
use super::notice::Event;
use super::{
    Bad, Freeze, History, HistoryBody, IssueError, Order, Seen, Update, UpdateBody, UpdateError, UpdateState,
    Updates,
};
use crate::store::{UpdateQuery, UpdateRow, UpdateWrite};

/// How many updates begin in one look at the fleet: never all in the same minute.
const AT_ONCE_MAX: usize = 5;
/// Most updates that are looked at.
const OPEN_MAX: u64 = 20_000;
/// An update that was begun and of which no command is known is given up after this, ms.
const LOST_AFTER_MS: i64 = 3_600_000;
/// What a server itself holds is tried again after this, ms.
const HELD_MS: i64 = 900_000;
/// How long the new container may be on its way to health, ms.
const HEALTH_TIMEOUT_MS: u64 = 300_000;
/// How long it must run without a restart when it has no health check, ms.
const STABLE_MS: u64 = 30_000;
/// How long the old one is kept, stopped, ms.
const GRACE_MS: u64 = 600_000;

/// Everything that decisions rest on, read once for many of them.
pub(super) struct Basis {
    pub(super) policies: Vec<Policy>,
    windows: Vec<Window>,
    pub(super) bad: Bad,
    freeze: Freeze,
    /// Containers that open roll-outs have, with the roll-out.
    in_rollouts: HashMap<i64, i64>,
    grounds: HashMap<ServerId, Ground>,
    now_ms: i64,
}

/// A container with what there is for it, and what follows.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The container.
    pub seen: Seen,
    /// What the registry said.
    pub candidate: Candidate,
    /// What follows.
    pub explanation: Explanation,
    /// The update, if there is one.
    pub update: Option<Update>,
}

impl Updates {
    pub(super) async fn basis(&self) -> Result<Basis, UpdateError> {
        let mut in_rollouts = HashMap::new();
        for kept in self.open_rollouts().await? {
            for member in &kept.rollout.members {
                in_rollouts.insert(member.container_id, kept.id);
            }
        }
        Ok(Basis {
            policies: self.policies().await?,
            windows: self.windows().await?,
            bad: self.bad().await?,
            freeze: self.freeze().await?,
            in_rollouts,
            grounds: HashMap::new(),
            now_ms: self.now_ms(),
        })
    }

    /// What there is for a container, by what its own update or the registries say.
    pub(super) async fn candidate_of(&self, seen: &Seen, policies: &[Policy], bad: &Bad) -> Candidate {
        if seen.container.image.is_empty() {
            return Candidate::Unknown("its image reference is not known".to_owned());
        }
        let asked = seen.asked(select(&seen.container, policies), &bad.digests);
        self.inner.candidates.candidate(&asked).await
    }

    /// Judges one container.
    pub(super) async fn judge(
        &self,
        basis: &mut Basis,
        seen: &Seen,
        candidate: &Candidate,
        update: Option<&Update>,
        approval: &Approval,
    ) -> Result<Explanation, UpdateError> {
        let server = seen.server();
        if let Entry::Vacant(place) = basis.grounds.entry(server) {
            place.insert(self.ground(server).await?);
        }
        let mut holds = basis
            .grounds
            .get(&server)
            .map(|ground| ground.holds(seen, update, basis.now_ms))
            .unwrap_or_default();
        if let Some(rollout) = basis.in_rollouts.get(&seen.container.id)
            && matches!(approval, Approval::None | Approval::Approved(_))
        {
            holds.push(Hold {
                kind: HoldKind::Rollout,
                words: format!("roll-out {rollout} has it and says when its turn comes"),
            });
        }
        let bad_digest = match candidate {
            Candidate::Available(offer) => basis.bad.reason(offer),
            _ => None,
        };
        Ok(explain(
            &seen.container,
            candidate,
            &Circumstances {
                policies: &basis.policies,
                windows: &basis.windows,
                holds: &holds,
                bad_digest,
                freeze: basis.freeze.words(),
                approval,
                now_ms: basis.now_ms,
            },
        ))
    }

    /// Why a container is (not) updated.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`] or a failure of the database.
    pub async fn explain(&self, container: i64) -> Result<Judged, UpdateError> {
        let seen = self.container(container).await?;
        let mut basis = self.basis().await?;
        let candidate = self.candidate_of(&seen, &basis.policies, &basis.bad).await;
        let query = UpdateQuery {
            container: Some(container),
            ..UpdateQuery::default()
        };
        let updates = self.updates_of(&query).await?;
        let update = match &candidate {
            Candidate::Available(offer) => updates.into_iter().find(|update| update.digest == offer.digest),
            _ => updates.into_iter().find(Update::is_under_way),
        };
        let approval = update.as_ref().map_or(Approval::None, approval_of);
        let explanation = self
            .judge(&mut basis, &seen, &candidate, update.as_ref(), &approval)
            .await?;
        Ok(Judged {
            seen,
            candidate,
            explanation,
            update,
        })
    }

    /// What there is for each container, of what is known; asks nobody.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn availability(&self, containers: &[Seen]) -> Result<HashMap<i64, Candidate>, UpdateError> {
        let (policies, bad) = (self.policies().await?, self.bad().await?);
        let mut found = HashMap::with_capacity(containers.len());
        for seen in containers {
            let candidate = self.candidate_of(seen, &policies, &bad).await;
            found.insert(seen.container.id, candidate);
        }
        Ok(found)
    }

    pub(super) async fn updates_of(&self, query: &UpdateQuery) -> Result<Vec<Update>, UpdateError> {
        let (rows, _) = self.app().store().updates(query, 0, OPEN_MAX).await?;
        Ok(rows.into_iter().map(Update::try_from).collect::<Result<_, _>>()?)
    }

    /// Looks at every container and writes down what there is for it. To be called after registries were asked. Returns
    /// what follows, as numbers.
    ///
    /// # Errors
    /// A failure of the database; what was not written is the next time.
    pub async fn refresh(&self) -> Result<Vec<Figure>, UpdateError> {
        let _only = self.inner.only.lock().await;
        let containers = self.containers(None).await?;
        let (policies, bad) = (self.policies().await?, self.bad().await?);
        let known = self.updates_of(&UpdateQuery::default()).await?;
        let mut by_container: BTreeMap<i64, Vec<Update>> = BTreeMap::new();
        for update in known {
            by_container.entry(update.container_id).or_default().push(update);
        }
        let mut figures = self.missing(&containers).await?;
        for seen in &containers {
            let mine = by_container.remove(&seen.container.id).unwrap_or_default();
            let candidate = self.candidate_of(seen, &policies, &bad).await;
            figures.extend(figures::available(seen, &candidate));
            self.reconcile(seen, &candidate, mine, &policies).await?;
        }
        // Those of containers that are gone.
        let gone = by_container
            .into_values()
            .flatten()
            .filter(|update| update.state.is_open());
        let writes: Vec<UpdateWrite> = gone.map(|update| UpdateWrite::Forget(update.id)).collect();
        self.app().store().write_updates(&writes).await?;
        Ok(figures)
    }

    async fn reconcile(
        &self,
        seen: &Seen,
        candidate: &Candidate,
        known: Vec<Update>,
        policies: &[Policy],
    ) -> Result<(), UpdateError> {
        let offer = match candidate {
            // What was known stays: a registry that does not answer takes nothing back.
            Candidate::Unknown(_) => return Ok(()),
            Candidate::Current => None,
            Candidate::Available(offer) => Some(offer),
        };
        let is_passed_over = |update: &&Update| {
            update.state.is_open() && offer.is_none_or(|offer| offer.digest != update.digest)
        };
        let mut writes: Vec<UpdateWrite> = known
            .iter()
            .filter(is_passed_over)
            .map(|update| UpdateWrite::Forget(update.id))
            .collect();
        let mut made = None;
        if let Some(offer) = offer
            && !known.iter().any(|update| update.digest == offer.digest)
        {
            let update = offered(seen, offer, self.now_ms());
            writes.push(UpdateWrite::Update(update.row()?));
            made = Some(update);
        }
        let ids = self.app().store().write_updates(&writes).await?;
        if let Some(mut update) = made {
            update.id = ids.last().copied().unwrap_or(0);
            let policy = select(&seen.container, policies);
            let notes = offer
                .and_then(|offer| offer.release_notes.clone())
                .unwrap_or_default();
            self.notify(Event::Available, &update, None, policy, &notes)
                .await?;
            self.told(&update);
        }
        Ok(())
    }

    pub(super) fn told(&self, update: &Update) {
        self.tell(
            "update",
            json!({
                "id": update.id, "container_id": update.container_id, "server_id": update.server_id,
                "state": update.state, "command_id": update.body.command_id,
            }),
        );
    }

    /// Follows what was begun, goes on with roll-outs, and begins what may begin. To be called every few seconds.
    ///
    /// # Errors
    /// A failure of the database; what was not done is the next time.
    pub async fn tick(&self) -> Result<(), UpdateError> {
        let _only = self.inner.only.lock().await;
        self.follow().await?;
        let mut basis = self.basis().await?;
        self.step_rollouts(&mut basis).await?;
        self.begin_ready(&mut basis).await
    }

    async fn begin_ready(&self, basis: &mut Basis) -> Result<(), UpdateError> {
        if basis.freeze.frozen {
            return Ok(());
        }
        let query = UpdateQuery {
            states: vec!["pending", "approved", "in_progress", "unknown"],
            ..UpdateQuery::default()
        };
        let updates = self.updates_of(&query).await?;
        // Where nobody knows whether one goes on, no other begins.
        let busy: HashSet<i64> = updates
            .iter()
            .filter(|update| update.is_under_way())
            .map(|update| update.server_id)
            .collect();
        let mut ready: BTreeMap<i64, Vec<(Seen, Update, Explanation)>> = BTreeMap::new();
        let seen = self.seen_of(&updates).await?;
        for update in updates {
            if !update.state.is_open() || busy.contains(&update.server_id) {
                continue;
            }
            let Some(seen) = seen.get(&update.container_id) else {
                continue;
            };
            let candidate = Candidate::Available(offer_of(&update));
            let approval = approval_of(&update);
            let explanation = self
                .judge(basis, seen, &candidate, Some(&update), &approval)
                .await?;
            if explanation.decision == Decision::Ready {
                let of_server = ready.entry(update.server_id).or_default();
                of_server.push((seen.clone(), update, explanation));
            }
        }
        let mut begun = 0;
        for of_server in ready.into_values() {
            if begun == AT_ONCE_MAX {
                break;
            }
            let first = first_in_order(&of_server);
            let Some((seen, update, explanation)) = of_server.into_iter().nth(first) else {
                continue;
            };
            // Asked anew: what was offered then may not be what runs, or what is offered, by now.
            let candidate = self.candidate_of(&seen, &basis.policies, &basis.bad).await;
            if !matches!(&candidate, Candidate::Available(offer) if offer.digest == update.digest) {
                continue;
            }
            let by = match (&update.body.decided_by, explanation.policy_id) {
                (Some(by), _) => by.clone(),
                (None, Some(policy)) => format!("policy {policy}"),
                (None, None) => "nobody".to_owned(),
            };
            begun += 1;
            if let Err(error) = self.begin(&seen, update, &explanation, &by, None).await {
                tracing::warn!(error = %ErrorChain(&error), container = seen.container.id, "an update was not begun");
            }
        }
        Ok(())
    }

    pub(super) async fn seen_of(&self, updates: &[Update]) -> Result<HashMap<i64, Seen>, UpdateError> {
        let ids: BTreeSet<i64> = updates.iter().map(|update| update.container_id).collect();
        let ids: Vec<ResourceId> = ids.into_iter().map(ResourceId).collect();
        let views = self.app().store().resources_of_ids(&ids).await?;
        Ok(views
            .into_iter()
            .filter(|view| view.kind == ResourceKind::Container && view.gone_ms.is_none())
            .map(|view| (view.id.0, Seen::of(view)))
            .collect())
    }

    /// Begins an update: it is written down, then the agent is told. Returns it as it is then.
    pub(super) async fn begin(
        &self,
        seen: &Seen,
        mut update: Update,
        explanation: &Explanation,
        by: &str,
        rollout: Option<i64>,
    ) -> Result<Update, UpdateError> {
        let now_ms = self.now_ms();
        update.body.from_image.clone_from(&seen.container.image);
        seen.image_id().clone_into(&mut update.body.from_image_id);
        update.body.from_digest = seen.digest().map(str::to_owned);
        update.body.is_rollback = false;
        update.body.rollout_id = rollout;
        let policy_id = explanation.policy_id;
        let history = history_of(&update, by, policy_id, now_ms);
        self.write_begun(&mut update, history, by, now_ms).await?;
        let basis = self.policies().await?;
        let policy = basis.iter().find(|policy| Some(policy.id) == policy_id);
        self.notify(Event::Start, &update, update.body.history_id, policy, "")
            .await?;
        self.send(update, &plan_verb(seen), by).await
    }

    /// Writes down that it is begun: from here on the command belongs to this attempt alone.
    pub(super) async fn write_begun(
        &self,
        update: &mut Update,
        history: History,
        by: &str,
        now_ms: i64,
    ) -> Result<(), UpdateError> {
        update.body.attempts += 1;
        update.body.command_id = None;
        // Known after the first write; an end before the second leaves the record that is open.
        update.body.history_id = None;
        update.body.refused = None;
        update.body.held = None;
        update.body.held_until_ms = None;
        update.body.unknown = None;
        update.body.unknown_since_ms = None;
        update.body.begun_by = Some(by.to_owned());
        update.body.begun_ms = Some(now_ms);
        update.state = UpdateState::InProgress;
        update.changed_ms = now_ms;
        let store = self.app().store();
        let ids = store
            .write_updates(&[
                UpdateWrite::Update(update.row()?),
                UpdateWrite::History(history.row()?),
            ])
            .await?;
        update.body.history_id = ids.last().copied();
        store.write_updates(&[UpdateWrite::Update(update.row()?)]).await?;
        Ok(())
    }

    /// Tells the agent, unless it was told: then the command is found again.
    pub(super) async fn send(
        &self,
        mut update: Update,
        target: &(dyn Fn(&Update) -> Verb + Sync),
        by: &str,
    ) -> Result<Update, UpdateError> {
        let reference = update.reference();
        let issue = &self.inner.issue;
        let id = match issue.find(&reference).await? {
            Some(id) => id,
            None => {
                let order = Order {
                    server: ServerId(update.server_id),
                    verb: target(&update),
                    by: by.to_owned(),
                    reference: Some(reference),
                    // The container goes back to this; an update's verb names its own.
                    pulls: update.body.is_rollback.then(|| update.body.from_image.clone()),
                };
                match issue.issue(order).await {
                    Ok(id) => id,
                    Err(error @ IssueError::Store(_)) => return Err(error.into()),
                    Err(error) => {
                        let words = error.to_string();
                        self.finish(&mut update, UpdateState::Failed, &words, None, false)
                            .await?;
                        return Err(error.into());
                    }
                }
            }
        };
        self.note_command(&mut update, id).await?;
        Ok(update)
    }

    async fn note_command(&self, update: &mut Update, id: Uuid) -> Result<(), UpdateError> {
        update.body.command_id = Some(id);
        update.changed_ms = self.now_ms();
        let mut writes = vec![UpdateWrite::Update(update.row()?)];
        if let Some(mut history) = self.history_of(update).await? {
            history.body.command_id = Some(id);
            writes.push(UpdateWrite::History(history.row()?));
        }
        self.app().store().write_updates(&writes).await?;
        self.told(update);
        Ok(())
    }
}

/// What people said of an update.
pub(super) fn approval_of(update: &Update) -> Approval {
    let by = update.body.decided_by.clone().unwrap_or_default();
    match update.state {
        UpdateState::Approved => Approval::Approved(by),
        UpdateState::Rejected => Approval::Rejected(by),
        _ => Approval::None,
    }
}

pub(super) fn offer_of(update: &Update) -> Offer {
    Offer {
        image: update.body.to_image.clone(),
        digest: update.digest.clone(),
        platform_digest: update.body.platform_digest.clone(),
        first_seen_ms: update.body.first_seen_ms,
        release_notes: update.body.release_notes.clone(),
    }
}

fn offered(seen: &Seen, offer: &Offer, now_ms: i64) -> Update {
    Update {
        id: 0,
        server_id: seen.container.server,
        container_id: seen.container.id,
        digest: offer.digest.clone(),
        state: UpdateState::Pending,
        body: UpdateBody {
            container_name: seen.container.name.clone(),
            from_image: seen.container.image.clone(),
            from_image_id: seen.image_id().to_owned(),
            from_digest: seen.digest().map(str::to_owned),
            to_image: offer.image.clone(),
            change: Some(offer.change_from(&seen.container.image)),
            first_seen_ms: offer.first_seen_ms,
            platform_digest: offer.platform_digest.clone(),
            release_notes: offer.release_notes.clone(),
            ..UpdateBody::default()
        },
        created_ms: now_ms,
        changed_ms: now_ms,
    }
}

/// Tag of a reference, for people.
fn tag(image: &str) -> Option<String> {
    let image = image.split('@').next()?;
    let (_, tag) = image.rsplit_once(':')?;
    (!tag.contains('/')).then(|| tag.to_owned())
}

pub(super) fn history_of(update: &Update, by: &str, policy_id: Option<i64>, now_ms: i64) -> History {
    let triggered_by = if update.body.rollout_id.is_some() || by.starts_with("policy ") {
        "policy".to_owned()
    } else {
        format!("user:{by}")
    };
    History {
        id: 0,
        server_id: update.server_id,
        container_id: update.container_id,
        update_id: update.id,
        status: UpdateState::InProgress,
        body: HistoryBody {
            container_name: update.body.container_name.clone(),
            update_type: if update.body.is_rollback {
                "rollback"
            } else {
                "update"
            }
            .to_owned(),
            from_image: update.body.from_image.clone(),
            from_tag: tag(&update.body.from_image),
            from_digest: update.body.from_digest.clone(),
            to_image: update.body.to_image.clone(),
            to_tag: tag(&update.body.to_image),
            to_digest: Some(update.digest.clone()),
            change: update.body.change,
            triggered_by,
            policy_id,
            rollout_id: update.body.rollout_id,
            ..HistoryBody::default()
        },
        started_ms: now_ms,
        completed_ms: None,
    }
}

/// What the agent is told to do for an update of this container.
pub(super) fn plan_verb(seen: &Seen) -> impl Fn(&Update) -> Verb {
    let (target, platform) = (seen.target.clone(), seen.platform().map(str::to_owned));
    move |update| Verb::ContainerUpdate {
        target: target.clone(),
        plan: UpdatePlan {
            image: update.body.to_image.clone(),
            from_image_id: update.body.from_image_id.clone(),
            to_digest: update.digest.clone(),
            platform: platform.clone(),
            health_timeout_ms: HEALTH_TIMEOUT_MS,
            stable_ms: STABLE_MS,
            grace_ms: GRACE_MS,
            dry_run: false,
        },
    }
}

/// Which of these goes first: one that depends on none of the others; where they go in a circle, the first.
fn first_in_order(ready: &[(Seen, Update, Explanation)]) -> usize {
    let names: HashSet<&str> = ready.iter().map(|(seen, ..)| seen.target.name.as_str()).collect();
    let is_free = |seen: &Seen| {
        let mut others = seen.depends_on.iter().map(|name| name.trim_start_matches('/'));
        !others.any(|name| name != seen.target.name && names.contains(name))
    };
    ready.iter().position(|(seen, ..)| is_free(seen)).unwrap_or(0)
}

/// Rows as updates.
pub(super) fn read_all(rows: Vec<UpdateRow>) -> Result<Vec<Update>, UpdateError> {
    Ok(rows.into_iter().map(Update::try_from).collect::<Result<_, _>>()?)
}
