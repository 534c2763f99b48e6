use super::*;
use crate::app::tests::TestApp;

const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

/// An app with the first admin, and its password.
async fn with_admin() -> (TestApp, String) {
    let test = TestApp::new().await;
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
    let principal = test.app.authenticate(&session.access_token).await.unwrap();
    assert_eq!(
        (principal.username.as_str(), principal.role),
        ("admin", Role::Admin)
    );
}

#[tokio::test]
async fn without_a_kept_password_there_is_no_account() {
    let test = TestApp::new().await;
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
        test.app.local_session().await.unwrap(),
        test.app.local_session().await.unwrap(),
    );
    assert_ne!(one.access_token, other.access_token);
    test.app.logout(&one.access_token).await.unwrap();
    assert!(matches!(
        test.app.authenticate(&one.access_token).await,
        Err(AuthError::BadToken)
    ));
    assert!(test.app.authenticate(&other.access_token).await.is_ok());
    test.pass(12 * 3_600_000);
    assert!(matches!(
        test.app.authenticate(&other.access_token).await,
        Err(AuthError::BadToken)
    ));
    assert!(matches!(
        test.app.authenticate(&"x".repeat(10_000)).await,
        Err(AuthError::BadToken)
    ));
}

#[tokio::test]
async fn only_the_hash_of_an_access_token_is_stored() {
    let (test, _) = with_admin().await;
    let token = test.app.local_session().await.unwrap().access_token;
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
