//! What became of updates.

use axum::extract::State;
use maud::{Markup, html};
use muster_base::id::ServerId;
use serde::Deserialize;

use super::{HISTORY, framed, state};
use crate::app::PageRequest;
use crate::app::series::Names;
use crate::http::HttpState;
use crate::http::access::Caller;
use crate::http::error::Problem;
use crate::http::extract::Query;
use crate::http::page::containers::servers;
use crate::http::page::layout::Following;
use crate::http::page::{containers, format, layout};
use crate::update::{History, HistoryFilter, UpdateState};

/// Records on one page.
const PAGE: u32 = 50;

/// Which records are wanted. What is not known chooses nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::http) struct HistoryQuery {
    status: String,
    server: String,
    container: String,
    before: Option<i64>,
}

impl HistoryQuery {
    fn filter(&self) -> HistoryFilter {
        HistoryFilter {
            container: self.container.parse().ok(),
            server: self.server.parse().ok(),
            status: UpdateState::from_word(&self.status),
        }
    }

    /// The same choice further back: only words and numbers of ours.
    fn address(&self, before: &str) -> String {
        let filter = self.filter();
        let mut address = format!("{HISTORY}?before={before}");
        if let Some(status) = filter.status {
            address.push_str(&format!("&status={}", status.as_str()));
        }
        for (name, id) in [("server", filter.server), ("container", filter.container)] {
            if let Some(id) = id {
                address.push_str(&format!("&{name}={id}"));
            }
        }
        address
    }
}

/// The page.
pub(in crate::http) async fn show(
    State(state): State<HttpState>,
    caller: Caller,
    Query(query): Query<HistoryQuery>,
) -> Result<Markup, Problem> {
    let wanted = PageRequest {
        limit: Some(PAGE),
        cursor: query.before.map(|before| before.to_string()),
    };
    let page = state.updates.history(query.filter(), wanted).await?;
    let names = state.app.server_names().await?;
    let filter = query.filter();
    let drawn = html! {
        section class="card" {
            header { h2 { "Updates so far" } span class="soft" { (page.total) " · the newest first" } }
            (choice(&filter, &servers(&names)))
            @if page.items.is_empty() {
                p class="empty" { "There is none. Each attempt and each way back gets a record here." }
            } @else { (records(&page.items, Some(&names))) }
        }
        @if let Some(next) = &page.next { p { a href=(query.address(next)) { "Older records" } } }
    };
    let drawn = framed("What became of updates", HISTORY, &drawn);
    let (user, following) = (&caller.principal, Following::everything(None));
    Ok(layout::following(
        "What became of updates",
        user,
        &drawn,
        following,
    ))
}

fn choice(filter: &HistoryFilter, servers: &[(i64, String)]) -> Markup {
    let ends = [
        UpdateState::InProgress,
        UpdateState::Completed,
        UpdateState::Failed,
        UpdateState::RolledBack,
        UpdateState::Unknown,
    ];
    html! {
        form method="get" action=(HISTORY) class="row first" {
            label {
                "Outcome"
                select name="status" {
                    option value="" { "any" }
                    @for end in ends {
                        option value=(end.as_str()) selected[filter.status == Some(end)] { (format::words(end.as_str())) }
                    }
                }
            }
            label {
                "Server"
                select name="server" {
                    option value="" { "any" }
                    @for (id, name) in servers { option value=(id) selected[filter.server == Some(*id)] { (name) } }
                }
            }
            @if let Some(id) = filter.container { input type="hidden" name="container" value=(id); }
            button type="submit" { "Show" }
            @if filter.container.is_some() { a href=(HISTORY) { "of all containers" } }
        }
    }
}

/// Draws records; with names of servers also of which container each is.
pub(in crate::http::page) fn records(records: &[History], names: Option<&Names>) -> Markup {
    html! {
        div class="scroll" {
            table class="stack" {
                thead {
                    tr {
                        th { "What" }
                        th { "Outcome" }
                        th { "From" }
                        th { "To" }
                        th { "By" }
                        th { "When" }
                    }
                }
                tbody { @for record in records { (line(record, names)) } }
            }
        }
    }
}

fn line(record: &History, names: Option<&Names>) -> Markup {
    let body = &record.body;
    #[expect(clippy::cast_precision_loss, reason = "shown to the second")]
    let seconds = |ms: i64| ms as f64 / 1_000.0;
    let took = record
        .completed_ms
        .map(|completed| format::duration(seconds(completed - record.started_ms)));
    let hostname = names.map(|names| containers::hostname(names, ServerId(record.server_id)));
    html! {
        tr {
            td {
                @match &hostname {
                    Some(hostname) => {
                        a class="name" href={ (containers::PATH) "/" (record.container_id) } { (body.container_name) }
                        div class="under" { (format::words(&body.update_type)) " on " (hostname) }
                    }
                    None => { span class="name" { (format::words(&body.update_type)) } }
                }
            }
            td class="wrap" data-label="Outcome" {
                (state(record.status))
                @if let Some(error) = &body.error_message { div class="under" { (error) } }
                @else if let (UpdateState::Unknown, Some(said)) = (record.status, &body.execution_log) { div class="under" { (said) } }
                @if body.rolled_back { div class="under" { "the old container runs again" } }
            }
            td class="wrap" data-label="From" { (image(&body.from_image, body.from_digest.as_deref())) }
            td class="wrap" data-label="To" { (image(&body.to_image, body.to_digest.as_deref())) }
            td class="wrap" data-label="By" { (body.triggered_by.strip_prefix("user:").unwrap_or(&body.triggered_by)) }
            td class="nowrap" data-label="When" {
                (format::time(record.started_ms))
                @if let Some(took) = took { div class="under" { "took " (took) } }
            }
        }
    }
}

fn image(image: &str, digest: Option<&str>) -> Markup {
    html! {
        (image)
        @if let Some(digest) = digest { div class="under" { (super::digest(digest)) } }
    }
}
