use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::app::tests::{TestApp, quick};
use crate::app::users::{NewUser, UserPatch};

const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const PASSWORD: &str = "a long password";

/// A fresh account of this role, logged in.
async fn account(test: &TestApp, name: &str, role: Role) -> Principal {
    let new = NewUser {
        username: name.to_owned(),
        password: PASSWORD.to_owned(),
        role,
    };
    test.app.create_user(new).await.unwrap();
    test.app.login(name, PASSWORD, PEER).await.unwrap().principal
}

fn wanted(scopes: &[Scope]) -> WantedToken {
    WantedToken {
        name: "a program".to_owned(),
        scopes: scopes.to_vec(),
        ttl: None,
    }
}

async fn shown(test: &TestApp, text: &str) -> Result<Principal, AuthError> {
    test.app.authenticate(text, PEER).await
}

#[tokio::test]
async fn a_token_may_what_its_scopes_say_and_never_more_than_its_account_may_now() {
    let test = TestApp::with(quick()).await;
    account(&test, "root", Role::Admin).await;
    let ann = account(&test, "ann", Role::Admin).await;
    let made = test
        .app
        .create_api_token(&ann, wanted(&[Scope::Operate, Scope::Admin]))
        .await
        .unwrap();
    let by_token = shown(&test, &made.text).await.unwrap();
    assert!(by_token.may(Role::Admin));
    let demote = UserPatch {
        role: Some(Role::Viewer),
        ..UserPatch::default()
    };
    test.app.change_user(ann.user_id, demote).await.unwrap();
    let by_token = shown(&test, &made.text).await.unwrap();
    assert!(by_token.may(Role::Viewer) && !by_token.may(Role::Operator));
    let disable = UserPatch {
        disabled: Some(true),
        ..UserPatch::default()
    };
    test.app.change_user(ann.user_id, disable).await.unwrap();
    assert!(shown(&test, &made.text).await.is_err());
}

#[tokio::test]
async fn a_token_for_metrics_is_good_for_nothing_else() {
    let test = TestApp::with(quick()).await;
    let root = account(&test, "root", Role::Admin).await;
    let made = test
        .app
        .create_api_token(&root, wanted(&[Scope::Metrics]))
        .await
        .unwrap();
    assert!(!shown(&test, &made.text).await.unwrap().may(Role::Viewer));
    let made = test
        .app
        .create_api_token(&root, wanted(&[Scope::Metrics, Scope::Read]))
        .await
        .unwrap();
    assert!(shown(&test, &made.text).await.unwrap().may(Role::Viewer));
}

#[tokio::test]
async fn what_cannot_be_granted_is_refused_by_its_field() {
    let test = TestApp::with(quick()).await;
    let ann = account(&test, "ann", Role::Operator).await;
    let refused = async |token: WantedToken| match test.app.create_api_token(&ann, token).await {
        Err(TokenError::Invalid(problems)) => problems[0].field,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(wanted(&[])).await, "scopes");
    assert_eq!(refused(wanted(&[Scope::Admin])).await, "scopes");
    for ttl in [0, 59, 367 * 86_400, u64::MAX] {
        let ttl = Some(Duration::from_secs(ttl));
        assert_eq!(
            refused(WantedToken {
                ttl,
                ..wanted(&[Scope::Read])
            })
            .await,
            "expires_in"
        );
    }
    for name in ["", "  ", "a\u{0}", &"x".repeat(101)] {
        let name = name.to_owned();
        assert_eq!(
            refused(WantedToken {
                name,
                ..wanted(&[Scope::Read])
            })
            .await,
            "name"
        );
    }
    let made = test
        .app
        .create_api_token(&ann, wanted(&[Scope::Operate]))
        .await
        .unwrap();
    let by_token = shown(&test, &made.text).await.unwrap();
    let refused = test.app.create_api_token(&by_token, wanted(&[Scope::Read])).await;
    assert!(matches!(refused, Err(TokenError::NeedsSession)), "{refused:?}");
}

