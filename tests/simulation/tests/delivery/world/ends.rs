//! Starts and ends: of agents, of servers, of the controller.

use std::collections::BTreeSet;

use super::{Event, World};

/// How long an agent that is told to stop waits for its last acknowledgements.
const DELIVER_MS: u64 = 5_000;

impl World<'_> {
    pub(super) fn start(&mut self, agent: usize) {
        if self.running[agent].is_some() {
            return;
        }
        let epoch = self.random.u64(1..);
        let started = self.agents[agent].start(epoch, self.identity, &mut self.uplinks);
        let Some((running, found)) = started else {
            self.say(format_args!("agent {agent}: can't begin an epoch"));
            return self.later(5_000, Event::Start(agent));
        };
        let numbers = |set: &BTreeSet<u64>| set.len();
        self.say(format_args!(
            "agent {agent}: starts epoch {epoch:x}, on disk are {:?}",
            found.as_ref().map(|found| found
                .iter()
                .map(|(epoch, set)| (*epoch, numbers(set)))
                .collect::<Vec<_>>())
        ));
        self.oracle.began(agent, epoch);
        // A start in the middle of which the power goes says nothing of what is there.
        let found = found.filter(|_| !self.agents[agent].disk.is_dead());
        self.has_spool[agent] = found.is_some();
        if let Some(found) = found {
            self.oracle.recovered(agent, &found);
        }
        self.running[agent] = Some(running);
        self.stopping[agent] = false;
        self.links[agent].attempts = 0;
        self.links[agent].rounds_left = 0;
        let delay_ms = self.random.u64(..1_000);
        self.later(delay_ms, Event::Tick(agent));
        self.later(delay_ms / 2, Event::Connect(agent, epoch));
        self.begin_rounds(agent);
    }

    /// The process is gone; what the kernel holds stays.
    pub(crate) fn kill_agent(&mut self, agent: usize) {
        self.gone(agent, false);
        let delay_ms = self.random.u64(100..30_000);
        self.later(delay_ms, Event::Start(agent));
    }

    fn gone(&mut self, agent: usize, ended_cleanly: bool) {
        let link = self.links[agent].id;
        let Some(running) = self.running[agent].take() else {
            return;
        };
        let last = running.outbox.stats().last_sequence;
        self.oracle.numbered(agent, running.epoch, last);
        let kept = running.kept();
        self.oracle
            .ended(agent, running.epoch, kept, ended_cleanly, self.has_spool[agent]);
        drop(running);
        self.links[agent].id = 0;
        self.links[agent].in_flight = 0;
        if link != 0 {
            // Frames on their way may arrive before the other end learns of it.
            let delay_ms = self.random.u64(..1_000);
            self.later(delay_ms, Event::ControllerCut(agent, link));
        }
    }

    /// The server is without power; what was not synced is lost.
    pub(crate) fn power_loss(&mut self, agent: usize) {
        self.say(format_args!("agent {agent}: loses power"));
        let was_running = self.running[agent].is_some();
        self.gone(agent, false);
        self.agents[agent].disk.power_loss();
        self.agents[agent].clocks.reboot();
        let delay_ms = self.random.u64(1_000..120_000);
        if was_running {
            self.later(delay_ms, Event::Start(agent));
        }
    }

    /// Asks the agent to end in order.
    pub(crate) fn stop_agent(&mut self, agent: usize) {
        let clock = self.agents[agent].clock();
        let Some(running) = self.running[agent].as_ref() else {
            return;
        };
        let epoch = running.epoch;
        running.outbox.push_gaps(clock);
        self.stopping[agent] = true;
        self.pump(agent);
        self.later(DELIVER_MS, Event::Stopped(agent, epoch));
    }

    pub(super) fn stopped(&mut self, agent: usize, epoch: u64) {
        if self.running[agent]
            .as_ref()
            .is_some_and(|running| running.epoch == epoch)
        {
            self.finish(agent);
            let delay_ms = self.random.u64(1_000..60_000);
            self.later(delay_ms, Event::Start(agent));
        }
    }

    /// The end in order: the stream first, then the spool, then the word that all is well.
    pub(super) fn finish(&mut self, agent: usize) {
        let was_delivered = self.running[agent]
            .as_ref()
            .is_some_and(|running| running.outbox.is_settled());
        let link = self.links[agent].id;
        self.hang_up(agent);
        self.later(1, Event::ControllerCut(agent, link));
        let Some(running) = self.running[agent].as_mut() else {
            return;
        };
        running.round(true);
        if self.agents[agent].disk.is_dead() {
            return;
        }
        let running = self.running[agent].as_ref().expect("seen above");
        let is_well = was_delivered || (self.has_spool[agent] && running.outbox.is_kept());
        let epoch = running.epoch;
        let untold = running.untold.clone();
        let is_told = is_well && self.agents[agent].write_epoch(epoch, true, &untold);
        self.say(format_args!("agent {agent}: ends in order, cleanly: {is_told}"));
        if !self.agents[agent].disk.is_dead() {
            self.gone(agent, is_told);
        }
    }

    /// The controller ends without a word; it starts again, from `backup` if there is one.
    pub(crate) fn kill_controller(&mut self, backup: Option<usize>) {
        self.is_controller_up = false;
        self.controller_run += 1;
        self.is_commit_due = false;
        self.controller.as_mut().expect("it is there").forget_sessions();
        for agent in 0..self.agents.len() {
            let link = self.links[agent].id;
            if link != 0 {
                let delay_ms = self.random.u64(..3_000);
                self.later(delay_ms, Event::AgentCut(agent, link));
            }
        }
        let delay_ms = self.random.u64(100..120_000);
        self.later(delay_ms, Event::StartController(backup));
    }

    pub(super) async fn start_controller(&mut self, backup: Option<usize>) {
        if self.is_controller_up {
            return;
        }
        let controller = self.controller.take().expect("it is there");
        let started = match backup {
            None if self.random.bool() => controller.kill_and_restart().await,
            None => controller.restart().await,
            Some(index) => {
                let backup = &self.backups[index];
                self.oracle.restored(backup.snapshot.clone());
                controller.restore(backup, self.random.u64(1..)).await
            }
        };
        self.say(format_args!(
            "controller: starts{}, store epoch {:x}",
            if backup.is_some() { " on an older copy" } else { "" },
            started.store_epoch
        ));
        self.controller = Some(started);
        self.is_controller_up = true;
        self.set_controller_clock();
    }
}
