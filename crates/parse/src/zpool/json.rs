//! The JSON form of `zpool status` (`-j`, since 2.3), numbers as texts or, with `--json-int`, as numbers.
//!
//! `vdev_stats_nvlist` and `scan_status_nvlist` of `cmd/zpool/zpool_main.c`.

use serde_json::{Map, Value};

use super::number::{date, nice_number};
use super::scan::{Pass, Scan, ScanKind, ScanState, Time};
use super::{Class, FILES_MAX, POOLS_MAX, Pool, State, VDEVS_MAX, Vdev};
use crate::json::Fields;
use crate::problem::{Parsed, Problems, excerpt};

/// Longest piece of JSON that is kept as words, in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Reads the document.
#[must_use]
pub fn parse(text: &str) -> Parsed<Vec<Pool>> {
    let mut problems = Problems::default();
    let document: Value = match serde_json::from_str(text) {
        Ok(document) => document,
        Err(error) => {
            problems.overall(format!("no JSON document: {error}"));
            return problems.with(Vec::new());
        }
    };
    let Some(pools) = document.get("pools").and_then(Value::as_object) else {
        problems.overall("expected an object of pools");
        return problems.with(Vec::new());
    };
    if POOLS_MAX < pools.len() {
        problems.overall(format!(
            "more than {POOLS_MAX} pools: {} are left out",
            pools.len() - POOLS_MAX
        ));
    }
    let read = pools
        .iter()
        .take(POOLS_MAX)
        .filter_map(|(name, value)| match value.as_object() {
            Some(object) => Some(pool(name, object, &mut problems)),
            None => {
                problems.overall(format!("pool {:?} is no object", excerpt(name)));
                None
            }
        })
        .collect();
    problems.with(read)
}

fn pool(key: &str, object: &Map<String, Value>, problems: &mut Problems) -> Pool {
    let mut pool = Pool::default();
    let subject = excerpt(key);
    let mut fields = Fields {
        subject: &subject,
        object,
        problems,
    };
    pool.name = fields.text("name").unwrap_or_else(|| key.to_owned());
    pool.guid = fields.unsigned("pool_guid");
    pool.state_word = fields.text("state");
    pool.status = fields.text("status").map(|text| one_line(&text));
    pool.action = fields.text("action").map(|text| one_line(&text));
    pool.see = fields.text("moreinfo");
    pool.errors.count = number(object, "error_count");
    pool.state = pool.state_word.as_deref().and_then(State::from_word);
    if pool.state.is_none() {
        problems.overall(format!("{subject}: unknown state {:?}", pool.state_word));
    }
    if pool.errors.count.is_none() {
        problems.overall(format!("{subject}: what is known of damaged data is missing"));
    }
    for key in ["errlist", "errors", "error_list"] {
        let files = object.get(key).and_then(Value::as_array).into_iter().flatten();
        pool.errors
            .files
            .extend(files.filter_map(Value::as_str).take(FILES_MAX).map(str::to_owned));
    }
    if let Some(stats) = object.get("scan_stats") {
        match scan(stats) {
            Ok(found) => pool.scans.extend(found),
            Err(message) => {
                pool.is_odd = true;
                problems.overall(format!("{subject}: {message}"));
            }
        }
    }
    pool.removal = words(object.get("removal_stats"));
    pool.checkpoint = words(object.get("checkpoint_stats"));
    pool.expansion = words(object.get("raidz_expand_stats"));
    tree(&mut pool, object, &subject, problems);
    pool
}

fn tree(pool: &mut Pool, object: &Map<String, Value>, subject: &str, problems: &mut Problems) {
    let is_resilvering = pool
        .scans
        .iter()
        .any(|scan| scan.kind == ScanKind::Resilver && scan.is_under_way());
    let mut walk = Walk {
        pool,
        is_resilvering,
        left_out: 0,
    };
    for (section, class) in [
        ("vdevs", Class::Data),
        ("dedup", Class::Dedup),
        ("special", Class::Special),
        ("logs", Class::Log),
        ("l2cache", Class::Cache),
        ("spares", Class::Spare),
    ] {
        if let Some(vdevs) = object.get(section).and_then(Value::as_object) {
            walk.vdevs(vdevs, class, None, problems);
        }
    }
    let left_out = walk.left_out;
    if 0 < left_out {
        problems.overall(format!(
            "{subject}: more than {VDEVS_MAX} vdevs: {left_out} are left out"
        ));
        pool.is_odd = true;
    }
    if pool.vdevs.is_empty() {
        problems.overall(format!("{subject}: the tree of its devices is missing"));
    }
}

