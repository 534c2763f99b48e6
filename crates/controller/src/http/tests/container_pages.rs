//! Pages of containers, with a registry and agents that say what is wanted.

mod asked;

use axum::http::StatusCode;
use muster_base::id::{ResourceId, ServerId};
use muster_model::{
    Attribute, Health, Inventory, Labels, Link, LinkType, Resource, ResourceKey, ResourceKind,
};
use muster_update::Candidate;
use serde_json::json;

use super::containers::{container, furnish, id_of};
use super::harness::{Answer, NOW, TestApp};
use super::page::{HOSTILE, is_harmless, posted};
use crate::app::auth::Role;

pub(super) async fn post(app: &TestApp, token: &str, uri: &str, form: &str) -> Answer {
    app.send(posted(token, uri, form)).await
}

fn list(texts: &[&str]) -> Attribute {
    Attribute::List(texts.iter().map(|text| (*text).to_owned()).collect())
}

/// A container all of whose texts are `text`.
pub(super) fn odd(text: &str) -> Resource {
    let mut odd = container(text, &format!("{text}:1"), &[text]);
    odd.health = Some(Health::Critical);
    odd.health_reasons = vec![format!("it is {text}")];
    for name in [
        "status",
        "restart_policy",
        "current_tag",
        "container_health",
        "compose_project",
    ] {
        odd.set(name, Some(text));
    }
    odd.set("owner", Some("compose"));
    for name in ["ports", "mounts", "networks", "environment_keys"] {
        odd.attributes.insert(name.to_owned(), list(&[text]));
    }
    let label = format!("{text}={text}");
    odd.attributes.insert("labels".to_owned(), list(&[&label]));
    odd
}

#[tokio::test]
async fn hostile_names_and_labels_are_only_text_on_the_pages_of_containers() {
    let app = TestApp::start().await;
    let server = furnish(&app, HOSTILE, vec![odd(HOSTILE)]).await;
    app.fakes
        .registry
        .says(&format!("{HOSTILE}:1"), Candidate::Unknown(HOSTILE.to_owned()));
    let id = id_of(&app, HOSTILE).await;
    for uri in [
        "/containers".to_owned(),
        format!("/containers?server={server}&text=%3Cscript%3E&state=%3Cb%3E"),
        format!("/containers/{id}"),
        format!("/containers/{id}?span=%22%3E%3Cscript%3E"),
        format!("/servers/{server}"),
    ] {
        let page = app.browse(&uri).await;
        assert_eq!(page.status, StatusCode::OK, "{uri}: {}", page.text());
        assert!(page.text().contains("&lt;script&gt;"), "{uri} shows the name");
        assert!(is_harmless(page.text()), "{uri}");
    }
}

#[tokio::test]
async fn what_is_not_known_never_looks_like_up_to_date() {
    let app = TestApp::start().await;
    let pinned = format!("db@sha256:{}", "1".repeat(64));
    furnish(
        &app,
        "one",
        vec![
            container("new", "new:1", &[]),
            container("same", "same:1", &[]),
            container("odd", "odd:1", &[]),
            container("pinned", &pinned, &[]),
        ],
    )
    .await;
    app.fakes.registry.offers("new:1", "new:2", 'a');
    app.fakes.registry.says("same:1", Candidate::Current);
    // Even if somebody says so: what is named by its digest is what it is, and not up to date for that.
    app.fakes.registry.says(&pinned, Candidate::Current);
    for (word, name, pill) in [
        ("available", "new", "pill warn\">update available"),
        ("current", "same", "pill good\">up to date"),
        ("unknown", "odd", "pill dim\">unknown"),
        ("pinned", "pinned", "pill dim\">pinned"),
    ] {
        let page = app.browse(&format!("/containers?update={word}")).await;
        let id = id_of(&app, name).await;
        assert!(
            page.text().contains(&format!("/containers/{id}\">{name}</a>")),
            "{word}: {}",
            page.text()
        );
        assert!(page.text().contains(pill), "{word}: {}", page.text());
        assert!(page.text().contains(">1 of 4<"), "{word}");
        let one = app.browse(&format!("/containers/{id}")).await;
        assert!(one.text().contains(pill), "{word}: {}", one.text());
        assert_eq!(
            one.text().contains("pill good\">up to date"),
            word == "current",
            "{word}"
        );
    }
    let odd = app
        .browse(&format!("/containers/{}", id_of(&app, "odd").await))
        .await;
    assert!(odd.text().contains("the registry does not answer"));
}

