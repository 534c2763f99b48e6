//! Whether a container could be updated, and to what: pure, over what checks have written down.
//!
//! The age of a digest counts from when it was first seen here, never from what its builder says. A tag that is rebuilt
//! more often than the minimum age allows is not starved: the newest of its digests that is old enough is offered,
//! although the tag has moved on. Nothing is ever offered that a tag named before what runs.

use std::collections::HashSet;
use std::time::Duration;

use muster_image::{Digest, Platform, Reference, Requirement, Step, Track, matches_wildcard};

use super::{Details, ImageCheck};
use crate::store::{CheckRow, DigestRow};

/// What a check found counts for so long.
const FRESH_MS_MAX: i64 = 48 * 3_600_000;

/// A container, and what may be done with it.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The image as it is configured.
    pub reference: &'a Reference,
    /// The platform of its server.
    pub platform: &'a Platform,
    /// The `repo@digest` its image has, as the engine lists them.
    pub repo_digests: &'a [String],
    /// The id of its image.
    pub image_id: Option<&'a str>,
    /// When the container was made, Unix ms.
    pub created_ms: Option<i64>,
    /// Which tags are followed.
    pub track: &'a Track,
    /// How long a digest must have been known.
    pub min_age: Duration,
    /// Only tags that match one of these; any if there are none.
    pub allowed: &'a [Requirement],
    /// No tag that matches one of these, with `*` for anything.
    pub excluded: &'a [String],
    /// Digests that are known to be bad: of tags or of platforms.
    pub bad: &'a [Digest],
    /// Unix ms.
    pub now_ms: i64,
}

/// What a container could be updated to. Times are Unix ms.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// What is to be pulled: repository, tag and digest.
    pub reference: Reference,
    /// The tag; the one in use unless the track follows others.
    pub tag: String,
    /// The digest that the tag named.
    pub digest: Digest,
    /// What of it is for the platform.
    pub platform_digest: Option<Digest>,
    /// How far the step goes.
    pub step: Step,
    /// Whether the tag still names it.
    pub is_tagged: bool,
    /// When it was first seen.
    pub first_seen_ms: i64,
    /// What its builder says of it.
    pub details: Details,
    /// What the builder of what runs says of that, as far as it is known.
    pub running: Details,
    /// Where people read what has changed.
    pub release_notes: Option<String>,
}

/// What could be done with a container.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// It runs what the track names.
    Current,
    /// There is something newer.
    Update(Box<Offer>),
    /// There is something newer that has not been known for long enough.
    Waiting {
        /// What it is.
        offer: Box<Offer>,
        /// When it will have been.
        until_ms: i64,
    },
    /// Its configuration names a digest, so nothing else is meant.
    Pinned,
    /// It was built or loaded there, so no registry knows it.
    Local,
    /// It cannot be told, and why. This is never up to date.
    Unknown(String),
}

/// What checks have written down.
pub(super) struct Known<'a> {
    pub(super) check: Option<&'a CheckRow>,
    /// Of the repository and platform, the newest first.
    pub(super) digests: &'a [DigestRow],
    pub(super) tags: Option<&'a [String]>,
}

/// Decides.
pub(super) fn decide(wanted: &Wanted<'_>, known: &Known<'_>) -> Decision {
    let Some(tag) = wanted
        .reference
        .effective_tag()
        .filter(|_| wanted.reference.digest().is_none())
    else {
        return Decision::Pinned;
    };
    let running = Running::of(wanted, known.digests);
    if running.is_local(known.digests) {
        return Decision::Local;
    }
    let check = match checked(wanted, known.check) {
        Ok(check) => check,
        Err(why) => return Decision::Unknown(why),
    };
    let tags = match (wanted.track.needs_tags(), known.tags) {
        (false, _) => &[][..],
        (true, Some(tags)) => tags,
        (true, None) => {
            return Decision::Unknown(format!(
                "the tags of {} have not been listed yet",
                wanted.reference.name()
            ));
        }
    };
    let candidates = match wanted.track.candidates(tag, tags.iter().map(String::as_str)) {
        Ok(candidates) => candidates,
        Err(error) => return Decision::Unknown(error.to_string()),
    };
    let mut later = None;
    let mut unknown = None;
    for candidate in candidates {
        let is_own = candidate.tag == tag;
        if !is_own && !is_wanted(wanted, &candidate.tag) {
            continue;
        }
        if is_own && is_too_new(wanted, known.digests, &running, check) {
            let why = "it was not checked since the container was made".to_owned();
            unknown = unknown.or(Some(why));
            continue;
        }
        match judge_tag(wanted, known.digests, &running, &candidate.tag, candidate.step) {
            Judged::Offer(offer) => return Decision::Update(offer),
            Judged::Later(offer, until_ms) => later = later.or(Some((offer, until_ms))),
            Judged::Unknown(why) => unknown = unknown.or(Some(why)),
            Judged::Nothing => {}
        }
    }
    // What the last good check knows to be newer stays true; that there is nothing is not.
    match (later, unknown, &check.error) {
        (Some((offer, until_ms)), _, _) => Decision::Waiting { offer, until_ms },
        (None, Some(why), _) => Decision::Unknown(why),
        (None, None, Some(error)) => Decision::Unknown(format!("the last check failed: {error}")),
        (None, None, None) => Decision::Current,
    }
}

