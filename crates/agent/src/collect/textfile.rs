//! What people's own scripts leave as files in the Prometheus text format.
//!
//! The folders are those of the settings; by default Debian's for `node_exporter`, so that scripts go on working. A
//! name that Muster knows already is not taken: nobody could say which of two values is the right one.

use std::sync::Arc;

use async_trait::async_trait;
use muster_catalogue::{NODE_TEXTFILE_MTIME_SECONDS, NODE_TEXTFILE_SCRAPE_ERROR};
use muster_model::{Labels, MetricType, Sample, limits};
use muster_parse::exposition::{self, Kind};

use super::draft::Draft;
use super::reading::{Reading, every_15s, outcome};
use super::{CollectError, Collector, Descriptor, Outcome};
use crate::config::collect::Settings;
use crate::host::{Files, Host};

/// Files read of one folder.
const FILES_MAX: usize = 256;
/// Samples taken of all files together.
const SAMPLES_MAX: usize = 2_000;

/// The textfile collector.
pub const DESCRIPTOR: Descriptor = every_15s(
    "textfile",
    "metrics that scripts leave as *.prom files",
    |context| {
        Box::new(Textfile {
            settings: Arc::clone(&context.settings),
        })
    },
);

struct Textfile {
    settings: Arc<Settings>,
}

#[async_trait]
impl Collector for Textfile {
    async fn collect(&mut self, host: &Host) -> Result<Outcome, CollectError> {
        let settings = Arc::clone(&self.settings);
        let draft = host
            .blocking(DESCRIPTOR.name, move |files| {
                read(files, &settings.textfile.directories)
            })
            .await?;
        Ok(outcome(draft, "no folder for textfiles"))
    }
}

fn read(files: &Files, folders: &[String]) -> Draft {
    let mut reading = Reading {
        files,
        draft: Draft::new(DESCRIPTOR.name),
    };
    let (mut is_error, mut room) = (false, SAMPLES_MAX);
    for folder in folders {
        let mut names = files.names(folder);
        names.retain(|name| name.ends_with(".prom"));
        for name in reading.first(folder, names, FILES_MAX) {
            let path = format!("{folder}/{name}");
            is_error |= !read_file(&mut reading, &path, &mut room);
        }
    }
    reading.sample(&NODE_TEXTFILE_SCRAPE_ERROR, &[], if is_error { 1.0 } else { 0.0 });
    reading.draft
}

/// Takes one file over; whether all of it could be taken.
fn read_file(reading: &mut Reading<'_>, path: &str, room: &mut usize) -> bool {
    let text = match reading.files.text(path) {
        Ok(Some(text)) => text,
        Ok(None) => return true, // Replaced or taken away a moment ago.
        Err(error) => {
            reading.draft.error("a textfile", &error);
            return false;
        }
    };
    if let Some(modified_s) = reading.files.modified_s(path) {
        reading.sample(&NODE_TEXTFILE_MTIME_SECONDS, &[("file", path)], modified_s);
    }
    let parsed = exposition::parse(&text);
    let mut is_whole = parsed.problems.is_empty();
    reading.draft.parser_problems(path, parsed.problems);
    for sample in parsed.value {
        if *room == 0 {
            reading.draft.problem(format!(
                "more than {SAMPLES_MAX} samples in textfiles: the rest is left out"
            ));
            return false;
        }
        match accept(sample) {
            Ok(sample) => {
                *room -= 1;
                reading.draft.push(sample);
            }
            Err(message) => {
                reading.draft.problem(format!("{path}: {message}"));
                is_whole = false;
            }
        }
    }
    is_whole
}

fn accept(found: exposition::Sample) -> Result<Sample, String> {
    if found.name.contains(':') || limits::NAME_BYTES_MAX < found.name.len() {
        return Err(format!("{:.60} is no name that can be stored", found.name));
    }
    if muster_catalogue::lookup(&found.name).is_some() {
        return Err(format!("{} is a name of Muster's own: left out", found.name));
    }
    let labels = Labels::new(&found.labels).map_err(|error| format!("{}: {error}", found.name))?;
    Ok(Sample {
        name: found.name.into(),
        labels,
        value: found.value,
        time_ms: None,
        resource: None,
        metric_type: match found.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Untyped => MetricType::Untyped,
        },
        unit: "",
    })
}
