//! Every endpoint's answer beside its refusals.

use axum::body::Body;
use axum::http::{StatusCode, header};
use serde_json::json;

use super::harness::{TestApp, request};
use crate::http::Readiness;

const SERVERS: &str = "/api/infrastructure/servers";

#[tokio::test]
async fn the_predecessors_body_creates_a_server() {
    let app = TestApp::start().await;
    let body = json!({
        "hostname": "test-server", "ip_address": "192.168.1.100", "username": "matthew", "monitoring_enabled": true
    });
    let created = app.with_json("POST", SERVERS, &body).await;
    let id = created.json()["id"].as_i64().unwrap();
    assert_eq!(created.header("location"), format!("{SERVERS}/{id}"));
    let shown = created.shown();
    let token = shown["body"]["enrolment_token"].as_str().unwrap();
    assert!(token.starts_with("muster1."));
    assert!(shown["body"]["install_command"].as_str().unwrap().contains(token));
    insta::assert_json_snapshot!(shown, {
        ".body.enrolment_token" => "[token]",
        ".body.install_command" => "[command]",
    });
    insta::assert_json_snapshot!("one_server", app.get(&format!("{SERVERS}/{id}")).await.shown());
}

#[tokio::test]
async fn a_body_that_is_not_what_is_expected_is_refused_with_its_reason() {
    let app = TestApp::start().await;
    let mut refusals = Vec::new();
    for body in [
        json!({}),
        json!({"hostname": 7}),
        json!({"hostname": ""}),
        json!({"hostname": "a", "hostnam": "b"}),
        json!({"hostname": "a", "ssh_port": 70_000}),
        json!([]),
    ] {
        refusals.push(app.with_json("POST", SERVERS, &body).await.shown());
    }
    insta::assert_json_snapshot!(refusals);
}

#[tokio::test]
async fn what_the_framework_refuses_is_a_problem_of_ours() {
    let app = TestApp::start().await;
    let token = app.login().await;
    let with = |content_type: &str, body: String| {
        let mut sent = request("POST", SERVERS, content_type, body);
        let value = format!("Bearer {token}").parse().unwrap();
        sent.headers_mut().insert(header::AUTHORIZATION, value);
        sent
    };
    let mut refusals = vec![
        app.send(with("application/json", "{".to_owned())).await,
        app.send(with("text/plain", "{}".to_owned())).await,
        app.send(with(
            "application/json",
            format!("\"{}\"", "x".repeat(1024 * 1024)),
        ))
        .await,
        app.get("/api/nowhere").await,
        app.call("PUT", SERVERS).await,
    ];
    for refusal in &refusals {
        assert_eq!(refusal.header("content-type"), "application/problem+json");
        assert_eq!(refusal.json()["request_id"], refusal.header("x-request-id"));
    }
    assert!(refusals.pop().unwrap().header("allow").contains("POST"));
    let shown: Vec<_> = refusals.iter().map(super::harness::Answer::shown).collect();
    insta::assert_json_snapshot!(shown);
}

