//! What registries ask for, and how they misbehave.

use base64::Engine as _;
use muster_image::manifest::{OCI_INDEX, OCI_MANIFEST};

use super::fake::{Door, Fake};
use super::*;
use crate::app::registries::RegistryFields;

/// A fleet of one container that runs what the registry does not have any more.
async fn behind(fake: &Fake, total_max: Duration) -> (Fleet, String) {
    let mut fleet = Fleet::with(total_max).await;
    let (old, _) = fake.image("lab/app", Some("1"), OCI_MANIFEST, "old");
    let name = fake.name("lab/app");
    let image = format!("{name}:1");
    let server = fleet.server("one").await;
    let mine: Container<'_> = ("c", &image, vec![format!("{name}@{old}")], "sha256:1");
    fleet.runs(server, &[mine]).await;
    fake.image("lab/app", Some("1"), OCI_MANIFEST, "new");
    (fleet, image)
}

async fn set_up(fleet: &Fleet, fake: &Fake, password: &str) -> i64 {
    let fields = RegistryFields {
        name: Some("lab".to_owned()),
        url: Some(format!("http://{}", fake.address)),
        username: Some("puller".to_owned()),
        password: Some(password.to_owned()),
        allow_http: Some(true),
        ..RegistryFields::default()
    };
    fleet.test.app.create_registry(fields).await.unwrap().id
}

/// What the check of the image failed with.
async fn failure(fleet: &Fleet, image: &str) -> String {
    let round = fleet.registries.check_all().await.unwrap();
    assert_eq!((round.checked, round.failed), (0, 1));
    fleet.latest(image).await.error.unwrap()
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn tokens_and_passwords_open_the_doors_they_are_for() {
    for door in [Door::Bearer, Door::Basic] {
        let fake = Fake::start().await;
        fake.set(|state| state.door = door.clone());
        let (fleet, image) = behind(&fake, LONG).await;
        let id = set_up(&fleet, &fake, "correct horse").await;
        let tried = fleet.registries.validate(id).await.unwrap();
        assert_eq!(
            (tried.validation.as_str(), tried.validation_error),
            ("valid", None),
            "{door:?}"
        );
        let round = fleet.registries.check_all().await.unwrap();
        assert_eq!((round.checked, round.failed), (1, 0), "{door:?}");
        let (user, password) = fleet
            .registries
            .credential(&image.parse().unwrap())
            .await
            .unwrap()
            .unwrap();
        assert_eq!((user.as_str(), password.expose()), ("puller", "correct horse"));

        let fields = RegistryFields {
            password: Some("wrong horse".to_owned()),
            ..RegistryFields::default()
        };
        let changed = fleet.test.app.change_registry(id, fields).await.unwrap();
        assert_eq!(changed.validation, "unknown");
        let tried = fleet.registries.validate(id).await.unwrap();
        assert_eq!(tried.validation, "invalid", "{door:?} {tried:?}");
        let why = failure(&fleet, &image).await;
        assert!(why.contains("refuses"), "{why}");
        assert!(!why.contains("horse"), "{why}");
    }
}

#[tokio::test]
async fn a_token_is_kept_until_it_expires_and_a_minute_if_it_does_not_say() {
    let fake = Fake::start().await;
    fake.set(|state| state.door = Door::Bearer);
    let (fleet, _) = behind(&fake, LONG).await;
    fleet.registries.check_all().await.unwrap();
    assert_eq!(fake.counts().tokens, 1);
    fleet.test.pass(50_000);
    fleet.registries.check_all().await.unwrap();
    assert_eq!(fake.counts().tokens, 0);
    fleet.test.pass(10_000);
    fleet.registries.check_all().await.unwrap();
    let counts = fake.counts();
    assert_eq!((counts.tokens, counts.heads, counts.pings), (1, 1, 0));
}

#[tokio::test]
async fn a_registry_that_wants_the_password_sent_elsewhere_does_not_get_it() {
    let (fake, evil) = (Fake::start().await, Fake::start().await);
    // Another loopback address stands for another owner's host.
    let realm = format!("http://127.0.0.2:{}/token", evil.address.port());
    fake.set(|state| state.door = Door::BearerFrom(realm));
    let (fleet, image) = behind(&fake, LONG).await;
    let id = set_up(&fleet, &fake, "correct horse").await;
    let why = failure(&fleet, &image).await;
    assert!(
        why.contains("which is not part of it: they were not sent"),
        "{why}"
    );
    assert_eq!(fleet.registries.validate(id).await.unwrap().validation, "invalid");
    assert!(evil.log().is_empty());
    assert!(fake.log().iter().all(|(_, shown)| shown.is_none()));
}

#[tokio::test]
async fn whoever_is_redirected_to_is_not_shown_what_authorizes() {
    let (fake, blobs) = (Fake::start().await, Fake::start().await);
    let (fleet, image) = behind(&fake, LONG).await;
    blobs.image("lab/app", Some("1"), OCI_MANIFEST, "new");
    blobs.image("lab/app", Some("1"), OCI_MANIFEST, "old");
    let to = format!("http://{}", blobs.address);
    fake.set(|state| {
        state.door = Door::Basic;
        state.blobs_at = Some(to);
    });
    set_up(&fleet, &fake, "correct horse").await;
    let round = fleet.registries.check_all().await.unwrap();
    assert_eq!(
        (round.checked, round.failed),
        (1, 0),
        "{:?}",
        fleet.latest(&image).await
    );
    let told = blobs.log();
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|(_, shown)| shown.is_none()), "{told:?}");
    // Round and round is not followed for ever.
    let itself = format!("http://{}", fake.address);
    fake.set(|state| state.blobs_at = Some(itself));
    fake.image("lab/app", Some("1"), OCI_MANIFEST, "newest");
    fleet.test.pass(1_000);
    let why = failure(&fleet, &image).await;
    assert!(why.contains("not followed"), "{why}");
}