/// The check that counts, or why none does.
fn checked<'a>(wanted: &Wanted<'_>, check: Option<&'a CheckRow>) -> Result<&'a CheckRow, String> {
    let check = check.ok_or_else(|| format!("{} has not been checked yet", wanted.reference))?;
    let why = |fallback: &str| check.error.clone().unwrap_or_else(|| fallback.to_owned());
    let checked_ms = check
        .checked_ms
        .filter(|_| check.digest.is_some())
        .ok_or_else(|| why("no check has succeeded yet"))?;
    if checked_ms < wanted.now_ms.saturating_sub(FRESH_MS_MAX) {
        return Err(why("it was not checked for two days"));
    }
    Ok(check)
}

/// Whether a container was made after the last check, of something that no check has seen: it may be newer than all that
/// is known.
fn is_too_new(wanted: &Wanted<'_>, rows: &[DigestRow], running: &Running<'_>, check: &CheckRow) -> bool {
    let made_later = wanted
        .created_ms
        .is_some_and(|created_ms| check.checked_ms.is_none_or(|checked_ms| checked_ms < created_ms));
    made_later && !rows.iter().any(|row| !row.tag.is_empty() && running.is(row))
}

fn is_wanted(wanted: &Wanted<'_>, tag: &str) -> bool {
    let is_allowed = wanted.allowed.is_empty() || wanted.allowed.iter().any(|one| one.matches(tag));
    is_allowed && !wanted.excluded.iter().any(|one| matches_wildcard(one, tag))
}

/// What a container runs.
struct Running<'a> {
    /// Digests of its own repository, of the tag's document or of what of it is for the platform.
    digests: HashSet<String>,
    image_id: Option<&'a str>,
    /// The same contents under other digests.
    platform_digests: HashSet<&'a str>,
}

impl<'a> Running<'a> {
    fn of(wanted: &'a Wanted<'_>, rows: &'a [DigestRow]) -> Self {
        let digests: HashSet<String> = wanted
            .repo_digests
            .iter()
            .filter_map(|listed| wanted.reference.digest_of_own(listed))
            .map(String::from)
            .collect();
        let mut running = Self {
            digests,
            image_id: wanted.image_id,
            platform_digests: HashSet::new(),
        };
        // An index is another one when only other platforms changed; what is for this one is then the same.
        let same = rows.iter().filter(|row| running.is(row));
        running.platform_digests = same.filter_map(|row| row.platform_digest.as_deref()).collect();
        running
    }

    /// Whether this is what runs. The id of an image is its configuration's digest, or, where images are kept by
    /// containerd, its document's.
    fn is(&self, row: &DigestRow) -> bool {
        let names = [Some(&row.digest), row.platform_digest.as_ref()];
        let is_listed = names
            .into_iter()
            .flatten()
            .any(|digest| self.digests.contains(digest.as_str()) || self.image_id == Some(digest.as_str()));
        let is_config = row
            .config_digest
            .as_deref()
            .is_some_and(|digest| self.image_id == Some(digest));
        let is_same = row
            .platform_digest
            .as_deref()
            .is_some_and(|digest| self.platform_digests.contains(digest));
        is_listed || is_config || is_same
    }

    /// Whether no registry has ever named it.
    fn is_local(&self, rows: &[DigestRow]) -> bool {
        self.digests.is_empty() && !rows.iter().any(|row| self.is(row))
    }
}

enum Judged {
    Offer(Box<Offer>),
    Later(Box<Offer>, i64),
    Unknown(String),
    Nothing,
}

/// Whether something that a tag named, or names, may be taken.
fn judge_tag(
    wanted: &Wanted<'_>,
    rows: &[DigestRow],
    running: &Running<'_>,
    tag: &str,
    step: Step,
) -> Judged {
    let is_own = step == Step::Digest;
    let of_tag: Vec<&DigestRow> = rows.iter().filter(|row| row.tag == tag).collect();
    let Some(newest) = of_tag.first() else {
        return Judged::Unknown(format!("what {tag} names is not known yet"));
    };
    let is_known = of_tag.iter().any(|row| running.is(row));
    let mut later = None;
    for row in &of_tag {
        if running.is(row) {
            break;
        }
        if is_own && !is_known && !is_newer(wanted, row, newest) {
            continue;
        }
        if let Some(judged) = judge_row(wanted, rows, row, row.digest == newest.digest, step) {
            match judged {
                Judged::Later(offer, until_ms) => later = later.or(Some((offer, until_ms))),
                decided => return decided,
            }
        }
    }
    later.map_or(Judged::Nothing, |(offer, until_ms)| {
        Judged::Later(offer, until_ms)
    })
}

