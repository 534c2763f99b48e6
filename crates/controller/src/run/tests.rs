use std::sync::Arc;

use tokio::task::JoinHandle;

use super::*;
use crate::config::Overrides;
use crate::control::client::{ClientError, ask};
use crate::control::{Request, SOCKET, Status};

/// Longer than a loaded machine takes for a start or an end.
const PATIENCE: Duration = Duration::from_secs(60);

struct World {
    folder: Arc<tempfile::TempDir>,
    data_dir: Utf8PathBuf,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = Utf8PathBuf::from_path_buf(folder.path().join("data")).unwrap();
        Self {
            folder: Arc::new(folder),
            data_dir,
        }
    }

    fn config(&self) -> Config {
        let any = Some("127.0.0.1:0".parse().unwrap());
        let overrides = Overrides {
            data_dir: Some(self.data_dir.clone()),
            http: any,
            agents: any,
            ..Overrides::default()
        };
        Config::parse(Utf8Path::new("test.toml"), "", overrides, &self.data_dir).unwrap()
    }

    fn start(&self, config: Config) -> Running {
        let stop = CancellationToken::new();
        Running {
            task: tokio::spawn(run(config, stop.clone())),
            stop,
            _folder: Arc::clone(&self.folder),
        }
    }

    /// Asks until the controller answers, or has ended.
    async fn status(&self, running: &Running) -> Option<Status> {
        loop {
            match ask(&self.data_dir, &Request::Status).await {
                Ok(status) => return Some(status),
                Err(ClientError::NotRunning { .. }) if !running.task.is_finished() => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(_) => return None,
            }
        }
    }
}

struct Running {
    task: JoinHandle<Result<(), RunError>>,
    stop: CancellationToken,
    _folder: Arc<tempfile::TempDir>,
}

impl Running {
    async fn ended(self) -> Result<(), RunError> {
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_controller_starts_ends_in_order_and_starts_again_on_the_same_data() {
    let world = World::new();
    for _ in 0..2 {
        let running = world.start(world.config());
        assert!(world.status(&running).await.is_some());
        running.stop.cancel();
        running.ended().await.unwrap();
        assert!(!world.data_dir.join(SOCKET).exists());
        assert!(DataLock::take(&world.data_dir, Duration::ZERO).await.is_ok());
    }
    assert!(world.data_dir.join("admin-password").exists());
}

#[tokio::test]
async fn an_address_that_is_taken_is_said_with_its_setting_and_nothing_is_made() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = world.config();
    config.agents.address = taken.local_addr().unwrap();
    let error = world.start(config).ended().await.unwrap_err();
    assert!(error.to_string().contains("agents.address"), "{error}");
    assert!(!world.data_dir.join(STATE_FILE).exists());
}

#[tokio::test]
async fn waiting_for_the_lock_can_be_ended() {
    let world = World::new();
    std::fs::create_dir(&world.data_dir).unwrap();
    let held = DataLock::take(&world.data_dir, Duration::ZERO).await.unwrap();
    let running = world.start(world.config());
    running.stop.cancel();
    running.ended().await.unwrap();
    drop(held);
}

#[test]
fn whoever_listens_everywhere_is_reached_by_name_and_others_by_address() {
    assert_eq!(reachable("192.0.2.1:8481".parse().unwrap()), "192.0.2.1:8481");
    let everywhere = reachable("0.0.0.0:8481".parse().unwrap());
    assert!(
        everywhere.ends_with(":8481") && !everywhere.starts_with("0.0.0.0"),
        "{everywhere}"
    );
}
