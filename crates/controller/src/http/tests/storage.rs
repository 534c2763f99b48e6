//! Pools, what rests on what, and what goes down with a disk.

use axum::http::StatusCode;
use muster_base::id::{ResourceId, ServerId};
use muster_model::{
    Attribute, Health, Inventory, Labels, Link, LinkType, Resource, ResourceKey, ResourceKind,
};
use serde_json::{Value, json};

use super::harness::{NOW, TestApp};

const POOLS: &str = "/api/infrastructure/storage/pools";

/// A disk, a partition, an array over it and another disk, crypt, and a mounted filesystem.
pub(super) fn chain() -> (Vec<Resource>, Vec<Link>) {
    let mut resources = Vec::new();
    let mut links = Vec::new();
    let mut add = |kind, key: &str, name: &str, fields: &[(&str, Attribute)], below: &[&str]| {
        let mut resource = Resource::new(kind, ResourceKey::new(key), name);
        resource.health = Some(Health::Healthy);
        for (name, value) in fields {
            resource.set(name, Some(value.clone()));
        }
        resources.push(resource);
        links.extend(below.iter().map(|to| Link {
            from: ResourceKey::new(key),
            to: ResourceKey::new(*to),
            link_type: LinkType::RestsOn,
        }));
    };
    let size = |bytes: i64| ("size_bytes", Attribute::from(bytes));
    add(
        ResourceKind::Device,
        "device:wwn:1",
        "sda",
        &[size(1_000), ("device_type", "ssd".into())],
        &[],
    );
    add(
        ResourceKind::Device,
        "device:wwn:2",
        "sdb",
        &[size(1_000), ("device_type", "hdd".into())],
        &[],
    );
    add(
        ResourceKind::Partition,
        "partition:1",
        "sda1",
        &[size(900)],
        &["device:wwn:1"],
    );
    add(
        ResourceKind::Pool,
        "pool:mdadm:u",
        "md0",
        &[
            ("pool_type", "mdadm".into()),
            ("raid_level", "raid1".into()),
            ("device_count", 2_i64.into()),
            ("missing_device_count", 0_i64.into()),
            ("total_size_bytes", 800_i64.into()),
            ("id", 666_i64.into()),
        ],
        &["partition:1", "device:wwn:2"],
    );
    add(
        ResourceKind::Mapping,
        "mapping:crypt:u",
        "secret",
        &[("mapping_type", "crypt".into())],
        &["pool:mdadm:u"],
    );
    add(
        ResourceKind::Filesystem,
        "filesystem:/srv",
        "/srv",
        &[
            ("mountpoint", "/srv".into()),
            ("fs_type", "ext4".into()),
            ("used_bytes", 10_i64.into()),
        ],
        &["mapping:crypt:u"],
    );
    (resources, links)
}

pub(super) async fn tell(
    app: &TestApp,
    server: ServerId,
    position: i64,
    resources: Vec<Resource>,
    links: Vec<Link>,
) {
    app.report(server, position, |report| {
        report.observed_ms = NOW - 100_000 + position;
        report.inventories = vec![Inventory {
            collector: "block".to_owned(),
            observed_ms: report.observed_ms,
            keys: resources.iter().map(|resource| resource.key.clone()).collect(),
            links,
        }];
        report.resources = resources;
    })
    .await;
}

/// Names and effects of what is hit.
fn hit(impact: &Value) -> Vec<(String, String)> {
    let affected = impact["affected"].as_array().unwrap().iter();
    affected
        .map(|item| {
            let word = |name: &str| item[name].as_str().unwrap().to_owned();
            (word("name"), word("effect"))
        })
        .collect()
}

async fn id(app: &TestApp, server: ServerId, name: &str) -> i64 {
    let topology = app
        .get(&format!(
            "/api/infrastructure/servers/{server}/topology?include_gone=1"
        ))
        .await
        .json();
    let resources = topology["resources"].as_array().unwrap();
    let found = resources.iter().find(|resource| resource["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {topology}"))["id"]
        .as_i64()
        .unwrap()
}

#[tokio::test]
async fn the_topology_of_a_server_is_its_resources_and_what_rests_on_what() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    let (resources, links) = chain();
    tell(&app, server, 1, resources, links).await;
    let path = format!("/api/infrastructure/servers/{server}/topology");
    let topology = app.get(&path).await;
    insta::assert_json_snapshot!(topology.shown());
    assert_eq!(
        app.get(&path).await.shown(),
        topology.shown(),
        "the order is always the same"
    );
    for (path, code) in [
        ("/api/infrastructure/servers/77/topology", "server_not_found"),
        ("/api/infrastructure/servers/x/topology", "server_not_found"),
    ] {
        assert_eq!(app.get(path).await.code(), code, "{path}");
    }
    assert_eq!(
        app.get(&format!("{path}?include_gone=maybe")).await.code(),
        "invalid_parameter"
    );
}

