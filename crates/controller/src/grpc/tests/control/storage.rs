//! Pools, what rests on what, and what goes down with what.

use muster_model::{Health, Inventory, Link, LinkType, Resource, ResourceKind};

use super::*;
use crate::store::apply::AppliedReport;

fn resource(kind: ResourceKind, key: &str, fields: &[(&str, &str)]) -> Resource {
    let mut resource = Resource::new(kind, ResourceKey::new(key), key);
    resource.health = Some(Health::Warning);
    for (name, value) in fields {
        resource.set(name, Some(*value));
    }
    resource
}

/// A server with a disk, a pool on it and a filesystem in that; something more is linked that nobody described.
async fn furnished(served: &Served) -> ServerId {
    let server = served.server("web").await;
    let clock = Clock {
        wall_ms: NOW,
        boottime_ms: 1,
        boot_id: "boot".to_owned(),
    };
    let mut report = Report::empty(1, 1, clock);
    report.resources = vec![
        resource(ResourceKind::Device, "sda", &[]),
        resource(ResourceKind::Pool, "tank", &[("pool_type", "zfs")]),
        resource(ResourceKind::Filesystem, "/srv", &[("mountpoint", "/srv")]),
    ];
    let link = |from: &str, to: &str| Link {
        from: ResourceKey::new(from),
        to: ResourceKey::new(to),
        link_type: LinkType::RestsOn,
    };
    report.inventories = vec![Inventory {
        collector: "zfs".to_owned(),
        observed_ms: NOW,
        keys: report
            .resources
            .iter()
            .map(|resource| resource.key.clone())
            .collect(),
        links: vec![link("tank", "sda"), link("/srv", "tank"), link("later", "tank")],
    }];
    let applied = AppliedReport {
        position: 1,
        server,
        report: Arc::new(report),
        received_ms: NOW,
    };
    served.app.store().apply_reports(&[applied]).await.unwrap();
    server
}

#[tokio::test]
async fn a_program_finds_pools_by_health_and_type() {
    let served = Served::start().await;
    furnished(&served).await;
    let mut client = served.client(&served.token);
    let pools = v1::ListPoolsRequest {
        health: v1::Health::Warning.into(),
        pool_type: "zfs".to_owned(),
        ..v1::ListPoolsRequest::default()
    };
    let found = client
        .list_pools(pools.clone())
        .await
        .unwrap()
        .into_inner()
        .resources;
    assert_eq!(found.len(), 1);
    let healthy = v1::ListPoolsRequest {
        health: v1::Health::Healthy.into(),
        ..pools.clone()
    };
    assert_eq!(
        client
            .list_pools(healthy)
            .await
            .unwrap()
            .into_inner()
            .resources
            .len(),
        0
    );
    for wrong in [
        v1::ListPoolsRequest {
            health: 99,
            ..pools.clone()
        },
        v1::ListPoolsRequest {
            pool_type: "raid".to_owned(),
            ..pools
        },
    ] {
        assert_eq!(
            client.list_pools(wrong).await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
}

#[tokio::test]
async fn a_program_reads_what_rests_on_what_and_what_goes_down_with_a_disk() {
    let served = Served::start().await;
    let server = furnished(&served).await;
    let mut client = served.client(&served.token);
    let wanted = v1::GetTopologyRequest {
        server_id: server.0,
        include_gone: false,
    };
    let topology = client.get_topology(wanted).await.unwrap().into_inner();
    let shape: Vec<(&str, u32)> = topology
        .resources
        .iter()
        .map(|resource| (resource.name.as_str(), resource.layer))
        .collect();
    assert_eq!(shape, [("sda", 0), ("tank", 1), ("/srv", 2)]);
    assert_eq!((topology.links.len(), topology.undescribed.len()), (2, 1));
    let disk = v1::GetImpactRequest {
        resource_id: topology.resources[0].id,
    };
    let impact = client.get_impact(disk).await.unwrap().into_inner();
    let hit: Vec<(&str, v1::Effect)> = impact
        .affected
        .iter()
        .map(|affected| {
            (
                affected.resource.as_ref().unwrap().name.as_str(),
                affected.effect(),
            )
        })
        .collect();
    assert_eq!(hit, [("tank", v1::Effect::Lost), ("/srv", v1::Effect::Lost)]);
    assert_eq!(impact.undescribed, ["later"]);
    let none = v1::GetTopologyRequest {
        server_id: 99,
        include_gone: false,
    };
    assert_eq!(
        client.get_topology(none).await.unwrap_err().code(),
        Code::NotFound
    );
    let none = v1::GetImpactRequest { resource_id: 99 };
    assert_eq!(client.get_impact(none).await.unwrap_err().code(), Code::NotFound);
}
