use std::os::unix::fs::{PermissionsExt, symlink};

use camino::Utf8PathBuf;
use muster_model::{ContainerTarget, LogRange, PruneFilter, UpdatePlan};
use serde_json::json;
use uuid::Uuid;

use super::*;

pub(crate) fn target(name: &str) -> ContainerTarget {
    ContainerTarget {
        runtime: ResourceKey::new("runtime:docker"),
        name: name.to_owned(),
        container_id: None,
    }
}

fn plan(image: &str) -> UpdatePlan {
    UpdatePlan {
        image: image.to_owned(),
        from_image_id: "sha256:aa".to_owned(),
        to_digest: format!("sha256:{}", "ab".repeat(32)),
        platform: None,
        health_timeout_ms: 1,
        stable_ms: 1,
        grace_ms: 1,
        dry_run: false,
    }
}

/// One of each that is not `cancel`.
pub(crate) fn verbs(name: &str) -> Vec<Verb> {
    let target = target(name);
    vec![
        Verb::ContainerStart {
            target: target.clone(),
        },
        Verb::ContainerStop {
            target: target.clone(),
            timeout_s: None,
        },
        Verb::ContainerRestart {
            target: target.clone(),
            timeout_s: None,
        },
        Verb::ContainerPause {
            target: target.clone(),
        },
        Verb::ContainerUnpause {
            target: target.clone(),
        },
        Verb::ContainerRemove {
            target: target.clone(),
            force: false,
        },
        Verb::ContainerLogs {
            target: target.clone(),
            range: LogRange::default(),
        },
        Verb::ContainerUpdate {
            target: target.clone(),
            plan: plan("docker.io/library/nginx:2"),
        },
        Verb::ContainerRollback {
            target,
            update: Uuid::from_u128(1),
        },
        Verb::ImagePrune {
            runtime: ResourceKey::new("runtime:docker"),
            filter: PruneFilter {
                all: false,
                older_than_s: None,
                dry_run: false,
            },
        },
        Verb::PoolScrub {
            pool: ResourceKey::new("pool:md0"),
        },
    ]
}

fn reason(policy: &Policy, verb: &Verb) -> Option<CommandRefusal> {
    policy.judge(verb).err().map(|refused| refused.reason)
}

/// S10
#[test]
fn without_a_policy_every_verb_is_refused() {
    let policy = Policy::parse("").unwrap();
    for verb in verbs("web") {
        assert_eq!(
            reason(&policy, &verb),
            Some(CommandRefusal::NotAllowed),
            "{}",
            verb.name()
        );
    }
    println!(
        "{} of {} verbs refused by the default policy",
        verbs("web").len(),
        Verb::NAMES.len() - 1
    );
}

/// S10
#[test]
fn each_verb_is_allowed_by_itself_alone() {
    for allowed in verbs("web") {
        let policy = Policy::parse(&format!("[[allow]]\nverb = \"{}\"\n", allowed.name())).unwrap();
        for verb in verbs("web") {
            let wanted = (verb.name() != allowed.name()).then_some(CommandRefusal::NotAllowed);
            assert_eq!(
                reason(&policy, &verb),
                wanted,
                "{} by {}",
                verb.name(),
                allowed.name()
            );
        }
    }
}

