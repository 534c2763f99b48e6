//! An engine with one container, which counts what is really done.

use super::*;

/// One container, and how often something was really done to it.
pub(super) struct FakeEngine {
    pub(super) key: ResourceKey,
    pub(super) state: Mutex<Value>,
    pub(super) effects: AtomicUsize,
    pub(super) reads: AtomicUsize,
    /// From now on no call that changes something comes back: before it has its effect, or after.
    pub(super) dies_before: AtomicBool,
    pub(super) dies_after: AtomicBool,
    /// Calls that change something panic.
    pub(super) panics: AtomicBool,
    /// They fail so, and have no effect.
    pub(super) breaks: Mutex<Option<ErrorKind>>,
}

impl FakeEngine {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            key: ResourceKey::new("runtime:docker"),
            state: Mutex::new(json!({
                "Id": "0123456789abcdef", "Name": "/web",
                "State": {"Running": false, "Paused": false},
                "Config": {"Image": "docker.io/library/nginx:1"}, "HostConfig": {},
            })),
            effects: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            dies_before: AtomicBool::new(false),
            dies_after: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            breaks: Mutex::default(),
        })
    }

    pub(super) fn set(&self, key: &str, value: bool) {
        self.state.lock().unwrap()["State"][key] = value.into();
    }

    pub(super) async fn effect(&self, change: impl FnOnce(&mut Value)) -> Result<(), EngineError> {
        assert!(!self.panics.load(Ordering::SeqCst), "as the test wants it");
        if let Some(kind) = *self.breaks.lock().unwrap() {
            return Err(EngineError::Unreachable {
                call: "change",
                endpoint: "engine.sock".to_owned(),
                source: kind.into(),
            });
        }
        if self.dies_before.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.effects.fetch_add(1, Ordering::SeqCst);
        change(&mut self.state.lock().unwrap());
        if self.dies_after.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    pub(super) fn gone(&self) -> bool {
        self.state.lock().unwrap().is_null()
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn key(&self) -> &ResourceKey {
        &self.key
    }
    fn kind(&self) -> EngineKind {
        EngineKind::Docker
    }
    async fn version(&self) -> Result<Value, EngineError> {
        Ok(json!({}))
    }
    async fn info(&self) -> Result<Value, EngineError> {
        Ok(json!({}))
    }
    async fn containers(&self) -> Result<Vec<Value>, EngineError> {
        Ok(vec![json!({"ImageID": "sha256:used", "Image": "nginx:1"})])
    }
    async fn inspect(&self, container: &str) -> Result<Value, EngineError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.gone() || container != "web" {
            return Err(EngineError::NotFound {
                call: "inspect",
                message: container.to_owned(),
            });
        }
        Ok(self.state.lock().unwrap().clone())
    }
    async fn inspect_native(&self, _container: &str) -> Result<Option<Value>, EngineError> {
        Ok(None)
    }
    async fn inspect_image(&self, _image: &str) -> Result<Value, EngineError> {
        Ok(json!({}))
    }
    async fn images(&self) -> Result<Vec<Value>, EngineError> {
        Ok(vec![
            json!({"Id": "sha256:used", "RepoTags": [], "Size": 1, "Created": 1}),
            json!({"Id": "sha256:free", "RepoTags": [], "Size": 5, "Created": 1}),
            json!({"Id": "sha256:named", "RepoTags": ["old:1"], "Size": 7, "Created": 1}),
        ])
    }
    async fn pull(
        &self,
        _repository: &str,
        _digest: &str,
        _platform: Option<&str>,
        _auth: Option<&RegistryAuth>,
        _progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        unreachable!("no command of these pulls")
    }
    async fn tag(&self, _image: &str, _repository: &str, _tag: &str) -> Result<(), EngineError> {
        unreachable!("no command of these tags")
    }
    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        assert_eq!(image, "sha256:free");
        self.effect(|_| {}).await
    }
    async fn rename(&self, _container: &str, _name: &str) -> Result<(), EngineError> {
        unreachable!("no command of these renames")
    }
    async fn create(
        &self,
        _name: &str,
        _platform: Option<&str>,
        _body: &Value,
    ) -> Result<String, EngineError> {
        unreachable!("no command of these creates")
    }
    async fn connect(&self, _network: &str, _container: &str, _endpoint: &Value) -> Result<(), EngineError> {
        unreachable!("no command of these connects")
    }
    async fn disconnect(&self, _network: &str, _container: &str) -> Result<(), EngineError> {
        unreachable!("no command of these disconnects")
    }
    async fn set_restart_policy(&self, _container: &str, _policy: &Value) -> Result<bool, EngineError> {
        unreachable!("no command of these sets a policy")
    }
    async fn start(&self, _container: &str) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Running"] = true.into()).await
    }
    async fn stop(&self, _container: &str, _timeout_s: Option<u32>) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Running"] = false.into())
            .await
    }
    async fn restart(&self, _container: &str, _timeout_s: Option<u32>) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Running"] = true.into()).await
    }
    async fn pause(&self, _container: &str) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Paused"] = true.into()).await
    }
    async fn unpause(&self, _container: &str) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Paused"] = false.into()).await
    }
    async fn remove(&self, _container: &str, _force: bool) -> Result<(), EngineError> {
        self.effect(|state| *state = Value::Null).await
    }
    async fn logs(
        &self,
        _container: &str,
        _range: &LogRange,
        _bytes_max: usize,
    ) -> Result<Vec<LogChunk>, EngineError> {
        if self.dies_before.load(Ordering::SeqCst) || self.dies_after.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(vec![LogChunk {
            is_stderr: false,
            text: "hello".to_owned(),
        }])
    }
}

pub(super) struct OneEngine(pub(super) Arc<FakeEngine>);

#[async_trait]
impl Engines for OneEngine {
    async fn engine(&self, key: &ResourceKey) -> Option<Arc<dyn Engine>> {
        (*key == self.0.key).then(|| Arc::clone(&self.0) as Arc<dyn Engine>)
    }
}
