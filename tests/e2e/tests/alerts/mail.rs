//! A mail server (aiosmtpd), and its mailbox.

use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use muster_e2e::{Process, eventually};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Interpreters start slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const USER: &str = "muster";
pub(crate) const PASSWORD: &str = "canary-password";

/// The server; it ends with this.
pub(crate) struct MailServer {
    pub(crate) port: u16,
    /// The authority of its certificate, PEM.
    pub(crate) authority: String,
    mailbox: PathBuf,
    _process: Process,
}

/// A mail as it lies in the mailbox.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) at_ms: i64,
    pub(crate) text: String,
}

impl MailServer {
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let authority = certificates(folder)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/mail_server.py");
        let mailbox = folder.join("mailbox");
        let paths = [
            &script,
            &mailbox,
            &folder.join("server.pem"),
            &folder.join("server.key"),
        ];
        let mut args: Vec<&str> = paths.iter().filter_map(|path| path.to_str()).collect();
        args.extend([USER, PASSWORD]);
        let mut process = Process::start(&python()?, &args, &folder.join("log"))?;
        let port = eventually(PATIENCE, async || {
            let printed = process.printed();
            anyhow::ensure!(process.is_running()?, "the mail server ended: {printed}");
            let port = printed.lines().find_map(|line| line.strip_prefix("port "));
            Ok(port.context("no port yet")?.parse()?)
        })
        .await?;
        Ok(Self {
            port,
            authority,
            mailbox,
            _process: process,
        })
    }

    /// All mail, the oldest first.
    pub(crate) fn mail(&self) -> Result<Vec<Kept>> {
        let mut mail = Vec::new();
        for file in std::fs::read_dir(self.mailbox.join("new"))? {
            let file = file?;
            let modified = file.metadata()?.modified()?.duration_since(UNIX_EPOCH)?;
            mail.push(Kept {
                at_ms: i64::try_from(modified.as_millis())?,
                text: std::fs::read_to_string(file.path())?,
            });
        }
        mail.sort_unstable_by_key(|kept| kept.at_ms);
        Ok(mail)
    }
}

/// The interpreter with `aiosmtpd` that `make test` prepares.
fn python() -> Result<PathBuf> {
    let target = std::env::current_exe()?;
    let target = target.ancestors().find(|folder| folder.join("venv").exists());
    let target = target.context("target/venv is missing: run `make test-deps`")?;
    Ok(target.join("venv/bin/python"))
}

/// Writes a certificate for `localhost` with its key; returns its authority.
fn certificates(folder: &Path) -> Result<String> {
    let ca_key = KeyPair::generate()?;
    let mut ca_params = CertificateParams::new(Vec::new())?;
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key)?;
    let key = KeyPair::generate()?;
    let params = CertificateParams::new(vec!["localhost".to_owned()])?;
    let certificate = params.signed_by(&key, &Issuer::new(ca_params, ca_key))?;
    std::fs::write(folder.join("server.pem"), certificate.pem())?;
    std::fs::write(folder.join("server.key"), key.serialize_pem())?;
    Ok(ca.pem())
}
