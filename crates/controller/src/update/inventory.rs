//! Containers and runtimes as they were told, in the words of updates.

use std::collections::BTreeMap;
use std::sync::Arc;

use muster_base::id::{ResourceId, ServerId};
use muster_model::{Attribute, ContainerTarget, ResourceKey, ResourceKind};
use muster_update::{Container, Owner, Reach};

use super::model::HostSettings;
use super::{Asked, FieldProblem, UpdateError, Updates, model};
use crate::app::PAGE_LIMIT_MAX;
use crate::app::resources::{ResourceFilter, ResourceView};

/// Most containers that are looked at.
const CONTAINERS_MAX: usize = 100_000;

/// A container as it was told.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its resource.
    pub view: ResourceView,
    /// As deciding needs it.
    pub container: Container,
    /// As commands name it.
    pub target: ContainerTarget,
    /// Names of containers that must be there before it.
    pub depends_on: Vec<String>,
}

/// A runtime as it was told.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// Its resource.
    pub view: ResourceView,
}

/// A text of a resource.
pub(crate) fn text<'a>(view: &'a ResourceView, name: &str) -> Option<&'a str> {
    match view.attributes.get(name) {
        Some(Attribute::Text(text)) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// A list of a resource.
pub(crate) fn list<'a>(view: &'a ResourceView, name: &str) -> &'a [String] {
    match view.attributes.get(name) {
        Some(Attribute::List(list)) => list,
        _ => &[],
    }
}

fn flag(view: &ResourceView, name: &str) -> bool {
    matches!(view.attributes.get(name), Some(Attribute::Bool(true)))
}

impl Seen {
    /// Reads a resource that is a container.
    #[must_use]
    pub fn of(view: ResourceView) -> Self {
        let labels: BTreeMap<String, String> = list(&view, "labels")
            .iter()
            .filter_map(|label| label.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let container = Container {
            id: view.id.0,
            server: view.server.0,
            name: view.name.clone(),
            image: text(&view, "image").unwrap_or_default().to_owned(),
            labels,
            owner: Owner::from_word(text(&view, "owner").unwrap_or_default()),
            compose_project: text(&view, "compose_project").map(str::to_owned),
            is_auto_remove: flag(&view, "auto_remove"),
        };
        let target = ContainerTarget {
            runtime: ResourceKey::new(text(&view, "runtime").unwrap_or_default()),
            name: view.name.trim_start_matches('/').to_owned(),
            container_id: text(&view, "container_id").map(str::to_owned),
        };
        Self {
            depends_on: list(&view, "depends_on").to_vec(),
            container,
            target,
            view,
        }
    }

    /// Its server.
    #[must_use]
    pub const fn server(&self) -> ServerId {
        self.view.server
    }

    /// Id of the image it runs.
    #[must_use]
    pub fn image_id(&self) -> &str {
        text(&self.view, "image_id").unwrap_or_default()
    }

    /// Digest of what it runs.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        text(&self.view, "current_digest")
    }

    /// `os/architecture`.
    #[must_use]
    pub fn platform(&self) -> Option<&str> {
        text(&self.view, "platform")
    }

    /// What a registry is asked for it, under the terms of a policy and its own labels and with what is known to do harm.
    #[must_use]
    pub fn asked(&self, policy: Option<&muster_update::Policy>, bad: &Arc<[String]>) -> Asked {
        let reach = Reach::of(&self.container, policy);
        Asked {
            image: self.container.image.clone(),
            platform: self.platform().map(str::to_owned),
            current_digest: self.digest().map(str::to_owned),
            repo_digests: list(&self.view, "repo_digests").to_vec(),
            image_id: self.image_id().to_owned(),
            limit: Some(reach.limit),
            allowed_versions: policy.and_then(|policy| policy.body.allowed_versions.clone()),
            excluded_versions: policy.map_or_else(Vec::new, |policy| policy.body.exclude_versions.clone()),
            min_age_ms: reach.min_age_ms,
            created_ms: text(&self.view, "created_at")
                .and_then(|at| at.parse::<jiff::Timestamp>().ok())
                .map(jiff::Timestamp::as_millisecond),
            bad: Arc::clone(bad),
        }
    }
}

