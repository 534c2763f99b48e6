//! The way to agents through the controller's own commands.

use std::time::Duration;

use async_trait::async_trait;
use muster_image::Reference;
use muster_model::{CommandStatus, Verb};
use serde_json::json;
use uuid::Uuid;

use super::seam::{Issue, IssueError, Order, OrderReference};
use crate::app::commands::{
    self, CommandRow, Commands, Credentials, IssueOptions, Issuer, RegistryCredential,
};
use crate::registry::Registries;

/// How long an update may wait for its agent: it is judged again afterwards, by what is then.
const TTL: Duration = Duration::from_secs(300);

/// Commands, issued in the name of whoever wants an update.
pub struct ByCommand {
    /// The commands.
    pub commands: Commands,
    /// Who has the credentials that a pull needs; `None`: nobody.
    pub registries: Option<Registries>,
}

impl ByCommand {
    /// What the agent shows the registry when it pulls for this.
    async fn credential(&self, order: &Order) -> Result<Option<RegistryCredential>, IssueError> {
        let Some(registries) = &self.registries else {
            return Ok(None);
        };
        let found = match &order.pulls {
            Some(image) => shown_for(registries, image).await,
            None => registries.of(&order.verb).await,
        };
        found.map_err(IssueError::Unavailable)
    }

    /// Who asks, with what it is for.
    fn issuer(order: &Order) -> Issuer {
        match &order.reference {
            Some(reference) => Issuer::task(&format!("{} for {}", reference.name, order.by)),
            None => Issuer::task(&format!("containers for {}", order.by)),
        }
    }
}

