//! What the controller itself knows of containers, as numbers: whether there is something new for one, and whether one
//! is missing.
//!
//! What cannot be told has no number, which is never 0.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use muster_base::id::{ResourceId, ServerId};
use muster_catalogue::{MUSTER_CONTAINER_MISSING, MUSTER_CONTAINER_UPDATE_AVAILABLE, Metric};
use muster_model::{Attribute, CommandState, Labels, ResourceKind, Verb};
use muster_update::{Candidate, Owner};

use super::inventory::{list, text};
use super::{Forgotten, Missing, Seen, UpdateError, Updates};
use crate::app::commands::CommandQuery;
use crate::app::resources::{ResourceFilter, ResourceView};
use crate::app::servers::ServerFilter;
use crate::app::status::ServerStatus;
use crate::app::{PAGE_LIMIT_MAX, PageRequest};

/// A container that is made again is away for a moment: only after this is it missing, ms.
const AWAY_MS: i64 = 5 * 60_000;
/// One that nobody made again for so long is not waited for any more, ms.
pub(super) const WAITED_FOR_MS: i64 = 7 * 86_400_000;
/// Of a removal by command the engine may be heard to tell so long before, ms: clocks differ.
const CLOCKS_MS: i64 = 10 * 60_000;
/// Most containers that are gone which are looked at.
const GONE_MAX: u64 = 10_000;
/// Most pages of commands that are read.
const PAGES_MAX: usize = 5;
/// An engine with as many may have more that nobody was told of: what is not told of is not gone.
const TOLD_MAX: usize = 800;

/// A number of a container.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The server.
    pub server: ServerId,
    /// What it is of: the container, or its server if the container is what may be gone.
    pub resource: ResourceId,
    /// What that is.
    pub kind: ResourceKind,
    /// What the number says.
    pub metric: Metric,
    /// Name and runtime of the container.
    pub labels: Labels,
    /// The number; `None` while it cannot be told.
    pub value: Option<f64>,
}

/// What decides whether containers are missing.
#[derive(Debug, Default)]
struct Presence {
    /// Servers that are heard.
    heard: HashSet<ServerId>,
    /// Engines that answer and have told of all they have, with whether they have any image.
    engines: HashMap<(ServerId, String), bool>,
    /// Ids of containers that are there: one under another name is not gone.
    ids: HashSet<(ServerId, String)>,
    names: HashSet<(ServerId, String, String)>,
    projects: HashSet<(ServerId, String, String)>,
    services: HashSet<(ServerId, String, String)>,
    /// Removed by a command, with when, Unix ms.
    removed: HashMap<(ServerId, String, String), i64>,
    /// Of which somebody said that they are meant to be gone, by number.
    forgotten: BTreeMap<i64, Forgotten>,
    now_ms: i64,
}

/// What a container is labelled by in series, as agents do it.
fn labels(seen: &Seen) -> Option<Labels> {
    let runtime = seen.target.runtime.as_str();
    let runtime = runtime.strip_prefix("runtime:").unwrap_or(runtime);
    let pairs = [("name", seen.target.name.as_str()), ("runtime", runtime)];
    // A name that no label takes has no series of the agent either.
    Labels::new(&pairs).ok()
}

/// Whether there is something new for a container.
pub(super) fn available(seen: &Seen, candidate: &Candidate) -> Option<Figure> {
    Some(Figure {
        server: seen.server(),
        resource: seen.view.id,
        kind: ResourceKind::Container,
        metric: MUSTER_CONTAINER_UPDATE_AVAILABLE,
        labels: labels(seen)?,
        value: match candidate {
            Candidate::Available(_) => Some(1.0),
            Candidate::Current => Some(0.0),
            Candidate::Unknown(_) => None,
        },
    })
}

fn missing(seen: &Seen, value: Option<f64>) -> Option<Figure> {
    Some(Figure {
        server: seen.server(),
        resource: seen.server().resource(),
        kind: ResourceKind::Server,
        metric: MUSTER_CONTAINER_MISSING,
        labels: labels(seen)?,
        value,
    })
}

