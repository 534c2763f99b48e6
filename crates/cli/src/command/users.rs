//! `muster users`: accounts of people.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand, ValueEnum};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::confirm::confirm;
use crate::client::login::new_password;
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, say, word};

const PATH: &str = "/api/users";

/// People's accounts: list, show, add, change, delete.
#[derive(Debug, Args)]
pub(crate) struct Users {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them.
    List,
    /// Shows one.
    Show {
        /// Its id or name.
        user: String,
    },
    /// Adds one; its password is asked for.
    Add {
        /// Its name.
        name: String,
        /// What it may do.
        #[arg(long, value_enum)]
        role: Role,
        /// File with its password; `-` reads it from standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<Utf8PathBuf>,
    },
    /// Changes what one may do.
    Role {
        /// Its id or name.
        user: String,
        /// What it may do from now on.
        #[arg(value_enum)]
        role: Role,
    },
    /// Lets one log in again.
    Enable {
        /// Its id or name.
        user: String,
    },
    /// Lets one log in no more, and ends its sessions.
    Disable {
        /// Its id or name.
        user: String,
    },
    /// Gives one a new password, and ends its sessions.
    Password {
        /// Its id or name.
        user: String,
        /// File with the new password; `-` reads it from standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<Utf8PathBuf>,
    },
    /// Deletes one, with its sessions and API tokens.
    Delete {
        /// Its id or name.
        user: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    /// Looks.
    Viewer,
    /// Looks and acts.
    Operator,
    /// Everything.
    Admin,
}

impl Role {
    const fn word(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl Users {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        let changed = match self.command {
            Command::List => {
                let columns = [
                    Column::field("ID", "id"),
                    Column::field("NAME", "username"),
                    Column::field("ROLE", "role"),
                    Column::field("DISABLED", "disabled"),
                    Column::age("LAST LOGIN", "last_login_at"),
                ];
                return output.list(&client.list(PATH, &[]).await?, &columns);
            }
            Command::Show { user } => find(&client, &user).await?,
            Command::Add {
                name,
                role,
                password_file,
            } => {
                let password = new_password(password_file.as_deref())?;
                let body = json!({"username": name, "role": role.word(), "password": password});
                client.post(PATH, &body).await?.1
            }
            Command::Role { user, role } => change(&client, &user, "role", role.word().into()).await?,
            Command::Enable { user } => change(&client, &user, "disabled", false.into()).await?,
            Command::Disable { user } => change(&client, &user, "disabled", true.into()).await?,
            Command::Password { user, password_file } => {
                let password = new_password(password_file.as_deref())?;
                change(&client, &user, "password", password.into()).await?
            }
            Command::Delete { user, yes } => {
                let found = find(&client, &user).await?;
                let name = word(&found["username"]);
                confirm(yes, &format!("this deletes the account of {name}"), &name)?;
                client.delete(&format!("{PATH}/{}", word(&found["id"]))).await?;
                return say(&format!("deleted {name}"));
            }
        };
        output.one(&changed)
    }
}

async fn change(client: &Client, user: &str, field: &str, value: Value) -> Result<Value, ClientError> {
    let found = find(client, user).await?;
    let path = format!("{PATH}/{}", word(&found["id"]));
    let body = Value::Object(Map::from_iter([(field.to_owned(), value)]));
    client.change(Method::PUT, &path, &body).await
}

/// The account that is meant, by name or by id.
async fn find(client: &Client, user: &str) -> Result<Value, ClientError> {
    let all = client.list(PATH, &[]).await?;
    let is_meant = |account: &&Value| account["username"] == user || word(&account["id"]) == user;
    // Who has a number for a name is found by the name.
    let mut found: Vec<&Value> = all.iter().filter(is_meant).collect();
    found.sort_by_key(|account| account["username"] != user);
    found
        .first()
        .map(|account| (*account).clone())
        .ok_or_else(|| ClientError::NotFound(format!("there is no account {user:?}")))
}
