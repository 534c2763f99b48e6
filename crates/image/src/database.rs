//! Databases: images whose data a new major version may not read, so that an update can lose them.

use crate::reference::Reference;
use crate::version::TagVersion;

/// A database, and how its versions say that data must be migrated.
#[derive(Debug, PartialEq, Eq)]
pub struct Database {
    /// What people call it.
    pub name: &'static str,
    /// The variable in the image's own environment that says its version, where there is one: tags such as `latest` say
    /// none.
    pub environment: Option<&'static str>,
    rule: Rule,
    /// `registry/path` without Docker Hub's name and `library`.
    images: &'static [&'static str],
    /// Last parts of the names that mirrors and builders give it.
    names: &'static [&'static str],
}

#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// The first so many numbers.
    Numbers(usize),
    /// The first, and before version 10 the first two.
    Postgres,
    /// The number behind `pg` if there is one, as builds around PostgreSQL write it.
    PostgresInSuffix,
}

/// Whether data must be migrated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jump {
    /// Both versions read the same data.
    Same,
    /// They do not.
    Major,
    /// At least one of the two cannot be told. Whoever protects data treats it as a major one.
    Unknown,
}

/// The databases that are known.
pub const ALL: &[Database] = &[
    Database {
        name: "PostgreSQL",
        environment: Some("PG_MAJOR"),
        rule: Rule::Postgres,
        images: &[
            "postgres",
            "bitnami/postgresql",
            "bitnamilegacy/postgresql",
            "bitnami/postgresql-repmgr",
            "cimg/postgres",
            "circleci/postgres",
            "ghcr.io/cloudnative-pg/postgresql",
            "postgis/postgis",
            "imresamu/postgis",
            "public.ecr.aws/docker/library/postgres",
            "registry.hub.docker.com/library/postgres",
            "supabase/postgres",
            "kartoza/postgis",
        ],
        names: &["postgres", "postgresql", "postgis", "spilo", "supabase-postgres"],
    },
    Database {
        name: "PostgreSQL with extensions",
        environment: Some("PG_MAJOR"),
        rule: Rule::PostgresInSuffix,
        images: &[
            "timescale/timescaledb",
            "timescale/timescaledb-ha",
            "pgvector/pgvector",
            "ankane/pgvector",
            "tensorchord/pgvecto-rs",
            "ghcr.io/immich-app/postgres",
            "ghcr.io/tensorchord/vchord-postgres",
            "tensorchord/vchord-postgres",
            "citusdata/citus",
            "paradedb/paradedb",
        ],
        names: &["timescaledb", "timescaledb-ha", "pgvector"],
    },
    Database {
        name: "MySQL",
        environment: Some("MYSQL_MAJOR"),
        rule: Rule::Numbers(2),
        images: &[
            "mysql",
            "mysql/mysql-server",
            "container-registry.oracle.com/mysql/community-server",
            "bitnami/mysql",
            "bitnamilegacy/mysql",
            "percona",
            "percona/percona-server",
            "percona/percona-xtradb-cluster",
            "cimg/mysql",
            "public.ecr.aws/docker/library/mysql",
        ],
        names: &["mysql", "mysql-server", "percona", "percona-server"],
    },
    Database {
        name: "MariaDB",
        environment: Some("MARIADB_VERSION"),
        rule: Rule::Numbers(2),
        images: &[
            "mariadb",
            "bitnami/mariadb",
            "bitnami/mariadb-galera",
            "bitnamilegacy/mariadb",
            "linuxserver/mariadb",
            "lscr.io/linuxserver/mariadb",
            "ghcr.io/linuxserver/mariadb",
            "quay.io/mariadb-foundation/mariadb-devel",
            "yobasystems/alpine-mariadb",
            "public.ecr.aws/docker/library/mariadb",
        ],
        names: &["mariadb", "mariadb-galera"],
    },
    Database {
        name: "MongoDB",
        environment: Some("MONGO_MAJOR"),
        rule: Rule::Numbers(2),
        images: &[
            "mongo",
            "mongodb/mongodb-community-server",
            "mongodb/mongodb-enterprise-server",
            "bitnami/mongodb",
            "bitnamilegacy/mongodb",
            "percona/percona-server-mongodb",
            "public.ecr.aws/docker/library/mongo",
        ],
        names: &["mongo", "mongodb"],
    },
    Database {
        name: "Redis",
        environment: Some("REDIS_VERSION"),
        rule: Rule::Numbers(1),
        images: &[
            "redis",
            "redis/redis-stack",
            "redis/redis-stack-server",
            "bitnami/redis",
            "bitnamilegacy/redis",
            "public.ecr.aws/docker/library/redis",
        ],
        names: &["redis"],
    },
    Database {
        name: "Valkey",
        environment: Some("VALKEY_VERSION"),
        rule: Rule::Numbers(1),
        images: &["valkey/valkey", "bitnami/valkey", "ghcr.io/valkey-io/valkey"],
        names: &["valkey"],
    },
    Database {
        name: "Elasticsearch",
        environment: None,
        rule: Rule::Numbers(1),
        images: &[
            "elasticsearch",
            "elastic/elasticsearch",
            "docker.elastic.co/elasticsearch/elasticsearch",
            "bitnami/elasticsearch",
        ],
        names: &["elasticsearch"],
    },
    Database {
        name: "OpenSearch",
        environment: None,
        rule: Rule::Numbers(1),
        images: &["opensearchproject/opensearch", "bitnami/opensearch"],
        names: &["opensearch"],
    },
    Database {
        name: "InfluxDB",
        environment: Some("INFLUXDB_VERSION"),
        rule: Rule::Numbers(1),
        images: &["influxdb", "quay.io/influxdb/influxdb", "bitnami/influxdb"],
        names: &["influxdb"],
    },
    Database {
        name: "ClickHouse",
        environment: None,
        rule: Rule::Numbers(1),
        images: &["clickhouse", "clickhouse/clickhouse-server", "bitnami/clickhouse"],
        names: &["clickhouse", "clickhouse-server"],
    },
    Database {
        name: "Cassandra",
        environment: Some("CASSANDRA_VERSION"),
        rule: Rule::Numbers(2),
        images: &["cassandra", "bitnami/cassandra", "scylladb/scylla"],
        names: &["cassandra"],
    },
    Database {
        name: "CouchDB",
        environment: None,
        rule: Rule::Numbers(1),
        images: &["couchdb", "apache/couchdb", "bitnami/couchdb"],
        names: &["couchdb"],
    },
    Database {
        name: "Couchbase",
        environment: None,
        rule: Rule::Numbers(1),
        images: &["couchbase", "couchbase/server"],
        names: &["couchbase"],
    },
    Database {
        name: "CockroachDB",
        environment: None,
        rule: Rule::Numbers(2),
        images: &["cockroachdb/cockroach"],
        names: &["cockroach"],
    },
    Database {
        name: "Neo4j",
        environment: None,
        rule: Rule::Numbers(1),
        images: &["neo4j", "bitnami/neo4j"],
        names: &["neo4j"],
    },
    Database {
        name: "ArangoDB",
        environment: Some("ARANGO_VERSION"),
        rule: Rule::Numbers(2),
        images: &["arangodb", "arangodb/arangodb"],
        names: &["arangodb"],
    },
    Database {
        name: "Microsoft SQL Server",
        environment: None,
        rule: Rule::Numbers(1),
        images: &["mcr.microsoft.com/mssql/server"],
        names: &[],
    },
    Database {
        name: "etcd",
        environment: None,
        rule: Rule::Numbers(2),
        images: &[
            "quay.io/coreos/etcd",
            "gcr.io/etcd-development/etcd",
            "bitnami/etcd",
        ],
        names: &["etcd"],
    },
    Database {
        name: "MinIO",
        environment: None,
        // Tags are dates of releases.
        rule: Rule::Numbers(2),
        images: &["minio/minio", "quay.io/minio/minio", "bitnami/minio"],
        names: &["minio"],
    },
];

