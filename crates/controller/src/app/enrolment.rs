//! Making agents of token holders: tokens and their redemption. Below: who of them may connect, and renewal.
//!
//! A use of a token is consumed in the transaction that makes the identity. The rate limit comes before any
//! signature is checked. Of the certificate request only the public key and the proof of possession are used.

mod admission;
mod refusals;
mod renewal;
mod standing;
mod tokens;

use std::net::IpAddr;
use std::time::Duration;

use muster_base::id::{AgentId, ServerId};
use muster_proto::token::EnrolmentToken;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

pub use self::admission::{AdmitError, Admitted};
pub use self::refusals::Refusals;
pub use self::renewal::{RenewError, Renewed};
pub(in crate::app) use self::standing::Revoked;
pub use self::standing::{AgentStatus, AgentView, Change, StandingError};
pub use self::tokens::{EnrolmentTokenView, TokenState};
use super::App;
use super::audit::{Actor, Entry};
use crate::identity::revocations::RevocationsError;
use crate::identity::{AgentKey, IdentityError, is_same_secret, random_uuid};
use crate::store::{NewIdentity, Redeem, Redeemed, ServerFields, StoreError, TokenRow};

/// The version of the protocol spoken on the agent port.
pub const PROTOCOL: u32 = 1;
/// Most uses of one token.
pub const USES_MAX: u32 = 10_000;
/// Longest life of a token.
pub const TTL_MAX: Duration = Duration::from_secs(24 * 3_600);
/// Longest name or version an agent may state, in bytes.
const STATED_BYTES_MAX: usize = 255;

/// The action of entries about enrolment.
const ENROL: &str = "agent.enrol";

/// What a token is wanted for.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// How long it lives; the setting's default if not given.
    pub ttl: Option<Duration>,
    /// How many agents it may make; a bound token has always one.
    pub uses: u32,
    /// The server it is bound to; without one each use makes a server.
    pub server: Option<ServerId>,
    /// Who makes it.
    pub created_by: String,
}

/// A token that was just made.
#[derive(Debug, Clone)]
pub struct CreatedToken {
    /// Its text, with the secret; shown this once.
    pub text: String,
    /// Names it in logs.
    pub public_id: String,
    /// When it ends, Unix ms.
    pub expires_ms: i64,
}

/// What an agent shows to be enrolled.
#[derive(Debug, Clone)]
pub struct Enrolment {
    /// The token's text.
    pub token: String,
    /// PKCS#10, DER.
    pub certificate_request: Vec<u8>,
    /// What the server calls itself; a fact, not an identity.
    pub hostname: String,
    /// Version of the agent.
    pub agent_version: String,
    /// Lowest protocol version it speaks.
    pub protocol_min: u32,
    /// Highest protocol version it speaks.
    pub protocol_max: u32,
    /// Where it calls from.
    pub peer: IpAddr,
}

/// An identity.
#[derive(Debug, Clone)]
pub struct Enrolled {
    /// The agent.
    pub agent: AgentId,
    /// The server it reports for.
    pub server: ServerId,
    /// Leaf and issuing certificate, DER.
    pub certificate_chain: Vec<Vec<u8>>,
    /// Roots to trust, DER.
    pub trust_bundle: Vec<Vec<u8>>,
    /// Ed25519 public keys that sign commands.
    pub command_keys: Vec<Vec<u8>>,
    /// Generation of the identity, from 1.
    pub generation: u32,
    /// Whether the token has no use left.
    pub token_used_up: bool,
}

/// Why nobody was enrolled, or no token made.
#[derive(Debug, Error)]
pub enum EnrolError {
    /// The text is no token of ours, or its secret is wrong.
    #[error("the enrolment token is not known here")]
    TokenUnknown,
    /// Its time is over.
    #[error("the enrolment token has expired")]
    TokenExpired,
    /// It has no use left.
    #[error("the enrolment token is used up")]
    TokenUsedUp,
    /// It was just used up by another key.
    #[error("the enrolment token was used a moment ago with another key")]
    KeyMismatch,
    /// No version of the protocol is spoken by both.
    #[error("the agent speaks protocol {min} to {max}, this controller {ours}")]
    ProtocolUnsupported {
        /// The agent's lowest.
        min: u32,
        /// The agent's highest.
        max: u32,
        /// Ours.
        ours: u32,
    },
    /// The certificate request or a field cannot be taken.
    #[error("the request cannot be taken: {0}")]
    BadRequest(String),
    /// Too many enrolments at once.
    #[error("too many enrolments, try again in {retry_after_ms} ms")]
    TooMany {
        /// When to try again, in ms.
        retry_after_ms: u64,
    },
    /// The server the token is bound to does not exist (any more).
    #[error("no server with id {0}")]
    NoServer(ServerId),
    /// A token or certificate could not be made.
    #[error("make a token or certificate")]
    Issue(#[source] IdentityError),
    /// The identity that gave way is revoked, but that could not be written beside the state database.
    #[error("write down a revocation")]
    NotKept(#[from] RevocationsError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EnrolError {
    /// The stable code that goes to the peer.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TokenUnknown => "token_unknown",
            Self::TokenExpired => "token_expired",
            Self::TokenUsedUp => "token_used_up",
            Self::KeyMismatch => "key_mismatch",
            Self::ProtocolUnsupported { .. } => "protocol_unsupported",
            Self::BadRequest(_) => "bad_request",
            Self::TooMany { .. } => "too_many",
            Self::NoServer(_) => "no_server",
            Self::Issue(_) | Self::NotKept(_) | Self::Store(_) => "internal",
        }
    }
}

