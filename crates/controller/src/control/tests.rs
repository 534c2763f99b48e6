use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use muster_base::shutdown::CancellationToken;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use super::client::{ClientError, ask};
use super::lock::{DataLock, LockError};
use super::server::ControlSocket;
use super::*;
use crate::app::tests::TestApp;

struct Running {
    test: TestApp,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

async fn running() -> Running {
    let test = TestApp::new().await;
    test.app.ensure_first_admin(|_| Ok(())).await.unwrap();
    let socket = ControlSocket::bind(&test.folder).unwrap();
    let stop = CancellationToken::new();
    let parts = server::Parts {
        app: Arc::clone(&test.app),
        hold: crate::backup::DeletionHold::default(),
        data_dir: test.folder.clone(),
    };
    let task = tokio::spawn(socket.serve(parts, stop.clone()));
    Running { test, stop, task }
}

#[tokio::test]
async fn tokens_and_sessions_are_made_over_the_socket() {
    let running = running().await;
    let folder = &running.test.folder;
    let request = Request::TokenCreate {
        ttl_s: Some(60),
        uses: 2,
        server_id: None,
    };
    let made: MadeToken = ask(folder, &request).await.unwrap();
    assert!(made.token.starts_with("muster1."));
    let session: MadeToken = ask(folder, &Request::SessionCreate).await.unwrap();
    assert_eq!(
        running
            .test
            .app
            .find_principal(&session.token)
            .await
            .unwrap()
            .username,
        "admin"
    );
    let status: Status = ask(folder, &Request::Status).await.unwrap();
    assert_eq!((status.pid, status.connected_agents), (std::process::id(), 0));
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let running = running().await;
    let request = Request::TokenCreate {
        ttl_s: None,
        uses: 1,
        server_id: Some(77),
    };
    let refused = ask::<MadeToken>(&running.test.folder, &request)
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, ClientError::Refused(why) if why.contains("no server with id 77")),
        "{refused}"
    );
}

#[tokio::test]
async fn lines_that_are_no_request_or_too_long_are_refused_and_others_go_on() {
    let running = running().await;
    let path = running.test.folder.join(SOCKET);
    for line in [
        "{}\n".to_owned(),
        "{\"verb\":\"stop\"}\n".to_owned(),
        "{\"verb\":\"token.create\",\"uses\":1,\"more\":1}\n".to_owned(),
        format!("{}\n", "x".repeat(LINE_BYTES_MAX)),
    ] {
        let mut stream = UnixStream::connect(path.as_std_path()).await.unwrap();
        // A line beyond the limit may be cut off while it is written.
        let _ = stream.write_all(line.as_bytes()).await;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.is_empty() || answer.contains("cannot be read"), "{answer}");
    }
    assert!(
        ask::<Status>(&running.test.folder, &Request::Status)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn the_socket_is_private_and_removed_at_the_end() {
    let running = running().await;
    let path = running.test.folder.join(SOCKET);
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    running.stop.cancel();
    running.task.await.unwrap();
    assert!(!path.exists());
    let nobody = ask::<Status>(&running.test.folder, &Request::Status)
        .await
        .unwrap_err();
    assert!(matches!(nobody, ClientError::NotRunning { .. }));
}

#[tokio::test]
async fn a_socket_left_behind_means_that_nobody_runs_and_is_replaced() {
    let test = TestApp::new().await;
    drop(ControlSocket::bind(&test.folder).unwrap());
    assert!(test.folder.join(SOCKET).exists());
    let nobody = ask::<Status>(&test.folder, &Request::Status).await.unwrap_err();
    assert!(matches!(nobody, ClientError::NotRunning { .. }));
    assert!(ControlSocket::bind(&test.folder).is_ok());
}

#[tokio::test]
async fn the_lock_is_held_by_one_and_free_once_dropped() {
    let test = TestApp::new().await;
    let held = DataLock::take(&test.folder, Duration::ZERO).await.unwrap();
    let refused = DataLock::take(&test.folder, Duration::from_millis(60))
        .await
        .unwrap_err();
    assert!(matches!(refused, LockError::Held { .. }));
    let folder = test.folder.clone();
    let waiting = tokio::spawn(async move { DataLock::take(&folder, Duration::from_secs(20)).await });
    drop(held);
    assert!(waiting.await.unwrap().is_ok());
}
