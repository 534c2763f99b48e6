use std::collections::HashMap;
use std::time::Duration;

use muster_base::clock::WallClock;
use muster_base::id::AgentId;
use muster_proto::EXPIRED_GRACE_MS;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::identity::{AgentKey, CONTROLLER_NAME, Identity, Installation};

const START_MS: i64 = 1_800_000_000_000;
/// So long that a certificate and its grace cover the 90 days.
const LIFE: Duration = Duration::from_secs(60 * 86_400);

/// An installation with what it has stored.
struct World {
    clock: WallClock,
    identity: Identity,
    stored: HashMap<String, Vec<u8>>,
}

impl World {
    fn new() -> Self {
        let clock = WallClock::fixed(START_MS);
        let (identity, fresh) = open(Vec::new(), &clock);
        Self {
            clock,
            identity,
            stored: fresh.into_iter().collect(),
        }
    }

    fn step(&mut self, step: Step) {
        let (changes, stepped) = self.identity.step(step).unwrap();
        self.stored.extend(changes.put);
        for name in changes.remove {
            self.stored.remove(name);
        }
        self.identity.complete(stepped).unwrap();
    }

    /// What a restart makes of it.
    fn restart(&mut self) {
        let sealed = self
            .stored
            .iter()
            .map(|(name, bytes)| (name.clone(), bytes.clone()));
        let (identity, fresh) = open(sealed.collect(), &self.clock);
        assert_eq!(identity.rotation().phase, self.identity.rotation().phase);
        assert_eq!(identity.trust_bundle(), self.identity.trust_bundle());
        self.identity = identity;
        self.stored.extend(fresh);
    }

    /// Days go by, and upkeep is done every day.
    fn pass(&mut self, days: i64) {
        for _ in 0..days {
            self.clock.set(self.clock.now_ms() + DAY_MS);
            self.stored.extend(self.identity.renew().unwrap());
        }
    }

    fn phase(&self) -> Phase {
        self.identity.rotation().phase
    }

    fn enrol(&self, id: u128) -> Agent {
        let mut agent = Agent {
            id: AgentId(Uuid::from_u128(id)),
            roots: Vec::new(),
            chain: Vec::new(),
            key: Vec::new(),
            renewed_ms: 0,
        };
        self.renew(&mut agent);
        agent
    }

    /// Gives an agent what a renewal gives.
    fn renew(&self, agent: &mut Agent) {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let proven = AgentKey::from_request(request.der()).unwrap();
        let issued = self.identity.issue_agent(agent.id, 1, &proven, LIFE).unwrap();
        agent.chain = issued.chain;
        agent.key = key.serialize_der();
        agent.roots = self.identity.trust_bundle();
        agent.renewed_ms = self.clock.now_ms();
    }

    /// A handshake in which both sides check each other. `Ok` if both are content.
    fn meet(&self, agent: &Agent) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        for root in &agent.roots {
            roots.add(CertificateDer::from(root.clone())).unwrap();
        }
        let chain = agent.chain.iter().cloned().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(agent.key.clone()));
        let config = self
            .client()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        self.shake(config)
    }

    /// Whether an agent with a token of this pin finds that this is its controller: what its verifier does.
    fn is_pinned(&self, pin: [u8; 32]) -> bool {
        let certificates = self.shown();
        let has_pin = |certificate: &&CertificateDer<'_>| {
            let (_, parsed) = x509_parser::parse_x509_certificate(certificate).unwrap();
            <[u8; 32]>::from(Sha256::digest(parsed.public_key().raw)) == pin
        };
        let Some(root) = certificates[1..].iter().find(has_pin) else {
            return false;
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone()).unwrap();
        let config = self.client().with_root_certificates(roots).with_no_client_auth();
        self.shake(config).is_ok()
    }

    fn client(&self) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        ClientConfig::builder_with_details(provider, Arc::new(At(self.clock.now_ms())))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
    }

    fn shake(&self, mut config: ClientConfig) -> Result<(), String> {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let name = ServerName::try_from(CONTROLLER_NAME).unwrap();
        let mut near = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut far = ServerConnection::new(self.identity.server_tls_config()).unwrap();
        let mut wire = Vec::new();
        while near.is_handshaking() || far.is_handshaking() {
            wire.clear();
            near.write_tls(&mut wire).unwrap();
            far.read_tls(&mut wire.as_slice()).unwrap();
            far.process_new_packets()
                .map_err(|error| format!("the controller says: {error}"))?;
            wire.clear();
            far.write_tls(&mut wire).unwrap();
            near.read_tls(&mut wire.as_slice()).unwrap();
            near.process_new_packets()
                .map_err(|error| format!("the agent says: {error}"))?;
        }
        Ok(())
    }

    /// The chain that the controller shows.
    fn shown(&self) -> Vec<CertificateDer<'static>> {
        let authorities = self.identity.authorities();
        let mut chain = vec![CertificateDer::from(Vec::new())];
        chain.push(authorities.for_controller().certificate().clone());
        chain.extend(authorities.tail().into_iter().map(CertificateDer::from));
        chain
    }
}