impl App {
    /// Makes an enrolment token.
    ///
    /// # Errors
    /// [`EnrolError::NoServer`], [`EnrolError::BadRequest`] for uses or a time to live beyond the bounds, or a
    /// failure of the database.
    pub async fn create_token(&self, wanted: NewToken) -> Result<CreatedToken, EnrolError> {
        let ttl = wanted.ttl.unwrap_or(self.settings.token_ttl);
        check_wanted(&wanted, ttl)?;
        let token = self.identity.new_token().map_err(EnrolError::Issue)?;
        let now_ms = self.clock.now_ms();
        let expires_ms = now_ms.saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
        let row = TokenRow {
            public_id: token.public_id.clone(),
            secret_sha256: Sha256::digest(token.secret).to_vec(),
            server: wanted.server,
            uses: wanted.uses,
            created_ms: now_ms,
            expires_ms,
            created_by: wanted.created_by.clone(),
        };
        if !self.store.add_token(row).await? {
            return Err(wanted
                .server
                .map_or(EnrolError::TokenUnknown, EnrolError::NoServer));
        }
        tracing::info!(
            token = token.public_id,
            user = wanted.created_by,
            uses = wanted.uses,
            server.id = wanted.server.map(|server| server.0),
            "enrolment token made"
        );
        Ok(CreatedToken {
            text: token.to_text(),
            public_id: token.public_id,
            expires_ms,
        })
    }

    /// Redeems a token.
    ///
    /// # Errors
    /// [`EnrolError`], each with a stable code.
    pub async fn enrol(&self, request: Enrolment) -> Result<Enrolled, EnrolError> {
        let peer = request.peer;
        let done = self.try_enrol(request).await;
        match &done {
            Ok(enrolled) => {
                tracing::info!(
                    agent.id = %enrolled.agent,
                    server.id = enrolled.server.0,
                    generation = enrolled.generation,
                    peer = %peer,
                    "agent enrolled"
                );
            }
            Err(error) => {
                self.turned_away(ENROL, error.code(), peer).await;
                tracing::warn!(code = error.code(), peer = %peer, "enrolment refused");
            }
        }
        done
    }

    async fn try_enrol(&self, request: Enrolment) -> Result<Enrolled, EnrolError> {
        // In this order: what is cheap to refuse first, what costs a signature last.
        self.limit_enrolments(request.peer)?;
        check_stated(&request)?;
        let token = EnrolmentToken::parse(&request.token).map_err(|_| EnrolError::TokenUnknown)?;
        self.check_token(&token).await?;
        let key = AgentKey::from_request(&request.certificate_request)
            .map_err(|error| EnrolError::BadRequest(error.to_string()))?;
        let now_ms = self.clock.now_ms();
        let earlier = self
            .store
            .redeemed_by(&token.public_id, key.sha256(), now_ms)
            .await?;
        let mut agent = match earlier {
            Some(agent) => agent,
            None => AgentId(random_uuid().map_err(EnrolError::Issue)?),
        };
        loop {
            match self.redeem_as(agent, &token, &key, &request).await? {
                Attempt::Done(enrolled) => return Ok(enrolled),
                // The same key was redeemed in parallel. Its identity is settled now, so this ends.
                Attempt::Other(settled) => agent = settled,
            }
        }
    }

