//! A real docker-registry, pushed to by skopeo: every media type, and its own password file.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use muster_image::Digest;
use muster_image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use serde_json::{Value, json};

use super::*;
use crate::app::registries::RegistryFields;

/// `puller` with `correct horse`.
const USERS: &str = "puller:$2y$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2\n";

/// A registry of the test's own; ended when dropped.
struct Real {
    child: Child,
    address: String,
    folder: tempfile::TempDir,
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the programs are what is tested against"
)]
fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    command
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null());
    command
}

impl Real {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (users, settings) = (folder.path().join("users"), folder.path().join("registry.yml"));
        std::fs::write(&users, USERS).unwrap();
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\nauth: {{htpasswd: {{realm: lab, path: {}}}}}\n",
            folder.path().join("data").display(),
            users.display(),
        );
        std::fs::write(&settings, text).unwrap();
        let mut child = program("docker-registry")
            .arg("serve")
            .arg(&settings)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}: run `cargo xtask test-deps`"));
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines
                .next()
                .expect("docker-registry listens before it ends")
                .unwrap();
            if let Some((_, rest)) = line.split_once("listening on ") {
                let end = rest.find(['"', ' ', ',']).unwrap_or(rest.len());
                break rest[..end].to_owned();
            }
        };
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self {
            child,
            address,
            folder,
        }
    }

    /// Pushes an index with an image for each platform.
    fn push(&self, repository: &str, amd64: &str, arm64: &str, options: &[&str]) {
        let layout = tempfile::tempdir_in(self.folder.path()).unwrap();
        lay_out(layout.path(), amd64, arm64);
        let from = format!("oci:{}:x", layout.path().display());
        let to = format!("docker://{}/{repository}:1", self.address);
        let output = program("skopeo")
            .args(["--insecure-policy", "--override-arch", "amd64", "copy"])
            .args(options)
            .args([
                "--dest-tls-verify=false",
                "--dest-creds",
                "puller:correct horse",
                &from,
                &to,
            ])
            .output()
            .unwrap_or_else(|error| panic!("skopeo: {error}: run `cargo xtask test-deps`"));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Writes an OCI layout (OCI image specification, "Image Layout").
fn lay_out(folder: &Path, amd64: &str, arm64: &str) {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |kind: &str, document: &Value| {
        let bytes = document.to_string().into_bytes();
        let digest = Digest::of(&bytes).to_string();
        std::fs::write(blobs.join(&digest["sha256:".len()..]), &bytes).unwrap();
        json!({"mediaType": kind, "digest": digest, "size": bytes.len()})
    };
    let image = |architecture: &str, version: &str| {
        let config = json!({
            "architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
            "config": {"Labels": {"org.opencontainers.image.version": version}},
        });
        let config = put("application/vnd.oci.image.config.v1+json", &config);
        let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": []});
        let mut entry = put(OCI_MANIFEST, &manifest);
        entry["platform"] = json!({"os": "linux", "architecture": architecture});
        entry
    };
    let entries = [image("amd64", amd64), image("arm64", arm64)];
    let mut index = put(
        OCI_INDEX,
        &json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}),
    );
    index["annotations"] = json!({"org.opencontainers.image.ref.name": "x"});
    let top = json!({"schemaVersion": 2, "manifests": [index]});
    std::fs::write(folder.join("index.json"), top.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[tokio::test]
async fn a_real_registry_is_followed_in_all_four_media_types_with_its_password() {
    let real = Real::start();
    let mut fleet = Fleet::new().await;
    let fields = RegistryFields {
        name: Some("lab".to_owned()),
        url: Some(format!("http://{}", real.address)),
        username: Some("puller".to_owned()),
        password: Some("wrong horse".to_owned()),
        allow_http: Some(true),
        ..RegistryFields::default()
    };
    let id = fleet.test.app.create_registry(fields).await.unwrap().id;
    assert_eq!(fleet.registries.validate(id).await.unwrap().validation, "invalid");
    let right = RegistryFields {
        password: Some("correct horse".to_owned()),
        ..RegistryFields::default()
    };
    fleet.test.app.change_registry(id, right).await.unwrap();
    assert_eq!(fleet.registries.validate(id).await.unwrap().validation, "valid");

    let kinds: [(&str, &str, &[&str]); 4] = [
        ("lab/index", OCI_INDEX, &["--all"]),
        ("lab/list", DOCKER_LIST, &["--all", "--format", "v2s2"]),
        ("lab/oci", OCI_MANIFEST, &[]),
        ("lab/docker", DOCKER_MANIFEST, &["--format", "v2s2"]),
    ];
    let server = fleet.server("one").await;
    let mut containers: Vec<(String, String, Vec<String>)> = Vec::new();
    for (repository, _, options) in kinds {
        real.push(repository, "1.0", "a", options);
        let name = format!("{}/{repository}", real.address);
        let none = format!("{name}@sha256:{}", "0".repeat(64));
        containers.push((repository.to_owned(), format!("{name}:1"), vec![none]));
    }
    // First they run something unknown, so that all is looked into; then what the registry has.
    for round in 0..3 {
        let now = containers.clone();
        let shown: Vec<Container<'_>> = now
            .iter()
            .map(|(name, image, digests)| (name.as_str(), image.as_str(), digests.clone(), "sha256:1"))
            .collect();
        fleet.test.pass(3_600_000);
        fleet.runs(server, &shown).await;
        let checked = fleet.registries.check_all().await.unwrap();
        assert_eq!((checked.checked, checked.failed), (4, 0), "{round}");
        for (index, container) in shown.iter().enumerate() {
            let decision = fleet.decide(container, "digest").await;
            if round == 1 {
                assert_eq!(decision, Decision::Current, "{}", container.0);
                continue;
            }
            // Only another platform's image has changed since: of an index that is no update.
            if round == 2 && index < 2 {
                assert_eq!(decision, Decision::Current, "{}", container.0);
                continue;
            }
            let offer = offered(decision);
            let version = if round == 0 { "1.0" } else { "1.1" };
            assert_eq!(offer.details.version.as_deref(), Some(version), "{}", container.0);
            let name = container.1.trim_end_matches(":1");
            containers[index].2 = vec![format!("{name}@{}", offer.digest)];
        }
        if round == 1 {
            for (index, (repository, _, options)) in kinds.into_iter().enumerate() {
                let amd64 = if index < 2 { "1.0" } else { "1.1" };
                real.push(repository, amd64, "b", options);
            }
        }
    }
}
