//! TLS of the HTTP port: a certificate of our own authority, or one from files that somebody else renews.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use camino::Utf8PathBuf;
use muster_base::ErrorChain;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use tokio_util::task::AbortOnDropHandle;

use crate::config::HttpTls;
use crate::identity::{Identity, IdentityError, http_config};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// Why the HTTP port has no TLS; it does not open then.
#[derive(Debug, Error)]
pub enum HttpTlsError {
    /// Our own certificate cannot be made.
    #[error("make the certificate of the HTTP port")]
    Own(#[from] IdentityError),
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// The file has no certificates.
    #[error("there is no certificate in {path}")]
    None {
        /// The file.
        path: Utf8PathBuf,
    },
    /// The two do not belong together, or the key is of a kind that is not supported.
    #[error("use the certificate of {certificate} with the key of {key}")]
    Unfit {
        /// The certificate's file.
        certificate: Utf8PathBuf,
        /// The key's file.
        key: Utf8PathBuf,
        /// Why not.
        source: rustls::Error,
    },
}

/// TLS as it is used, and the task that follows the files.
#[derive(Debug)]
pub(super) struct Tls {
    pub(super) config: Arc<ServerConfig>,
    _following: Option<AbortOnDropHandle<()>>,
}

impl Tls {
    /// As the settings have it; `address` is where the port listens.
    ///
    /// # Errors
    /// [`HttpTlsError`] if there is no certificate to be had.
    pub(super) fn start(
        wanted: &HttpTls,
        identity: &Identity,
        address: SocketAddr,
    ) -> Result<Self, HttpTlsError> {
        match wanted {
            HttpTls::Own { names } => Ok(Self {
                config: identity.http_tls_config(all_names(names, address))?,
                _following: None,
            }),
            HttpTls::Files { certificate, key } => {
                let files = Arc::new(Files::open(certificate.clone(), key.clone())?);
                let config = http_config(Arc::clone(&files) as Arc<dyn ResolvesServerCert>)?;
                Ok(Self {
                    config,
                    _following: Some(AbortOnDropHandle::new(tokio::spawn(files.follow()))),
                })
            }
        }
    }
}

/// Those of the settings, of this machine, and the address itself if it is a single one.
fn all_names(named: &[String], address: SocketAddr) -> Vec<String> {
    let mut names = named.to_vec();
    let hostname = nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok());
    names.extend(hostname.filter(|name| HttpTls::is_name(name)));
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    names.sort();
    names.dedup();
    names
}

/// A certificate from files.
#[derive(Debug)]
struct Files {
    certificate: Utf8PathBuf,
    key: Utf8PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
}

impl Files {
    fn open(certificate: Utf8PathBuf, key: Utf8PathBuf) -> Result<Self, HttpTlsError> {
        let current = RwLock::new(Arc::new(load(&certificate, &key)?));
        Ok(Self {
            certificate,
            key,
            current,
        })
    }

    /// Reads the files again whenever they change. What cannot be used is told once, and the one before stays.
    async fn follow(self: Arc<Self>) {
        let mut seen = self.changed_at();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let now = self.changed_at();
            if now == seen {
                continue;
            }
            seen = now;
            match load(&self.certificate, &self.key) {
                Ok(fresh) => {
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                    tracing::info!("HTTP certificate read anew");
                }
                Err(error) => {
                    tracing::error!(error = %ErrorChain(&error), "HTTP certificate can't be read anew, the one before stays");
                }
            }
        }
    }

    fn changed_at(&self) -> [Option<SystemTime>; 2] {
        [&self.certificate, &self.key]
            .map(|path| std::fs::metadata(path).and_then(|found| found.modified()).ok())
    }
}

impl ResolvesServerCert for Files {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.current.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

fn load(certificate: &Utf8PathBuf, key: &Utf8PathBuf) -> Result<CertifiedKey, HttpTlsError> {
    let read = |path: &Utf8PathBuf| {
        let path = path.clone();
        move |source| HttpTlsError::Read { path, source }
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(read(certificate))?;
    if chain.is_empty() {
        return Err(HttpTlsError::None {
            path: certificate.clone(),
        });
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(read(key))?;
    CertifiedKey::from_der(chain, private, &default_provider()).map_err(|source| HttpTlsError::Unfit {
        certificate: certificate.clone(),
        key: key.clone(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn write(dir: &Utf8Path, name: &str) -> (Utf8PathBuf, Utf8PathBuf) {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let (certificate, private) = (dir.join("http.crt"), dir.join("http.key"));
        std::fs::write(&certificate, made.pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        (certificate, private)
    }

    fn shown(files: &Files) -> Vec<u8> {
        files.current.read().unwrap().cert[0].to_vec()
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(folder.path()).unwrap();
        let (certificate, key) = write(dir, "muster.example.com");
        assert!(matches!(
            Files::open(dir.join("none"), key.clone()),
            Err(HttpTlsError::Read { .. })
        ));
        std::fs::write(dir.join("empty"), "").unwrap();
        assert!(matches!(
            Files::open(dir.join("empty"), key),
            Err(HttpTlsError::None { .. })
        ));
        std::fs::write(
            dir.join("other.key"),
            KeyPair::generate().unwrap().serialize_pem(),
        )
        .unwrap();
        let unfit = Files::open(certificate, dir.join("other.key")).unwrap_err();
        assert!(matches!(unfit, HttpTlsError::Unfit { .. }), "{unfit}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(folder.path()).unwrap();
        let (certificate, key) = write(dir, "one.example.com");
        let files = Arc::new(Files::open(certificate.clone(), key).unwrap());
        let first = shown(&files);
        let _following = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&files).follow()));
        tokio::time::sleep(LOOK_EVERY * 3 / 2).await;
        // Times of files are as coarse as a few milliseconds.
        let set = |path: &Utf8Path, ahead_s| {
            let file = std::fs::File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(ahead_s))
                .unwrap();
        };
        std::fs::write(&certificate, "broken").unwrap();
        set(&certificate, 1_000);
        tokio::time::sleep(LOOK_EVERY).await;
        assert_eq!(shown(&files), first);
        write(dir, "two.example.com");
        set(&certificate, 2_000);
        tokio::time::sleep(LOOK_EVERY).await;
        assert_ne!(shown(&files), first);
    }

    #[test]
    fn the_names_are_those_of_the_settings_and_of_this_machine_each_once() {
        let address = |text: &str| text.parse().unwrap();
        let named = ["muster.example.com".to_owned(), "127.0.0.1".to_owned()];
        let names = all_names(&named, address("192.0.2.7:8480"));
        for name in ["muster.example.com", "192.0.2.7", "localhost", "::1"] {
            assert!(names.iter().any(|found| found == name), "{names:?}");
        }
        assert_eq!(names.iter().filter(|name| *name == "127.0.0.1").count(), 1);
        assert!(!all_names(&[], address("0.0.0.0:8480")).contains(&"0.0.0.0".to_owned()));
    }
}
