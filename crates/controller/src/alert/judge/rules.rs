//! The rules that are judged by: read at the start, put, imported and deleted.

use std::collections::HashSet;

use muster_alert::{Change, Rule, defaults, rule};
use muster_model::ResourceKind;

use super::Judge;
use crate::alert::{AlertError, KeptRule, RULES_MAX, facts};
use crate::store::AlertWrite;

impl Judge {
    pub(super) async fn load_rules(
        &mut self,
        now_ms: i64,
        changes: &mut Vec<Change>,
    ) -> Result<(), AlertError> {
        let rows = self.app.store().alert_rules().await?;
        let mut keys: HashSet<String> = HashSet::new();
        for row in rows {
            keys.extend(row.default_key.clone());
            if row.deleted_ms.is_some() {
                continue;
            }
            let mut rule = match rule::read(row.body) {
                Ok(rule) => rule,
                Err(problems) => {
                    tracing::error!(
                        rule.id = row.id,
                        ?problems,
                        "a rule that is kept cannot be read and is not judged"
                    );
                    continue;
                }
            };
            rule.id = row.id;
            self.engine.set_rule(now_ms, rule.clone(), changes);
            self.rules.push(KeptRule {
                rule,
                default_key: row.default_key,
                created_ms: row.created_ms,
                updated_ms: row.updated_ms,
                updated_by: row.updated_by,
            });
        }
        for default in defaults::all() {
            if keys.contains(&default.key) {
                continue;
            }
            let mut rule = default.rule;
            rule.id = self.next_rule;
            self.next_rule += 1;
            let kept = KeptRule {
                rule: rule.clone(),
                default_key: Some(default.key),
                created_ms: now_ms,
                updated_ms: now_ms,
                updated_by: "muster".to_owned(),
            };
            self.pending.push(AlertWrite::Rule(Box::new(kept.row())));
            self.engine.set_rule(now_ms, rule, changes);
            self.rules.push(kept);
        }
        Ok(())
    }

    pub(super) async fn put_rule(
        &mut self,
        id: Option<i64>,
        rule: Rule,
        by: &str,
    ) -> Result<KeptRule, AlertError> {
        self.flush().await?;
        let place = match id {
            Some(id) => Some(self.place_of(id)?),
            None if RULES_MAX <= self.rules.len() => return Err(AlertError::TooMany(RULES_MAX)),
            None => None,
        };
        let kept = self.keep_rules(vec![(place, rule)], by).await?;
        kept.into_iter().next().ok_or(AlertError::Ended)
    }

    /// Keeps all rules, or none. Of several with one name each takes the place of another that has it.
    pub(super) async fn import_rules(
        &mut self,
        rules: Vec<Rule>,
        by: &str,
    ) -> Result<Vec<KeptRule>, AlertError> {
        self.flush().await?;
        let mut taken = HashSet::new();
        let places: Vec<(Option<usize>, Rule)> = rules
            .into_iter()
            .map(|rule| {
                let same = |(place, kept): (usize, &KeptRule)| {
                    (kept.rule.name == rule.name && !taken.contains(&place)).then_some(place)
                };
                let place = self.rules.iter().enumerate().find_map(same);
                taken.extend(place);
                (place, rule)
            })
            .collect();
        let new = places.iter().filter(|(place, _)| place.is_none()).count();
        if RULES_MAX < self.rules.len() + new {
            return Err(AlertError::TooMany(RULES_MAX));
        }
        self.keep_rules(places, by).await
    }

    /// Puts rules in these places of the list, or behind it, and writes them at once.
    async fn keep_rules(
        &mut self,
        rules: Vec<(Option<usize>, Rule)>,
        by: &str,
    ) -> Result<Vec<KeptRule>, AlertError> {
        let now_ms = self.app.clock().now_ms();
        let mut changes = Vec::new();
        let mut all = Vec::with_capacity(rules.len());
        for (place, mut rule) in rules {
            let old = place.and_then(|place| self.rules.get(place));
            rule.id = old.map_or(self.next_rule, |old| old.rule.id);
            let kept = KeptRule {
                default_key: old.and_then(|old| old.default_key.clone()),
                created_ms: old.map_or(now_ms, |old| old.created_ms),
                updated_ms: now_ms,
                updated_by: by.to_owned(),
                rule: rule.clone(),
            };
            match place.and_then(|place| self.rules.get_mut(place)) {
                Some(old) => *old = kept.clone(),
                None => {
                    self.next_rule += 1;
                    self.rules.push(kept.clone());
                }
            }
            self.pending.push(AlertWrite::Rule(Box::new(kept.row())));
            self.engine.set_rule(now_ms, rule, &mut changes);
            all.push(kept);
        }
        self.tell_facts(now_ms, &mut changes);
        self.want(changes);
        self.flush().await?;
        Ok(all)
    }

    fn place_of(&self, id: i64) -> Result<usize, AlertError> {
        let place = self.rules.iter().position(|kept| kept.rule.id == id);
        place.ok_or(AlertError::NotFound { what: "rule", id })
    }

    /// Facts come rarely: a rule that is new learns them at once.
    fn tell_facts(&mut self, now_ms: i64, changes: &mut Vec<Change>) {
        let facts: Vec<(i64, i64, ResourceKind, f64)> = self
            .known
            .iter()
            .flat_map(|(server, known)| known.rows.iter().map(move |row| (server.0, row)))
            .filter(|(_, row)| row.kind != ResourceKind::Server)
            .map(|(server, row)| (server, row.id, row.kind, facts::of_health(row.health)))
            .collect();
        for (server, resource, kind, value) in facts {
            self.tell(now_ms, server, resource, kind, rule::HEALTH, value, changes);
        }
    }

    pub(super) async fn delete_rule(&mut self, id: i64) -> Result<(), AlertError> {
        self.flush().await?;
        let place = self.place_of(id)?;
        self.rules.remove(place);
        self.pending.push(AlertWrite::DeleteRule(id));
        let mut changes = Vec::new();
        let now_ms = self.app.clock().now_ms();
        self.engine.remove_rule(now_ms, id, &mut changes);
        self.want(changes);
        self.flush().await
    }
}
