//! S9, S10, S11: what is done of commands, what is not, and that it is done once whatever ends in between.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use muster_base::clock::WallClock;
use muster_model::{ContainerTarget, LogRange, ResourceKey, UpdatePlan};
use muster_proto::convert::{command_to_wire, signed_bytes};
use prost::Message as _;
use rcgen::{CertificateParams, KeyPair, SanType};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;
use crate::command::policy;
use crate::identity::{Identity, private_key};
use crate::runtime::{Engine, EngineError, EngineKind, ImageId, LogChunk, PullProgress};

const NOW_MS: i64 = 1_800_000_000_000;
const AGENT: Uuid = Uuid::from_u128(0xa);
const CONTROLLER: Uuid = Uuid::from_u128(0xc);

/// One container, and how often something was really done to it.
struct FakeEngine {
    key: ResourceKey,
    state: Mutex<Value>,
    effects: AtomicUsize,
    reads: AtomicUsize,
    /// From now on no call that changes something comes back: before it has its effect, or after.
    dies_before: AtomicBool,
    dies_after: AtomicBool,
}

impl FakeEngine {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            key: ResourceKey::new("runtime:docker"),
            state: Mutex::new(json!({
                "Id": "0123456789abcdef", "Name": "/web",
                "State": {"Running": false, "Paused": false},
                "Config": {"Image": "docker.io/library/nginx:1"}, "HostConfig": {},
            })),
            effects: AtomicUsize::new(0),
            reads: AtomicUsize::new(0),
            dies_before: AtomicBool::new(false),
            dies_after: AtomicBool::new(false),
        })
    }

    fn set(&self, key: &str, value: bool) {
        self.state.lock().unwrap()["State"][key] = value.into();
    }

    async fn effect(&self, change: impl FnOnce(&mut Value)) -> Result<(), EngineError> {
        if self.dies_before.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.effects.fetch_add(1, Ordering::SeqCst);
        change(&mut self.state.lock().unwrap());
        if self.dies_after.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn gone(&self) -> bool {
        self.state.lock().unwrap().is_null()
    }
}

#[async_trait]
impl Engine for FakeEngine {
    fn key(&self) -> &ResourceKey {
        &self.key
    }
    fn kind(&self) -> EngineKind {
        EngineKind::Docker
    }
    async fn version(&self) -> Result<Value, EngineError> {
        Ok(json!({}))
    }
    async fn info(&self) -> Result<Value, EngineError> {
        Ok(json!({}))
    }
    async fn containers(&self) -> Result<Vec<Value>, EngineError> {
        Ok(vec![json!({"ImageID": "sha256:used", "Image": "nginx:1"})])
    }
    async fn inspect(&self, container: &str) -> Result<Value, EngineError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if self.gone() || container != "web" {
            return Err(EngineError::NotFound {
                call: "inspect",
                message: container.to_owned(),
            });
        }
        Ok(self.state.lock().unwrap().clone())
    }
    async fn inspect_image(&self, _image: &str) -> Result<Value, EngineError> {
        Ok(json!({}))
    }
    async fn images(&self) -> Result<Vec<Value>, EngineError> {
        Ok(vec![
            json!({"Id": "sha256:used", "RepoTags": [], "Size": 1, "Created": 1}),
            json!({"Id": "sha256:free", "RepoTags": [], "Size": 5, "Created": 1}),
            json!({"Id": "sha256:named", "RepoTags": ["old:1"], "Size": 7, "Created": 1}),
        ])
    }
    async fn pull(
        &self,
        _repository: &str,
        _digest: &str,
        _platform: Option<&str>,
        _auth: Option<&RegistryAuth>,
        _progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<ImageId, EngineError> {
        unreachable!("no command of these pulls")
    }
    async fn tag(&self, _image: &str, _repository: &str, _tag: &str) -> Result<(), EngineError> {
        unreachable!("no command of these tags")
    }
    async fn remove_image(&self, image: &str) -> Result<(), EngineError> {
        assert_eq!(image, "sha256:free");
        self.effect(|_| {}).await
    }
    async fn rename(&self, _container: &str, _name: &str) -> Result<(), EngineError> {
        unreachable!("no command of these renames")
    }
    async fn create(
        &self,
        _name: &str,
        _platform: Option<&str>,
        _body: &Value,
    ) -> Result<String, EngineError> {
        unreachable!("no command of these creates")
    }
    async fn connect(&self, _network: &str, _container: &str, _endpoint: &Value) -> Result<(), EngineError> {
        unreachable!("no command of these connects")
    }
    async fn disconnect(&self, _network: &str, _container: &str) -> Result<(), EngineError> {
        unreachable!("no command of these disconnects")
    }
    async fn set_restart_policy(&self, _container: &str, _policy: &Value) -> Result<bool, EngineError> {
        unreachable!("no command of these sets a policy")
    }
    async fn start(&self, _container: &str) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Running"] = true.into()).await
    }
    async fn stop(&self, _container: &str, _timeout_s: Option<u32>) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Running"] = false.into())
            .await
    }
    async fn restart(&self, _container: &str, _timeout_s: Option<u32>) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Running"] = true.into()).await
    }
    async fn pause(&self, _container: &str) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Paused"] = true.into()).await
    }
    async fn unpause(&self, _container: &str) -> Result<(), EngineError> {
        self.effect(|state| state["State"]["Paused"] = false.into()).await
    }
    async fn remove(&self, _container: &str, _force: bool) -> Result<(), EngineError> {
        self.effect(|state| *state = Value::Null).await
    }
    async fn logs(
        &self,
        _container: &str,
        _range: &LogRange,
        _bytes_max: usize,
    ) -> Result<Vec<LogChunk>, EngineError> {
        if self.dies_before.load(Ordering::SeqCst) || self.dies_after.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(vec![LogChunk {
            is_stderr: false,
            text: "hello".to_owned(),
        }])
    }
}

