//! Makes this machine's agent known to the controller, once, in the way every other agent is made known.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use serde::Deserialize;
use thiserror::Error;

use super::child::{self, ChildError, Start};
use super::programs::Programs;

/// Long enough for a slow machine, short enough that a forgotten token is worth nothing.
const TOKEN_LIFE: &str = "10m";

/// Why the agent is not known.
#[derive(Debug, Error)]
pub(crate) enum EnrolmentError {
    #[error("write the enrolment token to {path}")]
    WriteToken { path: Utf8PathBuf, source: io::Error },
    #[error("read the agent's identity from {path}")]
    Read { path: Utf8PathBuf, source: io::Error },
    #[error("{path} is damaged; to enrol the agent anew, remove {identity} and start again")]
    Damaged {
        path: Utf8PathBuf,
        identity: Utf8PathBuf,
        source: serde_json::Error,
    },
    #[error(transparent)]
    Child(#[from] ChildError),
}

/// What is read of the agent's identity: only which server it reports for.
#[derive(Debug, Deserialize)]
struct Identity {
    server_id: i64,
}

/// Enrols the agent unless it has an identity; the server it reports for.
pub(super) async fn ensure(
    programs: &Programs,
    data_dir: &Utf8Path,
    agents: SocketAddr,
) -> Result<i64, EnrolmentError> {
    let identity = data_dir.join("agent/identity/identity.json");
    if !identity.exists() {
        enrol(programs, data_dir, agents).await?;
    }
    read_server(&identity)
}

async fn enrol(programs: &Programs, data_dir: &Utf8Path, agents: SocketAddr) -> Result<(), EnrolmentError> {
    let words = [
        "token",
        "create",
        "--data-dir",
        data_dir.as_str(),
        "--ttl",
        TOKEN_LIFE,
    ];
    let create = Start {
        name: "making of an enrolment token",
        program: programs.controller.clone(),
        arguments: words.map(str::to_owned).into(),
    };
    let token = child::answer(programs, &create).await?;
    let path = data_dir.join("enrolment-token");
    write_private(&path, &token).map_err(|source| EnrolmentError::WriteToken {
        path: path.clone(),
        source,
    })?;
    let agent_dir = data_dir.join("agent");
    let address = agents.to_string();
    let words = [
        "enroll",
        "--controller",
        &address,
        "--token-file",
        path.as_str(),
        "--data-dir",
        agent_dir.as_str(),
    ];
    let enroll = Start {
        name: "enrolment of the agent",
        program: programs.agent.clone(),
        arguments: words.map(str::to_owned).into(),
    };
    let enrolled = child::answer(programs, &enroll).await;
    // The agent removes a used-up token itself; one that is left after a failure must not lie around either.
    let _ = std::fs::remove_file(&path);
    enrolled?;
    Ok(())
}

/// Writes a file that nobody else can read, also not for a moment.
fn write_private(path: &Utf8Path, text: &str) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}

fn read_server(path: &Utf8Path) -> Result<i64, EnrolmentError> {
    let text = std::fs::read_to_string(path).map_err(|source| EnrolmentError::Read {
        path: path.into(),
        source,
    })?;
    let identity: Identity = serde_json::from_str(&text).map_err(|source| EnrolmentError::Damaged {
        path: path.into(),
        identity: path.parent().unwrap_or(path).into(),
        source,
    })?;
    Ok(identity.server_id)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn nobody_else_can_read_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("token");
        std::fs::write(&path, "an old one that all may read").unwrap();
        write_private(&path, "secret").unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "secret");
    }

    #[test]
    fn the_server_is_read_from_the_agents_identity() {
        let folder = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(folder.path()).unwrap().join("identity.json");
        std::fs::write(&path, r#"{"agent_id":"x","server_id":7,"more":true}"#).unwrap();
        assert_eq!(read_server(&path).unwrap(), 7);
        std::fs::write(&path, "{").unwrap();
        assert!(
            read_server(&path)
                .unwrap_err()
                .to_string()
                .contains("enrol the agent anew")
        );
    }
}
