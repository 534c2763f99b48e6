//! SMART: what drives say of themselves, through smartctl.
//!
//! Every call carries the standby guard, so that asking never wakes a sleeping disk; one that sleeps keeps the values
//! read before. A few drives are asked at once, each with its own deadline, so that one that hangs delays no other.
//! What was last read is remembered by the drive's key and not by its name, because names swap.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::StreamExt as _;
use muster_catalogue::SMARTCTL_DEVICES;
use muster_model::ResourceKey;
use muster_proto::packing;
use smartmontools_parse::{ExitStatus, Report};

use super::block::Shared;
use super::draft::Draft;
use super::{CollectError, Collector, Descriptor, Outcome, Place};
use crate::config::collect::Smart as Settings;
use crate::host::Host;

mod ask;
mod emmc;
mod facet;
mod series;
mod target;

pub(crate) use facet::describe_recorded;

use ask::Answer;
use facet::key_of_report;
use target::Target;

/// The SMART collector.
pub const DESCRIPTOR: Descriptor = Descriptor {
    name: "smart",
    summary: "SMART health of drives, through smartctl; never wakes a sleeping disk",
    interval: Duration::from_secs(30 * 60),
    interval_min: Duration::from_secs(60),
    timeout: Duration::from_secs(15 * 60),
    place: Place::Privileged,
    build: |context| {
        Box::new(Smart {
            settings: context.settings.smart.clone(),
            shared: Arc::clone(&context.inventory),
            remembered: HashMap::new(),
        })
    },
};

/// What to do when there is no smartctl.
const NOT_INSTALLED: &str = "smartctl is not installed: apt install smartmontools";

/// What is kept of a drive is packed in the time it takes to read it.
const ZSTD_LEVEL: i32 = 1;

struct Smart {
    settings: Settings,
    shared: Arc<Shared>,
    /// The last reading of each drive, by [`Target::id`]; holds only drives that are still there.
    remembered: HashMap<String, Kept>,
}

/// What was read of a drive while it was awake.
#[derive(Debug, Clone)]
struct Reading {
    report: Report,
    /// The document without white space; `None` if it was none, or too long to be kept.
    raw: Option<String>,
    read_ms: i64,
    key: ResourceKey,
}

/// A reading that is kept until the next: what smartctl wrote, packed, a tenth of what is made of it.
#[derive(Debug, Clone)]
struct Kept {
    document: Box<[u8]>,
    bytes: usize,
    /// What it counts as; the document may say something else.
    exit_status: Option<ExitStatus>,
    read_ms: i64,
    /// The same by a clock that never jumps.
    read_at: Instant,
    key: ResourceKey,
}

impl Kept {
    /// `None` if it cannot be packed, which takes memory.
    fn new(document: &str, reading: &Reading, read_at: Instant) -> Option<Self> {
        Some(Self {
            document: packing::compress(document.as_bytes(), ZSTD_LEVEL).ok()?.into(),
            bytes: document.len(),
            exit_status: reading.report.smartctl.exit_status,
            read_ms: reading.read_ms,
            read_at,
            key: reading.key.clone(),
        })
    }

    /// # Panics
    /// Where there is no memory for it.
    fn reading(&self) -> Reading {
        let document =
            packing::decompress(&self.document, self.bytes).expect("memory for what was packed here");
        let document = String::from_utf8(document).expect("it was text when it was packed");
        let mut report = smartmontools_parse::parse(&document).report;
        report.smartctl.exit_status = self.exit_status;
        Reading {
            report,
            raw: facet::compact(&document),
            read_ms: self.read_ms,
            key: self.key.clone(),
        }
    }
}

