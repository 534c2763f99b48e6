mod rotation;

use muster_model::{CommandStatus, ContainerTarget, ResourceKey};
use muster_proto::convert::{AuditHead, CommandReport};

use super::*;
use crate::app::tests::TestApp;

fn start() -> Verb {
    Verb::ContainerStart {
        target: ContainerTarget {
            runtime: ResourceKey::new("runtime:docker"),
            name: "web".to_owned(),
            container_id: None,
        },
    }
}

struct Estate {
    test: TestApp,
    server: ServerId,
    agent: AgentId,
}

impl Estate {
    async fn new() -> Self {
        let test = TestApp::new().await;
        let (server, agent) = test.with_agent("web-1").await;
        Self { test, server, agent }
    }

    fn commands(&self) -> &Commands {
        self.test.app.commands()
    }

    async fn issue(&self) -> CommandRow {
        let issuer = Issuer::task("test");
        let issued = self
            .commands()
            .issue(self.server, start(), &issuer, IssueOptions::default());
        issued.await.unwrap()
    }

    fn says(&self, id: Uuid, state: CommandState) -> CommandReport {
        CommandReport {
            status: CommandStatus {
                id,
                state,
                at_ms: 1,
                progress: None,
                step: String::new(),
                message: String::new(),
                result: None,
            },
            reason: String::new(),
            counter: 0,
            audit: None,
        }
    }
}

#[tokio::test]
async fn a_command_is_sent_once_in_order_and_goes_forward_only() {
    let estate = Estate::new().await;
    let (first, second) = (estate.issue().await, estate.issue().await);
    assert_eq!((first.counter, second.counter), (1, 2));
    let sendings = estate.commands().to_send(estate.agent, Some(1), 0).await.unwrap();
    let counters: Vec<u64> = sendings.iter().map(|sending| sending.counter).collect();
    assert_eq!(counters, [1, 2]);
    let key = &estate.test.app.identity().command_keys()[0];
    for sending in &sendings {
        let signed = muster_proto::convert::signed_bytes(&sending.envelope.command);
        ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key)
            .verify(&signed, &sending.envelope.signature)
            .unwrap();
    }
    assert!(
        estate
            .commands()
            .to_send(estate.agent, Some(1), 2)
            .await
            .unwrap()
            .is_empty()
    );
    let mut watch = estate.commands().watch();
    for (said, stands) in [
        (CommandState::Started, CommandState::Started),
        (CommandState::Received, CommandState::Started),
        (CommandState::Succeeded, CommandState::Succeeded),
        (CommandState::Failed, CommandState::Succeeded),
        (CommandState::Started, CommandState::Succeeded),
    ] {
        let report = estate.says(first.id, said);
        estate.commands().said(estate.agent, &report).await.unwrap();
        let row = estate.commands().get(first.id).await.unwrap().unwrap();
        assert_eq!(row.state, stands, "after {said:?}");
    }
    assert_eq!(watch.recv().await.unwrap().state, CommandState::Started);
    assert_eq!(watch.recv().await.unwrap().state, CommandState::Succeeded);
    assert!(watch.try_recv().is_err());
}

/// S9: whoever can write rows can command nobody.
#[tokio::test]
async fn a_row_that_was_put_into_the_database_is_never_sent() {
    let estate = Estate::new().await;
    let real = estate.issue().await;
    for (change, what) in [
        ("envelope = x'00'", "bytes"),
        (
            "body = '{\"verb\":\"cancel\",\"command\":\"018f0000-0000-7000-8000-000000000000\"}'",
            "verb",
        ),
        ("expires_ms = expires_ms + 1000", "expiry"),
    ] {
        let forged = estate.issue().await;
        let sql = format!("UPDATE command SET {change} WHERE id = '{}'", forged.id);
        estate.test.app.store().tamper(&sql).await;
        let sendings = estate
            .commands()
            .to_send(estate.agent, Some(1), real.counter)
            .await
            .unwrap();
        assert!(sendings.is_empty(), "{what}");
        let row = estate.commands().get(forged.id).await.unwrap().unwrap();
        assert_eq!(
            (row.state, row.reason.as_str()),
            (CommandState::Refused, "bad_signature"),
            "{what}"
        );
    }
    let entries = estate.test.audited("command.outcome").await;
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.reason == "bad_signature"));
    // The whole row of another agent, copied.
    let (_, other) = estate.test.with_agent("web-2").await;
    let sql = format!(
        "INSERT INTO command SELECT '018f0000-0000-7000-8000-00000000000a', server_id, '{other}', generation, 1, verb, body, \
         issuer, 'pending', progress, step, message, reason, result, needs_credential, created_ms, expires_ms, NULL, NULL, \
         NULL, NULL, changed_ms, envelope, NULL, NULL FROM command WHERE id = '{}'",
        real.id
    );
    estate.test.app.store().tamper(&sql).await;
    assert!(
        estate
            .commands()
            .to_send(other, Some(1), 0)
            .await
            .unwrap()
            .is_empty()
    );
    println!("4 kinds of rows that were put into the database, 0 sent");
}

