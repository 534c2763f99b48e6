//! Keys and certificates of the installation.
//!
//! Owns the certificate authority (root 10 years, issuing 1 year), the controller's own certificate, the key that
//! signs commands, the sealing of secrets, and the rules of the agent port's TLS. Must not know tables, HTTP or gRPC:
//! sealed secrets come in and go out as names and bytes, and whoever calls stores them.
//!
//! Invariants: private keys leave this module only sealed; a certificate request gives nothing but its public key; a
//! client certificate is one of ours, for client authentication only, with exactly one agent's name.

mod authority;
mod command_key;
mod peer;
mod refusal;
mod request;
pub mod revocations;
mod rotation;
mod seal;
mod tls;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use camino::Utf8PathBuf;
use muster_base::clock::WallClock;
use muster_base::id::AgentId;
use muster_proto::convert::key_signed_bytes;
use muster_proto::token::EnrolmentToken;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::Ed25519KeyPair;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;

use self::authority::Authority;
use self::command_key::CommandKey;
pub use self::command_key::{NextCommandKey, SignedStep};
pub use self::peer::{PeerCertificate, PeerError};
pub use self::refusal::{Refusal, code_of as refusal_code};
pub use self::request::{AgentKey, RequestError};
use self::rotation::Authorities;
pub use self::rotation::{Changes, Phase, Step, StepError};
pub use self::seal::Seal;
pub use self::tls::{CONTROLLER_NAME, http_config};

const DAY_MS: i64 = 86_400_000;

const ROOT_KEY: &str = "root_ca_key";
const ROOT_CERTIFICATE: &str = "root_ca_certificate";
const ISSUING_KEY: &str = "issuing_ca_key";
const ISSUING_CERTIFICATE: &str = "issuing_ca_certificate";
const COMMAND_KEY: &str = "command_key";

/// Why a key or certificate could not be had.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// The sealing key's file could not be read or made.
    #[error("{doing} the sealing key {path}")]
    SealFile {
        /// `read` or `make`.
        doing: &'static str,
        /// The file.
        path: Utf8PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The sealing key's file does not hold 32 bytes.
    #[error("the sealing key {path} has {bytes} bytes instead of 32")]
    SealLength {
        /// The file.
        path: Utf8PathBuf,
        /// How many it holds.
        bytes: usize,
    },
    /// There are sealed secrets, but no key.
    #[error(
        "the sealing key {path} is missing, but the state database has secrets sealed with it: put the file back, or \
         name it with --secret-key-file"
    )]
    SealMissing {
        /// The file.
        path: Utf8PathBuf,
    },
    /// A secret was sealed with another key, under another name, or was changed.
    #[error("the secret {name} cannot be opened: it was sealed with another key, or was changed")]
    Unseal {
        /// Its name.
        name: String,
    },
    /// Some, but not all secrets are there.
    #[error("the secret {name} is missing from the state database")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A key or certificate could not be made or read.
    #[error("{doing}")]
    Certificate {
        /// What was attempted.
        doing: &'static str,
        /// Why.
        source: rcgen::Error,
    },
    /// A stored certificate cannot be read.
    #[error("the certificate {name} cannot be read")]
    Unreadable {
        /// Its name.
        name: &'static str,
    },
    /// TLS does not take our own key or settings.
    #[error("set up TLS for the agent port")]
    Tls(#[source] rustls::Error),
    /// The operating system gives no random numbers.
    #[error("get random numbers from the operating system")]
    Random,
}

/// Names one installation and one store in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installation {
    /// The installation: the domain of its agents' names. Never changes.
    pub uuid: Uuid,
    /// The store that agents deliver to.
    pub store_id: Uuid,
    /// New at creation and at each restore of the store.
    pub store_epoch: u64,
}

impl Installation {
    /// An installation that has never been.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn random() -> Result<Self, IdentityError> {
        Ok(Self {
            uuid: random_uuid()?,
            store_id: random_uuid()?,
            store_epoch: u64::from_le_bytes(random()?),
        })
    }
}

