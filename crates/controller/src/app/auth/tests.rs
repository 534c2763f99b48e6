use super::*;
use crate::app::tests::{TestApp, quick};

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// An app with the first admin, and its password.
async fn with_admin() -> (TestApp, String) {
    let test = TestApp::with(quick()).await;
    let mut password = String::new();
    let keep = |made: &str| {
        password = made.to_owned();
        Ok(())
    };
    test.app.ensure_first_admin(keep).await.unwrap();
    (test, password)
}

#[tokio::test]
async fn the_first_admin_is_made_once_with_a_password_that_works() {
    let (test, password) = with_admin().await;
    assert!(20 <= password.len());
    test.app
        .ensure_first_admin(|_| panic!("there is an admin"))
        .await
        .unwrap();
    let session = test.app.login(FIRST_ADMIN, &password, PEER).await.unwrap();
    assert_eq!(
        (session.principal.role, session.expires_in_s),
        (Role::Admin, 43_200)
    );
    let principal = test.app.authenticate(&session.access_token, PEER).await.unwrap();
    assert_eq!(
        (principal.username.as_str(), principal.role),
        ("admin", Role::Admin)
    );
}

#[tokio::test]
async fn without_a_kept_password_there_is_no_account() {
    let test = TestApp::with(quick()).await;
    let failed = test
        .app
        .ensure_first_admin(|_| Err(std::io::Error::other("disk full")))
        .await;
    assert!(matches!(failed, Err(AuthError::Keep(_))));
    assert_eq!(test.app.store().account_count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_account_are_not_told_apart() {
    let (test, _) = with_admin().await;
    for (username, password) in [(FIRST_ADMIN, "wrong"), ("nobody", "wrong"), (FIRST_ADMIN, "")] {
        let refused = test.app.login(username, password, PEER).await;
        assert!(matches!(refused, Err(AuthError::BadCredentials)), "{refused:?}");
    }
}

#[tokio::test]
async fn guessing_is_slowed_down_for_an_account_and_for_an_address() {
    let (test, password) = with_admin().await;
    for n in 0..10_u8 {
        let from = IpAddr::from([198, 51, 100, n]);
        let _ = test.app.login(FIRST_ADMIN, &"x".repeat(2_000), from).await;
    }
    let elsewhere = IpAddr::from([203, 0, 113, 9]);
    let refused = test.app.login(FIRST_ADMIN, &password, elsewhere).await;
    assert!(
        matches!(refused, Err(AuthError::TooMany { retry_after_s: 6 })),
        "{refused:?}"
    );
    test.pass(6_000);
    assert!(test.app.login(FIRST_ADMIN, &password, elsewhere).await.is_ok());
    for n in 0..10 {
        let _ = test
            .app
            .login(&format!("user{n}"), &"x".repeat(2_000), PEER)
            .await;
    }
    let refused = test.app.login("another", "x", PEER).await;
    assert!(matches!(refused, Err(AuthError::TooMany { .. })), "{refused:?}");
}

#[tokio::test]
async fn an_access_token_ends_with_its_time_or_at_logout() {
    let (test, _) = with_admin().await;
    let (one, other) = (
        test.app.local_session(0).await.unwrap(),
        test.app.local_session(0).await.unwrap(),
    );
    assert_ne!(one.access_token, other.access_token);
    test.app.logout(&one.access_token).await.unwrap();
    assert!(matches!(
        test.app.authenticate(&one.access_token, PEER).await,
        Err(AuthError::BadToken)
    ));
    assert!(test.app.authenticate(&other.access_token, PEER).await.is_ok());
    test.pass(12 * 3_600_000);
    assert!(matches!(
        test.app.authenticate(&other.access_token, PEER).await,
        Err(AuthError::BadToken)
    ));
    assert!(matches!(
        test.app.authenticate(&"x".repeat(10_000), PEER).await,
        Err(AuthError::BadToken)
    ));
}

#[tokio::test]
async fn only_the_hash_of_an_access_token_is_stored() {
    let (test, _) = with_admin().await;
    let token = test.app.local_session(0).await.unwrap().access_token;
    test.app.store().close().await.unwrap();
    for file in ["state.db", "state.db-wal"] {
        let bytes = std::fs::read(test.folder.join(file)).unwrap_or_default();
        assert!(
            !bytes
                .windows(token.len())
                .any(|window| window == token.as_bytes()),
            "{file}"
        );
    }
}

#[test]
fn roles_are_ordered_by_what_they_may_do() {
    assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
    assert_eq!(Role::from_word("operator"), Some(Role::Operator));
    assert_eq!(Role::from_word("root"), None);
}

/// S21
#[tokio::test]
async fn a_thousand_guesses_from_everywhere_find_little_and_hold_nobody_out() {
    let (test, password) = with_admin().await;
    assert!(test.app.login(FIRST_ADMIN, &password, PEER).await.is_ok());
    let mut judged = 0;
    for n in 0..1_000_u32 {
        let [_, _, high, low] = n.to_be_bytes();
        let from = IpAddr::from([10, 1, high, low]);
        match test.app.login(FIRST_ADMIN, "a wrong guess", from).await {
            Err(AuthError::BadCredentials) => judged += 1,
            Err(AuthError::TooMany { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    println!("S21: {judged} of 1000 guesses from 1000 addresses were judged");
    assert!((1..=10).contains(&judged), "{judged}");
    let at_home = test.app.login(FIRST_ADMIN, &password, PEER).await;
    assert!(at_home.is_ok(), "{at_home:?}");
    // One who shares the network is held up, and only there.
    for _ in 0..10 {
        let _ = test.app.login(FIRST_ADMIN, "a wrong guess", PEER).await;
    }
    let refused = test.app.login(FIRST_ADMIN, &password, PEER).await;
    assert!(matches!(refused, Err(AuthError::TooMany { .. })), "{refused:?}");
}

/// S21
#[tokio::test]
async fn an_unknown_account_takes_as_long_as_a_known_one() {
    let cost = HashCost {
        memory_kib: 8 * 1_024,
        passes: 2,
    };
    let settings = crate::app::Settings {
        hash_cost: cost,
        login_per_min: 10_000,
        ..quick()
    };
    let test = TestApp::with(settings).await;
    test.app.ensure_first_admin(|_| Ok(())).await.unwrap();
    let mut took = [Vec::new(), Vec::new()];
    for _ in 0..9 {
        for (name, took) in ["admin", "nobody"].into_iter().zip(&mut took) {
            let begun = tokio::time::Instant::now();
            let _ = test.app.login(name, "a wrong guess", PEER).await;
            took.push(begun.elapsed());
        }
    }
    let [known, unknown] = took.map(|mut took| {
        took.sort_unstable();
        took[took.len() / 2].as_secs_f64()
    });
    println!(
        "S21: a known account took {:.1} ms, an unknown one {:.1} ms",
        known * 1e3,
        unknown * 1e3
    );
    assert!((0.4..2.5).contains(&(unknown / known)), "{known} {unknown}");
}

#[tokio::test]
async fn a_hash_of_weaker_rules_is_renewed_at_login() {
    use argon2::password_hash::PasswordHasher as _;
    let test = TestApp::with(quick()).await;
    let weak = argon2::Argon2::default()
        .hash_password(b"a long password")
        .unwrap();
    let store = test.app.store();
    store
        .add_account("ann", &weak.to_string(), "viewer", 1)
        .await
        .unwrap();
    test.app.login("ann", "a long password", PEER).await.unwrap();
    let renewed = store.account("ann").await.unwrap().unwrap().password_hash;
    assert!(test.app.hasher.is_current(&renewed), "{renewed}");
    assert!(test.app.login("ann", "a long password", PEER).await.is_ok());
}

#[tokio::test]
async fn guessing_tokens_is_slowed_down_and_leaves_known_ones_alone() {
    let (test, _) = with_admin().await;
    let ours = test.app.local_session(0).await.unwrap().access_token;
    let mut looked_at = 0;
    for n in 0..1_000 {
        match test.app.authenticate(&format!("{n:043}"), PEER).await {
            Err(AuthError::BadToken) => looked_at += 1,
            Err(AuthError::TooMany { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    println!("S21: {looked_at} of 1000 guessed tokens were looked at");
    assert_eq!(looked_at, 30);
    assert!(test.app.authenticate(&ours, PEER).await.is_ok());
}

#[tokio::test]
async fn logins_are_written_to_the_audit_log_without_what_was_typed() {
    let (test, password) = with_admin().await;
    test.app.login(FIRST_ADMIN, &password, PEER).await.unwrap();
    let _ = test.app.login(FIRST_ADMIN, "wrong", PEER).await;
    let _ = test.app.login("my password instead of my name", "x", PEER).await;
    let page = test.app.audit().list(Default::default(), Default::default());
    let entries: Vec<_> = page.await.unwrap().items;
    let shown: Vec<_> = entries
        .iter()
        .map(|entry| {
            format!(
                "{} {} {} {} {} {}",
                entry.actor_kind, entry.actor_name, entry.action, entry.target, entry.outcome, entry.reason
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "nobody  auth.login an unknown account refused bad_credentials",
            "nobody  auth.login admin refused bad_credentials",
            "user admin auth.login admin allowed ",
            "system  user.create admin allowed ",
        ]
    );
    assert_eq!(entries[0].peer, "192.0.2.1");
}