/// What is built around a database and named after it, such as `postgres-ha`: its versions may be its own.
static DERIVED: Database = Database {
    name: "built around a database",
    environment: None,
    rule: Rule::Numbers(1),
    images: &[],
    names: &[],
};

/// The database an image is: one of the usual images, or else one that has its name, as those of mirrors and builders
/// have. Rather a tool that is named after a database is taken for one than a database for none.
#[must_use]
pub fn of(image: &Reference) -> Option<&'static Database> {
    let name = image.name();
    let name = name.strip_prefix("docker.io/").unwrap_or(&name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let usual = ALL.iter().find(|database| database.images.contains(&name));
    usual.or_else(|| by_name(name.rsplit('/').next().unwrap_or(name)))
}

fn by_name(last: &str) -> Option<&'static Database> {
    // `mysql8`, `postgres-16`.
    let stem =
        last.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == '-');
    let same = ALL
        .iter()
        .find(|database| database.names.contains(&last) || database.names.contains(&stem));
    let mut names = ALL.iter().flat_map(|database| database.names);
    same.or_else(|| {
        let is_derived = names.any(|name| last.strip_prefix(name).is_some_and(|rest| rest.starts_with('-')));
        is_derived.then_some(&DERIVED)
    })
}

impl Database {
    /// Whether data must be migrated between two versions, each a tag or what the image's environment says.
    #[must_use]
    pub fn jump(&self, from: &str, to: &str) -> Jump {
        match (self.major(from), self.major(to)) {
            (Some(from), Some(to)) if from == to => Jump::Same,
            (Some(_), Some(_)) => Jump::Major,
            _ => Jump::Unknown,
        }
    }

