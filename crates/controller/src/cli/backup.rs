//! Backup and restore for whoever may use the data folder. Progress goes to standard error, what was done to standard
//! output as JSON.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use camino::{Utf8Path, Utf8PathBuf};
use muster_base::clock::WallClock;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use serde_json::json;
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::local::{self, TRY_AGAIN};
use crate::app::audit::Actor;
use crate::backup::{self, Manifest};
use crate::config::Config;
use crate::control::client::{self, ClientError};
use crate::control::lock::{DataLock, LockError};
use crate::control::{Request, transfer};
use crate::run::{LOCK_WAIT_MAX, STATE_FILE};

/// The file of revocations in the data folder, which no restore touches.
const REVOCATIONS: &str = "revocations";

/// Makes a backup; returns what was made as JSON.
pub(super) async fn make(config: &Config, file: &Utf8Path) -> anyhow::Result<String> {
    let state = config.data_dir.join(STATE_FILE);
    if !state.exists() {
        bail!("there is no {state}: name the controller's folder with --data-dir");
    }
    refuse_existing(file)?;
    let from = reach(config).await?;
    let target = Target::begin(file)?;
    let partial = target.partial.clone();
    let data_dir = config.data_dir.clone();
    let made = tokio::task::spawn_blocking(move || {
        let manifest = match from {
            From::Running(stream) => fetch(stream, &target.file),
            From::Alone(lock) => {
                let made = make_alone(&data_dir, &target.file);
                drop(lock);
                made
            }
        };
        manifest.and_then(|manifest| target.finish().map(|size_bytes| (manifest, size_bytes)))
    });
    match made.await? {
        Ok((manifest, size_bytes)) => Ok(json!({
            "file": file,
            "size_bytes": size_bytes,
            "made_ms": manifest.made_ms,
            "store_epoch": manifest.store_epoch,
            "files": manifest.files.len(),
            "damaged": manifest.files.iter().filter(|file| file.is_damaged).count(),
        })
        .to_string()),
        Err(error) => {
            // Half a backup is worth nothing.
            let _ = fs::remove_file(partial);
            Err(error)
        }
    }
}

/// Restores a backup; returns what was done as JSON.
pub(super) async fn restore(config: &Config, file: &Utf8Path) -> anyhow::Result<String> {
    let data_dir = &config.data_dir;
    fs::create_dir_all(data_dir).with_context(|| format!("make the data folder {data_dir}"))?;
    // A running controller is not waited for: it will not end by itself.
    let lock = match DataLock::take(data_dir, Duration::ZERO).await {
        Err(LockError::Held { .. }) => bail!("a controller is running on {data_dir}: stop it first"),
        taken => taken?,
    };
    let key = &config.secret_key_file;
    if !key.exists() {
        bail!(
            "the sealing key {key} is missing, and no backup holds it: copy it there from where you keep it, or name \
             it with --secret-key-file"
        );
    }
    let now_ms = WallClock::system().now_ms();
    let has_revocations = data_dir.join(REVOCATIONS).exists();
    let restored = backup::restore(file, data_dir, key, now_ms, say).await?;
    let app = local::open(config).await?;
    let actor = Actor::Local {
        uid: nix::unistd::getuid().as_raw(),
    };
    app.audit().restored(actor, format!("from {file}")).await?;
    local::close(&app, lock).await?;
    if restored.has_replaced {
        say(&format!(
            "what was there before is in {}: remove it when it is not needed any more",
            data_dir.join("replaced")
        ));
    }
    if !has_revocations {
        say(&format!(
            "there is no {}: whom somebody revoked from {} to {} is not known. Revoke them again",
            data_dir.join(REVOCATIONS),
            restored
                .manifest
                .as_ref()
                .map_or_else(|| "the upgrade".to_owned(), |manifest| time(manifest.made_ms)),
            time(now_ms)
        ));
    }
    Ok(json!({
        "made_ms": restored.manifest.as_ref().map(|manifest| manifest.made_ms),
        "store_epoch": restored.store_epoch,
        "enrolment_tokens_void": restored.tokens_void,
        "sessions_void": restored.sessions_void,
        "revocations_known": has_revocations,
    })
    .to_string())
}

/// Checks a backup; returns what is in it as JSON.
pub(super) fn verify(file: &Utf8Path) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(&backup::verify(file)?)?)
}

/// Who makes the backup.
enum From {
    /// The running controller, which sends it.
    Running(UnixStream),
    /// Nobody else: the lock is ours.
    Alone(DataLock),
}

/// Asks the running controller, or makes sure that there is none.
async fn reach(config: &Config) -> anyhow::Result<From> {
    let deadline = Instant::now() + LOCK_WAIT_MAX;
    loop {
        match client::connect(&config.data_dir, &Request::Backup).await {
            Ok(stream) => return Ok(From::Running(stream)),
            Err(ClientError::NotRunning { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        // Held without a socket: it is starting or ending.
        match DataLock::take(&config.data_dir, Duration::ZERO).await {
            Ok(lock) => return Ok(From::Alone(lock)),
            Err(LockError::Held { .. }) if Instant::now() < deadline => tokio::time::sleep(TRY_AGAIN).await,
            Err(error) => return Err(error.into()),
        }
    }
}

fn fetch(stream: UnixStream, to: &File) -> anyhow::Result<Manifest> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    let mut out = BufWriter::new(to);
    let manifest = transfer::receive(stream, &mut out, say)?;
    out.flush().context("write the backup")?;
    Ok(manifest)
}

fn make_alone(data_dir: &Utf8Path, to: &File) -> anyhow::Result<Manifest> {
    backup::finish_restore(data_dir)?;
    let now_ms = WallClock::system().now_ms();
    let (_, manifest) = backup::make(data_dir, BufWriter::new(to), now_ms, say)?;
    Ok(manifest)
}

/// A file that gets its name when all of it is on disk.
struct Target {
    file: File,
    partial: Utf8PathBuf,
    path: Utf8PathBuf,
}

impl Target {
    fn begin(path: &Utf8Path) -> anyhow::Result<Self> {
        let partial = Utf8PathBuf::from(format!("{path}.partial"));
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&partial)
            .with_context(|| format!("make {partial}"))?;
        Ok(Self {
            file,
            partial,
            path: path.to_owned(),
        })
    }

    /// Gives the file its name, unless there is one of that name by now; returns its size.
    fn finish(&self) -> anyhow::Result<u64> {
        let Self { file, partial, path } = self;
        file.sync_all().with_context(|| format!("sync {partial}"))?;
        let from = partial.as_std_path();
        match renameat2(
            AT_FDCWD,
            from,
            AT_FDCWD,
            path.as_std_path(),
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) => {}
            // Not every filesystem can do that.
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) => {
                refuse_existing(path)?;
                fs::rename(partial, path).with_context(|| format!("rename {partial}"))?;
            }
            Err(errno) => return Err(errno).with_context(|| format!("rename {partial} to {path}")),
        }
        let folder = path.parent().filter(|folder| !folder.as_str().is_empty());
        let folder = folder.unwrap_or(Utf8Path::new("."));
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .with_context(|| format!("sync {folder}"))?;
        Ok(file.metadata()?.len())
    }
}

fn refuse_existing(path: &Utf8Path) -> anyhow::Result<()> {
    if path.symlink_metadata().is_ok() {
        bail!("{path} is there already, and a backup never replaces a file: name another one");
    }
    Ok(())
}

/// RFC 3339, UTC.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map_or_else(|_| format!("{ms} ms"), |time| time.to_string())
}

/// A line for whoever waits.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
