//! The control socket of a running controller.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::ErrorChain;
use muster_base::id::ServerId;
use muster_base::shutdown::CancellationToken;
use serde::Serialize;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::message::Answer;
use super::transfer::Sender;
use super::{LINE_BYTES_MAX, MadeToken, Request, SOCKET, Status};
use crate::app::App;
use crate::app::audit::{Actor, Entry};
use crate::app::enrolment::NewToken;
use crate::backup::{self, DeletionHold, Held};

/// How long one exchange may take.
const EXCHANGE_MAX: Duration = Duration::from_secs(20);
/// How long whoever takes a backup may not take anything of it: deletion is held meanwhile.
const STALLED_MAX: Duration = Duration::from_secs(60);
/// Exchanges at a time; more wait in the listen queue.
const EXCHANGES_MAX: usize = 16;
/// Rest after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// Who makes tokens that are asked for here, in tables and logs.
const LOCAL: &str = "local";

/// The socket could not be made.
#[derive(Debug, Error)]
#[error("make the control socket {path}")]
pub struct SocketError {
    path: Utf8PathBuf,
    source: io::Error,
}

/// What is asked about.
pub struct Parts {
    /// The use-cases.
    pub app: Arc<App>,
    /// Holds deletion while a backup is made.
    pub hold: DeletionHold,
    /// Whose backup is made.
    pub data_dir: Utf8PathBuf,
}

/// A listening control socket.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    path: Utf8PathBuf,
}

impl ControlSocket {
    /// Makes the socket, in the place of one that a killed controller left behind. To be called with the data folder's
    /// lock held.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(data_dir: &Utf8Path) -> Result<Self, SocketError> {
        let path = data_dir.join(SOCKET);
        let failed = |source| SocketError {
            path: path.clone(),
            source,
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path.as_std_path()).map_err(failed)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Answers until `stop` is cancelled, then removes the socket.
    pub async fn serve(self, parts: Parts, stop: CancellationToken) {
        let parts = Arc::new(parts);
        let exchanges = Arc::new(Semaphore::new(EXCHANGES_MAX));
        let tasks = TaskTracker::new();
        loop {
            let exchange_begins = async {
                let permit = Arc::clone(&exchanges)
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed");
                self.listener.accept().await.map(|(stream, _)| (stream, permit))
            };
            let (stream, permit) = tokio::select! {
                () = stop.cancelled() => break,
                begun = exchange_begins => match begun {
                    Ok(begun) => begun,
                    Err(error) => {
                        tracing::warn!(error = %error, "accepting on the control socket failed");
                        tokio::time::sleep(ACCEPT_REST).await;
                        continue;
                    }
                },
            };
            let parts = Arc::clone(&parts);
            tasks.spawn(async move {
                if let Err(error) = exchange(stream, &parts).await {
                    tracing::debug!(error = %error, "control exchange failed");
                }
                drop(permit);
            });
        }
        tasks.close();
        // Exchanges are short; one that hangs is cut off by its own limit or by the end of the process.
        let _ = tokio::time::timeout(Duration::from_secs(1), tasks.wait()).await;
        let _ = std::fs::remove_file(&self.path);
    }
}

async fn exchange(mut stream: UnixStream, parts: &Parts) -> io::Result<()> {
    let begun = tokio::time::timeout(EXCHANGE_MAX, begin(&mut stream, &parts.app)).await??;
    match begun {
        Begun::Answered => Ok(()),
        Begun::Backup => send_backup(stream, parts).await,
    }
}

/// How an exchange goes on.
enum Begun {
    Answered,
    Backup,
}

async fn begin(stream: &mut UnixStream, app: &App) -> io::Result<Begun> {
    let peer = stream.peer_cred()?.uid();
    let own = nix::unistd::geteuid().as_raw();
    let answer = if peer == 0 || peer == own {
        let mut line = String::new();
        let (read, _) = stream.split();
        BufReader::new(read.take(LINE_BYTES_MAX as u64))
            .read_line(&mut line)
            .await?;
        match serde_json::from_str(&line) {
            Ok(Request::Backup) => return Ok(Begun::Backup),
            Ok(request) => answer(app, request, peer).await,
            Err(error) => refusal(format!("the request cannot be read: {error}")),
        }
    } else {
        tracing::warn!(uid = peer, "control socket refused an account");
        refusal("only root and the controller's own account may ask here".to_owned())
    };
    stream.write_all(answer.as_bytes()).await?;
    stream.write_all(b"\n").await?;
    stream.shutdown().await?;
    Ok(Begun::Answered)
}

