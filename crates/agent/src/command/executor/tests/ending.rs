//! What becomes of ends that cannot be written down, and of transactions that are not over.

use muster_base::shutdown::CancellationToken;

use super::*;
use crate::command::transactions::{Standing, Tell, TransactionError};
use crate::runtime::RegistryAuth;

/// The next word of a command.
async fn next_word(executor: &Executor, id: Uuid) -> CommandReport {
    let waiting = async {
        loop {
            let report = executor.next_report().await;
            if report.status.id == id {
                return report;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap()
}

/// The next word of it that says something in words.
async fn next_message(executor: &Executor, id: Uuid) -> CommandReport {
    loop {
        let report = next_word(executor, id).await;
        if !report.status.message.is_empty() {
            return report;
        }
    }
}

#[tokio::test]
async fn an_end_that_cannot_be_written_down_is_written_and_told_as_soon_as_it_can_be() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    // Received, validated, started: then the disk is full.
    executor.inner.lock().journal.lives = Some(3);
    let order = estate.order(start());
    executor.accept(estate.seal(&order), NOW_MS).await;
    let waiting = next_message(&executor, order.id).await;
    assert_eq!(waiting.status.state, CommandState::Started);
    assert!(
        waiting.status.message.contains("cannot be written down"),
        "{}",
        waiting.status.message
    );
    let more = estate.order(start());
    assert_eq!(
        refusal_of(&executor, estate.seal(&more), more.id).await,
        CommandRefusal::NotWritten
    );
    executor.inner.lock().journal.lives = None;
    let report = last_word(&executor, order.id).await;
    assert_eq!(report.status.state, CommandState::Succeeded);
    assert_eq!(estate.effects(), 1);
    let ends = estate.audited();
    let ends = ends.iter().filter(|entry| {
        entry["command"] == order.id.to_string().as_str() && entry["decision"] == "succeeded"
    });
    assert_eq!(ends.count(), 1, "however often it was tried");
    // That the controller knows it is not lost either.
    executor.inner.lock().journal.lives = Some(0);
    executor.seen(order.id, CommandState::Succeeded);
    executor.inner.lock().journal.lives = None;
    executor.idle().await;
    executor.kill().await;
    let executor = estate.open().await;
    assert!(executor.inner.lock().journal.open_commands().is_empty());
}

/// An update whose engine does not answer, until it does.
struct Stuck(Mutex<Standing>);

impl Stuck {
    fn at(standing: Standing) -> Arc<Self> {
        Arc::new(Self(Mutex::new(standing)))
    }
}

fn not_back() -> Result<Value, TransactionError> {
    Err(TransactionError::Unknown {
        message: "the old container is not back yet".to_owned(),
    })
}

/// An executor whose updates are these, and which is to do one.
async fn begun(estate: &mut Estate, stuck: &Arc<Stuck>) -> (Executor, Uuid) {
    let executor = opened(estate, stuck).await;
    let order = estate.order(update());
    executor.accept(estate.seal(&order), NOW_MS).await;
    (executor, order.id)
}

async fn opened(estate: &Estate, stuck: &Arc<Stuck>) -> Executor {
    let transactions = Arc::clone(stuck) as Arc<dyn Transactions>;
    estate.open_with(Some(transactions)).await
}

#[async_trait]
impl Transactions for Stuck {
    async fn update(
        &self,
        _command: Uuid,
        _target: &ContainerTarget,
        _plan: &UpdatePlan,
        _auth: Option<RegistryAuth>,
        _tell: &dyn Tell,
        _cancel: &CancellationToken,
    ) -> Result<Value, TransactionError> {
        not_back()
    }

    async fn rollback(
        &self,
        _command: Uuid,
        _target: &ContainerTarget,
        _update: Uuid,
        _auth: Option<RegistryAuth>,
        _tell: &dyn Tell,
        _cancel: &CancellationToken,
    ) -> Result<Value, TransactionError> {
        not_back()
    }

    async fn reconcile(&self) -> Vec<crate::command::transactions::Reconciled> {
        Vec::new()
    }

    fn standing(&self, _command: Uuid, _verb: &Verb) -> Standing {
        self.0.lock().unwrap().clone()
    }
}

fn update() -> Verb {
    Verb::ContainerUpdate {
        target: target(),
        plan: UpdatePlan {
            image: "docker.io/library/nginx:1".to_owned(),
            from_image_id: "sha256:aa".to_owned(),
            to_digest: format!("sha256:{}", "b".repeat(64)),
            platform: None,
            health_timeout_ms: 1_000,
            stable_ms: 1_000,
            grace_ms: 0,
            dry_run: false,
        },
    }
}

#[tokio::test]
async fn a_transaction_that_its_engine_left_unfinished_is_told_when_it_is_over_and_not_before() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let stuck = Stuck::at(Standing::Unfinished);
    let (executor, id) = begun(&mut estate, &stuck).await;
    let waiting = next_message(&executor, id).await;
    assert_eq!(
        (waiting.status.state, waiting.status.step.as_str()),
        (CommandState::Started, "unfinished"),
        "{}",
        waiting.status.message
    );
    // An end of the process changes nothing about that.
    executor.kill().await;
    let executor = opened(&estate, &stuck).await;
    executor.tell_again();
    assert_eq!(next_word(&executor, id).await.status.state, CommandState::Started);
    let ended = (
        id,
        CommandState::Failed,
        "the old container is as before".to_owned(),
        Some(json!({"rolled_back": true})),
    );
    *stuck.0.lock().unwrap() = Standing::Ended(ended);
    let report = last_word(&executor, id).await;
    assert_eq!(
        (report.status.state, report.status.result),
        (CommandState::Failed, Some(json!({"rolled_back": true})))
    );
}

#[tokio::test]
async fn a_transaction_of_which_nothing_more_is_to_be_heard_is_unknown() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let (executor, id) = begun(&mut estate, &Stuck::at(Standing::Over)).await;
    assert_eq!(last_word(&executor, id).await.status.state, CommandState::Unknown);
}
