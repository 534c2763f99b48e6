//! What many series have in common, each once in memory: metric names, units, collectors, and whole sets of labels.
//!
//! Servers of a fleet have the same series, so that labels take nearly nothing for each more server. Texts are kept for
//! ever: their number is bounded by what programs call their metrics. Labels come and go with containers, and are let go
//! of when no series has them any more.

use std::collections::HashSet;
use std::sync::Arc;

use muster_model::Labels;

/// Sets of labels before it is looked for the first time which of them nobody has any more.
const LABELS_MIN: usize = 1_024;

/// Texts and labels, each once.
#[derive(Debug, Default)]
pub(super) struct Shared {
    texts: HashSet<Arc<str>>,
    labels: HashSet<Labels>,
    /// How many sets of labels were in use when that was last looked for.
    used: usize,
}

impl Shared {
    /// This text.
    pub(super) fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    /// These labels.
    pub(super) fn labels(&mut self, labels: &Labels) -> Labels {
        if let Some(known) = self.labels.get(labels) {
            return known.clone();
        }
        // Looked for each time there are twice as many: constant work for each new set.
        if 2 * self.used.max(LABELS_MIN) <= self.labels.len() {
            self.labels.retain(Labels::are_shared);
            self.labels.shrink_to(2 * self.labels.len());
            self.used = self.labels.len();
        }
        self.labels.insert(labels.clone());
        labels.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where they are in memory.
    fn place(labels: &Labels) -> *const u8 {
        labels.iter().next().unwrap().0.as_ptr()
    }

    #[test]
    fn what_is_the_same_is_in_memory_once() {
        let mut shared = Shared::default();
        let mut labels = || shared.labels(&Labels::of(&[("cpu", "0"), ("mode", "idle")]));
        assert_eq!(place(&labels()), place(&labels()));
        assert!(Arc::ptr_eq(&shared.text("seconds"), &shared.text("seconds")));
    }

    #[test]
    fn labels_that_nobody_has_any_more_are_let_go_of() {
        let mut shared = Shared::default();
        let kept: Vec<_> = (0..100)
            .map(|n| shared.labels(&Labels::of(&[("kept", &n.to_string())])))
            .collect();
        for n in 0..100_000 {
            shared.labels(&Labels::of(&[("id", &n.to_string())]));
        }
        assert!(shared.labels.len() <= 2 * LABELS_MIN, "{}", shared.labels.len());
        for labels in kept {
            assert_eq!(place(&shared.labels(&labels)), place(&labels));
        }
    }
}
