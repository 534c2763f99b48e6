//! What a rule would say of what is stored. Nothing is written and nobody is told.
//!
//! The rule is judged by the engine itself. Of what the controller knows without a series (health, connections, clocks,
//! certificates) only the present is kept, so such a rule is judged by what is known now.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};

use muster_alert::engine::ServerFacts;
use muster_alert::preview::{self, History, HistorySeries, Preview, SAMPLES_MAX};
use muster_alert::rule::{self, ServerMatch};
use muster_alert::{Rule, RuleKind, SeriesInfo};
use muster_base::id::{ResourceId, ServerId};
use muster_model::{Labels, ResourceKind};
use muster_samples::{Filter, Matcher, Reader, Select};

use super::{AlertError, facts};
use crate::app::App;
use crate::app::series::Series;
use crate::app::servers::{ServerFilter, ServerView};
use crate::store::EstateRow;

/// Longest time that a rule is judged over, ms.
pub(crate) const OVER_MAX_MS: i64 = 31 * 24 * 3_600_000;
/// What is looked at before the time that was asked for, besides what the rule itself looks back on: the last samples
/// of whatever comes seldom, ms.
const WARM_UP_MS: i64 = 15 * 60_000;

/// What a rule would have said.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    /// What.
    pub(crate) preview: Preview,
    /// From when, Unix ms.
    pub(crate) from_ms: i64,
    /// Until when, Unix ms.
    pub(crate) to_ms: i64,
    /// Host names.
    pub(crate) servers: HashMap<i64, String>,
    /// Names of resources.
    pub(crate) resources: HashMap<i64, String>,
}

/// What a rule would have said within the last `over_ms`; with 0: what it would say now.
///
/// # Errors
/// [`AlertError::App`], [`AlertError::Store`] or [`AlertError::Series`].
pub(crate) async fn rehearse(
    app: &App,
    series: &Series,
    rule: Rule,
    over_ms: i64,
) -> Result<Rehearsal, AlertError> {
    let to_ms = app.clock().now_ms();
    let from_ms = to_ms - over_ms;
    let monitored = ServerFilter {
        monitoring_enabled: Some(true),
    };
    let servers = app.all_servers(monitored).await?;
    let mut stored = Stored::new(&rule, &servers);
    if rule.plan.is_fact {
        stored.know(app, &rule, &servers, to_ms).await?;
    } else {
        let metrics: BTreeSet<String> = rule.plan.metrics().map(str::to_owned).collect();
        let wanted = stored.scope.clone();
        let found = series
            .with_reader(move |reader| wanted.resources_of(reader, &metrics))
            .await?;
        let rows = app.store().named(&found).await?;
        stored.resources = rows.into_iter().map(|row| (row.id, row)).collect();
    }
    let looked_back_ms = match rule.kind {
        RuleKind::Growth | RuleKind::Forecast => rule.window_ms,
        RuleKind::Threshold | RuleKind::Absence => 0,
    };
    let read_from_ms = from_ms - looked_back_ms - rule.for_ms - WARM_UP_MS;
    let (mut preview, stored) = series
        .with_reader(move |reader| {
            let history = Read {
                reader,
                stored: &stored,
                is_cut: Cell::new(false),
            };
            let Ok(mut preview) = preview::preview(&rule, &history, read_from_ms, to_ms);
            preview.is_cut |= history.is_cut.get();
            (preview, stored)
        })
        .await?;
    preview.alerts.retain(|alert| {
        alert
            .ended_ms
            .is_none_or(|ended_ms| from_ms <= ended_ms && 0 < over_ms)
    });
    let resources = stored.resources.into_iter().map(|(id, row)| (id, row.name));
    Ok(Rehearsal {
        preview,
        from_ms,
        to_ms,
        servers: servers
            .into_iter()
            .map(|server| (server.id.0, server.hostname))
            .collect(),
        resources: resources.collect(),
    })
}

/// What of the store a rule can be about.
#[derive(Debug, Clone)]
struct Wanted {
    servers: Vec<ServerId>,
    resources: Option<Vec<ResourceId>>,
}

impl Wanted {
    fn filter<'a>(&'a self, matchers: &'a [Matcher]) -> Filter<'a> {
        Filter {
            servers: Some(&self.servers),
            resources: self.resources.as_deref(),
            ..Filter::new(matchers)
        }
    }

    fn resources_of(&self, reader: &Reader, metrics: &BTreeSet<String>) -> BTreeSet<i64> {
        let mut resources = BTreeSet::new();
        for metric in metrics {
            let matchers = [Matcher::equal(muster_samples::NAME_LABEL, metric.as_str())];
            let (metas, _) = reader.series(&self.filter(&matchers));
            resources.extend(metas.iter().map(|meta| meta.resource.0));
        }
        resources
    }
}

