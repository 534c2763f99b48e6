//! Whether a resource lives on when some of what it rests on dies.
//!
//! Pure. Judged by what is known of the resource: its level, how many members it is without already, how its disks are
//! grouped. Where that does not suffice the answer is unknown. Levels and what they survive: md(4), lvmraid(7),
//! zpoolconcepts(7), btrfs(5).

mod zfs;

use muster_model::{Attribute, Health, ResourceKey, ResourceKind};

use super::impact::Effect;
use crate::app::resources::ResourceView;

/// One of those that a resource rests on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Below<'a> {
    /// Its key.
    pub(super) key: &'a ResourceKey,
    /// What it is, if somebody described it.
    pub(super) resource: Option<&'a ResourceView>,
    /// What becomes of it; `None` if nothing does.
    pub(super) effect: Option<Effect>,
}

impl Below<'_> {
    fn name(&self) -> &str {
        self.resource.map_or(self.key.as_str(), |resource| &resource.name)
    }
}

/// How much a resource has to spare.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Spare {
    /// Nothing: what it rests on must all be there.
    None,
    /// It survives the loss of so many members more.
    Members(usize),
    /// It lives as long as one member is left.
    AllButOne,
    /// Part of what it holds is lost with each member, and what of it is said by who lies in it.
    InParts,
    /// Losing one is survived; losing more may be or not, depending on which.
    OneForSure,
    /// It cannot be told, for this reason.
    Untold(&'static str),
}

/// Whether this is an LVM volume group, whose volumes each lie on some of its disks.
pub(super) fn is_volume_group(resource: &ResourceView) -> bool {
    resource.kind == ResourceKind::Pool && text(resource, "pool_type") == Some("lvm")
}