struct OneEngine(Arc<FakeEngine>);

#[async_trait]
impl Engines for OneEngine {
    async fn engine(&self, key: &ResourceKey) -> Option<Arc<dyn Engine>> {
        (*key == self.0.key).then(|| Arc::clone(&self.0) as Arc<dyn Engine>)
    }
}

/// An agent's folder with an identity and a policy, and the controller's key.
struct Estate {
    _folder: tempfile::TempDir,
    dir: Utf8PathBuf,
    key: Ed25519KeyPair,
    engine: Arc<FakeEngine>,
    counter: u64,
}

impl Estate {
    /// `None` for whoever is not root: only root has files that are root's.
    fn new(policy: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root has files that are root's");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(folder.path().canonicalize().unwrap()).unwrap();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let identity_dir = IdentityDir::below(&dir);
        let own: KeyPair = identity_dir.key_or_new().unwrap();
        let mut params = CertificateParams::default();
        let name = format!("spiffe://{CONTROLLER}/agent/{AGENT}");
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        let certificate = params.self_signed(&own).unwrap().der().clone();
        let identity = Identity {
            agent_id: muster_base::id::AgentId(AGENT),
            server_id: muster_base::id::ServerId(4),
            generation: 3,
            controller: "controller:8481".to_owned(),
            chain: vec![certificate.clone()],
            roots: vec![certificate],
            command_keys: vec![key.public_key().as_ref().try_into().unwrap()],
            key: private_key(&own),
        };
        identity_dir.store(&identity).unwrap();
        std::fs::write(dir.join("policy.toml"), policy).unwrap();
        Some(Self {
            _folder: folder,
            dir,
            key,
            engine: FakeEngine::new(),
            counter: 0,
        })
    }

    fn all_allowed() -> String {
        let verbs = Verb::NAMES.into_iter().filter(|name| *name != "cancel");
        verbs
            .map(|name| format!("[[allow]]\nverb = \"{name}\"\n"))
            .collect()
    }