impl Updates {
    /// Every container that is there, of one server or of all.
    ///
    /// # Errors
    /// [`AppError::NotFound`](crate::app::AppError::NotFound) if the server is not there, or a failure of the database.
    pub async fn containers(&self, server: Option<ServerId>) -> Result<Vec<Seen>, UpdateError> {
        let views = self.all(ResourceKind::Container, server).await?;
        Ok(views.into_iter().map(Seen::of).collect())
    }

    /// Every runtime that is there.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn runtimes(&self) -> Result<Vec<Runtime>, UpdateError> {
        let views = self.all(ResourceKind::Runtime, None).await?;
        Ok(views.into_iter().map(|view| Runtime { view }).collect())
    }

    pub(super) async fn all(
        &self,
        kind: ResourceKind,
        server: Option<ServerId>,
    ) -> Result<Vec<ResourceView>, UpdateError> {
        let filter = ResourceFilter {
            server,
            kind: Some(kind),
            ..ResourceFilter::default()
        };
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let limit = u64::from(PAGE_LIMIT_MAX);
            let (rows, _) = self.app().store().resources(&filter, after, limit).await?;
            let Some(last) = rows.last() else { break };
            after = last.id.0;
            let is_last = rows.len() < PAGE_LIMIT_MAX as usize;
            all.extend(rows);
            if is_last || CONTAINERS_MAX <= all.len() {
                break;
            }
        }
        Ok(all)
    }

    /// One container that is there.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`] or a failure of the database.
    pub async fn container(&self, id: i64) -> Result<Seen, UpdateError> {
        let view = self.one(id, ResourceKind::Container).await?;
        view.map(Seen::of).ok_or(UpdateError::NotFound {
            what: "container",
            id,
        })
    }

    /// One runtime that is there.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`] or a failure of the database.
    pub async fn runtime(&self, id: i64) -> Result<Runtime, UpdateError> {
        let view = self.one(id, ResourceKind::Runtime).await?;
        view.map(|view| Runtime { view }).ok_or(UpdateError::NotFound {
            what: "container host",
            id,
        })
    }

    async fn one(&self, id: i64, kind: ResourceKind) -> Result<Option<ResourceView>, UpdateError> {
        let view = self.app().store().resource(ResourceId(id)).await?;
        Ok(view.filter(|view| view.kind == kind && view.gone_ms.is_none()))
    }

    /// What people say of a runtime.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn host_settings(&self, id: i64) -> Result<HostSettings, UpdateError> {
        match self.app().store().update_setting(&format!("host:{id}")).await? {
            Some((body, _)) => Ok(model::read("update_setting.body", body)?),
            None => Ok(HostSettings::default()),
        }
    }

    /// Changes what people say of a runtime; what is `None` stays.
    ///
    /// # Errors
    /// [`UpdateError::NotFound`], [`UpdateError::Invalid`] or a failure of the database.
    pub async fn change_host(
        &self,
        id: i64,
        name: Option<String>,
        description: Option<String>,
        enabled: Option<bool>,
    ) -> Result<Runtime, UpdateError> {
        let runtime = self.runtime(id).await?;
        let mut problems = Vec::new();
        for (field, text, chars_max) in [("name", &name, 200), ("description", &description, 2_000)] {
            let is_wrong = text
                .as_ref()
                .is_some_and(|text| text.trim().is_empty() || chars_max < text.chars().count());
            if is_wrong {
                problems.push(FieldProblem {
                    field: field.to_owned(),
                    message: format!("1 to {chars_max} characters are taken"),
                });
            }
        }
        if !problems.is_empty() {
            return Err(UpdateError::Invalid(problems));
        }
        let before = self.host_settings(id).await?;
        let settings = HostSettings {
            name: name.or(before.name),
            description: description.or(before.description),
            enabled: enabled.or(before.enabled),
        };
        let body = model::write(&settings)?;
        let store = self.app().store();
        store
            .put_update_setting(&format!("host:{id}"), body, self.now_ms())
            .await?;
        Ok(runtime)
    }
}
