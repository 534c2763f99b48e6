//! Registries: setting them up. Passwords go in and never come out.
//!
//! Whoever changes where a registry is has to give its password again, because else the new place would be told that of
//! the old one.

use muster_image::DEFAULT_REGISTRY;
use thiserror::Error;
use url::Url;

use super::{App, AppError, FieldProblem, Page, PageRequest, page};
use crate::identity::{IdentityError, random};
use crate::registry::RegistryError;
use crate::store::{RegistryKept, RegistryRow, StoreError};

/// Most registries.
const REGISTRIES_MAX: u64 = 200;
const NAME_CHARS_MAX: usize = 100;
const TEXT_CHARS_MAX: usize = 1_000;
const PASSWORD_BYTES_MAX: usize = 16 * 1_024;
/// Other names of Docker Hub.
const HUB: [&str; 5] = [
    "docker.io",
    "hub.docker.com",
    "index.docker.io",
    "registry-1.docker.io",
    "registry.hub.docker.com",
];

/// A registry as it is shown. Times are Unix ms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryView {
    /// Its id.
    pub id: i64,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Where it is.
    pub url: String,
    /// As images' names begin.
    pub host: String,
    /// Who we are there; empty if nobody, or if a token is shown instead.
    pub username: String,
    /// Of whom the account is.
    pub email: String,
    /// Whether a password or token is set.
    pub has_password: bool,
    /// Whether it may be talked to without TLS.
    pub allow_http: bool,
    /// Whether it is asked.
    pub enabled: bool,
    /// When its credentials were last tried.
    pub validated_ms: Option<i64>,
    /// `valid`, `invalid` or `unknown`.
    pub validation: String,
    /// Why they are not valid, or why that is not known.
    pub validation_error: Option<String>,
    /// When it was made.
    pub created_ms: i64,
    /// When it was changed last.
    pub changed_ms: i64,
}

/// What a registry is set to; of an existing one, `None` leaves a field.
#[derive(Clone, Default)]
pub struct RegistryFields {
    /// What people call it.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Where it is: `https://HOST[:PORT]`, or only the host.
    pub url: Option<String>,
    /// Who we are there.
    pub username: Option<String>,
    /// The password or token; empty removes it.
    pub password: Option<String>,
    /// Of whom the account is.
    pub email: Option<String>,
    /// Whether it may be talked to without TLS.
    pub allow_http: Option<bool>,
    /// Whether it is asked.
    pub enabled: Option<bool>,
}

/// Why a registry is as it was.
#[derive(Debug, Error)]
pub enum RegistryUseError {
    /// There is no such registry.
    #[error("no registry with id {0}")]
    NotFound(i64),
    /// Another one has its name.
    #[error("another registry is called so")]
    NameTaken,
    /// Another one is at its address.
    #[error("another registry has this address: change that one")]
    HostTaken,
    /// There are as many as there may be.
    #[error("there are {REGISTRIES_MAX} registries")]
    TooMany,
    /// It is not asked anything.
    #[error("the registry is disabled")]
    Disabled,
    /// It was changed while it was asked.
    #[error("the registry was changed meanwhile")]
    Changed,
    /// Fields that cannot be taken.
    #[error("{} of the registry cannot be taken", .0.iter().map(|problem| problem.field).collect::<Vec<_>>().join(", "))]
    Invalid(Vec<FieldProblem>),
    /// A list was asked for in a wrong way.
    #[error(transparent)]
    App(#[from] AppError),
    /// Sealing failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<RegistryRow> for RegistryView {
    fn from(row: RegistryRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            description: row.description,
            url: row.url,
            host: row.host,
            username: row.username,
            email: row.email,
            has_password: row.sealed.is_some(),
            allow_http: row.allow_http,
            enabled: row.enabled,
            validated_ms: row.validated_ms,
            validation: row.validation,
            validation_error: row.validation_error,
            created_ms: row.created_ms,
            changed_ms: row.changed_ms,
        }
    }
}

impl App {
    /// All registries.
    ///
    /// # Errors
    /// [`AppError::Cursor`] or a failure of the database.
    pub async fn registries(&self, wanted: PageRequest) -> Result<Page<RegistryView>, RegistryUseError> {
        let (limit, after) = (wanted.limit(), wanted.after()?);
        let rows = self.store.registries().await?;
        let total = rows.len() as u64;
        let rest = rows.into_iter().filter(|row| after < row.id);
        let rest = rest.take(limit as usize + 1).map(RegistryView::from).collect();
        Ok(page(rest, limit, total, |view: &RegistryView| {
            view.id.to_string()
        }))
    }

