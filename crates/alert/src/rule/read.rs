//! Reading rules.

mod levels;
mod scope;

use muster_model::ResourceKind;
use serde_json::Value;

use self::levels::read_levels;
use self::scope::read_scope;
use super::{Plan, Rule, RuleKind};
use crate::Severity;
use crate::fields::{FieldProblem, Fields, written_duration};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Longest `for`.
const FOR_MAX_MS: i64 = 7 * DAY_MS;
/// Longest window: what is kept raw.
const WINDOW_MAX_MS: i64 = 7 * DAY_MS;
/// What growth and forecast look back on unless the rule says otherwise.
const WINDOW_DEFAULT_MS: i64 = 6 * HOUR_MS;
/// How far a forecast looks ahead unless the rule says otherwise.
const HORIZON_DEFAULT_MS: i64 = DAY_MS;
/// Longest horizon, cooldown and repeat.
const LONG_MAX_MS: i64 = 90 * DAY_MS;
/// An absence that is shorter can't be told from a late report.
const ABSENCE_MIN_MS: i64 = MINUTE_MS;
/// How long nothing must have come unless the rule says otherwise.
const ABSENCE_DEFAULT_MS: i64 = 10 * MINUTE_MS;
const COOLDOWN_DEFAULT_MS: i64 = 15 * MINUTE_MS;
const NAME_CHARS_MAX: usize = 200;
const TEXT_CHARS_MAX: usize = 2_000;
const URL_CHARS_MAX: usize = 500;
const ENTRIES_MAX: usize = 100;
/// Most text of rules read at once, bytes.
const YAML_BYTES_MAX: usize = 512 * 1024;
/// Deepest brackets of YAML.
const YAML_DEPTH_MAX: usize = 32;
const KINDS: [&str; 5] = ["threshold", "growth", "absence", "forecast", "expression"];
const COMPARISONS: [&str; 6] = ["gt", "lt", "gte", "lte", "eq", "ne"];
const SEVERITIES: [&str; 3] = ["info", "warning", "critical"];

/// Reads a rule. What is not said has its default; what is not understood is refused, all of it with its field.
///
/// # Errors
/// Every problem with the field it is of.
pub fn read(body: Value) -> Result<Rule, Vec<FieldProblem>> {
    let mut fields = Fields::of(body)?;
    let rule = read_fields(&mut fields);
    fields.finish(rule)
}

/// Reads rules from YAML: one rule, a list of rules, or an object with a list `rules`.
///
/// # Errors
/// Every problem with the field it is of; fields of the nth rule begin with `rules[n].`.
pub fn read_yaml(text: &str) -> Result<Vec<Rule>, Vec<FieldProblem>> {
    let body = |message: String| {
        vec![FieldProblem {
            field: "body".to_owned(),
            message,
        }]
    };
    if YAML_BYTES_MAX < text.len() {
        return Err(body(format!(
            "at most {YAML_BYTES_MAX} bytes of rules are taken at once"
        )));
    }
    if YAML_DEPTH_MAX < flow_depth(text) {
        return Err(body(format!(
            "brackets are nested deeper than {YAML_DEPTH_MAX}, which no rule needs"
        )));
    }
    let value: Value =
        serde_norway::from_str(text).map_err(|error| body(format!("this is no YAML: {error}")))?;
    let values = match value {
        Value::Array(values) => values,
        Value::Object(mut object) if object.len() == 1 && object.contains_key("rules") => {
            match object.remove("rules") {
                Some(Value::Array(values)) => values,
                _ => return Err(body("`rules` is no list".to_owned())),
            }
        }
        other => vec![other],
    };
    if values.is_empty() {
        return Err(body("there is no rule in it".to_owned()));
    }
    let mut rules = Vec::with_capacity(values.len());
    let mut problems = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match read(value) {
            Ok(rule) => rules.push(rule),
            Err(found) => problems.extend(found.into_iter().map(|problem| FieldProblem {
                field: format!("rules[{index}].{}", problem.field),
                message: problem.message,
            })),
        }
    }
    if problems.is_empty() {
        Ok(rules)
    } else {
        Err(problems)
    }
}

