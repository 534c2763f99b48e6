//! Whether a ZFS pool lives on when some of its disks die: as long as each of its top-level vdevs does.
//!
//! Pure. Told by the tree of vdevs that the pool's collector sends; see zpoolconcepts(7).

use crate::app::resources::ResourceView;

use super::super::impact::Effect;
use super::{Below, text};

/// A line of a pool's tree; the first is the pool itself.
#[derive(Debug, serde::Deserialize)]
struct Vdev {
    name: String,
    #[serde(default)]
    class: String,
    #[serde(rename = "type", default)]
    kind: String,
    /// Place of the one above in the list.
    parent: Option<usize>,
    state: Option<String>,
    /// Key of the resource that it is.
    #[serde(default)]
    resource: Option<String>,
}

impl Vdev {
    fn is_up(&self) -> bool {
        matches!(self.state.as_deref(), Some("ONLINE" | "DEGRADED"))
    }

    fn holds_data(&self) -> bool {
        !matches!(self.class.as_str(), "cache" | "spare")
    }
}

/// What stands directly below a top-level vdev: a disk, or several that are about to replace each other.
#[derive(Debug, Default)]
struct Unit {
    /// Places below of its disks that are up; `None` for one that is no resource.
    disks: Vec<Option<usize>>,
}

impl Unit {
    fn effect(&self, below: &[Below<'_>]) -> Option<Effect> {
        let of = |place: &Option<usize>| place.and_then(|place| below.get(place)?.effect);
        let effects: Vec<Option<Effect>> = self.disks.iter().map(of).collect();
        // One that lives keeps the unit alive; a unit is hit as little as the least hit of its disks.
        let least = effects.iter().copied().min()?;
        let is_hit = effects.iter().any(Option::is_some);
        least.or(is_hit.then_some(Effect::Degraded))
    }
}

/// A top-level vdev.
#[derive(Debug)]
struct Group<'a> {
    vdev: &'a Vdev,
    units: Vec<(usize, Unit)>,
}

/// What becomes of a pool; `None` if its tree does not suffice to say.
pub(super) fn effect(upper: &ResourceView, below: &[Below<'_>]) -> Option<(Effect, String)> {
    let tree: Vec<Vdev> = serde_json::from_str(text(upper, "vdevs")?).ok()?;
    let place_of = |vdev: &Vdev| {
        let key = vdev.resource.as_deref()?;
        below.iter().position(|lower| lower.key.as_str() == key)
    };
    // A hit on something that the tree does not name would be overlooked.
    let named: Vec<usize> = tree.iter().filter_map(place_of).collect();
    let hit = |place: &usize| below.get(*place).is_some_and(|lower| lower.effect.is_some());
    if !(0..below.len()).filter(hit).all(|place| named.contains(&place)) {
        return None;
    }
    let mut groups: Vec<(usize, Group<'_>)> = Vec::new();
    for (index, leaf) in tree.iter().enumerate().skip(1) {
        if tree.iter().any(|vdev| vdev.parent == Some(index)) || !leaf.holds_data() {
            continue;
        }
        let (top, unit) = place(&tree, index);
        let at = match groups.iter().position(|(known, _)| *known == top) {
            Some(at) => at,
            None => {
                let (vdev, units) = (tree.get(top)?, Vec::new());
                groups.push((top, Group { vdev, units }));
                groups.len() - 1
            }
        };
        let units = &mut groups.get_mut(at)?.1.units;
        let at = match units.iter().position(|(known, _)| *known == unit) {
            Some(at) => at,
            None => {
                units.push((unit, Unit::default()));
                units.len() - 1
            }
        };
        if leaf.is_up() {
            units.get_mut(at)?.1.disks.push(place_of(leaf));
        }
    }
    let is_resilvering =
        text(upper, "scan_type") == Some("resilver") && text(upper, "scan_state") == Some("in_progress");
    let worst = groups
        .iter()
        .filter_map(|(_, group)| group.effect(below, is_resilvering))
        .max_by_key(|(effect, _)| *effect);
    // What is hit holds no data of it, or was down before.
    Some(worst.unwrap_or_else(|| (Effect::Degraded, "no disk that holds its data is hit".to_owned())))
}

/// The top-level vdev above a leaf, and what stands directly below that on the way.
fn place(tree: &[Vdev], leaf: usize) -> (usize, usize) {
    let mut unit = leaf;
    let mut at = leaf;
    // No tree is deeper than it has lines, also one whose lines point in a circle.
    for _ in 0..tree.len() {
        match tree.get(at).and_then(|vdev| vdev.parent) {
            None | Some(0) => break,
            Some(parent) => (unit, at) = (at, parent),
        }
    }
    (at, unit)
}

impl Group<'_> {
    fn effect(&self, below: &[Below<'_>], is_resilvering: bool) -> Option<(Effect, String)> {
        let name = &self.vdev.name;
        let effects: Vec<Option<Effect>> = self.units.iter().map(|(_, unit)| unit.effect(below)).collect();
        effects.iter().flatten().max()?;
        if self.vdev.class.starts_with("log") {
            let reason = format!("{name} is its log: what was written last may be lost with it");
            return Some((Effect::Degraded, reason));
        }
        let Some(survives) = self.survives() else {
            return Some((Effect::Unknown, format!("what {name} survives is not known here")));
        };
        let down = self
            .units
            .iter()
            .filter(|(_, unit)| unit.disks.is_empty())
            .count();
        let of = |effect| effects.iter().filter(|hit| **hit == Some(effect)).count();
        let (lost, untold) = (of(Effect::Lost), of(Effect::Unknown));
        let effect = if survives < down + lost {
            Effect::Lost
        } else if survives < down + lost + untold || is_resilvering {
            Effect::Unknown
        } else {
            Effect::Degraded
        };
        let reason = if is_resilvering && effect == Effect::Unknown {
            format!("{name}: a resilver is under way, so not every disk holds all of its data")
        } else {
            format!(
                "{name}: {} of its {} disks are down then, and it survives the loss of {survives}",
                down + lost,
                self.units.len()
            )
        };
        Some((effect, reason))
    }

    /// How many of its disks it survives the loss of; `None` if its kind is not known here.
    fn survives(&self) -> Option<usize> {
        Some(match self.vdev.kind.as_str() {
            "mirror" | "spare" | "replacing" => self.units.len().saturating_sub(1),
            "raidz" | "raidz1" => 1,
            "raidz2" => 2,
            "raidz3" => 3,
            "device" => 0,
            kind if kind.starts_with("draid3") => 3,
            kind if kind.starts_with("draid2") => 2,
            kind if kind.starts_with("draid") => 1,
            _ => return None,
        })
    }
}
