//! Who the agent is: its key, its certificate chain, the roots it trusts, and where its controller is.
//!
//! Kept in `DIR/identity/`: `key.pem` (0600), `chain.pem`, `roots.pem` and, written last, `identity.json`, whose
//! presence means that the agent is enrolled. The key is made before the first network call and kept when that
//! call's answer is lost, so that the same key can be shown again; `machine` says on which machine. A renewal writes files of its own beside these, and
//! `identity.json` says which count: replacing that one file is the switch.

mod machine;
mod renewal;

use std::io;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::{AgentId, ServerId};
use muster_proto::BACKDATED_MS;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;
use x509_parser::extensions::GeneralName;

use crate::durable;

pub use self::machine::Machine;

/// Why there is no identity to be had from disk.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The agent was never enrolled.
    #[error(
        "no identity in {dir}: enrol first with `muster-agent enroll --controller HOST:PORT --token-file FILE \
         --data-dir {data_dir}`; the controller prints a token with `muster-controller token create`"
    )]
    NotEnrolled {
        /// The folder that was looked into.
        dir: Utf8PathBuf,
        /// The agent's folder.
        data_dir: Utf8PathBuf,
    },
    /// A file could not be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file or folder could not be written.
    #[error("write {path}")]
    Write {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} is damaged: {message}")]
    Damaged {
        /// The file.
        path: Utf8PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// Others may read the private key.
    #[error("{path} may be read by others (mode {mode:o}): enrol anew, or `chmod 600` it if nobody did")]
    KeyExposed {
        /// The file.
        path: Utf8PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The identity was made on another machine, so this one has a copy.
    #[error(
        "the identity in {dir} was made on another machine, so this is a copy of it: remove it with \
         `muster-agent seal --data-dir {data_dir}`, then enrol with a new token"
    )]
    OtherMachine {
        /// The folder of the identity.
        dir: Utf8PathBuf,
        /// The agent's folder.
        data_dir: Utf8PathBuf,
    },
    /// A key could not be made.
    #[error("make a private key")]
    MakeKey(#[source] rcgen::Error),
}

/// An enrolled agent's identity.
pub struct Identity {
    /// The agent.
    pub agent_id: AgentId,
    /// The server it reports for.
    pub server_id: ServerId,
    /// Generation of the certificate; rises with each renewal.
    pub generation: u32,
    /// Where it was enrolled, `HOST:PORT`.
    pub controller: String,
    /// Certificates, leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The roots that a controller's certificate must come from.
    pub roots: Vec<CertificateDer<'static>>,
    /// Public keys that sign commands, Ed25519.
    pub command_keys: Vec<[u8; 32]>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out of every log, also by accident.
        f.debug_struct("Identity")
            .field("agent_id", &self.agent_id)
            .field("server_id", &self.server_id)
            .field("generation", &self.generation)
            .field("controller", &self.controller)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize, Deserialize)]
struct IdentityFile {
    agent_id: AgentId,
    server_id: ServerId,
    generation: u32,
    controller: String,
    command_keys: Vec<String>,
    /// Whether key, chain and roots are in files named after the generation.
    #[serde(default)]
    renewed: bool,
}

impl IdentityFile {
    fn of(identity: &Identity, renewed: bool) -> Self {
        Self {
            agent_id: identity.agent_id,
            server_id: identity.server_id,
            generation: identity.generation,
            controller: identity.controller.clone(),
            command_keys: identity
                .command_keys
                .iter()
                .map(|key| BASE64.encode(key))
                .collect(),
            renewed,
        }
    }

    /// The name of the `key`, `chain` or `roots` file.
    fn name(&self, what: &str) -> String {
        if self.renewed {
            format!("{what}-{}.pem", self.generation)
        } else {
            format!("{what}.pem")
        }
    }

    fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("an identity is plain data")
    }
}

/// The folder of an identity below the agent's.
#[derive(Debug, Clone)]
pub struct IdentityDir {
    data_dir: Utf8PathBuf,
    dir: Utf8PathBuf,
}

impl IdentityDir {
    /// The identity's folder below `data_dir`; nothing is touched yet.
    #[must_use]
    pub fn below(data_dir: &Utf8Path) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            dir: data_dir.join("identity"),
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Utf8Path {
        &self.dir
    }

    /// Whether an enrolment was completed.
    #[must_use]
    pub fn is_enrolled(&self) -> bool {
        self.dir.join("identity.json").exists()
    }

    /// The private key: the one that is there, or a new one, on disk before this returns.
    ///
    /// # Errors
    /// [`IdentityError`] if it can't be read, made or kept, or others may read it.
    pub fn key_or_new(&self) -> Result<KeyPair, IdentityError> {
        let path = self.dir.join("key.pem");
        if let Some(pem) = read_key(&path)? {
            return KeyPair::from_pem(&pem).map_err(|error| damaged(&path, &error));
        }
        let write = |path: &Utf8Path, source| IdentityError::Write {
            path: path.to_owned(),
            source,
        };
        durable::create_dir(&self.dir).map_err(|source| write(&self.dir, source))?;
        let key = KeyPair::generate().map_err(IdentityError::MakeKey)?;
        durable::write(&path, key.serialize_pem().as_bytes(), durable::SECRET)
            .map_err(|source| write(&path, source))?;
        Ok(key)
    }

