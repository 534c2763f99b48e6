//! Replacing the root: in phases, of which each can be taken back until the last.
//!
//! | phase | agents are told to trust | agents' certificates come from | the controller's comes from |
//! |---|---|---|---|
//! | steady | the root | the root | the root |
//! | published | both roots | the root | the root |
//! | issuing | both | the next root | the root |
//! | switched | both | the next root | the next root, with a bridge |
//! | steady again | the next root | the next root | the next root, with the bridge for 90 days |
//!
//! The *bridge* is the next root's key certified by the root before: with it in the chain, an agent that has slept
//! through everything still verifies the controller, and its own certificate is still taken. So nobody is stranded who
//! could have been renewed at all; the key of the root before is gone all the same.
//!
//! A rotation that is taken back leaves certificates behind that the next root has issued; they stay good until they
//! must have expired. Must not know tables: what has to be stored comes out as [`Changes`], and counts only once
//! whoever stores them says so.

use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use super::authority::Authority;
use super::{
    DAY_MS, ISSUING_CERTIFICATE, ISSUING_KEY, IdentityError, ROOT_CERTIFICATE, ROOT_KEY, Seal, SealedSecrets,
    Secrets, sealed_secret,
};

const NEXT_ROOT_KEY: &str = "next_root_ca_key";
const NEXT_ROOT_CERTIFICATE: &str = "next_root_ca_certificate";
const NEXT_ISSUING_KEY: &str = "next_issuing_ca_key";
const NEXT_ISSUING_CERTIFICATE: &str = "next_issuing_ca_certificate";
const ROTATION: &str = "ca_rotation";
/// How long agents that slept through a rotation can still come back.
const BRIDGE_MS: i64 = 90 * DAY_MS;
/// The longest that a certificate which was issued can matter: 90 days, and 30 more in which it is forgiven.
const ISSUED_MS: i64 = 120 * DAY_MS;
/// Roots that are taken beside the two of a rotation. Rotations that are begun and taken back again and again fill it;
/// then the next has to wait.
const TAKEN_MAX: usize = 8;

/// How far a rotation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// There is one root.
    Steady,
    /// There is a next root, and agents are told to trust it.
    Published,
    /// Agents' certificates come from the next root.
    Issuing,
    /// The controller's certificate does too.
    Switched,
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Published => "published",
            Self::Issuing => "issuing",
            Self::Switched => "switched",
        }
    }
}

/// A step of a rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Makes the next root and has agents trust it.
    Prepare,
    /// Has the next root issue agents' certificates.
    Issue,
    /// Has the next root issue the controller's certificate.
    Switch,
    /// Goes one phase back.
    Rollback,
    /// Ends the rotation: the key of the root before is gone. Agents that slept through it come back for 90 days.
    Retire,
    /// The same, but the root before is worth nothing at once, as it must be if its key was stolen.
    RetireNow,
}

impl Step {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Issue => "issue",
            Self::Switch => "switch",
            Self::Rollback => "rollback",
            Self::Retire => "retire",
            Self::RetireNow => "retire --now",
        }
    }
}

/// Why a step was not taken.
#[derive(Debug, Error)]
pub enum StepError {
    /// It is not the step that this phase waits for.
    #[error("the rotation is in the phase {}, from which there is no {}", .phase.as_str(), .step.as_str())]
    OutOfOrder {
        /// Where the rotation is.
        phase: Phase,
        /// What was wanted.
        step: Step,
    },
    /// Too many rotations were begun and taken back lately.
    #[error(
        "{TAKEN_MAX} rotations were taken back within the last 120 days: wait until the first of them is forgotten"
    )]
    TooMany,
    /// A key or certificate could not be made.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What has to be stored, in one transaction, before it counts.
#[derive(Debug, Default)]
pub struct Changes {
    /// Secrets to be stored, each in the place of what had its name.
    pub put: SealedSecrets,
    /// Names of secrets to be forgotten.
    pub remove: Vec<&'static str>,
}