#[tokio::test]
async fn a_token_ends_with_its_time_or_its_removal_and_notes_its_use() {
    let test = TestApp::with(quick()).await;
    let root = account(&test, "root", Role::Admin).await;
    let made = test
        .app
        .create_api_token(&root, wanted(&[Scope::Read]))
        .await
        .unwrap();
    let last_used = async || {
        let page = test.app.api_tokens(&root, PageRequest::default()).await.unwrap();
        page.items[0].last_used_ms
    };
    assert_eq!(last_used().await, None);
    shown(&test, &made.text).await.unwrap();
    let used_ms = last_used().await.unwrap();
    test.pass(59_000);
    shown(&test, &made.text).await.unwrap();
    assert_eq!(last_used().await, Some(used_ms), "to the minute is enough");
    test.pass(1_000);
    shown(&test, &made.text).await.unwrap();
    assert_eq!(last_used().await, Some(used_ms + 60_000));
    test.app.remove_api_token(&root, made.view.id).await.unwrap();
    assert!(shown(&test, &made.text).await.is_err());
    let ttl = Some(Duration::from_secs(60));
    let short = test.app.create_api_token(
        &root,
        WantedToken {
            ttl,
            ..wanted(&[Scope::Read])
        },
    );
    let short = short.await.unwrap();
    assert!(shown(&test, &short.text).await.is_ok());
    test.pass(60_000);
    assert!(shown(&test, &short.text).await.is_err());
    test.pass(40 * 86_400_000);
    test.app.upkeep().await.unwrap();
    assert_eq!(
        test.app
            .api_tokens(&root, PageRequest::default())
            .await
            .unwrap()
            .total,
        0
    );
}

#[tokio::test]
async fn somebody_elses_token_is_as_good_as_none() {
    let test = TestApp::with(quick()).await;
    let root = account(&test, "root", Role::Admin).await;
    let (ann, bob) = (
        account(&test, "ann", Role::Operator).await,
        account(&test, "bob", Role::Operator).await,
    );
    let made = test
        .app
        .create_api_token(&ann, wanted(&[Scope::Read]))
        .await
        .unwrap();
    assert_eq!(
        test.app
            .api_tokens(&bob, PageRequest::default())
            .await
            .unwrap()
            .total,
        0
    );
    let refused = test.app.remove_api_token(&bob, made.view.id).await;
    assert!(matches!(refused, Err(TokenError::NotFound(_))), "{refused:?}");
    assert_eq!(
        test.app
            .api_tokens(&ann, PageRequest::default())
            .await
            .unwrap()
            .total,
        1
    );
    assert_eq!(
        test.app
            .api_tokens(&root, PageRequest::default())
            .await
            .unwrap()
            .items[0]
            .username,
        "ann"
    );
    test.app.remove_api_token(&root, made.view.id).await.unwrap();
}

#[tokio::test]
async fn an_account_has_a_bounded_number_of_tokens() {
    let test = TestApp::with(quick()).await;
    let root = account(&test, "root", Role::Admin).await;
    for _ in 0..PER_ACCOUNT_MAX {
        test.app
            .create_api_token(&root, wanted(&[Scope::Read]))
            .await
            .unwrap();
    }
    let refused = test.app.create_api_token(&root, wanted(&[Scope::Read])).await;
    assert!(matches!(refused, Err(TokenError::TooMany)), "{refused:?}");
}

#[test]
fn a_text_that_was_changed_anywhere_is_none() {
    let text = TokenText::random().unwrap();
    let shown = text.to_text();
    let parsed = TokenText::parse(&shown).unwrap();
    assert_eq!(
        (parsed.public_id.as_str(), parsed.secret_sha256()),
        (text.public_id.as_str(), text.secret_sha256())
    );
    for at in 0..shown.len() {
        let mut bytes = shown.clone().into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        let changed = String::from_utf8(bytes).unwrap();
        assert!(TokenText::parse(&changed).is_none(), "{changed}");
        assert!(TokenText::parse(&shown[..at]).is_none());
    }
    for odd in [
        format!("{shown}_"),
        format!("{shown}0"),
        shown.to_uppercase(),
        format!(" {shown}"),
    ] {
        assert!(TokenText::parse(&odd).is_none(), "{odd}");
    }
}