    async fn open(&self) -> Executor {
        let root = self.dir.join("root");
        std::fs::create_dir_all(&root).unwrap();
        Executor::open(Parts {
            data_dir: self.dir.clone(),
            policy_file: self.dir.join("policy.toml"),
            host: Host::under(&root).unwrap().with_clock(WallClock::fixed(NOW_MS)),
            engines: Arc::new(OneEngine(Arc::clone(&self.engine))),
            transactions: None,
        })
        .await
        .unwrap()
    }

    fn order(&mut self, verb: Verb) -> Order {
        self.counter += 1;
        Order {
            id: Uuid::new_v7(uuid::Timestamp::from_unix(
                uuid::NoContext,
                NOW_MS.unsigned_abs() / 1_000,
                0,
            )),
            agent: AGENT,
            generation: 3,
            controller: CONTROLLER,
            counter: self.counter,
            not_after_ms: NOW_MS + 600_000,
            max_age_ms: 600_000,
            issuer: "ada".to_owned(),
            verb,
        }
    }

    fn seal(&self, order: &Order) -> v1::CommandEnvelope {
        self.seal_bytes(command_to_wire(order))
    }

    fn seal_bytes(&self, command: Vec<u8>) -> v1::CommandEnvelope {
        v1::CommandEnvelope {
            signature: self.key.sign(&signed_bytes(&command)).as_ref().to_vec(),
            key_id: String::new(),
            command,
            registry: None,
        }
    }

    fn effects(&self) -> usize {
        self.engine.effects.load(Ordering::SeqCst)
    }

    fn audited(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        let folder = folder(&self.dir);
        crate::command::audit::verify(&folder, |line| lines.push(serde_json::from_str(line).unwrap()))
            .unwrap();
        lines
    }
}

fn target() -> ContainerTarget {
    ContainerTarget {
        runtime: ResourceKey::new("runtime:docker"),
        name: "web".to_owned(),
        container_id: None,
    }
}

fn start() -> Verb {
    Verb::ContainerStart { target: target() }
}

/// The verbs that are no transaction and have an effect that can be counted here, with the state they begin from.
fn verbs() -> Vec<(Verb, bool, bool)> {
    vec![
        (start(), false, false),
        (
            Verb::ContainerStop {
                target: target(),
                timeout_s: None,
            },
            true,
            false,
        ),
        (
            Verb::ContainerRestart {
                target: target(),
                timeout_s: None,
            },
            true,
            false,
        ),
        (Verb::ContainerPause { target: target() }, true, false),
        (Verb::ContainerUnpause { target: target() }, true, true),
        (
            Verb::ContainerRemove {
                target: target(),
                force: false,
            },
            false,
            false,
        ),
        (
            Verb::ImagePrune {
                runtime: ResourceKey::new("runtime:docker"),
                filter: muster_model::PruneFilter {
                    all: false,
                    older_than_s: None,
                    dry_run: false,
                },
            },
            false,
            false,
        ),
    ]
}

