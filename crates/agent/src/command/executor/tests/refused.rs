//! S9, S10: what is forged, replayed, for another, too late, or not allowed here.

use super::*;

/// S9
#[tokio::test]
async fn no_bit_of_a_command_can_be_changed() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let order = estate.order(start());
    let captured = estate.seal(&order);
    let mut tried = 0;
    for bit in 0..captured.command.len() * 8 {
        let mut forged = captured.clone();
        forged.command[bit / 8] ^= 1 << (bit % 8);
        executor.accept(forged, NOW_MS).await;
        tried += 1;
    }
    for bit in 0..captured.signature.len() * 8 {
        let mut forged = captured.clone();
        forged.signature[bit / 8] ^= 1 << (bit % 8);
        executor.accept(forged, NOW_MS).await;
        tried += 1;
    }
    for length in [0, 1, captured.command.len() - 1] {
        let mut forged = captured.clone();
        forged.command.truncate(length);
        executor.accept(forged, NOW_MS).await;
        tried += 1;
    }
    // Another key, and our key over the bytes without the words that say what for.
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let other = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    for signature in [
        other.sign(&signed_bytes(&captured.command)),
        estate.key.sign(&captured.command),
    ] {
        let forged = v1::CommandEnvelope {
            signature: signature.as_ref().to_vec(),
            ..captured.clone()
        };
        executor.accept(forged, NOW_MS).await;
        tried += 1;
    }
    executor.idle().await;
    assert_eq!(
        (estate.effects(), estate.engine.reads.load(Ordering::SeqCst)),
        (0, 0)
    );
    let entries = estate.audited();
    assert!(!entries.is_empty());
    assert!(
        entries.iter().all(|entry| entry["reason"] == "bad_signature"),
        "{entries:?}"
    );
    println!(
        "{tried} forged commands, 0 done, {} entries in the audit log",
        entries.len()
    );
    executor.accept(captured, NOW_MS).await;
    assert_eq!(
        last_word(&executor, order.id).await.status.state,
        CommandState::Succeeded
    );
}

/// S9
#[tokio::test]
async fn a_command_is_done_once_however_often_and_where_it_is_replayed() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let first = estate.order(start());
    let first_sealed = estate.seal(&first);
    let second = estate.order(Verb::ContainerStop {
        target: target(),
        timeout_s: None,
    });
    executor.accept(first_sealed.clone(), NOW_MS).await;
    last_word(&executor, first.id).await;
    executor.accept(estate.seal(&second), NOW_MS).await;
    last_word(&executor, second.id).await;
    assert_eq!(estate.effects(), 2);
    // At once, after the controller has confirmed it, after a restart, after the id would be forgotten.
    executor.accept(first_sealed.clone(), NOW_MS).await;
    executor.seen(first.id, CommandState::Succeeded);
    executor.accept(first_sealed.clone(), NOW_MS).await;
    executor.idle().await;
    drop(executor);
    let executor = estate.open().await;
    executor.accept(first_sealed.clone(), NOW_MS).await;
    // A restored controller that counts anew, with new ids.
    estate.counter = 0;
    let again = estate.order(start());
    assert_eq!(
        refusal_of(&executor, estate.seal(&again), again.id).await,
        CommandRefusal::Replayed
    );
    executor.idle().await;
    assert_eq!(estate.effects(), 2);
    // The same controller's command at another agent.
    let Some(mut other) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    other.key = Ed25519KeyPair::from_pkcs8(
        Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .unwrap()
            .as_ref(),
    )
    .unwrap();
    let elsewhere = other.open().await;
    elsewhere.accept(first_sealed, NOW_MS).await;
    elsewhere.idle().await;
    assert_eq!(other.effects(), 0);
    let replays = estate
        .audited()
        .iter()
        .filter(|entry| entry["reason"] == "replayed")
        .count();
    assert!(3 <= replays, "{replays}");
}

/// S9: validly signed, and not for this agent, not of its controller, not in time, not known.
#[expect(clippy::too_many_lines, reason = "a case after the other")]
#[tokio::test]
async fn validly_signed_commands_that_are_not_for_here_or_now_are_refused() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let mut refused = 0;
    for (change, wanted) in [
        (
            Box::new(|order: &mut Order| order.agent = Uuid::from_u128(9)) as Box<dyn Fn(&mut Order)>,
            CommandRefusal::OtherAgent,
        ),
        (
            Box::new(|order| order.controller = Uuid::from_u128(9)),
            CommandRefusal::OtherController,
        ),
        (
            Box::new(|order| order.generation = 2),
            CommandRefusal::OtherGeneration,
        ),
        (
            Box::new(|order| order.generation = 4),
            CommandRefusal::OtherGeneration,
        ),
        (
            Box::new(|order| order.not_after_ms = NOW_MS - 1),
            CommandRefusal::Expired,
        ),
        (
            Box::new(|order| {
                order.verb = Verb::ContainerStart {
                    target: ContainerTarget {
                        container_id: Some("fedcba9876543210".to_owned()),
                        ..target()
                    },
                };
            }),
            CommandRefusal::RealityChanged,
        ),
        (
            Box::new(|order| {
                order.verb = Verb::ContainerStart {
                    target: ContainerTarget {
                        runtime: ResourceKey::new("runtime:podman"),
                        ..target()
                    },
                };
            }),
            CommandRefusal::NoSuchTarget,
        ),
    ] {
        let mut order = estate.order(start());
        change(&mut order);
        assert_eq!(refusal_of(&executor, estate.seal(&order), order.id).await, wanted);
        refused += 1;
    }
    let order = estate.order(start());
    let plain = command_to_wire(&order);
    // A verb, and a field, of a newer controller.
    let unknown_field = [plain.as_slice(), &[0xa0, 0x38, 0x01]].concat();
    let mut bare = v1::Command::decode(plain.as_slice()).unwrap();
    bare.verb = None;
    let unknown_verb = [bare.encode_to_vec().as_slice(), &[0xa2, 0x38, 0x00]].concat();
    for (bytes, wanted) in [
        (unknown_field, CommandRefusal::UnknownField),
        (unknown_verb, CommandRefusal::UnknownVerb),
    ] {
        assert_eq!(
            refusal_of(&executor, estate.seal_bytes(bytes), order.id).await,
            wanted
        );
        refused += 1;
    }
    // Nobody knows what time it is.
    let order = estate.order(start());
    executor.accept(estate.seal(&order), 0).await;
    assert_eq!(last_word(&executor, order.id).await.reason, "no_time");
    executor.idle().await;
    assert_eq!(estate.effects(), 0);
    let entries = estate.audited();
    assert!(refused < entries.len(), "{entries:?}");
    println!(
        "{} validly signed commands refused, 0 done, each in the audit log",
        refused + 1
    );
}