#[async_trait]
impl Credentials for Registries {
    async fn of(&self, verb: &Verb) -> Result<Option<RegistryCredential>, String> {
        match verb {
            Verb::ContainerUpdate { plan, .. } => shown_for(self, &plan.image).await,
            // What it goes back to is of the same registry, unless its server's policy lists others; the agent shows a
            // credential to no other registry than its own.
            Verb::ContainerRollback { update, .. } => {
                let found = self.app().commands().get(*update).await;
                match found.map_err(|error| error.to_string())?.map(|row| row.verb) {
                    Some(Verb::ContainerUpdate { plan, .. }) => shown_for(self, &plan.image).await,
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }
}

/// What an agent shows the registry of an image.
async fn shown_for(registries: &Registries, image: &str) -> Result<Option<RegistryCredential>, String> {
    let Ok(reference) = image.parse::<Reference>() else {
        return Ok(None);
    };
    let found = registries.credential(&reference).await;
    let found = found.map_err(|error| error.to_string())?;
    Ok(found.map(|(username, password)| RegistryCredential {
        registry: reference.registry().to_owned(),
        username,
        password: password.expose().to_owned(),
    }))
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
        // Who has nothing else to say has at least the reason.
        result: row
            .result
            .or_else(|| (!row.reason.is_empty()).then(|| json!({"reason": row.reason}))),
    }
}

#[async_trait]
impl Issue for ByCommand {
    async fn issue(&self, order: Order) -> Result<Uuid, IssueError> {
        let issuer = Self::issuer(&order);
        let options = IssueOptions {
            ttl: Some(TTL),
            credential: self.credential(&order).await?,
            id: order.reference.as_ref().map(OrderReference::command_id),
        };
        let row = self
            .commands
            .issue(order.server, order.verb, &issuer, options)
            .await?;
        Ok(row.id)
    }

    async fn find(&self, reference: &OrderReference) -> Result<Option<Uuid>, IssueError> {
        let found = self.commands.get(reference.command_id()).await?;
        Ok(found.map(|row| row.id))
    }

    async fn status(&self, id: Uuid) -> Result<Option<CommandStatus>, IssueError> {
        Ok(self.commands.get(id).await?.map(status))
    }
}

#[cfg(test)]
mod tests {
    use muster_model::{ContainerTarget, ResourceKey, UpdatePlan};

    use super::*;
    use crate::app::registries::RegistryFields;
    use crate::app::tests::TestApp;

    #[tokio::test]
    async fn a_command_is_found_again_by_what_it_is_for_and_by_nothing_else() {
        let test = TestApp::new().await;
        let (server, _) = test.with_agent("web-1").await;
        let way = ByCommand {
            commands: test.app.commands().clone(),
            registries: None,
        };
        let reference = |name: &str, begun_ms| OrderReference {
            name: name.to_owned(),
            begun_ms,
        };
        let order = |reference| Order {
            server,
            verb: Verb::ContainerStart {
                target: ContainerTarget {
                    runtime: ResourceKey::new("runtime:docker"),
                    name: "web".to_owned(),
                    container_id: None,
                },
            },
            by: "anna".to_owned(),
            reference,
            pulls: None,
        };
        let first = reference("update:1:1", 1_800_000_000_000);
        assert_eq!(way.find(&first).await.unwrap(), None);
        let once = way.issue(order(None)).await.unwrap();
        let id = way.issue(order(Some(first.clone()))).await.unwrap();
        assert_ne!(id, once);
        assert_eq!(way.find(&first).await.unwrap(), Some(id));
        for other in [
            reference("update:1:11", first.begun_ms),
            reference("rollback:1:1", first.begun_ms),
            // The same number again, in a state that was restored.
            reference("update:1:1", first.begun_ms + 1),
        ] {
            assert_eq!(way.find(&other).await.unwrap(), None, "{other:?}");
        }
        // A second one for the same is never sent.
        assert!(way.issue(order(Some(first.clone()))).await.is_err());
        assert_eq!(way.status(id).await.unwrap().unwrap().id, id);
        assert_eq!(id.get_version_num(), 7);
    }

    fn target() -> ContainerTarget {
        ContainerTarget {
            runtime: ResourceKey::new("runtime:docker"),
            name: "web".to_owned(),
            container_id: None,
        }
    }

    #[tokio::test]
    async fn the_way_back_has_the_credential_of_what_it_goes_back_to_also_after_a_restart() {
        let test = TestApp::new().await;
        let (server, agent) = test.with_agent("web-1").await;
        for host in ["ghcr.io", "quay.io"] {
            let fields = RegistryFields {
                name: Some(host.to_owned()),
                url: Some(format!("https://{host}")),
                username: Some("puller".to_owned()),
                password: Some(format!("secret of {host}")),
                ..RegistryFields::default()
            };
            test.app.create_registry(fields).await.unwrap();
        }
        let registries = crate::registry::tests::unreachable(&test.app);
        let way = ByCommand {
            commands: test.app.commands().clone(),
            registries: Some(registries.clone()),
        };
        let order = |verb, pulls: Option<&str>| Order {
            server,
            verb,
            by: "anna".to_owned(),
            reference: None,
            pulls: pulls.map(str::to_owned),
        };
        let plan = UpdatePlan {
            image: "ghcr.io/me/app:2".to_owned(),
            from_image_id: format!("sha256:{}", "a".repeat(64)),
            to_digest: format!("sha256:{}", "b".repeat(64)),
            platform: None,
            health_timeout_ms: 1,
            stable_ms: 1,
            grace_ms: 1,
            dry_run: false,
        };
        let target = target();
        let update = Verb::ContainerUpdate {
            target: target.clone(),
            plan,
        };
        let update = way.issue(order(update, None)).await.unwrap();
        let back = Verb::ContainerRollback { target, update };
        way.issue(order(back.clone(), Some("quay.io/me/app:1")))
            .await
            .unwrap();
        let sent = test.app.commands().to_send(agent, Some(1), 0).await.unwrap();
        let shown: Vec<&str> = sent
            .iter()
            .map(|sending| sending.envelope.registry.as_ref().unwrap().registry.as_str())
            .collect();
        assert_eq!(shown, ["ghcr.io", "quay.io"]);
        // What nobody holds in memory any more is found by the update that is taken back.
        let found = registries.of(&back).await.unwrap().unwrap();
        assert_eq!(
            (found.registry.as_str(), found.password.as_str()),
            ("ghcr.io", "secret of ghcr.io")
        );
    }
}