/// S10
#[test]
fn what_a_rule_names_is_allowed_and_nothing_beside_it() {
    let text = "[[allow]]\nverb = \"container.restart\"\ncontainers = [\"web-*\", \"db?\"]\nruntimes = [\"runtime:docker\"]\n\
                [[allow]]\nverb = \"container.remove\"\ncontainers = [\"tmp\"]\n\
                [[allow]]\nverb = \"pool.scrub\"\npools = [\"pool:md*\"]\n\
                [[allow]]\nverb = \"image.prune\"\n";
    let policy = Policy::parse(text).unwrap();
    let restart = |name: &str| Verb::ContainerRestart {
        target: target(name),
        timeout_s: None,
    };
    for (name, is_allowed) in [
        ("web-1", true),
        ("web-", true),
        ("web", false),
        ("db1", true),
        ("db12", false),
        ("xweb-1", false),
    ] {
        assert_eq!(policy.judge(&restart(name)).is_ok(), is_allowed, "{name}");
    }
    let mut elsewhere = target("web-1");
    elsewhere.runtime = ResourceKey::new("runtime:podman");
    let elsewhere = Verb::ContainerRestart {
        target: elsewhere,
        timeout_s: None,
    };
    assert_eq!(reason(&policy, &elsewhere), Some(CommandRefusal::NotAllowed));
    let remove = |force| Verb::ContainerRemove {
        target: target("tmp"),
        force,
    };
    assert!(policy.judge(&remove(false)).is_ok());
    assert!(policy.judge(&remove(true)).is_err());
    let prune = |all| Verb::ImagePrune {
        runtime: ResourceKey::new("runtime:docker"),
        filter: PruneFilter {
            all,
            older_than_s: None,
            dry_run: false,
        },
    };
    assert!(policy.judge(&prune(false)).is_ok());
    assert!(policy.judge(&prune(true)).is_err());
    let scrub = |pool: &str| Verb::PoolScrub {
        pool: ResourceKey::new(pool),
    };
    assert!(policy.judge(&scrub("pool:md0")).is_ok());
    assert!(policy.judge(&scrub("pool:zfs:tank")).is_err());
}

/// S10
#[test]
fn a_frozen_server_still_shows_its_logs_and_changes_nothing() {
    let mut text = "frozen = true\n".to_owned();
    for verb in verbs("web") {
        text.push_str(&format!("[[allow]]\nverb = \"{}\"\n", verb.name()));
    }
    let policy = Policy::parse(&text).unwrap();
    for verb in verbs("web") {
        let wanted = (verb.name() != "container.logs").then_some(CommandRefusal::Frozen);
        assert_eq!(reason(&policy, &verb), wanted, "{}", verb.name());
    }
}

