//! Container engines and a registry of a test's own: real dockerd, podman and docker-registry.
//!
//! Each has its own folder, socket, bridge and port, speaks to nothing outside this machine, and is ended by its id
//! together with the containers it has made. A part that is missing fails the test: nothing here skips.

mod docker;
mod image;
mod podman;
mod registry;
mod sweep;

pub use docker::Docker;
pub use image::{Behaviour, Image, Pushed};
pub use podman::Podman;
pub use registry::{Auth, Registry};

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

/// dockerd takes 2 s to start; a loaded machine gets a minute and a half.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// Debian has some of them where only root looks.
const PATHS: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The path of a program that `make test` installs.
fn program(name: &str) -> Result<PathBuf> {
    PATHS
        .split(':')
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
        .with_context(|| format!("{name} is missing: run `cargo xtask test-deps`"))
}

/// Runs a program to its end with this on standard input; what it printed on standard output.
fn run(name: &str, args: &[&str], environment: &[(&str, &Path)], input: &[u8]) -> Result<String> {
    #[expect(
        clippy::disallowed_methods,
        reason = "starting the programs is what this crate is for"
    )]
    let mut child = Command::new(program(name)?)
        .args(args)
        .env("PATH", PATHS)
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("standard input is piped")?;
    // One that does not read it all says why on its standard error.
    let _ = stdin.write_all(input);
    drop(stdin);
    let ended = child.wait_with_output()?;
    ensure!(
        ended.status.success(),
        "{name} {}: {}\n{}{}",
        args.join(" "),
        ended.status,
        String::from_utf8_lossy(&ended.stderr),
        String::from_utf8_lossy(&ended.stdout),
    );
    Ok(String::from_utf8(ended.stdout)?.trim().to_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the test's paths are UTF-8")
}

/// Asks again and again, from outside of an async runtime.
fn until<T>(limit: Duration, mut check: impl FnMut() -> Result<T>) -> Result<T> {
    let start = std::time::Instant::now();
    loop {
        match check() {
            Ok(value) => return Ok(value),
            Err(error) if limit < start.elapsed() => {
                return Err(error.context(format!("not within {limit:?}")));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}
