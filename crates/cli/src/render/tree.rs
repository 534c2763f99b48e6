//! What rests on what as a tree of lines.
//!
//! A thing that rests on several others stands below each of them, but what stands below it is drawn once. Cycles and
//! answers of any shape are survived.

use std::collections::{HashMap, HashSet};
use std::io::IsTerminal as _;

use serde_json::Value;

use super::{clean, size, word};

/// Most layers that are drawn.
const LAYERS_MAX: usize = 64;

/// A topology, read in one direction.
pub(crate) struct Tree<'a> {
    resources: HashMap<i64, &'a Value>,
    next: HashMap<i64, Vec<i64>>,
}

/// Whether somebody looks who can see colours.
pub(crate) fn is_coloured() -> bool {
    std::io::stdout().is_terminal()
}

/// A line above a tree.
pub(crate) fn heading(name: &Value) -> String {
    format!("{}\n", clean(&word(name)))
}

impl<'a> Tree<'a> {
    /// From what is below to what rests on it.
    pub(crate) fn above(topology: &'a Value) -> Self {
        Self::of(topology, "to", "from")
    }

    /// From what is above to what it rests on.
    pub(crate) fn below(topology: &'a Value) -> Self {
        Self::of(topology, "from", "to")
    }

    fn of(topology: &'a Value, here: &str, there: &str) -> Self {
        let items = |name: &str| topology.get(name).and_then(Value::as_array).into_iter().flatten();
        let mut next: HashMap<i64, Vec<i64>> = HashMap::new();
        for link in items("links") {
            let end = |name: &str| link.get(name).and_then(Value::as_i64);
            if let (Some(here), Some(there)) = (end(here), end(there)) {
                next.entry(here).or_default().push(there);
            }
        }
        Self {
            resources: items("resources")
                .filter_map(|resource| Some((resource.get("id")?.as_i64()?, resource)))
                .collect(),
            next,
        }
    }

    /// Draws these and all that follows from them.
    pub(crate) fn draw(&self, roots: &[i64], is_coloured: bool) -> String {
        let mut drawing = Drawing {
            tree: self,
            is_coloured,
            drawn: HashSet::new(),
            text: String::new(),
        };
        drawing.all(roots, "", 0);
        drawing.text
    }

    /// The same without the first, which the reader sees already.
    pub(crate) fn draw_from(&self, root: i64, is_coloured: bool) -> String {
        self.draw(self.after(root), is_coloured)
    }

    fn after(&self, id: i64) -> &[i64] {
        self.next.get(&id).map(Vec::as_slice).unwrap_or_default()
    }
}

struct Drawing<'a> {
    tree: &'a Tree<'a>,
    is_coloured: bool,
    drawn: HashSet<i64>,
    text: String,
}

impl Drawing<'_> {
    fn all(&mut self, ids: &[i64], indent: &str, layer: usize) {
        let known: Vec<i64> = ids
            .iter()
            .copied()
            .filter(|id| self.tree.resources.contains_key(id))
            .collect();
        for (index, id) in known.iter().enumerate() {
            let is_last = index + 1 == known.len();
            let (branch, follow) = if is_last {
                ("└─ ", "   ")
            } else {
                ("├─ ", "│  ")
            };
            let is_new = self.drawn.insert(*id);
            let after = self.tree.after(*id);
            let again = if is_new || after.is_empty() {
                ""
            } else {
                "  (see above)"
            };
            let line = self.line(self.tree.resources[id]);
            self.text.push_str(&format!("{indent}{branch}{line}{again}\n"));
            if is_new && layer < LAYERS_MAX {
                self.all(after, &format!("{indent}{follow}"), layer + 1);
            }
        }
    }

    fn line(&self, resource: &Value) -> String {
        let field = |name: &str| resource.get(name).filter(|value| !value.is_null());
        let text = |name: &str| field(name).map_or_else(String::new, |value| clean(&word(value)));
        let mut parts = vec![text("name")];
        let kind = match field("type") {
            Some(_) => format!("{} {}", text("kind"), text("type")),
            None => text("kind"),
        };
        parts.push(kind);
        if let Some(bytes) = field("size_bytes").and_then(Value::as_f64) {
            parts.push(size(bytes));
        }
        let places = field("mount_points").and_then(Value::as_array);
        let places: Vec<String> = places
            .into_iter()
            .flatten()
            .map(|place| clean(&word(place)))
            .collect();
        if !places.is_empty() && places != [text("name")] {
            parts.push(format!("on {}", places.join(", ")));
        }
        parts.push(self.health(&text("health")));
        if field("gone_at").is_some() {
            parts.push("gone".to_owned());
        }
        let line = parts.join("  ");
        match field("health_reasons").and_then(|reasons| reasons.get(0)) {
            Some(reason) if text("health") != "healthy" => format!("{line}: {}", clean(&word(reason))),
            _ => line,
        }
    }

    fn health(&self, word: &str) -> String {
        let colour = match word {
            "healthy" => 32,
            "warning" => 33,
            "critical" | "failed" => 31,
            _ => 2,
        };
        if self.is_coloured {
            format!("\u{1b}[{colour}m{word}\u{1b}[0m")
        } else {
            word.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn topology() -> Value {
        let resource = |id: i64, kind: &str, name: &str, health: &str| {
            json!({"id": id, "kind": kind, "name": name, "health": health, "size_bytes": 1_000,
                "health_reasons": ["because"], "mount_points": []})
        };
        json!({
            "resources": [
                resource(1, "device", "sda", "healthy"), resource(2, "device", "sdb\u{1b}[2J", "failed"),
                resource(3, "pool", "md0", "warning"), resource(4, "filesystem", "/srv", "unknown"),
            ],
            "links": [{"from": 3, "to": 1}, {"from": 3, "to": 2}, {"from": 4, "to": 3}, {"from": 99, "to": 1}],
        })
    }

    #[test]
    fn what_rests_on_two_disks_stands_below_both_and_its_own_tree_once() {
        let topology = topology();
        let drawn = Tree::above(&topology).draw(&[1, 2], false);
        let expected = "├─ sda  device  1.0 kB  healthy\n\
                        │  └─ md0  pool  1.0 kB  warning: because\n\
                        │     └─ /srv  filesystem  1.0 kB  unknown: because\n\
                        └─ sdb\u{fffd}[2J  device  1.0 kB  failed: because\n   \
                        └─ md0  pool  1.0 kB  warning: because  (see above)\n";
        assert_eq!(drawn, expected);
        let below = Tree::below(&topology).draw_from(4, false);
        assert_eq!(below.lines().count(), 3);
        assert!(below.starts_with("└─ md0"));
    }

    #[test]
    fn health_is_coloured_only_for_somebody_who_looks_and_always_a_word() {
        let topology = topology();
        let drawn = Tree::above(&topology).draw(&[1], true);
        assert!(drawn.contains("\u{1b}[32mhealthy\u{1b}[0m") && drawn.contains("\u{1b}[33mwarning"));
        assert!(!Tree::above(&topology).draw(&[1], false).contains('\u{1b}'));
    }

    #[test]
    fn cycles_and_answers_of_any_shape_end() {
        let cycle = json!({
            "resources": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
            "links": [{"from": 1, "to": 2}, {"from": 2, "to": 1}, {"from": 1, "to": 1}, {"from": "x"}, 7],
        });
        assert!(Tree::above(&cycle).draw(&[1, 2], false).lines().count() < 10);
        for odd in [json!(null), json!([]), json!({"resources": 7, "links": {}})] {
            assert_eq!(Tree::above(&odd).draw(&[1], false), "");
        }
    }
}
