//! What becomes of updates when the engine works and the image, the server or the plan does not.

use std::sync::Arc;
use std::time::Duration;

use muster_agent::runtime::RegistryAuth;
use muster_agent::update::{Room, TransactionError, Transactions as _};
use muster_base::shutdown::CancellationToken;
use muster_fake_engine::{Behaviour, Fault};
use muster_model::{CommandState, UpdatePlan};
use serde_json::{Value, json};
use uuid::Uuid;

use super::bench::{Bench, Deaf, Firm, NAME, OLD, body, digest, image_id, plan, state_of, target, update};

fn unexplained(result: &Value) -> usize {
    let all = result["differences"].as_array().expect("a list");
    all.iter().filter(|one| one["why"].is_null()).count()
}

#[tokio::test]
async fn an_update_says_what_it_did_and_keeps_the_old_container_for_a_while() {
    for behaviour in [Behaviour::Runs, Behaviour::Healthy] {
        let bench = Bench::new(behaviour);
        let updater = bench.updater();
        let result = update(&updater, Uuid::new_v4()).await.expect("an update");
        bench.check(CommandState::Succeeded, "nothing is broken");
        assert_eq!(unexplained(&result), 0, "{result:#}");
        assert_eq!(result["rolled_back"], false);
        let kept = result["kept_as"].as_str().expect("a name");
        assert!(muster_agent::update::is_backup_name(kept) && updater.is_kept(&target().runtime, kept));
        let old = bench.engine.inspect(kept).expect("it is kept");
        assert_eq!(old["HostConfig"]["RestartPolicy"]["Name"], "no");
        let new = bench.engine.inspect(NAME).expect("it runs");
        let label = &new["Config"]["Labels"]["com.docker.compose.image"];
        assert_eq!(label, &new["Image"], "compose sees no drift");
        let env = new["Config"]["Env"].to_string();
        assert!(env.contains("VERSION=2") && env.contains("MINE=1"), "{env}");
    }
}

#[tokio::test]
async fn a_version_that_fails_by_itself_is_put_back_and_called_bad() {
    for (behaviour, reason, bad) in [
        (Behaviour::Crashes, "unhealthy", true),
        (Behaviour::NeverHealthy, "unhealthy", true),
        (Behaviour::BrokenEntrypoint, "start", true),
        (Behaviour::PortTaken, "start", false),
    ] {
        let bench = Bench::new(behaviour);
        let result = update(&bench.updater(), Uuid::new_v4()).await;
        bench.check(CommandState::Failed, &format!("{behaviour:?}"));
        let Err(TransactionError::Failed {
            reason: why,
            message,
            result: Some(told),
        }) = result
        else {
            panic!("{behaviour:?}: {result:?}");
        };
        assert_eq!(why, reason, "{message}");
        assert_eq!(told["rolled_back"], true);
        let expected = if bad { json!(digest()) } else { Value::Null };
        assert_eq!(told["bad_digest"], expected, "{behaviour:?}: {message}");
    }
}

#[tokio::test]
async fn a_plan_that_gives_no_time_to_look_does_not_skip_the_look() {
    let hasty = UpdatePlan {
        health_timeout_ms: 0,
        stable_ms: 0,
        ..plan()
    };
    // One that crashes after 10 ms, and one that is healthy after 30 ms.
    for (behaviour, state) in [
        (Behaviour::Crashes, CommandState::Failed),
        (Behaviour::Healthy, CommandState::Succeeded),
    ] {
        let bench = Bench::new(behaviour);
        let updater = bench.watchful_updater(Duration::from_secs(2));
        let cancel = CancellationToken::new();
        let result = updater
            .update(Uuid::new_v4(), &target(), &hasty, None, &Deaf, &cancel)
            .await;
        assert_eq!(state_of(&result), state, "{behaviour:?}: {result:?}");
        bench.check(state, "the new one was watched all the same");
    }
}

#[tokio::test]
async fn what_is_not_as_the_plan_says_is_left_alone() {
    let bench = Bench::new(Behaviour::Runs);
    let updater = bench.updater();
    let other = UpdatePlan {
        from_image_id: format!("sha256:{:064x}", 9),
        ..plan()
    };
    let mut foreign = target();
    foreign.container_id = Some("another".to_owned());
    let gone = UpdatePlan {
        to_digest: format!("sha256:{:064x}", 9),
        ..plan()
    };
    for (target, plan, state) in [
        (target(), other, CommandState::Refused),
        (foreign, plan(), CommandState::Refused),
        (target(), gone, CommandState::Failed),
    ] {
        let cancel = CancellationToken::new();
        let result = updater
            .update(Uuid::new_v4(), &target, &plan, None, &Deaf, &cancel)
            .await;
        assert_eq!(state_of(&result), state, "{result:?}");
        bench.check(state, "nothing was changed");
    }
}

