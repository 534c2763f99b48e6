//! Disks and pools that are not well, the worst first, and what goes down with each.

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use maud::{Markup, html};
use muster_base::id::ServerId;
use muster_model::{Health, ResourceKind};

use super::{layout, map};
use crate::app::collectors::HealthCounts;
use crate::app::resources::{ResourceFilter, ResourceView};
use crate::app::servers::ServerName;
use crate::app::topology::Effect;
use crate::app::{AppError, PageRequest};
use crate::http::HttpState;
use crate::http::error::Problem;

/// Most resources that are shown.
const SHOWN_MAX: usize = 12;
/// Of how many it is worked out at once what goes down with them.
const AT_ONCE: usize = 4;
/// What is looked at.
const KINDS: [ResourceKind; 2] = [ResourceKind::Pool, ResourceKind::Device];
/// Most reasons of one.
const REASONS_MAX: usize = 3;

/// What is wrong.
#[derive(Debug, Default)]
pub(super) struct Attention {
    troubles: Vec<Trouble>,
    /// How many there are.
    total: usize,
}

#[derive(Debug)]
struct Trouble {
    resource: ResourceView,
    hostname: String,
    /// How many others it takes with it, and what becomes of them.
    hits: Vec<(usize, &'static str)>,
}

/// Reads it, the worst first. `counts` says what there is to be read.
pub(super) async fn load(state: &HttpState, counts: &HealthCounts) -> Result<Attention, Problem> {
    let mut total = 0;
    let mut found: Vec<ResourceView> = Vec::new();
    for health in [Health::Failed, Health::Critical, Health::Warning] {
        for kind in KINDS {
            let count = count(counts, kind, &[health]);
            total += count;
            let limit = (SHOWN_MAX - found.len()).min(count);
            if limit == 0 {
                continue;
            }
            let filter = ResourceFilter {
                kind: Some(kind),
                health: Some(health),
                disks_only: true,
                ..ResourceFilter::default()
            };
            let request = PageRequest {
                limit: u32::try_from(limit).ok(),
                cursor: None,
            };
            found.extend(state.app.resources(filter, request).await?.items);
        }
    }
    let names = state.app.server_names().await?;
    let troubles = stream::iter(found)
        .map(|resource| trouble(state, &names, resource))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(Attention { troubles, total })
}

/// How many resources of a kind have one of these healths.
pub(super) fn count(counts: &HealthCounts, kind: ResourceKind, healths: &[Health]) -> usize {
    let of_kind = counts.get(&kind).into_iter().flatten();
    let wanted = of_kind.filter(|(health, _)| healths.contains(health));
    wanted.map(|(_, count)| count).sum()
}

async fn trouble(
    state: &HttpState,
    names: &HashMap<ServerId, ServerName>,
    resource: ResourceView,
) -> Result<Trouble, Problem> {
    let name = names.get(&resource.server);
    Ok(Trouble {
        hostname: name.map_or_else(|| resource.server.to_string(), |name| name.hostname.clone()),
        hits: hits(state, &resource).await?,
        resource,
    })
}

async fn hits(state: &HttpState, resource: &ResourceView) -> Result<Vec<(usize, &'static str)>, Problem> {
    let impact = match state.app.impact(resource.id).await {
        Ok(impact) => impact,
        // It went meanwhile.
        Err(AppError::NotFound { .. }) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let of = |effect| impact.affected.iter().filter(|hit| hit.effect == effect).count();
    let all = [
        (of(Effect::Lost), "lost with it"),
        (of(Effect::Degraded), "degraded"),
        (of(Effect::Unknown), "may be lost"),
    ];
    Ok(all.into_iter().filter(|(count, _)| 0 < *count).collect())
}

/// Draws it; nothing if nothing is wrong.
pub(super) fn draw(attention: &Attention) -> Markup {
    html! {
        @if !attention.troubles.is_empty() {
            section class="card" {
                header { h2 { "Needs attention" } span class="soft" { (attention.total) } }
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "What" } th { "Health" } th { "Why" } th { "If it dies" } } }
                        tbody { @for trouble in &attention.troubles { (line(trouble)) } }
                    }
                }
                @let shown = attention.troubles.len();
                @if shown < attention.total {
                    p class="soft pad" { "and " (attention.total - shown) " more: the API lists all" }
                }
            }
        }
    }
}

fn line(trouble: &Trouble) -> Markup {
    let resource = &trouble.resource;
    html! {
        tr {
            td {
                a class="name" href=(map::address(resource)) { (resource.name) }
                div class="under" {
                    (resource.kind.as_str()) " on "
                    a href={ "/servers/" (resource.server) } { (trouble.hostname) }
                }
            }
            td { (layout::health(resource.health)) }
            td class="wrap" {
                @for reason in resource.health_reasons.iter().take(REASONS_MAX) { div { (reason) } }
                @if resource.health_reasons.is_empty() { span class="soft" { "–" } }
            }
            td data-label="If it dies" {
                @for (count, word) in &trouble.hits { div class="nowrap" { (count) " " (word) } }
                @if trouble.hits.is_empty() { span class="soft" { "nothing known" } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::topology::tests::Stack;

    #[test]
    fn what_is_wrong_is_told_with_why_and_what_goes_down_with_it() {
        let stack = Stack::default().with(ResourceKind::Device, "sda", &[], &[]);
        let mut resource = stack.resources[0].clone();
        resource.health = Health::Failed;
        resource.health_reasons = vec!["<b>says of itself that it fails".to_owned()];
        let attention = Attention {
            troubles: vec![Trouble {
                resource,
                hostname: "web".to_owned(),
                hits: vec![(2, "lost with it")],
            }],
            total: 5,
        };
        let drawn = draw(&attention).into_string();
        for part in ["sda", "web", "2 lost with it", "and 4 more", "&lt;b&gt;says"] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
        assert!(draw(&Attention::default()).into_string().is_empty());
    }
}