/// Whether a digest is newer than what runs, where what runs was never seen under the tag: the tag names it now and did
/// when the container was already there, or it came after the container.
fn is_newer(wanted: &Wanted<'_>, row: &DigestRow, newest: &DigestRow) -> bool {
    let came_later = wanted
        .created_ms
        .is_some_and(|created_ms| created_ms < row.since_ms);
    came_later || row.digest == newest.digest
}

/// `None` if this one is passed over.
fn judge_row(
    wanted: &Wanted<'_>,
    rows: &[DigestRow],
    row: &DigestRow,
    is_tagged: bool,
    step: Step,
) -> Option<Judged> {
    let is_bad = |digest: &Option<String>| {
        digest
            .as_deref()
            .is_some_and(|digest| wanted.bad.iter().any(|bad| bad.as_str() == digest))
    };
    if is_bad(&Some(row.digest.clone())) || is_bad(&row.platform_digest) {
        return None;
    }
    if row.is_missing {
        let why = format!("{} has nothing for {}", row.tag, row.platform);
        return is_tagged.then_some(Judged::Unknown(why));
    }
    if row.platform_digest.is_none() {
        // It may be the same for this platform as what runs.
        let why = format!("what {} names has not been compared yet", row.tag);
        return is_tagged.then_some(Judged::Unknown(why));
    }
    let first_seen_ms = first_seen(rows, row);
    let offer = offer(wanted, rows, row, is_tagged, step, first_seen_ms)?;
    let min_age_ms = i64::try_from(wanted.min_age.as_millis()).unwrap_or(i64::MAX);
    let until_ms = first_seen_ms.saturating_add(min_age_ms);
    Some(if until_ms <= wanted.now_ms {
        Judged::Offer(Box::new(offer))
    } else {
        Judged::Later(Box::new(offer), until_ms)
    })
}

/// When the same content was first seen under any tag.
fn first_seen(rows: &[DigestRow], of: &DigestRow) -> i64 {
    let same = rows.iter().filter(|row| {
        // What is known because it runs somewhere was not seen in the registry.
        let is_same = row.digest == of.digest
            || (row.platform_digest.is_some() && row.platform_digest == of.platform_digest);
        is_same && !row.tag.is_empty()
    });
    same.map(|row| row.first_seen_ms)
        .min()
        .unwrap_or(of.first_seen_ms)
}

fn offer(
    wanted: &Wanted<'_>,
    rows: &[DigestRow],
    row: &DigestRow,
    is_tagged: bool,
    step: Step,
    first_seen_ms: i64,
) -> Option<Offer> {
    let digest: Digest = row.digest.parse().ok()?;
    let details = details(row);
    let running = Running::of(wanted, rows);
    let running = rows.iter().find(|row| running.is(row)).map(self::details);
    let reference = wanted.reference.with_tag(&row.tag).ok()?;
    Some(Offer {
        reference: reference.with_digest(digest.clone()),
        tag: row.tag.clone(),
        digest,
        platform_digest: row.platform_digest.as_deref().and_then(|text| text.parse().ok()),
        step,
        is_tagged,
        first_seen_ms,
        release_notes: details.release_notes(wanted.reference),
        details,
        running: running.unwrap_or_default(),
    })
}

fn details(row: &DigestRow) -> Details {
    let details = row.details.clone().map(serde_json::from_value);
    details.and_then(Result::ok).unwrap_or_default()
}

/// A check as others see it.
pub(super) fn image_check(
    reference: Reference,
    platform: Platform,
    check: &CheckRow,
    digests: &[DigestRow],
) -> ImageCheck {
    let tag = reference.effective_tag().unwrap_or_default();
    let row = digests
        .iter()
        .find(|row| row.tag == tag && Some(&row.digest) == check.digest.as_ref());
    let parse = |text: &Option<String>| text.as_deref().and_then(|text| text.parse().ok());
    ImageCheck {
        platform,
        digest: parse(&check.digest),
        platform_digest: row.and_then(|row| parse(&row.platform_digest)),
        checked_ms: check.checked_ms,
        tried_ms: check.tried_ms,
        error: check.error.clone(),
        failures: check.failures.unsigned_abs(),
        first_seen_ms: row.map(|row| first_seen(digests, row)),
        details: row.map(details).unwrap_or_default(),
        reference,
    }
}