#[tokio::test]
async fn an_update_is_held_where_the_ground_is_not_firm() {
    let bench = Bench::new(Behaviour::Runs);
    let small = Room {
        free: 4 << 20,
        total: 100 << 20,
    };
    for ground in [
        Firm {
            objection: Some("the pool tank under its volumes is degraded".to_owned()),
            ..Firm::default()
        },
        Firm {
            room: Some(small),
            ..Firm::default()
        },
    ] {
        let asked = Arc::clone(&ground.asked);
        let result = update(&bench.updater_on(ground), Uuid::new_v4()).await;
        let asked = asked.lock().clone();
        assert!(asked.iter().any(|place| place.contains("named")), "{asked:?}");
        let Err(TransactionError::Refused { reason, message }) = result else {
            panic!("{result:?}")
        };
        println!("{message}");
        assert_eq!(reason, "held");
        bench.check(CommandState::Refused, "nothing was changed");
    }
}

#[tokio::test]
async fn whoever_else_would_make_the_container_again_is_named_and_it_is_left_alone() {
    for (labels, auto_remove) in [
        (json!({"com.docker.swarm.task.id": "x"}), false),
        (json!({"io.kubernetes.pod.name": "x"}), false),
        (json!({"PODMAN_SYSTEMD_UNIT": "web.service"}), false),
        (json!({}), true),
    ] {
        let mut body = body();
        body["Labels"] = labels;
        body["HostConfig"]["AutoRemove"] = json!(auto_remove);
        let bench = Bench::with(Behaviour::Runs, &body);
        let result = update(&bench.updater(), Uuid::new_v4()).await;
        let Err(TransactionError::Refused { message, .. }) = &result else {
            panic!("{result:?}")
        };
        println!("{message}");
        bench.check(CommandState::Refused, "nothing was changed");
    }
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let bench = Bench::new(Behaviour::Runs);
    let before = bench.engine.with(|world| format!("{world:?}"));
    let dry = UpdatePlan {
        dry_run: true,
        ..plan()
    };
    let cancel = CancellationToken::new();
    let result = bench
        .updater()
        .update(Uuid::new_v4(), &target(), &dry, None, &Deaf, &cancel)
        .await;
    println!("{:#}", result.expect("a dry run"));
    assert_eq!(bench.engine.with(|world| format!("{world:?}")), before);
}

#[tokio::test]
async fn a_cancelled_update_is_as_if_it_had_not_been() {
    let bench = Bench::new(Behaviour::Runs);
    let cancel = CancellationToken::new();
    cancel.cancel();
    let result = bench
        .updater()
        .update(Uuid::new_v4(), &target(), &plan(), None, &Deaf, &cancel)
        .await;
    assert_eq!(state_of(&result), CommandState::Cancelled, "{result:?}");
    bench.check(CommandState::Cancelled, "nothing was changed");
}

#[tokio::test]
async fn what_an_update_replaced_comes_back_while_it_is_kept() {
    let bench = Bench::new(Behaviour::Runs);
    let updater = bench.updater();
    let command = Uuid::new_v4();
    update(&updater, command).await.expect("an update");
    let cancel = CancellationToken::new();
    let back = updater
        .rollback(Uuid::new_v4(), &target(), command, None, &Deaf, &cancel)
        .await;
    assert_eq!(back.expect("a way back")["rolled_back"], true);
    bench.check(CommandState::Failed, "it was put back");
    let twice = updater
        .rollback(Uuid::new_v4(), &target(), command, None, &Deaf, &cancel)
        .await;
    assert_eq!(state_of(&twice), CommandState::Refused, "{twice:?}");
}

