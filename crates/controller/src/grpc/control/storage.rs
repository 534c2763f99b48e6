//! Pools, what rests on what, and what goes down with what, as programs ask for them and read them.

use muster_base::id::{ResourceId, ServerId};
use muster_model::ResourceKind;
use muster_proto::convert::{health_from_wire, health_to_wire, kind_to_wire};
use muster_proto::v1;
use tonic::Status;

use super::invalid;
use crate::app::resources::{ResourceFilter, ResourceView};
use crate::app::topology::{
    self, Affected, Effect, Impact, LinkRow, LinkView, POOL_TYPES, Supporting, Topology,
};

/// Which pools are wanted.
pub(super) fn pools(request: &v1::ListPoolsRequest) -> Result<ResourceFilter, Status> {
    let health = match v1::Health::try_from(request.health) {
        Ok(v1::Health::Unspecified) => None,
        Ok(health) => Some(health_from_wire(health)),
        Err(_) => return Err(invalid("health", "it is not known here")),
    };
    let pool_type = Some(request.pool_type.clone()).filter(|word| !word.is_empty());
    let is_known = |word: &String| POOL_TYPES.contains(&word.as_str());
    if pool_type.as_ref().is_some_and(|word| !is_known(word)) {
        return Err(invalid(
            "pool_type",
            format!("one of {} is needed", POOL_TYPES.join(", ")),
        ));
    }
    Ok(ResourceFilter {
        server: (request.server_id != 0).then_some(ServerId(request.server_id)),
        kind: Some(ResourceKind::Pool),
        include_gone: request.include_gone,
        health,
        pool_type,
        ..ResourceFilter::default()
    })
}

/// What rests on what.
pub(super) fn topology(topology: Topology) -> v1::Topology {
    v1::Topology {
        resources: topology
            .resources
            .into_iter()
            .map(|placed| node(placed.resource, placed.layer))
            .collect(),
        links: topology.links.into_iter().map(link).collect(),
        undescribed: topology.undescribed.iter().map(key_link).collect(),
        truncated: topology.is_truncated,
    }
}

/// What goes down with a resource.
pub(super) fn impact(impact: Impact) -> v1::Impact {
    v1::Impact {
        resource: Some(node(impact.resource, 0)),
        affected: impact.affected.into_iter().map(affected).collect(),
        rests_on: impact.rests_on.into_iter().map(supporting).collect(),
        undescribed: impact.undescribed.iter().map(ToString::to_string).collect(),
        truncated: impact.is_truncated,
    }
}

fn node(view: ResourceView, layer: u32) -> v1::TopologyResource {
    let places = topology::mount_points(&view);
    v1::TopologyResource {
        id: view.id.0,
        kind: kind_to_wire(view.kind).into(),
        r#type: topology::subtype(&view).unwrap_or_default().to_owned(),
        size_bytes: topology::size_bytes(&view),
        used_bytes: topology::used_bytes(&view),
        mount_points: places.into_iter().map(str::to_owned).collect(),
        key: view.key,
        name: view.name,
        health: health_to_wire(view.health).into(),
        health_reasons: view.health_reasons,
        gone_ms: view.gone_ms,
        layer,
    }
}

fn link(link: LinkView) -> v1::TopologyLink {
    v1::TopologyLink {
        from: link.from.0,
        to: link.to.0,
        r#type: v1::LinkType::RestsOn.into(),
        gone_ms: link.gone_ms,
    }
}

fn key_link(row: &LinkRow) -> v1::Link {
    v1::Link {
        from: row.from.as_str().to_owned(),
        to: row.to.as_str().to_owned(),
        r#type: v1::LinkType::RestsOn.into(),
    }
}

fn affected(affected: Affected) -> v1::AffectedResource {
    let effect = match affected.effect {
        Effect::Degraded => v1::Effect::Degraded,
        Effect::Unknown => v1::Effect::Unknown,
        Effect::Lost => v1::Effect::Lost,
    };
    v1::AffectedResource {
        resource: Some(node(affected.resource, 0)),
        effect: effect.into(),
        reason: affected.reason,
        path: ids(&affected.path),
    }
}

fn supporting(supporting: Supporting) -> v1::SupportingResource {
    v1::SupportingResource {
        resource: Some(node(supporting.resource, 0)),
        path: ids(&supporting.path),
    }
}

fn ids(path: &[ResourceId]) -> Vec<i64> {
    path.iter().map(|id| id.0).collect()
}
