//! What an image's builder says of it, and where people read what has changed.

use std::collections::BTreeMap;

use muster_image::manifest::ImageConfig;
use muster_image::{Reference, database};
use serde::{Deserialize, Serialize};

/// Most characters of a label that are kept.
const LABEL_CHARS_MAX: usize = 500;
/// Repositories whose images do not say where their releases are told.
const KNOWN: &[(&str, &str)] = &[
    (
        "docker.io/library/caddy",
        "https://github.com/caddyserver/caddy/releases",
    ),
    ("docker.io/library/debian", "https://www.debian.org/News/"),
    (
        "docker.io/library/elasticsearch",
        "https://www.elastic.co/docs/release-notes/elasticsearch",
    ),
    (
        "docker.io/library/ghost",
        "https://github.com/TryGhost/Ghost/releases",
    ),
    ("docker.io/library/haproxy", "https://www.haproxy.org/"),
    (
        "docker.io/library/httpd",
        "https://downloads.apache.org/httpd/CHANGES_2.4",
    ),
    (
        "docker.io/library/influxdb",
        "https://github.com/influxdata/influxdb/releases",
    ),
    (
        "docker.io/library/mariadb",
        "https://mariadb.com/kb/en/release-notes/",
    ),
    (
        "docker.io/library/mongo",
        "https://www.mongodb.com/docs/manual/release-notes/",
    ),
    (
        "docker.io/library/mysql",
        "https://dev.mysql.com/doc/relnotes/mysql/en/",
    ),
    ("docker.io/library/nextcloud", "https://nextcloud.com/changelog/"),
    ("docker.io/library/nginx", "https://nginx.org/en/CHANGES"),
    (
        "docker.io/library/node",
        "https://github.com/nodejs/node/releases",
    ),
    ("docker.io/library/php", "https://www.php.net/ChangeLog-8.php"),
    (
        "docker.io/library/postgres",
        "https://www.postgresql.org/docs/release/",
    ),
    (
        "docker.io/library/python",
        "https://docs.python.org/3/whatsnew/changelog.html",
    ),
    (
        "docker.io/library/rabbitmq",
        "https://github.com/rabbitmq/rabbitmq-server/releases",
    ),
    (
        "docker.io/library/redis",
        "https://github.com/redis/redis/releases",
    ),
    (
        "docker.io/library/registry",
        "https://github.com/distribution/distribution/releases",
    ),
    (
        "docker.io/library/traefik",
        "https://github.com/traefik/traefik/releases",
    ),
    (
        "docker.io/library/wordpress",
        "https://wordpress.org/news/category/releases/",
    ),
    (
        "docker.io/grafana/grafana",
        "https://github.com/grafana/grafana/releases",
    ),
    (
        "docker.io/gitea/gitea",
        "https://github.com/go-gitea/gitea/releases",
    ),
    (
        "docker.io/jellyfin/jellyfin",
        "https://github.com/jellyfin/jellyfin/releases",
    ),
    (
        "docker.io/pihole/pihole",
        "https://github.com/pi-hole/docker-pi-hole/releases",
    ),
    (
        "docker.io/portainer/portainer-ce",
        "https://github.com/portainer/portainer/releases",
    ),
    (
        "docker.io/prom/node-exporter",
        "https://github.com/prometheus/node_exporter/releases",
    ),
    (
        "docker.io/prom/prometheus",
        "https://github.com/prometheus/prometheus/releases",
    ),
    (
        "docker.io/timescale/timescaledb",
        "https://github.com/timescale/timescaledb/releases",
    ),
    (
        "docker.io/vaultwarden/server",
        "https://github.com/dani-garcia/vaultwarden/releases",
    ),
    (
        "docker.io/valkey/valkey",
        "https://github.com/valkey-io/valkey/releases",
    ),
];

/// What an image's builder says of it. All of it is the builder's word.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Details {
    /// `org.opencontainers.image.version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// `org.opencontainers.image.source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// `org.opencontainers.image.url`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `org.opencontainers.image.revision`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When it was built. Builders that make the same bytes again write 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Of a database: what decides whether another version reads its data, from the image's own environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database_version: Option<String>,
}

impl Details {
    /// From an image's configuration, and what its manifest is annotated with.
    #[must_use]
    pub fn of(image: &Reference, config: &ImageConfig, annotations: &BTreeMap<String, String>) -> Self {
        let label = |name: &str| {
            let key = format!("org.opencontainers.image.{name}");
            let text = config.labels.get(&key).or_else(|| annotations.get(&key))?;
            bounded(text)
        };
        let variable = database::of(image).and_then(|database| database.environment);
        Self {
            version: label("version"),
            source: label("source"),
            url: label("url"),
            revision: label("revision"),
            created: config.created.as_deref().and_then(bounded),
            database_version: variable.and_then(|name| bounded(config.variable(name)?)),
        }
    }

