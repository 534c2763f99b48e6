//! What every command that talks to a controller takes: which controller, as whom, and how the answer looks.

use std::fs;
use std::io::{self, Read as _};

use camino::{Utf8Path, Utf8PathBuf};
use clap::Args;

use super::context::Contexts;
use super::url::BaseUrl;
use super::{Client, ClientError};
use crate::cli;
use crate::render::Output;

/// Which controller, as whom, and how the answer looks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Controller")]
pub(crate) struct Common {
    /// The controller's address, such as `https://muster.example.com`; if not given, the context's.
    #[arg(
        id = "controller",
        long = "server",
        global = true,
        value_name = "URL",
        env = "MUSTER_URL"
    )]
    pub(crate) server: Option<String>,
    /// File with an access token; `-` reads it from standard input. If not given, the context's.
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_TOKEN_FILE")]
    pub(crate) token_file: Option<Utf8PathBuf>,
    /// File with the certificates (PEM) that alone are trusted; if not given, the context's or the system's.
    #[arg(long, global = true, value_name = "FILE", env = "MUSTER_CA_FILE")]
    pub(crate) ca: Option<Utf8PathBuf>,
    /// Which login is used; if not given, the last one.
    #[arg(long, global = true, value_name = "NAME", env = "MUSTER_CONTEXT")]
    pub(crate) context: Option<String>,
    /// How the answer looks.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Table)]
    pub(crate) output: Output,
}

impl Common {
    /// A client that is logged in.
    pub(crate) fn connect(&self) -> Result<Client, ClientError> {
        let ca = self.ca.as_deref().map(read).transpose()?;
        if let (Some(server), Some(file)) = (&self.server, &self.token_file) {
            let client = Client::new(server.parse()?, ca.as_deref())?;
            return Ok(client.with_token(&read_secret(file)?));
        }
        let contexts = Contexts::load(&cli::config_dir()?)?;
        let context = match (&self.server, &self.context) {
            // A token belongs to its controller: one of another address is never sent there.
            (Some(server), None) => {
                let base: BaseUrl = server.parse()?;
                let url = base.to_string();
                let known = contexts.contexts.values().find(|context| context.url == url);
                known.ok_or(ClientError::NoToken(url))?
            }
            (_, name) => contexts.pick(name.as_deref())?.1,
        };
        if let Some(server) = &self.server
            && server.parse::<BaseUrl>()?.to_string() != context.url
        {
            let name = self.context.as_deref().unwrap_or_default();
            return Err(ClientError::Usage(format!(
                "the context {name:?} is a login at {}, not at {server}",
                context.url
            )));
        }
        let client = Client::new(context.url.parse()?, ca.as_deref().or(context.ca.as_deref()))?;
        Ok(match &self.token_file {
            Some(file) => client.with_token(&read_secret(file)?),
            None => client.with_token(&context.token),
        })
    }
}

/// Reads a small file.
pub(super) fn read(path: &Utf8Path) -> Result<String, ClientError> {
    fs::read_to_string(path).map_err(|source| ClientError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Reads a secret from a file or, for `-`, from standard input: its first line.
pub(crate) fn read_secret(path: &Utf8Path) -> Result<String, ClientError> {
    let text = if path == "-" {
        let mut text = String::new();
        io::stdin()
            .take(64 * 1024)
            .read_to_string(&mut text)
            .map_err(|source| ClientError::Terminal { source })?;
        text
    } else {
        read(path)?
    };
    match text.lines().next().map(str::trim) {
        Some(secret) if !secret.is_empty() => Ok(secret.to_owned()),
        _ => Err(ClientError::Usage(format!("there is nothing in {path}"))),
    }
}
