//! Contexts: controllers that somebody logged in to, each with its token, in a file that nobody else can read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};

use camino::{Utf8Path, Utf8PathBuf};
use serde::{Deserialize, Serialize};

use super::ClientError;

const FILE: &str = "contexts.toml";

/// All contexts of this person.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is used unless another is named.
    pub(crate) current: Option<String>,
    /// By name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

/// One controller and who we are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    /// Its address.
    pub(crate) url: String,
    /// Who logged in.
    pub(crate) username: String,
    /// A session's or an API token.
    pub(crate) token: String,
    /// Id of the API token, if it is one that `muster login --keep` made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token_id: Option<i64>,
    /// When the token ends, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<String>,
    /// Certificates that alone are trusted there, PEM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
}

impl Contexts {
    /// Reads them; no file is no contexts.
    pub(crate) fn load(dir: &Utf8Path) -> Result<Self, ClientError> {
        let path = dir.join(FILE);
        let read = |source| ClientError::Read {
            path: path.clone(),
            source,
        };
        let mode = match fs::metadata(&path) {
            Ok(metadata) => metadata.permissions().mode(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(read(source)),
        };
        if mode & 0o077 != 0 {
            return Err(ClientError::Exposed { path });
        }
        let text = fs::read_to_string(&path).map_err(read)?;
        toml::from_str(&text).map_err(|source| ClientError::Contexts { path, source })
    }

    /// Writes them so that a crash leaves either the old or the new ones, and nobody else ever reads them.
    pub(crate) fn save(&self, dir: &Utf8Path) -> Result<(), ClientError> {
        let path = dir.join(FILE);
        let temporary = dir.join(format!("{FILE}.new"));
        let text = toml::to_string(self).expect("contexts are tables of texts");
        let written = || -> io::Result<()> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            match fs::remove_file(&temporary) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut file = fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        };
        written().map_err(|source| ClientError::Write {
            path: path.clone(),
            source,
        })
    }

    /// The named context, or the current one.
    pub(crate) fn pick(&self, name: Option<&str>) -> Result<(&str, &Context), ClientError> {
        let name = name.or(self.current.as_deref()).ok_or(ClientError::NoContext)?;
        self.contexts
            .get_key_value(name)
            .map(|(name, context)| (name.as_str(), context))
            .ok_or_else(|| ClientError::UnknownContext(name.to_owned()))
    }
}

/// Where contexts are kept.
pub(crate) fn config_dir(config_home: Option<String>, home: Option<String>) -> Option<Utf8PathBuf> {
    let absolute = |path: Option<String>| path.map(Utf8PathBuf::from).filter(|path| path.is_absolute());
    absolute(config_home)
        .or_else(|| absolute(home).map(|home| home.join(".config")))
        .map(|path| path.join("muster"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Contexts {
        let context = Context {
            url: "https://muster.example.com".to_owned(),
            username: "admin".to_owned(),
            token: "secret".to_owned(),
            token_id: Some(3),
            expires_at: None,
            ca: None,
        };
        Contexts {
            current: Some("default".to_owned()),
            contexts: [("default".to_owned(), context)].into(),
        }
    }

    #[test]
    fn contexts_are_kept_where_nobody_else_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(folder.path().join("config/muster")).unwrap();
        assert_eq!(Contexts::load(&dir).unwrap(), Contexts::default());
        sample().save(&dir).unwrap();
        sample().save(&dir).unwrap();
        assert_eq!(Contexts::load(&dir).unwrap(), sample());
        let mode = |path: &Utf8Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir.join(FILE)), mode(&dir)), (0o600, 0o700));
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    }

    #[test]
    fn contexts_that_others_can_read_are_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(folder.path()).unwrap();
        sample().save(dir).unwrap();
        fs::set_permissions(dir.join(FILE), fs::Permissions::from_mode(0o640)).unwrap();
        let error = Contexts::load(dir).unwrap_err();
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn what_login_did_not_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(folder.path()).unwrap();
        fs::write(dir.join(FILE), "current = 5").unwrap();
        fs::set_permissions(dir.join(FILE), fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(Contexts::load(dir), Err(ClientError::Contexts { .. })));
    }

    #[test]
    fn a_context_is_picked_by_name_or_is_the_current_one() {
        let contexts = sample();
        assert_eq!(contexts.pick(None).unwrap().0, "default");
        assert!(matches!(
            contexts.pick(Some("other")),
            Err(ClientError::UnknownContext(_))
        ));
        assert!(matches!(
            Contexts::default().pick(None),
            Err(ClientError::NoContext)
        ));
    }

    #[test]
    fn relative_folders_are_passed_over_as_the_standard_says() {
        let dir = |config: Option<&str>, home: Option<&str>| {
            config_dir(config.map(str::to_owned), home.map(str::to_owned)).map(Utf8PathBuf::into_string)
        };
        assert_eq!(dir(Some("/c"), Some("/h")).as_deref(), Some("/c/muster"));
        assert_eq!(dir(Some("c"), Some("/h")).as_deref(), Some("/h/.config/muster"));
        assert_eq!(dir(None, None), None);
    }
}
