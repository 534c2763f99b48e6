//! Cutting what there is to say into reports of bounded length.

use muster_model::{Clock, CollectorRun, Inventory, Problem, Report, Resource, SampleBlock, limits};

use super::size;

/// Longest report that is made, encoded; what remains up to the limit of a message is for gaps and the envelope.
pub(super) const REPORT_BYTES_MAX: usize = 240 * 1024;

/// Clock, numbers and the envelope of a report.
const REPORT_OVERHEAD_BYTES: usize = 512;

/// Everything that one batch of ticks has to say.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) clock: Clock,
    pub(super) runs: Vec<CollectorRun>,
    pub(super) resources: Vec<Resource>,
    pub(super) inventories: Vec<Inventory>,
    pub(super) blocks: Vec<SampleBlock>,
    pub(super) problems: Vec<Problem>,
}

impl Content {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            runs: Vec::new(),
            resources: Vec::new(),
            inventories: Vec::new(),
            blocks: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Reports in the order in which they are to be applied: resources before the sets that name them, both before
    /// the samples that belong to them, and how the collections went last, so that whoever sees an outcome stored
    /// knows that its facts are.
    pub(super) fn split(self) -> Vec<Report> {
        let mut reports = Splitter::new(self.clock);
        for resource in self.resources {
            if limits::RESOURCES_PER_COLLECTOR_MAX <= reports.open.resources.len() {
                reports.close();
            }
            reports.room_for(size::resource(&resource));
            reports.open.resources.push(resource);
        }
        for inventory in self.inventories {
            reports.room_for(size::inventory(&inventory));
            reports.open.inventories.push(inventory);
        }
        for block in self.blocks {
            reports.room_for(size::block(&block));
            reports.open.blocks.push(block);
        }
        for problem in self.problems {
            reports.room_for(size::problem(&problem));
            reports.open.problems.push(problem);
        }
        reports.room_for(self.runs.iter().map(size::run).sum());
        reports.open.runs = self.runs;
        reports.finish()
    }
}

struct Splitter {
    clock: Clock,
    open: Report,
    bytes: usize,
    done: Vec<Report>,
}

impl Splitter {
    fn new(clock: Clock) -> Self {
        Self {
            open: Report::empty(0, 0, clock.clone()),
            clock,
            bytes: REPORT_OVERHEAD_BYTES,
            done: Vec::new(),
        }
    }

    /// Makes room for an item, in a new report if need be, and counts it.
    fn room_for(&mut self, bytes: usize) {
        if REPORT_BYTES_MAX < self.bytes + bytes && REPORT_OVERHEAD_BYTES < self.bytes {
            self.close();
        }
        self.bytes += bytes;
    }

    fn close(&mut self) {
        let next = Report::empty(0, 0, self.clock.clone());
        self.done.push(std::mem::replace(&mut self.open, next));
        self.bytes = REPORT_OVERHEAD_BYTES;
    }

    fn finish(mut self) -> Vec<Report> {
        self.done.push(self.open);
        self.done
    }
}