/// The last word of a command.
async fn last_word(executor: &Executor, id: Uuid) -> CommandReport {
    let waiting = async {
        loop {
            let report = executor.next_report().await;
            if report.status.id == id && report.status.state.is_final() {
                return report;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap()
}

async fn refusal_of(executor: &Executor, envelope: v1::CommandEnvelope, id: Uuid) -> CommandRefusal {
    executor.accept(envelope, NOW_MS).await;
    let report = last_word(executor, id).await;
    assert_eq!(
        report.status.state,
        CommandState::Refused,
        "{}",
        report.status.message
    );
    CommandRefusal::of_word(&report.reason)
}

#[tokio::test]
async fn what_is_allowed_is_done_and_told_until_the_controller_knows() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let order = estate.order(start());
    executor.accept(estate.seal(&order), NOW_MS).await;
    let report = last_word(&executor, order.id).await;
    assert_eq!(report.status.state, CommandState::Succeeded);
    assert_eq!((report.counter, estate.effects()), (1, 1));
    let audit = report.audit.unwrap();
    let entries = estate.audited();
    assert_eq!(entries.len() as u64, audit.entries);
    let decisions: Vec<&str> = entries
        .iter()
        .map(|entry| entry["decision"].as_str().unwrap())
        .collect();
    assert_eq!(decisions, ["allowed", "succeeded"]);
    assert_eq!(entries[0]["who"], "ada");
    assert_eq!(entries[0]["policy"].as_str().unwrap().len(), 64);
    executor.tell_again();
    assert_eq!(
        last_word(&executor, order.id).await.status.state,
        CommandState::Succeeded
    );
    drop(executor);
    let executor = estate.open().await;
    executor.tell_again();
    assert_eq!(
        last_word(&executor, order.id).await.status.state,
        CommandState::Succeeded
    );
    executor.seen(order.id, CommandState::Succeeded);
    executor.tell_again();
    let more = tokio::time::timeout(Duration::from_millis(50), executor.next_report()).await;
    assert!(more.is_err(), "the controller knows");
}

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

/// S11: the process ends at each record of the journal, and in the engine before and after the effect, with each verb.
#[tokio::test]
async fn whatever_ends_in_between_an_effect_happens_once_or_is_reported_as_unknown() {
    let mut cases = 0;
    let mut unknown = 0;
    for (verb, runs, paused) in verbs() {
        // Records: received, validated, started, finished; then deaths inside of the engine.
        for point in 0..6 {
            let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
                return;
            };
            estate.engine.set("Running", runs);
            estate.engine.set("Paused", paused);
            let order = estate.order(verb.clone());
            let sealed = estate.seal(&order);
            let executor = estate.open().await;
            match point {
                0..=3 => executor.inner.lock().journal.lives = Some(point),
                4 => estate.engine.dies_before.store(true, Ordering::SeqCst),
                _ => estate.engine.dies_after.store(true, Ordering::SeqCst),
            }
            executor.accept(sealed.clone(), NOW_MS).await;
            // As far as it gets; who waits in the engine waits for ever.
            tokio::time::timeout(Duration::from_millis(30), executor.idle())
                .await
                .ok();
            executor.kill().await;
            estate.engine.dies_before.store(false, Ordering::SeqCst);
            estate.engine.dies_after.store(false, Ordering::SeqCst);
            let before = estate.effects();
            let executor = estate.open().await;
            assert_eq!(
                estate.effects(),
                before,
                "{} at {point}: nothing is done again by itself",
                verb.name()
            );
            // The controller never had an answer, and sends it again.
            executor.accept(sealed.clone(), NOW_MS).await;
            executor.tell_again();
            let report = last_word(&executor, order.id).await;
            executor.accept(sealed, NOW_MS).await;
            executor.idle().await;
            let effects = estate.effects();
            assert!(effects <= 1, "{} at {point}: {effects} effects", verb.name());
            let state = report.status.state;
            let is_told_right = match state {
                CommandState::Succeeded => effects == 1,
                CommandState::Failed | CommandState::Refused => effects == 0,
                CommandState::Unknown => true,
                _ => false,
            };
            assert!(
                is_told_right,
                "{} at {point}: {state:?} with {effects} effects",
                verb.name()
            );
            unknown += usize::from(state == CommandState::Unknown);
            cases += 1;
        }
    }
    println!("{cases} ends in between, never more than one effect, {unknown} reported as unknown");
}

/// S12, as far as it applies: what is ended leaves nothing under way.
#[tokio::test]
async fn a_command_is_cancelled_before_its_point_of_no_return_and_not_after() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    estate.engine.dies_before.store(true, Ordering::SeqCst);
    let order = estate.order(Verb::ContainerLogs {
        target: target(),
        range: LogRange::default(),
    });
    executor.accept(estate.seal(&order), NOW_MS).await;
    wait_until_begun(&executor, order.id).await;
    let busy = estate.order(start());
    assert_eq!(
        refusal_of(&executor, estate.seal(&busy), busy.id).await,
        CommandRefusal::Busy
    );
    let cancel = estate.order(Verb::Cancel { command: order.id });
    executor.accept(estate.seal(&cancel), NOW_MS).await;
    assert_eq!(
        last_word(&executor, order.id).await.status.state,
        CommandState::Cancelled
    );
    let stuck = estate.order(start());
    executor.accept(estate.seal(&stuck), NOW_MS).await;
    wait_until_begun(&executor, stuck.id).await;
    let cancel = estate.order(Verb::Cancel { command: stuck.id });
    executor.accept(estate.seal(&cancel), NOW_MS).await;
    let report = last_word(&executor, cancel.id).await;
    assert_eq!(
        (report.status.state, report.reason.as_str()),
        (CommandState::Failed, "unsupported")
    );
    let late = estate.order(Verb::Cancel { command: order.id });
    executor.accept(estate.seal(&late), NOW_MS).await;
    assert_eq!(last_word(&executor, late.id).await.reason, "no_such_target");
    assert_eq!(estate.effects(), 0);
}

