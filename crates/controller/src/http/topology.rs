//! What rests on what, and what goes down with what.

use axum::extract::State;
use muster_base::id::ResourceId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::HttpState;
use super::error::{Code, Problem, ProblemBody};
use super::extract::{Json, Path, Query, flag, id_or, rfc3339};
use super::servers::server_id;
use crate::app::AppError;
use crate::app::resources::ResourceView;
use crate::app::topology::{self, Affected, Effect, Impact, LinkRow, LinkView, Placed, Supporting, Topology};

/// A resource, as far as a picture or a tree needs it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "TopologyResource")]
pub(super) struct NodeBody {
    /// Its id.
    id: i64,
    /// What it is.
    #[schema(example = "pool")]
    kind: &'static str,
    /// What it is within its kind, such as `mdadm`, `crypt`, `nvme` or `ext4`; null if that is not known.
    #[serde(rename = "type")]
    subtype: Option<String>,
    /// Its lasting name within the server.
    key: String,
    /// What people call it now.
    name: String,
    /// `healthy`, `warning`, `critical`, `failed` or `unknown`.
    health: &'static str,
    /// What the health rests on.
    health_reasons: Vec<String>,
    /// Capacity in bytes.
    size_bytes: Option<i64>,
    /// Bytes in use.
    used_bytes: Option<i64>,
    /// Where it is mounted.
    mount_points: Vec<String>,
    /// Since when it is gone.
    gone_at: Option<String>,
}

impl From<ResourceView> for NodeBody {
    fn from(view: ResourceView) -> Self {
        Self {
            id: view.id.0,
            kind: view.kind.as_str(),
            subtype: topology::subtype(&view).map(str::to_owned),
            size_bytes: topology::size_bytes(&view),
            used_bytes: topology::used_bytes(&view),
            mount_points: topology::mount_points(&view)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            key: view.key,
            name: view.name,
            health: view.health.as_str(),
            health_reasons: view.health_reasons,
            gone_at: view.gone_ms.map(rfc3339),
        }
    }
}

/// What rests on what on one server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Topology")]
pub(super) struct TopologyBody {
    /// The server.
    server_id: i64,
    /// Its resources in order of their ids.
    resources: Vec<PlacedBody>,
    /// What rests on what, in order of both ids.
    links: Vec<LinkBody>,
    /// Links to what nobody described yet, by key; at most 100.
    undescribed_links: Vec<KeyLinkBody>,
    /// Whether there is more than one answer may have: 5,000 resources and 20,000 links.
    truncated: bool,
}

#[derive(Debug, Serialize, ToSchema)]
struct PlacedBody {
    #[serde(flatten)]
    node: NodeBody,
    /// 0 if it rests on nothing, else one more than the highest layer that it rests on.
    layer: u32,
}

/// One resource rests on another.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "TopologyLink")]
struct LinkBody {
    /// Id of the upper one.
    from: i64,
    /// Id of the lower one.
    to: i64,
    /// `rests_on`.
    #[serde(rename = "type")]
    link_type: &'static str,
    /// Since when it is no more.
    gone_at: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct KeyLinkBody {
    /// Key of the upper one.
    from_key: String,
    /// Key of the lower one.
    to_key: String,
    /// `rests_on`.
    #[serde(rename = "type")]
    link_type: &'static str,
}

const RESTS_ON: &str = "rests_on";

impl From<LinkView> for LinkBody {
    fn from(link: LinkView) -> Self {
        Self {
            from: link.from.0,
            to: link.to.0,
            link_type: RESTS_ON,
            gone_at: link.gone_ms.map(rfc3339),
        }
    }
}

impl From<LinkRow> for KeyLinkBody {
    fn from(link: LinkRow) -> Self {
        Self {
            from_key: link.from.as_str().to_owned(),
            to_key: link.to.as_str().to_owned(),
            link_type: RESTS_ON,
        }
    }
}

impl TopologyBody {
    fn of(server_id: i64, topology: Topology) -> Self {
        let placed = |placed: Placed| PlacedBody {
            layer: placed.layer,
            node: placed.resource.into(),
        };
        Self {
            server_id,
            resources: topology.resources.into_iter().map(placed).collect(),
            links: topology.links.into_iter().map(LinkBody::from).collect(),
            undescribed_links: topology.undescribed.into_iter().map(KeyLinkBody::from).collect(),
            truncated: topology.is_truncated,
        }
    }
}

/// What is wanted of a topology.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TopologyQuery {
    include_gone: Option<String>,
}

