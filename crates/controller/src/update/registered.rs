//! What the registries' checks have found, as updates are decided by it.

use std::time::Duration;

use async_trait::async_trait;
use muster_image::{Digest, Limit as Reach, Platform, Reference, Requirement, Track};
use muster_update::{Candidate, Limit, Offer};

use super::seam::{Asked, Candidates};
use crate::registry::{Decision, Progress, Registries, Wanted};
use crate::store::StoreError;

#[async_trait]
impl Candidates for Registries {
    async fn candidate(&self, asked: &Asked) -> Candidate {
        let question = match Question::of(asked) {
            Ok(question) => question,
            Err(why) => return Candidate::Unknown(why),
        };
        match self.decide(asked, &question).await {
            Ok(decision) => answer(decision),
            Err(error) => Candidate::Unknown(format!("what was found can't be read: {error}")),
        }
    }

    async fn check(&self, asked: &[Asked], progress: &Progress) -> Result<(), String> {
        // Of a name that is none nobody can be asked, which is no reason not to ask about the others.
        let references = asked.iter().filter_map(|asked| reference(&asked.image).ok());
        let wanted = references
            .filter_map(|reference| crate::registry::key(&reference))
            .collect();
        self.check_these(&wanted, progress)
            .await
            .map_err(|error| format!("what was found can't be kept: {error}"))?;
        Ok(())
    }
}

/// What is asked, as types.
struct Question {
    reference: Reference,
    platform: Platform,
    track: Track,
    allowed: Vec<Requirement>,
}

impl Question {
    fn of(asked: &Asked) -> Result<Self, String> {
        let Some(platform) = &asked.platform else {
            return Err("the platform that its image is for is not known".to_owned());
        };
        let platform = platform
            .parse()
            .map_err(|_| format!("{platform:?} is no platform"))?;
        let allowed: Result<Vec<Requirement>, _> =
            asked.allowed_versions.iter().map(|text| text.parse()).collect();
        Ok(Self {
            reference: reference(&asked.image)?,
            platform,
            track: track(asked.limit),
            allowed: allowed.map_err(|error| format!("the versions that are allowed: {error}"))?,
        })
    }

    fn wanted<'a>(&'a self, asked: &'a Asked, bad: &'a [Digest], now_ms: i64) -> Wanted<'a> {
        Wanted {
            reference: &self.reference,
            platform: &self.platform,
            repo_digests: &asked.repo_digests,
            image_id: (!asked.image_id.is_empty()).then_some(asked.image_id.as_str()),
            created_ms: asked.created_ms,
            track: &self.track,
            min_age: Duration::from_millis(u64::try_from(asked.min_age_ms).unwrap_or(0)),
            allowed: &self.allowed,
            excluded: &asked.excluded_versions,
            bad,
            now_ms,
        }
    }
}

impl Registries {
    /// What did harm somewhere is passed over for anything else that is newer. Where there is nothing else it is offered
    /// all the same, and whoever decides says why it is not taken: that there is nothing new would not be true.
    async fn decide(&self, asked: &Asked, question: &Question) -> Result<Decision, StoreError> {
        let now_ms = self.now_ms();
        let bad: Vec<Digest> = asked.bad.iter().filter_map(|bad| bad.parse().ok()).collect();
        let decision = Self::candidate(self, &question.wanted(asked, &bad, now_ms)).await?;
        if bad.is_empty() || matches!(decision, Decision::Update(_) | Decision::Waiting { .. }) {
            return Ok(decision);
        }
        let with_bad = Self::candidate(self, &question.wanted(asked, &[], now_ms)).await?;
        Ok(match &with_bad {
            Decision::Update(offer) | Decision::Waiting { offer, .. } if is_bad(offer, &bad) => with_bad,
            _ => decision,
        })
    }
}

fn is_bad(offer: &crate::registry::Offer, bad: &[Digest]) -> bool {
    bad.contains(&offer.digest)
        || offer
            .platform_digest
            .as_ref()
            .is_some_and(|own| bad.contains(own))
}

fn reference(image: &str) -> Result<Reference, String> {
    image
        .parse()
        .map_err(|error| format!("{image:?} is no name of an image: {error}"))
}

fn track(limit: Option<Limit>) -> Track {
    match limit {
        None | Some(Limit::Digest) => Track::Digest,
        Some(Limit::Patch) => Track::Semver(Reach::Patch),
        Some(Limit::Minor) => Track::Semver(Reach::Minor),
        Some(Limit::Major) => Track::Semver(Reach::Major),
    }
}

fn answer(decision: Decision) -> Candidate {
    match decision {
        Decision::Current => Candidate::Current,
        // One that is too young is offered too: whoever decides says until when it waits.
        Decision::Update(offer) | Decision::Waiting { offer, .. } => Candidate::Available(Offer {
            image: image_of(&offer),
            digest: offer.digest.to_string(),
            platform_digest: offer.platform_digest.as_ref().map(ToString::to_string),
            first_seen_ms: Some(offer.first_seen_ms),
            release_notes: offer.release_notes,
        }),
        Decision::Pinned => {
            Candidate::Unknown("its configuration names a digest, so no other image is meant".to_owned())
        }
        Decision::Local => Candidate::Unknown(
            "its image was built or loaded on the server, so no registry knows it".to_owned(),
        ),
        Decision::Unknown(why) => Candidate::Unknown(why),
    }
}

/// What a container is configured with to run it: repository and tag.
fn image_of(offer: &crate::registry::Offer) -> String {
    let tagged = offer.reference.with_tag(&offer.tag);
    tagged.map_or_else(|_| offer.reference.to_string(), |reference| reference.to_string())
}