#[tokio::test]
async fn without_a_digest_in_the_head_the_bytes_themselves_are_counted() {
    let fake = Fake::start().await;
    fake.set(|state| state.hides_digest = true);
    let (fleet, image) = behind(&fake, LONG).await;
    fleet.registries.check_all().await.unwrap();
    let (new, _) = fake.image("lab/app", None, OCI_MANIFEST, "new");
    assert_eq!(fleet.latest(&image).await.digest.unwrap().as_str(), new);
    // A digest that the bytes do not have is not believed.
    let lie = format!("sha256:{}", "0".repeat(64));
    fake.set(|state| state.headers = vec![("docker-content-digest", lie)]);
    fake.image("lab/app", Some("1"), OCI_MANIFEST, "newest");
    fleet.test.pass(1_000);
    let why = failure(&fleet, &image).await;
    assert!(
        why.contains("does not have") || why.contains("do not have the digest"),
        "{why}"
    );
}

#[tokio::test]
async fn a_registry_that_had_too_many_requests_is_left_alone_and_it_is_shown() {
    let fake = Fake::start().await;
    let (fleet, image) = behind(&fake, LONG).await;
    let registry = fake.address.to_string();
    let date = "Fri, 15 Jan 2027 08:10:00 GMT".to_owned();
    for (header, blocked_ms) in [("300".to_owned(), 300_000), (date, 600_000)] {
        fake.set(|state| state.refusal = Some((429, vec![("retry-after", header)])));
        let began_ms = fleet.test.clock.now_ms();
        fake.counts();
        let why = failure(&fleet, &image).await;
        assert!(why.contains("too many requests"), "{why}");
        let until_ms = fleet.registries.limits()[&registry].blocked_until_ms.unwrap();
        let server_date_ms = until_ms - began_ms;
        // A date is compared with the other side's clock, which here is today's.
        assert!(
            server_date_ms == blocked_ms || blocked_ms == 600_000,
            "{server_date_ms}"
        );
        assert_eq!(fake.counts().heads, 1);
        failure(&fleet, &image).await;
        assert_eq!(fake.counts().heads, 0, "it is not asked before its time");
        fleet.test.pass(6 * 3_600_000);
    }
    fake.set(|state| {
        state.refusal = None;
        state.headers = vec![
            ("ratelimit-limit", "100;w=21600".to_owned()),
            ("ratelimit-remaining", "3;w=21600".to_owned()),
        ];
    });
    // What is left is left to those who pull: the change is seen, and not looked into.
    let why = failure(&fleet, &image).await;
    assert!(why.contains("only 3 more pulls of 100"), "{why}");
    assert_eq!(fake.counts().gets, 0);
    let known = &fleet.registries.limits()[&registry];
    assert_eq!(
        (known.limit, known.remaining, known.blocked_until_ms),
        (Some(100), Some(3), None)
    );
}

