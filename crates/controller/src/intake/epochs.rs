//! What readers of the intake remember of agents' epochs.
//!
//! An agent begins an epoch whenever it starts, and after that reports of the ones before come only until they are
//! delivered. So of each agent the few used last are remembered, and no agent for ever. What is forgotten is looked up
//! again.

use std::collections::HashMap;

use muster_base::id::AgentId;

/// Most epochs remembered of one agent.
const OF_AGENT_MAX: usize = 4;
/// Most agents remembered; when there are more, the half that was used last stays.
const AGENTS_MAX: usize = 20_000;

/// Something for each epoch of each agent, of which it remembers those that were used last.
#[derive(Debug)]
pub(crate) struct PerEpoch<T> {
    /// Of each agent its epochs, the one used last at the end.
    agents: HashMap<AgentId, Agent<T>>,
    uses: u64,
}

#[derive(Debug)]
struct Agent<T> {
    used: u64,
    epochs: Vec<(u64, T)>,
}

impl<T> Default for PerEpoch<T> {
    fn default() -> Self {
        Self {
            agents: HashMap::new(),
            uses: 0,
        }
    }
}

impl<T: Default> PerEpoch<T> {
    /// What is remembered of an epoch, if anything is.
    pub(crate) fn get(&self, agent: AgentId, epoch: u64) -> Option<&T> {
        let of_agent = &self.agents.get(&agent)?.epochs;
        of_agent
            .iter()
            .find(|(known, _)| *known == epoch)
            .map(|(_, of)| of)
    }

    /// What is remembered of an epoch, new if nothing is; it is the one used last now.
    pub(crate) fn entry(&mut self, agent: AgentId, epoch: u64) -> &mut T {
        self.uses += 1;
        if AGENTS_MAX <= self.agents.len() && !self.agents.contains_key(&agent) {
            self.let_go();
        }
        let of_agent = self.agents.entry(agent).or_insert_with(|| Agent {
            used: 0,
            epochs: Vec::new(),
        });
        of_agent.used = self.uses;
        let epochs = &mut of_agent.epochs;
        match epochs.iter().position(|(known, _)| *known == epoch) {
            Some(place) => epochs[place..].rotate_left(1),
            None => {
                if OF_AGENT_MAX <= epochs.len() {
                    epochs.remove(0);
                }
                epochs.push((epoch, T::default()));
            }
        }
        let last = epochs.len() - 1;
        &mut epochs[last].1
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.agents.clear();
    }

    fn let_go(&mut self) {
        let mut uses: Vec<u64> = self.agents.values().map(|agent| agent.used).collect();
        uses.sort_unstable();
        let from = uses.get(uses.len() / 2).copied().unwrap_or(0);
        self.agents.retain(|_, agent| from <= agent.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_epochs_used_last_are_remembered() {
        let mut known: PerEpoch<Vec<u64>> = PerEpoch::default();
        let agent = AgentId(uuid::Uuid::from_u128(1));
        for epoch in 1..=100 {
            known.entry(agent, epoch).push(epoch);
            // Still delivering what it had kept.
            known.entry(agent, 1).push(epoch);
        }
        assert_eq!(known.get(agent, 1).map(Vec::len), Some(101));
        assert_eq!(known.get(agent, 100), Some(&vec![100]));
        assert_eq!(known.get(agent, 50), None);
        assert_eq!(known.entry(agent, 50), &Vec::<u64>::new());
        known.clear();
        assert_eq!(known.get(agent, 1), None);
    }

    #[test]
    fn agents_used_last_stay_when_there_are_too_many() {
        let mut known: PerEpoch<u64> = PerEpoch::default();
        let agent = |n: usize| AgentId(uuid::Uuid::from_u128(n as u128));
        for n in 0..=AGENTS_MAX {
            *known.entry(agent(n), 1) = 1;
        }
        assert!(known.agents.len() <= AGENTS_MAX);
        assert_eq!(known.get(agent(0), 1), None);
        assert_eq!(known.get(agent(AGENTS_MAX), 1), Some(&1));
    }
}
