//! Rounds over a fleet: what is asked, and what is known afterwards.

use muster_image::Step;
use muster_image::manifest::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};

use super::fake::{Door, Fake};
use super::*;

/// The promise: at most 40 HEAD and 40 token requests. Tokens are shared between repositories, so fewer are asked for.
#[tokio::test]
async fn an_unchanged_round_over_500_containers_asks_once_for_each_of_40_images() {
    let fake = Fake::start().await;
    fake.set(|state| {
        state.door = Door::Bearer;
        state.expires_in = Some(300);
    });
    let mut fleet = Fleet::new().await;
    let images: Vec<(String, String)> = (0..40)
        .map(|index| {
            let repository = format!("lab/app{index}");
            let children = [("linux/amd64", "one"), ("linux/arm64", "two")];
            let digest = fake.index(&repository, Some("latest"), OCI_INDEX, &children);
            let name = fake.name(&repository);
            (format!("{name}:latest"), format!("{name}@{digest}"))
        })
        .collect();
    for server in 0..50 {
        let id = fleet.server(&format!("server{server}")).await;
        let names: Vec<String> = (0..10).map(|index| format!("c{index}")).collect();
        let containers: Vec<Container<'_>> = (0..10)
            .map(|index| {
                let (image, digest) = &images[(server * 10 + index) % 40];
                (
                    names[index].as_str(),
                    image.as_str(),
                    vec![digest.clone()],
                    "sha256:0",
                )
            })
            .collect();
        fleet.runs(id, &containers).await;
    }
    let first = fleet.registries.check_all().await.unwrap();
    let (pairs, containers) = fleet.registries.gather().await.unwrap();
    assert_eq!(
        (containers, pairs.len(), first.checked, first.failed),
        (500, 40, 40, 0)
    );
    let began = fake.counts();
    println!("first round: {began:?}");
    fleet.test.pass(3_600_000);
    let second = fleet.registries.check_all().await.unwrap();
    let counts = fake.counts();
    println!("unchanged round: {counts:?}");
    assert_eq!((second.images, second.checked, second.failed), (40, 40, 0));
    assert!(counts.heads <= 40 && counts.tokens <= 40, "{counts:?}");
    assert_eq!((counts.gets, counts.blobs, counts.lists), (0, 0, 0));
    for (image, digest) in &images {
        let decision = fleet
            .decide(&("c", image.as_str(), vec![digest.clone()], "sha256:0"), "digest")
            .await;
        assert_eq!(decision, Decision::Current);
    }
}

#[tokio::test]
async fn a_new_digest_is_an_update_and_the_change_of_another_platform_is_none() {
    for kind in [OCI_INDEX, DOCKER_LIST] {
        let fake = Fake::start().await;
        let mut fleet = Fleet::new().await;
        let children = [("linux/amd64", "1.0"), ("linux/arm64", "a")];
        let first = fake.index("lab/app", Some("1"), kind, &children);
        let name = fake.name("lab/app");
        let image = format!("{name}:1");
        let server = fleet.server("one").await;
        // As an engine that keeps images by containerd says it: the id is the index's digest.
        let mine: Container<'_> = ("c", &image, vec![format!("{name}@{first}")], &first);
        fleet.runs(server, std::slice::from_ref(&mine)).await;
        fleet.registries.check_all().await.unwrap();
        assert_eq!(fleet.decide(&mine, "digest").await, Decision::Current);
        assert_eq!(fake.counts().gets, 0);

        fleet.test.pass(3_600_000);
        let children = [
            ("linux/amd64", "1.0"),
            ("linux/arm64", "b"),
            ("unknown/unknown", "attestation"),
        ];
        let other = fake.index("lab/app", Some("1"), kind, &children);
        assert_ne!(first, other);
        fleet.registries.check_all().await.unwrap();
        assert_eq!(fleet.decide(&mine, "digest").await, Decision::Current, "{kind}");
        fake.counts();
        fleet.registries.check_all().await.unwrap();
        assert_eq!(
            fake.counts().gets,
            0,
            "what was looked into is not looked into again"
        );

        fleet.test.pass(3_600_000);
        let children = [("linux/amd64", "1.1"), ("linux/arm64", "b")];
        let newer = fake.index("lab/app", Some("1"), kind, &children);
        fleet.registries.check_all().await.unwrap();
        let offer = offered(fleet.decide(&mine, "digest").await);
        assert_eq!(
            (offer.digest.as_str(), offer.step, offer.is_tagged),
            (newer.as_str(), Step::Digest, true)
        );
        let child = fake.child("lab/app", &newer, "amd64");
        assert_eq!(offer.platform_digest.unwrap().as_str(), child);
        assert_eq!(offer.details.version.as_deref(), Some("1.1"));
        assert_eq!(offer.running.version.as_deref(), Some("1.0"));
        assert_eq!(
            offer.release_notes.as_deref(),
            Some("https://github.com/lab/app/releases")
        );
        assert_eq!(offer.reference.to_string(), format!("{name}:1@{newer}"));
    }
}

