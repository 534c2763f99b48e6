//! What updates go by, on the page: policies, windows, registries.

use axum::http::StatusCode;
use serde_json::json;

use crate::http::tests::container_pages::post;
use crate::http::tests::harness::TestApp;

#[tokio::test]
async fn what_is_wrong_with_a_policy_is_said_at_its_field_and_what_was_written_stays() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    assert!(
        app.browse("/updates/policies")
            .await
            .text()
            .contains("nothing happens by itself")
    );
    let odd =
        "name=nights&mode=scheduled&min_age=soon&priority=high&image_pattern=%28&scope=image&enabled=yes";
    let refused = post(&app, &admin, "/updates/policies", odd).await;
    assert_eq!(
        refused.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "{}",
        refused.text()
    );
    assert!(refused.text().contains("a whole number is needed") && refused.text().contains("value=\"soon\""));
    let odd = odd.replace("priority=high", "priority=5");
    let refused = post(&app, &admin, "/updates/policies", &odd).await;
    for part in [
        "a duration such as 12h",
        "scheduled needs a maintenance_window_id",
        "value=\"nights\"",
        "value=\"(\"",
    ] {
        assert!(refused.text().contains(part), "{part} in {}", refused.text());
    }
    let unknown = post(&app, &admin, "/updates/policies", "name=x&autoapprove=yes").await;
    assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(app.get("/api/containers/policies").await.json()["total"], 0);
}

#[tokio::test]
async fn policies_are_made_changed_and_deleted_on_the_page() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    let form = "name=nights&mode=automatic&limit=minor&scope=image&image_pattern=nginx:.*&min_age=3d&\
                exclude_versions=*-rc*,+latest&labels=any&enabled=yes&notify_on_success=yes&notify_on_failure=yes&\
                notify_on_update=yes&notify_on_start=yes";
    let made = post(&app, &admin, "/updates/policies", form).await;
    assert_eq!(
        (made.status, made.header("location")),
        (StatusCode::SEE_OTHER, "/updates/policies".to_owned())
    );
    let policy = app.get("/api/containers/policies/1").await.json();
    for (field, value) in [
        ("name", json!("nights")),
        ("mode", json!("automatic")),
        ("limit", json!("minor")),
        ("exclude_versions", json!(["*-rc*", "latest"])),
        ("labels", json!("any")),
        ("notify_on_start", json!(true)),
        ("enabled", json!(true)),
    ] {
        assert_eq!(policy[field], value, "{field} of {policy}");
    }
    let page = app.browse("/updates/policies/1").await;
    for part in ["value=\"nginx:.*\"", "value=\"3d\"", "Yes, delete it"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    post(&app, &admin, "/updates/policies/1", "name=days&mode=manual").await;
    let policy = app.get("/api/containers/policies/1").await.json();
    assert_eq!(
        (&policy["name"], &policy["mode"], &policy["enabled"]),
        (&json!("days"), &json!("manual"), &json!(false))
    );
    let gone = post(&app, &admin, "/updates/policies/9", "name=days").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let deleted = post(&app, &admin, "/updates/policies/1/delete", "").await;
    assert_eq!(deleted.status, StatusCode::SEE_OTHER);
    assert_eq!(
        app.browse("/updates/policies/1").await.status,
        StatusCode::NOT_FOUND
    );
    let audit = app.get("/api/audit?limit=100").await;
    for action in [
        "update_policy.create",
        "update_policy.change",
        "update_policy.delete",
    ] {
        assert!(audit.text().contains(action), "{action}");
    }
}