fn open(sealed: SealedSecrets, clock: &WallClock) -> (Identity, SealedSecrets) {
    let installation = Installation {
        uuid: Uuid::from_u128(1),
        store_id: Uuid::from_u128(2),
        store_epoch: 3,
    };
    Identity::open(installation, sealed, Seal::new(&[7; 32]), clock.clone()).unwrap()
}

#[derive(Debug)]
struct At(i64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(
            self.0.unsigned_abs(),
        )))
    }
}

struct Agent {
    id: AgentId,
    roots: Vec<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    key: Vec<u8>,
    renewed_ms: i64,
}

/// Renews those that are half way through their certificates, each of which must find and be taken by the controller.
fn live(world: &World, agents: &mut [Agent]) {
    for agent in agents {
        if agent.renewed_ms + 30 * DAY_MS <= world.clock.now_ms() {
            world.meet(agent).unwrap();
            world.renew(agent);
        }
    }
}

/// S8
#[test]
fn five_hundred_agents_go_through_a_rotation_and_those_that_slept_for_ninety_days_come_back() {
    let mut world = World::new();
    let mut awake: Vec<Agent> = (0..450).map(|id| world.enrol(id)).collect();
    let asleep: Vec<Agent> = (450..500).map(|id| world.enrol(id)).collect();
    let old_pin = world.identity.root_pin();
    let steps = [
        (Step::Prepare, Phase::Published),
        (Step::Issue, Phase::Issuing),
        (Step::Switch, Phase::Switched),
        (Step::Retire, Phase::Steady),
    ];
    for (step, phase) in steps {
        for _ in 0..11 {
            world.pass(1);
            live(&world, &mut awake);
        }
        assert_eq!(
            world.identity.root_pin(),
            old_pin,
            "tokens are good until the root retires"
        );
        world.step(step);
        assert_eq!(world.phase(), phase);
        world.restart();
        // Who is awake and who sleeps: all would be let in at any moment.
        for agent in awake.iter().chain(&asleep) {
            world
                .meet(agent)
                .unwrap_or_else(|error| panic!("{} after {step:?}: {error}", agent.id));
        }
        assert!(world.is_pinned(old_pin), "a token of before {step:?}");
        assert!(world.is_pinned(world.identity.root_pin()));
        world.meet(&world.enrol(1_000)).unwrap();
    }
    assert_ne!(world.identity.root_pin(), old_pin);
    let holds_old_key = world.stored.len();
    assert_eq!(
        holds_old_key,
        6,
        "root, issuing and command keys, and the record: {:?}",
        world.stored.keys()
    );
    while world.clock.now_ms() < START_MS + 89 * DAY_MS {
        world.pass(1);
        live(&world, &mut awake);
    }
    let stranded: Vec<String> = asleep
        .iter()
        .filter_map(|agent| world.meet(agent).err())
        .collect();
    println!(
        "500 agents, 50 asleep for 89 days and through 4 phases: {} stranded",
        stranded.len()
    );
    assert_eq!(stranded, [""; 0]);
    // When the bridge has ended nothing of the old root is left.
    world.pass(200);
    assert_eq!(world.identity.rotation().bridged_until_ms, None);
    assert_eq!(world.identity.authorities().taken().len(), 1);
    assert!(world.meet(&world.enrol(2_000)).is_ok());
}