#[async_trait]
impl Collector for Smart {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let mut draft = Draft::new(DESCRIPTOR.name);
        let inventory = self.shared.known(host, &mut draft).await.unwrap_or_default();
        let scan = ask::scan(host, &mut draft).await?;
        let targets = target::list(&scan.devices, &inventory, &self.settings.devices);
        let deadline = self.settings.deadline;
        let now = host.instant();
        let cards = emmc::read_all(host, &inventory).await;
        let (has_cards, count) = (!cards.is_empty(), targets.len());
        emmc::describe_all(&mut draft, cards);
        draft.sample(&SMARTCTL_DEVICES, &[], count as f64);
        let ids: BTreeSet<String> = targets.iter().map(Target::id).collect();
        self.remembered.retain(|id, _| ids.contains(id));
        let targets: Vec<(bool, Target)> = targets
            .into_iter()
            .map(|target| (self.is_due(&target, now), target))
            .collect();
        let answers = futures::stream::iter(targets).map(async |(is_due, target)| {
            let answer = if is_due {
                ask::drive(host, &target, deadline).await
            } else {
                Answer::NotDue
            };
            (target, answer)
        });
        let mut answers = pin!(answers.buffered(self.settings.concurrency));
        let (mut have_none_run, mut version, mut described) = (true, scan.smartctl, BTreeSet::new());
        // Each as it comes: the documents of all drives at once would be what the process takes most memory for.
        while let Some((target, answer)) = answers.next().await {
            have_none_run &= matches!(answer, Answer::NotInstalled);
            if let (None, Answer::Read { report, .. }) = (&version, &answer) {
                version = Some((report.smartctl.clone(), report.json_format_version));
            }
            let at = (host.now_ms(), now);
            self.describe(&mut draft, (target, answer), &inventory, &mut described, at);
        }
        if !scan.is_installed && have_none_run && !has_cards {
            return Ok(Outcome::absent(NOT_INSTALLED));
        }
        if let Some(version) = version {
            series::version(&mut draft, &version);
        }
        // Not used again until the next run.
        packing::let_go();
        Ok(Outcome::Facts(draft.finish()))
    }
}

impl Smart {
    /// Whether a drive is to be asked in this run. One with a cadence of its own is not asked again before, unless
    /// nothing is known of it; a sleeping one is, because that wakes nothing and costs nothing.
    fn is_due(&self, target: &Target, now: Instant) -> bool {
        /// Runs begin a moment early or late.
        const SLACK: Duration = Duration::from_secs(10);
        match (target.interval, self.remembered.get(&target.id())) {
            (Some(interval), Some(last)) => interval <= now.saturating_duration_since(last.read_at) + SLACK,
            _ => true,
        }
    }

    fn describe(
        &mut self,
        draft: &mut Draft,
        (target, answer): (Target, Answer),
        inventory: &super::block::Inventory,
        described: &mut BTreeSet<ResourceKey>,
        (now_ms, now): (i64, Instant),
    ) {
        let remembered = self.remembered.get(&target.id());
        let known_key = target.key().or(remembered.map(|last| &last.key)).cloned();
        match answer {
            Answer::Read {
                report,
                raw,
                problems,
            } => {
                for problem in problems {
                    draft.problem(format!("smartctl of {}: {problem}", target.label));
                }
                let key = known_key.unwrap_or_else(|| key_of_report(&report, &target.label, inventory));
                let compact = facet::compact(&raw);
                if compact.is_none() {
                    draft.problem(format!(
                        "smartctl of {}: the document is not kept: not JSON, or too long",
                        target.label
                    ));
                }
                let reading = Reading {
                    report: *report,
                    raw: compact,
                    read_ms: now_ms,
                    key,
                };
                // Another path to a drive that was told of already: one drive has one set of series.
                if described.insert(reading.key.clone()) {
                    facet::awake(draft, &target, &reading);
                }
                match Kept::new(&raw, &reading, now) {
                    Some(kept) => self.remembered.insert(target.id(), kept),
                    None => self.remembered.remove(&target.id()),
                };
            }
            Answer::NotDue => {
                if let Some(last) = remembered
                    && described.insert(last.key.clone())
                {
                    facet::kept(draft, &target, &last.reading());
                }
            }
            Answer::Asleep { exit_status } => match (remembered, known_key) {
                (Some(last), _) if described.insert(last.key.clone()) => {
                    facet::asleep(draft, &target, &last.reading(), exit_status);
                }
                (None, Some(key)) if described.insert(key.clone()) => {
                    facet::never_awake(draft, &target, &key);
                }
                _ => {}
            },
            Answer::Failed { message } => {
                draft.problem(format!("smartctl of {}: {message}", target.label));
                // Old values of a drive that does not answer any more would look like good news.
                self.remembered.remove(&target.id());
                if let Some(key) = known_key.filter(|key| described.insert(key.clone())) {
                    facet::silent(draft, &target, &key, &message);
                }
            }
            Answer::NotInstalled => {
                self.remembered.remove(&target.id());
                if let Some(key) = known_key.filter(|key| described.insert(key.clone())) {
                    facet::silent(draft, &target, &key, "there is no output of smartctl for it");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