/// How deep brackets are nested at most, those in texts counted too. Parsers of YAML look at every open bracket again
/// for each word, so that what is nested deeply takes the square of its length.
fn flow_depth(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut deepest = 0;
    for byte in text.bytes() {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn read_fields(fields: &mut Fields) -> Option<Rule> {
    // An exported rule can be read again as it is.
    fields.take(&["id"]);
    for name in [
        "status",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
        "builtin",
    ] {
        fields.take(&[name]);
    }
    ignore_what_is_shown(fields);
    let name = read_name(fields);
    let description = fields.text(&["description"], TEXT_CHARS_MAX).unwrap_or_default();
    let enabled = fields.flag(&["enabled"]).unwrap_or(true);
    let kind = read_kind(fields);
    let (metric, plan) = read_metric(fields);
    let resource_kind = read_resource_kind(fields, plan.as_ref());
    let severity = fields
        .word(&["severity"], Severity::from_word, &SEVERITIES)
        .unwrap_or_default();
    let levels = read_levels(fields, kind, severity);
    let times = Times::read(fields, kind);
    let only_past = fields.number(&["only_past"]);
    if only_past.is_some() && kind != Some(RuleKind::Forecast) {
        fields.problem("only_past", "only a forecast has it");
    }
    let scope = fields.inside("scope", read_scope).unwrap_or_default();
    let channels = read_channels(fields);
    let template = fields.text(&["template"], NAME_CHARS_MAX);
    let runbook = read_runbook(fields);
    let covers = fields.flag(&["covers"]).unwrap_or(false);
    Some(Rule {
        id: 0,
        name: name?,
        description,
        enabled,
        kind: kind?,
        resource_kind,
        scope,
        metric: metric?,
        plan: plan?,
        levels: levels?,
        severity,
        for_ms: times.for_ms,
        window_ms: times.window_ms,
        horizon_ms: times.horizon_ms,
        only_past,
        cooldown_ms: times.cooldown_ms,
        repeat_ms: times.repeat_ms,
        channels,
        template,
        runbook,
        covers,
    })
}

/// An exported rule can be read again as it is.
fn ignore_what_is_shown(fields: &mut Fields) {
    for name in [
        "id",
        "status",
        "created_at",
        "updated_at",
        "created_by",
        "updated_by",
        "builtin",
    ] {
        fields.take(&[name]);
    }
}

fn read_name(fields: &mut Fields) -> Option<String> {
    if !fields.has("name") {
        fields.problem("name", "is required");
    }
    let name = fields
        .text(&["name"], NAME_CHARS_MAX)
        .map(|name| name.trim().to_owned());
    if name.as_deref() == Some("") {
        fields.problem("name", "is empty");
    }
    name
}

fn read_kind(fields: &mut Fields) -> Option<RuleKind> {
    if !fields.has("kind") {
        return Some(RuleKind::Threshold);
    }
    let word = fields.word(
        &["kind"],
        |word| KINDS.contains(&word).then(|| word.to_owned()),
        &KINDS,
    )?;
    let kind = RuleKind::from_word(&word);
    if kind.is_none() {
        fields.problem(
            "kind",
            "rules of this kind need the query language, which this version does not have; threshold, growth, absence \
             and forecast can be had",
        );
    }
    kind
}

fn read_metric(fields: &mut Fields) -> (Option<String>, Option<Plan>) {
    if !fields.has("metric_name") && !fields.has("metric") {
        fields.problem("metric_name", "is required");
        return (None, None);
    }
    let Some(name) = fields.text(&["metric_name", "metric"], NAME_CHARS_MAX) else {
        return (None, None);
    };
    match Plan::of(&name) {
        Ok(plan) => (Some(name), Some(plan)),
        Err(message) => {
            fields.problem("metric_name", message);
            (Some(name), None)
        }
    }
}

fn read_resource_kind(fields: &mut Fields, plan: Option<&Plan>) -> Option<ResourceKind> {
    let words: Vec<&str> = ResourceKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let given = fields.word(
        &["resource_type", "resource_kind"],
        |word| word.parse().ok(),
        &words,
    );
    let Some(plan) = plan else { return given };
    match (given, plan.subject) {
        (None, subject) => subject,
        (Some(given), Some(subject))
            if given != subject && (given != ResourceKind::Server || plan.is_fact) =>
        {
            let message = format!(
                "this metric is of a {}, not of a {}",
                subject.as_str(),
                given.as_str()
            );
            fields.problem("resource_type", message);
            None
        }
        (Some(ResourceKind::Server), None) if plan.is_fact => {
            fields.problem(
                "resource_type",
                "this metric is of what a server has, not of a server",
            );
            None
        }
        (given, _) => given,
    }
}

struct Times {
    for_ms: i64,
    window_ms: i64,
    horizon_ms: i64,
    cooldown_ms: i64,
    repeat_ms: i64,
}

impl Times {
    fn read(fields: &mut Fields, kind: Option<RuleKind>) -> Self {
        let is_absence = kind == Some(RuleKind::Absence);
        let for_default = if is_absence { ABSENCE_DEFAULT_MS } else { 0 };
        let for_ms = fields.duration_ms(&["for"], FOR_MAX_MS).unwrap_or(for_default);
        if is_absence && for_ms < ABSENCE_MIN_MS {
            fields.problem(
                "for",
                format!("an absence needs at least {}", written_duration(ABSENCE_MIN_MS)),
            );
        }
        let window_ms = fields.duration_ms(&["window"], WINDOW_MAX_MS);
        let looks_back = matches!(kind, Some(RuleKind::Growth | RuleKind::Forecast) | None);
        if window_ms.is_some() && !looks_back {
            fields.problem("window", "only growth and forecast have it");
        }
        if window_ms.is_some_and(|window| window < MINUTE_MS) {
            fields.problem("window", "must be at least a minute");
        }
        let horizon_ms = fields.duration_ms(&["horizon"], LONG_MAX_MS);
        if horizon_ms.is_some() && !matches!(kind, Some(RuleKind::Forecast) | None) {
            fields.problem("horizon", "only a forecast has it");
        }
        if fields.has("cooldown") && fields.has("cooldown_minutes") {
            fields.problem("cooldown_minutes", "is the same as cooldown, give one of them");
        }
        let minutes = fields.number(&["cooldown_minutes"]);
        if minutes.is_some_and(|minutes| minutes < 0.0 || (LONG_MAX_MS / MINUTE_MS) as f64 <= minutes) {
            fields.problem(
                "cooldown_minutes",
                "a number of minutes from 0 to 129600 is expected",
            );
        }
        let cooldown_ms = fields
            .duration_ms(&["cooldown"], LONG_MAX_MS)
            .or(minutes.map(|minutes| (minutes * MINUTE_MS as f64) as i64))
            .unwrap_or(COOLDOWN_DEFAULT_MS);
        let repeat_ms = fields.duration_ms(&["repeat"], LONG_MAX_MS).unwrap_or(0);
        if (1..MINUTE_MS).contains(&repeat_ms) {
            fields.problem("repeat", "must be at least a minute, or 0 for never");
        }
        Self {
            for_ms,
            window_ms: window_ms.unwrap_or(WINDOW_DEFAULT_MS),
            horizon_ms: horizon_ms.unwrap_or(HORIZON_DEFAULT_MS),
            cooldown_ms,
            repeat_ms,
        }
    }
}

fn read_channels(fields: &mut Fields) -> Vec<i64> {
    fields
        .list(
            &["channels", "notification_channels"],
            ENTRIES_MAX,
            "the number of a channel",
            |value| {
                value
                    .as_i64()
                    .or_else(|| value.as_str()?.parse().ok())
                    .filter(|id| 0 < *id)
            },
        )
        .unwrap_or_default()
}

fn read_runbook(fields: &mut Fields) -> Option<String> {
    let url = fields.text(&["runbook", "runbook_url"], URL_CHARS_MAX)?;
    let is_url = ["https://", "http://"]
        .iter()
        .any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
    if !is_url || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        fields.problem(
            "runbook",
            "an address that begins with https:// or http:// is expected",
        );
        return None;
    }
    Some(url)
}

#[cfg(test)]
mod tests;
