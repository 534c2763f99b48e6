//! A real SMTP server (aiosmtpd, from PyPI), and what it was given.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// Interpreters start slowly on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server; it ends with this.
pub(crate) struct SmtpServer {
    pub(crate) port: u16,
    /// The authority of its certificate, PEM.
    pub(crate) authority: String,
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
    _folder: TempDir,
}

impl SmtpServer {
    /// Starts one: `starttls`, `tls` or `none`; whoever writes must log in if there is a user.
    pub(crate) async fn start(mode: &str, login: Option<(&str, &str)>) -> Self {
        let folder = TempDir::new().unwrap();
        let authority = certificates(folder.path());
        let (user, password) = login.unwrap_or_default();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/delivery/smtp_server.py");
        #[expect(
            clippy::disallowed_methods,
            reason = "the other side of this test is a program"
        )]
        let mut command = Command::new(python());
        command.arg(script).args([mode]);
        command
            .arg(folder.path().join("server.pem"))
            .arg(folder.path().join("server.key"));
        command.args([user, password]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut server = Self {
            port: 0,
            authority,
            lines,
            _child: child,
            _folder: folder,
        };
        let said = server.next().await;
        server.port = said["port"].as_u64().unwrap().try_into().unwrap();
        server
    }

    /// The next mail it was given.
    pub(crate) async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line())
            .await
            .expect("the server says nothing");
        serde_json::from_str(&line.unwrap().expect("the server ended")).unwrap()
    }
}

/// The interpreter with `aiosmtpd` that `make test` prepares.
fn python() -> PathBuf {
    let target = std::env::current_exe().unwrap();
    let target = target.ancestors().find(|folder| folder.join("venv").exists());
    let python = target.map(|target| target.join("venv/bin/python"));
    python.expect("target/venv is missing: run `make test-deps`")
}

/// Writes a certificate for `localhost` with its key; returns its authority.
fn certificates(folder: &Path) -> String {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca_params = CertificateParams::new(Vec::new()).unwrap();
    ca_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = ca_params.self_signed(&ca_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &Issuer::new(ca_params, ca_key)).unwrap();
    std::fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    ca.pem()
}
