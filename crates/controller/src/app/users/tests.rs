use std::net::Ipv4Addr;

use super::*;
use crate::app::tests::{TestApp, quick};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PASSWORD: &str = "a long password";

async fn with_admin() -> (TestApp, UserView) {
    let test = TestApp::with(quick()).await;
    let admin = user(&test, "root", Role::Admin).await;
    (test, admin)
}

async fn user(test: &TestApp, name: &str, role: Role) -> UserView {
    let new = NewUser {
        username: name.to_owned(),
        password: PASSWORD.to_owned(),
        role,
    };
    test.app.create_user(new).await.unwrap()
}

fn role(role: Role) -> UserPatch {
    UserPatch {
        role: Some(role),
        ..UserPatch::default()
    }
}

fn disabled(disabled: bool) -> UserPatch {
    UserPatch {
        disabled: Some(disabled),
        ..UserPatch::default()
    }
}

#[tokio::test]
async fn the_last_enabled_admin_cannot_be_removed_demoted_or_disabled() {
    let (test, admin) = with_admin().await;
    let other = user(&test, "other", Role::Admin).await;
    test.app.change_user(other.id, disabled(true)).await.unwrap();
    for patch in [role(Role::Operator), role(Role::Viewer), disabled(true)] {
        let refused = test.app.change_user(admin.id, patch).await;
        assert!(matches!(refused, Err(UserError::LastAdmin)), "{refused:?}");
    }
    let refused = test.app.remove_user(admin.id).await;
    assert!(matches!(refused, Err(UserError::LastAdmin)), "{refused:?}");
    test.app.change_user(other.id, disabled(false)).await.unwrap();
    test.app.change_user(admin.id, role(Role::Viewer)).await.unwrap();
    test.app.remove_user(admin.id).await.unwrap();
    assert!(matches!(
        test.app.remove_user(other.id).await,
        Err(UserError::LastAdmin)
    ));
}

#[tokio::test]
async fn two_admins_who_demote_each_other_at_once_leave_one() {
    let (test, one) = with_admin().await;
    for n in 0..10 {
        let two = user(&test, &format!("two{n}"), Role::Admin).await;
        let (a, b) = tokio::join!(
            test.app.change_user(one.id, role(Role::Viewer)),
            test.app.remove_user(two.id)
        );
        assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
        if a.is_ok() {
            test.app.change_user(one.id, role(Role::Admin)).await.unwrap();
            test.app.remove_user(two.id).await.unwrap();
        }
    }
}

#[tokio::test]
async fn names_and_passwords_that_cannot_be_taken_are_told_apart() {
    let (test, _) = with_admin().await;
    let attempt = async |username: &str, password: &str| {
        let new = NewUser {
            username: username.to_owned(),
            password: password.to_owned(),
            role: Role::Viewer,
        };
        match test.app.create_user(new).await {
            Err(UserError::Invalid(problems)) => problems.iter().map(|problem| problem.field).collect(),
            Err(UserError::NameTaken(_)) => vec!["taken"],
            Ok(_) => Vec::new(),
            Err(error) => panic!("{error}"),
        }
    };
    let long = "x".repeat(65);
    for name in ["", "-ann", "ann bee", "ä", "a\n", "../x", &long] {
        assert_eq!(attempt(name, PASSWORD).await, ["username"], "{name:?}");
    }
    let endless = "ab".repeat(513);
    for password in ["", "short", "elevenchars", "aaaaaaaaaaaaaaaa", &endless] {
        assert_eq!(attempt("ann", password).await, ["password"], "{password:?}");
    }
    assert_eq!(attempt("ann.bee@example", "ANN.bee@example").await, ["password"]);
    assert_eq!(attempt(" ", "").await, ["username", "password"]);
    assert_eq!(attempt("root", PASSWORD).await, ["taken"]);
    assert!(attempt("ann", "zwölf Zeichen").await.is_empty());
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let (test, admin) = with_admin().await;
    let mine = test.app.login("root", PASSWORD, PEER).await.unwrap();
    let other = test.app.login("root", PASSWORD, PEER).await.unwrap();
    let change = async |current: &str, new: &str| {
        test.app
            .change_own_password(
                &mine.principal,
                &mine.access_token,
                current.to_owned(),
                new.to_owned(),
                PEER,
            )
            .await
    };
    assert!(matches!(
        change("not the password", "a longer password").await,
        Err(UserError::WrongPassword)
    ));
    assert!(matches!(
        change(PASSWORD, "short").await,
        Err(UserError::Invalid(_))
    ));
    change(PASSWORD, "a longer password").await.unwrap();
    assert!(test.app.authenticate(&mine.access_token, PEER).await.is_ok());
    assert!(test.app.authenticate(&other.access_token, PEER).await.is_err());
    assert!(test.app.login("root", PASSWORD, PEER).await.is_err());
    assert!(test.app.login("root", "a longer password", PEER).await.is_ok());
    // One that an admin gave ends all.
    let patch = UserPatch {
        password: Some("the longest password".to_owned()),
        ..UserPatch::default()
    };
    test.app.change_user(admin.id, patch).await.unwrap();
    assert!(test.app.authenticate(&mine.access_token, PEER).await.is_err());
}

#[tokio::test]
async fn the_current_password_cannot_be_guessed_with_a_session_that_was_taken_over() {
    let (test, _) = with_admin().await;
    let taken = test.app.login("root", PASSWORD, PEER).await.unwrap();
    let mut judged = 0;
    for n in 0..100 {
        let guess = test
            .app
            .change_own_password(
                &taken.principal,
                &taken.access_token,
                format!("guess number {n}"),
                "a longer password".to_owned(),
                PEER,
            )
            .await;
        judged += usize::from(matches!(guess, Err(UserError::WrongPassword)));
    }
    assert!((1..=10).contains(&judged), "{judged}");
}

#[tokio::test]
async fn a_removed_account_takes_its_sessions_along_and_its_id_stays_unused() {
    let (test, _) = with_admin().await;
    let ann = user(&test, "ann", Role::Operator).await;
    let session = test.app.login("ann", PASSWORD, PEER).await.unwrap();
    test.app.remove_user(ann.id).await.unwrap();
    assert!(test.app.authenticate(&session.access_token, PEER).await.is_err());
    assert!(matches!(test.app.user(ann.id).await, Err(UserError::NotFound(_))));
    assert!(ann.id < user(&test, "ann", Role::Operator).await.id);
}
