use super::*;
use crate::app::tests::TestApp;

fn named(hostname: &str) -> NewServer {
    NewServer {
        hostname: hostname.to_owned(),
        ..NewServer::default()
    }
}

#[tokio::test]
async fn a_created_server_waits_for_its_agent_and_tells_how_to_install_it() {
    let test = TestApp::new().await;
    let new = NewServer {
        ip_address: Some("192.168.1.100".to_owned()),
        username: Some("matthew".to_owned()),
        monitoring_enabled: Some(true),
        ..named("test-server")
    };
    let created = test.app.create_server(new, "admin").await.unwrap();
    assert_eq!(created.server.status, ServerStatus::NeverSeen);
    assert_eq!((created.server.ssh_port, created.server.device_count), (22, 0));
    assert!(created.install_command.contains(&created.token.text));
    assert!(created.install_command.contains("--controller 127.0.0.1:8481"));
    assert_eq!(test.app.server(created.server.id).await.unwrap(), created.server);
}

#[tokio::test]
async fn names_need_not_be_unique_and_pages_follow_each_other() {
    let test = TestApp::new().await;
    for _ in 0..5 {
        test.app.create_server(named("twin"), "admin").await.unwrap();
    }
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let wanted = PageRequest {
            limit: Some(2),
            cursor,
        };
        let page = test.app.servers(ServerFilter::default(), wanted).await.unwrap();
        assert_eq!(page.total, 5);
        seen.extend(page.items.into_iter().map(|server| server.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen.len(), 5);
    assert!(seen.is_sorted());
}

#[tokio::test]
async fn servers_are_filtered_by_whether_they_are_monitored() {
    let test = TestApp::new().await;
    let off = NewServer {
        monitoring_enabled: Some(false),
        ..named("off")
    };
    test.app.create_server(off, "admin").await.unwrap();
    test.app.create_server(named("on"), "admin").await.unwrap();
    for (enabled, name, status) in [
        (true, "on", ServerStatus::NeverSeen),
        (false, "off", ServerStatus::Disabled),
    ] {
        let filter = ServerFilter {
            monitoring_enabled: Some(enabled),
        };
        let page = test.app.servers(filter, PageRequest::default()).await.unwrap();
        assert_eq!((page.items.len(), page.total), (1, 1));
        assert_eq!(
            (page.items[0].hostname.as_str(), page.items[0].status),
            (name, status)
        );
    }
}

#[tokio::test]
async fn every_field_that_cannot_be_taken_is_named() {
    let test = TestApp::new().await;
    let bad = NewServer {
        ssh_port: Some(0),
        description: Some("d".repeat(5_000)),
        tags: vec![String::new()],
        collection_interval: Some(1),
        username: Some("a\nb".to_owned()),
        ..named(" ")
    };
    let Err(AppError::Invalid(problems)) = test.app.create_server(bad, "admin").await else {
        panic!("it was taken");
    };
    let fields: Vec<_> = problems.iter().map(|problem| problem.field).collect();
    assert_eq!(
        fields,
        [
            "hostname",
            "username",
            "ssh_port",
            "description",
            "tags",
            "collection_interval"
        ]
    );
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_can_empty_a_field() {
    let test = TestApp::new().await;
    let new = NewServer {
        description: Some("old".to_owned()),
        username: Some("matthew".to_owned()),
        ..named("a")
    };
    let id = test.app.create_server(new, "admin").await.unwrap().server.id;
    test.pass(1_000);
    let patch = ServerPatch {
        hostname: Some("b".to_owned()),
        description: Some(None),
        tags: Some(vec!["rack-1".to_owned()]),
        ..ServerPatch::default()
    };
    let patched = test.app.patch_server(id, patch, "admin").await.unwrap();
    assert_eq!(
        (patched.hostname.as_str(), patched.description.as_deref()),
        ("b", None)
    );
    assert_eq!(patched.username.as_deref(), Some("matthew"));
    assert_eq!(patched.updated_ms - patched.created_ms, 1_000);
    assert_eq!(test.app.server(id).await.unwrap(), patched);
    let bad = ServerPatch {
        hostname: Some(String::new()),
        ..ServerPatch::default()
    };
    assert!(matches!(
        test.app.patch_server(id, bad, "admin").await,
        Err(AppError::Invalid(_))
    ));
}

#[tokio::test]
async fn names_follow_every_change() {
    let test = TestApp::new().await;
    let id = test
        .app
        .create_server(named("a"), "admin")
        .await
        .unwrap()
        .server
        .id;
    assert_eq!(test.app.server_names().await.unwrap()[&id].hostname, "a");
    let patch = ServerPatch {
        hostname: Some("b".to_owned()),
        ..ServerPatch::default()
    };
    test.app.patch_server(id, patch, "admin").await.unwrap();
    assert_eq!(test.app.server_names().await.unwrap()[&id].hostname, "b");
    test.app.delete_server(id, "admin").await.unwrap();
    assert!(test.app.server_names().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_deleted_server_is_gone_for_everybody_and_its_id_is_never_used_again() {
    let test = TestApp::new().await;
    let id = test
        .app
        .create_server(named("a"), "admin")
        .await
        .unwrap()
        .server
        .id;
    test.app.delete_server(id, "admin").await.unwrap();
    assert!(matches!(
        test.app.server(id).await,
        Err(AppError::NotFound { .. })
    ));
    assert!(matches!(
        test.app.delete_server(id, "admin").await,
        Err(AppError::NotFound { .. })
    ));
    assert!(matches!(
        test.app.collectors(id).await,
        Err(AppError::NotFound { .. })
    ));
    assert!(matches!(
        test.app.resource(id.resource()).await,
        Err(AppError::NotFound { .. })
    ));
    let next = test
        .app
        .create_server(named("a"), "admin")
        .await
        .unwrap()
        .server
        .id;
    assert!(id < next);
}

#[tokio::test]
async fn a_connected_server_is_online_until_it_falls_silent() {
    let test = TestApp::new().await;
    let id = test
        .app
        .create_server(named("a"), "admin")
        .await
        .unwrap()
        .server
        .id;
    test.pass(100_000);
    let stream = test.app.presence().connected(id, test.clock.now_ms());
    let status = async || test.app.server(id).await.unwrap().status;
    assert_eq!(status().await, ServerStatus::Online);
    assert_eq!(test.app.stats().await.unwrap().servers_online, 1);
    test.app.presence().disconnected(stream);
    test.pass(30_000);
    assert_eq!(status().await, ServerStatus::Late);
    test.pass(60_000);
    assert_eq!(status().await, ServerStatus::Offline);
    let stats = test.app.stats().await.unwrap();
    assert_eq!(
        (stats.servers, stats.servers_monitored, stats.servers_online),
        (1, 1, 0)
    );
}