/// Makes a backup and sends it. One is made at a time; a second waits for the first.
async fn send_backup(stream: UnixStream, parts: &Parts) -> io::Result<()> {
    let actor = Actor::Local {
        uid: stream.peer_cred()?.uid(),
    };
    let held = parts.hold.hold().await;
    let now_ms = parts.app.clock().now_ms();
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(STALLED_MAX))?;
    let data_dir = parts.data_dir.clone();
    let entry = Entry::allowed(actor, "backup.make", "data folder");
    let begun = parts.app.audit().begin(&entry).await;
    tracing::info!("backup begun");
    let made = tokio::task::spawn_blocking(move || make_backup(&data_dir, stream, now_ms, held)).await;
    match made.map_err(io::Error::other)? {
        Ok(()) => {
            tracing::info!("backup made");
            parts.app.audit().conclude(Some(begun), entry).await;
            Ok(())
        }
        Err(error) => {
            parts.app.audit().end(begun).await;
            tracing::warn!(error = error, "backup failed");
            Ok(())
        }
    }
}

fn make_backup(
    data_dir: &Utf8Path,
    stream: std::os::unix::net::UnixStream,
    now_ms: i64,
    held: Held,
) -> Result<(), String> {
    let mut news = stream
        .try_clone()
        .map(Sender::new)
        .map_err(|error| error.to_string())?;
    let sender = Sender::new(stream);
    let progress = |line: &str| {
        // Whoever does not take this does not take the backup either, and that is where it is told.
        let _ = news.progress(line);
    };
    let made = backup::make(data_dir, sender, now_ms, progress);
    drop(held);
    let told = match made {
        Ok((mut sender, manifest)) => return sender.done(&manifest).map_err(|error| error.to_string()),
        Err(error) => ErrorChain(&error).to_string(),
    };
    // What is left in the folder is of no use to anybody.
    let _ = backup::clear_leftovers(data_dir);
    let _ = news.failed(&told);
    Err(told)
}

async fn answer(app: &App, request: Request, uid: u32) -> String {
    match request {
        Request::TokenCreate {
            ttl_s,
            uses,
            server_id,
        } => line(
            create_token(app, ttl_s, uses, server_id, uid)
                .await
                .map_err(|error| ErrorChain(&error).to_string()),
        ),
        Request::SessionCreate => {
            let entry = Entry::allowed(Actor::Local { uid }, "auth.login", LOCAL);
            let begun = app.audit().begin(&entry).await;
            let session = app.local_session(uid).await;
            app.audit().end(begun).await;
            let made = session.map(|session| MadeToken {
                token: session.access_token,
            });
            line(made.map_err(|error| ErrorChain(&error).to_string()))
        }
        Request::Backup => refusal("a backup is answered by frames".to_owned()),
        Request::Trust { trust } => line(super::trust::answer(app, trust, uid).await),
        Request::Status => line(Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_ms: app.started_ms(),
            connected_agents: app.presence().connected_count(),
        })),
    }
}

/// Makes an enrolment token for whoever may use the data folder; `uid` is who that is.
///
/// # Errors
/// As [`App::create_token`].
pub async fn create_token(
    app: &App,
    ttl_s: Option<u64>,
    uses: u32,
    server_id: Option<i64>,
    uid: u32,
) -> Result<MadeToken, crate::app::enrolment::EnrolError> {
    let wanted = NewToken {
        ttl: ttl_s.map(Duration::from_secs),
        uses,
        server: server_id.map(ServerId),
        created_by: LOCAL.to_owned(),
    };
    let bound = server_id.map_or_else(|| "any server".to_owned(), |id| format!("server {id}"));
    let (actor, action) = (Actor::Local { uid }, "enrolment_token.create");
    let begun = app
        .audit()
        .begin(&Entry::allowed(actor.clone(), action, &bound))
        .await;
    let made = app.create_token(wanted).await;
    if let Ok(made) = &made {
        let entry = Entry::allowed(actor, action, &made.public_id);
        let entry = entry.with_detail(format!("{bound}, {uses} uses"));
        app.audit().note(entry).await;
    }
    app.audit().end(begun).await;
    Ok(MadeToken { token: made?.text })
}

fn line<T: Serialize>(result: Result<T, String>) -> String {
    let answer = match result {
        Ok(value) => Answer::Ok(value),
        Err(reason) => Answer::Error(reason),
    };
    serde_json::to_string(&answer).expect("answers are plain data")
}

fn refusal(reason: String) -> String {
    line::<()>(Err(reason))
}
