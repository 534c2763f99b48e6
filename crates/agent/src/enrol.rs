//! First contact: from an enrolment token to an identity.
//!
//! The order is the protection. The token is read from a file and checked; the key is made and on disk before any
//! call, so that a lost answer can be asked for again with the same key; TLS verifies the controller by the token's
//! pin before a single byte of the token leaves; the identity is on disk before the token is deleted. A crash
//! between any two steps leaves a state from which the same command goes on.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use muster_base::id::{AgentId, ServerId};
use muster_proto::convert::{ConvertError, uuid_from_wire};
use muster_proto::token::{EnrolmentToken, TokenError};
use muster_proto::v1::EnrollResponse;
use rcgen::{CertificateParams, KeyPair};
use thiserror::Error;
use tracing::{info, warn};

use crate::identity::{
    Identity, IdentityDir, IdentityError, Machine, certificates_of, is_for_key, on_disk, private_key,
};
use crate::uplink::enrolment::{self, CallError};

/// Longest token file that is read; a token has some 120 bytes.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Why an agent could not be enrolled.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// There is an identity already.
    #[error("already enrolled as agent {agent_id} in {dir}: remove that folder to enrol anew")]
    AlreadyEnrolled {
        /// Who the agent is.
        agent_id: AgentId,
        /// Where that is kept.
        dir: Utf8PathBuf,
    },
    /// The token file could not be read.
    #[error("read enrolment token {path}")]
    TokenFile {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds no token.
    #[error("enrolment token in {path}")]
    Token {
        /// The file.
        path: Utf8PathBuf,
        /// Why not.
        source: TokenError,
    },
    /// The key or the identity could not be read or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The certificate request could not be made.
    #[error("make a certificate request")]
    Request(#[source] rcgen::Error),
    /// The controller could not be reached or verified, or refuses.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The controller's answer makes no identity.
    #[error("the controller's answer is of no use: {0}")]
    Answer(&'static str),
    /// The controller's answer breaks a rule.
    #[error("the controller's answer is of no use")]
    Convert(#[from] ConvertError),
}

/// How to enrol.
#[derive(Debug, Clone)]
pub struct Options {
    /// The controller's agent port, `HOST:PORT`.
    pub controller: String,
    /// The file with the token.
    pub token_file: Utf8PathBuf,
    /// The agent's folder.
    pub data_dir: Utf8PathBuf,
    /// The server's name as it calls itself.
    pub hostname: String,
    /// The machine that the identity is bound to, if it has an id.
    pub machine: Option<Machine>,
}

/// An enrolment that succeeded.
#[derive(Debug)]
pub struct Enrolled {
    /// The new identity.
    pub identity: Identity,
    /// Whether the token has no use left.
    pub token_used_up: bool,
    /// Whether the token file was deleted.
    pub token_deleted: bool,
}

/// Enrols with the token in a file, and deletes the file if the token is used up and the file may be written.
///
/// # Errors
/// [`EnrolError`]; nothing but a key is left behind then.
pub async fn enrol(options: &Options) -> Result<Enrolled, EnrolError> {
    let token = read_token(&options.token_file)?;
    if let Some(machine) = options.machine.clone() {
        let dir = IdentityDir::below(&options.data_dir);
        on_disk(dir, move |dir| dir.bind(&machine)).await?;
    }
    let mut enrolled = redeem(&token, &options.controller, &options.hostname, &options.data_dir).await?;
    enrolled.token_deleted = enrolled.token_used_up && delete_token(&options.token_file);
    Ok(enrolled)
}

/// Exchanges a token for an identity, which is on disk when this returns.
///
/// # Errors
/// As [`enrol`].
pub async fn redeem(
    token: &EnrolmentToken,
    controller: &str,
    hostname: &str,
    data_dir: &Utf8Path,
) -> Result<Enrolled, EnrolError> {
    let dir = IdentityDir::below(data_dir);
    if dir.is_enrolled() {
        let agent_id = dir.load()?.agent_id;
        return Err(EnrolError::AlreadyEnrolled {
            agent_id,
            dir: dir.path().to_owned(),
        });
    }
    let key = on_disk(dir.clone(), IdentityDir::key_or_new).await?;
    let request = CertificateParams::default()
        .serialize_request(&key)
        .map_err(EnrolError::Request)?;
    let response = enrolment::call(enrolment::Request {
        controller,
        pin: token.pin,
        token: token.to_text(),
        certificate_request: request.der().to_vec(),
        hostname,
    })
    .await?;
    let token_used_up = response.token_used_up;
    let identity = identity_of(response, controller, &key)?;
    let identity = on_disk(dir, |dir| dir.store(&identity).map(|()| identity)).await?;
    info!(agent.id = %identity.agent_id, server.id = %identity.server_id, token = token.public_id, "enrolled");
    Ok(Enrolled {
        identity,
        token_used_up,
        token_deleted: false,
    })
}

/// Reads the token in a file.
///
/// # Errors
/// [`EnrolError::TokenFile`] or [`EnrolError::Token`].
pub fn read_token(path: &Utf8Path) -> Result<EnrolmentToken, EnrolError> {
    let unreadable = |source| EnrolError::TokenFile {
        path: path.to_owned(),
        source,
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, TOKEN_FILE_BYTES_MAX), &mut text)
        .map_err(unreadable)?;
    EnrolmentToken::parse(&text).map_err(|source| EnrolError::Token {
        path: path.to_owned(),
        source,
    })
}

fn identity_of(response: EnrollResponse, controller: &str, key: &KeyPair) -> Result<Identity, EnrolError> {
    let chain = certificates_of(response.certificate_chain);
    let leaf = chain.first().ok_or(EnrolError::Answer("it has no certificate"))?;
    if !is_for_key(leaf, key) {
        return Err(EnrolError::Answer("the certificate is not for our key"));
    }
    let roots = certificates_of(response.trust_bundle);
    if roots.is_empty() {
        return Err(EnrolError::Answer("it has no root"));
    }
    let command_keys = response
        .command_keys
        .into_iter()
        .map(<[u8; 32]>::try_from)
        .collect::<Result<_, _>>();
    Ok(Identity {
        agent_id: AgentId(uuid_from_wire("agent_id", &response.agent_id)?),
        server_id: ServerId(response.server_id),
        generation: response.generation,
        controller: controller.to_owned(),
        chain,
        roots,
        command_keys: command_keys.map_err(|_| EnrolError::Answer("a command key has not 32 bytes"))?,
        key: private_key(key),
    })
}

/// A file that nobody may write was put there to stay, say by a configuration tool.
fn delete_token(path: &Utf8Path) -> bool {
    if std::fs::metadata(path).map_or(true, |metadata| metadata.permissions().readonly()) {
        return false;
    }
    match std::fs::remove_file(path) {
        Ok(()) => true,
        Err(error) => {
            warn!(path = %path, error = %error, "used-up token file can't be deleted");
            false
        }
    }
}
