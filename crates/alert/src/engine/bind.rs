//! Rules, servers and series: who looks at what.

use std::collections::HashSet;
use std::sync::Arc;

use muster_model::{Labels, ResourceKind};

use super::series::{Lane, Series, SeriesKey};
use super::target::{Recent, Target, TargetKey};
use super::{Change, Engine, ResourceFacts, SERIES_MAX, SeriesInfo, SeriesSlot, ServerFacts, TARGETS_MAX};
use crate::rule::{Candidate, Grouping};
use crate::{End, Rule, RuleId, RuleKind};

impl Engine {
    /// Takes a rule, new or changed. Alerts of what it does not judge any more end.
    pub fn set_rule(&mut self, now_ms: i64, rule: Rule, changes: &mut Vec<Change>) {
        if !rule.enabled {
            self.remove_rule(now_ms, rule.id, changes);
            return;
        }
        self.clock.advance(now_ms, self.settings.step_max_ms);
        let id = rule.id;
        let rule = Arc::new(rule);
        let old = self.rules.insert(id, Arc::clone(&rule));
        if let Some(old) = old {
            if old.plan != rule.plan || old.kind != rule.kind {
                self.end_rule(id, End::RuleChanged, changes);
            }
            if old.window_ms != rule.window_ms {
                for (_, target) in self
                    .targets
                    .iter_mut()
                    .filter(|(_, target)| target.key.rule == id)
                {
                    target.window = None;
                }
            }
        }
        self.index_rules();
        self.rematch(None, changes);
    }

    /// Forgets a rule; its alerts end.
    pub fn remove_rule(&mut self, now_ms: i64, rule: RuleId, changes: &mut Vec<Change>) {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        if self.rules.contains_key(&rule) {
            self.end_rule(rule, End::RuleGone, changes);
            self.rules.remove(&rule);
            self.index_rules();
            self.rematch(None, changes);
        }
    }

    /// Ends the alerts of a rule, and forgets what it judged.
    fn end_rule(&mut self, rule: RuleId, end: End, changes: &mut Vec<Change>) {
        let targets: Vec<u32> = self
            .targets
            .iter()
            .filter(|(_, target)| target.key.rule == rule)
            .map(|(slot, _)| slot)
            .collect();
        for slot in targets {
            self.drop_target(slot, end, changes);
        }
        self.end_groups(rule, end, changes);
    }

    fn index_rules(&mut self) {
        self.rules_by_metric.clear();
        for rule in self.rules.values() {
            for metric in rule.plan.metrics() {
                let rules = self.rules_by_metric.entry(metric.to_owned()).or_default();
                if rules.last() != Some(&rule.id) {
                    rules.push(rule.id);
                }
            }
        }
    }

    /// Tells of a server. Must come before its series.
    pub fn set_server(&mut self, now_ms: i64, server: i64, facts: ServerFacts, changes: &mut Vec<Change>) {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        if self.estate.set_server(server, facts) {
            self.rematch(Some(server), changes);
        }
    }

    /// A server is not watched any more: its alerts end.
    pub fn remove_server(&mut self, now_ms: i64, server: i64, changes: &mut Vec<Change>) {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        for slot in self.targets_of(Some(server)) {
            self.drop_target(slot, End::Gone, changes);
        }
        for slot in self.series_of(Some(server)) {
            self.drop_series(slot);
        }
        self.by_server.remove(&server);
        self.estate.remove_server(server);
        self.close_empty_groups(changes);
        self.bind_again(Some(server));
    }

    /// Whether a server is heard. While it is not, nothing is told of what it has.
    pub fn set_connected(&mut self, now_ms: i64, server: i64, is_connected: bool) {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        let t = self.clock.t();
        self.estate.set_connected(server, is_connected, t);
    }

