//! Disks and the verdict on them: what people accepted, what they decided, and what the controller makes of both.
//!
//! An agent judges a disk by what its SMART data say. Here the same verdict is made again with the damage that somebody has
//! accepted and the rules of the disk's own, and that is the health everybody sees. The disk's own word that it fails, and
//! that nothing was read, stay what they are.

use muster_base::id::ResourceId;
use muster_model::{Attribute, Health, Resource, ResourceKind};
use smartmontools_parse::{Baseline, ExitStatus, Overrides, Report, Verdict, verdict_with};

use super::resources::ResourceView;
use super::{App, AppError, FieldProblem};

/// Most bytes of a note.
const NOTE_BYTES_MAX: usize = 1_000;

/// What people decided about a disk. Times are Unix ms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// The damage that somebody accepted.
    pub baseline: Option<Accepted>,
    /// Rules of its own.
    pub overrides: Option<Decided>,
}

/// The damage that somebody accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The counts.
    pub baseline: Baseline,
    /// When.
    pub at_ms: i64,
    /// Who.
    pub by: String,
    /// What they noted.
    pub note: Option<String>,
}

/// Rules that somebody made for a disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Decided {
    /// The rules.
    pub overrides: Overrides,
    /// When.
    pub at_ms: i64,
    /// Who.
    pub by: String,
}

impl Judgement {
    /// Whether nothing was decided.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.baseline.is_none() && self.overrides.is_none()
    }
}

/// A disk, its SMART data, what was decided about it and what all of that comes to.
#[derive(Debug, Clone)]
pub struct JudgedDevice {
    /// The disk.
    pub device: ResourceView,
    /// What was decided.
    pub judgement: Judgement,
    /// Its SMART data; `None` if it has none, or they were not read.
    pub report: Option<Box<Report>>,
    /// The verdict on them.
    pub verdict: Option<Verdict>,
}

/// The SMART data of a disk as the agent sent them.
fn report(raw: Option<&Attribute>, exit_status: Option<&Attribute>) -> Option<Box<Report>> {
    let Attribute::Text(raw) = raw? else { return None };
    let mut report = Box::new(smartmontools_parse::parse(raw).report);
    if !report.is_of_document() {
        return None;
    }
    // What the process ended with counts beside what the document says, as it did at the agent.
    if let Some(Attribute::Int(status)) = exit_status {
        let said = report.smartctl.exit_status.unwrap_or_default().0;
        report.smartctl.exit_status = Some(ExitStatus(said | u8::try_from(*status).unwrap_or(0)));
    }
    Some(report)
}

fn judge(report: &Report, judgement: &Judgement) -> Verdict {
    let none = Overrides::default();
    let overrides = judgement
        .overrides
        .as_ref()
        .map_or(&none, |decided| &decided.overrides);
    let baseline = judgement.baseline.as_ref().map(|accepted| &accepted.baseline);
    verdict_with(report, baseline, overrides)
}

/// Health and reasons of a disk with what was decided about it; `None` if there are no SMART data to judge, and the
/// agent's word stands.
pub(crate) fn rejudged(resource: &Resource, judgement: &Judgement) -> Option<(Health, Vec<String>)> {
    let attribute = |name: &str| resource.attributes.get(name);
    shown(
        attribute("smart_data_raw"),
        attribute("smartctl_exit_status"),
        judgement,
    )
}

/// The same of a disk as it is stored.
pub(crate) fn rejudged_view(view: &ResourceView, judgement: &Judgement) -> Option<(Health, Vec<String>)> {
    let attribute = |name: &str| view.attributes.get(name);
    shown(
        attribute("smart_data_raw"),
        attribute("smartctl_exit_status"),
        judgement,
    )
}

