//! One agent and its stream: who is let in, and what becomes of what it sends.

use super::*;

#[tokio::test]
async fn an_enrolled_agent_delivers_and_is_acknowledged_once_it_is_stored() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, welcome) = world.greet(&identity).await;
    let installation = *world.app.identity().installation();
    assert_eq!(welcome.store_id, installation.store_id.as_bytes());
    assert_eq!(
        (welcome.store_epoch, welcome.credit_bytes),
        (installation.store_epoch, 1024 * 1024)
    );
    assert_eq!(
        (welcome.epochs[0].epoch, welcome.epochs[0].definitions),
        (EPOCH, 0)
    );
    stream.define(1, &["test_a", "test_b"]).await;
    for sequence in 1..=20 {
        stream.report(report(sequence, vec![1, 2])).await;
    }
    stream.acked(&(1..=20).collect::<Vec<_>>()).await;
    assert_eq!(*world.intake.committed().borrow(), 20);
    assert!(world.app.presence().of(identity.server).unwrap().connected);
    assert_eq!(world.agents.connected(), [(identity.server, identity.agent)]);
    world.end().await;
}

#[tokio::test]
async fn without_a_certificate_only_enrolment_answers() {
    let (_folder, world) = world().await;
    let refused = Stream::open(world.channel(None).await.unwrap())
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(
        refused.metadata().get("muster-code").unwrap(),
        "certificate_required"
    );
    world.enrol().await;
    world.end().await;
}

#[tokio::test]
async fn a_token_is_refused_with_a_stable_code_when_it_is_used_up() {
    let (_folder, world) = world().await;
    let token = world.token().await;
    let mut client = EnrollmentClient::new(world.channel(None).await.unwrap());
    client.enroll(enrolment_request(token.clone()).0).await.unwrap();
    let refused = client.enroll(enrolment_request(token).0).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(refused.metadata().get("muster-code").unwrap(), "key_mismatch");
    let unknown = client
        .enroll(enrolment_request("not a token".to_owned()).0)
        .await
        .unwrap_err();
    assert!(unknown.metadata().contains_key("muster-code"), "{unknown:?}");
    world.end().await;
}

#[tokio::test]
async fn an_enrolment_request_that_is_too_long_is_refused() {
    let (_folder, world) = world().await;
    let mut client = EnrollmentClient::new(world.channel(None).await.unwrap());
    let refused = client
        .enroll(enrolment_request("x".repeat(ENROLMENT_BYTES_MAX)).0)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    world.end().await;
}

/// The S3 cases that a handshake has to refuse: none of these may get as far as a status of ours.
#[tokio::test]
async fn a_certificate_that_is_not_an_agents_does_not_pass_the_handshake() {
    let (_folder, world) = world().await;
    let (_other_folder, other) = self::world().await;
    let foreign = other.enrol().await;
    let own = world.enrol().await;
    let self_signed = {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![CONTROLLER_NAME.to_owned()])
            .unwrap()
            .self_signed(&key);
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        AgentIdentity {
            chain: vec![certificate.unwrap().der().clone()],
            key,
            ..own
        }
    };
    for identity in [&foreign, &self_signed] {
        // With TLS 1.3 the client learns of the refusal only when it reads.
        let refused = match world.channel(Some(identity)).await {
            Err(_) => true,
            Ok(channel) => match Stream::open(channel).await {
                Err(status) => !status.metadata().contains_key("muster-code"),
                Ok(mut stream) => stream.next().await.is_none(),
            },
        };
        assert!(refused);
    }
    assert_eq!(
        world
            .metrics
            .session
            .opened
            .load(std::sync::atomic::Ordering::Relaxed),
        0
    );
    assert!(world.agents.connected().is_empty());
    world.end().await;
    other.end().await;
}

#[tokio::test]
async fn an_identity_that_is_deleted_is_closed_and_not_admitted_again() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    world.app.delete_server(identity.server, "a test").await.unwrap();
    assert_eq!(stream.closed().await.reason(), CloseReason::Revoked);
    let channel = world.channel(Some(&identity)).await.unwrap();
    let refused = Stream::open(channel).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);
    world.end().await;
}

