//! `muster contexts`: the logins there are.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli;
use crate::client::ClientError;
use crate::client::context;
use crate::render::{Column, Output, say};

/// Lists logins and chooses the one that is used.
#[derive(Debug, Args)]
pub(crate) struct Contexts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them; never their tokens.
    List {
        /// How the answer looks.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Chooses the one that is used from now on.
    Use {
        /// Its name.
        name: String,
    },
}

impl Contexts {
    pub(crate) fn run(self) -> Result<(), ClientError> {
        let dir = cli::config_dir()?;
        let mut contexts = context::Contexts::load(&dir)?;
        match self.command {
            Command::List { output } => {
                let shown = |(name, context): (&String, &context::Context)| {
                    json!({
                        "name": name,
                        "current": contexts.current.as_ref() == Some(name),
                        "url": context.url,
                        "username": context.username,
                        "expires_at": context.expires_at,
                    })
                };
                let items: Vec<Value> = contexts.contexts.iter().map(shown).collect();
                let columns = [
                    Column::field("NAME", "name"),
                    Column::field("CURRENT", "current"),
                    Column::field("CONTROLLER", "url"),
                    Column::field("USER", "username"),
                    Column::age("ENDS", "expires_at"),
                ];
                output.list(&items, &columns)
            }
            Command::Use { name } => {
                let url = contexts.pick(Some(&name))?.1.url.clone();
                contexts.current = Some(name);
                contexts.save(&dir)?;
                say(&format!("using {url}"))
            }
        }
    }
}
