//! The key that signs commands is replaced while commands are asked for and sent.

use muster_model::{ContainerTarget, Verb};
use muster_proto::convert::{command_from_wire, key_signed_bytes, key_step_from_wire, signed_bytes};
use muster_proto::v1::{CommandEnvelope, CommandKeys};
use ring::signature::{ED25519, UnparsedPublicKey};

use super::*;
use crate::app::commands::{IssueOptions, Issuer};

/// How often the key is replaced.
const ROTATIONS: usize = 6;
/// Commands for each of them.
const EACH: usize = 4;

fn has_signed(key: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, key)
        .verify(signed, signature)
        .is_ok()
}

/// An agent as far as keys go: it has one, follows steps from that to another, and takes what the one it has has signed.
struct Follower {
    key: Vec<u8>,
    steps: usize,
    counters: Vec<u64>,
}

impl Follower {
    fn follow(&mut self, way: &CommandKeys) {
        for wire in &way.steps {
            let step = key_step_from_wire(&wire.step).unwrap();
            if step.old.as_slice() != self.key {
                continue;
            }
            let signed = key_signed_bytes(&wire.step);
            assert!(has_signed(&step.old, &signed, &wire.signed_by_old));
            assert!(has_signed(&step.new, &signed, &wire.signed_by_new));
            self.key = step.new.to_vec();
            self.steps += 1;
        }
    }

    fn take(&mut self, envelope: &CommandEnvelope) {
        let order = command_from_wire(&envelope.command).unwrap().unwrap();
        let signed = signed_bytes(&envelope.command);
        assert!(
            has_signed(&self.key, &signed, &envelope.signature),
            "command {} after {} steps is signed by another key than the one that was told",
            order.counter,
            self.steps
        );
        self.counters.push(order.counter);
    }

    /// Reads the stream until there were so many commands.
    async fn read(&mut self, stream: &mut Stream, commands: usize) {
        while self.counters.len() < commands {
            match stream.next().await {
                Some(Body::CommandKeys(way)) => self.follow(&way),
                Some(Body::Command(envelope)) => self.take(&envelope),
                Some(_) => {}
                None => panic!("the stream ended after {} commands", self.counters.len()),
            }
        }
    }
}

async fn issue(world: &World, server: ServerId) -> u64 {
    let verb = Verb::ContainerStart {
        target: ContainerTarget {
            runtime: ResourceKey::new("runtime:docker"),
            name: "web".to_owned(),
            container_id: None,
        },
    };
    let issuer = Issuer::task("test");
    let commands = world.app.commands();
    let issued = commands.issue(server, verb, &issuer, IssueOptions::default());
    issued.await.unwrap().counter
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_on_a_stream_is_signed_by_the_key_to_which_the_way_was_told_before() {
    let (_folder, world) = world().await;
    let identity = world.enrol().await;
    let mut follower = Follower {
        key: world.app.identity().command_keys().remove(0),
        steps: 0,
        counters: Vec::new(),
    };
    let (mut stream, _) = world.greet(&identity).await;
    let ask = async {
        let mut counters = Vec::new();
        for _ in 0..ROTATIONS * EACH {
            counters.push(issue(&world, identity.server).await);
        }
        counters
    };
    let rotate = async {
        for _ in 0..ROTATIONS {
            world.app.commands().rotate_key().await.unwrap();
        }
    };
    let read = follower.read(&mut stream, ROTATIONS * EACH);
    let all = async { futures::join!(ask, rotate, read).0 };
    let counters = tokio::time::timeout(Duration::from_secs(60), all).await.unwrap();
    assert_eq!(follower.counters, counters, "each once, in order");
    // What comes after the last one is of the last one.
    let last = issue(&world, identity.server).await;
    follower.read(&mut stream, counters.len() + 1).await;
    assert_eq!(follower.counters.last(), Some(&last));
    assert_eq!(follower.steps, ROTATIONS);
    assert_eq!(follower.key, world.app.identity().command_keys().remove(0));
    world.end().await;
}