    /// Keeps everything but the key, which is there already. `identity.json` comes last.
    ///
    /// # Errors
    /// [`IdentityError::Write`] if a file can't be written.
    pub fn store(&self, identity: &Identity) -> Result<(), IdentityError> {
        self.write("chain.pem", pem(&identity.chain).as_bytes())?;
        self.write("roots.pem", pem(&identity.roots).as_bytes())?;
        self.write("identity.json", &IdentityFile::of(identity, false).to_json())
    }

    /// Reads an identity.
    ///
    /// # Errors
    /// [`IdentityError`] if there is none or it can't be read.
    pub fn load(&self) -> Result<Identity, IdentityError> {
        if !self.is_enrolled() {
            return Err(IdentityError::NotEnrolled {
                dir: self.dir.clone(),
                data_dir: self.data_dir.clone(),
            });
        }
        let json_path = self.dir.join("identity.json");
        let file: IdentityFile =
            serde_json::from_slice(&read(&json_path)?).map_err(|error| damaged(&json_path, &error))?;
        let command_keys = file
            .command_keys
            .iter()
            .map(|key| BASE64.decode(key).ok().and_then(|bytes| bytes.try_into().ok()))
            .collect::<Option<Vec<[u8; 32]>>>()
            .ok_or_else(|| damaged(&json_path, &"a command key is not one"))?;
        let key_path = self.dir.join(file.name("key"));
        let key_pem = read_key(&key_path)?.ok_or_else(|| damaged(&key_path, &"it is missing"))?;
        let key = KeyPair::from_pem(&key_pem).map_err(|error| damaged(&key_path, &error))?;
        Ok(Identity {
            agent_id: file.agent_id,
            server_id: file.server_id,
            generation: file.generation,
            chain: certificates(&self.dir.join(file.name("chain")))?,
            roots: certificates(&self.dir.join(file.name("roots")))?,
            controller: file.controller,
            command_keys,
            key: private_key(&key),
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), IdentityError> {
        let path = self.dir.join(name);
        durable::write(&path, bytes, durable::PUBLIC).map_err(|source| IdentityError::Write { path, source })
    }
}

impl Identity {
    /// When the certificate was issued and when it expires, Unix milliseconds; `None` if that can't be read from it.
    #[must_use]
    pub fn validity(&self) -> Option<(i64, i64)> {
        let (_, leaf) = x509_parser::parse_x509_certificate(self.chain.first()?).ok()?;
        let begins_ms = leaf.validity().not_before.timestamp().checked_mul(1000)?;
        let expires_ms = leaf.validity().not_after.timestamp().checked_mul(1000)?;
        let issued_ms = begins_ms.saturating_add(BACKDATED_MS);
        Some((issued_ms.min(expires_ms), expires_ms))
    }
}

impl Identity {
    /// The installation that issued the certificate, as its name says: `spiffe://INSTALLATION/agent/AGENT`.
    #[must_use]
    pub fn installation(&self) -> Option<Uuid> {
        let (_, leaf) = x509_parser::parse_x509_certificate(self.chain.first()?).ok()?;
        let names = leaf.subject_alternative_name().ok()??;
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => {
                let (installation, _) = uri.strip_prefix("spiffe://")?.split_once('/')?;
                Uuid::parse_str(installation).ok()
            }
            _ => None,
        })
    }
}

/// A key in the form that TLS takes.
pub(crate) fn private_key(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

/// Whether a certificate is for this key.
pub(crate) fn is_for_key(leaf: &CertificateDer<'_>, key: &KeyPair) -> bool {
    x509_parser::parse_x509_certificate(leaf)
        .is_ok_and(|(_, parsed)| parsed.public_key().raw == key.subject_public_key_info())
}

/// Certificates as they come in a message.
pub(crate) fn certificates_of(list: Vec<Vec<u8>>) -> Vec<CertificateDer<'static>> {
    list.into_iter().map(CertificateDer::from).collect()
}

/// Syncing takes milliseconds, in which a thread of the runtime must not stand still.
pub(crate) async fn on_disk<T: Send + 'static>(
    dir: IdentityDir,
    work: impl FnOnce(&IdentityDir) -> Result<T, IdentityError> + Send + 'static,
) -> Result<T, IdentityError> {
    let done = tokio::task::spawn_blocking(move || work(&dir));
    done.await
        .unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

fn read_key(path: &Utf8Path) -> Result<Option<String>, IdentityError> {
    let mode = match std::fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(IdentityError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    if mode & 0o077 != 0 {
        return Err(IdentityError::KeyExposed {
            path: path.to_owned(),
            mode,
        });
    }
    let bytes = read(path)?;
    String::from_utf8(bytes)
        .map(Some)
        .map_err(|error| damaged(path, &error))
}

fn read(path: &Utf8Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Read {
        path: path.to_owned(),
        source,
    })
}

fn damaged(path: &Utf8Path, message: &dyn std::fmt::Display) -> IdentityError {
    IdentityError::Damaged {
        path: path.to_owned(),
        message: message.to_string(),
    }
}

fn certificates(path: &Utf8Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let pem = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| damaged(path, &error))?;
    if certificates.is_empty() {
        return Err(damaged(path, &"it has no certificate"));
    }
    Ok(certificates)
}

/// Certificates as text (RFC 7468): base64 in lines of 64.
fn pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = String::new();
    for certificate in certificates {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let encoded = BASE64.encode(certificate);
        for line in encoded.as_bytes().chunks(64) {
            text.extend(line.iter().copied().map(char::from));
            text.push('\n');
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}
