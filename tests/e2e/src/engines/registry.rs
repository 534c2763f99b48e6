//! A docker-registry of a test's own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use tempfile::TempDir;

use super::{READY_LIMIT, program, until};
use crate::Process;

/// Who may pull and push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth {
    /// User name.
    pub username: &'static str,
    /// Password.
    pub password: &'static str,
    /// The same as a line of an htpasswd file.
    line: &'static str,
}

impl Auth {
    /// The one user there is.
    pub const BASIC: Self = Self {
        username: "puller",
        password: "correct horse",
        line: "puller:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n",
    };
}

/// A registry on loopback that speaks plain HTTP, which engines accept of 127.0.0.1; ended when dropped.
#[derive(Debug)]
pub struct Registry {
    dir: TempDir,
    address: SocketAddr,
    auth: Option<Auth>,
    process: Option<Process>,
}

impl Registry {
    /// Starts an empty one, and waits until it answers.
    ///
    /// # Errors
    /// If the program is missing or does not answer.
    pub fn start(auth: Option<Auth>) -> Result<Self> {
        let mut registry = Self {
            dir: tempfile::Builder::new().prefix("muster-registry-").tempdir()?,
            address: crate::world::free_port()?,
            auth,
            process: None,
        };
        registry.start_again()?;
        Ok(registry)
    }

    /// Starts it on the same data and address after [`Registry::kill`].
    ///
    /// # Errors
    /// If it does not answer.
    pub fn start_again(&mut self) -> Result<()> {
        let (settings, users) = (
            self.dir.path().join("registry.yml"),
            self.dir.path().join("users"),
        );
        let auth = match self.auth {
            Some(auth) => {
                std::fs::write(&users, auth.line)?;
                format!(
                    "auth: {{htpasswd: {{realm: muster, path: {}}}}}\n",
                    users.display()
                )
            }
            None => String::new(),
        };
        let data = self.dir.path().join("data");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"{}\"}}\n{auth}",
            data.display(),
            self.address
        );
        std::fs::write(&settings, text)?;
        let args = [Path::new("serve"), settings.as_path()];
        let mut process = Process::start(&program("docker-registry")?, &args, &self.log())?;
        let answers = until(READY_LIMIT, || {
            if !process.is_running()? {
                return Ok(false);
            }
            Ok(std::net::TcpStream::connect(self.address).map(|_| true)?)
        });
        if !answers.with_context(|| process.printed())? {
            bail!("docker-registry ended:\n{}", process.printed());
        }
        self.process = Some(process);
        Ok(())
    }

    /// Its host and port, which is how image references begin.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has printed: a line for every request.
    #[must_use]
    pub fn printed(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the registry does not run")?.kill()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("registry.log")
    }

    /// A folder with a client's `config.json` that knows the user.
    pub(super) fn client_settings(&self, below: &Path) -> Result<PathBuf> {
        let folder = below.join(format!("client-{}", self.address.port()));
        std::fs::create_dir_all(&folder)?;
        let auths = match self.auth {
            Some(auth) => {
                let secret = format!("{}:{}", auth.username, auth.password);
                let secret = base64::engine::general_purpose::STANDARD.encode(secret);
                serde_json::json!({ self.address.to_string(): { "auth": secret } })
            }
            None => serde_json::json!({}),
        };
        let text = serde_json::json!({ "auths": auths }).to_string();
        std::fs::write(folder.join("config.json"), text)?;
        Ok(folder)
    }
}
