//! Channels: where news of alerts go, whether that works, and a test of it.

use axum::extract::State;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use maud::{Markup, html};

use super::asked::{Answer, Asked, done};
use super::{alerts, format, layout};
use crate::app::auth::Role;
use crate::app::channels::{ChannelError, ChannelView, DeliveryFilter, DeliveryView};
use crate::app::{PAGE_LIMIT_MAX, PageRequest};
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::{Code, Problem};

/// Where the page is.
pub(in crate::http) const PATH: &str = "/channels";
/// Channels that are looked at at once.
const AT_ONCE: usize = 8;

struct View {
    /// Each with the last that was told through it.
    channels: Vec<(ChannelView, Option<DeliveryView>)>,
    /// What was given up, the newest first.
    dead: Vec<DeliveryView>,
    now_ms: i64,
}

/// The page.
pub(in crate::http) async fn show(State(state): State<HttpState>, caller: Caller) -> Result<Markup, Problem> {
    let view = load(&state).await?;
    let may_act = caller.principal.may(Role::Operator);
    let drawn = alerts::framed("Channels", PATH, &draw(&view, may_act));
    Ok(layout::page("Channels", &caller.principal, &drawn))
}

async fn load(state: &HttpState) -> Result<View, Problem> {
    let request = |limit| PageRequest {
        limit: Some(limit),
        cursor: None,
    };
    let channels = state.app.channels(request(PAGE_LIMIT_MAX)).await?;
    let channels = stream::iter(channels.items)
        .map(|channel| async move {
            let of_channel = DeliveryFilter {
                channel_id: Some(channel.id),
                ..DeliveryFilter::default()
            };
            let last = state.app.deliveries(of_channel, request(1)).await?;
            Ok::<_, ChannelError>((channel, last.items.into_iter().next()))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let dead = DeliveryFilter {
        state: Some("dead"),
        ..DeliveryFilter::default()
    };
    Ok(View {
        channels,
        dead: state.app.deliveries(dead, request(10)).await?.items,
        now_ms: state.app.clock().now_ms(),
    })
}

fn draw(view: &View, may_act: bool) -> Markup {
    html! {
        @if view.channels.is_empty() { (none()) }
        @else {
            section class="card" {
                header { h2 { "Where news of alerts go" } span class="soft" { (view.channels.len()) } }
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "Channel" } th { "Told last" } th { "Answer" } @if may_act { th { "" } } } }
                        tbody { @for (channel, last) in &view.channels { (line(view, channel, last.as_ref(), may_act)) } }
                    }
                }
            }
            p class="soft" { "They are made and changed with " code { "muster channels" } " or the API." }
        }
        (dead(view, may_act))
    }
}

fn none() -> Markup {
    html! {
        section class="card notice warn" {
            strong { "Nobody is told of alerts: there is no channel." }
            p class="soft" {
                "Write one to a file, add it with " code { "muster channels add FILE" } ", and try it here. Email, "
                "webhooks, Slack, Discord, Telegram, ntfy, Gotify, Pushover, PagerDuty and Alertmanager can be had."
            }
        }
    }
}

fn line(view: &View, channel: &ChannelView, last: Option<&DeliveryView>, may_act: bool) -> Markup {
    html! {
        tr {
            td {
                span class="name" { (channel.name) }
                @if !channel.enabled { " " span class="pill dim" { "disabled" } }
                div class="under" { (channel.kind) @if !channel.target.is_empty() { " · " (channel.target) } }
            }
            td data-label="Told last" {
                @match last {
                    Some(delivery) => {
                        (state(delivery))
                        div class="under" {
                            span title=(format::time(delivery.changed_ms)) { (format::ago(delivery.changed_ms, view.now_ms)) }
                            " · " (delivery.kind) ": " (delivery.title)
                        }
                    }
                    None => { span class="soft" { "nothing yet" } }
                }
            }
            td class="wrap" data-label="Answer" {
                (last.and_then(|delivery| delivery.answer.as_deref()).unwrap_or("–"))
            }
            @if may_act {
                td class="deeds" {
                    @if channel.enabled {
                        form method="post" action={ (PATH) "/" (channel.id) "/test" } class="inline" {
                            button type="submit" { "Send a test" }
                        }
                    }
                }
            }
        }
    }
}

fn dead(view: &View, may_act: bool) -> Markup {
    html! {
        @if !view.dead.is_empty() {
            section class="card" {
                header { h2 { "Given up" } span class="soft" { "news that nobody got; " code { "muster channels retry" } " sends them again" } }
                div class="scroll" {
                    table class="stack" {
                        thead { tr { th { "What" } th { "When" } th { "Tries" } th { "Answer" } @if may_act { th { "" } } } }
                        tbody {
                            @for delivery in &view.dead {
                                tr {
                                    td {
                                        span class="name" { (delivery.title) }
                                        div class="under" { "delivery " (delivery.id) }
                                    }
                                    td class="nowrap" data-label="When" { (format::ago(delivery.changed_ms, view.now_ms)) }
                                    td data-label="Tries" { (delivery.attempts) }
                                    td class="wrap" data-label="Answer" { (delivery.answer.as_deref().unwrap_or("–")) }
                                    @if may_act {
                                        td class="deeds" {
                                            form method="post" action={ (PATH) "/deliveries/" (delivery.id) "/retry" } class="inline" {
                                                button type="submit" { "Send again" }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What became of news, as a coloured word.
pub(super) fn state(delivery: &DeliveryView) -> Markup {
    let class = match delivery.state {
        "sent" => "good",
        "dead" => "bad",
        "waiting" => "warn",
        _ => "dim",
    };
    let word = match delivery.state {
        "dead" => "given up",
        word => word,
    };
    html! { span class={ "pill " (class) } { (word) } }
}

/// Sends a test. What came of it is on the page, so a refusal of the other side leads there too.
pub(in crate::http) async fn test(asked: Asked) -> Answer {
    let id = asked.id(Code::ChannelNotFound)?;
    match asked.state.app.test_channel(id).await {
        Ok(tested) => done(tested.state, PATH),
        Err(ChannelError::TestFailed(answer)) => done(answer, PATH),
        Err(error) => Err(error.into()),
    }
}

/// Sends again what was given up.
pub(in crate::http) async fn retry(asked: Asked) -> Answer {
    let id = asked.id(Code::DeliveryNotFound)?;
    asked.state.app.retry_delivery(id).await?;
    done("", PATH)
}
