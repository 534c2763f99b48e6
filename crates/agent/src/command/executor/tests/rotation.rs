//! S9 with a key that was replaced: what the new one signs is done, what the one before signs is not, and nobody who has
//! stolen one of them installs another.

use muster_proto::convert::{KeyStep, key_signed_bytes, key_step_to_wire};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use super::*;

fn pair() -> Ed25519KeyPair {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap()
}

fn public(pair: &Ed25519KeyPair) -> [u8; 32] {
    pair.public_key().as_ref().try_into().unwrap()
}

/// Whoever has the root of the estate.
fn root(estate: &Estate) -> EcdsaKeyPair {
    let key = IdentityDir::below(&estate.dir).key_or_new().unwrap();
    EcdsaKeyPair::from_pkcs8(
        &ECDSA_P256_SHA256_ASN1_SIGNING,
        &key.serialize_der(),
        &SystemRandom::new(),
    )
    .unwrap()
}

/// A step from one key to the next, signed by these.
fn step(
    (old, new): ([u8; 32], [u8; 32]),
    (by_old, by_new): (&Ed25519KeyPair, &Ed25519KeyPair),
    root: Option<&EcdsaKeyPair>,
) -> v1::CommandKeyStep {
    let step = key_step_to_wire(&KeyStep {
        controller: CONTROLLER,
        old,
        new,
        made_ms: NOW_MS,
    });
    let signed = key_signed_bytes(&step);
    let by_root = root.map(|root| {
        root.sign(&SystemRandom::new(), &signed)
            .unwrap()
            .as_ref()
            .to_vec()
    });
    v1::CommandKeyStep {
        signed_by_old: by_old.sign(&signed).as_ref().to_vec(),
        signed_by_new: by_new.sign(&signed).as_ref().to_vec(),
        signed_by_roots: by_root.into_iter().collect(),
        step,
    }
}

fn way(steps: &[v1::CommandKeyStep]) -> v1::CommandKeys {
    v1::CommandKeys {
        steps: steps.to_vec(),
    }
}

/// Whether a command that is signed now is done.
async fn is_done(estate: &mut Estate, executor: &Executor) -> bool {
    let order = estate.order(start());
    executor.accept(estate.seal(&order), NOW_MS).await;
    let report = last_word(executor, order.id).await;
    match report.status.state {
        CommandState::Succeeded => true,
        CommandState::Refused => {
            assert_eq!(report.reason, "bad_signature");
            false
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_new_key_is_taken_and_the_one_before_refused_also_after_a_restart_and_a_long_sleep() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    assert!(is_done(&mut estate, &executor).await);
    let root = root(&estate);
    let (second, third) = (pair(), pair());
    let first = public(&estate.key);
    let one = step((first, public(&second)), (&estate.key, &second), Some(&root));
    executor.take_keys(&way(std::slice::from_ref(&one)));
    assert!(
        !is_done(&mut estate, &executor).await,
        "the first key signs nothing any more"
    );
    let old = std::mem::replace(&mut estate.key, second);
    assert!(is_done(&mut estate, &executor).await);
    // Told again, as on each stream: it is past, and nothing happens.
    let entries = estate.audited().len();
    executor.take_keys(&way(std::slice::from_ref(&one)));
    assert_eq!(estate.audited().len(), entries);
    drop(executor);
    let executor = estate.open().await;
    assert!(is_done(&mut estate, &executor).await, "it is on disk");
    let taken: Vec<Value> = estate.audited();
    let taken = taken
        .iter()
        .filter(|entry| entry["what"] == "command.key" && entry["decision"] == "allowed");
    assert_eq!(taken.count(), 1);
    drop(executor);
    // One that slept through two steps takes both, one after the other.
    let Some(mut sleeper) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    sleeper.key = old;
    let identity = IdentityDir::below(&sleeper.dir);
    let mut known = identity.load().unwrap();
    known.command_keys = vec![first];
    identity.store(&known).unwrap();
    let root = self::root(&sleeper);
    let executor = sleeper.open().await;
    let steps = [
        step(
            (first, public(&estate.key)),
            (&sleeper.key, &estate.key),
            Some(&root),
        ),
        step(
            (public(&estate.key), public(&third)),
            (&estate.key, &third),
            Some(&root),
        ),
    ];
    executor.take_keys(&way(&steps));
    assert!(!is_done(&mut sleeper, &executor).await);
    sleeper.key = third;
    assert!(is_done(&mut sleeper, &executor).await);
}

#[tokio::test]
async fn nobody_installs_a_key_with_a_stolen_one_alone() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let root = root(&estate);
    let first = public(&estate.key);
    let (second, thief) = (pair(), pair());
    let to_thief = (first, public(&thief));
    let mut foreign = step(to_thief, (&estate.key, &thief), Some(&root));
    foreign.step = key_step_to_wire(&KeyStep {
        controller: Uuid::from_u128(99),
        old: first,
        new: public(&thief),
        made_ms: NOW_MS,
    });
    let mut flipped = step(to_thief, (&estate.key, &thief), Some(&root));
    let last = flipped.step.len() - 1;
    flipped.step[last] ^= 1;
    for (because, forged) in [
        ("without the root", step(to_thief, (&estate.key, &thief), None)),
        (
            "without the key that counts",
            step(to_thief, (&thief, &thief), Some(&root)),
        ),
        (
            "of a key that nobody has",
            step(to_thief, (&estate.key, &estate.key), Some(&root)),
        ),
        ("of another controller", foreign),
        ("changed on the way", flipped),
    ] {
        executor.take_keys(&way(&[forged]));
        assert!(
            is_done(&mut estate, &executor).await,
            "{because}: the first key still counts"
        );
        let refused = estate.audited();
        let refused = refused.iter().rev().find(|entry| entry["what"] == "command.key");
        assert_eq!(refused.unwrap()["decision"], "refused", "{because}");
    }
    executor.take_keys(&way(&[step(
        (first, public(&second)),
        (&estate.key, &second),
        Some(&root),
    )]));
    // From here on the first key is worth nothing, even in hands that have the root as well.
    let stolen = step(to_thief, (&estate.key, &thief), Some(&root));
    executor.take_keys(&way(std::slice::from_ref(&stolen)));
    let honest = step((first, public(&second)), (&estate.key, &second), Some(&root));
    executor.take_keys(&way(&[honest, stolen]));
    estate.key = second;
    assert!(is_done(&mut estate, &executor).await);
    estate.key = thief;
    assert!(!is_done(&mut estate, &executor).await);
}

#[tokio::test]
async fn a_key_that_cannot_be_written_down_does_not_count_and_is_taken_the_next_time() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let root = root(&estate);
    let second = pair();
    let step = step(
        (public(&estate.key), public(&second)),
        (&estate.key, &second),
        Some(&root),
    );
    let place = folder(&estate.dir).join("key.json");
    std::fs::create_dir(&place).unwrap();
    executor.take_keys(&way(std::slice::from_ref(&step)));
    assert!(
        is_done(&mut estate, &executor).await,
        "the first key still counts"
    );
    std::fs::remove_dir(&place).unwrap();
    executor.take_keys(&way(&[step]));
    assert!(!is_done(&mut estate, &executor).await);
    estate.key = second;
    assert!(is_done(&mut estate, &executor).await);
    drop(executor);
    // A file that cannot be read is not taken for none: then nothing is done at all.
    std::fs::write(&place, "{").unwrap();
    let opened = Executor::open(estate.parts()).await;
    assert!(matches!(opened, Err(ExecutorError::Identity(_))));
}
