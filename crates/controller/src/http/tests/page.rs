//! The page as it is drawn.

use axum::http::StatusCode;
use muster_model::Labels;

use super::harness::{NOW, TestApp, request};
use crate::app::auth::Role;

pub(super) const HOSTILE: &str = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>";

/// Our own script, from a file of its own.
const SCRIPT: &str = "<script src=\"/static/live.js\" defer></script>";

pub(super) fn is_harmless(page: &str) -> bool {
    let page = page.replacen(SCRIPT, "", 1);
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
async fn a_page_is_renewed_by_our_script_or_loaded_anew_where_there_is_none() {
    const REFRESH: &str = "<noscript><meta http-equiv=\"refresh\" content=\"30\"></noscript>";
    let app = TestApp::start().await;
    let page = app.browse("/").await;
    for part in [SCRIPT, REFRESH, "<main data-every=\"30\">"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    let script = app.send(app.bare("GET", "/static/live.js")).await;
    assert_eq!(script.status, StatusCode::OK);
    assert_eq!(script.header("content-type"), "text/javascript; charset=utf-8");
    let following = app.browse("/updates").await;
    assert!(
        following
            .text()
            .contains("data-follow=\"/api/containers/events /api/commands/events\""),
        "{}",
        following.text()
    );
    // What is being written is not taken away.
    let still = app.browse("/silences").await;
    assert!(!still.text().contains(SCRIPT) && !still.text().contains("http-equiv"));
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

#[tokio::test]
async fn a_disks_page_charts_what_changed_over_the_month() {
    const DAY: i64 = 86_400_000;
    let app = TestApp::start().await;
    let (server, device) = app.furnished("web").await;
    let attribute = |kind: &'static str| {
        Labels::of(&[
            ("device", "sda"),
            ("attribute_id", "197"),
            ("attribute_name", "Current_Pending_Sector"),
            ("attribute_value_type", kind),
        ])
    };
    // Read a minute before the hours that are charted.
    let last = NOW - NOW.rem_euclid(DAY / 4) - 60_000;
    let days = |from: i64, value: f64| {
        (0..4)
            .map(|day| (last - DAY * (from - day), value))
            .collect::<Vec<_>>()
    };
    for (kind, value) in [("raw", 8.0), ("value", 100.0)] {
        app.put(
            server,
            device,
            "smartctl_device_attribute",
            &attribute(kind),
            &days(6, value),
        );
    }
    let later: Vec<(i64, f64)> = vec![(last, 11.0)];
    app.put(
        server,
        device,
        "smartctl_device_attribute",
        &attribute("raw"),
        &later,
    );
    let celsius = Labels::of(&[("device", "sda"), ("temperature_type", "current")]);
    app.put(
        server,
        device,
        "smartctl_device_temperature",
        &celsius,
        &days(6, 33.0),
    );
    let page = app.browse(&format!("/devices/{device}")).await;
    for part in [
        "Over the last month",
        "197 Current Pending Sector",
        "+3",
        "Temperature",
    ] {
        assert!(page.text().contains(part), "{part}");
    }
    assert!(is_harmless(page.text()));
}

/// What a browser posts from a form of our own page.
pub(super) fn posted(cookie: &str, uri: &str, form: &str) -> axum::http::Request<axum::body::Body> {
    let mut posted = request("POST", uri, "application/x-www-form-urlencoded", form.to_owned());
    let headers = posted.headers_mut();
    headers.insert("cookie", format!("muster_session={cookie}").parse().unwrap());
    headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
    headers.insert("accept", "text/html".parse().unwrap());
    posted
}

/// The secret on a page that shows one.
fn secret(page: &str) -> String {
    let (_, rest) = page.split_once("<pre class=\"wrap\">").unwrap();
    rest.split_once("</pre>").unwrap().0.to_owned()
}

#[tokio::test]
async fn accounts_are_made_disabled_and_deleted_on_the_page() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    let post = async |uri: &str, form: &str| app.send(posted(&admin, uri, form)).await;
    let made = post(
        "/accounts/users",
        "username=eve&password=long+enough+for+all&role=viewer",
    )
    .await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text());
    assert_eq!(made.header("location"), "/accounts");
    for odd in [
        "username=mallory&password=short&role=viewer",
        "username=mallory&password=long+enough+for+all&role=root",
    ] {
        let refused = post("/accounts/users", odd).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{odd}");
    }
    assert!(app.browse("/accounts").await.text().contains("eve"));
    let users = app.get("/api/users").await.json();
    let users = users["items"].as_array().unwrap();
    let eve = users.iter().find(|user| user["username"] == "eve").unwrap();
    let id = &eve["id"];
    post(&format!("/accounts/users/{id}/disable"), "").await;
    let user = app.get(&format!("/api/users/{id}")).await.json();
    assert_eq!(user["disabled"], true);
    post(&format!("/accounts/users/{id}/delete"), "").await;
    let user = app.get(&format!("/api/users/{id}")).await;
    assert_eq!(user.code(), "user_not_found");
    let audit = app.get("/api/audit?limit=100").await.text().to_owned();
    for action in ["user.create", "user.change", "user.delete"] {
        assert!(audit.contains(action), "{action}");
    }
    assert!(!audit.contains("long enough"), "no password in the log");
}

