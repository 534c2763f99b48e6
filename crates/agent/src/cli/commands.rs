//! What an administrator of this server has to say about commands: allowing them, and looking at what was done.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, Subcommand};
use muster_base::ErrorChain;

use super::{data_dir, print};
use crate::command::policy::{self, DEFAULT_PATH, EditError, Rule};
use crate::command::{audit, executor};
use crate::config::Config;

#[derive(Debug, Args)]
pub(super) struct Allow {
    /// The verb, such as container.restart.
    #[arg(value_name = "VERB")]
    verb: String,
    /// Only containers of this name, in which * and ? stand for any text and any character; all without this.
    #[arg(long = "container", value_name = "PATTERN")]
    containers: Vec<String>,
    /// Only of this runtime, such as runtime:docker; all without this.
    #[arg(long = "runtime", value_name = "PATTERN")]
    runtimes: Vec<String>,
    /// For container.update: also to images of this repository, not only of the container's own.
    #[arg(long = "repository", value_name = "REPO")]
    repositories: Vec<String>,
    /// For container.update and container.rollback: also containers that this systemd unit makes, by restarting it; none
    /// without this.
    #[arg(long = "unit", value_name = "PATTERN")]
    units: Vec<String>,
    /// For pool.scrub: only this pool; all without this.
    #[arg(long = "pool", value_name = "PATTERN")]
    pools: Vec<String>,
    /// For container.update and container.rollback: also containers that have rights over this machine.
    #[arg(long)]
    allow_privileged: bool,
    /// For container.remove: also while it runs.
    #[arg(long)]
    allow_force: bool,
    /// For image.prune: also images with a tag.
    #[arg(long)]
    allow_all_images: bool,
    /// The policy; instead of the settings'.
    #[arg(long, value_name = "FILE")]
    policy: Option<Utf8PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Shows what is allowed, and whether the policy counts.
    Show {
        /// The policy; instead of the settings'.
        #[arg(long, value_name = "FILE")]
        policy: Option<Utf8PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Shows the entries, oldest first, one JSON object a line.
    Show(AuditOf),
    /// Checks that no entry was changed, removed or moved.
    Verify {
        #[command(flatten)]
        of: AuditOf,
        /// How many entries the controller knows of: fewer mean that the end was cut off.
        #[arg(long, value_name = "N")]
        at_least: Option<u64>,
    },
}

#[derive(Debug, Args)]
pub(super) struct AuditOf {
    /// Where identity and state are kept.
    #[arg(long, env = "MUSTER_AGENT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<Utf8PathBuf>,
}

/// The policy that counts.
pub(super) fn policy_file(named: Option<Utf8PathBuf>, config: &Config) -> Utf8PathBuf {
    let file = named.or_else(|| config.policy_file.clone());
    file.unwrap_or_else(|| DEFAULT_PATH.into())
}

impl Allow {
    pub(super) fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        let path = policy_file(self.policy, config);
        let rule = Rule {
            verb: self.verb,
            containers: self.containers,
            runtimes: self.runtimes,
            repositories: self.repositories,
            units: self.units,
            pools: self.pools,
            allow_privileged: self.allow_privileged,
            allow_force: self.allow_force,
            allow_all_images: self.allow_all_images,
        };
        match policy::allow(&path, &rule) {
            Ok(loaded) => print(&format!("{path}\n{}", lines(&loaded.policy))),
            Err(error @ EditError::Invalid { .. }) => Ok(super::usage(&ErrorChain(&error).to_string())),
            Err(error) => Err(error.into()),
        }
    }
}

impl Policy {
    pub(super) fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        let Self::Show { policy } = self;
        let path = policy_file(policy, config);
        match policy::load(&path) {
            Ok(loaded) if loaded.sha256.is_empty() => print(&format!(
                "there is no policy {path}: nothing is allowed, this server is only observed\n"
            )),
            Ok(loaded) => print(&format!(
                "{path} (SHA-256 {})\n{}",
                loaded.sha256,
                lines(&loaded.policy)
            )),
            Err(refused) => {
                let _ = writeln!(std::io::stderr(), "muster-agent: {refused}");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}

fn lines(policy: &policy::Policy) -> String {
    let allowed: String = policy
        .describe()
        .iter()
        .map(|line| format!("  {line}\n"))
        .collect();
    format!("{allowed}everything else is refused\n")
}

impl Audit {
    pub(super) fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        match self {
            Self::Show(of) => {
                let mut text = String::new();
                let found = audit::verify(&folder(of, config), |line| {
                    text.push_str(line);
                    text.push('\n');
                });
                print(&text)?;
                found.context("not shown to its end")?;
                Ok(ExitCode::SUCCESS)
            }
            Self::Verify { of, at_least } => {
                let found = audit::verify(&folder(of, config), |_| {})?;
                let said = format!(
                    "{} entries, of {} there have ever been; the newest has the hash {}\n",
                    found.there, found.entries, found.head
                );
                print(&said)?;
                if at_least.is_some_and(|at_least| found.entries < at_least) {
                    anyhow::bail!(
                        "the end of the audit log was cut off: the controller knows of more entries"
                    );
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn folder(of: AuditOf, config: &Config) -> Utf8PathBuf {
    executor::folder(Utf8Path::new(&data_dir(of.data_dir, config)))
}