struct Walk<'a> {
    pool: &'a mut Pool,
    is_resilvering: bool,
    left_out: usize,
}

impl Walk<'_> {
    /// Depth is bounded by the JSON parser.
    fn vdevs(
        &mut self,
        vdevs: &Map<String, Value>,
        class: Class,
        parent: Option<usize>,
        problems: &mut Problems,
    ) {
        for (name, value) in vdevs {
            let Some(object) = value.as_object() else {
                problems.overall(format!("vdev {:?} is no object", excerpt(name)));
                self.pool.is_odd = true;
                continue;
            };
            if VDEVS_MAX <= self.pool.vdevs.len() {
                self.left_out += 1;
                continue;
            }
            // `--json-flat-vdevs` names the one above instead of holding those below.
            let above = object
                .get("parent")
                .and_then(Value::as_str)
                .and_then(|above| self.pool.vdevs.iter().position(|vdev| vdev.name == above))
                .or(parent);
            let vdev = self.vdev(name, object, class, above, problems);
            let class = vdev.class;
            if let Some(above) = above {
                self.pool.vdevs[above].is_group = true;
            }
            if let Some(rebuild) = object.get("rebuild_stats").and_then(rebuild) {
                self.pool.scans.push(Scan {
                    vdev: Some(vdev.name.clone()),
                    ..rebuild
                });
            }
            let place = self.pool.vdevs.len();
            self.pool.vdevs.push(vdev);
            if let Some(below) = object.get("vdevs").and_then(Value::as_object) {
                self.vdevs(below, class, Some(place), problems);
            }
        }
    }

    fn vdev(
        &self,
        key: &str,
        object: &Map<String, Value>,
        class: Class,
        parent: Option<usize>,
        problems: &mut Problems,
    ) -> Vdev {
        let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
        let state_word = text("state").unwrap_or_default();
        let state = State::from_word(&state_word);
        if state.is_none() {
            problems.overall(format!(
                "unknown state {:?} of {:?}",
                excerpt(&state_word),
                excerpt(key)
            ));
        }
        Vdev {
            name: text("name").unwrap_or_else(|| key.to_owned()),
            class: match object.get("class").and_then(Value::as_str) {
                Some("normal") => Class::Data,
                Some(word) => Class::from_heading(word).unwrap_or(class),
                None => class,
            },
            parent,
            is_group: false,
            state,
            state_word,
            read_errors: number(object, "read_errors"),
            write_errors: number(object, "write_errors"),
            checksum_errors: number(object, "checksum_errors"),
            slow_ios: number(object, "slow_ios"),
            note: self.note(object),
            path: text("path"),
            guid: number(object, "guid"),
        }
    }

    /// The same words as in the text.
    fn note(&self, object: &Map<String, Value>) -> Option<String> {
        let is_set = |key: &str| number(object, key).is_some_and(|number| 0 < number);
        let mut notes = Vec::new();
        if let Some(was) = object.get("was").and_then(Value::as_str) {
            notes.push(format!("was {was}"));
        }
        for key in ["aux", "aux_state"] {
            if let Some(word) = object
                .get(key)
                .and_then(Value::as_str)
                .filter(|word| *word != "NONE")
            {
                notes.push(word.to_lowercase().replace('_', " "));
            }
        }
        if is_set("removing") {
            notes.push("(removing)".to_owned());
        } else if is_set("noalloc") {
            notes.push("(non-allocating)".to_owned());
        }
        if is_set("scan_processed") {
            let word = if self.is_resilvering {
                "(resilvering)"
            } else {
                "(repairing)"
            };
            notes.push(word.to_owned());
        } else if is_set("resilver_deferred") {
            notes.push("(awaiting resilver)".to_owned());
        }
        (!notes.is_empty()).then(|| notes.join("  "))
    }
}