    /// The part of a version that data depends on; `None` if the text does not say all of it.
    fn major(&self, version: &str) -> Option<Vec<u64>> {
        if self.rule == Rule::PostgresInSuffix
            && let Some(major) = postgres_behind(version)
        {
            return Some(vec![major]);
        }
        let numbers = TagVersion::parse(version)?.numbers().to_vec();
        let wanted = match self.rule {
            Rule::Numbers(wanted) => wanted,
            Rule::Postgres if 10 <= numbers[0] => 1,
            Rule::Postgres => 2,
            // A bare number is what the environment says; else the version is that of the extension.
            Rule::PostgresInSuffix if numbers.len() == 1 && 10 <= numbers[0] => 1,
            Rule::PostgresInSuffix => return None,
        };
        numbers.get(..wanted).map(<[u64]>::to_vec)
    }
}

/// 16 in `latest-pg16`, `2.17.2-pg16-oss`, `pg16`.
fn postgres_behind(version: &str) -> Option<u64> {
    let word = version
        .split(['-', '_'])
        .find_map(|word| word.strip_prefix("pg"))?;
    word.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_known_under_their_usual_names() {
        for (image, name) in [
            ("postgres:16", Some("PostgreSQL")),
            ("docker.io/library/postgres", Some("PostgreSQL")),
            ("lscr.io/linuxserver/mariadb:10", Some("MariaDB")),
            ("bitnami/mongodb", Some("MongoDB")),
            ("nginx", None),
            ("example.org/mirror/postgres", Some("PostgreSQL")),
            ("localhost:5000/team/mysql8:8.0", Some("MySQL")),
            ("pgvector/pgvector:pg16", Some("PostgreSQL with extensions")),
            ("quay.io/minio/minio", Some("MinIO")),
            ("ghcr.io/x/postgres-backup", Some("built around a database")),
            ("postgrest/postgrest:v12", None),
            ("localhost:5000/nginx", None),
            ("adminer", None),
            ("redisinsight", None),
        ] {
            let found = of(&image.parse().unwrap()).map(|database| database.name);
            assert_eq!(found, name, "{image}");
        }
        for image in ALL.iter().flat_map(|database| database.images) {
            let reference: Reference = image.parse().unwrap();
            assert!(of(&reference).is_some(), "{image}");
        }
    }

    #[test]
    fn what_data_depends_on_is_told_for_each_database() {
        for (image, from, to, jump) in [
            ("postgres", "16.1", "16.4-alpine", Jump::Same),
            ("postgres", "16", "17", Jump::Major),
            ("postgres", "9.5.1", "9.6.0", Jump::Major),
            ("postgres", "16", "latest", Jump::Unknown),
            ("mysql", "8.0.36", "8.0.40", Jump::Same),
            ("mysql", "8.0.36", "8.4.0", Jump::Major),
            ("mysql", "8", "8", Jump::Unknown),
            ("mariadb", "10.6", "10.11", Jump::Major),
            ("mongo", "6.0.1", "7.0.1", Jump::Major),
            ("redis", "7.0", "7.4", Jump::Same),
            ("redis", "7", "8", Jump::Major),
            ("timescale/timescaledb", "2.15.0-pg15", "2.17.2-pg15", Jump::Same),
            ("timescale/timescaledb", "2.15.0-pg15", "2.15.0-pg16", Jump::Major),
            ("timescale/timescaledb", "latest-pg16", "16", Jump::Same),
            ("pgvector/pgvector", "0.7.0", "0.8.0", Jump::Unknown),
            ("example.org/mirror/mariadb", "10.6", "10.11", Jump::Major),
            ("ghcr.io/x/postgres-backup", "1.2", "1.3", Jump::Same),
            ("ghcr.io/x/postgres-backup", "1.2", "2.0", Jump::Major),
            (
                "minio/minio",
                "RELEASE.2024-10-02",
                "RELEASE.2025-01-20",
                Jump::Unknown,
            ),
        ] {
            let database = of(&image.parse().unwrap()).unwrap();
            assert_eq!(database.jump(from, to), jump, "{image} {from} {to}");
        }
    }
}
