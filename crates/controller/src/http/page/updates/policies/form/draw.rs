//! How the form of a policy is drawn.

use maud::{Markup, html};

use super::super::super::{Field, Wrong};
use super::{MARKS, PolicyForm};
use crate::app::PageRequest;
use crate::http::HttpState;
use crate::http::error::Problem;
use crate::http::page::containers;

/// What can be chosen from.
pub(in crate::http::page::updates) struct Choices {
    servers: Vec<(i64, String)>,
    windows: Vec<(i64, String)>,
    channels: Vec<(i64, String)>,
}

impl Choices {
    /// Reads them.
    pub(in crate::http::page::updates) async fn load(state: &HttpState) -> Result<Self, Problem> {
        let names = state.app.server_names().await?;
        let windows = state.updates.kept_windows().await?;
        let all = PageRequest {
            limit: Some(crate::app::PAGE_LIMIT_MAX),
            cursor: None,
        };
        let channels = state.app.channels(all).await?.items;
        Ok(Self {
            servers: containers::servers(&names),
            windows: windows
                .into_iter()
                .map(|kept| (kept.document.id, kept.document.body.name))
                .collect(),
            channels: channels
                .into_iter()
                .map(|channel| (channel.id, channel.name))
                .collect(),
        })
    }
}

impl PolicyForm {
    /// Draws the form; for whoever may not change it, so that it only shows.
    pub(in crate::http::page::updates) fn draw(
        &self,
        action: &str,
        choices: &Choices,
        wrong: &Wrong,
        may_change: bool,
    ) -> Markup {
        html! {
            form method=(if may_change { "post" } else { "get" }) action=(action) {
                fieldset disabled[!may_change] {
                    (self.whom(choices, wrong))
                    (self.how(choices, wrong))
                    (self.told(choices, wrong))
                    @if may_change { div class="acts" { button type="submit" class="strong" { "Keep it" } } }
                }
            }
        }
    }

    fn field(&self, label: &str, name: &str, hint: &str, wrong: &Wrong) -> Markup {
        let value = self.text(name);
        let bytes_max = 2_000;
        Field {
            label,
            name,
            value,
            hint,
            bytes_max,
        }
        .draw(wrong)
    }

    fn select(&self, label: &str, name: &str, options: &[(String, String)], wrong: &Wrong) -> Markup {
        let value = self.text(name);
        // What is not in the list stays what it is: a policy must not become wider by being looked at.
        let is_listed = value.is_empty() || options.iter().any(|(known, _)| known == value);
        html! {
            label {
                (label)
                select name=(name) {
                    @if !is_listed { option value=(value) selected { (value) } }
                    @for (value, shown) in options {
                        option value=(value) selected[self.text(name) == value] { (shown) }
                    }
                }
                (wrong.at(name))
            }
        }
    }

    fn mark(&self, name: &str) -> Markup {
        let words = MARKS
            .iter()
            .find(|(known, ..)| *known == name)
            .map_or("", |(_, words, _)| words);
        html! {
            label class="inline" { input type="checkbox" name=(name) value="yes" checked[self.is_on(name)]; " " (words) }
        }
    }

    fn whom(&self, choices: &Choices, wrong: &Wrong) -> Markup {
        let scopes = ["global", "server", "image", "label", "container"];
        let shown = [
            "every container",
            "those of a server",
            "those of an image",
            "those with labels",
            "one container",
        ];
        html! {
            section class="card" {
                header { h2 { "Which containers" } }
                div class="row first" {
                    (self.field("Name", "name", "nginx by night", wrong))
                    (self.field("What it is for", "description", "", wrong))
                    (self.select("Scope", "scope", &pairs(&scopes, &shown), wrong))
                    (self.select("Server", "server_id", &numbers(&choices.servers, "any"), wrong))
                    (self.field("Images, a regular expression", "image_pattern", "nginx:.*", wrong))
                    (self.field("Number of the container", "container_id", "", wrong))
                    label class="wide" {
                        "Labels, one name=value a line"
                        textarea name="label_selector" rows="2" { (self.text("label_selector")) }
                        (wrong.at("label_selector"))
                    }
                    (self.field("Priority, the highest decides", "priority", "100", wrong))
                    (self.mark("enabled"))
                }
            }
        }
    }

