//! The form that begins a roll-out.

use maud::{Markup, html};
use muster_update::{RolloutBody, Wave};
use serde::Deserialize;

use super::super::{Field, ROLLOUTS, Wrong, given, number};
use crate::app::series::Names;
use crate::http::page::containers;

/// Waves that are usual, as they are written in the form.
const WAVES_USUAL: &str = "1, 5%, 25%, 100%";

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct RolloutForm {
    name: String,
    image_pattern: String,
    canary_server_id: String,
    waves: String,
    soak_min: String,
}

/// The fields of the form, as they are called when something is wrong with them.
pub(super) const FIELDS: [&str; 5] = ["name", "image_pattern", "canary_server_id", "waves", "soak_s"];

impl RolloutForm {
    /// What is meant; what cannot be read is noted.
    pub(super) fn read(&self, wrong: &mut Wrong) -> RolloutBody {
        let waves = given(&self.waves).map(|text| {
            let read: Option<Vec<Wave>> = text.split(',').map(wave).collect();
            read.unwrap_or_else(|| {
                wrong.note(
                    "waves",
                    "numbers of servers or shares are needed, such as 1, 5%, 100%",
                );
                Vec::new()
            })
        });
        let soak_min = number("soak_s", &self.soak_min, wrong);
        RolloutBody {
            name: self.name.trim().to_owned(),
            image_pattern: given(&self.image_pattern),
            update_ids: None,
            canary_server_id: number("canary_server_id", &self.canary_server_id, wrong),
            waves,
            soak_s: soak_min.map(|minutes| minutes.saturating_mul(60)),
        }
    }
}

fn wave(text: &str) -> Option<Wave> {
    let text = text.trim();
    match text.strip_suffix('%') {
        Some(share) => share.trim().parse().ok().map(Wave::Percent),
        None => text.parse().ok().map(Wave::Servers),
    }
}

/// Draws the form.
pub(super) fn draw(form: &RolloutForm, wrong: &Wrong, names: &Names) -> Markup {
    let field = |label, name, value, hint| Field {
        label,
        name,
        value,
        hint,
        bytes_max: 500,
    };
    html! {
        section class="card" {
            header { h2 { "Begin a roll-out" } span class="soft" { "of every open update whose image matches" } }
            form method="post" action=(ROLLOUTS) class="row first" {
                (field("Name", "name", &form.name, "nginx").draw(wrong))
                (field("Images, a regular expression", "image_pattern", &form.image_pattern, "nginx:.*").draw(wrong))
                label {
                    "First server"
                    select name="canary_server_id" {
                        option value="" { "the one with the lowest number" }
                        @for (id, name) in containers::servers(names) {
                            option value=(id) selected[form.canary_server_id == id.to_string()] { (name) }
                        }
                    }
                    (wrong.at("canary_server_id"))
                }
                (field("Waves, up to", "waves", &form.waves, WAVES_USUAL).draw(wrong))
                label {
                    "Minutes after each wave"
                    input name="soak_min" type="number" min="0" max="10080" value=(form.soak_min) placeholder="10";
                    (wrong.at("soak_s"))
                }
                button type="submit" { "Begin it" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_are_written_as_numbers_and_shares() {
        assert_eq!(wave(" 3 "), Some(Wave::Servers(3)));
        assert_eq!(wave("25 %"), Some(Wave::Percent(25)));
        for odd in ["", "x", "-1", "1.5%", "%"] {
            assert_eq!(wave(odd), None, "{odd}");
        }
    }
}
