//! `muster login` and `muster logout`.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::Args;
use serde_json::Value;

use crate::cli;
use crate::client::context::Contexts;
use crate::client::login::{Proof, log_in};
use crate::client::pin::{self, Pin};
use crate::client::url::BaseUrl;
use crate::client::{Client, ClientError};
use crate::render::say;

/// Logs in to a controller and remembers that as a context.
///
/// The password is asked for on the terminal or read from a file, never given on the command line. On the controller's
/// own machine, whoever may read its data folder needs none:
/// `muster-controller session create --data-dir DIR | muster login URL --token-file -`
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// The controller, such as `https://muster.example.com` or, on its own machine, `http://127.0.0.1:8480`.
    url: String,
    /// Name of the context.
    #[arg(long, value_name = "NAME", default_value = "default")]
    context: String,
    /// Who logs in; asked for if not given.
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// File with the password; `-` reads it from standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "token_file")]
    password_file: Option<Utf8PathBuf>,
    /// File with an access token, in place of name and password; `-` reads it from standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "username")]
    token_file: Option<Utf8PathBuf>,
    /// File with the certificates (PEM) that alone are trusted; kept with the context.
    #[arg(long, value_name = "FILE")]
    ca: Option<Utf8PathBuf>,
    /// The pin of the controller's root, as `muster-controller ca status` prints it: the root that has it is trusted and
    /// kept with the context. Without it and --ca, and if the system does not know the certificate, it is asked about.
    #[arg(long, value_name = "HEX", conflicts_with = "ca")]
    pin: Option<Pin>,
    /// Stays logged in that long, such as 30d, with an API token in place of a session.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "token_file")]
    keep: Option<Duration>,
}

impl Login {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let dir = cli::config_dir()?;
        let mut contexts = Contexts::load(&dir)?;
        let base: BaseUrl = self.url.parse()?;
        let ca = match &self.ca {
            Some(path) => Some(std::fs::read_to_string(path).map_err(|source| ClientError::Read {
                path: path.clone(),
                source,
            })?),
            None => pin::meet(&base, self.pin).await?,
        };
        let client = Client::new(base, ca.as_deref())?;
        let proof = match &self.token_file {
            Some(file) => Proof::Token(file),
            None => Proof::Password {
                username: self.username.as_deref(),
                password_file: self.password_file.as_deref(),
            },
        };
        let (_, mut context) = log_in(client, proof, self.keep).await?;
        context.ca = ca;
        let until = context.expires_at.as_deref().map(|end| format!(" until {end}"));
        say(&format!(
            "logged in to {} as {}{}; context {}",
            context.url,
            context.username,
            until.unwrap_or_default(),
            self.context
        ))?;
        contexts.current = Some(self.context.clone());
        contexts.contexts.insert(self.context, context);
        contexts.save(&dir)
    }
}

/// Ends a login: its token is worthless afterwards, and the context is forgotten.
#[derive(Debug, Args)]
pub(crate) struct Logout {
    /// Which one; if not given, the current one.
    #[arg(long, value_name = "NAME", env = "MUSTER_CONTEXT")]
    context: Option<String>,
}

impl Logout {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let dir = cli::config_dir()?;
        let mut contexts = Contexts::load(&dir)?;
        let (name, context) = contexts.pick(self.context.as_deref())?;
        let name = name.to_owned();
        let client = Client::new(context.url.parse()?, context.ca.as_deref())?.with_token(&context.token);
        let ended = match context.token_id {
            Some(id) => client.delete(&format!("/api/tokens/{id}")).await,
            None => client.post("/api/auth/logout", &Value::Null).await.map(|_| ()),
        };
        match ended {
            Ok(()) => say(&format!("logged out of {}", context.url))?,
            // It has ended by itself, or is somebody's own API token, which is theirs to remove.
            Err(ClientError::Refused(refusal))
                if ["unauthenticated", "token_not_found", "session_needed"]
                    .contains(&refusal.code.as_str()) =>
            {
                say(&format!("forgot {name}: {}", refusal.text))?;
            }
            Err(error) => return Err(error),
        }
        contexts.contexts.remove(&name);
        if contexts.current.as_deref() == Some(name.as_str()) {
            contexts.current = None;
        }
        contexts.save(&dir)
    }
}