/// S8
#[test]
fn every_phase_before_the_last_can_be_taken_back_without_losing_an_agent() {
    let forward = [Step::Prepare, Step::Issue, Step::Switch];
    let mut taken_back = 0;
    for depth in 1..=forward.len() {
        let mut world = World::new();
        let mut agents = vec![world.enrol(1)];
        for step in &forward[..depth] {
            world.step(*step);
            world.restart();
            world.pass(5);
            // One that comes in each phase, with what that phase gives it.
            agents.push(world.enrol(agents.len() as u128 + 1));
        }
        for _ in 0..depth {
            world.step(Step::Rollback);
            world.restart();
            world.pass(5);
            taken_back += 1;
            for agent in &agents {
                world
                    .meet(agent)
                    .unwrap_or_else(|error| panic!("{} at {:?}: {error}", agent.id, world.phase()));
            }
            agents.push(world.enrol(agents.len() as u128 + 1));
        }
        assert_eq!((world.phase(), world.stored.len()), (Phase::Steady, 6));
        // And it can be begun again.
        for step in forward.into_iter().chain([Step::Retire]) {
            world.step(step);
            for agent in &agents {
                world.meet(agent).unwrap();
            }
        }
    }
    println!("{taken_back} rollbacks, 0 agents lost");
}

#[test]
fn a_stolen_root_is_worth_nothing_at_once() {
    let mut world = World::new();
    let old = world.enrol(1);
    let old_pin = world.identity.root_pin();
    for step in [Step::Prepare, Step::Issue, Step::Switch] {
        world.step(step);
    }
    let new = world.enrol(2);
    world.step(Step::RetireNow);
    world.restart();
    assert!(world.meet(&old).is_err(), "it knows only the old root");
    let knows_both = Agent {
        roots: new.roots.clone(),
        ..old
    };
    assert!(world.meet(&knows_both).unwrap_err().contains("controller says"));
    assert!(!world.is_pinned(old_pin));
    world.meet(&new).unwrap();
}

#[test]
fn steps_out_of_order_are_refused_and_change_nothing() {
    let mut world = World::new();
    let all = [
        Step::Prepare,
        Step::Issue,
        Step::Switch,
        Step::Rollback,
        Step::Retire,
        Step::RetireNow,
    ];
    let fitting: [&[Step]; 4] = [
        &[Step::Prepare],
        &[Step::Issue, Step::Rollback],
        &[Step::Switch, Step::Rollback],
        &[Step::Rollback, Step::Retire, Step::RetireNow],
    ];
    for fits in fitting {
        let bundle = world.identity.trust_bundle();
        for step in all.iter().filter(|step| !fits.contains(step)) {
            let refused = world.identity.step(*step).err().unwrap();
            assert!(matches!(refused, StepError::OutOfOrder { .. }), "{step:?}");
        }
        assert_eq!(world.identity.trust_bundle(), bundle);
        world.step(fits[0]);
    }
}

#[test]
fn a_step_that_was_not_stored_has_not_happened() {
    let world = World::new();
    let before = world.identity.trust_bundle();
    let (changes, stepped) = world.identity.step(Step::Prepare).unwrap();
    assert!(!changes.put.is_empty());
    drop(stepped);
    assert_eq!(world.identity.trust_bundle(), before);
    assert_eq!(world.phase(), Phase::Steady);
}

#[test]
fn rotations_that_are_begun_and_taken_back_without_end_have_to_wait() {
    let mut world = World::new();
    for _ in 0..TAKEN_MAX {
        world.step(Step::Prepare);
        world.step(Step::Rollback);
    }
    assert!(matches!(
        world.identity.step(Step::Prepare),
        Err(StepError::TooMany)
    ));
    world.pass(121);
    world.step(Step::Prepare);
}

#[test]
fn a_rotation_that_is_left_alone_keeps_all_its_certificates_fresh() {
    let mut world = World::new();
    for step in [Step::Prepare, Step::Issue, Step::Switch] {
        world.step(step);
    }
    let old_root = world.identity.root().certificate().to_vec();
    for _ in 0..40 {
        world.pass(10);
        let mut sleeper = world.enrol(1);
        sleeper.roots = vec![old_root.clone()];
        world.meet(&sleeper).unwrap();
        assert!(
            world.clock.now_ms() + EXPIRED_GRACE_MS < world.identity.rotation().bridged_until_ms.unwrap()
        );
    }
}