impl Presence {
    fn place(seen: &Seen, what: &str) -> (ServerId, String, String) {
        (seen.server(), seen.target.runtime.to_string(), what.to_owned())
    }

    fn project(seen: &Seen) -> Option<(ServerId, String, String)> {
        Some(Self::place(seen, seen.container.compose_project.as_deref()?))
    }

    fn service(seen: &Seen) -> Option<(ServerId, String, String)> {
        let project = seen.container.compose_project.as_deref()?;
        let service = text(&seen.view, "compose_service")?;
        Some(Self::place(seen, &format!("{project}/{service}")))
    }

    /// Takes note of a container that is there.
    fn add(&mut self, seen: &Seen) {
        let id = seen.target.container_id.clone();
        self.ids.extend(id.map(|id| (seen.server(), id)));
        self.names.insert(Self::place(seen, &seen.target.name));
        self.projects.extend(Self::project(seen));
        self.services.extend(Self::service(seen));
    }

    /// Whether it can be said of a container's engine what it has; if so, whether that has any image.
    fn engine(&self, seen: &Seen) -> Option<bool> {
        let key = (seen.server(), seen.target.runtime.to_string());
        let has_images = self.engines.get(&key).copied()?;
        self.heard.contains(&seen.server()).then_some(has_images)
    }

    /// What is said of a container that is gone: nothing if somebody meant it to go, or it is there under another name.
    fn judge(&self, gone: &Seen) -> Option<Figure> {
        if self.said_of(gone).is_some() {
            return None;
        }
        missing(gone, self.value(gone)?)
    }

    /// What somebody said of this absence.
    fn said_of(&self, gone: &Seen) -> Option<&Forgotten> {
        let said = self.forgotten.get(&gone.container.id)?;
        (Some(said.gone_ms) == gone.view.gone_ms).then_some(said)
    }

    /// The number of a container that is gone and not meant to be, as far as it can be told; `None`: it may be.
    fn value(&self, gone: &Seen) -> Option<Option<f64>> {
        let gone_ms = gone.view.gone_ms?;
        let is_there = self.names.contains(&Self::place(gone, &gone.target.name))
            || gone
                .target
                .container_id
                .as_ref()
                .is_some_and(|id| self.ids.contains(&(gone.server(), id.clone())));
        let is_removed = self
            .removed
            .get(&Self::place(gone, &gone.target.name))
            .is_some_and(|at_ms| gone_ms - CLOCKS_MS <= *at_ms);
        if is_there || is_removed || !is_meant_to_stay(gone) {
            return None;
        }
        let Some(has_images) = self.engine(gone) else {
            return Some(None);
        };
        // An engine without any image has lost its store: then nobody has taken down a project.
        if has_images && self.is_taken_down(gone) {
            return None;
        }
        let is_away = AWAY_MS <= self.now_ms.saturating_sub(gone_ms);
        Some(is_away.then_some(1.0))
    }

    /// Whether compose may have done it: it takes whole projects down, and all but one container of a service.
    fn is_taken_down(&self, gone: &Seen) -> bool {
        let Some(project) = Self::project(gone) else {
            return false;
        };
        !self.projects.contains(&project)
            || Self::service(gone).is_some_and(|service| self.services.contains(&service))
    }
}