#[tokio::test]
async fn what_runs_is_recognised_under_all_the_names_that_engines_give_it() {
    for (kind, single) in [(OCI_INDEX, OCI_MANIFEST), (DOCKER_LIST, DOCKER_MANIFEST)] {
        let fake = Fake::start().await;
        let mut fleet = Fleet::new().await;
        let index = fake.index("lab/app", Some("1"), kind, &[("linux/amd64", "x")]);
        let (child, config) = fake.image("lab/app", None, single, "x");
        let (alone, alone_config) = fake.image("lab/alone", Some("1"), single, "y");
        let (name, other) = (fake.name("lab/app"), fake.name("lab/alone"));
        let (image, alone_image) = (format!("{name}:1"), format!("{other}:1"));
        let (image, alone_image) = (image.as_str(), alone_image.as_str());
        let elsewhere = format!("mirror.example.org/lab/app@sha256:{}", "0".repeat(64));
        let containers: Vec<(Container<'_>, Decision)> = vec![
            (
                ("index", image, vec![format!("{name}@{index}")], "sha256:1"),
                Decision::Current,
            ),
            (
                (
                    "child",
                    image,
                    vec![elsewhere.clone(), format!("{name}@{child}")],
                    "sha256:1",
                ),
                Decision::Current,
            ),
            (("loaded", image, vec![], config.as_str()), Decision::Current),
            (
                (
                    "single",
                    alone_image,
                    vec![format!("{other}@{alone}")],
                    "sha256:1",
                ),
                Decision::Current,
            ),
            (
                ("loaded-single", alone_image, vec![], alone_config.as_str()),
                Decision::Current,
            ),
            (("built", image, vec![], "sha256:1"), Decision::Local),
            (("tagged", image, vec![elsewhere], "sha256:1"), Decision::Local),
        ];
        let server = fleet.server("one").await;
        let all: Vec<Container<'_>> = containers
            .iter()
            .map(|(container, _)| container.clone())
            .collect();
        fleet.runs(server, &all).await;
        fleet.registries.check_all().await.unwrap();
        for (container, expected) in &containers {
            let decision = fleet.decide(container, "digest").await;
            assert_eq!(decision, *expected, "{} {kind}", container.0);
        }
        let pinned = format!("{image}@{index}");
        let decision = fleet
            .decide(&("pinned", pinned.as_str(), vec![], "sha256:1"), "digest")
            .await;
        assert_eq!(decision, Decision::Pinned);
    }
}

#[tokio::test]
async fn a_failed_check_is_unknown_and_the_last_good_one_is_kept() {
    let fake = Fake::start().await;
    let mut fleet = Fleet::new().await;
    let (digest, id) = fake.image("lab/app", Some("1"), OCI_MANIFEST, "x");
    let name = fake.name("lab/app");
    let image = format!("{name}:1");
    let mine: Container<'_> = ("c", &image, vec![format!("{name}@{digest}")], &id);
    let server = fleet.server("one").await;
    fleet.runs(server, std::slice::from_ref(&mine)).await;
    let why = unknown(fleet.decide(&mine, "digest").await);
    assert!(why.contains("has not been checked yet"), "{why}");
    fleet.registries.check_all().await.unwrap();
    for (status, told) in [
        (404, "does not have"),
        (500, "answered 500"),
        (403, "refuses access"),
    ] {
        fake.set(|state| state.refusal = Some((status, Vec::new())));
        fleet.test.pass(60_000);
        fake.counts();
        let round = fleet.registries.check_all().await.unwrap();
        let counts = fake.counts();
        assert_eq!((round.checked, round.failed), (0, 1));
        assert_eq!(
            (counts.heads, counts.gets),
            (1, 0),
            "a refused HEAD is followed by no GET"
        );
        let why = unknown(fleet.decide(&mine, "digest").await);
        assert!(why.contains(told), "{why}");
        let check = fleet.latest(&image).await;
        assert_eq!(check.digest.unwrap().as_str(), digest);
        assert!(check.error.is_some() && 0 < check.failures);
    }
    fake.set(|state| state.refusal = None);
    fleet.registries.check_all().await.unwrap();
    assert_eq!(fleet.decide(&mine, "digest").await, Decision::Current);
    fleet.test.pass(3 * 86_400_000);
    let why = unknown(fleet.decide(&mine, "digest").await);
    assert!(why.contains("two days"), "{why}");
}