/// S10
#[tokio::test]
async fn with_the_default_policy_and_with_a_bad_one_nothing_is_done() {
    let Some(mut estate) = Estate::new("") else { return };
    let executor = estate.open().await;
    let policy = estate.dir.join("policy.toml");
    let mut refused = 0;
    for (text, wanted) in [
        (None, CommandRefusal::NotAllowed),
        (Some(String::new()), CommandRefusal::NotAllowed),
        (
            Some(format!("{}[[allow]]\nverb = \"shell\"\n", Estate::all_allowed())),
            CommandRefusal::PolicyUnusable,
        ),
        (
            Some(format!("frozen = true\n{}", Estate::all_allowed())),
            CommandRefusal::Frozen,
        ),
    ] {
        match text {
            Some(text) => std::fs::write(&policy, text).unwrap(),
            None => std::fs::remove_file(&policy).unwrap(),
        }
        for (verb, _, _) in verbs() {
            let order = estate.order(verb);
            assert_eq!(refusal_of(&executor, estate.seal(&order), order.id).await, wanted);
            executor.seen(order.id, CommandState::Refused);
            refused += 1;
        }
    }
    let order = estate.order(Verb::ContainerLogs {
        target: target(),
        range: LogRange::default(),
    });
    executor.accept(estate.seal(&order), NOW_MS).await;
    // Reading is allowed by a rule, and by the frozen policy too.
    assert_eq!(
        last_word(&executor, order.id).await.status.state,
        CommandState::Succeeded
    );
    assert_eq!(estate.effects(), 0);
    println!("{refused} commands refused by four policies, 0 done");
}

/// S10: validly signed and hostile: another repository, a container with the engine's socket.
#[tokio::test]
async fn a_stolen_controller_cannot_put_another_image_or_reach_the_engine() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let update = |image: &str| Verb::ContainerUpdate {
        target: target(),
        plan: UpdatePlan {
            image: image.to_owned(),
            from_image_id: "sha256:aa".to_owned(),
            to_digest: format!("sha256:{}", "ab".repeat(32)),
            platform: None,
            health_timeout_ms: 1,
            stable_ms: 1,
            grace_ms: 1,
            dry_run: false,
        },
    };
    let order = estate.order(update("docker.io/evil/nginx:2"));
    let refused = refusal_of(&executor, estate.seal(&order), order.id).await;
    assert_eq!(refused, CommandRefusal::OtherRepository);
    estate.engine.state.lock().unwrap()["HostConfig"] = json!({"Binds": ["/run/docker.sock:/s"]});
    let order = estate.order(update("docker.io/library/nginx:2"));
    let refused = refusal_of(&executor, estate.seal(&order), order.id).await;
    assert_eq!(refused, CommandRefusal::PrivilegedContainer);
    estate.engine.state.lock().unwrap()["HostConfig"] = json!({});
    // What the policy allows, this executor has nothing for; it says so and does nothing.
    let order = estate.order(update("docker.io/library/nginx:2"));
    executor.accept(estate.seal(&order), NOW_MS).await;
    assert_eq!(last_word(&executor, order.id).await.reason, "unsupported");
    assert_eq!(estate.effects(), 0);
    let reasons: Vec<Value> = estate
        .audited()
        .iter()
        .map(|entry| entry["reason"].clone())
        .collect();
    for wanted in ["other_repository", "privileged_container"] {
        assert!(reasons.contains(&wanted.into()), "{reasons:?}");
    }
}

/// S9
#[tokio::test]
async fn keys_in_the_policy_replace_those_of_the_enrolment() {
    let Some(mut estate) = Estate::new("") else { return };
    let other = [7_u8; 32];
    let key = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, other);
    let text = format!("command_keys = [\"{key}\"]\n{}", Estate::all_allowed());
    std::fs::write(estate.dir.join("policy.toml"), text).unwrap();
    let loaded = policy::load(&estate.dir.join("policy.toml")).unwrap();
    assert_eq!(loaded.policy.keys(), [other]);
    let executor = estate.open().await;
    let order = estate.order(start());
    let refused = refusal_of(&executor, estate.seal(&order), order.id).await;
    assert_eq!(refused, CommandRefusal::BadSignature);
}