#[test]
fn a_policy_with_a_mistake_is_none() {
    for text in [
        "frozen = 1",
        "freeze = true",
        "[[allow]]\nverb = \"container.stat\"",
        "[[allow]]\nverb = \"cancel\"",
        "[[allow]]\ncontainers = []",
        "[[allow]]\nverb = \"pool.scrub\"\ncontainers = [\"a\"]",
        "[[allow]]\nverb = \"container.start\"\nrepositories = [\"a\"]",
        "[[allow]]\nverb = \"container.start\"\nimages = [\"a\"]",
        "command_keys = [\"abc\"]",
        "[[allow]]\nverb = \"container.st",
    ] {
        assert!(Policy::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_repository_is_written_out() {
    for (reference, wanted) in [
        ("nginx", Some("docker.io/library/nginx")),
        ("nginx:1.27", Some("docker.io/library/nginx")),
        ("docker.io/nginx@sha256:ab", Some("docker.io/library/nginx")),
        ("me/app:1", Some("docker.io/me/app")),
        ("ghcr.io/me/app:1@sha256:ab", Some("ghcr.io/me/app")),
        ("localhost:5000/app", Some("localhost:5000/app")),
        ("localhost/app:2", Some("localhost/app")),
        ("", None),
        ("a//b", None),
        ("a b", None),
    ] {
        assert_eq!(repository(reference).as_deref(), wanted, "{reference}");
    }
}

/// S10: validly signed and hostile.
#[test]
fn another_repository_and_containers_with_rights_are_refused_unless_the_policy_says_so() {
    let update = &verbs("web")[7];
    let bare = Policy::parse("[[allow]]\nverb = \"container.update\"\n").unwrap();
    let listed = "[[allow]]\nverb = \"container.update\"\nrepositories = [\"ghcr.io/me/*\"]\n";
    let listed = Policy::parse(listed).unwrap();
    let trusting = "[[allow]]\nverb = \"container.update\"\nallow_privileged = true\n";
    let trusting = Policy::parse(trusting).unwrap();
    let plain = json!({"Config": {"Image": "nginx:1"}, "HostConfig": {"Privileged": false, "Binds": ["/srv/data:/data"]}});
    let judge = |policy: &Policy, container: &serde_json::Value, image: &str| {
        let allowed = policy.judge(update).unwrap();
        let judged = allowed.judge(&Container(container.clone()), Some(image));
        judged.err().map(|refused| refused.reason)
    };
    assert_eq!(judge(&bare, &plain, "docker.io/library/nginx:2"), None);
    let other = Some(CommandRefusal::OtherRepository);
    assert_eq!(judge(&bare, &plain, "evil/nginx:2"), other);
    assert_eq!(
        judge(&bare, &plain, "docker.io.evil.example/library/nginx:2"),
        other
    );
    assert_eq!(judge(&listed, &plain, "ghcr.io/me/app:2"), None);
    assert_eq!(judge(&listed, &plain, "ghcr.io/you/app:2"), other);
    let by_id = json!({"Config": {"Image": format!("sha256:{}", "ab".repeat(32))}});
    assert_eq!(judge(&bare, &by_id, "nginx:2"), other);
    let mut refused = 0;
    for rights in [
        json!({"HostConfig": {"Privileged": true}}),
        json!({"HostConfig": {"CapAdd": ["CAP_SYS_ADMIN"]}}),
        json!({"HostConfig": {"CapAdd": ["all"]}}),
        json!({"HostConfig": {"PidMode": "host"}}),
        json!({"HostConfig": {"Binds": ["/var/run/docker.sock:/x:ro"]}}),
        json!({"HostConfig": {"Binds": ["//run/./podman/podman.sock:/x"]}}),
        json!({"HostConfig": {"Binds": ["/srv/../run/docker.sock:/x"]}}),
        json!({"HostConfig": {"Binds": ["/:/host"]}}),
        json!({"HostConfig": {"Binds": ["/var/run/:/host"]}}),
        json!({"Mounts": [{"Type": "bind", "Source": "/run", "Destination": "/host"}]}),
        json!({"Mounts": [{"Type": "bind", "Source": "/run/user/1000/podman", "Destination": "/p"}]}),
        json!({"HostConfig": {"Mounts": [{"Type": "bind", "Source": "/run/containerd/containerd.sock"}]}}),
    ] {
        let mut container = rights.clone();
        container["Config"] = json!({"Image": "nginx:1"});
        let wanted = Some(CommandRefusal::PrivilegedContainer);
        assert_eq!(judge(&bare, &container, "nginx:2"), wanted, "{rights}");
        assert_eq!(judge(&trusting, &container, "nginx:2"), None, "{rights}");
        assert_eq!(judge(&trusting, &container, "evil/nginx:2"), other, "{rights}");
        refused += 1;
    }
    println!("{refused} ways of having rights over the machine, all refused");
}

fn folder() -> Option<(tempfile::TempDir, Utf8PathBuf)> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root has files that are root's");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = Utf8PathBuf::from_path_buf(folder.path().canonicalize().unwrap()).unwrap();
    Some((folder, path))
}

/// S10
#[test]
fn a_unit_is_restarted_only_where_a_rule_names_it() {
    let all = verbs("web");
    let judge = |rules: &str, verb: &str, unit: &str| {
        let policy = Policy::parse(rules).unwrap();
        let verb = all.iter().find(|one| one.name() == verb).expect("a verb");
        let labels = json!({"PODMAN_SYSTEMD_UNIT": unit});
        let container =
            Container(json!({"Config": {"Image": "nginx:1", "Labels": labels}, "HostConfig": {}}));
        let image = matches!(verb, Verb::ContainerUpdate { .. }).then_some("docker.io/library/nginx:2");
        let judged = policy
            .judge(verb)
            .and_then(|allowed| allowed.judge(&container, image));
        judged.err().map(|refused| refused.reason)
    };
    let denied = Some(CommandRefusal::NotAllowed);
    for verb in ["container.update", "container.rollback"] {
        let bare = format!("[[allow]]\nverb = \"{verb}\"\n");
        assert_eq!(judge(&bare, verb, "web.service"), denied);
        assert_eq!(judge(&bare, verb, ""), None);
        let listed = format!("{bare}units = [\"web*.service\"]\n");
        assert_eq!(judge(&listed, verb, "web-1.service"), None);
        assert_eq!(judge(&listed, verb, "sshd.service"), denied);
        assert_eq!(judge(&listed, verb, ""), None);
        // One rule allows all of it, or none does.
        let apart = format!("{listed}containers = [\"other\"]\n{bare}");
        assert_eq!(judge(&apart, verb, "web-1.service"), denied);
    }
    let foreign = "[[allow]]\nverb = \"container.restart\"\nunits = [\"*\"]\n";
    assert!(Policy::parse(foreign).is_err());
}

#[test]
fn a_policy_that_others_could_have_written_does_not_count() {
    let Some((_folder, dir)) = folder() else { return };
    let path = dir.join("policy.toml");
    let text = "[[allow]]\nverb = \"container.start\"\n";
    let unusable = |path: &camino::Utf8Path, what: &str| {
        let refused = load(path).err().map(|refused| refused.reason);
        assert_eq!(refused, Some(CommandRefusal::PolicyUnusable), "{what}");
    };
    assert_eq!(load(&path).unwrap(), Loaded::default());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let loaded = load(&path).unwrap();
    assert!(loaded.policy.judge(&verbs("web")[0]).is_ok());
    assert_eq!(loaded.sha256.len(), 64);
    for mode in [0o664, 0o646, 0o666, 0o777] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        unusable(&path, &format!("mode {mode:o}"));
    }
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    std::os::unix::fs::chown(&path, Some(1234), None).unwrap();
    unusable(&path, "of another user");
    std::os::unix::fs::chown(&path, Some(0), None).unwrap();
    std::os::unix::fs::chown(&dir, Some(1234), None).unwrap();
    unusable(&path, "in a folder of another user");
    std::os::unix::fs::chown(&dir, Some(0), None).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o777)).unwrap();
    unusable(&path, "in a folder that all may write to");
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    let link = dir.join("link.toml");
    symlink(&path, &link).unwrap();
    unusable(&link, "a symbolic link");
    std::fs::create_dir(dir.join("real")).unwrap();
    std::fs::rename(&path, dir.join("real/policy.toml")).unwrap();
    symlink(dir.join("real"), dir.join("way")).unwrap();
    unusable(&dir.join("way/policy.toml"), "behind a symbolic link");
    let path = dir.join("real/policy.toml");
    assert!(load(&path).is_ok());
    for length in 1..text.len() - 1 {
        std::fs::write(&path, &text[..length]).unwrap();
        // What is written half never allows more than nothing.
        let allows = load(&path).is_ok_and(|loaded| loaded.policy.judge(&verbs("web")[0]).is_ok());
        assert!(!allows, "{length} bytes of it");
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    unusable(&path, "a folder");
}

#[test]
fn a_rule_that_is_added_counts_and_leaves_the_rest_as_it_is() {
    let Some((_folder, dir)) = folder() else { return };
    let path = dir.join("etc/policy.toml");
    let rule = Rule {
        verb: "container.update".to_owned(),
        containers: vec!["web-*".to_owned(), "a\"b".to_owned()],
        repositories: vec!["ghcr.io/me/*".to_owned()],
        ..Rule::default()
    };
    let loaded = allow(&path, &rule).unwrap();
    assert_eq!(
        loaded.policy.describe(),
        ["container.update, containers web-* a\"b, also from ghcr.io/me/*"]
    );
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("# mine");
    std::fs::write(&path, &text).unwrap();
    let odd = Rule {
        verb: "shell".to_owned(),
        ..Rule::default()
    };
    assert!(matches!(allow(&path, &odd), Err(EditError::Invalid { .. })));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    let more = Rule {
        verb: "container.start".to_owned(),
        ..Rule::default()
    };
    assert_eq!(allow(&path, &more).unwrap().policy.describe().len(), 2);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with(&text));
}