/// What is known without samples.
struct Stored {
    servers: Vec<(i64, ServerFacts)>,
    scope: Wanted,
    /// By number. Servers are not among them.
    resources: HashMap<i64, EstateRow>,
    /// Facts as they are now.
    known: Vec<HistorySeries>,
}

impl Stored {
    fn new(rule: &Rule, servers: &[ServerView]) -> Self {
        let is_meant = |server: &&ServerView| {
            rule.scope.servers.is_empty()
                || rule.scope.servers.iter().any(|wanted| match wanted {
                    ServerMatch::Id(id) => *id == server.id.0,
                    ServerMatch::Name(name) => *name == server.hostname,
                })
        };
        let wanted = &rule.scope.resources;
        let resources = wanted.iter().map(|id| ResourceId(*id)).collect();
        Self {
            scope: Wanted {
                servers: servers.iter().filter(is_meant).map(|server| server.id).collect(),
                resources: (!wanted.is_empty()).then_some(resources),
            },
            servers: servers
                .iter()
                .map(|server| {
                    let facts = ServerFacts {
                        name: server.hostname.clone(),
                        tags: server.tags.clone(),
                    };
                    (server.id.0, facts)
                })
                .collect(),
            resources: HashMap::new(),
            known: Vec::new(),
        }
    }

    /// Learns the facts that a rule is about.
    async fn know(
        &mut self,
        app: &App,
        rule: &Rule,
        servers: &[ServerView],
        now_ms: i64,
    ) -> Result<(), AlertError> {
        let meant: BTreeSet<i64> = self.scope.servers.iter().map(|server| server.0).collect();
        if rule.plan.metrics().any(|name| name == rule::HEALTH) {
            for (server, row) in app.store().estates().await? {
                if row.kind == ResourceKind::Server || !meant.contains(&server.0) {
                    continue;
                }
                let value = facts::of_health(row.health);
                self.known
                    .push(fact((server.0, row.id, row.kind), rule::HEALTH, value, now_ms));
                self.resources.insert(row.id, row);
            }
            return Ok(());
        }
        let certificates: HashMap<i64, i64> = app.store().certificate_ends().await?.into_iter().collect();
        let whole_ms = i64::try_from(app.settings().agent_certificate_ttl.as_millis()).unwrap_or(i64::MAX);
        for server in servers.iter().filter(|server| meant.contains(&server.id.0)) {
            let id = server.id.0;
            let certificate = certificates.get(&id).map(|ends_ms| (*ends_ms, whole_ms));
            for (name, value) in facts::of_server(server, certificate, now_ms) {
                self.known
                    .push(fact((id, id, ResourceKind::Server), name, value, now_ms));
            }
        }
        Ok(())
    }
}

fn fact(
    (server, resource, kind): (i64, i64, ResourceKind),
    name: &str,
    value: f64,
    now_ms: i64,
) -> HistorySeries {
    HistorySeries {
        info: SeriesInfo {
            server,
            resource,
            kind,
            name: name.to_owned(),
            labels: Labels::default(),
            interval_ms: 0,
            is_fact: true,
        },
        points: vec![(now_ms, value)],
    }
}

/// Reads samples where a rule asks for them.
struct Read<'a> {
    reader: &'a Reader,
    stored: &'a Stored,
    is_cut: Cell<bool>,
}

impl History for Read<'_> {
    type Error = std::convert::Infallible;

    fn read(
        &self,
        metric: &str,
        is_fact: bool,
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<HistorySeries>, Self::Error> {
        if is_fact {
            let known = self
                .stored
                .known
                .iter()
                .filter(|series| series.info.name == metric);
            return Ok(known.cloned().collect());
        }
        let matchers = [Matcher::equal(muster_samples::NAME_LABEL, metric)];
        let selected = self.reader.select(&Select {
            filter: self.stored.scope.filter(&matchers),
            start_ms: from_ms,
            end_ms: to_ms,
            samples_max: SAMPLES_MAX,
        });
        if selected.is_truncated {
            self.is_cut.set(true);
        }
        let series = selected.series.into_iter().filter_map(|data| {
            let (server, resource) = (data.meta.server.0, data.meta.resource.0);
            let kind = if server == resource {
                ResourceKind::Server
            } else {
                self.stored.resources.get(&resource)?.kind
            };
            Some(HistorySeries {
                info: SeriesInfo {
                    server,
                    resource,
                    kind,
                    name: metric.to_owned(),
                    labels: data.meta.labels.clone(),
                    interval_ms: data.meta.interval_ms,
                    is_fact: false,
                },
                points: data.times_ms.iter().copied().zip(data.values).collect(),
            })
        });
        Ok(series.collect())
    }

    fn servers(&self) -> Vec<(i64, ServerFacts)> {
        self.stored.servers.clone()
    }
}