/// Whether a container is one that goes on until somebody ends it, and ran when it was seen last.
fn is_meant_to_stay(seen: &Seen) -> bool {
    let is_own = matches!(seen.container.owner, Owner::None | Owner::Compose);
    let policy = text(&seen.view, "restart_policy").unwrap_or_default();
    let is_kept = matches!(policy, "always" | "unless-stopped" | "on-failure");
    // Whoever stops a container first means it. Of one whose engine did not answer last nothing else is known.
    let status = text(&seen.view, "status").unwrap_or_default();
    let ran = matches!(status, "running" | "restarting" | "unknown");
    let is_once = list(&seen.view, "labels")
        .iter()
        .any(|label| label == "com.docker.compose.oneoff=True");
    let is_backup = seen
        .target
        .name
        .rsplit_once("-old-")
        .is_some_and(|(_, mark)| mark.len() == 8 && mark.chars().all(|c| c.is_ascii_hexdigit()));
    is_own && is_kept && ran && !is_once && !is_backup && !seen.container.is_auto_remove
}

impl Updates {
    /// Whether containers are missing: of those that are there, and of those that are gone and may not have been meant to.
    pub(super) async fn missing(&self, there: &[Seen]) -> Result<Vec<Figure>, UpdateError> {
        let mut presence = self.presence().await?;
        for seen in there {
            presence.add(seen);
        }
        let mut figures: Vec<Figure> = there
            .iter()
            .filter_map(|seen| missing(seen, presence.engine(seen).map(|_| 0.0)))
            .collect();
        for seen in &self.gone(presence.now_ms).await? {
            figures.extend(presence.judge(seen));
        }
        Ok(figures)
    }

    /// Containers that are gone and that somebody may wait for. Of several that had a name one after the other, the one
    /// that went last.
    async fn gone(&self, now_ms: i64) -> Result<Vec<Seen>, UpdateError> {
        let filter = ResourceFilter {
            kind: Some(ResourceKind::Container),
            gone_since_ms: Some(now_ms.saturating_sub(WAITED_FOR_MS)),
            ..ResourceFilter::default()
        };
        let (gone, _) = self.app().store().resources(&filter, 0, GONE_MAX).await?;
        let mut gone: Vec<Seen> = gone.into_iter().map(Seen::of).collect();
        gone.sort_by_key(|seen| std::cmp::Reverse(seen.view.gone_ms));
        let mut met = BTreeSet::new();
        gone.retain(|seen| met.insert(Presence::place(seen, &seen.target.name)));
        Ok(gone)
    }

    /// Containers that are missing, and those that somebody said are meant to be; what went last comes first.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn missing_containers(&self) -> Result<Vec<Missing>, UpdateError> {
        let mut presence = self.presence().await?;
        for seen in &self.containers(None).await? {
            presence.add(seen);
        }
        let gone = self.gone(presence.now_ms).await?.into_iter();
        Ok(gone
            .filter(|seen| presence.value(seen) == Some(Some(1.0)))
            .filter_map(|seen| {
                Some(Missing {
                    gone_ms: seen.view.gone_ms?,
                    forgotten: presence.said_of(&seen).cloned(),
                    seen,
                })
            })
            .collect())
    }

    async fn presence(&self) -> Result<Presence, UpdateError> {
        let mut presence = Presence {
            now_ms: self.now_ms(),
            removed: self.removed().await?,
            forgotten: self.forgotten().await?,
            ..Presence::default()
        };
        let servers = self.app().all_servers(ServerFilter::default()).await?;
        let is_heard = |status| matches!(status, ServerStatus::Online | ServerStatus::Failing);
        let heard = servers.iter().filter(|server| is_heard(server.status));
        presence.heard = heard.map(|server| server.id).collect();
        let mut with_images: HashSet<(ServerId, String)> = HashSet::new();
        for image in self.all(ResourceKind::Image, None).await? {
            let runtime = text(&image, "runtime").unwrap_or_default().to_owned();
            with_images.insert((image.server, runtime));
        }
        for runtime in self.runtimes().await? {
            let view = runtime.view;
            if has_told_all(&view) {
                let key = (view.server, view.key);
                let has_images = with_images.contains(&key);
                presence.engines.insert(key, has_images);
            }
        }
        Ok(presence)
    }

    /// What was removed by commands, with when.
    async fn removed(&self) -> Result<HashMap<(ServerId, String, String), i64>, UpdateError> {
        let since_ms = self.now_ms().saturating_sub(WAITED_FOR_MS + CLOCKS_MS);
        let query = CommandQuery {
            state: Some(CommandState::Succeeded),
            verb: Some("container.remove".to_owned()),
            ..CommandQuery::default()
        };
        let mut removed = HashMap::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let wanted = PageRequest {
                limit: Some(PAGE_LIMIT_MAX),
                cursor,
            };
            let page = self.app().commands().list(query.clone(), wanted).await?;
            let is_old = page.items.last().is_none_or(|row| row.changed_ms < since_ms);
            for row in page.items {
                if let Verb::ContainerRemove { target, .. } = row.verb {
                    let place = (row.server, target.runtime.to_string(), target.name);
                    let at_ms = removed.entry(place).or_insert(row.changed_ms);
                    *at_ms = (*at_ms).max(row.changed_ms);
                }
            }
            cursor = page.next;
            if is_old || cursor.is_none() {
                break;
            }
        }
        Ok(removed)
    }
}

