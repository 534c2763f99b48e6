//! What a server looks like in JSON, coming and going.

use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use crate::app::presence::is_skewed;
use crate::app::servers::{CreatedServer, NewServer, ServerPatch, ServerView};
use crate::http::extract::rfc3339;

/// A server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Server")]
pub(in crate::http) struct ServerBody {
    /// Its id.
    #[schema(example = 1)]
    id: i64,
    /// The name people gave it; need not be unique.
    hostname: String,
    /// Address, if someone wrote one down.
    ip_address: Option<String>,
    /// Port of its SSH daemon.
    ssh_port: u16,
    /// Account on it.
    username: Option<String>,
    /// SSH key to use.
    ssh_key_id: Option<i64>,
    /// Credential to use.
    credential_id: Option<i64>,
    /// `online`, `late`, `offline`, `never_seen`, `failing` or `disabled`.
    status: &'static str,
    /// Whether it is monitored; if not it only sends heartbeats.
    monitoring_enabled: bool,
    /// When it was last heard.
    last_seen: Option<String>,
    /// Seconds that its clock is ahead of the controller's, while it is connected.
    clock_skew_seconds: Option<f64>,
    /// Whether that is more than five either way.
    clock_skewed: bool,
    /// What fails, if something does.
    last_error: Option<String>,
    /// Free text.
    description: Option<String>,
    /// Tags.
    tags: Vec<String>,
    /// Seconds between collections, if someone set them.
    collection_interval: Option<u32>,
    /// Its agent's identity, if it has a valid one.
    agent_id: Option<String>,
    /// Version of its agent.
    agent_version: Option<String>,
    /// How many devices it has.
    device_count: u64,
    /// How many pools it has.
    pool_count: u64,
    /// How many databases it has.
    database_count: u64,
    /// When it was created.
    created_at: String,
    /// When it was last changed.
    updated_at: String,
}

impl From<ServerView> for ServerBody {
    fn from(view: ServerView) -> Self {
        Self {
            id: view.id.0,
            hostname: view.hostname,
            ip_address: view.ip_address,
            ssh_port: view.ssh_port,
            username: view.username,
            ssh_key_id: view.ssh_key_id,
            credential_id: view.credential_id,
            status: view.status.as_str(),
            monitoring_enabled: view.monitoring_enabled,
            last_seen: view.last_seen_ms.map(rfc3339),
            clock_skew_seconds: view.clock_skew_ms.map(|skew_ms| skew_ms as f64 / 1_000.0),
            clock_skewed: view.clock_skew_ms.is_some_and(is_skewed),
            last_error: view.last_error,
            description: view.description,
            tags: view.tags,
            collection_interval: view.collection_interval,
            agent_id: view.agent_id.map(|id| id.to_string()),
            agent_version: view.agent_version,
            device_count: view.device_count,
            pool_count: view.pool_count,
            database_count: view.database_count,
            created_at: rfc3339(view.created_ms),
            updated_at: rfc3339(view.updated_ms),
        }
    }
}

/// A server that was just created, with what its agent needs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "CreatedServer")]
pub(in crate::http) struct CreatedBody {
    /// The server.
    #[serde(flatten)]
    server: ServerBody,
    /// The enrolment token bound to it; shown this once.
    enrolment_token: String,
    /// When the token ends.
    enrolment_token_expires_at: String,
    /// What to type on the server to enrol its agent; contains the token.
    install_command: String,
}

impl From<CreatedServer> for CreatedBody {
    fn from(created: CreatedServer) -> Self {
        Self {
            server: created.server.into(),
            enrolment_token: created.token.text,
            enrolment_token_expires_at: rfc3339(created.token.expires_ms),
            install_command: created.install_command,
        }
    }
}

/// Tags as an array, or as one text with commas.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum Tags {
    /// `["web", "prod"]`
    List(Vec<String>),
    /// `"web,prod"`
    Text(String),
}

impl Tags {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::List(tags) => tags,
            Self::Text(text) => text
                .split(',')
                .map(str::trim)
                .filter(|tag| !tag.is_empty())
                .map(str::to_owned)
                .collect(),
        }
    }
}

/// A server to be created.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object that describes a server")]
#[schema(title = "NewServer")]
pub(in crate::http) struct NewBody {
    /// Its name, 1 to 255 bytes.
    #[schema(example = "test-server")]
    hostname: String,
    /// Its address; a note for people, nothing connects to it.
    #[schema(example = "192.168.1.100")]
    ip_address: Option<String>,
    /// Port of its SSH daemon; 22 if not given.
    ssh_port: Option<u16>,
    /// Account on it.
    #[schema(example = "matthew")]
    username: Option<String>,
    /// SSH key to use.
    ssh_key_id: Option<i64>,
    /// Credential to use.
    credential_id: Option<i64>,
    /// Free text.
    description: Option<String>,
    /// Tags, as an array or as one text with commas.
    tags: Option<Tags>,
    /// Whether it is monitored; yes if not given.
    monitoring_enabled: Option<bool>,
    /// Seconds between collections.
    collection_interval: Option<u32>,
}

impl From<NewBody> for NewServer {
    fn from(body: NewBody) -> Self {
        Self {
            hostname: body.hostname,
            ip_address: body.ip_address,
            ssh_port: body.ssh_port,
            username: body.username,
            ssh_key_id: body.ssh_key_id,
            credential_id: body.credential_id,
            description: body.description,
            tags: body.tags.map(Tags::into_list).unwrap_or_default(),
            monitoring_enabled: body.monitoring_enabled,
            collection_interval: body.collection_interval,
        }
    }
}

/// Changes to a server: what is absent stays, what is null is emptied.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object that says what is to change")]
#[schema(title = "ServerPatch")]
pub(in crate::http) struct PatchBody {
    /// Its name.
    hostname: Option<String>,
    /// Its address.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    ip_address: Option<Option<String>>,
    /// Port of its SSH daemon.
    ssh_port: Option<u16>,
    /// Account on it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    username: Option<Option<String>>,
    /// SSH key to use.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    ssh_key_id: Option<Option<i64>>,
    /// Credential to use.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>)]
    credential_id: Option<Option<i64>>,
    /// Free text.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// Tags, as an array or as one text with commas; null empties them.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Tags>)]
    tags: Option<Option<Tags>>,
    /// Whether it is monitored.
    monitoring_enabled: Option<bool>,
    /// Seconds between collections.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<u32>)]
    collection_interval: Option<Option<u32>>,
}

/// Tells null from absent: this is only called when the field is there.
fn present<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}

impl From<PatchBody> for ServerPatch {
    fn from(body: PatchBody) -> Self {
        Self {
            hostname: body.hostname,
            ip_address: body.ip_address,
            ssh_port: body.ssh_port,
            username: body.username,
            ssh_key_id: body.ssh_key_id,
            credential_id: body.credential_id,
            description: body.description,
            tags: body
                .tags
                .map(|tags| tags.map(Tags::into_list).unwrap_or_default()),
            monitoring_enabled: body.monitoring_enabled,
            collection_interval: body.collection_interval,
        }
    }
}
