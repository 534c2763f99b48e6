//! eMMC storage: it has no SMART, and the kernel shows what it estimates of its own wear. Reading that wakes nothing: the
//! kernel asked once, when it found the card.

use muster_catalogue::{
    MUSTER_DEVICE_WEAR_USED_PERCENT, MUSTER_EMMC_LIFE_USED_PERCENT, MUSTER_EMMC_PRE_EOL_INFO,
};
use muster_model::{Health, Resource, ResourceKey, ResourceKind};
use muster_parse::emmc::{Life, PreEol, life_time, pre_eol_info};

use crate::collect::block::{Class, Inventory};
use crate::collect::draft::Draft;
use crate::host::Host;

/// What a card says of its wear.
#[derive(Debug)]
pub(super) struct Card {
    name: String,
    key: ResourceKey,
    life: Option<Life>,
    pre_eol: Option<PreEol>,
    problems: Vec<muster_parse::Problem>,
}

/// Reads every card that says something of its wear; SD cards do not.
pub(super) async fn read_all(host: &Host, inventory: &Inventory) -> Vec<Card> {
    let mut cards = Vec::new();
    let devices = inventory
        .devices()
        .filter(|(node, _)| node.class == Class::Mmc && is_whole(&node.name));
    for (node, identity) in devices {
        let path = |attribute: &str| format!("block/{}/device/{attribute}", node.name);
        let read = async |attribute: &str| host.read_sys(&path(attribute)).await.ok().flatten();
        let (life, pre_eol) = (read("life_time").await, read("pre_eol_info").await);
        if life.is_none() && pre_eol.is_none() {
            continue;
        }
        let life = life.map(|text| life_time(&text)).unwrap_or_default();
        let pre_eol = pre_eol.map(|text| pre_eol_info(&text)).unwrap_or_default();
        cards.push(Card {
            name: node.name.clone(),
            key: identity.key.clone(),
            life: life.value,
            pre_eol: pre_eol.value,
            problems: life.problems.into_iter().chain(pre_eol.problems).collect(),
        });
    }
    cards
}

/// `mmcblk0`, and not `mmcblk0boot0`, which is a part of the same card.
fn is_whole(name: &str) -> bool {
    name.strip_prefix("mmcblk")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Tells of the cards.
pub(super) fn describe_all(draft: &mut Draft, cards: Vec<Card>) {
    for card in cards {
        let (health, reasons) = judge(&card);
        let mut resource = Resource::new(ResourceKind::Device, card.key.clone(), &card.name);
        resource.health = Some(health);
        resource.health_reasons = reasons;
        let used = card.life.and_then(|life| life.used_percent());
        resource.set(
            "wear_level_percent",
            used.map(|percent| f64::from(percent.min(100))),
        );
        draft.resource(resource);
        let device = ("device", card.name.as_str());
        let life = card.life.unwrap_or_default();
        for (cells, used) in [("a", life.a_used_percent), ("b", life.b_used_percent)] {
            if let Some(percent) = used {
                let metric = &MUSTER_EMMC_LIFE_USED_PERCENT;
                draft.sample_of(
                    Some(&card.key),
                    metric,
                    &[device, ("type", cells)],
                    f64::from(percent),
                );
            }
        }
        if let Some(percent) = used {
            draft.sample_of(
                Some(&card.key),
                &MUSTER_DEVICE_WEAR_USED_PERCENT,
                &[device],
                f64::from(percent),
            );
        }
        if let Some(state) = card.pre_eol {
            let number = match state {
                PreEol::Normal => 1.0,
                PreEol::Warning => 2.0,
                PreEol::Urgent => 3.0,
            };
            draft.sample_of(Some(&card.key), &MUSTER_EMMC_PRE_EOL_INFO, &[device], number);
        }
        draft.parser_problems(&format!("wear of {}", card.name), card.problems);
    }
}

/// The worst of both: an estimate that is not there says nothing good.
fn judge(card: &Card) -> (Health, Vec<String>) {
    const NEAR_PERCENT: u8 = 90;
    let mut reasons = Vec::new();
    let mut health = match card.pre_eol {
        Some(PreEol::Urgent) => {
            reasons.push(
                "90 % of the card's reserved blocks are used up (pre_eol_info 0x03); back up and replace it"
                    .to_owned(),
            );
            Health::Critical
        }
        Some(PreEol::Warning) => {
            reasons.push(
                "80 % of the card's reserved blocks are used up (pre_eol_info 0x02); plan the replacement"
                    .to_owned(),
            );
            Health::Warning
        }
        Some(PreEol::Normal) => {
            reasons.push("the card has reserved blocks enough (pre_eol_info 0x01)".to_owned());
            Health::Healthy
        }
        None => Health::Unknown,
    };
    match card.life.and_then(|life| life.used_percent()) {
        Some(percent) if 100 < percent => {
            reasons.push(
                "the card has used more than the life it is made for (life_time 0x0b); plan the replacement"
                    .to_owned(),
            );
            health = if health == Health::Critical {
                health
            } else {
                Health::Warning
            };
        }
        Some(percent) => {
            let near = if NEAR_PERCENT < percent {
                "; have a replacement at hand"
            } else {
                ""
            };
            reasons.push(format!(
                "the card estimates that up to {percent} % of its life is used{near}"
            ));
            health = if health == Health::Unknown {
                Health::Healthy
            } else {
                health
            };
        }
        None if health == Health::Unknown => {
            reasons.push("the card does not say how worn it is".to_owned());
        }
        None => {}
    }
    (health, reasons)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(life: &str, pre_eol: &str) -> (Health, Vec<String>) {
        judge(&Card {
            name: "mmcblk0".to_owned(),
            key: ResourceKey::new("device:x"),
            life: life_time(life).value,
            pre_eol: pre_eol_info(pre_eol).value,
            problems: Vec::new(),
        })
    }

    #[test]
    fn the_worse_of_both_estimates_counts() {
        for (life, pre_eol, expected) in [
            ("0x01 0x02", "0x01", Health::Healthy),
            ("0x01 0x02", "0x02", Health::Warning),
            ("0x01 0x02", "0x03", Health::Critical),
            ("0x0b 0x01", "0x01", Health::Warning),
            ("0x0b 0x01", "0x03", Health::Critical),
            ("0x00 0x00", "0x01", Health::Healthy),
            ("0x03 0x01", "0x00", Health::Healthy),
            ("0x00 0x00", "0x00", Health::Unknown),
            ("soon", "never", Health::Unknown),
        ] {
            let (health, reasons) = card(life, pre_eol);
            assert_eq!(health, expected, "{life} {pre_eol}: {reasons:?}");
            assert!(!reasons.is_empty());
        }
    }

    #[test]
    fn boot_parts_are_no_cards() {
        assert!(is_whole("mmcblk0") && is_whole("mmcblk12"));
        assert!(!is_whole("mmcblk0boot0") && !is_whole("mmcblk0rpmb") && !is_whole("mmcblk"));
    }
}