/// S14
#[tokio::test]
async fn an_agent_has_no_word_in_another_ones_commands() {
    let estate = Estate::new().await;
    let (_, other) = estate.test.with_agent("web-2").await;
    let row = estate.issue().await;
    let report = estate.says(row.id, CommandState::Succeeded);
    let refused = estate.commands().said(other, &report).await;
    assert!(matches!(refused, Err(SayError::NotTheirs)));
    let row = estate.commands().get(row.id).await.unwrap().unwrap();
    assert_eq!(row.state, CommandState::Pending);
    assert_eq!(
        estate.test.audited("command.outcome").await[0].reason,
        "not_theirs"
    );
    assert!(
        estate
            .commands()
            .to_send(other, Some(1), 0)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn what_is_not_begun_in_time_expires_and_what_was_sent_is_not_known() {
    let estate = Estate::new().await;
    let sent = estate.issue().await;
    estate.commands().to_send(estate.agent, Some(1), 0).await.unwrap();
    let unsent = estate.issue().await;
    estate.test.pass(600_000);
    assert!(
        estate
            .commands()
            .to_send(estate.agent, Some(1), 0)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(estate.commands().expire().await.unwrap(), 2);
    let unsent = estate.commands().get(unsent.id).await.unwrap().unwrap();
    assert_eq!(
        (unsent.state, unsent.reason.as_str()),
        (CommandState::Expired, "expired")
    );
    let row = estate.commands().get(sent.id).await.unwrap().unwrap();
    assert_eq!(
        (row.state, row.reason.as_str()),
        (CommandState::Unknown, "not_answered")
    );
    // The agent did it, and could not say so before.
    let report = estate.says(sent.id, CommandState::Succeeded);
    estate.commands().said(estate.agent, &report).await.unwrap();
    let row = estate.commands().get(sent.id).await.unwrap().unwrap();
    assert_eq!(row.state, CommandState::Succeeded);
    // Nor does the agent itself always know at once.
    let doubtful = estate.issue().await;
    for (says, stands) in [
        (CommandState::Unknown, CommandState::Unknown),
        (CommandState::Started, CommandState::Unknown),
        (CommandState::Failed, CommandState::Failed),
        (CommandState::Succeeded, CommandState::Failed),
    ] {
        let report = estate.says(doubtful.id, says);
        estate.commands().said(estate.agent, &report).await.unwrap();
        let row = estate.commands().get(doubtful.id).await.unwrap().unwrap();
        assert_eq!(row.state, stands, "{says:?}");
    }
    let late = estate.says(unsent.id, CommandState::Succeeded);
    estate.commands().said(estate.agent, &late).await.unwrap();
    let row = estate.commands().get(unsent.id).await.unwrap().unwrap();
    assert_eq!(row.state, CommandState::Expired);
}

/// S9: after a restore nothing that waited is sent, and counters go on above what the agent has seen.
#[tokio::test]
async fn a_restored_state_sends_nothing_of_before_and_counts_on_from_what_the_agent_says() {
    let estate = Estate::new().await;
    let waiting = estate.issue().await;
    let begun = estate.issue().await;
    let report = estate.says(begun.id, CommandState::Started);
    estate.commands().said(estate.agent, &report).await.unwrap();
    estate
        .test
        .app
        .store()
        .begin_restored(9, estate.test.clock.now_ms())
        .await
        .unwrap();
    for (id, state) in [
        (waiting.id, CommandState::Expired),
        (begun.id, CommandState::Unknown),
    ] {
        assert_eq!(estate.commands().get(id).await.unwrap().unwrap().state, state);
    }
    estate.commands().counter_said(estate.agent, 40).await.unwrap();
    estate.commands().counter_said(estate.agent, 7).await.unwrap();
    assert_eq!(estate.issue().await.counter, 41);
}

#[tokio::test]
async fn a_credential_is_sent_and_never_stored() {
    let estate = Estate::new().await;
    let credential = RegistryCredential {
        registry: "ghcr.io".to_owned(),
        username: "u".to_owned(),
        password: "canary-password".to_owned(),
    };
    let options = IssueOptions {
        ttl: None,
        credential: Some(credential),
        ..IssueOptions::default()
    };
    assert!(!format!("{options:?}").contains("canary"));
    let issuer = Issuer::task("test");
    let issued = estate.commands().issue(estate.server, start(), &issuer, options);
    let row = issued.await.unwrap();
    let sendings = estate.commands().to_send(estate.agent, Some(2), 0).await.unwrap();
    let sent = sendings[0].envelope.registry.as_ref().unwrap();
    assert_eq!(sent.password, "canary-password");
    let stored = estate.commands().get(row.id).await.unwrap().unwrap();
    assert_eq!(stored.generation, 2);
    let bytes = stored.envelope;
    assert!(!String::from_utf8_lossy(&bytes).contains("canary"));
    // As after a restart.
    estate.commands().credentials().clear();
    assert!(
        estate
            .commands()
            .to_send(estate.agent, Some(1), 0)
            .await
            .unwrap()
            .is_empty()
    );
    let row = estate.commands().get(row.id).await.unwrap().unwrap();
    assert_eq!(row.reason, "credential_lost");
}

#[tokio::test]
async fn so_much_waits_for_one_agent_and_what_nobody_would_take_is_refused_at_once() {
    let estate = Estate::new().await;
    let issuer = Issuer::task("test");
    let odd = Verb::ContainerStart {
        target: ContainerTarget {
            runtime: ResourceKey::new("runtime:docker"),
            name: "../etc".to_owned(),
            container_id: None,
        },
    };
    let refused = estate
        .commands()
        .issue(estate.server, odd, &issuer, IssueOptions::default())
        .await;
    assert!(matches!(refused, Err(IssueError::Invalid(_))));
    for _ in 0..PENDING_MAX {
        estate.issue().await;
    }
    let more = estate
        .commands()
        .issue(estate.server, start(), &issuer, IssueOptions::default())
        .await;
    assert!(matches!(more, Err(IssueError::TooMany)));
    let nowhere = estate
        .commands()
        .issue(ServerId(999), start(), &issuer, IssueOptions::default())
        .await;
    assert!(matches!(nowhere, Err(IssueError::NoServer(_))));
}

#[tokio::test]
async fn a_command_that_was_not_sent_is_cancelled_at_once_and_another_by_asking_the_agent() {
    let estate = Estate::new().await;
    let issuer = Issuer::task("test");
    let row = estate.issue().await;
    let ended = estate.commands().cancel(row.id, &issuer).await.unwrap();
    assert_eq!((ended.id, ended.state), (row.id, CommandState::Cancelled));
    let again = estate.commands().cancel(row.id, &issuer).await;
    assert!(matches!(again, Err(CancelError::Over(CommandState::Cancelled))));
    let row = estate.issue().await;
    estate.commands().to_send(estate.agent, Some(1), 0).await.unwrap();
    let asking = estate.commands().cancel(row.id, &issuer).await.unwrap();
    assert_eq!(asking.verb, Verb::Cancel { command: row.id });
}

/// S27
#[tokio::test]
async fn an_agent_whose_own_audit_log_became_shorter_is_found_out() {
    let estate = Estate::new().await;
    let (first, second) = (estate.issue().await, estate.issue().await);
    let mut report = estate.says(first.id, CommandState::Succeeded);
    report.audit = Some(AuditHead {
        entries: 10,
        hash: [1; 32],
    });
    estate.commands().said(estate.agent, &report).await.unwrap();
    assert!(estate.test.audited("agent.audit").await.is_empty());
    let mut report = estate.says(second.id, CommandState::Succeeded);
    report.audit = Some(AuditHead {
        entries: 9,
        hash: [2; 32],
    });
    estate.commands().said(estate.agent, &report).await.unwrap();
    assert_eq!(estate.test.audited("agent.audit").await[0].reason, "chain_broken");
}

/// Keeps one credential, sealed as it were.
struct Safe;

#[async_trait]
impl Credentials for Safe {
    async fn of(&self, _verb: &Verb) -> Result<Option<RegistryCredential>, String> {
        Ok(Some(RegistryCredential {
            registry: "ghcr.io".to_owned(),
            username: "u".to_owned(),
            password: "kept-password".to_owned(),
        }))
    }
}

#[tokio::test]
async fn a_credential_that_is_kept_sealed_is_fetched_again_after_a_restart() {
    let estate = Estate::new().await;
    let options = IssueOptions {
        ttl: None,
        credential: Safe.of(&start()).await.unwrap(),
        id: None,
    };
    let issuer = Issuer::task("test");
    let issued = estate.commands().issue(estate.server, start(), &issuer, options);
    let row = issued.await.unwrap();
    // One that needs none is sent none.
    estate.issue().await;
    estate.commands().credentials().clear();
    estate.commands().keep_credentials_at(Arc::new(Safe));
    let sendings = estate.commands().to_send(estate.agent, Some(1), 0).await.unwrap();
    let passwords: Vec<Option<&str>> = sendings
        .iter()
        .map(|sending| {
            sending
                .envelope
                .registry
                .as_ref()
                .map(|sent| sent.password.as_str())
        })
        .collect();
    assert_eq!(passwords, [Some("kept-password"), None]);
    let row = estate.commands().get(row.id).await.unwrap().unwrap();
    assert_eq!(row.state, CommandState::Pending);
}

#[tokio::test]
async fn the_freeze_switch_calls_off_what_waits_and_leaves_what_is_begun() {
    let estate = Estate::new().await;
    let (sent, begun) = (estate.issue().await, estate.issue().await);
    let sending = estate.commands().to_send(estate.agent, Some(1), 0).await.unwrap();
    assert_eq!(sending.len(), 2);
    let report = estate.says(begun.id, CommandState::Started);
    estate.commands().said(estate.agent, &report).await.unwrap();
    let waiting = estate.issue().await;
    let issuer = Issuer::task("scrubber");
    let pool = Verb::PoolScrub {
        pool: ResourceKey::new("pool:md:0"),
    };
    let scrub = estate
        .commands()
        .issue(estate.server, pool, &issuer, IssueOptions::default())
        .await
        .unwrap();
    let store = estate.test.app.store();
    let body = serde_json::json!({"frozen": true, "reason": "holidays", "by": "admin"});
    store
        .put_update_setting(crate::store::FREEZE, body, 1)
        .await
        .unwrap();
    let count = estate.commands().stop_waiting(&issuer, "holidays").await.unwrap();
    assert_eq!(count, 2);
    let state = async |id| {
        let row = estate.commands().get(id).await.unwrap().unwrap();
        (row.state, row.reason)
    };
    assert_eq!(
        state(waiting.id).await,
        (CommandState::Cancelled, "frozen".to_owned())
    );
    assert_eq!(state(begun.id).await.0, CommandState::Started);
    // Of what was sent nobody knows whether it is begun: the agent is asked to end it, and is never sent it again.
    assert_eq!(state(sent.id).await.0, CommandState::Pending);
    let again = estate.commands().to_send(estate.agent, Some(1), 0).await.unwrap();
    let mut verbs = Vec::new();
    for sending in &again {
        let order = command_from_wire(&sending.envelope.command).unwrap().unwrap();
        assert!(order.id != sent.id);
        verbs.push(order.verb);
    }
    assert_eq!(again[0].counter, scrub.counter);
    assert_eq!(verbs.last(), Some(&Verb::Cancel { command: sent.id }));
    assert_eq!(verbs.len(), 2);
    let body = serde_json::json!({"frozen": false, "reason": "", "by": "admin"});
    store
        .put_update_setting(crate::store::FREEZE, body, 1)
        .await
        .unwrap();
    let thawed = estate.commands().to_send(estate.agent, Some(1), 0).await.unwrap();
    assert_eq!(thawed[0].counter, sent.counter);
    let entries = estate.test.audited("command.cancel").await;
    assert_eq!(entries.len(), 1);
}

fn is_signed(key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, key);
    key.verify(signed, signature).is_ok()
}

/// S9 with another key: what waits is signed by it, and what was forged is not made ours.
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test]
async fn what_waits_is_signed_by_the_new_key_and_a_rotation_survives_a_restart() {
    let estate = Estate::new().await;
    let real = estate.issue().await;
    let forged = estate.issue().await;
    let thief = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let mut envelope = CommandEnvelope::decode(forged.envelope.as_slice()).unwrap();
    let signed = muster_proto::convert::signed_bytes(&envelope.command);
    envelope.signature = thief.sign(&signed).as_ref().to_vec();
    let hex: String = envelope
        .encode_to_vec()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let sql = format!(
        "UPDATE command SET envelope = x'{hex}' WHERE id = '{}'",
        forged.id
    );
    estate.test.app.store().tamper(&sql).await;
    let identity = Arc::clone(estate.test.app.identity());
    let first = identity.command_keys().remove(0);
    assert_eq!(estate.commands().key().since_ms, None);
    assert!(estate.commands().key_way().unwrap().steps.is_empty());
    let rotated = estate.commands().rotated();
    let (before, after) = estate.commands().rotate_key().await.unwrap();
    assert_ne!(before.id, after.id);
    assert!(after.since_ms.is_some() && rotated.has_changed().unwrap());
    let second = identity.command_keys().remove(0);
    let sendings = estate.commands().to_send(estate.agent, Some(1), 0).await.unwrap();
    assert_eq!(sendings.len(), 1, "what was forged stays so");
    assert_eq!(
        (sendings[0].counter, sendings[0].envelope.key_id.as_str()),
        (real.counter, after.id.as_str())
    );
    let signed = muster_proto::convert::signed_bytes(&sendings[0].envelope.command);
    assert!(is_signed(&second, &signed, &sendings[0].envelope.signature));
    assert!(!is_signed(&first, &signed, &sendings[0].envelope.signature));
    let row = estate.commands().get(forged.id).await.unwrap().unwrap();
    assert_eq!(row.reason, "bad_signature");
    // The way to it is signed by both keys and by the root.
    estate.commands().rotate_key().await.unwrap();
    let way = estate.commands().key_way().unwrap();
    assert_eq!(way.steps.len(), 2);
    let step = &way.steps[0];
    let read = muster_proto::convert::key_step_from_wire(&step.step).unwrap();
    assert_eq!(
        (read.old.as_slice(), read.new.as_slice()),
        (first.as_slice(), second.as_slice())
    );
    assert_eq!(read.controller, identity.installation().uuid);
    let signed = muster_proto::convert::key_signed_bytes(&step.step);
    assert!(
        is_signed(&first, &signed, &step.signed_by_old) && is_signed(&second, &signed, &step.signed_by_new)
    );
    let bundle = identity.trust_bundle();
    let (_, root) = x509_parser::parse_x509_certificate(&bundle[0]).unwrap();
    let root = ring::signature::UnparsedPublicKey::new(
        &ring::signature::ECDSA_P256_SHA256_ASN1,
        root.public_key().subject_public_key.data.to_vec(),
    );
    root.verify(&signed, &step.signed_by_roots[0]).unwrap();
    // As after a restart: the key that was stored with what waits is the one that signs.
    let key = estate.commands().key();
    let (database, key_file) = (
        estate.test.folder.join("state.db"),
        estate.test.folder.join("secret.key"),
    );
    let again = crate::app::open(
        &database,
        &key_file,
        estate.test.clock.clone(),
        crate::app::tests::quick(),
    );
    let again = again.await.unwrap();
    assert_eq!(again.commands().key(), key);
    assert_eq!(again.commands().key_way().unwrap().steps.len(), 2);
}