#[tokio::test]
async fn windows_are_made_changed_and_deleted_on_the_page() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    for (odd, words) in [
        ("name=nights", "one of three is required"),
        ("name=nights&from=25:00&to=06:00", "class=\"wrong\""),
        ("name=&from=22:00&to=06:00", "must not be empty"),
        (
            "name=nights&from=22:00&to=06:00&timezone=Mars%2FBase",
            "class=\"wrong\"",
        ),
        (
            "name=nights&cron_expression=0+3+*+*+*&duration_minutes=long",
            "a whole number is needed",
        ),
    ] {
        let refused = post(&app, &admin, "/updates/windows", odd).await;
        assert_eq!(
            refused.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{odd}: {}",
            refused.text()
        );
        assert!(
            refused.text().contains(words),
            "{words} after {odd} in {}",
            refused.text()
        );
    }
    let form = "name=nights&from=22:00&to=06:00&mon=yes&tue=yes&timezone=Europe%2FBerlin&enabled=yes";
    let made = post(&app, &admin, "/updates/windows", form).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text());
    let policy = json!({"name": "p", "mode": "scheduled", "maintenance_window_id": 1});
    app.with_json("POST", "/api/containers/policies", &policy).await;
    let page = app.browse("/updates/windows").await;
    for part in ["22:00", "Europe/Berlin", "closed", ">p<"] {
        assert!(page.text().contains(part), "{part} in {}", page.text());
    }
    let one = app.browse("/updates/windows/1").await;
    assert_eq!(one.text().matches(" checked").count(), 3, "{}", one.text());
    let changed = post(
        &app,
        &admin,
        "/updates/windows/1",
        "name=nights&from=23:00&to=06:00",
    )
    .await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{}", changed.text());
    assert!(
        app.browse("/updates/windows")
            .await
            .text()
            .contains("off: never open")
    );
    let used = post(&app, &admin, "/updates/windows/1/delete", "").await;
    assert_eq!(used.status, StatusCode::CONFLICT, "{}", used.text());
    app.call("DELETE", "/api/containers/policies/1").await;
    let deleted = post(&app, &admin, "/updates/windows/1/delete", "").await;
    assert_eq!(deleted.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn registries_are_kept_on_the_page_and_a_password_is_never_shown_back() {
    let app = TestApp::start().await;
    let admin = app.login().await;
    let odd = post(
        &app,
        &admin,
        "/registries",
        "name=lab&registry_url=ftp%3A%2F%2Fx&password=canary-odd&enabled=yes",
    )
    .await;
    assert_eq!(odd.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", odd.text());
    assert!(
        odd.text().contains("class=\"wrong\"") && !odd.text().contains("canary"),
        "{}",
        odd.text()
    );
    let form = "name=lab&registry_url=https%3A%2F%2Fregistry.example.org&username=puller&password=canary-first&enabled=yes";
    let made = post(&app, &admin, "/registries", form).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text());
    let again = post(&app, &admin, "/registries", form).await;
    assert!(
        again.text().contains("another registry is called so"),
        "{}",
        again.text()
    );
    let registry = async || app.get("/api/containers/registries/1").await.json();
    // An empty password leaves the one that is set.
    let form = "name=lab+two&registry_url=https%3A%2F%2Fregistry.example.org&username=puller&enabled=yes";
    let changed = post(&app, &admin, "/registries/1", form).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER, "{}", changed.text());
    assert_eq!(
        (&registry().await["name"], &registry().await["password_set"]),
        (&json!("lab two"), &json!(true))
    );
    for uri in ["/registries", "/registries/1"] {
        let page = app.browse(uri).await;
        assert!(
            page.text().contains("lab two") && !page.text().contains("canary"),
            "{uri}: {}",
            page.text()
        );
    }
    assert!(
        app.browse("/registries")
            .await
            .text()
            .contains("a password is set")
    );
    post(&app, &admin, "/registries/1", &format!("{form}&forget=yes")).await;
    assert_eq!(registry().await["password_set"], false);
    let validated = post(&app, &admin, "/registries/1/validate", "").await;
    assert_eq!(validated.status, StatusCode::SEE_OTHER, "{}", validated.text());
    let page = app.browse("/registries").await;
    assert!(
        !page.text().contains("pill good\">valid"),
        "nobody can have been asked: {}",
        page.text()
    );
    let deleted = post(&app, &admin, "/registries/1/delete", "").await;
    assert_eq!(deleted.status, StatusCode::SEE_OTHER);
    let audit = app.get("/api/audit?limit=1000").await;
    assert!(audit.text().contains("registry.change") && !audit.text().contains("canary"));
}
