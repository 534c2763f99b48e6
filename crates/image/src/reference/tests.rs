//! Names as Docker reads them.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn of(text: &str) -> Reference {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn a_name_without_a_registry_is_docker_hubs() {
    for (given, whole, familiar) in [
        ("nginx", "docker.io/library/nginx", "nginx"),
        ("nginx:1.27", "docker.io/library/nginx:1.27", "nginx:1.27"),
        ("library/nginx", "docker.io/library/nginx", "nginx"),
        ("docker.io/nginx", "docker.io/library/nginx", "nginx"),
        (
            "index.docker.io/library/nginx:1",
            "docker.io/library/nginx:1",
            "nginx:1",
        ),
        (
            "grafana/grafana:11",
            "docker.io/grafana/grafana:11",
            "grafana/grafana:11",
        ),
        ("localhost/app", "localhost/app", "localhost/app"),
        (
            "localhost:5000/app:v1",
            "localhost:5000/app:v1",
            "localhost:5000/app:v1",
        ),
        ("app:5000/lab", "app:5000/lab", "app:5000/lab"),
        (
            "GHCR.io/Org".to_lowercase().as_str(),
            "ghcr.io/org",
            "ghcr.io/org",
        ),
        ("GHCR.io/org/app", "ghcr.io/org/app", "ghcr.io/org/app"),
        (
            "127.0.0.1:5000/lab/app:latest",
            "127.0.0.1:5000/lab/app:latest",
            "127.0.0.1:5000/lab/app:latest",
        ),
        (
            "[2001:db8::1]:5000/app",
            "[2001:db8::1]:5000/app",
            "[2001:db8::1]:5000/app",
        ),
        ("[::1]/app:1", "[::1]/app:1", "[::1]/app:1"),
        ("a__b/c--d/e.f_g", "docker.io/a__b/c--d/e.f_g", "a__b/c--d/e.f_g"),
    ] {
        assert_eq!(of(given).to_string(), whole, "{given}");
        assert_eq!(of(given).familiar(), familiar, "{given}");
        assert_eq!(of(of(given).familiar().as_str()), of(given), "{given}");
    }
}

#[test]
fn a_digest_and_a_tag_may_both_be_there() {
    let both = of(&format!("nginx:1.27@{DIGEST}"));
    assert_eq!((both.tag(), both.effective_tag()), (Some("1.27"), Some("1.27")));
    assert_eq!(both.digest().unwrap().as_str(), DIGEST);
    let pinned = of(&format!("nginx@{DIGEST}"));
    assert_eq!((pinned.tag(), pinned.effective_tag()), (None, None));
    assert_eq!(of("nginx").effective_tag(), Some("latest"));
    assert_eq!(
        both.with_tag("1.28").unwrap().to_string(),
        "docker.io/library/nginx:1.28"
    );
}

#[test]
fn what_is_no_name_is_refused_and_says_why() {
    let long = "a".repeat(2_000);
    let id = "0123456789abcdef".repeat(4);
    for (text, error) in [
        ("", ReferenceError::Length),
        (long.as_str(), ReferenceError::Length),
        (id.as_str(), ReferenceError::Id),
        ("Nginx", ReferenceError::Repository),
        ("nginx:", ReferenceError::Tag),
        ("nginx:-1", ReferenceError::Tag),
        ("nginx:a b", ReferenceError::Tag),
        ("a//b", ReferenceError::Repository),
        ("a/", ReferenceError::Repository),
        ("/a", ReferenceError::Repository),
        ("a..b", ReferenceError::Repository),
        ("a___b", ReferenceError::Repository),
        ("-a", ReferenceError::Repository),
        ("exa_mple.org/a", ReferenceError::Registry),
        ("example.org:x/a", ReferenceError::Registry),
        ("example.org:99999/a", ReferenceError::Registry),
        ("-x.org/a", ReferenceError::Registry),
        ("[::1/a", ReferenceError::Registry),
        ("[x:1]/a", ReferenceError::Registry),
        ("https://example.org/a", ReferenceError::Registry),
        (
            "user:secret@example.org/a",
            ReferenceError::Digest(DigestError::Shape),
        ),
        ("nginx@sha256:1", ReferenceError::Digest(DigestError::Digits(64))),
    ] {
        assert_eq!(text.parse::<Reference>(), Err(error), "{text}");
    }
}

#[test]
fn only_a_digest_of_the_own_repository_says_something() {
    let nginx = of("nginx:1.27");
    for (listed, is_own) in [
        ("nginx@", true),
        ("docker.io/library/nginx@", true),
        ("mirror.example.org/library/nginx@", false),
        ("nginxinc/nginx@", false),
    ] {
        let found = nginx.digest_of_own(&format!("{listed}{DIGEST}"));
        assert_eq!(found.is_some(), is_own, "{listed}");
    }
    assert_eq!(nginx.digest_of_own("<none>@<none>"), None);
}

/// The grammar of the specification as a regular expression, to compare with.
static GRAMMAR: LazyLock<regex::Regex> = LazyLock::new(|| regex::Regex::new(GRAMMAR_TEXT).unwrap());
const GRAMMAR_TEXT: &str = r"^((?:(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?$";

proptest! {
    #[test]
    fn what_is_taken_is_within_the_specifications_grammar(
        text in "[a-zA-Z0-9_./:-]{1,24}|[a-z]{1,5}(\\.[a-z]{2})?(:[0-9]{1,3})?/[a-z_.-]{1,9}(:[a-z0-9.]{1,4})?"
    ) {
        if text.parse::<Reference>().is_ok() {
            prop_assert!(GRAMMAR.is_match(&text), "{}", text);
        }
    }

    #[test]
    fn writing_and_reading_again_changes_nothing(text in "[a-zA-Z0-9_./:@\\[\\]-]{0,40}|\\PC{0,30}") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(&of(&reference.to_string()), &reference);
            prop_assert_eq!(&of(&reference.familiar()), &reference);
        }
    }
}
