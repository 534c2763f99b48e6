//! What there is for a container, why it has it not, and what can be done about that.

use maud::{Markup, html};
use muster_update::{Decision, Explanation, Outcome, Step};

use super::known::{Known, change_word};
use crate::http::page::{format, updates};
use crate::update::{History, Judged, Update, UpdateState};

/// A decision as a coloured word, with why in words.
pub(in crate::http::page) fn decision(explanation: &Explanation) -> Markup {
    let (class, word) = match &explanation.decision {
        Decision::UpToDate => ("good", "up to date"),
        Decision::Unknown(_) => ("dim", "unknown"),
        Decision::Blocked(_) => ("bad", "blocked"),
        Decision::Held(_) => ("warn", "held"),
        Decision::NeedsApproval => ("warn", "needs approval"),
        Decision::WaitsForWindow(_) => ("dim", "waits for its time"),
        Decision::Ready => ("good", "begins within seconds"),
    };
    let because: Vec<String> = match &explanation.decision {
        Decision::Unknown(why) => vec![why.clone()],
        Decision::Blocked(reasons) | Decision::Held(reasons) => reasons.clone(),
        Decision::WaitsForWindow(Some(until_ms)) => vec![format!("until {}", format::time(*until_ms))],
        Decision::WaitsForWindow(None) => vec!["for a time that never comes: look at its window".to_owned()],
        Decision::NeedsApproval => vec!["somebody must say yes".to_owned()],
        Decision::UpToDate | Decision::Ready => Vec::new(),
    };
    html! {
        span class={ "pill " (class) } { (word) }
        @for why in because { div class="under" { (why) } }
    }
}

/// A button behind a second one: nothing that changes a container is one slip away.
pub(in crate::http::page) fn confirmed(word: &str, sure: &str, action: &str, inside: &Markup) -> Markup {
    html! {
        details class="inline sure" {
            summary { (word) "…" }
            form method="post" action=(action) {
                (inside)
                button type="submit" { (sure) }
            }
        }
    }
}

/// Draws what there is for a container, with buttons if whoever looks may press them.
pub(super) fn draw(judged: &Judged, policy: Option<&str>, last: Option<&Update>, may_act: bool) -> Markup {
    let explanation = &judged.explanation;
    let known = Known::of(&judged.seen, Some(&judged.candidate));
    html! {
        section class="card" {
            header {
                h2 { "Why is this not updating?" }
                span class="soft" {
                    "mode " (explanation.mode.as_str())
                    @match (explanation.policy_id, policy) {
                        (Some(id), name) => {
                            " by the policy " a href={ (updates::POLICIES) "/" (id) } { (name.unwrap_or("that decides")) }
                        }
                        (None, _) => { ", because no policy speaks of it" }
                    }
                }
            }
            div class="prose" {
                div { (known.pill()) }
                @if matches!(known, Known::Available(_)) { div { (decision(explanation)) } }
                @if let Known::Available(offer) = &known {
                    p class="wrap" {
                        (judged.seen.container.image) " → " (offer.image)
                        @if let Some(change) = explanation.change { " · " (change_word(change)) }
                    }
                    p class="mono wrap soft" { (offer.digest) }
                    @if let Some(first_seen_ms) = offer.first_seen_ms { p class="soft" { "First seen " (format::time(first_seen_ms)) } }
                    @if let Some(notes) = offer.release_notes.as_deref().filter(|notes| is_link(notes)) {
                        p { a href=(notes) rel="noreferrer noopener" { "What is new in it" } }
                    }
                }
            }
            (steps(&explanation.steps))
            @if may_act { (deeds(judged, last)) }
        }
    }
}

/// Whether a text of a registry is an address to follow, and nothing that a browser would run.
fn is_link(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

fn steps(steps: &[Step]) -> Markup {
    html! {
        details open[!steps.is_empty() && steps.len() <= 12] {
            summary { "Every rule that was asked (" (steps.len()) ")" }
            div class="scroll" {
                table class="stack" {
                    thead { tr { th { "Rule" } th { "It said" } th { "Why" } } }
                    tbody {
                        @for step in steps {
                            @let (class, word) = outcome(step.outcome);
                            tr {
                                td { span class="name" { (format::words(step.rule)) } }
                                td data-label="It said" { span class={ "pill " (class) } { (word) } }
                                td class="wrap" data-label="Why" { (step.words) }
                            }
                        }
                    }
                }
            }
        }
    }
}

const fn outcome(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Pass => ("good", "nothing against it"),
        Outcome::Stop => ("bad", "no"),
        Outcome::Wait => ("warn", "wait"),
        Outcome::Unknown => ("dim", "unknown"),
        Outcome::Note => ("dim", "for your information"),
    }
}

fn deeds(judged: &Judged, last: Option<&Update>) -> Markup {
    let container = judged.seen.container.id;
    let open = judged.update.as_ref().filter(|update| {
        matches!(
            update.state,
            UpdateState::Pending
                | UpdateState::Approved
                | UpdateState::Rejected
                | UpdateState::Failed
                | UpdateState::RolledBack
                | UpdateState::Unknown
        ) && !update.is_under_way()
    });
    let back = html! { input type="hidden" name="back" value="container"; };
    let noted = html! {
        (back)
        label { "Note, can be left out" input name="note" maxlength="500" autocomplete="off"; }
    };
    let to = |update: &Update, deed: &str| format!("{}/{}/{deed}", updates::PATH, update.id);
    html! {
        div class="acts" {
            form method="post" action={ (super::PATH) "/" (container) "/check" } class="inline" {
                button type="submit" { "Check now" }
            }
            @if let Some(update) = open {
                form method="post" action=(to(update, "rehearse")) class="inline" {
                    (back) button type="submit" { "Dry run" }
                }
                (confirmed("Update now", "Yes, update it now", &to(update, "execute"), &back))
                @if update.state != UpdateState::Approved {
                    (confirmed("Approve", "Yes, when it is time", &to(update, "approve"), &noted))
                }
                @if update.state != UpdateState::Rejected {
                    (confirmed("Reject", "No, it is not wanted", &to(update, "reject"), &noted))
                }
            }
            @if let Some(update) = last {
                (confirmed("Roll back", "Yes, go back to what was before", &to(update, "rollback"), &back))
            }
        }
    }
}

/// Draws what became of its updates.
pub(super) fn history(records: &[History], total: u64, container: i64) -> Markup {
    html! {
        section class="card" {
            header {
                h2 { "Its updates so far" }
                span class="soft" { (total) }
                @if (records.len() as u64) < total {
                    a class="more" href={ (updates::HISTORY) "?container=" (container) } { "All of them" }
                }
            }
            @if records.is_empty() { p class="empty" { "It was never updated from here." } }
            @else { (updates::records(records, None)) }
        }
    }
}
