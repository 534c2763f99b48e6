//! Arrays of the md driver: members, redundancy, synchronisation.
//!
//! `/proc/mdstat` and `/sys/block/md*/md` say nearly everything to everybody; `mdadm --detail`, where it may run, adds
//! names and a second opinion. It is asked when an array changed, else once an hour.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use muster_parse::mdadm_detail::{self, Detail};
use muster_parse::mdstat;

use super::block::Shared;
use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::host::{Host, ProgramCall, ProgramError};

mod describe;
mod judge;
mod picture;
mod spares;
mod sysfs;

pub(crate) use describe::{describe, describe_recorded, describe_recorded_detail};
use picture::Picture;

/// When `mdadm --detail` is given up.
const DETAIL_DEADLINE: Duration = Duration::from_secs(10);
/// How long an answer of `mdadm --detail` serves while nothing changes.
const DETAIL_AGE_MAX: Duration = Duration::from_secs(3600);
/// Most arrays that mdadm is asked about in one run.
const DETAILS_MAX: usize = 64;

/// The mdadm collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "mdadm",
    summary: "md arrays: level, members, redundancy, synchronisation",
    interval: Duration::from_secs(60),
    interval_min: Duration::from_secs(5),
    timeout: Duration::from_secs(50),
    place: Place::Privileged,
    build: |context| {
        Box::new(Mdadm {
            shared: Arc::clone(&context.inventory),
            asked: BTreeMap::new(),
        })
    },
};

struct Mdadm {
    shared: Arc<Shared>,
    /// Answers of `mdadm --detail` by array, with what the array looked like then.
    asked: BTreeMap<String, Asked>,
}

struct Asked {
    looked: String,
    at: Instant,
    detail: Option<Detail>,
}

#[async_trait]
impl Collector for Mdadm {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let Some(text) = host.read_proc("mdstat").await? else {
            return Ok(Outcome::absent(
                "/proc/mdstat does not exist: the kernel has no md driver loaded",
            ));
        };
        let parsed = mdstat::parse(&text);
        if parsed.value.arrays.is_empty() && parsed.problems.is_empty() {
            return Ok(Outcome::absent("/proc/mdstat lists no array"));
        }
        let mut draft = Draft::new(DESCRIPTOR.name);
        draft.parser_problems("/proc/mdstat", parsed.problems);
        let inventory = self.shared.known(host, &mut draft).await.unwrap_or_default();
        let names: Vec<String> = parsed
            .value
            .arrays
            .iter()
            .map(|array| array.name.clone())
            .collect();
        let mut shown = host
            .blocking("md arrays", move |files| sysfs::read(files, &names))
            .await?;
        let expected = spares::expected(host, &mut draft).await;
        let mut pictures = picture::of_mdstat(&parsed.value);
        for picture in &mut pictures {
            if let Some(array) = shown.remove(&picture.name) {
                picture.add_sysfs(array);
            }
            picture.add_inventory(&inventory);
        }
        self.ask(host, &mut pictures, &mut draft).await;
        picture::add_neighbours(&mut pictures);
        for picture in &mut pictures {
            picture.spares_expected = picture.uuid.as_ref().and_then(|uuid| expected.get(uuid)).copied();
            describe(&mut draft, picture, &inventory);
        }
        Ok(Outcome::Facts(draft.finish()))
    }
}

impl Mdadm {
    /// Asks mdadm about the arrays that changed, and adds what it said, now or before.
    async fn ask(&mut self, host: &Host, pictures: &mut [Picture], draft: &mut Draft) {
        let is_there = |name: &String| pictures.iter().any(|picture| picture.name == *name);
        self.asked.retain(|name, _| is_there(name));
        for picture in pictures.iter_mut().take(DETAILS_MAX) {
            let looked = picture.look();
            let is_known = self
                .asked
                .get(&picture.name)
                .is_some_and(|asked| asked.looked == looked && asked.at.elapsed() < DETAIL_AGE_MAX);
            if !is_known {
                let detail = match detail(host, &picture.name, draft).await {
                    Answer::Said(detail) => Some(*detail),
                    Answer::Silent => None,
                    Answer::NotInstalled => return,
                };
                let at = host.instant();
                self.asked
                    .insert(picture.name.clone(), Asked { looked, at, detail });
            }
            if let Some(detail) = self
                .asked
                .get(&picture.name)
                .and_then(|asked| asked.detail.as_ref())
            {
                picture.add_detail(detail);
            }
        }
    }
}

enum Answer {
    Said(Box<Detail>),
    Silent,
    NotInstalled,
}

async fn detail(host: &Host, name: &str, draft: &mut Draft) -> Answer {
    let (record, path) = (format!("mdadm/{name}"), format!("/dev/{name}"));
    let call = ProgramCall {
        program: "mdadm",
        args: vec!["--detail", &path],
        record: &record,
        deadline: DETAIL_DEADLINE,
    };
    let output = match host.run(&call).await {
        Ok(output) => output,
        Err(ProgramError::NotInstalled { .. }) => return Answer::NotInstalled,
        Err(error) => {
            draft.error(&record, &error);
            return Answer::Silent;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout);
    if text.trim().is_empty() {
        let said = String::from_utf8_lossy(&output.stderr);
        // Without the right to ask, sysfs has to do.
        let is_denied =
            said.contains("super-user") || said.to_ascii_lowercase().contains("permission denied");
        if !is_denied {
            draft.problem(format!("{record}: no answer: {}", said.trim()));
        }
        return Answer::Silent;
    }
    let parsed = mdadm_detail::parse(&text);
    draft.parser_problems(&record, parsed.problems);
    let first = parsed.value.into_iter().next();
    first.map_or(Answer::Silent, |detail| Answer::Said(Box::new(detail)))
}

#[cfg(test)]
mod tests;
