//! One identity in two hands.

use tokio::time::Instant;

use super::*;
use crate::app::PageRequest;
use crate::app::enrolment::AgentStatus;

/// What a stream ends with if somebody reads it and answers its pings, as an agent does.
async fn end_of(mut stream: Stream) -> Close {
    stream.closed().await
}

async fn status(world: &World, identity: &AgentIdentity) -> AgentStatus {
    let agents = world.app.agents(None, PageRequest::default()).await.unwrap();
    let agent = agents
        .items
        .into_iter()
        .find(|agent| agent.agent == identity.agent);
    agent.unwrap().status
}

/// S7
#[tokio::test]
async fn two_living_agents_of_one_identity_are_both_cut_off_and_nothing_of_either_is_taken() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (first, _) = world.greet(&identity).await;
    let first = tokio::spawn(end_of(first));
    let started = Instant::now();
    let mut clone = world.open(&identity).await;
    clone.hello().await;
    clone.report(report(1, vec![])).await;
    assert_eq!(clone.closed().await.reason(), CloseReason::Quarantined);
    assert_eq!(first.await.unwrap().reason(), CloseReason::Quarantined);
    println!("a live clone was flagged after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(60));
    assert_eq!(status(&world, &identity).await, AgentStatus::Quarantined);
    assert_eq!(world.agents.connected(), []);
    let channel = world.channel(Some(&identity)).await.unwrap();
    let refused = Stream::open(channel).await.err().unwrap();
    assert_eq!(
        refused.metadata().get("muster-code").unwrap(),
        "identity_quarantined"
    );

    world
        .app
        .adopt_agent(identity.agent, None, None, ADMIN)
        .await
        .unwrap();
    let (mut again, welcome) = world.greet(&identity).await;
    assert!(welcome.epochs[0].stored.is_empty(), "nothing was taken");
    again.report(report(1, vec![])).await;
    again.acked(&[1]).await;
    world.end().await;
}

/// S7
#[tokio::test]
async fn an_agent_whose_link_broke_comes_back_although_the_old_stream_still_seems_open() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    // Never read again, but not closed either.
    let (silent, _) = world.greet(&identity).await;
    let started = Instant::now();
    let (mut back, _) = world.greet(&identity).await;
    println!("an agent was back after {:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(20));
    back.report(report(1, vec![])).await;
    back.acked(&[1]).await;
    assert_eq!(status(&world, &identity).await, AgentStatus::Active);
    drop(silent);
    world.end().await;
}

#[tokio::test]
async fn an_agent_that_closed_its_stream_is_not_made_to_wait() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    for _ in 0..5 {
        let started = Instant::now();
        let (stream, _) = world.greet(&identity).await;
        assert!(started.elapsed() < allowed(3), "{:?}", started.elapsed());
        drop(stream);
    }
    assert_eq!(status(&world, &identity).await, AgentStatus::Active);
    world.end().await;
}