    /// Issues a certificate for the identity and redeems the token for it.
    async fn redeem_as(
        &self,
        agent: AgentId,
        token: &EnrolmentToken,
        key: &AgentKey,
        request: &Enrolment,
    ) -> Result<Attempt, EnrolError> {
        let issued = self
            .identity
            .issue_agent(agent, 1, key, self.settings.agent_certificate_ttl)
            .map_err(EnrolError::Issue)?;
        let redeem = Redeem {
            public_id: &token.public_id,
            identity: NewIdentity {
                agent,
                serial: issued.serial,
                key_sha256: key.sha256().to_vec(),
                not_after_ms: issued.not_after_ms,
                agent_version: request.agent_version.clone(),
                roots_sha256: self.identity.roots_sha256().to_vec(),
            },
            server: ServerFields::named(&request.hostname),
            now_ms: self.clock.now_ms(),
        };
        let entry = Entry::allowed(Actor::Nobody, ENROL, agent.to_string()).from_peer(request.peer);
        let begun = self.audit.begin(&entry).await;
        let redeemed = self.store.redeem(redeem).await;
        if let Ok(Redeemed::Done { server, .. }) = &redeemed {
            let entry = entry.with_detail(format!("server {server}"));
            self.audit.conclude(Some(begun), entry).await;
        } else {
            self.audit.end(begun).await;
        }
        let (server, generation, token_used_up, revoked) = match redeemed? {
            Redeemed::Done {
                server,
                generation,
                used_up,
                revoked,
            } => (server, generation, used_up, revoked),
            Redeemed::Other(settled) => return Ok(Attempt::Other(settled)),
            Redeemed::Unknown => return Err(EnrolError::TokenUnknown),
            Redeemed::Expired => return Err(EnrolError::TokenExpired),
            Redeemed::UsedUp => return Err(EnrolError::TokenUsedUp),
            Redeemed::KeyMismatch => return Err(EnrolError::KeyMismatch),
            Redeemed::NoServer(server) => return Err(EnrolError::NoServer(server)),
        };
        self.forget_names().await;
        self.cut_off(&revoked).await?;
        Ok(Attempt::Done(Enrolled {
            agent,
            server,
            certificate_chain: issued.chain,
            trust_bundle: self.identity.trust_bundle(),
            command_keys: self.identity.command_keys(),
            generation,
            token_used_up,
        }))
    }

    fn limit_enrolments(&self, peer: IpAddr) -> Result<(), EnrolError> {
        let now_ms = self.clock.now_ms();
        let too_many = |retry_after_ms| EnrolError::TooMany { retry_after_ms };
        // The address first: one that floods must not use up what is there for all.
        self.enrolment_limit.take(peer, now_ms).map_err(too_many)?;
        self.enrolment_limit_all.take((), now_ms).map_err(too_many)
    }

    /// Refuses whoever does not know the secret. Whether there is a use left is decided in the transaction.
    async fn check_token(&self, token: &EnrolmentToken) -> Result<(), EnrolError> {
        let row = self
            .store
            .token(&token.public_id)
            .await?
            .ok_or(EnrolError::TokenUnknown)?;
        let is_ours = token.pin == self.identity.root_pin();
        if !is_same_secret(&Sha256::digest(token.secret), &row.secret_sha256) || !is_ours {
            return Err(EnrolError::TokenUnknown);
        }
        if row.expires_ms <= self.clock.now_ms() {
            return Err(EnrolError::TokenExpired);
        }
        Ok(())
    }
}

enum Attempt {
    Done(Enrolled),
    Other(AgentId),
}

fn check_wanted(wanted: &NewToken, ttl: Duration) -> Result<(), EnrolError> {
    if wanted.uses == 0 || USES_MAX < wanted.uses {
        return Err(EnrolError::BadRequest(format!(
            "uses must be from 1 to {USES_MAX}"
        )));
    }
    if wanted.server.is_some() && wanted.uses != 1 {
        return Err(EnrolError::BadRequest(
            "a token bound to a server has one use".to_owned(),
        ));
    }
    if ttl.is_zero() || TTL_MAX < ttl {
        let hours = TTL_MAX.as_secs() / 3_600;
        return Err(EnrolError::BadRequest(format!(
            "a token lives for at most {hours} h, and not for no time"
        )));
    }
    Ok(())
}

fn check_stated(request: &Enrolment) -> Result<(), EnrolError> {
    if !(request.protocol_min..=request.protocol_max).contains(&PROTOCOL) {
        return Err(EnrolError::ProtocolUnsupported {
            min: request.protocol_min,
            max: request.protocol_max,
            ours: PROTOCOL,
        });
    }
    for (field, value) in [
        ("hostname", &request.hostname),
        ("agent_version", &request.agent_version),
    ] {
        if value.is_empty() || STATED_BYTES_MAX < value.len() || value.chars().any(char::is_control) {
            let message =
                format!("{field} must have 1 to {STATED_BYTES_MAX} bytes, none a control character");
            return Err(EnrolError::BadRequest(message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