#[tokio::test]
async fn the_old_container_is_removed_when_its_time_has_passed_and_its_volumes_are_not() {
    let bench = Bench::new(Behaviour::Runs);
    let updater = bench.updater();
    let volumes = bench.volumes();
    let at_once = UpdatePlan {
        grace_ms: 0,
        ..plan()
    };
    let cancel = CancellationToken::new();
    let result = updater
        .update(Uuid::new_v4(), &target(), &at_once, None, &Deaf, &cancel)
        .await;
    result.expect("an update");
    updater.tidy().await;
    assert_eq!(bench.engine.with(|world| world.container_names()), [NAME]);
    assert!(bench.volumes().is_superset(&volumes));
    bench.check(CommandState::Succeeded, "only the new one is left");
}

/// The old container's time has passed, and its image was pruned: it is pulled again, with its registry's credential.
#[tokio::test]
async fn a_private_image_that_was_pruned_comes_back_with_the_credential_of_its_own_registry_alone() {
    let old = format!("r.test/app@sha256:{:064x}", 0x01d_u64);
    let at_once = UpdatePlan {
        grace_ms: 0,
        ..plan()
    };
    for (registry, state) in [
        (None, CommandState::Refused),
        (Some("other.test"), CommandState::Refused),
        (Some("r.test"), CommandState::Succeeded),
    ] {
        let bench = Bench::new(Behaviour::Runs);
        bench.engine.with(|world| world.known_as(OLD, &old));
        let updater = bench.updater();
        let (command, cancel) = (Uuid::new_v4(), CancellationToken::new());
        let result = updater
            .update(command, &target(), &at_once, None, &Deaf, &cancel)
            .await;
        result.expect("an update");
        updater.tidy().await;
        bench.engine.with(|world| {
            world.prune(OLD);
            world.close();
        });
        let auth = registry.map(|registry| RegistryAuth {
            registry: registry.to_owned(),
            username: "me".to_owned(),
            password: "canary-password".to_owned(),
        });
        let back = updater
            .rollback(Uuid::new_v4(), &target(), command, auth, &Deaf, &cancel)
            .await;
        assert_eq!(state_of(&back), state, "{registry:?}: {back:?}");
        let running = bench.engine.with(|world| world.running());
        let expected = image_id(if state == CommandState::Succeeded { OLD } else { 2 });
        assert_eq!(running, [(NAME.to_owned(), expected)], "{registry:?}");
        let journals = std::fs::read_dir(bench.dir.path().join("data/updates")).expect("journals");
        for journal in journals {
            let text = std::fs::read_to_string(journal.expect("an entry").path()).expect("a journal");
            assert!(!text.contains("canary"), "{registry:?}: {text}");
        }
    }
}

#[tokio::test]
async fn two_updates_of_one_container_at_once_are_one() {
    let bench = Bench::new(Behaviour::Runs);
    let updater = bench.updater();
    let (one, two) = tokio::join!(update(&updater, Uuid::new_v4()), update(&updater, Uuid::new_v4()));
    let states = [state_of(&one), state_of(&two)];
    assert!(
        states.contains(&CommandState::Succeeded) && states.contains(&CommandState::Refused),
        "{states:?}"
    );
    bench.check(CommandState::Succeeded, "one of two");
}

#[tokio::test]
async fn who_shares_its_network_is_made_again_after_it() {
    let bench = Bench::new(Behaviour::Runs);
    bench.engine.with(|world| {
        world.image(7, "r.test/side:1", json!({"Cmd": ["/side"]}), Behaviour::Runs);
        let mode = format!("container:{}", bench.old_id);
        world.run(
            "side",
            &json!({"Image": "r.test/side:1", "HostConfig": {"NetworkMode": mode, "AutoRemove": false}}),
        )
    });
    let result = update(&bench.updater(), Uuid::new_v4()).await.expect("an update");
    println!("{:#}", result["notes"]);
    let side = bench.engine.inspect("side").expect("it is there");
    assert_eq!(side["HostConfig"]["NetworkMode"], format!("container:{NAME}"));
    let running = bench.engine.with(|world| world.running());
    assert_eq!(running.len(), 2, "{running:?}");
    assert!(bench.engine.with(|world| world.violations().to_vec()).is_empty());
}