    /// One registry.
    ///
    /// # Errors
    /// [`RegistryUseError::NotFound`] or a failure of the database.
    pub async fn registry(&self, id: i64) -> Result<RegistryView, RegistryUseError> {
        let row = self.store.registry(id).await?;
        row.map(RegistryView::from).ok_or(RegistryUseError::NotFound(id))
    }

    /// Makes a registry.
    ///
    /// # Errors
    /// [`RegistryUseError`].
    pub async fn create_registry(&self, fields: RegistryFields) -> Result<RegistryView, RegistryUseError> {
        let now_ms = self.clock.now_ms();
        let blank = RegistryRow {
            id: 0,
            name: String::new(),
            description: String::new(),
            url: String::new(),
            host: String::new(),
            username: String::new(),
            email: String::new(),
            allow_http: false,
            enabled: true,
            seal_name: seal_name()?,
            sealed: None,
            validated_ms: None,
            validation: "unknown".to_owned(),
            validation_error: None,
            created_ms: now_ms,
            changed_ms: now_ms,
        };
        let mut row = self.with_fields(&blank, fields)?;
        row.id = kept(self.store.add_registry(&row, REGISTRIES_MAX).await?, 0)?;
        tracing::info!(registry = row.id, host = row.host, "registry made");
        Ok(row.into())
    }

    /// Changes a registry.
    ///
    /// # Errors
    /// [`RegistryUseError`].
    pub async fn change_registry(
        &self,
        id: i64,
        fields: RegistryFields,
    ) -> Result<RegistryView, RegistryUseError> {
        let old = self.store.registry(id).await?;
        let old = old.ok_or(RegistryUseError::NotFound(id))?;
        let changed_ms = self.clock.now_ms().max(old.changed_ms + 1);
        let mut row = self.with_fields(&old, fields)?;
        // Tokens of before are told apart by this.
        row.changed_ms = changed_ms;
        kept(self.store.change_registry(&row).await?, id)?;
        tracing::info!(registry = id, "registry changed");
        Ok(row.into())
    }

    /// Removes a registry with its credentials.
    ///
    /// # Errors
    /// [`RegistryUseError::NotFound`] or a failure of the database.
    pub async fn remove_registry(&self, id: i64) -> Result<(), RegistryUseError> {
        if !self.store.remove_registry(id).await? {
            return Err(RegistryUseError::NotFound(id));
        }
        tracing::info!(registry = id, "registry removed");
        Ok(())
    }

    fn with_fields(
        &self,
        old: &RegistryRow,
        fields: RegistryFields,
    ) -> Result<RegistryRow, RegistryUseError> {
        let mut row = old.clone();
        let mut problems = Vec::new();
        if let Some(allow_http) = fields.allow_http {
            row.allow_http = allow_http;
        }
        row.enabled = fields.enabled.unwrap_or(row.enabled);
        for (field, given, own) in [
            ("description", fields.description, &mut row.description),
            ("username", fields.username, &mut row.username),
            ("email", fields.email, &mut row.email),
            ("name", fields.name, &mut row.name),
        ] {
            let Some(given) = given else { continue };
            if TEXT_CHARS_MAX < given.chars().count() || given.chars().any(char::is_control) {
                let message = format!("at most {TEXT_CHARS_MAX} characters, none a control character");
                problems.push(FieldProblem { field, message });
            }
            given.trim().clone_into(own);
        }
        if row.name.is_empty() || NAME_CHARS_MAX < row.name.chars().count() {
            let message = format!("1 to {NAME_CHARS_MAX} characters are needed");
            problems.push(FieldProblem {
                field: "name",
                message,
            });
        }
        // A name and a password are written with a colon between them (RFC 7617, 2).
        if row.username.contains(':') {
            problems.push(problem("username", "it has no colon"));
        }
        match address(fields.url.as_deref().unwrap_or(&row.url), row.allow_http) {
            Ok((url, host)) => (row.url, row.host) = (url, host),
            Err(message) => problems.push(problem("registry_url", message)),
        }
        let is_moved = (&old.url, &old.host) != (&row.url, &row.host);
        if is_moved && old.sealed.is_some() && fields.password.is_none() {
            let message = "give it again: the registry is somewhere else now";
            problems.push(problem("password", message));
        }
        if let Some(password) = &fields.password
            && (PASSWORD_BYTES_MAX < password.len() || password.chars().any(char::is_control))
        {
            problems.push(problem("password", "it is too long, or has control characters"));
        }
        if !problems.is_empty() {
            return Err(RegistryUseError::Invalid(problems));
        }
        if let Some(password) = fields.password {
            row.sealed = if password.is_empty() {
                None
            } else {
                Some(self.identity.seal_secret(&row.seal_name, password.as_bytes())?)
            };
        }
        let shows_others = (&old.username, &old.sealed) != (&row.username, &row.sealed);
        if is_moved || shows_others {
            (row.validated_ms, row.validation_error) = (None, None);
            "unknown".clone_into(&mut row.validation);
        }
        Ok(row)
    }
}