fn shown(
    raw: Option<&Attribute>,
    exit_status: Option<&Attribute>,
    judgement: &Judgement,
) -> Option<(Health, Vec<String>)> {
    let verdict = judge(report(raw, exit_status)?.as_ref(), judgement);
    let reasons = verdict.reasons.into_iter().map(|reason| reason.text).collect();
    Some((health(verdict.health), reasons))
}

/// The word of the parser's crate as the product's.
#[must_use]
pub const fn health(health: smartmontools_parse::Health) -> Health {
    match health {
        smartmontools_parse::Health::Healthy => Health::Healthy,
        smartmontools_parse::Health::Warning => Health::Warning,
        smartmontools_parse::Health::Critical => Health::Critical,
        smartmontools_parse::Health::Failed => Health::Failed,
        smartmontools_parse::Health::Unknown => Health::Unknown,
    }
}

impl App {
    /// A disk with the verdict on it and what that rests on.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn judged_device(&self, id: ResourceId) -> Result<JudgedDevice, AppError> {
        let device = self.device(id).await?;
        let judgement = self.store.judgement(id).await?;
        let attribute = |name: &str| device.attributes.get(name);
        let report = report(attribute("smart_data_raw"), attribute("smartctl_exit_status"));
        let verdict = report.as_ref().map(|report| judge(report, &judgement));
        Ok(JudgedDevice {
            device,
            judgement,
            report,
            verdict,
        })
    }

    /// Accepts the damage that a disk shows now: from here on only what comes on top counts.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Invalid`] if the disk has no SMART data to accept anything of, or the note is
    /// too long; or a failure of the database.
    pub async fn acknowledge_device(
        &self,
        id: ResourceId,
        by: &str,
        note: Option<String>,
    ) -> Result<JudgedDevice, AppError> {
        if note.as_ref().is_some_and(|note| NOTE_BYTES_MAX < note.len()) {
            return Err(invalid(
                "note",
                format!("at most {NOTE_BYTES_MAX} bytes are possible"),
            ));
        }
        let judged = self.judged_device(id).await?;
        let Some(report) = &judged.report else {
            let message = "the disk has no SMART data, so there is nothing that could be accepted";
            return Err(invalid("id", message.to_owned()));
        };
        let accepted = Accepted {
            baseline: Baseline::of(report),
            at_ms: self.clock.now_ms(),
            by: by.to_owned(),
            note: note.filter(|note| !note.is_empty()),
        };
        self.store.set_baseline(id, Some(&accepted)).await?;
        self.judged_device(id).await
    }

    /// Forgets what was accepted of a disk.
    ///
    /// # Errors
    /// [`AppError::NotFound`] or a failure of the database.
    pub async fn forget_baseline(&self, id: ResourceId) -> Result<JudgedDevice, AppError> {
        self.device(id).await?;
        self.store.set_baseline(id, None).await?;
        self.judged_device(id).await
    }

    /// Sets the rules of a disk's own; empty ones take them away.
    ///
    /// # Errors
    /// [`AppError::NotFound`]; [`AppError::Invalid`] if the rules make no sense; or a failure of the database.
    pub async fn set_overrides(
        &self,
        id: ResourceId,
        by: &str,
        overrides: Overrides,
    ) -> Result<JudgedDevice, AppError> {
        overrides
            .check()
            .map_err(|(field, message)| invalid(field, message))?;
        self.device(id).await?;
        let decided = (!overrides.is_empty()).then(|| Decided {
            overrides,
            at_ms: self.clock.now_ms(),
            by: by.to_owned(),
        });
        self.store.set_overrides(id, decided.as_ref()).await?;
        self.judged_device(id).await
    }

    async fn device(&self, id: ResourceId) -> Result<ResourceView, AppError> {
        let view = self.resource(id).await?;
        if view.kind == ResourceKind::Device {
            return Ok(view);
        }
        Err(AppError::NotFound {
            what: "device",
            id: id.0,
        })
    }
}

fn invalid(field: &'static str, message: String) -> AppError {
    AppError::Invalid(vec![FieldProblem { field, message }])
}