/// What becomes of a resource; `None` if nothing does.
pub(super) fn effect(upper: &ResourceView, below: &[Below<'_>]) -> Option<(Effect, String)> {
    below.iter().find(|lower| lower.effect.is_some())?;
    if upper.kind == ResourceKind::Pool
        && text(upper, "pool_type") == Some("zfs")
        && let Some(told) = zfs::effect(upper, below)
    {
        return Some(told);
    }
    let members: Vec<&Below<'_>> = below.iter().filter(|lower| is_member(upper, lower)).collect();
    let spare = spare(upper, members.len());
    judge(&spare, level_of(upper), &members, below)
}

fn judge(
    spare: &Spare,
    level: Option<&str>,
    members: &[&Below<'_>],
    below: &[Below<'_>],
) -> Option<(Effect, String)> {
    let worst = below
        .iter()
        .filter(|lower| lower.effect.is_some())
        .max_by_key(|lower| lower.effect)?;
    let of = |effect| {
        members
            .iter()
            .filter(|lower| lower.effect == Some(effect))
            .count()
    };
    let (lost, untold) = (of(Effect::Lost), of(Effect::Unknown));
    let level = level.unwrap_or("its redundancy");
    let most = match spare {
        Spare::None => return Some(through(worst)),
        Spare::Members(most) => *most,
        Spare::AllButOne => members.len().saturating_sub(1),
        Spare::OneForSure => 1,
        Spare::InParts => {
            let all = !members.is_empty() && lost == members.len();
            let effect = if all { Effect::Lost } else { Effect::Degraded };
            let reason = match (worst.effect, all) {
                (_, true) => "all that it rests on is lost".to_owned(),
                (Some(Effect::Degraded), _) => format!("rests on {}, which is degraded", worst.name()),
                _ => format!(
                    "{} of {} that it rests on are hit: what lies on others lives on",
                    lost + untold,
                    members.len()
                ),
            };
            return Some((effect, reason));
        }
        Spare::Untold(why) => {
            let (effect, reason) = through(worst);
            return match effect {
                Effect::Degraded => Some((effect, reason)),
                _ => Some((Effect::Unknown, (*why).to_owned())),
            };
        }
    };
    if lost == 0 && untold == 0 {
        // A spare, or one that had failed before, makes nothing worse than it is.
        let reason = format!("{} is hit, but no member that holds data", worst.name());
        let (effect, told) = through(worst);
        return Some((
            Effect::Degraded,
            if effect == Effect::Degraded { told } else { reason },
        ));
    }
    let reason = format!(
        "{level}: {} of {} members are left, and it survives the loss of {most}",
        members.len() - lost,
        members.len()
    );
    if most < lost {
        let effect = if *spare == Spare::OneForSure {
            Effect::Unknown
        } else {
            Effect::Lost
        };
        return Some((effect, reason));
    }
    if most < lost + untold {
        return Some((Effect::Unknown, reason));
    }
    Some((Effect::Degraded, reason))
}

/// What comes of resting on one thing without anything to spare.
fn through(worst: &Below<'_>) -> (Effect, String) {
    let effect = worst.effect.unwrap_or(Effect::Unknown);
    let what = match effect {
        Effect::Lost => "is lost",
        Effect::Unknown => "may be lost",
        Effect::Degraded => "is degraded",
    };
    (effect, format!("rests on {}, which {what}", worst.name()))
}

fn level_of(upper: &ResourceView) -> Option<&str> {
    let of_volume = || {
        let kind = text(upper, "volume_type").filter(|_| upper.kind == ResourceKind::Volume)?;
        (kind.starts_with("raid") || kind == "mirror").then_some(kind)
    };
    text(upper, "raid_level").or_else(of_volume)
}

fn spare(upper: &ResourceView, members: usize) -> Spare {
    match upper.kind {
        ResourceKind::Mapping if text(upper, "mapping_type") == Some("multipath") => Spare::AllButOne,
        ResourceKind::Pool => match text(upper, "pool_type") {
            Some("mdadm") => of_level(upper, members),
            Some("btrfs") => of_btrfs(upper, members),
            Some("lvm") => Spare::InParts,
            Some("zfs") if members <= 1 => Spare::None,
            _ if members <= 1 => Spare::None,
            _ => Spare::Untold("how its disks are grouped is not known"),
        },
        // A part that is not in step is no copy yet.
        ResourceKind::Volume if number(upper, "sync_percent").is_some_and(|percent| percent < 100.0) => {
            Spare::Untold("it is not in step, so whether what is left has all of its data cannot be told")
        }
        ResourceKind::Volume if level_of(upper).is_some() => of_level(upper, members),
        _ => Spare::None,
    }
}

/// What a level of md or LVM survives, less what it is without already.
fn of_level(upper: &ResourceView, members: usize) -> Spare {
    let Some(level) = level_of(upper) else {
        return if members <= 1 {
            Spare::None
        } else {
            Spare::Untold("its level is not known")
        };
    };
    let missing = missing(upper);
    let all: usize = match level
        .trim_start_matches("raid")
        .split('_')
        .next()
        .unwrap_or_default()
    {
        // Members that are left; of a mirror only the last one counts.
        "1" | "mirror" => return Spare::AllButOne,
        "4" | "5" => 1,
        "6" => 2,
        "10" => {
            return match missing {
                Some(0) => Spare::OneForSure,
                _ => Spare::Untold("whether the copies of what is missing are left cannot be told"),
            };
        }
        "0" | "linear" | "striped" | "stripe" | "thin" | "thin-pool" | "cache" | "snapshot" => {
            return Spare::None;
        }
        // Not of one level: a container's arrays are judged by themselves.
        "container" => return Spare::InParts,
        _ if members <= 1 => return Spare::None,
        _ => return Spare::Untold("what its level survives is not known here"),
    };
    match missing {
        Some(missing) => Spare::Members(all.saturating_sub(missing)).or_none_left(all, missing),
        None => Spare::Untold("how many members it is without already is not known"),
    }
}

impl Spare {
    /// An array that has lost too much already has nothing to lose.
    const fn or_none_left(self, all: usize, missing: usize) -> Self {
        if all < missing { Self::None } else { self }
    }
}

/// How many members an array is without: those that are down, and those that it has not missed yet.
fn missing(upper: &ResourceView) -> Option<usize> {
    if upper.kind == ResourceKind::Volume {
        // Which of its parts are missing LVM does not say; one that is well has them all.
        return (upper.health == Health::Healthy).then_some(0);
    }
    let down = usize::try_from(whole(upper, "missing_device_count")?).ok()?;
    let is_gone = |text: &&String| role(text) == Some("active") && text.ends_with(" gone");
    let unnoticed = list(upper, "members")
        .unwrap_or_default()
        .iter()
        .filter(is_gone)
        .count();
    Some(down + unnoticed)
}

/// The role in `sdc1 active slot 0`.
fn role(member: &str) -> Option<&str> {
    member.split(' ').nth(1)
}

/// Whether what lies below holds data of an array: not if it is a spare, is still being filled, or has failed before.
fn is_member(upper: &ResourceView, lower: &Below<'_>) -> bool {
    let names = |resource: &ResourceView| {
        let device_name = text(resource, "device_name").map(str::to_owned);
        [Some(resource.name.clone()), device_name]
    };
    let Some(names) = lower.resource.map(names) else {
        return true;
    };
    let told = list(upper, "members").unwrap_or_default().iter().find(|member| {
        let name = member.split(' ').next();
        names.iter().flatten().any(|known| Some(known.as_str()) == name)
    });
    // Of one that is not told by its name the worst is taken: that it holds data.
    told.and_then(|member| role(member))
        .is_none_or(|role| matches!(role, "active" | "unknown"))
}

/// What BTRFS survives: what its least redundant profile does, less what is missing.
fn of_btrfs(upper: &ResourceView, members: usize) -> Spare {
    if members <= 1 {
        return Spare::None;
    }
    // The level is the profile of the data.
    let profiles: Vec<&str> = [level_of(upper), text(upper, "metadata_profile")]
        .into_iter()
        .flatten()
        .collect();
    if profiles.is_empty() {
        return Spare::Untold("its profiles are not known");
    }
    let each = profiles.iter().map(|profile| {
        Some(match profile.to_ascii_lowercase().as_str() {
            "single" | "dup" | "raid0" => 0,
            "raid1" | "raid10" | "raid5" | "raid1c2" => 1,
            "raid1c3" | "raid6" => 2,
            "raid1c4" => 3,
            _ => return None,
        })
    });
    let Some(least) = each.min().flatten() else {
        return Spare::Untold("what its profiles survive is not known here");
    };
    match missing(upper) {
        _ if least == 0 => Spare::None,
        Some(missing) => Spare::Members(usize::saturating_sub(least, missing)),
        None if upper.health == Health::Healthy => Spare::Members(least),
        None => Spare::Untold("how many devices it is without already is not known"),
    }
}

fn text<'a>(resource: &'a ResourceView, name: &str) -> Option<&'a str> {
    match resource.attributes.get(name)? {
        Attribute::Text(text) => Some(text),
        _ => None,
    }
}

fn whole(resource: &ResourceView, name: &str) -> Option<i64> {
    match resource.attributes.get(name)? {
        Attribute::Int(number) => Some(*number),
        _ => None,
    }
}

fn list<'a>(resource: &'a ResourceView, name: &str) -> Option<&'a [String]> {
    match resource.attributes.get(name)? {
        Attribute::List(texts) => Some(texts),
        _ => None,
    }
}

fn number(resource: &ResourceView, name: &str) -> Option<f64> {
    match resource.attributes.get(name)? {
        #[expect(clippy::cast_precision_loss, reason = "a percentage")]
        Attribute::Int(number) => Some(*number as f64),
        Attribute::Float(number) => Some(*number),
        _ => None,
    }
}