#[tokio::test]
async fn containers_are_chosen_by_server_state_and_text_and_shown_page_by_page() {
    let app = TestApp::start().await;
    let empty = app.browse("/containers").await;
    assert!(
        empty.text().contains("No container was seen yet"),
        "{}",
        empty.text()
    );
    let many: Vec<Resource> = (0..120)
        .map(|n| container(&format!("c{n:03}"), "nginx:1", &[]))
        .collect();
    furnish(&app, "one", many).await;
    let mut stopped = container("stopped", "redis:7", &[]);
    stopped.set("status", Some("exited"));
    stopped.health = Some(Health::Warning);
    let two = furnish(&app, "two", vec![stopped]).await;
    let page = async |query: &str| app.browse(&format!("/containers{query}")).await.text().to_owned();
    let lines = |page: &str| page.matches("class=\"name\" href=\"/containers/").count();
    let first = page("").await;
    assert_eq!(lines(&first), 100);
    let place = |text: &str| first.find(text).unwrap();
    assert!(
        place(">stopped<") < place(">c000<"),
        "what is not well comes first"
    );
    assert_eq!(lines(&page("?page=2").await), 21);
    assert_eq!(lines(&page("?page=99999999999999999999").await), 100);
    assert_eq!(lines(&page("?page=99").await), 21, "the last page there is");
    for (query, count) in [
        (format!("?server={two}"), 1),
        ("?state=exited".to_owned(), 1),
        ("?text=REDIS".to_owned(), 1),
        ("?text=two".to_owned(), 1),
        ("?text=c01&server=1".to_owned(), 10),
        ("?state=dead".to_owned(), 0),
        ("?server=x&state=&text=+".to_owned(), 100),
    ] {
        assert_eq!(lines(&page(&query).await), count, "{query}");
    }
    assert!(page("?state=dead").await.contains("No container is like that."));
    assert!(app.browse("/").await.text().contains("href=\"/containers\""));
}

/// A container whose volume lies on a filesystem on a disk.
async fn on_a_disk(app: &TestApp) -> (ServerId, i64) {
    let server = app.server("one").await;
    let key = |text: &str| ResourceKey::new(text);
    let mut web = container("web", "nginx:1", &[]);
    web.attributes
        .insert("ports".to_owned(), list(&["0.0.0.0:80->80/tcp"]));
    web.attributes.insert("labels".to_owned(), list(&["team=blue"]));
    web.set("memory_limit_bytes", Some(256_i64 << 20));
    let mut disk = Resource::new(ResourceKind::Device, key("device:wwn:1"), "sda");
    disk.health = Some(Health::Critical);
    let resources = vec![
        Resource::new(ResourceKind::Runtime, key("runtime:docker"), "docker"),
        web,
        Resource::new(ResourceKind::Volume, key("volume:docker:data"), "data"),
        Resource::new(ResourceKind::Filesystem, key("filesystem:/srv"), "/srv"),
        disk,
    ];
    let link = |from: &str, to: &str| Link {
        from: key(from),
        to: key(to),
        link_type: LinkType::RestsOn,
    };
    app.report(server, 1, |report| {
        report.inventories = vec![Inventory {
            collector: "containers".to_owned(),
            observed_ms: NOW - 1_000,
            keys: resources.iter().map(|resource| resource.key.clone()).collect(),
            links: vec![
                link("container:docker:web", "volume:docker:data"),
                link("volume:docker:data", "filesystem:/srv"),
                link("filesystem:/srv", "device:wwn:1"),
            ],
        }];
        report.resources = resources;
    })
    .await;
    app.state.app.presence().connected(server, NOW);
    (server, id_of(app, "web").await)
}

#[tokio::test]
async fn a_containers_page_shows_what_it_is_what_it_takes_and_what_it_rests_on() {
    let app = TestApp::start().await;
    let (server, id) = on_a_disk(&app).await;
    let times: Vec<i64> = (0..20_i64).map(|tick| NOW - 15_000 * (20 - tick)).collect();
    let rising = |step: f64| -> Vec<(i64, f64)> {
        let values = (0_i32..).map(|tick| f64::from(tick) * step);
        times.iter().copied().zip(values).collect()
    };
    let put = |name: &str, labels: &Labels, rows: &[(i64, f64)]| {
        app.put(server, ResourceId(id), name, labels, rows);
    };
    put(
        "container_cpu_usage_seconds_total",
        &Labels::default(),
        &rising(7.5),
    );
    let memory: Vec<(i64, f64)> = times.iter().map(|at| (*at, 128.0 * 1_048_576.0)).collect();
    put("container_memory_working_set_bytes", &Labels::default(), &memory);
    for interface in ["eth0", "eth1"] {
        let labels = Labels::of(&[("interface", interface)]);
        put(
            "container_network_receive_bytes_total",
            &labels,
            &rising(15_360.0),
        );
    }
    let page = app.browse(&format!("/containers/{id}")).await;
    for part in [
        "nginx:1",
        "0.0.0.0:80-&gt;80/tcp",
        "team",
        "0.50 CPUs",
        "128 MiB of 256 MiB",
        "2 KiB/s",
        "class=\"line\"",
        "aria-current=\"true\">1 hour",
        ">data</a>",
        ">/srv</a>",
        ">sda</a>",
        "pill bad\">critical",
        "It was never updated from here",
        "no policy speaks of it",
    ] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    assert!(is_harmless(page.text()));
    let week = app.browse(&format!("/containers/{id}?span=7d")).await;
    assert!(week.text().contains("aria-current=\"true\">1 week"));
    let old = app.browse(&format!("/resources/{id}")).await;
    assert_eq!(old.header("location"), format!("/containers/{id}"));
    for uri in ["/containers/77", "/containers/x", "/containers/0"] {
        assert_eq!(app.browse(uri).await.status, StatusCode::NOT_FOUND, "{uri}");
    }
    let server_page = app.browse(&format!("/servers/{server}")).await;
    assert!(server_page.text().contains(&format!("href=\"/containers/{id}\"")));
}