#[tokio::test]
async fn who_takes_its_volumes_or_is_linked_to_it_is_made_again_in_their_order() {
    let bench = Bench::new(Behaviour::Runs);
    let old: Vec<String> = bench.engine.with(|world| {
        world.image(7, "r.test/side:1", json!({"Cmd": ["/side"]}), Behaviour::Runs);
        let mut run =
            |name: &str, host: Value| world.run(name, &json!({"Image": "r.test/side:1", "HostConfig": host}));
        let whole = &bench.old_id;
        vec![
            run(
                "a-reader",
                json!({"VolumesFrom": [format!("{whole}:ro"), "linked"], "NetworkMode": "default"}),
            ),
            run(
                "linked",
                json!({"Links": [format!("/{NAME}:/linked/db")], "NetworkMode": "default"}),
            ),
            run(
                "other",
                json!({"VolumesFrom": ["linked"], "NetworkMode": "default"}),
            ),
        ]
    });
    let result = update(&bench.updater(), Uuid::new_v4()).await.expect("an update");
    println!("{:#}", result["notes"]);
    let inspect = |name: &str| bench.engine.inspect(name).expect("it is there");
    assert_eq!(
        inspect("linked")["HostConfig"]["Links"],
        json!([format!("/{NAME}:/linked/db")])
    );
    let volumes = &inspect("a-reader")["HostConfig"]["VolumesFrom"];
    assert_eq!(*volumes, json!([format!("{NAME}:ro"), "linked"]));
    for (name, old) in ["a-reader", "linked", "other"].iter().zip(&old) {
        assert_ne!(inspect(name)["Id"], old.as_str(), "{name} was made again");
    }
    // What is depended on goes first, whatever the names.
    let notes = result["notes"].to_string();
    let place = |what: &str| notes.find(what).unwrap_or_else(|| panic!("{what}: {notes}"));
    assert!(place("linked depends") < place("a-reader depends"), "{notes}");
    assert_eq!(bench.engine.with(|world| world.running()).len(), 4);
    assert!(bench.engine.with(|world| world.violations().to_vec()).is_empty());
}

#[tokio::test]
async fn what_was_replaced_comes_back_by_its_image_after_it_was_removed() {
    let bench = Bench::new(Behaviour::Runs);
    let updater = bench.updater();
    let at_once = UpdatePlan {
        grace_ms: 0,
        ..plan()
    };
    let (command, cancel) = (Uuid::new_v4(), CancellationToken::new());
    let result = updater
        .update(command, &target(), &at_once, None, &Deaf, &cancel)
        .await;
    result.expect("an update");
    updater.tidy().await;
    assert_eq!(bench.engine.with(|world| world.container_names()), [NAME]);
    let back = updater
        .rollback(Uuid::new_v4(), &target(), command, None, &Deaf, &cancel)
        .await;
    let back = back.expect("a way back");
    assert_eq!(back["rolled_back"], true, "{back:#}");
    let now = bench.engine.inspect(NAME).expect("it is there");
    assert_eq!(
        (now["Image"].as_str(), &now["State"]["Running"]),
        (Some(image_id(1).as_str()), &json!(true))
    );
    let environment = now["Config"]["Env"].to_string();
    assert!(
        environment.contains("MINE=1") && environment.contains("VERSION=1"),
        "{environment}"
    );
    assert_eq!(now["HostConfig"]["UnknownToAll"], json!({"deep": [1]}));
    assert_eq!(now["HostConfig"]["RestartPolicy"]["Name"], "always");
    assert!(now["Mounts"].to_string().contains("named"));
    assert_eq!(bench.engine.with(|world| world.running()).len(), 1);
    assert!(bench.engine.with(|world| world.violations().to_vec()).is_empty());
}

/// What a version did is known after a crash too, so that no other server tries it.
#[tokio::test]
async fn a_version_that_crashed_while_the_agent_was_gone_is_told_as_bad() {
    let bench = Bench::new(Behaviour::Crashes);
    let dead = CancellationToken::new();
    let bell = dead.clone();
    let start = super::bench::calls().await.len() - 2;
    bench.engine.break_call(
        start,
        Fault::Do {
            after: true,
            act: Arc::new(move || bell.cancel()),
        },
    );
    let updater = bench.updater();
    tokio::select! {
        biased;
        () = dead.cancelled() => {}
        _ = update(&updater, Uuid::new_v4()) => {}
    }
    drop(updater);
    let told = bench.updater().reconcile().await;
    let (_, state, message, result) = told.first().expect("one").clone();
    assert_eq!(state, CommandState::Failed, "{message}");
    let result = result.expect("what came of it");
    println!("{message}: {}", result["bad_digest"]);
    assert_eq!(
        (&result["rolled_back"], result["bad_digest"].as_str()),
        (&json!(true), Some(digest().as_str()))
    );
}
