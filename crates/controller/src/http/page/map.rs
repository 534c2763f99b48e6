//! The storage map: from disks on the left to mount points on the right, as inline SVG. Pure.
//!
//! No script and no style attribute: the page's policy forbids both. Health is a colour and a word.

use std::collections::{HashMap, HashSet};

use maud::{Markup, html};
use muster_base::id::ResourceId;
use muster_model::ResourceKind;

use super::{format, layout};
use crate::app::resources::ResourceView;
use crate::app::topology::{self, LinkView, Placed, Topology};

/// Most boxes of one map; a larger server is shown in part, and it is said so.
const BOXES_MAX: usize = 300;
/// Most columns.
const COLUMNS_MAX: u32 = 12;
/// Times that the order within columns is improved.
const ROUNDS: usize = 4;
/// Longest name in a box, in letters.
const LETTERS_MAX: usize = 22;
/// Longest kind in a box; size and health stand behind it.
const KIND_LETTERS_MAX: usize = 10;

const BOX_WIDTH: usize = 176;
const BOX_HEIGHT: usize = 40;
const COLUMN_WIDTH: usize = 220;
const ROW_HEIGHT: usize = 50;
const MARGIN: usize = 8;

/// A resource in its place on the map.
struct Spot<'a> {
    resource: &'a ResourceView,
    column: usize,
    row: usize,
}

/// Draws what rests on what.
pub(super) fn draw(topology: &Topology) -> Markup {
    let (spots, left_out) = place(topology);
    let columns = spots.values().map(|spot| spot.column + 1).max().unwrap_or(0);
    let rows = spots.values().map(|spot| spot.row + 1).max().unwrap_or(0);
    let (width, height) = (
        columns * COLUMN_WIDTH - (COLUMN_WIDTH - BOX_WIDTH).min(columns * COLUMN_WIDTH) + 2 * MARGIN,
        rows * ROW_HEIGHT + 2 * MARGIN,
    );
    let mut boxes: Vec<&Spot<'_>> = spots.values().collect();
    boxes.sort_unstable_by_key(|spot| (spot.column, spot.row));
    html! {
        section class="card" {
            header { h2 { "Storage map" } span class="soft" { "from disks to mount points" } }
            @if spots.is_empty() { p class="empty" { "Nothing is known of its storage." } }
            @else {
                div class="scroll" {
                    svg class="map" width=(width) height=(height) viewBox=(format!("0 0 {width} {height}"))
                        role="group" aria-label="What rests on what" {
                        @for link in &topology.links {
                            @if let (Some(from), Some(to)) = (spots.get(&link.from), spots.get(&link.to)) {
                                path class=(edge_class(to.resource)) d=(curve(from, to)) {}
                            }
                        }
                        @for spot in boxes { (draw_box(spot)) }
                    }
                }
                @if 0 < left_out || topology.is_truncated {
                    p class="empty" { (left_out) " more resources are not drawn; the API has all of them." }
                }
                @if !topology.undescribed.is_empty() {
                    p class="empty" {
                        "Something is linked that no collector has described: "
                        (topology.undescribed.iter().take(3).map(|link| link.to.as_str()).collect::<Vec<_>>().join(", "))
                    }
                }
            }
        }
    }
}

fn draw_box(spot: &Spot<'_>) -> Markup {
    let resource = spot.resource;
    let (x, y) = corner(spot);
    let health = layout::health_class(resource.health);
    let kind = topology::subtype(resource).unwrap_or(resource.kind.as_str());
    let size = topology::size_bytes(resource).map(size);
    let mut words = vec![short_to(kind, KIND_LETTERS_MAX)];
    words.extend(size);
    words.push(if resource.gone_ms.is_some() {
        "gone".to_owned()
    } else {
        resource.health.as_str().to_owned()
    });
    let class = match resource.gone_ms {
        Some(_) => format!("box gone {health}"),
        None => format!("box {health}"),
    };
    html! {
        a href=(address(resource)) {
            title { (tip(resource)) }
            rect class=(class) x=(x) y=(y) width=(BOX_WIDTH) height=(BOX_HEIGHT) rx="6" {}
            rect class={ "mark " (health) } x=(x) y=(y) width="4" height=(BOX_HEIGHT) rx="2" {}
            text class="name" x=(x + 12) y=(y + 17) { (short(&resource.name)) }
            text class="under" x=(x + 12) y=(y + 32) { (words.join(" · ")) }
        }
    }
}

