//! How long things become on the wire, from above: an estimate that is never too small.
//!
//! Reports are split by it before they are encoded, so that nothing is encoded twice.

use muster_model::{Attribute, CollectorRun, Inventory, Problem, Resource, SampleBlock};

/// Tag and length of a text or message, or tag and value of a number.
const FIELD: usize = 12;

fn text(text: &str) -> usize {
    FIELD + text.len()
}

/// Bytes of an attribute.
pub(super) fn attribute(name: &str, value: &Attribute) -> usize {
    let value = match value {
        Attribute::Bool(_) | Attribute::Int(_) | Attribute::Float(_) => FIELD,
        Attribute::Text(value) => text(value),
        Attribute::List(items) => FIELD + items.iter().map(|item| text(item)).sum::<usize>(),
    };
    FIELD + text(name) + value
}

/// Bytes of a resource.
pub(super) fn resource(resource: &Resource) -> usize {
    let attributes: usize = resource
        .attributes
        .iter()
        .map(|(name, value)| attribute(name, value))
        .sum();
    let reasons: usize = resource.health_reasons.iter().map(|reason| text(reason)).sum();
    3 * FIELD + text(resource.key.as_str()) + text(&resource.name) + reasons + attributes
}

/// Bytes of an inventory.
pub(super) fn inventory(inventory: &Inventory) -> usize {
    let keys: usize = inventory.keys.iter().map(|key| text(key.as_str())).sum();
    let links: usize = inventory
        .links
        .iter()
        .map(|link| 2 * FIELD + text(link.from.as_str()) + text(link.to.as_str()))
        .sum();
    2 * FIELD + text(&inventory.collector) + keys + links
}

/// Bytes of a block.
pub(super) fn block(block: &SampleBlock) -> usize {
    // Deltas are zigzag varints: at most 5 bytes for the difference of two ids, 10 for one of two times.
    4 * FIELD + 10 * block.times_ms().len() + 5 * block.series().len() + 8 * block.values().len()
}

/// Bytes of a run.
pub(super) fn run(run: &CollectorRun) -> usize {
    4 * FIELD + text(&run.collector) + text(&run.message)
}

/// Bytes of a problem.
pub(super) fn problem(problem: &Problem) -> usize {
    2 * FIELD + text(&problem.collector) + text(&problem.message)
}
