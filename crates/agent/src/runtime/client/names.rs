//! What may stand in the path of a request.
//!
//! Names and ids come from plans and from what engines say; neither may lead a request anywhere else.

use crate::runtime::EngineError;

/// The longest name of a container, image or network that is taken.
const LEN_MAX: usize = 512;

fn refused(call: &'static str, what: &str, name: &str) -> EngineError {
    EngineError::BadName {
        call,
        message: format!("{:?} is no {what}", name.chars().take(80).collect::<String>()),
    }
}

/// A container's or network's name or id.
pub(super) fn plain<'a>(call: &'static str, name: &'a str) -> Result<&'a str, EngineError> {
    let is_good = name.len() <= LEN_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    is_good.then_some(name).ok_or_else(|| refused(call, "name", name))
}

/// An image's id or reference: `sha256:…`, `host:5000/a/b:tag`, `a/b@sha256:…`.
pub(super) fn image<'a>(call: &'static str, name: &'a str) -> Result<&'a str, EngineError> {
    let is_good = name.len() <= LEN_MAX
        && name.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_.-:@".contains(c))
        });
    is_good
        .then_some(name)
        .ok_or_else(|| refused(call, "image reference", name))
}

/// A digest: `sha256:` and 64 hexadecimal digits.
pub(super) fn digest<'a>(call: &'static str, digest: &'a str) -> Result<&'a str, EngineError> {
    let is_good = digest.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    });
    is_good
        .then_some(digest)
        .ok_or_else(|| refused(call, "digest", digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_could_lead_elsewhere_is_refused() {
        for bad in [
            "", ".", "..", "a/b", "a%2fb", "a b", "a?x=1", "a#b", "a\n", "-a", "ä",
        ] {
            assert!(plain("x", bad).is_err(), "{bad:?}");
        }
        for bad in [
            "", "..", "a/../b", "a//b", "/a", "a/", "a/.b", "a%2fb", "a?b", "a b", "a\0",
        ] {
            assert!(image("x", bad).is_err(), "{bad:?}");
        }
        for bad in ["", "sha256:", "sha256:zz", "md5:aa"] {
            assert!(digest("x", bad).is_err(), "{bad:?}");
        }
        assert!(plain("x", &"a".repeat(513)).is_err());
    }

    #[test]
    fn real_names_pass() {
        for good in ["web-1", "a_b.c", "0f3", "old-web"] {
            assert!(plain("x", good).is_ok());
        }
        let hex = "0".repeat(64);
        assert!(digest("x", &format!("sha256:{hex}")).is_ok());
        for good in [
            format!("sha256:{hex}"),
            format!("127.0.0.1:5000/a/b@sha256:{hex}"),
            "docker.io/library/nginx:1.27".to_owned(),
        ] {
            assert!(image("x", &good).is_ok());
        }
    }
}
