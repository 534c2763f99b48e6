//! A stateful stand-in for a Docker engine on a Unix socket, which fails where a test wants it to.
//!
//! It keeps containers, images, names and volumes as an engine would, outlives the death of its clients, can die itself
//! and come back with all it had, and counts calls, so that a test can break every single one of them: before it had
//! its effect or after it. It also watches what no client may ever do: let two containers run on one volume, or remove
//! volumes with a container.

mod server;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use world::{Behaviour, World};

/// What happens to a call.
#[derive(Clone)]
pub enum Fault {
    /// It is answered with 500, and has no effect.
    Refuse,
    /// It has its effect, or none, and is never answered.
    Hang {
        /// Whether it has its effect.
        after: bool,
    },
    /// The connection is closed without an answer.
    Drop {
        /// Whether it has its effect before.
        after: bool,
    },
    /// The engine dies; [`FakeEngine::come_back`] starts it again.
    Die {
        /// Whether the call has its effect before.
        after: bool,
    },
    /// Something of the test's own is done, and the connection is closed.
    Do {
        /// Whether the call has its effect before.
        after: bool,
        /// What is done, such as killing the client.
        act: Arc<dyn Fn() + Send + Sync>,
    },
}

impl std::fmt::Debug for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refuse => f.write_str("Refuse"),
            Self::Hang { after } => write!(f, "Hang after={after}"),
            Self::Drop { after } => write!(f, "Drop after={after}"),
            Self::Die { after } => write!(f, "Die after={after}"),
            Self::Do { after, .. } => write!(f, "Do after={after}"),
        }
    }
}

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) fault: Mutex<Option<(usize, Fault)>>,
    pub(crate) life: Mutex<CancellationToken>,
}

/// An engine that listens until it is dropped or dies.
pub struct FakeEngine {
    socket: PathBuf,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for FakeEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeEngine")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl FakeEngine {
    /// Starts an empty one that listens at `socket`.
    ///
    /// # Errors
    /// If it can't listen there.
    pub fn start(socket: &Path) -> std::io::Result<Self> {
        let engine = Self {
            socket: socket.to_owned(),
            shared: Arc::default(),
        };
        engine.come_back()?;
        Ok(engine)
    }

    /// Listens again after its death, with all it had; containers with a restart policy have been started again.
    ///
    /// # Errors
    /// If it can't listen.
    pub fn come_back(&self) -> std::io::Result<()> {
        let life = CancellationToken::new();
        let former = std::mem::replace(&mut *self.shared.life.lock(), life.clone());
        former.cancel();
        let _ = std::fs::remove_file(&self.socket);
        let listener = tokio::net::UnixListener::bind(&self.socket)?;
        tokio::spawn(server::serve(listener, Arc::clone(&self.shared), life));
        Ok(())
    }

    /// Dies, and keeps what it has.
    pub fn die(&self) {
        self.shared.life.lock().cancel();
    }

    /// Whether it is dead.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.shared.life.lock().is_cancelled()
    }

    /// Looks at or changes what it has, without a call.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.shared.world.lock())
    }

    /// Breaks the call with this number, counted from 1 and from now on.
    pub fn break_call(&self, number: usize, fault: Fault) {
        self.shared.calls.lock().clear();
        *self.shared.fault.lock() = Some((number, fault));
    }

    /// Breaks nothing any more.
    pub fn heal(&self) {
        *self.shared.fault.lock() = None;
    }

    /// The calls since the last [`FakeEngine::break_call`], such as `POST /containers/web/stop`.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.shared.calls.lock().clone()
    }

    /// Inspect of a container.
    #[must_use]
    pub fn inspect(&self, name: &str) -> Option<Value> {
        self.with(|world| world.inspect(name))
    }
}

impl Drop for FakeEngine {
    fn drop(&mut self) {
        self.die();
    }
}
