//! The way to agents through the controller's own commands.

use std::time::Duration;

use async_trait::async_trait;
use muster_image::Reference;
use muster_model::{CommandStatus, Verb};
use uuid::Uuid;

use super::seam::{Issue, IssueError, Order};
use crate::app::commands::{
    self, CommandQuery, CommandRow, Commands, IssueOptions, Issuer, RegistryCredential,
};
use crate::app::{AppError, PAGE_LIMIT_MAX, PageRequest};
use crate::registry::Registries;

/// How long an update may wait for its agent: it is judged again afterwards, by what is then.
const TTL: Duration = Duration::from_secs(300);
/// Most pages that are read to find a command again.
const PAGES_MAX: usize = 10;

/// Commands, issued in the name of whoever wants an update.
pub struct ByCommand {
    /// The commands.
    pub commands: Commands,
    /// Who has the credentials that a pull needs; `None`: nobody.
    pub registries: Option<Registries>,
}

impl ByCommand {
    /// What the agent shows the registry when it pulls for this.
    async fn credential(&self, verb: &Verb) -> Result<Option<RegistryCredential>, IssueError> {
        let (Verb::ContainerUpdate { plan, .. }, Some(registries)) = (verb, &self.registries) else {
            return Ok(None);
        };
        let Ok(reference) = plan.image.parse::<Reference>() else {
            return Ok(None);
        };
        let found = registries.credential(&reference).await;
        let found = found.map_err(|error| IssueError::Unavailable(error.to_string()))?;
        Ok(found.map(|(username, password)| RegistryCredential {
            registry: reference.registry().to_owned(),
            username,
            password: password.expose().to_owned(),
        }))
    }

    /// Who asks, with what it is for.
    fn issuer(order: &Order) -> Issuer {
        match &order.reference {
            Some(reference) => Issuer::task(&format!("{reference} for {}", order.by)),
            None => Issuer::task(&format!("containers for {}", order.by)),
        }
    }
}

impl From<commands::IssueError> for IssueError {
    fn from(error: commands::IssueError) -> Self {
        match error {
            commands::IssueError::Store(error) => Self::Store(error),
            error @ commands::IssueError::Invalid(_) => Self::Refused(error.to_string()),
            error => Self::NotConnected(error.to_string()),
        }
    }
}

fn status(row: CommandRow) -> CommandStatus {
    CommandStatus {
        id: row.id,
        state: row.state,
        at_ms: row.changed_ms,
        progress: row.progress,
        step: row.step,
        message: row.message,
        result: row.result,
    }
}

#[async_trait]
impl Issue for ByCommand {
    async fn issue(&self, order: Order) -> Result<Uuid, IssueError> {
        let issuer = Self::issuer(&order);
        let options = IssueOptions {
            ttl: Some(TTL),
            credential: self.credential(&order.verb).await?,
        };
        let row = self
            .commands
            .issue(order.server, order.verb, &issuer, options)
            .await?;
        Ok(row.id)
    }

    async fn find(&self, reference: &str) -> Result<Option<Uuid>, IssueError> {
        let (way, _) = reference.split_once(':').unwrap_or((reference, ""));
        let query = CommandQuery {
            verb: Some(format!("container.{way}")),
            ..CommandQuery::default()
        };
        // A reference ends before the blank: update:1:1 is not found as update:1:11.
        let wanted = format!("task {reference} for ");
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let page = PageRequest {
                limit: Some(PAGE_LIMIT_MAX),
                cursor,
            };
            let found = self
                .commands
                .list(query.clone(), page)
                .await
                .map_err(|error| match error {
                    AppError::Store(error) => IssueError::Store(error),
                    other => IssueError::Unavailable(other.to_string()),
                })?;
            if let Some(row) = found.items.iter().find(|row| row.issuer.starts_with(&wanted)) {
                return Ok(Some(row.id));
            }
            cursor = found.next;
            if cursor.is_none() {
                break;
            }
        }
        Ok(None)
    }

    async fn status(&self, id: Uuid) -> Result<Option<CommandStatus>, IssueError> {
        Ok(self.commands.get(id).await?.map(status))
    }
}
