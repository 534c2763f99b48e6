//! Holding what collectors found within the limits that the controller enforces.
//!
//! A controller refuses a report that breaks a limit as a whole. So nothing beyond a limit leaves the agent: it is
//! cut here, and the cut is a problem that is sent in its place.

use muster_model::{Attribute, Inventory, Problem, Resource, limits};

use super::split::REPORT_BYTES_MAX;
use super::{problem, shown, size};

/// Longest single item of a report.
const ITEM_BYTES_MAX: usize = REPORT_BYTES_MAX - 1024;
/// Most reasons for a resource's health.
const REASONS_MAX: usize = limits::ATTRIBUTES_PER_RESOURCE_MAX;

/// Cuts `text` at a character so that it is at most `bytes_max` long.
pub(super) fn cut(mut text: String, bytes_max: usize) -> String {
    text.truncate(text.floor_char_boundary(bytes_max));
    text
}

/// Problems of a report: the first ones, and how many more there were.
#[derive(Debug, Default)]
pub(super) struct Problems {
    first: Vec<Problem>,
    more: usize,
}

impl Problems {
    pub(super) fn push(&mut self, problem: Problem) {
        if limits::PROBLEMS_PER_REPORT_MAX <= self.first.len() {
            self.more += 1;
            return;
        }
        self.first.push(Problem {
            collector: cut(problem.collector, limits::NAME_BYTES_MAX),
            message: cut(problem.message, limits::PROBLEM_BYTES_MAX),
            line: problem.line,
        });
    }

    pub(super) fn extend(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            self.push(problem);
        }
    }

    /// At most as many as a report may have; the last one counts what is left out.
    pub(super) fn into_bounded(mut self) -> Vec<Problem> {
        if 0 < self.more {
            // The last place is taken by the count, so one more is left out.
            self.first.pop();
            let count = self.more + 1;
            self.first
                .push(problem("report", format!("{count} more problems are not listed")));
        }
        self.first
    }
}

/// Cuts a resource to what may be sent. `false` if it can't be sent at all.
pub(super) fn fit_resource(collector: &str, resource: &mut Resource, problems: &mut Problems) -> bool {
    let key_bytes = resource.key.as_str().len();
    if key_bytes == 0 || limits::RESOURCE_KEY_BYTES_MAX < key_bytes {
        let message = format!(
            "resource {:?} has a key of {key_bytes} bytes",
            shown(&resource.key)
        );
        problems.push(problem(collector, message));
        return false;
    }
    let name = std::mem::take(&mut resource.name);
    resource.name = cut(name, limits::RESOURCE_KEY_BYTES_MAX);
    resource.health_reasons.truncate(REASONS_MAX);
    for reason in &mut resource.health_reasons {
        *reason = cut(std::mem::take(reason), limits::PROBLEM_BYTES_MAX);
    }
    let mut left_out = Vec::new();
    resource.attributes.retain(|name, value| {
        let fits =
            name.len() <= limits::NAME_BYTES_MAX && text_bytes_max(value) <= limits::ATTRIBUTE_BYTES_MAX;
        if !fits {
            left_out.push(cut(name.clone(), limits::NAME_BYTES_MAX));
        }
        fits
    });
    while limits::ATTRIBUTES_PER_RESOURCE_MAX < resource.attributes.len()
        || ITEM_BYTES_MAX < size::resource(resource)
    {
        // The longest value says the least per byte: raw documents go before temperatures.
        let longest = resource
            .attributes
            .iter()
            .max_by_key(|(name, value)| size::attribute(name, value));
        let Some(name) = longest.map(|(name, _)| name.clone()) else {
            break;
        };
        resource.attributes.remove(&name);
        left_out.push(name);
    }
    if !left_out.is_empty() {
        let message = format!(
            "{} is too long: left out {}",
            shown(&resource.key),
            left_out.join(", ")
        );
        problems.push(problem(collector, message));
    }
    true
}

/// Cuts an inventory to what may be sent. `false` if its keys alone are too long: a set that lacks keys would
/// declare living resources gone, so it is rather not sent at all.
pub(super) fn fit_inventory(inventory: &mut Inventory, problems: &mut Problems) -> bool {
    let wanted = inventory.links.len();
    inventory.links.truncate(limits::LINKS_PER_COLLECTOR_MAX);
    while ITEM_BYTES_MAX < size::inventory(inventory) && !inventory.links.is_empty() {
        inventory.links.truncate(inventory.links.len() * 3 / 4);
    }
    if inventory.links.len() < wanted {
        let message = format!(
            "{} of {wanted} links are not sent",
            wanted - inventory.links.len()
        );
        problems.push(problem(&inventory.collector, message));
    }
    if ITEM_BYTES_MAX < size::inventory(inventory) {
        let message = format!(
            "the list of {} resources is too long to be sent",
            inventory.keys.len()
        );
        problems.push(problem(&inventory.collector, message));
        return false;
    }
    true
}

fn text_bytes_max(value: &Attribute) -> usize {
    match value {
        Attribute::Bool(_) | Attribute::Int(_) | Attribute::Float(_) => 0,
        Attribute::Text(text) => text.len(),
        Attribute::List(items) => items.iter().map(String::len).max().unwrap_or(0),
    }
}