/// The authorities as they are at one time. Exchanged as a whole.
#[derive(Clone)]
pub(super) struct Authorities {
    pub(super) root: Arc<Authority>,
    pub(super) issuing: Arc<Authority>,
    pub(super) next: Option<Next>,
    pub(super) record: Record,
}

/// The next root.
#[derive(Clone)]
pub(super) struct Next {
    pub(super) root: Arc<Authority>,
    pub(super) issuing: Arc<Authority>,
}

/// Where a rotation is, and what is left of earlier ones. Kept sealed, so that nobody adds a root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) phase: Phase,
    pub(super) since_ms: i64,
    /// From the root before to the one that counts, or to the next one while that is in use.
    bridge: Option<Bridge>,
    /// Roots whose certificates are taken although nobody is told to trust them.
    taken: Vec<Taken>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Bridge {
    /// The new root's key, certified by the old root.
    #[serde(with = "der")]
    certificate: Vec<u8>,
    /// The old root, for those that know nothing but the hash of its key.
    #[serde(with = "der")]
    root: Vec<u8>,
    begins_ms: i64,
    until_ms: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Taken {
    #[serde(with = "der")]
    root: Vec<u8>,
    until_ms: i64,
}

impl Record {
    const fn steady() -> Self {
        Self {
            phase: Phase::Steady,
            since_ms: 0,
            bridge: None,
            taken: Vec::new(),
        }
    }
}

impl Authorities {
    pub(super) const fn of(root: Arc<Authority>, issuing: Arc<Authority>) -> Self {
        Self {
            root,
            issuing,
            next: None,
            record: Record::steady(),
        }
    }

    /// From the stored secrets.
    pub(super) fn open(secrets: &mut Secrets) -> Result<Self, IdentityError> {
        let root = Authority::load(secrets.take(ROOT_KEY)?, secrets.take(ROOT_CERTIFICATE)?)?;
        let issuing = Authority::load(secrets.take(ISSUING_KEY)?, secrets.take(ISSUING_CERTIFICATE)?)?;
        let mut authorities = Self::of(Arc::new(root), Arc::new(issuing));
        let Some(record) = secrets.opened.remove(ROTATION) else {
            return Ok(authorities);
        };
        authorities.record =
            serde_json::from_slice(&record).map_err(|_| IdentityError::Unreadable { name: ROTATION })?;
        if authorities.record.phase != Phase::Steady {
            let root = Authority::load(secrets.take(NEXT_ROOT_KEY)?, secrets.take(NEXT_ROOT_CERTIFICATE)?)?;
            let issuing = Authority::load(
                secrets.take(NEXT_ISSUING_KEY)?,
                secrets.take(NEXT_ISSUING_CERTIFICATE)?,
            )?;
            authorities.next = Some(Next {
                root: Arc::new(root),
                issuing: Arc::new(issuing),
            });
        }
        Ok(authorities)
    }

    /// Signatures of the root, and of the next one if there is one.
    pub(super) fn signed_by_roots(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, IdentityError> {
        let next = self.next.iter().map(|next| &next.root);
        let roots = std::iter::once(&self.root).chain(next);
        roots.map(|root| root.sign(bytes)).collect()
    }

    /// Who issues agents' certificates.
    pub(super) fn for_agents(&self) -> &Arc<Authority> {
        match (&self.next, self.record.phase) {
            (Some(next), Phase::Issuing | Phase::Switched) => &next.issuing,
            _ => &self.issuing,
        }
    }

    /// Who issues the controller's own certificate.
    pub(super) fn for_controller(&self) -> &Arc<Authority> {
        match (&self.next, self.record.phase) {
            (Some(next), Phase::Switched) => &next.issuing,
            _ => &self.issuing,
        }
    }

    /// What follows the controller's certificate and its issuer in the chain. A root comes along because an agent that
    /// enrols knows only the hash of its key; where there is a bridge, it makes the way to that root.
    pub(super) fn tail(&self) -> Vec<Vec<u8>> {
        match &self.record.bridge {
            Some(bridge) => vec![bridge.certificate.clone(), bridge.root.clone()],
            None => vec![self.root.certificate().to_vec()],
        }
    }

    /// Roots that agents are told to trust.
    pub(super) fn bundle(&self) -> Vec<Vec<u8>> {
        let roots = [Some(&self.root), self.next.as_ref().map(|next| &next.root)];
        let roots = roots.into_iter().flatten();
        roots.map(|root| root.certificate().to_vec()).collect()
    }

    /// Roots whose agents' certificates are taken.
    pub(super) fn taken(&self) -> Vec<Vec<u8>> {
        let mut roots = self.bundle();
        roots.extend(self.record.taken.iter().map(|taken| taken.root.clone()));
        roots
    }

    /// Until when agents that know only the root before can come back, Unix ms.
    pub(super) fn bridged_until_ms(&self) -> Option<i64> {
        self.record.bridge.as_ref().map(|bridge| bridge.until_ms)
    }

    /// The authorities after a step, and what has to be stored for it.
    pub(super) fn after(
        &self,
        step: Step,
        installation: Uuid,
        now_ms: i64,
        seal: &Seal,
    ) -> Result<(Self, Changes), StepError> {
        let mut after = self.clone();
        let mut changes = Changes::default();
        after.record.since_ms = now_ms;
        let phase = self.record.phase;
        match (phase, step, &self.next) {
            (Phase::Steady, Step::Prepare, None) => {
                if TAKEN_MAX <= self.record.taken.len() {
                    return Err(StepError::TooMany);
                }
                let next = Next::make(installation, now_ms)?;
                next.put(seal, &mut changes)?;
                after.next = Some(next);
                after.record.phase = Phase::Published;
            }
            (Phase::Published, Step::Issue, Some(_)) => after.record.phase = Phase::Issuing,
            (Phase::Issuing, Step::Switch, Some(next)) => {
                after.record.bridge = Some(self.bridge_to(&next.root, now_ms)?);
                after.record.phase = Phase::Switched;
            }
            (Phase::Switched, Step::Rollback, Some(_)) => {
                after.record.bridge = None;
                after.record.phase = Phase::Issuing;
            }
            (Phase::Issuing, Step::Rollback, Some(_)) => after.record.phase = Phase::Published,
            (Phase::Published, Step::Rollback, Some(next)) => {
                after.record.take(&next.root, now_ms + ISSUED_MS);
                after.forget_next(&mut changes);
            }
            (Phase::Switched, Step::Retire | Step::RetireNow, Some(next)) => {
                if step == Step::Retire {
                    // A fresh one, so that it holds from now on; it is the last thing that the old key signs.
                    after.record.bridge = Some(self.bridge_to(&next.root, now_ms)?);
                    after.record.take(&self.root, now_ms + ISSUED_MS);
                } else {
                    after.record.bridge = None;
                    after.record.taken.clear();
                }
                after.root = Arc::clone(&next.root);
                after.issuing = Arc::clone(&next.issuing);
                put(seal, &mut changes, ROOT_KEY, ROOT_CERTIFICATE, &after.root)?;
                put(
                    seal,
                    &mut changes,
                    ISSUING_KEY,
                    ISSUING_CERTIFICATE,
                    &after.issuing,
                )?;
                after.forget_next(&mut changes);
            }
            _ => return Err(StepError::OutOfOrder { phase, step }),
        }
        changes.put.push(after.record.sealed(seal)?);
        Ok((after, changes))
    }

    /// The authorities with what is half over made anew and what is over forgotten; `None` if there is no such.
    pub(super) fn refreshed(
        &self,
        now_ms: i64,
        seal: &Seal,
    ) -> Result<Option<(Self, SealedSecrets)>, IdentityError> {
        let mut after = self.clone();
        let mut changes = Changes::default();
        if self.issuing.is_half_over(now_ms) {
            after.issuing = Arc::new(Authority::issuing(&self.root, now_ms)?);
            put(
                seal,
                &mut changes,
                ISSUING_KEY,
                ISSUING_CERTIFICATE,
                &after.issuing,
            )?;
            tracing::info!("issuing authority renewed");
        }
        if let Some(next) = &mut after.next
            && next.issuing.is_half_over(now_ms)
        {
            next.issuing = Arc::new(Authority::issuing(&next.root, now_ms)?);
            put(
                seal,
                &mut changes,
                NEXT_ISSUING_KEY,
                NEXT_ISSUING_CERTIFICATE,
                &next.issuing,
            )?;
            tracing::info!("issuing authority of the next root renewed");
        }
        let is_kept = |until_ms: i64| now_ms < until_ms;
        let before = after.record.taken.len();
        after.record.taken.retain(|taken| is_kept(taken.until_ms));
        let mut has_changed = after.record.taken.len() != before;
        if let (Some(bridge), Some(next)) = (&self.record.bridge, &self.next)
            && bridge.begins_ms + (bridge.until_ms - bridge.begins_ms) / 2 <= now_ms
        {
            // As long as the key is there, those who come late find a bridge that holds.
            after.record.bridge = Some(self.bridge_to(&next.root, now_ms)?);
            has_changed = true;
        } else if self
            .record
            .bridge
            .as_ref()
            .is_some_and(|bridge| !is_kept(bridge.until_ms))
        {
            after.record.bridge = None;
            has_changed = true;
            tracing::info!("the bridge from the root before has ended");
        }
        if has_changed {
            changes.put.push(after.record.sealed(seal)?);
        }
        Ok((!changes.put.is_empty()).then_some((after, changes.put)))
    }

    fn bridge_to(&self, next: &Authority, now_ms: i64) -> Result<Bridge, IdentityError> {
        Ok(Bridge {
            certificate: self.root.certify(next, now_ms, BRIDGE_MS)?.to_vec(),
            root: self.root.certificate().to_vec(),
            begins_ms: now_ms,
            until_ms: now_ms + BRIDGE_MS,
        })
    }

    fn forget_next(&mut self, changes: &mut Changes) {
        self.next = None;
        self.record.phase = Phase::Steady;
        changes.remove = vec![
            NEXT_ROOT_KEY,
            NEXT_ROOT_CERTIFICATE,
            NEXT_ISSUING_KEY,
            NEXT_ISSUING_CERTIFICATE,
        ];
    }
}

impl Next {
    fn make(installation: Uuid, now_ms: i64) -> Result<Self, IdentityError> {
        let root = Authority::root(installation, now_ms)?;
        let issuing = Authority::issuing(&root, now_ms)?;
        Ok(Self {
            root: Arc::new(root),
            issuing: Arc::new(issuing),
        })
    }

    fn put(&self, seal: &Seal, changes: &mut Changes) -> Result<(), IdentityError> {
        put(seal, changes, NEXT_ROOT_KEY, NEXT_ROOT_CERTIFICATE, &self.root)?;
        put(
            seal,
            changes,
            NEXT_ISSUING_KEY,
            NEXT_ISSUING_CERTIFICATE,
            &self.issuing,
        )
    }
}

impl Record {
    fn take(&mut self, root: &Authority, until_ms: i64) {
        self.taken.push(Taken {
            root: root.certificate().to_vec(),
            until_ms,
        });
    }

    fn sealed(&self, seal: &Seal) -> Result<(String, Vec<u8>), IdentityError> {
        let plain = serde_json::to_vec(self).expect("a record is plain data");
        sealed_secret(seal, ROTATION, &plain)
    }
}

fn put(
    seal: &Seal,
    changes: &mut Changes,
    key: &'static str,
    certificate: &'static str,
    authority: &Authority,
) -> Result<(), IdentityError> {
    changes.put.push(sealed_secret(seal, key, authority.key_der())?);
    changes
        .put
        .push(sealed_secret(seal, certificate, authority.certificate())?);
    Ok(())
}

/// Certificates as base64 in JSON.
mod der {
    use base64::Engine as _;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    use super::BASE64;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64.decode(text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
