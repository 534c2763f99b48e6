//! Logging in: a password becomes a session or an API token; a token is shown to the controller once.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use camino::Utf8Path;
use serde_json::{Value, json};

use super::context::Context;
use super::options::read_secret;
use super::{Client, ClientError};

/// How somebody shows who they are.
pub(crate) enum Proof<'a> {
    /// A token from a file.
    Token(&'a Utf8Path),
    /// Name and password; what is not given is asked for.
    Password {
        username: Option<&'a str>,
        password_file: Option<&'a Utf8Path>,
    },
}

/// Logs in. With `keep`, an API token that lives that long is made and kept in place of the session.
pub(crate) async fn log_in(
    client: Client,
    proof: Proof<'_>,
    keep: Option<Duration>,
) -> Result<(Client, Context), ClientError> {
    let mut context = Context {
        url: client.base().to_string(),
        username: String::new(),
        token: String::new(),
        token_id: None,
        expires_at: None,
        ca: None,
    };
    let client = match proof {
        Proof::Token(file) => {
            context.token = read_secret(file)?;
            client.with_token(&context.token)
        }
        Proof::Password {
            username,
            password_file,
        } => {
            let (username, password) = ask(username, password_file)?;
            let body = json!({"username": username, "password": password});
            let (_, answer) = client.post("/api/auth/token", &body).await?;
            context.token = text(&answer, "access_token", "/api/auth/token")?;
            context.expires_at = answer
                .get("expires_in")
                .and_then(Value::as_i64)
                .and_then(in_seconds);
            client.with_token(&context.token)
        }
    };
    let me = client.get("/api/auth/me", &[]).await?;
    context.username = text(&me, "username", "/api/auth/me")?;
    let Some(keep) = keep else {
        return Ok((client, context));
    };
    let role = text(&me, "role", "/api/auth/me")?;
    let made = api_token(&client, &role, keep).await?;
    // Two ways in where one is needed are one too many.
    client.post("/api/auth/logout", &Value::Null).await?;
    context.token = text(&made, "token", "/api/tokens")?;
    context.token_id = made.get("id").and_then(Value::as_i64);
    context.expires_at = Some(text(&made, "expires_at", "/api/tokens")?);
    let client = client.with_token(&context.token);
    Ok((client, context))
}

async fn api_token(client: &Client, role: &str, keep: Duration) -> Result<Value, ClientError> {
    let scope = match role {
        "admin" => "admin",
        "operator" => "operate",
        _ => "read",
    };
    let machine = nix::unistd::gethostname().unwrap_or_default();
    let body = json!({
        "name": format!("muster on {}", machine.to_string_lossy()).chars().take(60).collect::<String>(),
        "scopes": [scope],
        "expires_in": keep.as_secs(),
    });
    client.post("/api/tokens", &body).await.map(|(_, made)| made)
}

fn text(answer: &Value, field: &str, path: &str) -> Result<String, ClientError> {
    let text = answer.get(field).and_then(Value::as_str).map(str::to_owned);
    text.ok_or_else(|| ClientError::Unclear {
        path: path.to_owned(),
    })
}

fn in_seconds(seconds: i64) -> Option<String> {
    let now = jiff::Timestamp::now();
    let end = now.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()?;
    Some(format!("{end:.0}"))
}

/// Name and password: from the command line and a file, or from the terminal, where the password is not shown.
fn ask(username: Option<&str>, password_file: Option<&Utf8Path>) -> Result<(String, String), ClientError> {
    let terminal = |source| ClientError::Terminal { source };
    if password_file.is_none() && !io::stdin().is_terminal() {
        return Err(ClientError::Usage(
            "there is no terminal to ask on: give --username and --password-file FILE (or - for standard input)"
                .to_owned(),
        ));
    }
    let username = match username {
        Some(username) => username.to_owned(),
        None if password_file == Some(Utf8Path::new("-")) || !io::stdin().is_terminal() => {
            return Err(ClientError::Usage(
                "--username is needed beside --password-file".to_owned(),
            ));
        }
        None => {
            write!(io::stderr(), "User name: ").map_err(terminal)?;
            let mut line = String::new();
            io::stdin().read_line(&mut line).map_err(terminal)?;
            line.trim().to_owned()
        }
    };
    let password = match password_file {
        Some(file) => read_secret(file)?,
        None => rpassword::prompt_password("Password: ").map_err(terminal)?,
    };
    Ok((username, password))
}

/// A new password, asked for twice.
pub(crate) fn new_password(file: Option<&Utf8Path>) -> Result<String, ClientError> {
    if let Some(file) = file {
        return read_secret(file);
    }
    if !io::stdin().is_terminal() {
        return Err(ClientError::Usage(
            "there is no terminal to ask on: give --password-file FILE (or - for standard input)".to_owned(),
        ));
    }
    let terminal = |source| ClientError::Terminal { source };
    let password = rpassword::prompt_password("New password: ").map_err(terminal)?;
    let again = rpassword::prompt_password("The same again: ").map_err(terminal)?;
    if password == again {
        Ok(password)
    } else {
        Err(ClientError::Usage("the two passwords differ".to_owned()))
    }
}