/// Whether an engine answers, and what it has fits into what agents tell of.
fn has_told_all(runtime: &ResourceView) -> bool {
    let count = match runtime.attributes.get("containers_total") {
        Some(Attribute::Int(count)) => usize::try_from(*count).unwrap_or(usize::MAX),
        _ => return false,
    };
    text(runtime, "status") == Some("answers") && count < TOLD_MAX
}

#[cfg(test)]
mod tests {
    use muster_model::{Attributes, Health};

    use super::*;

    const NOW: i64 = 1_800_000_000_000;
    const SERVER: ServerId = ServerId(1);

    /// A container that runs and is meant to stay, unless these say otherwise.
    fn seen(name: &str, gone_ms: Option<i64>, other: &[(&str, &str)]) -> Seen {
        let mut texts = vec![
            ("runtime", "runtime:docker"),
            ("status", "running"),
            ("restart_policy", "always"),
            ("owner", "none"),
            ("container_id", name),
        ];
        texts.retain(|(name, _)| !other.iter().any(|(other, _)| other == name));
        texts.extend(other);
        let mut attributes: Attributes = texts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Attribute::Text(value.to_owned())))
            .collect();
        if let Some(Attribute::Text(label)) = attributes.remove("labels") {
            attributes.insert("labels".to_owned(), Attribute::List(vec![label]));
        }
        if attributes.remove("auto_remove").is_some() {
            attributes.insert("auto_remove".to_owned(), Attribute::Bool(true));
        }
        Seen::of(ResourceView {
            id: ResourceId(7),
            server: SERVER,
            kind: ResourceKind::Container,
            key: format!("container:docker:{name}"),
            name: name.to_owned(),
            health: Health::Healthy,
            health_reasons: Vec::new(),
            attributes,
            observed_ms: NOW - 600_000,
            first_seen_ms: NOW - 600_000,
            gone_ms,
        })
    }

    fn presence(has_images: bool, there: &[Seen]) -> Presence {
        let mut presence = Presence {
            heard: HashSet::from([SERVER]),
            engines: HashMap::from([((SERVER, "runtime:docker".to_owned()), has_images)]),
            now_ms: NOW,
            ..Presence::default()
        };
        for seen in there {
            presence.add(seen);
        }
        presence
    }

    const COMPOSE: [(&str, &str); 3] = [
        ("owner", "compose"),
        ("compose_project", "shop"),
        ("compose_service", "db"),
    ];

    #[test]
    fn one_that_ran_and_is_gone_is_missing_and_nothing_that_was_meant_to_go_is() {
        let gone_ms = NOW - AWAY_MS;
        let there = [
            seen("other", None, &[]),
            seen("renamed-to", None, &[("container_id", "renamed")]),
        ];
        let presence = presence(true, &there);
        let value = |other: &[(&str, &str)]| {
            let figure = presence.judge(&seen("web", Some(gone_ms), other));
            figure.map(|figure| figure.value)
        };
        assert_eq!(value(&[]), Some(Some(1.0)));
        assert_eq!(
            value(&[("status", "unknown")]),
            Some(Some(1.0)),
            "its engine was silent"
        );
        for meant in [
            [("status", "exited")].as_slice(),
            &[("status", "created")],
            &[("restart_policy", "no")],
            &[("auto_remove", "true")],
            &[("owner", "swarm")],
            &[("owner", "quadlet")],
            &[("container_id", "renamed")],
            &[("labels", "com.docker.compose.oneoff=True")],
            &COMPOSE,
        ] {
            assert_eq!(value(meant), None, "{meant:?}");
        }
        let of_name = |name: &str| presence.judge(&seen(name, Some(gone_ms), &[]));
        assert_eq!(of_name("other"), None, "another has its place");
        assert_eq!(of_name("web-old-0123abcd"), None, "an update kept it");
    }

    #[test]
    fn one_that_is_being_made_again_or_was_removed_by_a_command_is_not_missing() {
        let mut presence = presence(true, &[]);
        let away = seen("web", Some(NOW - AWAY_MS + 1), &[]);
        assert_eq!(presence.judge(&away).unwrap().value, None, "it may come back");
        let gone = seen("web", Some(NOW - AWAY_MS), &[]);
        let place = Presence::place(&gone, "web");
        presence.removed.insert(place.clone(), NOW - AWAY_MS - 1_000);
        assert_eq!(presence.judge(&gone), None);
        // A removal of one that had the name long before says nothing of it.
        presence.removed.insert(place, NOW - AWAY_MS - CLOCKS_MS - 1);
        assert_eq!(presence.judge(&gone).unwrap().value, Some(1.0));
    }

    #[test]
    fn what_somebody_said_is_meant_to_be_gone_is_not_missing_until_it_went_again() {
        let mut presence = presence(true, &[]);
        let gone = seen("web", Some(NOW - AWAY_MS), &[]);
        let said = Forgotten {
            gone_ms: NOW - AWAY_MS,
            by: "anna".to_owned(),
            at_ms: NOW,
        };
        presence.forgotten.insert(gone.container.id, said);
        assert_eq!(presence.judge(&gone), None);
        let again = seen("web", Some(NOW - AWAY_MS - 1), &[]);
        assert_eq!(
            presence.judge(&again).unwrap().value,
            Some(1.0),
            "another absence"
        );
    }

    #[test]
    fn nothing_is_said_while_the_server_or_its_engine_is_not_heard() {
        let gone = seen("web", Some(NOW - AWAY_MS), &[]);
        let mut silent = presence(true, &[]);
        silent.heard.clear();
        assert_eq!(silent.judge(&gone).unwrap().value, None);
        let mut silent = presence(true, &[]);
        silent.engines.clear();
        assert_eq!(silent.judge(&gone).unwrap().value, None);
    }

    #[test]
    fn what_compose_takes_down_is_not_missing_and_what_goes_from_among_its_own_is() {
        let gone = seen("shop-db-1", Some(NOW - AWAY_MS), &COMPOSE);
        assert_eq!(presence(true, &[]).judge(&gone), None, "the whole project");
        let mut web = COMPOSE;
        web[2] = ("compose_service", "web");
        let sibling = seen("shop-web-1", None, &web);
        let value = |there: &[Seen]| presence(true, there).judge(&gone).map(|figure| figure.value);
        assert_eq!(value(std::slice::from_ref(&sibling)), Some(Some(1.0)));
        let second = seen("shop-db-2", None, &COMPOSE);
        assert_eq!(value(&[sibling, second]), None, "fewer of one service");
        // Nobody takes a project down and all images with it: the engine has lost its store.
        let lost = presence(false, &[]).judge(&gone).unwrap();
        assert_eq!(lost.value, Some(1.0));
        assert_eq!(lost.labels.get("name"), Some("shop-db-1"));
    }
}