    fn how(&self, choices: &Choices, wrong: &Wrong) -> Markup {
        let modes = ["manual", "notify", "scheduled", "automatic"];
        let shown = [
            "manual: nothing by itself",
            "notify: people are told",
            "scheduled: approved ones, at their time",
            "automatic: nobody is asked",
        ];
        let limits = ["", "digest", "patch", "minor", "major"];
        let limits_shown = [
            "not said: digest",
            "digest: the same tag, built anew",
            "patch",
            "minor",
            "major",
        ];
        let powers = ["narrow", "any", "ignored"];
        let powers_shown = ["make it narrower", "make it narrower or wider", "mean nothing"];
        html! {
            section class="card" {
                header { h2 { "What happens, how far, and when" } }
                div class="row first" {
                    (self.select("Mode", "mode", &pairs(&modes, &shown), wrong))
                    (self.mark("auto_approve"))
                    (self.select("How far", "limit", &pairs(&limits, &limits_shown), wrong))
                    (self.field("Versions that are wanted", "allowed_versions", ">=1.2, <2", wrong))
                    (self.field("Tags that are not, with commas", "exclude_versions", "*-rc*, latest", wrong))
                    (self.field("Known for at least", "min_age", "3d", wrong))
                    (self.select("Window", "maintenance_window_id", &numbers(&choices.windows, "none"), wrong))
                    (self.field("Schedule, a cron expression", "update_schedule", "0 3 * * TUE", wrong))
                    (self.field("Time zone of the schedule", "timezone", "UTC", wrong))
                    (self.select("Labels of containers", "labels", &pairs(&powers, &powers_shown), wrong))
                    (self.mark("allow_major_databases"))
                }
            }
        }
    }

    fn told(&self, choices: &Choices, wrong: &Wrong) -> Markup {
        html! {
            section class="card" {
                header { h2 { "Who is told of what" } }
                div class="row first" {
                    @for (name, ..) in MARKS.iter().filter(|(name, ..)| name.starts_with("notify_")) { (self.mark(name)) }
                }
                @if !choices.channels.is_empty() {
                    div class="row bare" {
                        span class="soft" { "Through these channels; every one that is enabled, if none is chosen:" }
                        @for (id, name) in &choices.channels {
                            label class="inline" {
                                input type="checkbox" name="notification_channels" value=(id) checked[self.channels.contains(id)];
                                " " (name)
                            }
                        }
                    }
                }
                (wrong.at("notification_channels"))
            }
        }
    }
}

fn pairs(words: &[&str], shown: &[&str]) -> Vec<(String, String)> {
    let both = words.iter().zip(shown);
    both.map(|(word, shown)| ((*word).to_owned(), (*shown).to_owned()))
        .collect()
}

fn numbers(known: &[(i64, String)], none: &str) -> Vec<(String, String)> {
    let none = std::iter::once((String::new(), none.to_owned()));
    none.chain(known.iter().map(|(id, name)| (id.to_string(), name.clone())))
        .collect()
}

#[cfg(test)]
mod tests {
    use muster_update::{PolicyBody, Scope};

    use super::*;

    #[test]
    fn what_cannot_be_chosen_from_the_list_stays_what_it_is() {
        let body = PolicyBody {
            name: "one".to_owned(),
            scope: Scope::Image,
            image_pattern: Some("nginx:.*".to_owned()),
            server_id: Some(501),
            maintenance_window_id: Some(7),
            ..PolicyBody::default()
        };
        let choices = Choices {
            servers: vec![(1, "web".to_owned())],
            windows: Vec::new(),
            channels: Vec::new(),
        };
        let form = PolicyForm::of(&body);
        let drawn = form.draw("/x", &choices, &Wrong::default(), true).into_string();
        for part in ["<option value=\"501\" selected>", "<option value=\"7\" selected>"] {
            assert!(drawn.contains(part), "{part} in {drawn}");
        }
        let shown = form.draw("/x", &choices, &Wrong::default(), false).into_string();
        assert!(shown.contains("<fieldset disabled>") && !shown.contains("method=\"post\""));
    }
}