/// Sealed secrets that whoever opened the identity has to store: name and sealed bytes.
pub type SealedSecrets = Vec<(String, Vec<u8>)>;

/// A certificate that was issued to an agent.
#[derive(Debug, Clone)]
pub struct Issued {
    /// Leaf and issuing certificate, DER.
    pub chain: Vec<Vec<u8>>,
    /// Serial number, lower-case hexadecimal.
    pub serial: String,
    /// When it ends, Unix ms.
    pub not_after_ms: i64,
}

/// A root, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// SHA-256 of its SubjectPublicKeyInfo: the pin in enrolment tokens.
    pub sha256: [u8; 32],
    /// When it ends, Unix ms.
    pub not_after_ms: i64,
}

/// Where the rotation of the root is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// How far it has come.
    pub phase: Phase,
    /// Since when, Unix ms; 0 if there never was one.
    pub since_ms: i64,
    /// The root.
    pub root: Root,
    /// The next root.
    pub next: Option<Root>,
    /// Until when agents that know only the root before can come back, Unix ms.
    pub bridged_until_ms: Option<i64>,
    /// When the authority that issues agents' certificates ends, Unix ms.
    pub issuing_not_after_ms: i64,
    /// When the controller's own certificate ends, Unix ms.
    pub server_not_after_ms: i64,
}

/// A step that was prepared and does not count yet.
pub struct Stepped(Authorities);

/// The installation's keys and certificates. Shared as `Arc<Identity>`.
pub struct Identity {
    installation: Installation,
    clock: WallClock,
    seal: Seal,
    authorities: RwLock<Arc<Authorities>>,
    command_key: RwLock<Arc<CommandKey>>,
    server: Arc<tls::CurrentCertificate>,
    /// That of the port for people, if it shows one of ours.
    http: OnceLock<Arc<tls::CurrentCertificate>>,
    verifier: Arc<tls::AgentVerifier>,
    tls: Arc<rustls::ServerConfig>,
}

impl Identity {
    /// Opens the sealed secrets, and makes those of an installation that has none. The second value is what has to be
    /// stored before anything is issued.
    ///
    /// # Errors
    /// [`IdentityError`]; a wrong sealing key is [`IdentityError::Unseal`].
    pub fn open(
        installation: Installation,
        sealed: SealedSecrets,
        seal: Seal,
        clock: WallClock,
    ) -> Result<(Self, SealedSecrets), IdentityError> {
        let is_new = sealed.is_empty();
        let mut secrets = Secrets {
            opened: HashMap::new(),
            fresh: Vec::new(),
        };
        for (name, bytes) in sealed {
            let plain = seal.open(&name, &bytes)?;
            secrets.opened.insert(name, plain);
        }
        let now_ms = clock.now_ms();
        if is_new {
            secrets.make(installation, now_ms, &seal)?;
        }
        let authorities = Authorities::open(&mut secrets)?;
        let command_key = CommandKey::open(&mut secrets)?;
        let server = Arc::new(tls::CurrentCertificate::issue(
            &authorities,
            vec![CONTROLLER_NAME.to_owned()],
            now_ms,
        )?);
        let verifier = Arc::new(tls::AgentVerifier::new(authorities.taken(), installation.uuid)?);
        let tls = tls::server_config(Arc::clone(&verifier), Arc::clone(&server), clock.clone())?;
        let identity = Self {
            installation,
            clock,
            seal,
            authorities: RwLock::new(Arc::new(authorities)),
            command_key: RwLock::new(Arc::new(command_key)),
            server,
            http: OnceLock::new(),
            verifier,
            tls,
        };
        let mut fresh = secrets.fresh;
        fresh.extend(identity.renew()?);
        Ok((identity, fresh))
    }