    /// Where people read what has changed: the releases of the repository an image says it comes from, else what is
    /// known of well-known ones, else the page it names. Only links that a browser can be pointed at.
    #[must_use]
    pub fn release_notes(&self, image: &Reference) -> Option<String> {
        let told = [&self.source, &self.url].into_iter().flatten();
        if let Some(releases) = told.clone().find_map(|link| releases(link)) {
            return Some(releases);
        }
        let name = image.name();
        let known = KNOWN.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, link)| (*link).to_owned())
            .or_else(|| told.clone().find(|link| is_link(link)).cloned())
    }
}

fn bounded(text: &str) -> Option<String> {
    let text = text.trim();
    let is_plain = !text.is_empty() && text.len() <= LABEL_CHARS_MAX && !text.chars().any(char::is_control);
    is_plain.then(|| text.to_owned())
}

fn is_link(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    // A name and a password in front of the host would be shown to everybody.
    rest.is_some_and(|rest| {
        let host = rest.split('/').next().unwrap_or_default();
        host.contains('.') && !host.contains('@') && !text.contains(['"', '<', '>', '\\', ' '])
    })
}

/// The page with releases of a repository on GitHub, GitLab, Codeberg or a Gitea.
fn releases(link: &str) -> Option<String> {
    let link = link.strip_prefix("git+").unwrap_or(link);
    let link = match link.strip_prefix("git@") {
        Some(rest) => format!("https://{}", rest.replacen(':', "/", 1)),
        None => link.replacen("git://", "https://", 1),
    };
    if !is_link(&link) {
        return None;
    }
    let rest = link.split_once("://")?.1;
    let rest = rest.split(['?', '#']).next()?;
    let mut parts = rest.split('/').filter(|part| !part.is_empty());
    let host = parts.next()?.trim_start_matches("www.");
    let (owner, project) = (parts.next()?, parts.next()?);
    let project = project.strip_suffix(".git").unwrap_or(project);
    match host {
        "github.com" | "codeberg.org" | "gitea.com" => {
            Some(format!("https://{host}/{owner}/{project}/releases"))
        }
        _ if host == "gitlab.com" || host.starts_with("gitlab.") => {
            // Groups may be nested; what is behind `/-/` is a page within the project.
            let path = rest.split_once('/')?.1;
            let path = path.split("/-/").next()?.trim_end_matches('/');
            let path = path.strip_suffix(".git").unwrap_or(path);
            Some(format!("https://{host}/{path}/-/releases"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(image: &str, source: &str) -> Option<String> {
        let details = Details {
            source: Some(source.to_owned()),
            ..Details::default()
        };
        details.release_notes(&image.parse().unwrap())
    }

    #[test]
    fn release_notes_are_where_an_images_source_is() {
        for (source, expected) in [
            (
                "https://github.com/org/app",
                Some("https://github.com/org/app/releases"),
            ),
            (
                "https://github.com/org/app.git",
                Some("https://github.com/org/app/releases"),
            ),
            (
                "https://github.com/org/app/tree/v1/docker",
                Some("https://github.com/org/app/releases"),
            ),
            (
                "git@github.com:org/app.git",
                Some("https://github.com/org/app/releases"),
            ),
            (
                "git://github.com/org/app",
                Some("https://github.com/org/app/releases"),
            ),
            (
                "https://gitlab.com/group/sub/app/-/tree/main",
                Some("https://gitlab.com/group/sub/app/-/releases"),
            ),
            (
                "https://gitlab.example.org/group/app",
                Some("https://gitlab.example.org/group/app/-/releases"),
            ),
            ("https://example.org/app", Some("https://example.org/app")),
            ("javascript:alert(1)", None),
            ("https://user:secret@example.org/x", None),
            ("https://example.org/\"onclick", None),
            ("https://github.com", Some("https://github.com")),
        ] {
            assert_eq!(notes("example.org/app", source).as_deref(), expected, "{source}");
        }
        assert_eq!(
            notes("nginx", "nonsense").as_deref(),
            Some("https://nginx.org/en/CHANGES")
        );
    }

    #[test]
    fn labels_are_bounded_and_a_databases_version_comes_from_its_environment() {
        let config = ImageConfig {
            labels: BTreeMap::from([
                ("org.opencontainers.image.version".to_owned(), "16.4".to_owned()),
                ("org.opencontainers.image.source".to_owned(), "x".repeat(501)),
            ]),
            environment: vec!["PG_MAJOR=16".to_owned(), "POSTGRES_PASSWORD=hidden".to_owned()],
            ..ImageConfig::default()
        };
        let details = Details::of(&"postgres".parse().unwrap(), &config, &BTreeMap::new());
        assert_eq!(details.version.as_deref(), Some("16.4"));
        assert_eq!(
            (details.source.as_ref(), details.database_version.as_deref()),
            (None, Some("16"))
        );
        assert!(!serde_json::to_string(&details).unwrap().contains("hidden"));
        let other = Details::of(&"nginx".parse().unwrap(), &config, &BTreeMap::new());
        assert_eq!(other.database_version, None);
    }
}
