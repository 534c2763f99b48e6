//! `muster registries`: where images come from, with what they are shown; and what checks of images found.

use camino::Utf8PathBuf;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::confirm::confirm;
use crate::client::login::new_password;
use crate::client::{Client, ClientError, Common};
use crate::render::{Column, say, word};

const PATH: &str = "/api/containers/registries";
const IMAGES: &str = "/api/containers/images";

/// Container registries: list, show, add, edit, validate, remove; and what checks of images found.
#[derive(Debug, Args)]
pub(crate) struct Registries {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them.
    List,
    /// Shows one; its password is never shown.
    Show {
        /// Its id or name.
        registry: String,
    },
    /// Adds one. Its password is asked for, unless a file has it or none is needed.
    Add {
        /// What people call it.
        name: String,
        /// Where it is: its host, with `https://` or `http://` before it.
        url: String,
        #[command(flatten)]
        fields: Fields,
        /// Has neither user name nor password: only says how it is reached.
        #[arg(long, conflicts_with_all = ["username", "password_file", "token"])]
        anonymous: bool,
        /// What is asked for is a token that the registry itself takes, without a user name.
        #[arg(long, conflicts_with = "username")]
        token: bool,
    },
    /// Changes one: what is not given stays.
    Edit {
        /// Its id or name.
        registry: String,
        /// What people call it.
        #[arg(long)]
        name: Option<String>,
        /// Where it is; its password must be given again.
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        fields: Fields,
        /// Asks for a new password.
        #[arg(long, conflicts_with = "password_file")]
        password: bool,
        /// Whether it is asked.
        #[arg(long, value_name = "BOOL")]
        enabled: Option<bool>,
    },
    /// Logs in to one, and says how that went.
    Validate {
        /// Its id or name.
        registry: String,
    },
    /// Removes one with its password.
    Remove {
        /// Its id or name.
        registry: String,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Lists what checks of images found.
    Images,
    /// Has all of them asked now, and shows how far that is.
    Check,
}

#[derive(Debug, Args)]
struct Fields {
    /// Who we are there.
    #[arg(long)]
    username: Option<String>,
    /// File with the password or token; `-` reads it from standard input.
    #[arg(long, value_name = "FILE")]
    password_file: Option<Utf8PathBuf>,
    /// Of whom the account is.
    #[arg(long)]
    email: Option<String>,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// Whether it may be talked to without TLS, which shows the password to everybody on the way.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    allow_http: Option<bool>,
}

impl Fields {
    fn body(&self) -> Map<String, Value> {
        let texts = [
            ("username", &self.username),
            ("email", &self.email),
            ("description", &self.description),
        ];
        let mut body: Map<String, Value> = texts
            .into_iter()
            .filter_map(|(name, text)| Some((name.to_owned(), json!(text.as_ref()?))))
            .collect();
        if let Some(allow_http) = self.allow_http {
            body.insert("allow_http".to_owned(), json!(allow_http));
        }
        body
    }
}

impl Registries {
    #[expect(clippy::too_many_lines, reason = "a command after the other")]
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        let shown = match self.command {
            Command::List => {
                let columns = [
                    Column::field("ID", "id"),
                    Column::field("NAME", "name"),
                    Column::field("HOST", "host"),
                    Column::field("USER", "username"),
                    Column::field("ENABLED", "enabled"),
                    Column::field("CREDENTIALS", "validation_status"),
                ];
                return output.list(&client.list(PATH, &[]).await?, &columns);
            }
            Command::Images => {
                let columns = [
                    Column::field("IMAGE", "name"),
                    Column::field("PLATFORM", "platform"),
                    Column::field("STATUS", "status"),
                    Column::field("VERSION", "version"),
                    Column::age("CHECKED", "checked_at"),
                    Column::field("ERROR", "error"),
                ];
                return output.list(&client.list(IMAGES, &[]).await?, &columns);
            }
            Command::Check => return super::updates::check(&client, output).await,
            Command::Show { registry } => find(&client, &registry).await?,
            Command::Add {
                name,
                url,
                fields,
                anonymous,
                token,
            } => {
                let mut body = fields.body();
                let has_password = token || fields.username.is_some() || fields.password_file.is_some();
                if !anonymous && !has_password {
                    let what = "give --username, --token or --anonymous";
                    return Err(ClientError::Usage(what.to_owned()));
                }
                if has_password {
                    let password = new_password(fields.password_file.as_deref())?;
                    body.insert("password".to_owned(), json!(password));
                }
                body.insert("name".to_owned(), json!(name));
                body.insert("registry_url".to_owned(), json!(url));
                client.post(PATH, &Value::Object(body)).await?.1
            }
            Command::Edit {
                registry,
                name,
                url,
                fields,
                password,
                enabled,
            } => {
                let mut body = fields.body();
                if password || fields.password_file.is_some() {
                    let password = new_password(fields.password_file.as_deref())?;
                    body.insert("password".to_owned(), json!(password));
                }
                for (field, text) in [("name", name), ("registry_url", url)] {
                    if let Some(text) = text {
                        body.insert(field.to_owned(), json!(text));
                    }
                }
                if let Some(enabled) = enabled {
                    body.insert("enabled".to_owned(), json!(enabled));
                }
                if body.is_empty() {
                    return Err(ClientError::Usage("say what is to change".to_owned()));
                }
                let path = path(&find(&client, &registry).await?);
                client.change(Method::PUT, &path, &Value::Object(body)).await?
            }
            Command::Validate { registry } => {
                let path = format!("{}/validate", path(&find(&client, &registry).await?));
                client.post(&path, &json!({})).await?.1
            }
            Command::Remove { registry, yes } => {
                let found = find(&client, &registry).await?;
                let name = word(&found["name"]);
                confirm(
                    yes,
                    &format!("this removes the registry {name} with its password"),
                    &name,
                )?;
                client.delete(&path(&found)).await?;
                return say(&format!("removed {name}"));
            }
        };
        output.one(&shown)
    }
}

fn path(registry: &Value) -> String {
    format!("{PATH}/{}", word(&registry["id"]))
}

/// The registry that is meant, by name or by id.
async fn find(client: &Client, registry: &str) -> Result<Value, ClientError> {
    let all = client.list(PATH, &[]).await?;
    let is_meant = |one: &&Value| one["name"] == registry || word(&one["id"]) == registry;
    let mut found: Vec<&Value> = all.iter().filter(is_meant).collect();
    found.sort_by_key(|one| one["name"] != registry);
    found
        .first()
        .map(|one| (*one).clone())
        .ok_or_else(|| ClientError::NotFound(format!("there is no registry {registry:?}")))
}