/// What rests on what on a server: disks, partitions, arrays, volumes, filesystems, each with its health.
#[utoipa::path(
    get, path = "/api/infrastructure/servers/{id}/topology", tag = "storage", operation_id = "get_topology",
    params(
        ("id" = i64, Path, description = "id of the server"),
        ("include_gone" = Option<bool>, Query, description = "also resources and links that are gone"),
    ),
    responses(
        (status = 200, body = TopologyBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn of_server(
    State(state): State<HttpState>,
    Path(id): Path<String>,
    Query(query): Query<TopologyQuery>,
) -> Result<Json<TopologyBody>, Problem> {
    let server = server_id(&id)?;
    let include_gone = flag("include_gone", query.include_gone.as_deref())?.unwrap_or(false);
    let topology = state.app.topology(server, include_gone).await?;
    Ok(Json(TopologyBody::of(server.0, topology)))
}

/// What goes down with a resource.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Impact")]
pub(super) struct ImpactBody {
    /// The resource that dies.
    resource: NodeBody,
    /// How much is hit.
    summary: SummaryBody,
    /// Everything that rests on it, layer by layer from below.
    affected: Vec<AffectedBody>,
    /// Where what is hit is mounted, by path.
    mount_points: Vec<MountPointBody>,
    /// What it rests on itself, layer by layer from above.
    rests_on: Vec<SupportingBody>,
    /// Keys of what is linked and was not described by anybody yet; at most 100.
    undescribed: Vec<String>,
    /// Whether there is more than one answer may have: 5,000 resources each way.
    truncated: bool,
}

#[derive(Debug, Default, Serialize, ToSchema)]
struct SummaryBody {
    /// How many resources are gone then, or cannot be used.
    lost: usize,
    /// How many live on with less to spare.
    degraded: usize,
    /// Of how many it cannot be told.
    unknown: usize,
}

#[derive(Debug, Serialize, ToSchema)]
struct AffectedBody {
    #[serde(flatten)]
    node: NodeBody,
    /// `lost`, `degraded` or `unknown`.
    effect: &'static str,
    /// Why, in words.
    reason: String,
    /// Ids of a shortest way from what dies up to this, this last.
    path: Vec<i64>,
}

#[derive(Debug, Serialize, ToSchema)]
struct MountPointBody {
    /// Where.
    path: String,
    /// `lost`, `degraded` or `unknown`.
    effect: &'static str,
    /// Id of the filesystem.
    resource_id: i64,
}

#[derive(Debug, Serialize, ToSchema)]
struct SupportingBody {
    #[serde(flatten)]
    node: NodeBody,
    /// Ids of a shortest way down to this, this last.
    path: Vec<i64>,
}

fn ids(path: Vec<ResourceId>) -> Vec<i64> {
    path.into_iter().map(|id| id.0).collect()
}

impl From<Affected> for AffectedBody {
    fn from(affected: Affected) -> Self {
        Self {
            node: affected.resource.into(),
            effect: affected.effect.as_str(),
            reason: affected.reason,
            path: ids(affected.path),
        }
    }
}

impl From<Supporting> for SupportingBody {
    fn from(supporting: Supporting) -> Self {
        Self {
            node: supporting.resource.into(),
            path: ids(supporting.path),
        }
    }
}

impl From<Impact> for ImpactBody {
    fn from(impact: Impact) -> Self {
        let mut summary = SummaryBody::default();
        let mut mount_points = Vec::new();
        for affected in &impact.affected {
            match affected.effect {
                Effect::Lost => summary.lost += 1,
                Effect::Degraded => summary.degraded += 1,
                Effect::Unknown => summary.unknown += 1,
            }
            for path in topology::mount_points(&affected.resource) {
                mount_points.push(MountPointBody {
                    path: path.to_owned(),
                    effect: affected.effect.as_str(),
                    resource_id: affected.resource.id.0,
                });
            }
        }
        mount_points.sort_by(|a, b| (&a.path, a.resource_id).cmp(&(&b.path, b.resource_id)));
        Self {
            resource: impact.resource.into(),
            summary,
            mount_points,
            affected: impact.affected.into_iter().map(AffectedBody::from).collect(),
            rests_on: impact.rests_on.into_iter().map(SupportingBody::from).collect(),
            undescribed: impact.undescribed.iter().map(ToString::to_string).collect(),
            truncated: impact.is_truncated,
        }
    }
}

/// What goes down with a resource if it dies: everything that rests on it, told apart by what keeps it alive; and what
/// it rests on itself.
#[utoipa::path(
    get, path = "/api/infrastructure/resources/{id}/impact", tag = "storage", operation_id = "get_impact",
    params(("id" = i64, Path, description = "id of the resource")),
    responses(
        (status = 200, body = ImpactBody),
        (status = "default", body = ProblemBody, content_type = "application/problem+json"),
    )
)]
pub(super) async fn impact(
    State(state): State<HttpState>,
    Path(id): Path<String>,
) -> Result<Json<ImpactBody>, Problem> {
    Ok(Json(impact_of(&state, &id).await?.into()))
}

/// What goes down with the resource of this id.
pub(super) async fn impact_of(state: &HttpState, id: &str) -> Result<Impact, Problem> {
    let id = ResourceId(id_or(id, Code::ResourceNotFound)?);
    match state.app.impact(id).await {
        Err(AppError::NotFound { .. }) => Err(Problem::new(
            Code::ResourceNotFound,
            format!("there is no resource {id}"),
        )),
        other => Ok(other?),
    }
}