fn problem(field: &'static str, message: &str) -> FieldProblem {
    FieldProblem {
        field,
        message: message.to_owned(),
    }
}

fn kept(kept: RegistryKept, id: i64) -> Result<i64, RegistryUseError> {
    match kept {
        RegistryKept::As(id) => Ok(id),
        RegistryKept::NameTaken => Err(RegistryUseError::NameTaken),
        RegistryKept::HostTaken => Err(RegistryUseError::HostTaken),
        RegistryKept::TooMany => Err(RegistryUseError::TooMany),
        RegistryKept::Gone => Err(RegistryUseError::NotFound(id)),
    }
}

/// A name under which no other registry's password is, or ever was, sealed.
fn seal_name() -> Result<String, IdentityError> {
    let id: [u8; 16] = random()?;
    Ok(format!("registry/{:032x}", u128::from_be_bytes(id)))
}

/// Where a registry is, and as what images name it.
fn address(text: &str, allow_http: bool) -> Result<(String, String), &'static str> {
    let text = text.trim();
    let whole = match text.split_once("://") {
        Some(("https" | "http", _)) => text.to_owned(),
        Some(_) => return Err("it begins with https:// or http://"),
        None if allow_http => format!("http://{text}"),
        None => format!("https://{text}"),
    };
    let url = Url::parse(&whole).map_err(|_| "it is no address such as https://registry.example.org")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("user name and password have fields of their own");
    }
    if !matches!(url.path(), "" | "/" | "/v1" | "/v1/" | "/v2" | "/v2/")
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return Err("it is the registry's host, without a path");
    }
    let host = url.host_str().ok_or("it has no host")?;
    let authority = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    if HUB.contains(&host) {
        return Ok((
            "https://registry-1.docker.io".to_owned(),
            DEFAULT_REGISTRY.to_owned(),
        ));
    }
    // What images' names cannot begin with is no registry of theirs.
    if format!("{authority}/a")
        .parse::<muster_image::Reference>()
        .is_ok_and(|image| image.registry() != authority)
    {
        return Err("it has neither a dot nor a port, so no image's name begins with it");
    }
    if url.scheme() == "http" && !allow_http {
        return Err(
            "plain HTTP shows the password to everybody on the way; allow_http says that this is meant",
        );
    }
    Ok((format!("{}://{authority}", url.scheme()), authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_found_under_the_name_that_images_begin_with() {
        for (text, allow_http, url, host) in [
            ("docker.io", false, "https://registry-1.docker.io", "docker.io"),
            (
                "https://index.docker.io/v1/",
                false,
                "https://registry-1.docker.io",
                "docker.io",
            ),
            ("ghcr.io", false, "https://ghcr.io", "ghcr.io"),
            (
                "https://Registry.Example.org:5000/v2/",
                false,
                "https://registry.example.org:5000",
                "registry.example.org:5000",
            ),
            (
                "registry.lan:5000",
                true,
                "http://registry.lan:5000",
                "registry.lan:5000",
            ),
            (
                "https://registry.lan:5000",
                true,
                "https://registry.lan:5000",
                "registry.lan:5000",
            ),
            (
                "http://[2001:db8::1]:5000",
                true,
                "http://[2001:db8::1]:5000",
                "[2001:db8::1]:5000",
            ),
        ] {
            assert_eq!(
                address(text, allow_http),
                Ok((url.to_owned(), host.to_owned())),
                "{text}"
            );
        }
        for text in [
            "",
            "http://registry.lan:5000",
            "ftp://a.b",
            "https://user:pw@a.b",
            "https://a.b/path",
            "https://a.b?x",
            "registry",
        ] {
            assert!(address(text, false).is_err(), "{text}");
        }
    }
}