#[tokio::test]
async fn tokens_are_shown_once_when_they_are_made_on_the_page_and_end_there() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    let post = async |uri: &str, form: &str| app.send(posted(&admin, uri, form)).await;
    let token = post("/accounts/tokens", "name=grafana&scope=read&days=30").await;
    assert_eq!(token.status, StatusCode::OK, "{}", token.text());
    let enrolment = post("/accounts/enrolment", "uses=2&minutes=10").await;
    assert_eq!(enrolment.status, StatusCode::OK, "{}", enrolment.text());
    let (token, enrolment) = (secret(token.text()), secret(enrolment.text()));
    let page = app.browse("/accounts").await;
    for part in ["grafana", "2 of 2", "usable"] {
        assert!(page.text().contains(part), "{part}");
    }
    assert!(!page.text().contains(&token) && !page.text().contains(&enrolment));
    assert!(is_harmless(page.text()));
    let me = async || {
        app.send(app.as_bearer("GET", "/api/auth/me", &token))
            .await
            .status
    };
    assert_eq!(me().await, StatusCode::OK);
    let tokens = app.get("/api/tokens").await.json();
    let id = &tokens["items"][0]["id"];
    post(&format!("/accounts/tokens/{id}/delete"), "").await;
    assert_eq!(me().await, StatusCode::UNAUTHORIZED);
    let listed = async || app.get("/api/enrolment-tokens").await.json()["items"][0].clone();
    assert_eq!(listed().await["state"], "usable");
    let id = listed().await["id"].as_str().unwrap().to_owned();
    post(&format!("/accounts/enrolment/{id}/end"), "").await;
    assert_eq!(listed().await["state"], "ended");
}

#[tokio::test]
async fn the_page_of_accounts_is_for_admins_and_its_forms_for_our_own_page() {
    let app = TestApp::start().await;
    let viewer = app.token_of(Role::Viewer).await;
    let seen = app.send(app.as_bearer("GET", "/accounts", &viewer)).await;
    assert_eq!(seen.status, StatusCode::FORBIDDEN);
    let admin = app.login().await;
    let mut foreign = posted(&admin, "/accounts/enrolment", "uses=1&minutes=10");
    foreign
        .headers_mut()
        .insert("sec-fetch-site", "cross-site".parse().unwrap());
    let answer = app.send(foreign).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let as_viewer = posted(
        &viewer,
        "/accounts/users",
        "username=a&password=long+enough+for+all&role=admin",
    );
    assert_eq!(app.send(as_viewer).await.status, StatusCode::FORBIDDEN);
    assert_eq!(app.get("/api/enrolment-tokens").await.json()["total"], 0);
}
