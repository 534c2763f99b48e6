//! The form that begins a roll-out.

use muster_update::{RolloutBody, Wave};

use crate::app::series::Names;
use crate::http::page::containers;
use crate::http::page::form::{Field, Form, Refused, Sent, Wrong, numbered};

/// Waves that are usual, as they are written in the form.
const WAVES_USUAL: &str = "1, 5%, 25%, 100%";
/// Longest pause after a wave, in minutes.
const SOAK_MAX_MIN: i64 = 7 * 24 * 60;

/// The fields.
pub(super) fn fields(names: &Names) -> Form {
    let servers = numbered("the lowest number", &containers::servers(names));
    Form::of(vec![
        Field::text("name", "Name", "nginx"),
        Field::text("image_pattern", "Images, a regular expression", "nginx:.*"),
        Field::one("canary_server_id", "First server", servers),
        Field::text("waves", "Waves, up to", WAVES_USUAL),
        Field::number("soak_min", "Minutes after each wave", 0, SOAK_MAX_MIN)
            .hint("10")
            .known_as("soak_s"),
    ])
}

/// What is meant.
pub(super) fn meant(sent: &Sent) -> Result<RolloutBody, Refused> {
    let mut wrong = Wrong::default();
    let waves = sent.given("waves").map(|text| {
        let read: Option<Vec<Wave>> = text.split(',').map(wave).collect();
        read.unwrap_or_else(|| {
            wrong.note(
                "waves",
                "numbers of servers or shares are needed, such as 1, 5%, 100%",
            );
            Vec::new()
        })
    });
    let soak_min: Option<i64> = sent.number("soak_min", &mut wrong);
    let body = RolloutBody {
        name: sent.trimmed("name"),
        image_pattern: sent.given("image_pattern"),
        update_ids: None,
        canary_server_id: sent.number("canary_server_id", &mut wrong),
        waves,
        soak_s: soak_min.map(|minutes| minutes.saturating_mul(60)),
    };
    wrong.unless(body)
}

fn wave(text: &str) -> Option<Wave> {
    let text = text.trim();
    match text.strip_suffix('%') {
        Some(share) => share.trim().parse().ok().map(Wave::Percent),
        None => text.parse().ok().map(Wave::Servers),
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
