//! What happened in a run: a hash of everything, and the last lines in words.

use std::collections::VecDeque;
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

/// Lines that are kept for whoever looks into a failure.
const LINES_MAX: usize = 80;

#[derive(Default)]
struct Inner {
    hasher: DefaultHasher,
    events: u64,
    lines: VecDeque<String>,
    is_verbose: bool,
}

/// Clones share one trace; it outlives a run that panics.
#[derive(Clone, Default)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

impl Trace {
    /// A trace that prints each line as it comes if `is_verbose`.
    pub(crate) fn new(is_verbose: bool) -> Self {
        let trace = Self::default();
        trace.with(|inner| inner.is_verbose = is_verbose);
        trace
    }

    /// Notes a line.
    pub(crate) fn line(&self, now_ms: u64, text: fmt::Arguments<'_>) {
        let line = format!("{:>10}.{:03} {text}", now_ms / 1_000, now_ms % 1_000);
        self.with(|inner| {
            inner.events += 1;
            line.hash(&mut inner.hasher);
            if inner.is_verbose {
                println!("{line}");
            }
            if LINES_MAX <= inner.lines.len() {
                inner.lines.pop_front();
            }
            inner.lines.push_back(line);
        });
    }

    /// Says more to whoever looks at one seed; not part of the hash.
    pub(crate) fn detail(&self, text: fmt::Arguments<'_>) {
        if self.with(|inner| inner.is_verbose) {
            println!("{:>14} {text}", "");
        }
    }

    /// Notes bytes without words for them.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        self.with(|inner| inner.hasher.write(bytes));
    }

    /// Hash and number of lines of everything so far.
    pub(crate) fn digest(&self) -> (u64, u64) {
        self.with(|inner| (inner.hasher.finish(), inner.events))
    }

    /// The last lines.
    pub(crate) fn tail(&self) -> String {
        self.with(|inner| {
            inner
                .lines
                .iter()
                .map(|line| format!("{line}\n"))
                .collect::<String>()
        })
    }

    fn with<T>(&self, what: impl FnOnce(&mut Inner) -> T) -> T {
        what(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
