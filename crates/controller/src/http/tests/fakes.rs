//! A registry and agents that say what a test wants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use muster_model::{CommandState, CommandStatus, Verb};
use muster_update::{Candidate, Limit, Offer};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::harness::NOW;
use crate::registry::Progress;
use crate::update::{Asked, Candidates, Issue, IssueError, Order, OrderReference};

/// What registries know, by image reference, and how far updates were asked to go.
#[derive(Default)]
pub(super) struct FakeRegistry(
    pub(super) Mutex<HashMap<String, Candidate>>,
    Mutex<HashMap<String, Option<Limit>>>,
    Mutex<Option<Arc<Semaphore>>>,
);

impl FakeRegistry {
    /// From now on there is this for an image.
    pub(super) fn offers(&self, image: &str, to: &str, digit: char) {
        let offer = Offer {
            image: to.to_owned(),
            digest: format!("sha256:{}", digit.to_string().repeat(64)),
            platform_digest: None,
            first_seen_ms: Some(NOW - 3_600_000),
            release_notes: None,
        };
        self.says(image, Candidate::Available(offer));
    }

    /// From now on each image is asked about only with a permit.
    pub(super) fn hold(&self) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(0));
        *self.2.lock().unwrap() = Some(Arc::clone(&permits));
        permits
    }

    /// How far updates of an image were asked to go last.
    pub(super) fn limit_asked(&self, image: &str) -> Option<Limit> {
        self.1.lock().unwrap().get(image).copied().flatten()
    }

    pub(super) fn says(&self, image: &str, candidate: Candidate) {
        self.0.lock().unwrap().insert(image.to_owned(), candidate);
    }
}

#[async_trait]
impl Candidates for FakeRegistry {
    async fn candidate(&self, asked: &Asked) -> Candidate {
        self.1.lock().unwrap().insert(asked.image.clone(), asked.limit);
        let known = self.0.lock().unwrap();
        let found = known.get(&asked.image).cloned();
        match found {
            Some(Candidate::Available(offer)) if asked.current_digest.as_ref() == Some(&offer.digest) => {
                Candidate::Current
            }
            Some(candidate) => candidate,
            None => Candidate::Unknown("the registry does not answer".to_owned()),
        }
    }

    async fn check(&self, asked: &[Asked], progress: &Progress) -> Result<(), String> {
        progress.add(asked.len());
        let permits = self.2.lock().unwrap().clone();
        for _ in asked {
            if let Some(permits) = &permits {
                permits.acquire().await.unwrap().forget();
            }
            progress.asked(true);
        }
        Ok(())
    }
}

/// One command that was issued.
#[derive(Clone)]
pub(super) struct Told {
    pub(super) id: Uuid,
    pub(super) order: Order,
    pub(super) status: CommandStatus,
}

/// Agents, and what they were told.
#[derive(Default)]
pub(super) struct FakeAgents(pub(super) Mutex<Vec<Told>>);

impl FakeAgents {
    /// Every command so far.
    pub(super) fn told(&self) -> Vec<Told> {
        self.0.lock().unwrap().clone()
    }

    /// The verbs of every command so far.
    pub(super) fn verbs(&self) -> Vec<&'static str> {
        self.told().iter().map(|told| told.order.verb.name()).collect()
    }

    /// What is under way ends so.
    pub(super) fn end_all(&self, state: CommandState, step: &str, message: &str, result: &Value) {
        for told in self.0.lock().unwrap().iter_mut() {
            if !told.status.state.is_final() {
                told.status.state = state;
                step.clone_into(&mut told.status.step);
                message.clone_into(&mut told.status.message);
                told.status.result = Some(result.clone());
            }
        }
    }
}

#[async_trait]
impl Issue for FakeAgents {
    async fn issue(&self, order: Order) -> Result<Uuid, IssueError> {
        let mut told = self.0.lock().unwrap();
        let id = Uuid::from_u128(told.len() as u128 + 1);
        let is_log = matches!(order.verb, Verb::ContainerLogs { .. });
        let status = CommandStatus {
            id,
            state: if is_log {
                CommandState::Succeeded
            } else {
                CommandState::Pending
            },
            at_ms: NOW,
            progress: None,
            step: String::new(),
            message: String::new(),
            result: is_log.then(|| json!({"lines": ["hello"]})),
        };
        told.push(Told { id, order, status });
        Ok(id)
    }

    async fn find(&self, reference: &OrderReference) -> Result<Option<Uuid>, IssueError> {
        let told = self.0.lock().unwrap();
        let found = told
            .iter()
            .find(|told| told.order.reference.as_ref() == Some(reference));
        Ok(found.map(|told| told.id))
    }

    async fn status(&self, id: Uuid) -> Result<Option<CommandStatus>, IssueError> {
        let told = self.0.lock().unwrap();
        Ok(told
            .iter()
            .find(|told| told.id == id)
            .map(|told| told.status.clone()))
    }
}

/// Both, shared with the app.
#[derive(Clone, Default)]
pub(super) struct Fakes {
    pub(super) registry: Arc<FakeRegistry>,
    pub(super) agents: Arc<FakeAgents>,
}