#[tokio::test]
async fn answers_without_end_and_without_beginning_are_given_up() {
    let fake = Fake::start().await;
    fake.set(|state| state.huge = 5 * 1_024 * 1_024);
    let (fleet, image) = behind(&fake, Duration::from_secs(20)).await;
    let why = failure(&fleet, &image).await;
    assert!(why.contains("more than 4194304 bytes"), "{why}");
    drop(fleet);
    let (fleet, image) = behind(&fake, Duration::from_millis(300)).await;
    fake.set(|state| state.is_slow = true);
    let why = failure(&fleet, &image).await;
    assert!(why.contains("did not answer in time"), "{why}");
}

#[tokio::test]
async fn an_index_of_indexes_is_looked_into_and_one_that_holds_itself_is_given_up() {
    let fake = Fake::start().await;
    let (fleet, image) = behind(&fake, LONG).await;
    let inner = fake.index("lab/app", None, OCI_INDEX, &[("linux/amd64", "inside")]);
    fake.index("lab/app", Some("1"), OCI_INDEX, &[("nested/x", &inner)]);
    let round = fleet.registries.check_all().await.unwrap();
    assert_eq!(round.failed, 0, "{:?}", fleet.latest(&image).await);
    assert_eq!(
        fleet.latest(&image).await.details.version.as_deref(),
        Some("inside")
    );
    let mut deep = inner;
    for _ in 0..6 {
        deep = fake.index("lab/app", None, OCI_INDEX, &[("nested/x", &deep)]);
    }
    fake.index("lab/app", Some("1"), OCI_INDEX, &[("nested/x", &deep)]);
    fleet.test.pass(1_000);
    let why = failure(&fleet, &image).await;
    assert!(why.contains("deep"), "{why}");
}

#[tokio::test]
async fn registries_that_are_disabled_or_only_reached_unsafely_are_not_asked() {
    let fake = Fake::start().await;
    let (fleet, image) = behind(&fake, LONG).await;
    let id = set_up(&fleet, &fake, "correct horse").await;
    let off = RegistryFields {
        enabled: Some(false),
        ..RegistryFields::default()
    };
    fleet.test.app.change_registry(id, off).await.unwrap();
    let why = failure(&fleet, &image).await;
    assert!(why.contains("disabled"), "{why}");
    // Without the setting, neither loopback nor plain HTTP.
    fleet.test.app.remove_registry(id).await.unwrap();
    let strict = Registries::new(Arc::clone(&fleet.test.app), outbound(Vec::new()));
    strict.check_all().await.unwrap();
    let why = fleet.latest(&image).await.error.unwrap();
    assert!(why.contains("loopback address"), "{why}");
    assert!(fake.log().is_empty());
}

#[tokio::test]
async fn a_password_is_sealed_and_must_be_given_again_for_another_place() {
    let fake = Fake::start().await;
    let (fleet, _) = behind(&fake, LONG).await;
    let id = set_up(&fleet, &fake, "correct horse").await;
    let row = fleet.test.app.store().registry(id).await.unwrap().unwrap();
    let sealed = row.sealed.unwrap();
    assert!(!sealed.windows(5).any(|part| part == b"horse"));
    let encoded = base64::engine::general_purpose::STANDARD.encode(&sealed);
    assert!(!encoded.contains("horse"));
    let moved = RegistryFields {
        url: Some("https://evil.example.com".to_owned()),
        ..RegistryFields::default()
    };
    let error = fleet
        .test
        .app
        .change_registry(id, moved.clone())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("password"), "{error}");
    let again = RegistryFields {
        password: Some("another".to_owned()),
        ..moved
    };
    fleet.test.app.change_registry(id, again).await.unwrap();
}
