//! Which images are databases, whose major versions do not open the data of the one before.

/// Last parts of the names of repositories of databases and stores whose data a new major version may not read, or
/// changes so that the old one cannot.
const NAMES: [&str; 27] = [
    "arangodb",
    "cassandra",
    "clickhouse",
    "clickhouse-server",
    "cockroach",
    "couchbase",
    "couchdb",
    "elasticsearch",
    "etcd",
    "influxdb",
    "mariadb",
    "mariadb-galera",
    "minio",
    "mongo",
    "mongodb",
    "mysql",
    "mysql-server",
    "neo4j",
    "opensearch",
    "percona",
    "percona-server",
    "postgis",
    "postgres",
    "postgresql",
    "redis",
    "timescaledb",
    "valkey",
];

/// Whether an image reference names a database, by the last part of its repository's name.
#[must_use]
pub fn is_database(image: &str) -> bool {
    let name = repository(image);
    let last = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
    // `postgres-alpine`, `mysql8`, `pgvector` of builders who add to a name.
    let stem =
        last.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == '-');
    NAMES
        .iter()
        .any(|known| *known == stem || last.strip_prefix(known).is_some_and(|rest| rest.starts_with('-')))
        || ["pgvector", "timescaledb-ha", "spilo", "supabase-postgres"].contains(&stem)
}

/// The reference without its tag and digest.
pub(crate) fn repository(image: &str) -> &str {
    let image = image.split('@').next().unwrap_or(image);
    match image.rsplit_once(':') {
        // A colon before the last slash belongs to a port.
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

/// The tag of a reference, if it names one.
pub(crate) fn tag(image: &str) -> Option<&str> {
    let image = image.split('@').next().unwrap_or(image);
    let (_, tag) = image.rsplit_once(':')?;
    (!tag.contains('/')).then_some(tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_known_by_the_last_part_of_their_name() {
        for image in [
            "postgres",
            "postgres:16",
            "docker.io/library/postgres:16.2-alpine@sha256:00",
            "localhost:5000/team/mysql:8",
            "bitnami/postgresql",
            "mongo",
            "redis:7",
            "pgvector/pgvector:pg16",
            "quay.io/minio/minio",
            "ghcr.io/x/postgres-backup",
        ] {
            assert!(is_database(image), "{image}");
        }
        for image in [
            "nginx",
            "localhost:5000/nginx",
            "postgrest/postgrest:v12",
            "adminer",
            "redisinsight",
        ] {
            assert!(!is_database(image), "{image}");
        }
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(tag("localhost:5000/nginx"), None);
        assert_eq!(repository("localhost:5000/nginx"), "localhost:5000/nginx");
        assert_eq!(tag("localhost:5000/nginx:1.27@sha256:aa"), Some("1.27"));
    }
}
