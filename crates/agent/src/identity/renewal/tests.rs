use std::os::unix::fs::PermissionsExt as _;

use camino::Utf8PathBuf;
use muster_base::id::{AgentId, ServerId};
use rcgen::{CertificateParams, PublicKeyData as _};

use super::*;

fn identity(key: &KeyPair, generation: u32) -> Identity {
    let certificate = CertificateParams::default().self_signed(key).unwrap();
    Identity {
        agent_id: AgentId(uuid::Uuid::from_u128(5)),
        server_id: ServerId(1),
        generation,
        controller: "controller:8481".to_owned(),
        chain: vec![certificate.der().clone()],
        roots: vec![certificate.der().clone()],
        command_keys: vec![[7; 32]],
        key: private_key(key),
    }
}

/// An enrolled agent's folder.
fn enrolled() -> (tempfile::TempDir, IdentityDir) {
    let folder = tempfile::tempdir().unwrap();
    let dir = IdentityDir::below(Utf8Path::from_path(folder.path()).unwrap());
    let key = dir.key_or_new().unwrap();
    dir.store(&identity(&key, 1)).unwrap();
    (folder, dir)
}

fn names(dir: &IdentityDir) -> Vec<String> {
    let entries = dir.path().read_dir_utf8().unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_owned())
        .collect();
    names.sort();
    names
}

fn next_key(dir: &IdentityDir) -> KeyPair {
    dir.next_key_or_new(&dir.load().unwrap().key).unwrap()
}

fn is_whole(identity: &Identity, key: &KeyPair) {
    assert!(identity.key.secret_der() == private_key(key).secret_der());
    assert!(super::super::is_for_key(&identity.chain[0], key));
}

#[test]
fn a_renewed_identity_takes_the_place_of_the_old_and_leaves_nothing_of_it() {
    let (_folder, dir) = enrolled();
    for generation in 2..5 {
        let key = next_key(&dir);
        let mode = std::fs::metadata(dir.path().join(NEXT_KEY))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        dir.switch(&identity(&key, generation), &key).unwrap();
        let loaded = dir.load().unwrap();
        is_whole(&loaded, &key);
        assert_eq!(
            (loaded.generation, loaded.controller.as_str()),
            (generation, "controller:8481")
        );
        let expected = [
            format!("chain-{generation}.pem"),
            "identity.json".to_owned(),
            format!("key-{generation}.pem"),
            format!("roots-{generation}.pem"),
        ];
        assert_eq!(names(&dir), expected);
    }
}

#[test]
fn a_key_that_has_asked_asks_again_after_a_crash() {
    let (_folder, dir) = enrolled();
    let first = next_key(&dir);
    let again = next_key(&dir);
    assert_eq!(first.subject_public_key_info(), again.subject_public_key_info());
}

/// Every state between two writes of a renewal: what is on disk is the old identity or the new one, whole.
#[test]
fn a_crash_at_any_step_leaves_a_usable_identity() {
    for steps in 0..=4 {
        let (_folder, dir) = enrolled();
        let old = KeyPair::from_pem(&std::fs::read_to_string(dir.path().join("key.pem")).unwrap()).unwrap();
        let key = next_key(&dir);
        // The same renewal done elsewhere tells which files it writes.
        let (_other_folder, other) = enrolled();
        other.switch(&identity(&key, 2), &key).unwrap();
        let written = ["key-2.pem", "chain-2.pem", "roots-2.pem", "identity.json"];
        for name in &written[..steps] {
            std::fs::copy(other.path().join(name), dir.path().join(name)).unwrap();
        }
        let (loaded, is_switched) = (dir.load().unwrap(), steps == written.len());
        is_whole(&loaded, if is_switched { &key } else { &old });
        let following = next_key(&dir);
        let asks_again = following.subject_public_key_info() == key.subject_public_key_info();
        assert_eq!(asks_again, !is_switched, "after {steps} steps");
        let generation = loaded.generation + 1;
        dir.switch(&identity(&following, generation), &following).unwrap();
        is_whole(&dir.load().unwrap(), &following);
        assert_eq!(names(&dir).len(), 4);
    }
}

#[test]
fn a_damaged_or_exposed_unused_key_is_replaced() {
    let (_folder, dir) = enrolled();
    let path: Utf8PathBuf = dir.path().join(NEXT_KEY);
    let first = next_key(&dir);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let second = next_key(&dir);
    assert_ne!(first.subject_public_key_info(), second.subject_public_key_info());
    std::fs::write(&path, "no key").unwrap();
    let third = next_key(&dir);
    assert_eq!(
        third.subject_public_key_info(),
        next_key(&dir).subject_public_key_info()
    );
}