#[tokio::test]
async fn the_impact_of_a_disk_names_what_is_above_it_and_tells_lost_from_degraded() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    let (resources, links) = chain();
    tell(&app, server, 1, resources, links).await;
    let disk = id(&app, server, "sda").await;
    let impact = app
        .get(&format!("/api/infrastructure/resources/{disk}/impact"))
        .await;
    insta::assert_json_snapshot!("impact", impact.shown());
    let array = id(&app, server, "md0").await;
    let impact = app
        .get(&format!("/api/infrastructure/resources/{array}/impact"))
        .await
        .json();
    assert_eq!(
        hit(&impact),
        [
            ("secret".to_owned(), "lost".to_owned()),
            ("/srv".to_owned(), "lost".to_owned())
        ]
    );
    assert_eq!(impact["rests_on"].as_array().unwrap().len(), 3);
    for id in ["77", "0", "x", "-1"] {
        let none = app
            .get(&format!("/api/infrastructure/resources/{id}/impact"))
            .await;
        assert_eq!(
            (none.status, none.code().as_str()),
            (StatusCode::NOT_FOUND, "resource_not_found")
        );
    }
}

#[tokio::test]
async fn a_link_to_what_nobody_described_yet_is_shown_and_becomes_an_edge() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    let (mut resources, links) = chain();
    let late = resources.remove(3);
    tell(&app, server, 1, resources.clone(), links.clone()).await;
    let path = format!("/api/infrastructure/servers/{server}/topology");
    let before = app.get(&path).await.json();
    assert_eq!(before["undescribed_links"].as_array().unwrap().len(), 3);
    let disk = id(&app, server, "sda").await;
    let impact = app
        .get(&format!("/api/infrastructure/resources/{disk}/impact"))
        .await
        .json();
    assert_eq!(impact["undescribed"], json!(["pool:mdadm:u"]));
    // What it is and what it survives is not known, so nobody says that it is safe.
    let unknown = |name: &str| (name.to_owned(), "unknown".to_owned());
    assert_eq!(
        hit(&impact),
        [
            ("sda1".to_owned(), "lost".to_owned()),
            unknown("secret"),
            unknown("/srv")
        ]
    );
    resources.push(late);
    tell(&app, server, 2, resources, links).await;
    let after = app.get(&path).await.json();
    assert_eq!(after["undescribed_links"], json!([]));
    assert_eq!(after["links"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn a_disk_that_is_gone_still_says_what_rested_on_it() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    let (resources, links) = chain();
    tell(&app, server, 1, resources.clone(), links.clone()).await;
    let disk = id(&app, server, "sda").await;
    let gone = |key: &str| key == "device:wwn:1" || key == "partition:1";
    let left: Vec<Resource> = resources
        .into_iter()
        .filter(|resource| !gone(resource.key.as_str()))
        .collect();
    let kept = |link: &Link| !gone(link.from.as_str()) && !gone(link.to.as_str());
    let links: Vec<Link> = links.into_iter().filter(kept).collect();
    tell(&app, server, 2, left.clone(), links).await;
    let path = format!("/api/infrastructure/servers/{server}/topology");
    let now = app.get(&path).await.json();
    assert_eq!(now["resources"].as_array().unwrap().len(), 4);
    assert_eq!(now["links"].as_array().unwrap().len(), 3);
    let all = app.get(&format!("{path}?include_gone=true")).await.json();
    assert_eq!(all["resources"].as_array().unwrap().len(), 6);
    let gone = |link: &&Value| !link["gone_at"].is_null();
    assert_eq!(all["links"].as_array().unwrap().iter().filter(gone).count(), 2);
    let impact = app
        .get(&format!("/api/infrastructure/resources/{disk}/impact"))
        .await
        .json();
    assert_eq!(
        hit(&impact),
        [
            ("sda1", "lost"),
            ("md0", "degraded"),
            ("secret", "degraded"),
            ("/srv", "degraded")
        ]
        .map(|(name, effect)| (name.to_owned(), effect.to_owned()))
    );
    // A present link to what is gone is shown with what it names: that is what is missing.
    let missing = Link {
        from: ResourceKey::new("pool:mdadm:u"),
        to: ResourceKey::new("partition:1"),
        link_type: LinkType::RestsOn,
    };
    tell(&app, server, 3, left, vec![missing]).await;
    let now = app.get(&path).await.json();
    let gone = |resource: &&Value| !resource["gone_at"].is_null();
    let names: Vec<&Value> = now["resources"]
        .as_array()
        .unwrap()
        .iter()
        .filter(gone)
        .map(|resource| &resource["name"])
        .collect();
    assert_eq!(names, ["sda1"]);
}

fn pool(key: &str, name: &str, pool_type: &str, health: Health) -> Resource {
    let mut pool = Resource::new(ResourceKind::Pool, ResourceKey::new(key), name);
    pool.health = Some(health);
    pool.set("pool_type", Some(pool_type))
        .set("total_size_bytes", Some(7_i64));
    pool
}

#[tokio::test]
async fn pools_are_found_across_the_fleet_by_each_filter_and_counted() {
    let app = TestApp::start().await;
    let (web, db) = (app.server("web").await, app.server("db").await);
    let of_web = vec![
        pool("pool:zfs:1", "tank", "zfs", Health::Warning),
        pool("pool:mdadm:1", "md0", "mdadm", Health::Healthy),
    ];
    tell(&app, web, 1, of_web, Vec::new()).await;
    tell(
        &app,
        db,
        2,
        vec![pool("pool:zfs:2", "data", "zfs", Health::Unknown)],
        Vec::new(),
    )
    .await;
    let names = async |path: &str| {
        let list = app.get(path).await.json();
        let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}"));
        let names: Vec<&str> = items
            .iter()
            .map(|item| item["pool_name"].as_str().unwrap())
            .collect();
        (names.join(" "), list["total"].as_u64().unwrap())
    };
    for (query, expected) in [
        ("", "tank md0 data"),
        ("?pool_type=zfs", "tank data"),
        ("?health=warning", "tank"),
        ("?health=unknown&pool_type=zfs", "data"),
        ("?server=db", "data"),
        (&format!("?server_id={web}&pool_type=mdadm"), "md0"),
        ("?pool_type=btrfs", ""),
    ] {
        let found = names(&format!("{POOLS}{query}")).await;
        assert_eq!(found.0, expected, "{query}");
        assert_eq!(found.1, expected.split_whitespace().count() as u64, "{query}");
    }
    let of_web = format!("/api/infrastructure/servers/{web}/storage/pools");
    assert_eq!(names(&of_web).await.0, "tank md0");
    assert_eq!(names(&format!("{of_web}?health=healthy")).await.0, "md0");
    for (path, parameter) in [
        (format!("{POOLS}?health=fine"), "health"),
        (format!("{POOLS}?pool_type=raid"), "pool_type"),
        (format!("{POOLS}?server="), "server"),
        (format!("{POOLS}?include_gone=x"), "include_gone"),
        (format!("{POOLS}?limit=0"), "limit"),
        (format!("{of_web}?server=db"), "server"),
    ] {
        let refused = app.get(&path).await;
        assert_eq!(refused.code(), "invalid_parameter", "{path}");
        assert_eq!(refused.json()["parameter"], parameter, "{path}");
    }
    let stats = app.get("/api/infrastructure/stats").await.json();
    assert_eq!(stats["storage"]["pools"], 3);
}