#[tokio::test]
async fn a_person_who_is_lost_gets_a_page_and_a_program_a_problem() {
    let app = TestApp::start().await;
    let lost = app.browse("/nowhere").await;
    assert_eq!(lost.status, StatusCode::NOT_FOUND);
    assert_eq!(lost.header("content-type"), "text/html; charset=utf-8");
    assert!(lost.text().contains("There is nothing at this address"));
    let lost = app.get("/nowhere").await;
    assert_eq!(lost.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn servers_are_listed_in_parts_and_by_filter() {
    let app = TestApp::start().await;
    for name in ["a", "b", "c"] {
        app.server(name).await;
    }
    app.with_json(
        "POST",
        SERVERS,
        &json!({"hostname": "b", "monitoring_enabled": false}),
    )
    .await;
    let names = async |query: &str| {
        let list = app.get(&format!("{SERVERS}{query}")).await.json();
        let items = list["items"].as_array().unwrap();
        let names: Vec<String> = items
            .iter()
            .map(|item| item["hostname"].as_str().unwrap().to_owned())
            .collect();
        (
            names.join(""),
            list["total"].as_u64().unwrap(),
            list["next"].as_str().map(str::to_owned),
        )
    };
    assert_eq!(names("").await, ("abcb".to_owned(), 4, None));
    assert_eq!(names("?hostname=b").await, ("bb".to_owned(), 2, None));
    assert_eq!(
        names("?monitoring_enabled=false").await,
        ("b".to_owned(), 1, None)
    );
    assert_eq!(names("?status=never_seen").await, ("abc".to_owned(), 3, None));
    for filter in ["", "&hostname=b", "&status=never_seen"] {
        let (first, total, next) = names(&format!("?limit=1{filter}")).await;
        let mut all = first;
        let mut cursor = next;
        while let Some(at) = cursor {
            let (more, _, next) = names(&format!("?limit=1{filter}&cursor={at}")).await;
            all.push_str(&more);
            cursor = next;
        }
        assert_eq!(u64::try_from(all.len()).unwrap(), total, "{filter}");
    }
}

#[tokio::test]
async fn a_wrong_list_parameter_is_named() {
    let app = TestApp::start().await;
    for (query, parameter) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=x&status=online", "cursor"),
        ("status=fine", "status"),
        ("monitoring_enabled=maybe", "monitoring_enabled"),
    ] {
        let answer = app.get(&format!("{SERVERS}?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.json()["parameter"], parameter, "{query}");
    }
    assert_eq!(
        app.get(&format!("{SERVERS}?limits=1")).await.code(),
        "invalid_parameter"
    );
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_empties_what_is_null() {
    let app = TestApp::start().await;
    let body =
        json!({"hostname": "old", "description": "text", "tags": "web, prod", "ip_address": "10.0.0.1"});
    let id = app.with_json("POST", SERVERS, &body).await.json()["id"]
        .as_i64()
        .unwrap();
    let uri = format!("{SERVERS}/{id}");
    let patch = json!({"hostname": "new", "description": null, "monitoring_enabled": false});
    let patched = app.with_json("PATCH", &uri, &patch).await;
    let server = patched.json();
    assert_eq!(patched.status, StatusCode::OK);
    assert_eq!(server["hostname"], "new");
    assert_eq!(server["description"], json!(null));
    assert_eq!(server["ip_address"], "10.0.0.1");
    assert_eq!(server["tags"], json!(["web", "prod"]));
    assert_eq!(server["status"], "disabled");
    assert_eq!(app.get(&uri).await.json(), server);

    let wrong = app.with_json("PATCH", &uri, &json!({"status": "online"})).await;
    assert_eq!(
        (wrong.status, wrong.code()),
        (StatusCode::UNPROCESSABLE_ENTITY, "invalid_body".to_owned())
    );
}

#[tokio::test]
async fn a_deleted_server_is_gone_for_every_route() {
    let app = TestApp::start().await;
    let (server, device) = app.furnished("web").await;
    let uri = format!("{SERVERS}/{server}");
    assert_eq!(app.call("DELETE", &uri).await.status, StatusCode::NO_CONTENT);
    for (method, path) in [
        ("GET", String::new()),
        ("DELETE", String::new()),
        ("POST", "/collect".to_owned()),
        ("GET", "/resources".to_owned()),
        ("GET", "/storage/devices".to_owned()),
        ("GET", "/collectors".to_owned()),
        ("GET", "/collection-errors".to_owned()),
    ] {
        let answer = app.call(method, &format!("{uri}{path}")).await;
        assert_eq!(
            (answer.status, answer.code()),
            (StatusCode::NOT_FOUND, "server_not_found".to_owned()),
            "{path}"
        );
    }
    let patch = app.with_json("PATCH", &uri, &json!({"hostname": "x"})).await;
    assert_eq!(patch.code(), "server_not_found");
    let device = app
        .get(&format!("/api/infrastructure/storage/devices/{device}"))
        .await;
    assert_eq!(device.code(), "device_not_found");
}

#[tokio::test]
async fn what_is_no_number_names_no_server() {
    let app = TestApp::start().await;
    for id in ["0", "-1", "x", "1e3", "99999999999999999999", "%2e%2e"] {
        assert_eq!(
            app.get(&format!("{SERVERS}/{id}")).await.code(),
            "server_not_found",
            "{id}"
        );
    }
}

#[tokio::test]
async fn a_device_has_the_predecessors_fields_and_its_raw_document() {
    let app = TestApp::start().await;
    let (server, device) = app.furnished("web").await;
    let list = app.get(&format!("{SERVERS}/{server}/storage/devices")).await;
    insta::assert_json_snapshot!("devices", list.shown(), { ".body.items[].id" => "[id]" });
    let one = app
        .get(&format!("/api/infrastructure/storage/devices/{device}"))
        .await;
    insta::assert_json_snapshot!("device", one.shown(), { ".body.id" => "[id]" });
    // The server itself is a resource, but no device.
    let none = app
        .get(&format!("/api/infrastructure/storage/devices/{server}"))
        .await;
    insta::assert_json_snapshot!("no_device", none.shown());
}

#[tokio::test]
async fn resources_are_listed_by_kind() {
    let app = TestApp::start().await;
    let (server, _) = app.furnished("web").await;
    let list = app
        .get(&format!("{SERVERS}/{server}/resources?kind=filesystem"))
        .await;
    insta::assert_json_snapshot!("filesystems", list.shown(), { ".body.items[].id" => "[id]" });
    let all = app.get(&format!("{SERVERS}/{server}/resources")).await.json();
    assert_eq!(all["total"], 3);
    let wrong = app.get(&format!("{SERVERS}/{server}/resources?kind=disk")).await;
    insta::assert_json_snapshot!("no_such_kind", wrong.shown());
}

#[tokio::test]
async fn collections_show_their_outcomes_and_errors() {
    let app = TestApp::start().await;
    let (server, _) = app.furnished("web").await;
    let collectors = app.get(&format!("{SERVERS}/{server}/collectors")).await;
    insta::assert_json_snapshot!("collectors", collectors.shown());
    let of_server = app.get(&format!("{SERVERS}/{server}/collection-errors")).await;
    insta::assert_json_snapshot!("collection_errors", of_server.shown(), { ".body.items[].id" => "[id]" });
    let of_all = app.get("/api/infrastructure/collection-errors").await;
    assert_eq!(of_all.json(), of_server.json());
    insta::assert_json_snapshot!("stats", app.get("/api/infrastructure/stats").await.shown());
}

#[tokio::test]
async fn collecting_from_an_agent_that_is_not_connected_is_a_conflict() {
    let app = TestApp::start().await;
    let server = app.server("web").await;
    let one = app.call("POST", &format!("{SERVERS}/{server}/collect")).await;
    insta::assert_json_snapshot!("not_connected", one.shown());
    let all = app.call("POST", "/api/infrastructure/collect").await;
    insta::assert_json_snapshot!("none_connected", all.shown());
}

#[tokio::test]
async fn readiness_says_what_is_missing() {
    let app = TestApp::start().await;
    let ask = async |uri: &str| app.send(app.bare("GET", uri)).await;
    assert_eq!(ask("/healthz").await.status, StatusCode::OK);
    app.ready
        .send_replace(Readiness::NotReady("the agents' port is not open".to_owned()));
    let not_yet = ask("/readyz").await;
    assert_eq!(not_yet.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(not_yet.json()["reason"], "the agents' port is not open");
    app.ready.send_replace(Readiness::Ready);
    assert_eq!(ask("/readyz").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_openapi_document_is_as_published() {
    let app = TestApp::start().await;
    let document = app.get("/api/openapi.json").await.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let needs = operation["description"]
                .as_str()
                .unwrap()
                .rsplit("\n\n")
                .next()
                .unwrap()
                .to_owned();
            operations.push(format!("{method} {path}: {needs}"));
        }
    }
    operations.sort_unstable();
    insta::assert_snapshot!(operations.join("\n"));
    assert_eq!(
        document["components"]["securitySchemes"]["bearer"]["scheme"],
        "bearer"
    );
}

#[tokio::test]
async fn the_controllers_own_metrics_count_requests_by_route() {
    let app = TestApp::start().await;
    app.get(&format!("{SERVERS}/77")).await;
    let metrics = app.get("/metrics").await;
    assert!(
        metrics
            .header("content-type")
            .starts_with("application/openmetrics-text")
    );
    let line = "muster_http_requests_total{method=\"GET\",route=\"/api/infrastructure/servers/{id}\",status=\"404\"} 1";
    assert!(metrics.text().contains(line), "{}", metrics.text());
}

#[tokio::test]
async fn a_body_that_no_route_reads_is_not_waited_for() {
    let app = TestApp::start().await;
    let mut me = app.as_bearer("GET", "/api/auth/me", &app.login().await);
    *me.body_mut() = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    assert_eq!(app.send(me).await.status, StatusCode::OK);
}