#[tokio::test]
async fn other_tags_are_followed_where_somebody_asked_for_them() {
    let fake = Fake::start().await;
    let mut fleet = Fleet::new().await;
    let (digest, id) = fake.image("lab/app", Some("1.2.0"), OCI_MANIFEST, "1.2.0");
    for tag in ["1.2.1", "1.3.0-alpine", "1.3.0-rc1", "2.0.0", "latest", "1.2.10"] {
        fake.image("lab/app", Some(tag), OCI_MANIFEST, tag);
    }
    let name = fake.name("lab/app");
    let image = format!("{name}:1.2.0");
    let mine: Container<'_> = ("c", &image, vec![format!("{name}@{digest}")], &id);
    let server = fleet.server("one").await;
    fleet.runs(server, std::slice::from_ref(&mine)).await;
    fleet.registries.check_all().await.unwrap();
    assert_eq!(fake.counts().lists, 0);
    for track in ["semver:minor", "semver:major"] {
        let why = unknown(fleet.decide(&mine, track).await);
        assert!(why.contains("not been listed yet"), "{why}");
    }
    fleet.registries.check_all().await.unwrap();
    // Seven tags, two on a page, listed once for both tracks.
    assert_eq!(fake.counts().lists, 4);
    let offer = offered(fleet.decide(&mine, "semver:minor").await);
    assert_eq!((offer.tag.as_str(), offer.step), ("1.2.10", Step::Patch));
    let offer = offered(fleet.decide(&mine, "semver:major").await);
    assert_eq!((offer.tag.as_str(), offer.step), ("2.0.0", Step::Major));
    assert_eq!(fleet.decide(&mine, "digest").await, Decision::Current);
    let gone = fleet
        .registries
        .check(&format!("{name}:9").parse().unwrap())
        .await
        .unwrap();
    assert_eq!(gone, (0, 0));
}

#[tokio::test]
async fn an_image_that_has_nothing_for_the_platform_is_told_so() {
    let fake = Fake::start().await;
    let mut fleet = Fleet::new().await;
    let first = fake.index("lab/app", Some("1"), OCI_INDEX, &[("linux/amd64", "x")]);
    let name = fake.name("lab/app");
    let image = format!("{name}:1");
    let mine: Container<'_> = ("c", &image, vec![format!("{name}@{first}")], "sha256:1");
    let server = fleet.server("one").await;
    fleet.runs(server, std::slice::from_ref(&mine)).await;
    fleet.registries.check_all().await.unwrap();
    fake.index("lab/app", Some("1"), OCI_INDEX, &[("linux/arm64", "y")]);
    fleet.test.pass(1_000);
    fleet.registries.check_all().await.unwrap();
    let why = unknown(fleet.decide(&mine, "digest").await);
    assert!(why.contains("nothing for linux/amd64"), "{why}");
}

#[tokio::test]
async fn an_image_that_somebody_has_just_started_is_checked_soon_a_few_at_once_and_each_once() {
    let fake = Fake::start().await;
    let mut fleet = Fleet::new().await;
    let server = fleet.server("one").await;
    let digest = fake.index("lab/app", Some("1"), OCI_INDEX, &[("linux/amd64", "1.0")]);
    let name = fake.name("lab/app");
    let image = format!("{name}:1");
    let mine: Container<'_> = ("c", &image, vec![format!("{name}@{digest}")], "sha256:0");
    fleet.runs(server, std::slice::from_ref(&mine)).await;
    assert!(matches!(
        fleet.decide(&mine, "digest").await,
        Decision::Unknown(_)
    ));
    assert_eq!(fleet.registries.check_new().await.unwrap(), (1, 0));
    assert_eq!(fleet.decide(&mine, "digest").await, Decision::Current);
    fake.counts();
    assert_eq!(fleet.registries.check_new().await.unwrap(), (0, 0));
    let counts = fake.counts();
    assert_eq!(
        (counts.heads, counts.gets),
        (0, 0),
        "what was asked is not asked again"
    );
    // Many at once: a few in each minute. None of them is there, and failing is no reason to ask again and again.
    let images: Vec<String> = (0..50)
        .map(|index| format!("{}:1", fake.name(&format!("lab/new{index}"))))
        .collect();
    let containers: Vec<Container<'_>> = images
        .iter()
        .map(|image| (image.as_str(), image.as_str(), Vec::new(), "sha256:0"))
        .collect();
    fleet.runs(server, &containers).await;
    let mut each = Vec::new();
    for _ in 0..4 {
        let (checked, failed) = fleet.registries.check_new().await.unwrap();
        each.push(checked + failed);
    }
    println!("50 new images, by minute: {each:?}");
    assert_eq!(each, [20, 20, 10, 0]);
}