/// The page of a resource.
pub(super) fn address(resource: &ResourceView) -> String {
    match resource.kind {
        ResourceKind::Device => format!("/devices/{}", resource.id),
        // One that is gone is not asked for updates any more, nor told to do anything.
        ResourceKind::Container if resource.gone_ms.is_none() => {
            format!("{}/{}", super::containers::PATH, resource.id)
        }
        _ => format!("/resources/{}", resource.id),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn size(bytes: i64) -> String {
    format::capacity(bytes as f64)
}

fn tip(resource: &ResourceView) -> String {
    let mut lines = vec![format!(
        "{} {}: {}",
        resource.kind.as_str(),
        resource.name,
        resource.health.as_str()
    )];
    lines.extend(resource.health_reasons.iter().cloned());
    let places = topology::mount_points(resource);
    if !places.is_empty() {
        lines.push(format!("mounted at {}", places.join(", ")));
    }
    lines.join("\n")
}

fn short(name: &str) -> String {
    short_to(name, LETTERS_MAX)
}

/// A text within so many letters, its middle left out: the end of a path says most.
fn short_to(text: &str, most: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= most {
        return text.to_owned();
    }
    let head = (most - 1) / 2;
    let tail = most - 1 - head;
    let cut = letters.len() - tail;
    letters[..head]
        .iter()
        .chain(&['…'])
        .chain(&letters[cut..])
        .collect()
}

fn corner(spot: &Spot<'_>) -> (usize, usize) {
    (
        MARGIN + spot.column * COLUMN_WIDTH,
        MARGIN + spot.row * ROW_HEIGHT,
    )
}

/// A line from the right edge of what is below to the left edge of what rests on it.
fn curve(from: &Spot<'_>, to: &Spot<'_>) -> String {
    let (left, right) = (corner(to), corner(from));
    let (x1, y1) = (left.0 + BOX_WIDTH, left.1 + BOX_HEIGHT / 2);
    let (x2, y2) = (right.0, right.1 + BOX_HEIGHT / 2);
    let bend = (COLUMN_WIDTH - BOX_WIDTH).min(x1.abs_diff(x2)) * 2 / 3;
    format!(
        "M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}",
        x1 + bend,
        x2.saturating_sub(bend)
    )
}

fn edge_class(below: &ResourceView) -> String {
    format!("edge {}", layout::health_class(below.health))
}

/// Gives each resource a column by its layer and a row near what it rests on; says how many were left out.
fn place(topology: &Topology) -> (HashMap<ResourceId, Spot<'_>>, usize) {
    let linked: HashSet<ResourceId> = topology
        .links
        .iter()
        .flat_map(|link| [link.from, link.to])
        .collect();
    let mut all: Vec<&Placed> = topology
        .resources
        .iter()
        .filter(|placed| is_storage(placed, linked.contains(&placed.resource.id)))
        .collect();
    all.sort_by(|a, b| {
        (a.layer, &a.resource.name, a.resource.id.0).cmp(&(b.layer, &b.resource.name, b.resource.id.0))
    });
    let left_out = all.len().saturating_sub(BOXES_MAX);
    all.truncate(BOXES_MAX);
    let mut columns: Vec<Vec<&Placed>> = Vec::new();
    for placed in all {
        let column = placed.layer.min(COLUMNS_MAX - 1) as usize;
        if columns.len() <= column {
            columns.resize_with(column + 1, Vec::new);
        }
        columns[column].push(placed);
    }
    order(&mut columns, &topology.links);
    let mut spots = HashMap::new();
    for (column, members) in columns.into_iter().enumerate() {
        for (row, placed) in members.into_iter().enumerate() {
            let resource = &placed.resource;
            spots.insert(
                resource.id,
                Spot {
                    resource,
                    column,
                    row,
                },
            );
        }
    }
    (spots, left_out)
}

/// Only what carries data belongs on the map of storage; what is mounted from memory or the network rests on nothing here.
fn is_storage(placed: &Placed, is_linked: bool) -> bool {
    let is_mounted = matches!(
        placed.resource.kind,
        ResourceKind::Filesystem | ResourceKind::Swap
    );
    (is_linked || !is_mounted)
        && matches!(
            placed.resource.kind,
            ResourceKind::Device
                | ResourceKind::Partition
                | ResourceKind::Mapping
                | ResourceKind::Pool
                | ResourceKind::Volume
                | ResourceKind::Filesystem
                | ResourceKind::Swap
                | ResourceKind::Container
                | ResourceKind::Database
        )
}

/// Moves each towards the middle of its neighbours, column by column, so that few lines cross.
fn order(columns: &mut [Vec<&Placed>], links: &[LinkView]) {
    for round in 0..ROUNDS {
        let mut rows: HashMap<ResourceId, f64> = HashMap::new();
        for members in columns.iter() {
            for (row, placed) in members.iter().enumerate() {
                #[expect(clippy::cast_precision_loss, reason = "at most 300 rows")]
                rows.insert(placed.resource.id, row as f64);
            }
        }
        let is_upward = round % 2 == 0;
        let mut around: HashMap<ResourceId, Vec<f64>> = HashMap::new();
        for link in links {
            let (moved, fixed) = if is_upward {
                (link.from, link.to)
            } else {
                (link.to, link.from)
            };
            if let Some(row) = rows.get(&fixed) {
                around.entry(moved).or_default().push(*row);
            }
        }
        let middle = |placed: &Placed| {
            let id = placed.resource.id;
            let own = rows.get(&id).copied().unwrap_or(0.0);
            #[expect(clippy::cast_precision_loss, reason = "at most 300 rows")]
            around
                .get(&id)
                .map_or(own, |near| near.iter().sum::<f64>() / near.len() as f64)
        };
        for members in columns.iter_mut() {
            // Stable: what has no reason to move keeps its place.
            members.sort_by(|a, b| middle(a).total_cmp(&middle(b)));
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_model::Attribute;

    use super::*;
    use crate::app::topology::tests::Stack;

    fn topology_of(stack: &Stack) -> Topology {
        let id = |key: &str| {
            let found = stack.resources.iter().find(|resource| resource.key == key);
            found.map_or(ResourceId(0), |resource| resource.id)
        };
        let links: Vec<LinkView> = stack
            .links
            .iter()
            .map(|row| LinkView {
                from: id(row.from.as_str()),
                to: id(row.to.as_str()),
                link_type: row.link_type,
                gone_ms: None,
            })
            .collect();
        let layers = topology::layers(&links);
        Topology {
            resources: stack
                .resources
                .iter()
                .map(|resource| Placed {
                    resource: resource.clone(),
                    layer: layers.get(&resource.id).copied().unwrap_or(0),
                })
                .collect(),
            links,
            ..Topology::default()
        }
    }

    #[test]
    fn every_resource_has_a_box_with_its_health_as_a_word_and_a_link() {
        let places = [("mountpoint", Attribute::from("/srv/<b>"))];
        let stack = Stack::default()
            .with(ResourceKind::Device, "sda", &[], &[])
            .with(ResourceKind::Pool, "md0", &[], &["sda"])
            .with(ResourceKind::Filesystem, "/srv/<b>", &places, &["md0"]);
        let drawn = draw(&topology_of(&stack)).into_string();
        assert_eq!(drawn.matches("class=\"box good\"").count(), 3);
        assert_eq!(drawn.matches("class=\"edge good\"").count(), 2);
        for part in ["/devices/1", "/resources/2", "healthy", "&lt;b&gt;"] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
        assert!(!drawn.contains("style=") && !drawn.contains("<b>"));
    }

    #[test]
    fn a_server_with_too_much_for_a_picture_says_what_is_left_out() {
        let mut stack = Stack::default();
        for n in 0..BOXES_MAX + 7 {
            stack = stack.with(ResourceKind::Device, &format!("sd{n}"), &[], &[]);
        }
        let drawn = draw(&topology_of(&stack)).into_string();
        assert!(drawn.contains("7 more resources are not drawn"), "{drawn}");
    }

    #[test]
    fn no_two_boxes_share_a_place_and_long_names_are_cut_in_their_middle() {
        let mut stack = Stack::default();
        for n in 0..6 {
            stack = stack.with(ResourceKind::Device, &format!("sd{n}"), &[], &[]);
        }
        for n in 0..6 {
            let below = format!("sd{}", 5 - n);
            stack = stack.with(ResourceKind::Partition, &format!("p{n}"), &[], &[&below, "sd0"]);
        }
        let topology = topology_of(&stack);
        let (spots, _) = place(&topology);
        let mut places: Vec<(usize, usize)> = spots.values().map(|spot| (spot.column, spot.row)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 12);
        assert_eq!(short_to("/very/long/path/to/somewhere", 11), "/very…where");
        assert_eq!(short_to("äöü", 3), "äöü");
    }

    #[test]
    fn an_empty_server_and_a_cycle_are_drawn_too() {
        assert!(
            draw(&Topology::default())
                .into_string()
                .contains("Nothing is known")
        );
        let stack = Stack::default()
            .with(ResourceKind::Volume, "a", &[], &["b"])
            .with(ResourceKind::Volume, "b", &[], &["a"]);
        assert_eq!(
            draw(&topology_of(&stack))
                .into_string()
                .matches("class=\"box good\"")
                .count(),
            2
        );
    }
}