    /// Issues the issuing authority and the controller's own certificate anew once half of their time is over. To be
    /// called at least once a day; what it returns has to be stored.
    ///
    /// # Errors
    /// [`IdentityError`]; then what was in use stays in use.
    pub fn renew(&self) -> Result<SealedSecrets, IdentityError> {
        let now_ms = self.clock.now_ms();
        let mut fresh = Vec::new();
        if let Some((authorities, secrets)) = self.authorities().refreshed(now_ms, &self.seal)? {
            self.adopt(authorities)?;
            fresh = secrets;
        }
        if self.server.is_half_over(now_ms) {
            self.server.renew(&self.authorities(), now_ms)?;
            tracing::info!("controller certificate renewed");
        }
        if let Some(http) = self.http.get().filter(|http| http.is_half_over(now_ms)) {
            http.renew(&self.authorities(), now_ms)?;
            tracing::info!("HTTP certificate renewed");
        }
        Ok(fresh)
    }

    /// Prepares a step of the rotation of the root. What has to be stored comes first, what then makes the step count
    /// second. Nothing else may renew or step meanwhile.
    ///
    /// # Errors
    /// [`StepError`].
    pub fn step(&self, step: Step) -> Result<(Changes, Stepped), StepError> {
        let now_ms = self.clock.now_ms();
        let (authorities, changes) =
            self.authorities()
                .after(step, self.installation.uuid, now_ms, &self.seal)?;
        Ok((changes, Stepped(authorities)))
    }

    /// Makes a step count whose changes are stored.
    ///
    /// # Errors
    /// [`IdentityError`]; then it counts after the next start.
    pub fn complete(&self, stepped: Stepped) -> Result<(), IdentityError> {
        self.adopt(stepped.0)
    }