async fn wait_until_begun(executor: &Executor, id: Uuid) {
    let waiting = async {
        loop {
            let report = executor.next_report().await;
            if report.status.id == id && report.status.state == CommandState::Started {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_nobody_confirms_stops_new_commands_and_is_never_lost() {
    let Some(mut estate) = Estate::new(&Estate::all_allowed()) else {
        return;
    };
    let executor = estate.open().await;
    let mut ids = Vec::new();
    for _ in 0..crate::command::journal::OPEN_MAX {
        let order = estate.order(start());
        executor.accept(estate.seal(&order), NOW_MS).await;
        executor.idle().await;
        ids.push(order.id);
    }
    let more = estate.order(start());
    assert_eq!(
        refusal_of(&executor, estate.seal(&more), more.id).await,
        CommandRefusal::Busy
    );
    executor.tell_again();
    for _ in 0..ids.len() {
        let report = executor.next_report().await;
        executor.seen(report.status.id, report.status.state);
    }
    let more = estate.order(start());
    executor.accept(estate.seal(&more), NOW_MS).await;
    assert_eq!(
        last_word(&executor, more.id).await.status.state,
        CommandState::Succeeded
    );
    assert_eq!(estate.effects(), 1);
}

#[tokio::test]
async fn pruning_removes_what_nothing_uses_and_says_what() {
    let Some(mut estate) = Estate::new("[[allow]]\nverb = \"image.prune\"\n") else {
        return;
    };
    let executor = estate.open().await;
    let (verb, _, _) = verbs().pop().unwrap();
    let order = estate.order(verb);
    executor.accept(estate.seal(&order), NOW_MS).await;
    let report = last_word(&executor, order.id).await;
    assert_eq!(report.status.result.unwrap()["removed"], json!(["sha256:free"]));
    assert_eq!(estate.effects(), 1);
}

#[tokio::test]
async fn a_pool_is_read_and_compared_once() {
    let Some(mut estate) = Estate::new("[[allow]]\nverb = \"pool.scrub\"\n") else {
        return;
    };
    let executor = estate.open().await;
    let action = estate.dir.join("root/sys/block/md0/md/sync_action");
    std::fs::create_dir_all(action.parent().unwrap()).unwrap();
    std::fs::write(&action, "idle\n").unwrap();
    for (wrong, wanted) in [("pool:mdadm:1:2:3:4", "no_such_target"), ("pool:lvm:x", "failed")] {
        let order = estate.order(Verb::PoolScrub {
            pool: ResourceKey::new(wrong),
        });
        executor.accept(estate.seal(&order), NOW_MS).await;
        assert_eq!(last_word(&executor, order.id).await.reason, wanted);
    }
    for wanted in ["begun", "it runs already"] {
        let order = estate.order(Verb::PoolScrub {
            pool: ResourceKey::new("pool:mdadm:name/md0"),
        });
        executor.accept(estate.seal(&order), NOW_MS).await;
        let report = last_word(&executor, order.id).await;
        assert_eq!(
            (report.status.state, report.status.message.as_str()),
            (CommandState::Succeeded, wanted)
        );
        assert!(std::fs::read_to_string(&action).unwrap().starts_with("check"));
        std::fs::write(&action, "check\n").unwrap();
    }
}