fn scan(stats: &Value) -> Result<Option<Scan>, String> {
    let object = stats.as_object().ok_or("scan_stats is no object")?;
    let word = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let kind = match word("function") {
        "" | "NONE" => return Ok(None),
        "SCRUB" => ScanKind::Scrub,
        "RESILVER" => ScanKind::Resilver,
        "ERRORSCRUB" | "ERROR_SCRUB" => ScanKind::ErrorScrub,
        other => return Err(format!("unknown kind {other:.60?} of a scan")),
    };
    let paused = time(object, "scrub_pause");
    let state = match word("state") {
        "" | "NONE" => return Ok(None),
        "SCANNING" | "ERRORSCRUBBING" if paused.is_some() && kind != ScanKind::Resilver => ScanState::Paused,
        "SCANNING" | "ERRORSCRUBBING" => ScanState::InProgress,
        "FINISHED" => ScanState::Finished,
        "CANCELED" => ScanState::Canceled,
        other => return Err(format!("unknown state {other:.60?} of a scan")),
    };
    let mut scan = Scan::new(kind, state);
    scan.started = time(object, "start_time");
    scan.processed_bytes = number(object, "processed");
    scan.errors = number(object, "errors");
    let total = number(object, "to_examine").map(|all| {
        // What is skipped need not be read.
        all.saturating_sub(number(object, "skipped").unwrap_or(0))
    });
    if scan.is_under_way() {
        scan.paused = paused;
        scan.scanned_bytes = number(object, "examined");
        scan.issued_bytes = number(object, "issued");
        scan.total_bytes = total;
        scan.percent = share(scan.issued_bytes, total);
        let plain = |key: &str| object.get(key).and_then(Value::as_u64);
        if let (Some(started_s), Some(issued_bytes)) = (plain("pass_start"), plain("issued_bytes_per_scan")) {
            scan.pass = Some(Pass {
                started_s,
                paused_s: plain("scrub_spent_paused").unwrap_or(0),
                issued_bytes,
            });
        }
    } else {
        scan.ended = time(object, "end_time");
        if let (Some(Time::Unix(start)), Some(Time::Unix(end))) = (&scan.started, &scan.ended) {
            scan.duration_s = u64::try_from(end - start).ok();
        }
    }
    Ok(Some(scan))
}

/// A sequential rebuild of one vdev.
fn rebuild(stats: &Value) -> Option<Scan> {
    let object = stats.as_object()?;
    let word = |key: &str| object.get(key).and_then(Value::as_str);
    let state = match word("rebuild_state").or_else(|| word("state"))? {
        "ACTIVE" => ScanState::InProgress,
        "COMPLETE" => ScanState::Finished,
        "CANCELED" => ScanState::Canceled,
        _ => return None,
    };
    let mut scan = Scan::new(ScanKind::Resilver, state);
    scan.started = time(object, "start_time");
    scan.ended = time(object, "end_time");
    scan.errors = number(object, "errors");
    scan.processed_bytes = number(object, "bytes_rebuilt");
    if scan.is_under_way() {
        scan.scanned_bytes = number(object, "bytes_scanned");
        scan.issued_bytes = number(object, "bytes_issued");
        scan.total_bytes = number(object, "bytes_est");
        scan.percent = share(scan.issued_bytes, scan.total_bytes);
    }
    Some(scan)
}

fn share(done: Option<u64>, all: Option<u64>) -> Option<f64> {
    let (done, all) = (done?, all.filter(|all| 0 < *all)?);
    Some(100.0 * done as f64 / all as f64)
}

/// A number, plain, quoted or rounded.
fn number(object: &Map<String, Value>, key: &str) -> Option<u64> {
    match object.get(key)? {
        Value::Number(number) => number.as_u64(),
        Value::String(text) => nice_number(text.trim()),
        _ => None,
    }
}

/// A time, Unix seconds or as ctime(3) prints it; 0 is none.
fn time(object: &Map<String, Value>, key: &str) -> Option<Time> {
    match object.get(key)? {
        Value::Number(number) => number.as_i64().filter(|time| 0 < *time).map(Time::Unix),
        Value::String(text) => match text.trim().parse::<i64>() {
            Ok(time) => (0 < time).then_some(Time::Unix(time)),
            Err(_) => date(text).map(Time::Local),
        },
        _ => None,
    }
}

fn words(value: Option<&Value>) -> Option<String> {
    let mut text = value?.to_string();
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    Some(text)
}

fn one_line(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}