#[tokio::test]
async fn a_container_that_is_gone_is_shown_as_what_it_was_and_can_be_told_nothing() {
    let app = TestApp::start().await;
    let (server, id) = on_a_disk(&app).await;
    app.report(server, 2, |report| {
        report.inventories = vec![Inventory {
            collector: "containers".to_owned(),
            observed_ms: NOW - 500,
            keys: Vec::new(),
            links: Vec::new(),
        }];
    })
    .await;
    let page = app.browse(&format!("/containers/{id}")).await;
    assert_eq!(
        page.header("location"),
        format!("/resources/{id}"),
        "{}",
        page.text()
    );
    let page = app.browse(&format!("/resources/{id}")).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.text().contains("gone since"), "{}", page.text());
    let token = app.login().await;
    for deed in ["start", "stop", "restart", "logs", "check"] {
        let refused = post(&app, &token, &format!("/containers/{id}/{deed}"), "").await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{deed}");
    }
    assert!(app.fakes.agents.told().is_empty());
}

#[tokio::test]
async fn containers_are_started_stopped_and_restarted_on_the_page_by_operators_alone() {
    let app = TestApp::start().await;
    furnish(&app, "one", vec![container("web", "nginx:1", &[])]).await;
    let id = id_of(&app, "web").await;
    let uri = |deed: &str| format!("/containers/{id}/{deed}");
    let viewer = app.token_of(Role::Viewer).await;
    let page = app
        .send(app.as_bearer("GET", &format!("/containers/{id}"), &viewer))
        .await;
    assert_eq!(page.status, StatusCode::OK);
    assert_eq!(
        page.text().matches("method=\"post\"").count(),
        1,
        "to log out and nothing else"
    );
    let operator = app.token_of(Role::Operator).await;
    let page = app
        .send(app.as_bearer("GET", &format!("/containers/{id}"), &operator))
        .await;
    for part in [
        "Restart…",
        "Yes, restart it",
        "Stop…",
        "Read its log",
        "Check now",
    ] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    for deed in ["start", "stop", "restart", "logs", "check"] {
        assert_eq!(
            post(&app, &viewer, &uri(deed), "").await.status,
            StatusCode::FORBIDDEN,
            "{deed}"
        );
        let mut foreign = posted(&operator, &uri(deed), "");
        foreign
            .headers_mut()
            .insert("sec-fetch-site", "cross-site".parse().unwrap());
        assert_eq!(app.send(foreign).await.status, StatusCode::FORBIDDEN, "{deed}");
    }
    assert!(app.fakes.agents.told().is_empty());
    for deed in ["start", "stop", "restart"] {
        let done = post(&app, &operator, &uri(deed), "").await;
        assert_eq!(
            (done.status, done.header("location")),
            (StatusCode::SEE_OTHER, format!("/containers/{id}")),
            "{deed}"
        );
    }
    assert_eq!(
        app.fakes.agents.verbs(),
        ["container.start", "container.stop", "container.restart"]
    );
    assert!(
        app.fakes
            .agents
            .told()
            .iter()
            .all(|told| told.order.by == "operator")
    );
    let audit = app.get("/api/audit?limit=100").await;
    assert!(audit.text().contains("container.restart"));
}

#[tokio::test]
async fn nothing_is_asked_of_a_container_on_the_page_while_the_freeze_switch_is_on() {
    let app = TestApp::start().await;
    furnish(&app, "one", vec![container("web", "nginx:1", &[])]).await;
    let uri = format!("/containers/{}", id_of(&app, "web").await);
    let on = json!({"frozen": true, "reason": "holidays"});
    app.with_json("PUT", "/api/containers/freeze", &on).await;
    let token = app.login().await;
    let refused = post(&app, &token, &format!("{uri}/stop"), "").await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text().contains("holidays"), "{}", refused.text());
    assert!(app.fakes.agents.told().is_empty());
    assert!(app.browse(&uri).await.text().contains("because holidays"));
}