    /// Where the rotation of the root is.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        let authorities = self.authorities();
        let about = |authority: &Authority| Root {
            sha256: Sha256::digest(authority.public_key_info()).into(),
            not_after_ms: authority.not_after_ms(),
        };
        Rotation {
            phase: authorities.record.phase,
            since_ms: authorities.record.since_ms,
            root: about(&authorities.root),
            next: authorities.next.as_ref().map(|next| about(&next.root)),
            bridged_until_ms: authorities.bridged_until_ms(),
            issuing_not_after_ms: authorities.for_agents().not_after_ms(),
            server_not_after_ms: self.server.not_after_ms(),
        }
    }

    /// From now on these issue, are shown, and are trusted.
    fn adopt(&self, authorities: Authorities) -> Result<(), IdentityError> {
        let now_ms = self.clock.now_ms();
        // First who is taken, so that nobody is refused between the two.
        self.verifier.take(authorities.taken())?;
        self.server.renew(&authorities, now_ms)?;
        if let Some(http) = self.http.get() {
            http.renew(&authorities, now_ms)?;
        }
        *self.authorities.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(authorities);
        Ok(())
    }

    /// Which installation and store this is.
    #[must_use]
    pub const fn installation(&self) -> &Installation {
        &self.installation
    }

    /// SHA-256 of the root's SubjectPublicKeyInfo: what enrolment tokens carry as pin.
    #[must_use]
    pub fn root_pin(&self) -> [u8; 32] {
        Sha256::digest(self.authorities().root.public_key_info()).into()
    }

    /// Roots that agents trust, DER.
    #[must_use]
    pub fn trust_bundle(&self) -> Vec<Vec<u8>> {
        self.authorities().bundle()
    }

    /// SHA-256 over [`Identity::trust_bundle`]: names it.
    #[must_use]
    pub fn roots_sha256(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for root in self.trust_bundle() {
            hash.update(Sha256::digest(&root));
        }
        hash.finalize().into()
    }

    /// Ed25519 public keys that sign commands.
    #[must_use]
    pub fn command_keys(&self) -> Vec<Vec<u8>> {
        vec![self.command_key().public().to_vec()]
    }

    /// Names the key that signs commands: the first bytes of its SHA-256, hexadecimal.
    #[must_use]
    pub fn command_key_id(&self) -> String {
        self.command_key().id()
    }

    /// When the key that signs commands took the place of another, Unix ms; `None` if it is the first.
    #[must_use]
    pub fn command_key_since_ms(&self) -> Option<i64> {
        self.command_key().since_ms()
    }

    fn command_key(&self) -> Arc<CommandKey> {
        Arc::clone(&self.command_key.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The way to the key that signs commands, for agents: signed by the keys, and by every root there is now.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn command_key_way(&self) -> Result<Vec<SignedStep>, IdentityError> {
        let authorities = self.authorities();
        let mut steps = self.command_key().steps();
        for step in &mut steps {
            step.signed_by_roots = authorities.signed_by_roots(&key_signed_bytes(&step.step))?;
        }
        Ok(steps)
    }

    /// Makes the next key that signs commands. It counts once what it changes is stored and
    /// [`Identity::adopt_command_key`] was called.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn next_command_key(&self) -> Result<NextCommandKey, IdentityError> {
        let now_ms = self.clock.now_ms();
        self.command_key()
            .next(self.installation.uuid, now_ms, &self.seal)
    }

    /// From now on this key signs.
    pub fn adopt_command_key(&self, next: NextCommandKey) {
        *self.command_key.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next.into_key());
    }

    /// Signs a command's bytes.
    #[must_use]
    pub fn sign_command(&self, command: &[u8]) -> Vec<u8> {
        self.command_key().sign(command)
    }

    /// Whether our own key has signed a command's bytes.
    #[must_use]
    pub fn has_signed_command(&self, command: &[u8], signature: &[u8]) -> bool {
        self.command_key().has_signed(command, signature)
    }

    /// Seals a secret under its name, for whoever stores it.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn seal_secret(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, IdentityError> {
        self.seal.seal(name, plain)
    }

    /// Opens what [`Identity::seal_secret`] sealed under this name.
    ///
    /// # Errors
    /// [`IdentityError::Unseal`].
    pub fn open_secret(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, IdentityError> {
        self.seal.open(name, sealed)
    }

    /// A key for signing records of one `purpose`, derived from the sealing key (see [`Seal::mac_key`]).
    #[must_use]
    pub fn mac_key(&self, purpose: &str) -> ring::hmac::Key {
        self.seal.mac_key(purpose)
    }

    /// A fresh enrolment token with our pin.
    ///
    /// # Errors
    /// [`IdentityError::Random`].
    pub fn new_token(&self) -> Result<EnrolmentToken, IdentityError> {
        Ok(EnrolmentToken {
            public_id: format!("{:016x}", u64::from_be_bytes(random()?)),
            secret: random()?,
            pin: self.root_pin(),
        })
    }

    /// Issues a certificate of this generation that is valid for `valid` to an agent, for the public key that it
    /// proved to hold.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`] or [`IdentityError::Random`].
    pub fn issue_agent(
        &self,
        agent: AgentId,
        generation: u32,
        key: &AgentKey,
        valid: Duration,
    ) -> Result<Issued, IdentityError> {
        let authorities = self.authorities();
        let issuing = authorities.for_agents();
        let name = peer::uri(self.installation.uuid, agent);
        let valid_ms = i64::try_from(valid.as_millis()).unwrap_or(i64::MAX);
        let issued = issuing.issue_agent(&name, generation, key, self.clock.now_ms(), valid_ms)?;
        Ok(Issued {
            chain: vec![issued.certificate.to_vec(), issuing.certificate().to_vec()],
            serial: issued.serial,
            not_after_ms: issued.not_after_ms,
        })
    }

    /// TLS of the agent port: version 1.3 only, HTTP/2 only, no tickets, a client certificate asked for but not
    /// required. The certificate shown follows [`Identity::renew`].
    #[must_use]
    pub fn server_tls_config(&self) -> Arc<rustls::ServerConfig> {
        Arc::clone(&self.tls)
    }

    /// TLS of the port for people and programs, with a certificate of ours for these DNS names and addresses. It
    /// follows [`Identity::renew`] and every replacement of the root. There is one such certificate: what was asked
    /// for first stays.
    ///
    /// # Errors
    /// [`IdentityError`] if it cannot be issued.
    pub fn http_tls_config(&self, names: Vec<String>) -> Result<Arc<rustls::ServerConfig>, IdentityError> {
        let issued = tls::CurrentCertificate::issue(&self.authorities(), names, self.clock.now_ms())?;
        let certificate = Arc::clone(self.http.get_or_init(|| Arc::new(issued)));
        http_config(certificate)
    }

    fn authorities(&self) -> Arc<Authorities> {
        Arc::clone(&self.authorities.read().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    fn issuing(&self) -> Arc<Authority> {
        Arc::clone(&self.authorities().issuing)
    }

    #[cfg(test)]
    fn root(&self) -> Arc<Authority> {
        Arc::clone(&self.authorities().root)
    }
}

/// Our authorities, for tests that make certificates which we never would.
#[cfg(test)]
pub(crate) struct SigningParts {
    pub(crate) issuing_certificate: Vec<u8>,
    pub(crate) issuing_key: Vec<u8>,
    pub(crate) root_certificate: Vec<u8>,
}

#[cfg(test)]
impl Identity {
    pub(crate) fn signing_parts(&self) -> SigningParts {
        let issuing = self.issuing();
        SigningParts {
            issuing_certificate: issuing.certificate().to_vec(),
            issuing_key: issuing.key_der().to_vec(),
            root_certificate: self.root().certificate().to_vec(),
        }
    }
}

/// Secrets while the identity is opened.
struct Secrets {
    opened: HashMap<String, Vec<u8>>,
    fresh: SealedSecrets,
}

impl Secrets {
    fn take(&mut self, name: &'static str) -> Result<Vec<u8>, IdentityError> {
        self.opened.remove(name).ok_or(IdentityError::Missing { name })
    }

    /// Makes everything a new installation needs.
    fn make(&mut self, installation: Installation, now_ms: i64, seal: &Seal) -> Result<(), IdentityError> {
        let root = Authority::root(installation.uuid, now_ms)?;
        let issuing = Authority::issuing(&root, now_ms)?;
        let command_key =
            Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| IdentityError::Random)?;
        for (name, plain) in [
            (ROOT_KEY, root.key_der()),
            (ROOT_CERTIFICATE, root.certificate()),
            (ISSUING_KEY, issuing.key_der()),
            (ISSUING_CERTIFICATE, issuing.certificate()),
            (COMMAND_KEY, command_key.as_ref()),
        ] {
            self.fresh.push(sealed_secret(seal, name, plain)?);
            self.opened.insert(name.to_owned(), plain.to_vec());
        }
        Ok(())
    }
}

fn sealed_secret(seal: &Seal, name: &str, plain: &[u8]) -> Result<(String, Vec<u8>), IdentityError> {
    Ok((name.to_owned(), seal.seal(name, plain)?))
}

/// Random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| IdentityError::Random)?;
    Ok(bytes)
}

/// A random (version 4) UUID that nobody can guess.
pub(crate) fn random_uuid() -> Result<Uuid, IdentityError> {
    Ok(uuid::Builder::from_random_bytes(random()?).into_uuid())
}

/// Compares without telling by its duration where two values differ.
pub(crate) fn is_same_secret(left: &[u8], right: &[u8]) -> bool {
    // Both are hashes of the same length; a length that differs is no secret.
    left.len() == right.len()
        && std::hint::black_box(left.iter().zip(right).fold(0_u8, |sum, (l, r)| sum | (l ^ r))) == 0
}

#[cfg(test)]
mod tests;
