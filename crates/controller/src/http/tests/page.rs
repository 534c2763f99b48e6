//! The page as it is drawn.

use axum::http::StatusCode;
use muster_model::Labels;

use super::harness::{NOW, TestApp};

const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";

fn is_harmless(page: &str) -> bool {
    !page.contains("<script")
        && !page.contains("<img")
        && !page.contains("style=")
        && !page.contains("onclick")
}

#[tokio::test]
async fn hostile_names_are_only_text_on_every_page() {
    let app = TestApp::start().await;
    let (server, device) = app.furnished(HOSTILE).await;
    for uri in [
        "/".to_owned(),
        format!("/servers/{server}"),
        format!("/devices/{device}"),
    ] {
        let page = app.browse(&uri).await;
        assert_eq!(page.status, StatusCode::OK, "{uri}");
        assert!(page.text().contains("&lt;script&gt;"), "{uri} shows the name");
        assert!(is_harmless(page.text()), "{uri}");
    }
}

#[tokio::test]
async fn a_servers_page_shows_what_is_known_of_it() {
    let app = TestApp::start().await;
    let (server, device) = app.furnished("web").await;
    let load: Vec<(i64, f64)> = (0..20).map(|tick| (NOW - 15_000 * (20 - tick), 0.25)).collect();
    app.put(server, server.resource(), "node_load1", &Labels::default(), &load);
    let page = app.browse(&format!("/servers/{server}")).await;
    for part in [
        "Debian GNU/Linux 12 (bookworm)",
        "3 pending sectors",
        "31 °C",
        "4 TB",
        "0.25",
        "class=\"line\"",
        "pill warn",
        "89 %",
        &format!("/devices/{device}"),
    ] {
        assert!(page.text().contains(part), "{part}");
    }
}

#[tokio::test]
async fn a_disks_page_shows_its_verdict_and_its_tables() {
    let app = TestApp::start().await;
    let (server, device) = app.furnished("web").await;
    let labels = Labels::of(&[("device", "sda"), ("temperature_type", "current")]);
    let rows: Vec<(i64, f64)> = (0..10)
        .map(|tick| (NOW - 1_800_000 * (10 - tick), 30.0))
        .collect();
    app.put(server, device, "smartctl_device_temperature", &labels, &rows);
    let page = app.browse(&format!("/devices/{device}")).await;
    for part in [
        "someone should look",
        "SMART attributes",
        "last 5 h 0 min",
        "12\u{202f}345 hours",
        "5\u{202f}400",
    ] {
        assert!(page.text().contains(part), "{part}");
    }
}

#[tokio::test]
async fn an_empty_fleet_says_how_to_begin() {
    let app = TestApp::start().await;
    let page = app.browse("/").await;
    assert!(page.text().contains("muster-controller token create"));
}

#[tokio::test]
async fn a_server_that_does_not_exist_has_a_page_that_says_so() {
    let app = TestApp::start().await;
    for uri in ["/servers/77", "/servers/x", "/devices/77"] {
        let page = app.browse(uri).await;
        assert_eq!(page.status, StatusCode::NOT_FOUND, "{uri}");
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    }
}

#[tokio::test]
async fn logging_out_ends_the_session_and_the_cookie() {
    let app = TestApp::start().await;
    let cookie = format!("muster_session={}", app.login().await);
    let mut out = app.bare("POST", "/logout");
    out.headers_mut().insert("cookie", cookie.parse().unwrap());
    out.headers_mut()
        .insert("sec-fetch-site", "same-origin".parse().unwrap());
    let answer = app.send(out).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    assert!(answer.header("set-cookie").contains("Max-Age=0"));
    let mut home = app.bare("GET", "/");
    home.headers_mut().insert("cookie", cookie.parse().unwrap());
    assert_eq!(app.send(home).await.header("location"), "/login");
}
