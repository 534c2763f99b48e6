//! `[database]`: where state is kept.

use serde::Deserialize;

use super::Problems;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDatabase {
    url: Option<String>,
}

pub(super) const DEFAULT_TEXT: &str = "[database]\n\
    # Where state is kept. This version keeps it in SQLite in the data folder, and knows no other place.\n\
    # url = \"sqlite\"\n";

impl RawDatabase {
    pub(super) fn validate(self, named: Option<String>, problems: &mut Problems) {
        let Some(url) = named.or(self.url) else { return };
        let message = match url.split(':').next() {
            Some("sqlite") if url == "sqlite" => return,
            Some("sqlite") => "SQLite is kept in the data folder: write \"sqlite\", or leave this out",
            Some("postgres" | "postgresql") => {
                "PostgreSQL comes with a later version: leave this out to use SQLite in the data folder"
            }
            _ => "unknown database: leave this out to use SQLite in the data folder",
        };
        // The URL itself may hold a password.
        problems.note("database.url", &message);
    }
}
