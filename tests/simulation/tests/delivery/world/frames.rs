//! Frames on their way, and connections that come and go.

use muster_agent::uplink::{Driven, Over};
use muster_controller::intake::Answer;
use muster_proto::v1::agent_frame::Body as AgentBody;
use muster_proto::v1::{AgentFrame, ControllerFrame};
use prost::Message as _;

use super::{Event, RECONNECT_MS_MAX, World};
use crate::controller::{self, Outcome, Took};
use crate::sabotage::Sabotage;

/// Frames that fit between the agent's session and the other end.
const IN_FLIGHT_MAX: usize = 12;
/// How long the intake waits for company.
const COMMIT_MS: u64 = 10;
const PING_MS: u64 = 10_000;

fn silence_ms() -> u64 {
    u64::try_from(Driven::SILENCE_MAX.as_millis()).unwrap()
}

impl World<'_> {
    /// Writes what the agent's session has to say, as far as the connection takes it.
    pub(super) fn pump(&mut self, agent: usize) {
        while self.links[agent].in_flight < IN_FLIGHT_MAX {
            let Some(session) = self.running[agent]
                .as_mut()
                .and_then(|running| running.session.as_mut())
            else {
                return;
            };
            match session.next_frame() {
                Ok(Some(frame)) => self.send_up(agent, frame),
                Ok(None) => return,
                Err(over) => return self.session_over(agent, &over),
            }
        }
    }

    fn send_up(&mut self, agent: usize, frame: AgentFrame) {
        let bytes = frame.encode_to_vec();
        self.trace.bytes(&bytes);
        let link = &mut self.links[agent];
        link.in_flight += 1;
        let start_ms = link.up_free_ms.max(self.now_ms);
        link.up_free_ms = start_ms + bytes.len() as u64 / link.bytes_per_ms;
        let jitter_ms = self.random.u64(..=link.latency_ms);
        let at_ms = (link.up_free_ms + link.latency_ms + jitter_ms).max(link.dark_until_ms);
        // What was sent first arrives first.
        link.up_free_ms = link.up_free_ms.max(at_ms - link.latency_ms);
        let (id, delay_ms) = (link.id, at_ms - self.now_ms);
        self.later(delay_ms, Event::Up(agent, id, Box::new(frame)));
    }

    fn send_down(&mut self, agent: usize, id: u64, frame: ControllerFrame) {
        self.trace.bytes(&frame.encode_to_vec());
        let link = &mut self.links[agent];
        let jitter_ms = self.random.u64(..=link.latency_ms);
        let at_ms = (self.now_ms + link.latency_ms + jitter_ms)
            .max(link.down_free_ms)
            .max(link.dark_until_ms);
        link.down_free_ms = at_ms;
        self.later(at_ms - self.now_ms, Event::Down(agent, id, Box::new(frame)));
    }

    pub(super) fn connect(&mut self, agent: usize, epoch: u64) {
        let Some(running) = self.running[agent].as_mut() else {
            return;
        };
        if running.epoch != epoch || running.session.is_some() {
            return;
        }
        let is_reachable = self.is_controller_up && self.links[agent].unreachable_until_ms <= self.now_ms;
        if !is_reachable {
            return self.reconnect(agent, 0);
        }
        let hello = running.connect(self.links[agent].in_order);
        self.links_made += 1;
        let (made, now_ms) = (self.links_made, self.now_ms);
        let link = &mut self.links[agent];
        link.id = made;
        link.heard_ms = now_ms;
        link.in_flight = 0;
        (link.up_free_ms, link.down_free_ms) = (now_ms, now_ms);
        self.say(format_args!("agent {agent}: connects by link {made}"));
        self.later(silence_ms(), Event::Watch(agent, made));
        self.send_up(agent, hello);
    }

    pub(super) fn reconnect(&mut self, agent: usize, at_least_ms: u64) {
        let Some(epoch) = self.running[agent].as_ref().map(|running| running.epoch) else {
            return;
        };
        let link = &mut self.links[agent];
        let ceiling_ms = (1_000 << link.attempts.min(10)).min(RECONNECT_MS_MAX);
        link.attempts += 1;
        let delay_ms = self.random.u64(..=ceiling_ms).max(at_least_ms);
        self.later(delay_ms, Event::Connect(agent, epoch));
    }

    fn session_over(&mut self, agent: usize, over: &Over) {
        let link = self.links[agent].id;
        self.say(format_args!("agent {agent}: session {link} is over: {over}"));
        self.hang_up(agent);
        let delay_ms = self.random.u64(..2_000);
        self.later(delay_ms, Event::ControllerCut(agent, link));
        let (wait, in_order) = match over {
            Over::Closed {
                retry_after,
                in_order,
                ..
            } => (u64::try_from(retry_after.as_millis()).unwrap(), *in_order),
            Over::Broken { .. } => (0, false),
        };
        self.links[agent].in_order = in_order;
        self.reconnect(agent, wait);
    }

    /// The agent's end of the connection is gone.
    pub(crate) fn hang_up(&mut self, agent: usize) {
        let link = &mut self.links[agent];
        link.id = 0;
        link.in_flight = 0;
        if let Some(running) = self.running[agent].as_mut()
            && let Some(session) = running.session.take()
            && session.was_of_use()
        {
            link.attempts = 0;
        }
        self.begin_rounds(agent);
    }

    pub(super) fn agent_cut(&mut self, agent: usize, link: u64) {
        if self.links[agent].id == link && link != 0 {
            self.say(format_args!("agent {agent}: link {link} is gone"));
            self.hang_up(agent);
            self.reconnect(agent, 0);
        }
    }

    pub(super) fn controller_cut(&mut self, agent: usize, link: u64) {
        if let Some(controller) = &mut self.controller {
            controller.disconnected(agent, link);
        }
    }

    pub(super) fn watch(&mut self, agent: usize, link: u64) {
        if self.links[agent].id != link {
            return;
        }
        let silent_ms = self.now_ms - self.links[agent].heard_ms;
        if silent_ms < silence_ms() {
            return self.later(silence_ms() - silent_ms, Event::Watch(agent, link));
        }
        self.agent_cut(agent, link);
        let delay_ms = self.random.u64(..5_000);
        self.later(delay_ms, Event::ControllerCut(agent, link));
    }

    pub(super) fn ping(&mut self, agent: usize, link: u64) {
        let Some(controller) = self.controller.as_mut().filter(|_| self.is_controller_up) else {
            return;
        };
        if controller.link_of(agent) != Some(link) {
            return;
        }
        if silence_ms() <= self.now_ms - self.links[agent].controller_heard_ms {
            controller.disconnected(agent, link);
            self.say(format_args!("controller: agent {agent} is silent on link {link}"));
            let delay_ms = self.random.u64(..20_000);
            return self.later(delay_ms, Event::AgentCut(agent, link));
        }
        let frame = controller.ping();
        self.send_down(agent, link, frame);
        self.later(PING_MS, Event::Ping(agent, link));
    }

    pub(super) fn down(&mut self, agent: usize, link: u64, frame: ControllerFrame) {
        if self.links[agent].id != link {
            return;
        }
        self.links[agent].heard_ms = self.now_ms;
        let Some(session) = self.running[agent]
            .as_mut()
            .and_then(|running| running.session.as_mut())
        else {
            return;
        };
        let taken = session.take(frame);
        // What was learned of the store comes before anything that follows from it.
        self.settle_acks(agent);
        match taken {
            Ok(()) => self.pump(agent),
            Err(over) => self.session_over(agent, &over),
        }
    }

    fn settle_acks(&mut self, agent: usize) {
        let Some(running) = &self.running[agent] else {
            return;
        };
        for (epoch, acked) in running.take_acked() {
            for report in &acked {
                self.oracle.acked((agent, epoch, report.sequence));
            }
            let last = acked.last().map_or(0, |report| report.sequence);
            self.say(format_args!(
                "agent {agent}: {} reports of {epoch:x} up to {last} are acknowledged",
                acked.len()
            ));
        }
    }

    pub(super) async fn up(&mut self, agent: usize, link: u64, frame: AgentFrame) {
        if self.links[agent].id == link {
            self.links[agent].in_flight = self.links[agent].in_flight.saturating_sub(1);
        }
        if self.is_controller_up {
            self.read(agent, link, frame).await;
        }
        self.pump(agent);
    }

    async fn read(&mut self, agent: usize, link: u64, frame: AgentFrame) {
        let mut late = Vec::new();
        let current = self.controller.as_ref().and_then(|it| it.link_of(agent));
        if matches!(frame.body, Some(AgentBody::Hello(_))) && current != Some(link) {
            if current.is_some_and(|current| link < current) || self.links[agent].id != link {
                return;
            }
            // What the older stream has read may come before the list of what is stored, after it, or never.
            match self.random.u8(..3) {
                0 => self.commit_now().await,
                1 => late = self.controller.as_mut().unwrap().waiting(),
                _ => {}
            }
            if !self.is_controller_up {
                return;
            }
            let controller = self.controller.as_mut().unwrap();
            controller.connected(agent, link);
            self.later(PING_MS, Event::Ping(agent, link));
        }
        let controller = self.controller.as_mut().unwrap();
        if controller.link_of(agent) != Some(link) {
            return;
        }
        self.links[agent].controller_heard_ms = self.now_ms;
        match controller.take(agent, link, frame) {
            Took::Nothing => {}
            Took::Hello(hello) => {
                let welcome = controller.welcome(agent, &hello, self.store_id).await;
                if !late.is_empty() {
                    let outcomes = controller.commit(late).await;
                    self.note_stored(&outcomes);
                    // The older stream is gone; the others are told as ever.
                    let others = outcomes.into_iter().filter(|outcome| outcome.agent != agent);
                    let others: Vec<_> = others.map(|outcome| (outcome.agent, outcome.answer)).collect();
                    self.answer(&others);
                }
                self.say(format_args!(
                    "controller: agent {agent} is welcome on link {link}"
                ));
                self.send_down(agent, link, welcome);
            }
            Took::Item => {
                if !self.is_commit_due {
                    self.is_commit_due = true;
                    self.later(COMMIT_MS, Event::Commit(self.controller_run));
                }
            }
            Took::Broken(message) => panic!("agent {agent} broke a rule: {message}"),
        }
    }

    pub(super) async fn commit(&mut self, run: u64) {
        if run == self.controller_run && self.is_controller_up {
            self.commit_now().await;
        }
    }

    async fn commit_now(&mut self) {
        self.is_commit_due = false;
        let controller = self.controller.as_mut().unwrap();
        let items = controller.waiting();
        let chance = if self.plan.commit_faults {
            self.random.u8(..40)
        } else {
            u8::MAX
        };
        if chance == 0 {
            // The disk refuses, and nothing of it is stored.
            self.say(format_args!("controller: a commit of {} fails", items.len()));
            let answer = |item| Sabotage::answer_of_failed(self.sabotage, item);
            let answers: Vec<_> = items.iter().map(|(agent, item)| (*agent, answer(item))).collect();
            return self.answer(&answers);
        }
        let outcomes = controller.commit(items).await;
        self.note_stored(&outcomes);
        if chance == 1 {
            self.say(format_args!("controller: dies after a commit"));
            return self.kill_controller(None);
        }
        let answers = outcomes.into_iter().map(|outcome| {
            // Nobody can know what a failed fsync has left behind.
            let answer = if chance == 2 {
                Answer::Failed
            } else {
                outcome.answer
            };
            (outcome.agent, answer)
        });
        let answers: Vec<_> = answers.collect();
        self.answer(&answers);
    }

    fn note_stored(&mut self, outcomes: &[Outcome]) {
        for outcome in outcomes {
            if let (Some(report), Answer::Stored { duplicate, .. }) = (&outcome.report, &outcome.answer) {
                self.say(format_args!(
                    "controller: report {} of {:x} of agent {} is stored{}",
                    report.sequence,
                    report.epoch,
                    outcome.agent,
                    if *duplicate { " already" } else { "" }
                ));
                self.oracle.stored(outcome.agent, report, *duplicate);
            }
        }
    }

    fn answer(&mut self, answers: &[(usize, Answer)]) {
        for agent in 0..self.agents.len() {
            let own = answers.iter().filter(|(to, _)| *to == agent);
            let own: Vec<_> = own.map(|(_, answer)| answer.clone()).collect();
            let controller = self.controller.as_mut().unwrap();
            let Some(link) = controller.link_of(agent) else {
                continue;
            };
            let frames = controller.frames(agent, &own);
            let is_end = frames.first().is_some_and(controller::is_close);
            if is_end {
                controller.disconnected(agent, link);
            }
            for frame in frames {
                self.send_down(agent, link, frame);
            }
        }
    }
}