#[tokio::test]
async fn a_pool_has_the_predecessors_fields_and_a_history_of_its_figures() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    let (mut resources, links) = chain();
    resources[3].health = Some(Health::Warning);
    resources[3].health_reasons = vec!["a member is missing".to_owned(), "no bitmap".to_owned()];
    tell(&app, server, 1, resources, links).await;
    let array = id(&app, server, "md0").await;
    insta::assert_json_snapshot!("pool", app.get(&format!("{POOLS}/{array}")).await.shown());
    let labels = Labels::of(&[("device", "md0")]);
    let rows: Vec<(i64, f64)> = (0..4).map(|tick| (NOW - 60_000 * (4 - tick), 2.0)).collect();
    app.put(
        server,
        ResourceId(array),
        "node_md_disks_required",
        &labels,
        &rows,
    );
    app.put(server, server.resource(), "node_load1", &Labels::default(), &rows);
    let history = app.get(&format!("{POOLS}/{array}/history?step=1m")).await.json();
    assert_eq!(history["series"].as_array().unwrap().len(), 1);
    assert_eq!(history["series"][0]["metric"], "node_md_disks_required");
    assert!(!history["series"][0]["points"].as_array().unwrap().is_empty());
    let disk = id(&app, server, "sda").await;
    for id in [disk.to_string(), "77".to_owned(), "x".to_owned()] {
        for path in [format!("{POOLS}/{id}"), format!("{POOLS}/{id}/history")] {
            assert_eq!(app.get(&path).await.code(), "pool_not_found", "{path}");
        }
    }
    let wrong = app.get(&format!("{POOLS}/{array}/history?step=1ms")).await;
    assert_eq!(wrong.json()["parameter"], "step");
}