    /// Tells of all that a server has, and what rests on what (the first on the second). Alerts of what is gone end.
    pub fn set_resources(
        &mut self,
        now_ms: i64,
        server: i64,
        resources: Vec<ResourceFacts>,
        rests_on: &[(i64, i64)],
        changes: &mut Vec<Change>,
    ) {
        self.clock.advance(now_ms, self.settings.step_max_ms);
        let gone: HashSet<i64> = self
            .estate
            .set_resources(server, resources, rests_on)
            .into_iter()
            .filter(|resource| *resource != server)
            .collect();
        // What was restored and went while the controller was down is gone too.
        let targets: Vec<u32> = self
            .targets
            .iter()
            .filter(|(_, target)| {
                let resource = target.key.resource;
                let is_restored = target.inputs.is_empty() && resource != server && target.open.is_some();
                target.key.server == server
                    && (gone.contains(&resource)
                        || (is_restored && !self.estate.has_resource(server, resource)))
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in targets {
            self.drop_target(slot, End::Gone, changes);
        }
        if gone.is_empty() {
            return;
        }
        for slot in self.series_of(Some(server)) {
            let is_gone = |series: &Series| gone.contains(&series.info.resource);
            if self.series.get(slot).is_some_and(is_gone) {
                self.drop_series(slot);
            }
        }
        self.bind_again(Some(server));
    }

    /// Slots of a server, or of all, are not good any more.
    fn bind_again(&mut self, server: Option<i64>) {
        match server {
            Some(server) => *self.server_generations.entry(server).or_default() += 1,
            None => self.generation += 1,
        }
    }

    /// The targets of a server, or all.
    fn targets_of(&self, server: Option<i64>) -> Vec<u32> {
        match server {
            Some(server) => self
                .by_server
                .get(&server)
                .map(|members| members.targets.iter().copied().collect())
                .unwrap_or_default(),
            None => self.targets.iter().map(|(slot, _)| slot).collect(),
        }
    }

    /// The series of a server, or all.
    fn series_of(&self, server: Option<i64>) -> Vec<u32> {
        match server {
            Some(server) => self
                .by_server
                .get(&server)
                .map(|members| members.series.iter().copied().collect())
                .unwrap_or_default(),
            None => self.series.iter().map(|(slot, _)| slot).collect(),
        }
    }

    pub(super) fn add_target(&mut self, key: TargetKey, kind: ResourceKind) -> u32 {
        let server = key.server;
        let slot = self.targets.insert(Target::new(key.clone(), kind));
        self.target_by_key.insert(key, slot);
        self.by_server.entry(server).or_default().targets.insert(slot);
        slot
    }

    /// Binds a series: `None` if no rule looks at it, or there is no room. Ask again when [`Engine::generation`] has
    /// changed, and only then.
    pub fn bind(&mut self, info: SeriesInfo) -> Option<SeriesSlot> {
        if !self.rules_by_metric.contains_key(&info.name) {
            return None;
        }
        let t = self.clock.t();
        let key = SeriesKey::of(&info);
        if let Some(slot) = self.series_by_key.get(&key) {
            if let Some(series) = self.series.get_mut(*slot) {
                series.info.interval_ms = info.interval_ms;
                series.bound_t = t;
            }
            return Some(SeriesSlot(*slot));
        }
        let roles = self.roles(&info);
        if roles.is_empty() {
            return None;
        }
        if SERIES_MAX <= self.series.len() {
            self.counts.series_refused += 1;
            return None;
        }
        let server = info.server;
        let slot = self.series.insert(Series {
            info,
            live: Lane::default(),
            history: Lane::default(),
            edges: Vec::new(),
            bound_t: t,
        });
        self.series_by_key.insert(key, slot);
        self.by_server.entry(server).or_default().series.insert(slot);
        for (rule, role) in roles {
            self.attach(slot, rule, role);
        }
        Some(SeriesSlot(slot))
    }

    fn candidate<'a>(&'a self, info: &'a SeriesInfo) -> Candidate<'a> {
        let server = self.estate.server(info.server);
        Candidate {
            server: info.server,
            server_name: server.map_or("", |server| server.name.as_str()),
            tags: server.map_or(&[], |server| server.tags.as_slice()),
            resource: info.resource,
            kind: info.kind,
            name: &info.name,
            labels: &info.labels,
            is_fact: info.is_fact,
        }
    }

    /// The rules that judge a series, and which part it is for each.
    fn roles(&self, info: &SeriesInfo) -> Vec<(RuleId, usize)> {
        let candidate = self.candidate(info);
        let rules = self.rules_by_metric.get(&info.name);
        rules
            .into_iter()
            .flatten()
            .filter_map(|id| Some((*id, self.rules.get(id)?.role(&candidate)?)))
            .collect()
    }

    fn attach(&mut self, slot: u32, rule: RuleId, role: usize) {
        let Some(rule) = self.rules.get(&rule) else { return };
        let Some(series) = self.series.get(slot) else {
            return;
        };
        let labels = match rule.plan.grouping {
            Grouping::Series => series.info.labels.clone(),
            Grouping::Resource => Labels::default(),
        };
        let key = TargetKey {
            rule: rule.id,
            server: series.info.server,
            resource: series.info.resource,
            labels,
        };
        let is_absence = rule.kind == RuleKind::Absence;
        let target = match self.target_by_key.get(&key) {
            Some(target) => *target,
            None if TARGETS_MAX <= self.targets.len() => {
                self.counts.targets_refused += 1;
                return;
            }
            None => {
                let kind = series.info.kind;
                self.add_target(key, kind)
            }
        };
        if is_absence {
            self.absences.insert(target);
        }
        if let Some(found) = self.targets.get_mut(target) {
            found.inputs.push((slot, role));
        }
        if let Some(series) = self.series.get_mut(slot) {
            series.edges.push((target, role));
        }
    }

    /// Finds anew who looks at what of a server, or of all. What no rule judges any more is forgotten, and its alerts
    /// end.
    fn rematch(&mut self, server: Option<i64>, changes: &mut Vec<Change>) {
        self.bind_again(server);
        let targets = self.targets_of(server);
        let mut bound = HashSet::new();
        for slot in &targets {
            if let Some(target) = self.targets.get_mut(*slot)
                && !target.inputs.is_empty()
            {
                target.inputs.clear();
                bound.insert(*slot);
            }
        }
        for slot in self.series_of(server) {
            let Some(series) = self.series.get_mut(slot) else {
                continue;
            };
            series.edges.clear();
            let Some(series) = self.series.get(slot) else {
                continue;
            };
            let roles = self.roles(&series.info);
            if roles.is_empty() {
                self.drop_series(slot);
            }
            for (rule, role) in roles {
                self.attach(slot, rule, role);
            }
        }
        for slot in targets {
            // What was restored has no series yet, and is judged by what is known of it.
            let is_left = self.targets.get(slot).is_some_and(|target| {
                target.inputs.is_empty() && (bound.contains(&slot) || !self.is_still_about(target))
            });
            if is_left {
                self.drop_target(slot, End::RuleChanged, changes);
            }
        }
    }

    fn is_still_about(&self, target: &Target) -> bool {
        let Some(rule) = self.rules.get(&target.key.rule) else {
            return false;
        };
        let Some(server) = self.estate.server(target.key.server) else {
            // Not told of yet.
            return true;
        };
        rule.is_about(&Candidate {
            server: target.key.server,
            server_name: &server.name,
            tags: &server.tags,
            resource: target.key.resource,
            kind: target.kind,
            name: "",
            labels: &target.key.labels,
            is_fact: rule.plan.is_fact,
        })
    }

    fn drop_series(&mut self, slot: u32) {
        let Some(series) = self.series.remove(slot) else {
            return;
        };
        self.series_by_key.remove(&SeriesKey::of(&series.info));
        if let Some(members) = self.by_server.get_mut(&series.info.server) {
            members.series.remove(&slot);
        }
        for (target, _) in series.edges {
            if let Some(target) = self.targets.get_mut(target) {
                target.inputs.retain(|(input, _)| *input != slot);
            }
        }
    }

    /// Forgets a target; an alert of it ends.
    pub(super) fn drop_target(&mut self, slot: u32, end: End, changes: &mut Vec<Change>) {
        self.close_track(slot, changes);
        self.end_alert(slot, end, None, changes);
        let Some(target) = self.targets.remove(slot) else {
            return;
        };
        self.target_by_key.remove(&target.key);
        self.absences.remove(&slot);
        self.busy.remove(&slot);
        for (series, _) in target.inputs {
            if let Some(series) = self.series.get_mut(series) {
                series.edges.retain(|(edge, _)| *edge != slot);
            }
        }
    }

    /// Forgets series that were not heard since `before_t`, and what nothing is left of.
    pub(super) fn forget_idle(&mut self, before_t: i64) {
        let idle: Vec<u32> = self
            .series
            .iter()
            .filter(|(_, series)| series.live.heard_t.max(series.bound_t) < before_t)
            .map(|(slot, _)| slot)
            .collect();
        if idle.is_empty() {
            return;
        }
        for slot in idle {
            self.drop_series(slot);
        }
        let empty: Vec<u32> = self
            .targets
            .iter()
            .filter(|(_, target)| target.inputs.is_empty() && target.open.is_none() && target.track.is_none())
            .map(|(slot, _)| slot)
            .collect();
        for slot in empty {
            self.drop_target(slot, End::NoData, &mut Vec::new());
        }
        self.bind_again(None);
    }
}

impl Target {
    pub(super) fn new(key: TargetKey, kind: ResourceKind) -> Self {
        Self {
            key,
            kind,
            inputs: Vec::new(),
            window: None,
            stamp: 0,
            open: None,
            track: None,
            recent: Recent::default(),
        }
    }
}
