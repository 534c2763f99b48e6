//! Image references, as far as it takes to tell which digest is a container's own.

/// The tag of a reference; `latest` if it has neither tag nor digest, `None` if it is an id or only a digest.
pub(super) fn tag(reference: &str) -> Option<&str> {
    if is_id(reference) {
        return None;
    }
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    match split_tag(named).1 {
        Some(tag) => Some(tag),
        None => digest.is_none().then_some("latest"),
    }
}

/// The digest that the image has in the repository of the reference.
pub(super) fn own_digest<'a>(reference: &str, repo_digests: &'a [String]) -> Option<&'a str> {
    if is_id(reference) {
        return None;
    }
    let repository = repository(reference);
    let own: Vec<&str> = repo_digests
        .iter()
        .filter_map(|digest| digest.split_once('@'))
        .filter(|(named, _)| self::repository(named) == repository)
        .map(|(_, digest)| digest)
        .collect();
    let pinned = reference.split_once('@').map(|(_, digest)| digest);
    let is_pinned = |digest: &&&str| Some(**digest) == pinned;
    own.iter().find(is_pinned).or_else(|| own.first()).copied()
}

/// The repository with its registry, as `docker.io/library/nginx` for `nginx:1`.
fn repository(reference: &str) -> String {
    let named = reference.split('@').next().unwrap_or_default();
    let named = split_tag(named).0;
    let first = named.split('/').next().unwrap_or_default();
    // What has neither dot nor port and is not localhost is a name on Docker Hub.
    let has_registry = named.contains('/') && (first.contains(['.', ':']) || first == "localhost");
    match (has_registry, named.contains('/')) {
        (true, _) => match named.strip_prefix("index.docker.io/") {
            Some(rest) => repository(rest),
            None => match named.strip_prefix("docker.io/") {
                Some(rest) if !rest.contains('/') => format!("docker.io/library/{rest}"),
                _ => named.to_owned(),
            },
        },
        (false, true) => format!("docker.io/{named}"),
        (false, false) => format!("docker.io/library/{named}"),
    }
}

/// A colon before a slash belongs to a port.
fn split_tag(named: &str) -> (&str, Option<&str>) {
    match named.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (named, None),
    }
}

fn is_id(reference: &str) -> bool {
    let digits = reference.strip_prefix("sha256:").unwrap_or(reference);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_told_from_a_port_and_a_digest() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (reference, expected) in [
            ("nginx", Some("latest")),
            ("nginx:1.27", Some("1.27")),
            ("127.0.0.1:5000/lab/app", Some("latest")),
            ("127.0.0.1:5000/lab/app:2", Some("2")),
            (&format!("nginx@{digest}"), None),
            (&format!("nginx:1@{digest}"), Some("1")),
            (&digest, None),
        ] {
            assert_eq!(tag(reference), expected, "{reference}");
        }
    }

    #[test]
    fn only_the_digest_of_the_own_repository_is_the_containers() {
        let digests = [
            "registry.example:5000/mirror/nginx@sha256:1".to_owned(),
            "nginx@sha256:2".to_owned(),
            "docker.io/library/nginx@sha256:3".to_owned(),
        ];
        assert_eq!(own_digest("nginx:1.27", &digests), Some("sha256:2"));
        assert_eq!(own_digest("docker.io/nginx", &digests), Some("sha256:2"));
        assert_eq!(own_digest("nginx:1@sha256:3", &digests), Some("sha256:3"));
        assert_eq!(
            own_digest("registry.example:5000/mirror/nginx", &digests),
            Some("sha256:1")
        );
        assert_eq!(own_digest("built/here:1", &digests), None);
    }
}