#[tokio::test]
async fn an_identity_of_a_database_that_was_lost_is_held_until_somebody_decides() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let database = rusqlite::Connection::open(world.dir.join("state.db")).unwrap();
    database
        .execute_batch("PRAGMA foreign_keys = OFF; DELETE FROM agent_identity")
        .unwrap();
    let channel = world.channel(Some(&identity)).await.unwrap();
    let (frame_tx, frames) = mpsc::channel(4);
    Stream::introducing(&frame_tx).await;
    let refused = AgentLinkClient::new(channel)
        .connect(ReceiverStream::new(frames))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(refused.metadata().get("muster-code").unwrap(), "identity_held");
    let held = world.app.agents(None, app::PageRequest::default()).await.unwrap();
    assert_eq!(held.total, 1);
    assert_eq!(held.items[0].agent, identity.agent);
    assert_eq!(held.items[0].status, app::enrolment::AgentStatus::Held);
    assert_eq!(held.items[0].hostname.as_deref(), Some("host-a"));
    let adopted = world
        .app
        .adopt_agent(identity.agent, Some(identity.server), None, ADMIN)
        .await
        .unwrap();
    assert_eq!(adopted, identity.server);
    let (stream, _) = world.greet(&identity).await;
    drop(stream);
    world.end().await;
}

#[tokio::test]
async fn a_newer_stream_closes_an_older_one_on_which_nobody_answers() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut old, _) = world.greet(&identity).await;
    let (mut new, _) = world.greet(&identity).await;
    assert_eq!(old.closed().await.reason(), CloseReason::Replaced);
    new.report(report(1, vec![])).await;
    new.acked(&[1]).await;
    assert!(world.app.presence().of(identity.server).unwrap().connected);
    world.end().await;
}

#[tokio::test]
async fn a_message_that_cannot_be_read_closes_the_stream_and_names_its_number() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    stream.report(report(1, vec![])).await;
    let garbage = Fragment {
        lane: Lane::Live.into(),
        data: vec![0xff; 100],
        last: true,
        compression: muster_proto::v1::Compression::None.into(),
        sequence: 44,
    };
    stream.send(agent_frame::Body::Fragment(garbage)).await;
    // What came before the breach stays valid.
    stream.acked(&[1]).await;
    let close = stream.closed().await;
    assert_eq!((close.reason(), close.sequence), (CloseReason::BadFrame, 44));
    world.end().await;
}

#[tokio::test]
async fn a_frame_over_the_limit_closes_the_stream_and_others_go_on() {
    let (_folder, world) = world().await;
    let (one, two) = (world.enrol().await, world.enrol().await);
    let (mut bad, _) = world.greet(&one).await;
    let (mut good, _) = world.greet(&two).await;
    let fragment = |bytes| Fragment {
        lane: Lane::Live.into(),
        data: vec![0; bytes],
        last: true,
        compression: muster_proto::v1::Compression::None.into(),
        sequence: 9,
    };
    bad.send(agent_frame::Body::Fragment(fragment(FRAME_BYTES_MAX)))
        .await;
    assert_eq!(bad.closed().await.reason(), CloseReason::BadFrame);
    let (mut again, _) = world.greet(&one).await;
    again
        .send(agent_frame::Body::Fragment(fragment(
            muster_model::limits::FRAME_BYTES_MAX + 1,
        )))
        .await;
    let close = again.closed().await;
    assert_eq!((close.reason(), close.sequence), (CloseReason::BadFrame, 9));
    good.report(report(1, vec![])).await;
    good.acked(&[1]).await;
    world.end().await;
}

#[tokio::test]
async fn the_first_frame_must_be_hello() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let mut stream = world.open(&identity).await;
    stream.report(report(1, vec![])).await;
    assert_eq!(stream.closed().await.reason(), CloseReason::BadFrame);
    world.end().await;
}

#[tokio::test]
async fn definitions_that_are_missing_are_asked_for_and_then_the_report_is_taken() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    stream.report(report(1, vec![1, 2])).await;
    let Some(Body::NeedDefinitions(need)) = stream.next().await else {
        panic!("not asked")
    };
    assert_eq!((need.epoch, need.from_id), (EPOCH, 1));
    stream.define(1, &["test_a", "test_b"]).await;
    stream.report(report(1, vec![1, 2])).await;
    stream.acked(&[1]).await;
    world.end().await;
}

