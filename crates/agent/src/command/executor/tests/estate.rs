//! An agent with its folder, and a controller with its key.

use super::*;

/// An agent's folder with an identity and a policy, and the controller's key.
pub(super) struct Estate {
    pub(super) _folder: tempfile::TempDir,
    pub(super) dir: Utf8PathBuf,
    pub(super) key: Ed25519KeyPair,
    pub(super) engine: Arc<FakeEngine>,
    pub(super) counter: u64,
}

impl Estate {
    /// `None` for whoever is not root: only root has files that are root's.
    pub(super) fn new(policy: &str) -> Option<Self> {
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

    pub(super) fn all_allowed() -> String {
        let verbs = Verb::NAMES.into_iter().filter(|name| *name != "cancel");
        verbs
            .map(|name| format!("[[allow]]\nverb = \"{name}\"\n"))
            .collect()
    }

    pub(super) async fn open(&self) -> Executor {
        self.open_with(None).await
    }

    /// With what updates containers.
    pub(super) async fn open_with(&self, transactions: Option<Arc<dyn Transactions>>) -> Executor {
        let parts = Parts {
            transactions,
            ..self.parts()
        };
        Executor::open(parts).await.unwrap()
    }

    /// What an executor is made of, without anything that updates containers.
    pub(super) fn parts(&self) -> Parts {
        let root = self.dir.join("root");
        std::fs::create_dir_all(&root).unwrap();
        Parts {
            data_dir: self.dir.clone(),
            policy_file: self.dir.join("policy.toml"),
            host: Host::under(&root).unwrap().with_clock(WallClock::fixed(NOW_MS)),
            engines: Arc::new(OneEngine(Arc::clone(&self.engine))),
            transactions: None,
        }
    }

    pub(super) fn order(&mut self, verb: Verb) -> Order {
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

    pub(super) fn seal(&self, order: &Order) -> v1::CommandEnvelope {
        self.seal_bytes(command_to_wire(order))
    }

    pub(super) fn seal_bytes(&self, command: Vec<u8>) -> v1::CommandEnvelope {
        v1::CommandEnvelope {
            signature: self.key.sign(&signed_bytes(&command)).as_ref().to_vec(),
            key_id: String::new(),
            command,
            registry: None,
        }
    }

    pub(super) fn effects(&self) -> usize {
        self.engine.effects.load(Ordering::SeqCst)
    }

    pub(super) fn audited(&self) -> Vec<Value> {
        let mut lines = Vec::new();
        let folder = folder(&self.dir);
        crate::command::audit::verify(&folder, |line| lines.push(serde_json::from_str(line).unwrap()))
            .unwrap();
        lines
    }
}

pub(super) fn target() -> ContainerTarget {
    ContainerTarget {
        runtime: ResourceKey::new("runtime:docker"),
        name: "web".to_owned(),
        container_id: None,
    }
}

pub(super) fn start() -> Verb {
    Verb::ContainerStart { target: target() }
}

/// The verbs that are no transaction and have an effect that can be counted here, with the state they begin from.
pub(super) fn verbs() -> Vec<(Verb, bool, bool)> {
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
pub(super) async fn last_word(executor: &Executor, id: Uuid) -> CommandReport {
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

pub(super) async fn refusal_of(
    executor: &Executor,
    envelope: v1::CommandEnvelope,
    id: Uuid,
) -> CommandRefusal {
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
