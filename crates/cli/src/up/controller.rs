//! The controller as a child: how it is started, and when it is ready.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::time::Duration;

use camino::Utf8Path;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::ChildStdout;
use tracing::info;

use super::Options;
use super::api::{Api, ApiError};
use super::child::{Child, ChildError, Start};
use super::programs::Programs;

const NAME: &str = "controller";
/// Between two questions whether it is ready.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// A long start (many reports to apply again) is mentioned this often.
const MENTION_EVERY: Duration = Duration::from_secs(30);

/// Where a controller that is ready answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) http: SocketAddr,
    pub(super) agents: SocketAddr,
}

/// Why there is no controller.
#[derive(Debug, Error)]
pub(crate) enum ControllerError {
    #[error(
        "{address} cannot be listened on; if another program (or another muster) uses it, stop that or choose \
         another address with {option}"
    )]
    Address {
        address: SocketAddr,
        option: &'static str,
        source: io::Error,
    },
    #[error("read what the controller prints")]
    Listen { source: io::Error },
    #[error(
        "the controller said {line:?} where it should have said where it listens; are all programs of one version?"
    )]
    Unclear { line: String },
    #[error(
        "the controller's settings want TLS, and `up` watches it over plain HTTP: take `tls` and `certificate` out of \
         [http], or run muster-controller and muster-agent as services"
    )]
    Tls,
    #[error("ask the controller whether it is ready")]
    Ask(#[source] ApiError),
    #[error(transparent)]
    Child(#[from] ChildError),
}

/// How a controller is started that listens there.
pub(super) fn start(programs: &Programs, data_dir: &Utf8Path, options: &Options, at: Addresses) -> Start {
    let arguments = [
        "run",
        "--data-dir",
        data_dir.as_str(),
        "--http",
        &at.http.to_string(),
        "--grpc",
        &at.agents.to_string(),
        "--log-format",
        options.log_format_word(),
    ];
    Start {
        name: NAME,
        program: programs.controller.clone(),
        arguments: arguments.map(str::to_owned).into(),
    }
}

/// Says in good time, and better than a child could, that an address is taken.
pub(super) fn check_free(options: &Options) -> Result<(), ControllerError> {
    for (address, option) in [(options.http, "--http"), (options.grpc, "--grpc")] {
        let failed = |source| ControllerError::Address {
            address,
            option,
            source,
        };
        drop(TcpListener::bind(address).map_err(failed)?);
    }
    Ok(())
}

/// Waits until a controller that was just started says where it listens, and answers that it is ready.
pub(super) async fn ready(child: &mut Child) -> Result<Addresses, ControllerError> {
    let stdout = child
        .take_stdout()
        .expect("the controller was started with its output heard");
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    let addresses = tokio::select! {
        read = lines.read_line(&mut line) => match read {
            // Nothing more will come: it ends, and why is on its standard error.
            Ok(0) => return Err(ended(child).await),
            Ok(_) if line.starts_with("ready: https://") => return Err(ControllerError::Tls),
            Ok(_) => parse_ready(line.trim()).ok_or_else(|| ControllerError::Unclear { line: line.trim().to_owned() })?,
            Err(source) => return Err(ControllerError::Listen { source }),
        },
        () = mention() => unreachable!("mentioning never ends"),
    };
    tokio::spawn(forward(lines));
    let api = Api::new(reachable(addresses.http)).map_err(ControllerError::Ask)?;
    loop {
        match api.is_ready().await {
            Ok(true) => return Ok(addresses),
            Ok(false) => tokio::time::sleep(ASK_AGAIN).await,
            Err(error) => return Err(ControllerError::Ask(error)),
        }
    }
}

async fn ended(child: &mut Child) -> ControllerError {
    match child.wait().await {
        Ok(status) => ChildError::Failed { name: NAME, status }.into(),
        Err(source) => ChildError::Wait { name: NAME, source }.into(),
    }
}

async fn mention() {
    loop {
        tokio::time::sleep(MENTION_EVERY).await;
        info!("still waiting for the controller to become ready");
    }
}

/// Whatever else it prints is for people, and must not fill the pipe. Where the password is, `up` says itself.
async fn forward(mut lines: BufReader<ChildStdout>) {
    let mut line = String::new();
    while lines.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        if !line.starts_with("admin password: ") {
            eprint!("{line}");
        }
        line.clear();
    }
}

/// Parses `ready: http://ADDR agents: ADDR`.
fn parse_ready(line: &str) -> Option<Addresses> {
    let (http, agents) = line.strip_prefix("ready: http://")?.split_once(" agents: ")?;
    Some(Addresses {
        http: http.parse().ok()?,
        agents: agents.parse().ok()?,
    })
}

/// Where something on this machine reaches who listens there: on all addresses means on loopback too.
pub(super) fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_says_where_both_ports_are() {
        let addresses = parse_ready("ready: http://127.0.0.1:8480 agents: [::1]:8481").unwrap();
        assert_eq!(addresses.http, "127.0.0.1:8480".parse().unwrap());
        assert_eq!(addresses.agents, "[::1]:8481".parse().unwrap());
    }

    #[test]
    fn another_line_is_not_taken_for_it() {
        for line in [
            "",
            "ready: http://127.0.0.1:8480",
            "ready: http://x agents: 127.0.0.1:1",
            "hello",
        ] {
            assert_eq!(parse_ready(line), None, "{line}");
        }
    }

    #[test]
    fn who_listens_everywhere_is_reached_over_loopback() {
        assert_eq!(
            reachable("0.0.0.0:1".parse().unwrap()),
            "127.0.0.1:1".parse().unwrap()
        );
        assert_eq!(reachable("[::]:1".parse().unwrap()), "[::1]:1".parse().unwrap());
        assert_eq!(
            reachable("10.0.0.1:1".parse().unwrap()),
            "10.0.0.1:1".parse().unwrap()
        );
    }

    #[test]
    fn a_port_in_use_is_said_with_the_option_to_change_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let options = Options {
            data_dir: "/nowhere".into(),
            http: taken.local_addr().unwrap(),
            grpc: "127.0.0.1:0".parse().unwrap(),
            is_once: false,
            log_format: muster_base::log::Format::Text,
        };
        let error = check_free(&options).unwrap_err().to_string();
        assert!(
            error.contains("--http") && error.contains(&options.http.to_string()),
            "{error}"
        );
    }
}