#[tokio::test]
async fn a_report_beyond_the_limits_is_acknowledged_and_its_refusal_kept() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    // Five series are allowed here.
    stream.define(1, &["a", "b", "c", "d", "e", "f"]).await;
    stream.report(report(1, vec![1, 6])).await;
    stream.acked(&[1]).await;
    // It can be decoded, but no report may say this.
    let mut broken = report_to_wire(report(2, vec![1]));
    broken.blocks[0].values.push(1.0);
    stream.message(MessageBody::Report(broken), 2).await;
    stream.acked(&[2]).await;
    let mut applied = world.consumers.applied.clone();
    applied.wait_for(|position| 2 <= *position).await.unwrap();
    let gaps = world.app.gaps(identity.server).await.unwrap();
    assert_eq!(gaps.len(), 2);
    let metrics = world.intake.metrics();
    assert_eq!(intake::IntakeMetrics::get(&metrics.samples_refused_series), 1);
    assert_eq!(intake::IntakeMetrics::get(&metrics.reports_refused), 2);
    world.end().await;
}

#[tokio::test]
async fn after_a_restart_the_welcome_lists_what_was_acknowledged_and_nothing_is_asked_twice() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let (mut stream, _) = world.greet(&identity).await;
    stream.define(1, &["test_a", "test_b"]).await;
    stream.report(report(1, vec![1, 2])).await;
    stream.report(report(3, vec![1, 2])).await;
    stream.acked(&[1, 3]).await;
    let dir = world.end().await;
    let close = stream.closed().await;
    assert_eq!(close.reason(), CloseReason::Shutdown);
    let world = World::start(&dir).await;
    let (mut stream, welcome) = world.greet(&identity).await;
    let stored = ranges_from_wire(&welcome.epochs[0].stored).unwrap();
    assert!(stored.contains(1) && !stored.contains(2) && stored.contains(3));
    assert_eq!(welcome.epochs[0].definitions, 2);
    stream.report(report(2, vec![2])).await;
    stream.acked(&[2]).await;
    world.end().await;
}

#[tokio::test]
async fn a_collection_is_done_when_its_reports_can_be_asked_for() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let collecting = Collecting::new(
        world.agents.clone(),
        world.intake.clone(),
        world.consumers.applied.clone(),
    );
    assert_eq!(
        collecting.collect_now(identity.server).await,
        CollectOutcome::NotConnected
    );
    let (mut stream, _) = world.greet(&identity).await;
    let asking = tokio::spawn({
        let collecting = collecting.clone();
        async move { collecting.collect_now(identity.server).await }
    });
    let Some(Body::CollectNow(request)) = stream.next().await else {
        panic!("not asked")
    };
    let done = CollectDone {
        request_id: request.request_id,
        success: false,
        message: "smart: failed".to_owned(),
        epoch: EPOCH,
        last_sequence: 2,
    };
    // The word that it is over overtakes the reports.
    stream.message(MessageBody::CollectDone(done), 0).await;
    stream.report(report(1, vec![])).await;
    stream.report(report(2, vec![])).await;
    stream.acked(&[1, 2]).await;
    let outcome = asking.await.unwrap();
    assert_eq!(
        outcome,
        CollectOutcome::Done {
            success: false,
            message: "smart: failed".to_owned()
        }
    );
    assert!(2 <= *world.consumers.applied.borrow());
    world.end().await;
}

#[tokio::test]
async fn a_collection_whose_stream_ends_is_not_waited_for() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let collecting = Collecting::new(
        world.agents.clone(),
        world.intake.clone(),
        world.consumers.applied.clone(),
    );
    let (mut stream, _) = world.greet(&identity).await;
    let asking = tokio::spawn(async move { collecting.collect_all().await });
    let Some(Body::CollectNow(_)) = stream.next().await else {
        panic!("not asked")
    };
    drop(stream);
    assert_eq!(
        asking.await.unwrap(),
        [(identity.server, CollectOutcome::NotConnected)]
    );
    world.end().await;
}
