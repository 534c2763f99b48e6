//! `muster tokens`: API tokens, with which programs use the API.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use crate::client::{ClientError, Common};
use crate::render::{Column, Output, clean, print, say, word};

const API: &str = "/api/tokens";
const ENROLMENT: &str = "/api/enrolment-tokens";

/// Tokens: of programs that use the API (api), and those that make agents of servers (enrolment).
#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// API tokens: with one a program uses the API, as far as its scopes and its owner's role go.
    #[command(subcommand)]
    Api(Api),
    /// Enrolment tokens: with one a server's agent gets its identity. `muster servers add` makes a server with its own.
    #[command(subcommand, alias = "enrollment")]
    Enrolment(Enrolment),
}

#[derive(Debug, Subcommand)]
enum Enrolment {
    /// Lists those that can be used, and for a day those that cannot any more.
    List,
    /// Makes one and prints it; it is shown this once.
    Create {
        /// How many agents it may make; each makes a server named as it calls itself.
        #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "server_id")]
        uses: u32,
        /// Binds it to this server, by its id, whose former agent it replaces.
        #[arg(long, value_name = "ID")]
        server_id: Option<i64>,
        /// How long it lives, at most 24h; if not given, as the controller's settings have it.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        ttl: Option<Duration>,
    },
    /// Ends one: it makes no agent any more. Agents that it made stay.
    #[command(alias = "delete")]
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum Api {
    /// Lists your own; an admin sees everybody's.
    List,
    /// Makes one and prints it; it is shown this once.
    Create {
        /// What to call it.
        name: String,
        /// What it is good for; can be given several times.
        #[arg(long = "scope", value_enum, default_values_t = [Scope::Read])]
        scopes: Vec<Scope>,
        /// How long it lives, at most 366 days.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "90d")]
        expires_in: Duration,
    },
    /// Removes one: it is worthless from now on.
    Delete {
        /// Its id.
        id: i64,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scope {
    /// Reading metrics for Prometheus, and nothing else.
    Metrics,
    /// What a viewer may.
    Read,
    /// What an operator may.
    Operate,
    /// What an admin may.
    Admin,
}

impl Scope {
    const fn word(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

impl Tokens {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        match self.kind {
            Kind::Api(command) => api(&self.common, command).await,
            Kind::Enrolment(command) => enrolment(&self.common, command).await,
        }
    }
}

async fn api(common: &Common, command: Api) -> Result<(), ClientError> {
    let (client, output) = (common.connect()?, common.output);
    match command {
        Api::List => {
            let columns = [
                Column::field("ID", "id"),
                Column::field("NAME", "name"),
                Column::field("USER", "username"),
                Column::field("SCOPES", "scopes"),
                Column::field("BEGINS WITH", "prefix"),
                Column::age("USED", "last_used_at"),
                Column::age("ENDS", "expires_at"),
            ];
            output.list(&client.list(API, &[]).await?, &columns)
        }
        Api::Create {
            name,
            scopes,
            expires_in,
        } => {
            let scopes: Vec<&str> = scopes.into_iter().map(Scope::word).collect();
            let body = json!({"name": name, "scopes": scopes, "expires_in": expires_in.as_secs()});
            let (_, made) = client.post(API, &body).await?;
            if output != Output::Table {
                return output.value(&made);
            }
            say(&format!(
                "made API token {} for {}; it is shown this once:",
                word(&made["id"]),
                word(&made["scopes"])
            ))?;
            print(&format!("{}\n", clean(&word(&made["token"]))))
        }
        Api::Delete { id } => {
            client.delete(&format!("{API}/{id}")).await?;
            say(&format!("removed API token {id}"))
        }
    }
}

async fn enrolment(common: &Common, command: Enrolment) -> Result<(), ClientError> {
    let (client, output) = (common.connect()?, common.output);
    match command {
        Enrolment::List => {
            let columns = [
                Column::field("ID", "id"),
                Column::field("STATE", "state"),
                Column::field("SERVER", "server_id"),
                Column::field("USES", "uses"),
                Column::field("LEFT", "uses_left"),
                Column::field("MADE BY", "created_by"),
                Column::age("ENDS", "expires_at"),
            ];
            output.list(&client.list(ENROLMENT, &[]).await?, &columns)
        }
        Enrolment::Create { uses, server_id, ttl } => {
            let body = json!({"uses": uses, "server_id": server_id, "ttl": ttl.map(|ttl| ttl.as_secs())});
            let (_, made) = client.post(ENROLMENT, &body).await?;
            if output != Output::Table {
                return output.value(&made);
            }
            say(&format!(
                "made enrolment token {}; it is shown this once:",
                word(&made["id"])
            ))?;
            print(&format!("{}\n", clean(&word(&made["token"]))))
        }
        Enrolment::Revoke { id } => {
            // It becomes part of an address.
            if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(ClientError::Usage(format!("{id:?} is no enrolment token's id")));
            }
            client.delete(&format!("{ENROLMENT}/{id}")).await?;
            say(&format!("ended enrolment token {id}"))
        }
    }
}
