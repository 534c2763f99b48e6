//! The command line: arguments and environment to settings, settings to the part that does the work, its result to an
//! exit code.
//!
//! Exit codes: 0 done, 1 failed, 2 the command line or the settings cannot be used, 130 told twice to end. What was asked for goes to standard
//! output and nothing else does; everything else goes to standard error.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use camino::Utf8PathBuf;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use muster_base::{ErrorChain, log, shutdown};
use nix::sys::stat::{Mode, umask};
use tokio::signal::unix::{SignalKind, signal};

use crate::app::audit::Verdict;
use crate::config::{Config, ConfigError, DEFAULT_DATA_DIR, Legacy, Overrides};
use crate::run;

mod backup;
mod local;
mod trust;

/// The command line or the settings cannot be used.
const EXIT_USAGE: u8 = 2;
/// Told to end a second time, and ended without order.
const EXIT_AT_ONCE: i32 = 130;
/// Which log lines are written unless told otherwise. Steps of the schema are told as a whole.
const RUN_FILTER: &str = "info,sea_orm_migration=warn";
/// How long the end waits for work on files that may hang.
const END_MAX: Duration = Duration::from_millis(500);

/// Takes the reports of agents, keeps them, and answers what is asked about them.
#[derive(Debug, Parser)]
#[command(name = "muster-controller", version)]
struct Cli {
    /// Settings; without it /etc/muster/controller.toml if that exists.
    #[arg(long, global = true, env = "MUSTER_CONFIG", value_name = "FILE")]
    config: Option<Utf8PathBuf>,
    /// Where everything is kept [default: /var/lib/muster for root, else $XDG_DATA_HOME/muster].
    #[arg(long, global = true, env = "MUSTER_DATA_DIR", value_name = "DIR")]
    data_dir: Option<Utf8PathBuf>,
    /// The file with the key that seals secrets [default: DIR/secret.key].
    #[arg(long, global = true, env = "MUSTER_SECRET_KEY_FILE", value_name = "FILE")]
    secret_key_file: Option<Utf8PathBuf>,
    /// The state database; this version knows only SQLite in the data folder.
    #[arg(
        long,
        global = true,
        env = "MUSTER_DATABASE_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
    /// Log lines for people (text) or programs (json); instead of the settings'.
    #[arg(long, global = true, env = "MUSTER_LOG_FORMAT", value_name = "text|json")]
    log_format: Option<log::Format>,
    /// Which log lines are written, such as debug or muster_controller=debug; instead of the settings'.
    #[arg(long, global = true, env = "MUSTER_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Checks the settings and ends.
    #[arg(long, global = true)]
    check_config: bool,
    /// Prints the settings with their defaults and ends.
    #[arg(long, global = true)]
    print_default_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the controller until told to end.
    Run(Run),
    /// Enrolment tokens, which make agents of servers.
    #[command(subcommand)]
    Token(Token),
    /// Access tokens of the HTTP API.
    #[command(subcommand)]
    Session(Session),
    /// The audit log: who did what.
    #[command(subcommand)]
    Audit(Audit),
    /// Makes a backup of everything but the sealing key; also while the controller runs.
    Backup(BackupFile),
    /// Restores a backup into the data folder, which no controller may be using.
    Restore(BackupFile),
    /// Checks that a backup is whole, and prints what is in it as JSON.
    Verify(BackupFile),
    /// Agents: which there are, and the decision about those that may not connect until somebody decides.
    #[command(subcommand)]
    Agent(trust::Agent),
    /// The certificate authority, and the replacement of its root.
    #[command(subcommand)]
    Ca(trust::Ca),
    /// Prints how the running controller is, as JSON.
    Status,
}

#[derive(Debug, Args)]
struct BackupFile {
    /// The backup.
    #[arg(value_name = "FILE")]
    file: Utf8PathBuf,
}

#[derive(Debug, Args)]
struct Run {
    /// Where people and programs connect; with TLS unless it is loopback [default: 127.0.0.1:8480].
    #[arg(long, env = "MUSTER_HTTP", value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Where agents connect [default: 0.0.0.0:8481].
    #[arg(long, env = "MUSTER_GRPC", value_name = "ADDR")]
    grpc: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
enum Token {
    /// Makes an enrolment token and prints it; also while the controller runs.
    Create(TokenCreate),
}

#[derive(Debug, Args)]
struct TokenCreate {
    /// How long it lives, such as 30m; 1s to 24h [default: the setting enrolment.token_ttl].
    #[arg(long, value_name = "DURATION", value_parser = parse_ttl)]
    ttl: Option<Duration>,
    /// How many agents it may make.
    #[arg(long, value_name = "N", default_value_t = 1)]
    uses: u32,
    /// Binds it to this server, whose former agent it replaces; without it each use makes a server.
    #[arg(long, value_name = "ID")]
    server: Option<i64>,
}

#[derive(Debug, Subcommand)]
enum Session {
    /// Makes an access token of the first admin and prints it; also while the controller runs.
    Create,
}

#[derive(Debug, Subcommand)]
enum Audit {
    /// Checks that no entry was changed, removed, moved or cut off; ends with 1 if one was. Also while the controller
    /// runs.
    Verify,
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    // Whatever is made holds secrets or facts about servers: for the own account alone.
    umask(Mode::from_bits_truncate(0o077));
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            // Logging may not have begun; whoever typed this reads standard error either way.
            let _ = writeln!(io::stderr(), "muster-controller: {}", ErrorChain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    if cli.print_default_config {
        return print(&Config::default_text());
    }
    let config = match load(&cli) {
        Ok(config) => config,
        Err(error) => {
            let _ = writeln!(io::stderr(), "muster-controller: {}", ErrorChain(&error));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    if cli.check_config {
        return print("settings are usable\n");
    }
    let filter = cli.log.as_deref().or(config.log.filter.as_deref());
    let default = match cli.command {
        Some(Command::Run(_)) => RUN_FILTER,
        // A single answer needs no story around it.
        _ => "warn",
    };
    log::init(
        cli.log_format.unwrap_or(config.log.format),
        Some(filter.unwrap_or(default)),
    );
    match cli.command {
        None => {
            // Nobody asked for it, so it is no output.
            let _ = write!(io::stderr(), "{}", Cli::command().render_help());
            Ok(ExitCode::from(EXIT_USAGE))
        }
        Some(Command::Run(_)) => in_runtime(async {
            let stop = shutdown::on_signal().context("install signal handlers")?;
            tokio::spawn(end_at_second_signal(stop.clone()));
            run::run(config, stop).await?;
            Ok(ExitCode::SUCCESS)
        }),
        Some(Command::Token(Token::Create(wanted))) => in_runtime(async {
            let token = local::create_token(&config, wanted.ttl, wanted.uses, wanted.server).await?;
            print(&format!("{token}\n"))
        }),
        Some(Command::Session(Session::Create)) => in_runtime(async {
            let token = local::create_session(&config).await?;
            print(&format!("{token}\n"))
        }),
        Some(Command::Audit(Audit::Verify)) => in_runtime(async {
            let verdict = local::verify_audit(&config).await?;
            print(&verdict_text(&verdict))?;
            Ok(if verdict.is_intact() {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }),
        Some(Command::Backup(wanted)) => in_runtime(async {
            let made = backup::make(&config, &wanted.file).await?;
            print(&format!("{made}\n"))
        }),
        Some(Command::Restore(wanted)) => in_runtime(async {
            let restored = backup::restore(&config, &wanted.file).await?;
            print(&format!("{restored}\n"))
        }),
        Some(Command::Verify(wanted)) => print(&format!("{}\n", backup::verify(&wanted.file)?)),
        Some(Command::Agent(asked)) => {
            in_runtime(async { print(&local::trust(&config, asked.into()).await?) })
        }
        Some(Command::Ca(asked)) => in_runtime(async { print(&local::trust(&config, asked.into()).await?) }),
        Some(Command::Status) => in_runtime(async {
            let status = local::status(&config).await?;
            print(&format!("{status}\n"))
        }),
    }
}

/// Ends the process at once if it is told to end while it ends: nothing acknowledged is lost by that.
async fn end_at_second_signal(stop: shutdown::CancellationToken) {
    stop.cancelled().await;
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::warn!("told to end again, ending at once");
    std::process::exit(EXIT_AT_ONCE);
}

/// What was found, a line each.
fn verdict_text(verdict: &Verdict) -> String {
    let mut text: String = verdict
        .damage
        .iter()
        .map(|damage| format!("{damage}\n"))
        .collect();
    let untold = verdict.damage_count - verdict.damage.len();
    if 0 < untold {
        text += &format!("and {untold} more\n");
    }
    if 0 < verdict.lost_by_restore {
        text += &format!(
            "{} entries were not in a backup that was restored\n",
            verdict.lost_by_restore
        );
    }
    let state = if verdict.is_intact() { "intact" } else { "DAMAGED" };
    text + &format!(
        "{state}: {} entries, {} to {}, anchored up to {}\n",
        verdict.entries, verdict.first_id, verdict.last_id, verdict.anchored_id
    )
}

/// A time to live; tokens know whole seconds.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if ttl < Duration::from_secs(1) {
        return Err("a token lives at least 1s".to_owned());
    }
    Ok(ttl)
}

fn load(cli: &Cli) -> Result<Config, ConfigError> {
    let (http, agents) = match &cli.command {
        Some(Command::Run(run)) => (run.http, run.grpc),
        _ => (None, None),
    };
    let overrides = Overrides {
        data_dir: cli.data_dir.clone(),
        http,
        agents,
        database_url: cli.database_url.clone(),
        secret_key_file: cli.secret_key_file.clone(),
        legacy: legacy(),
    };
    Config::load(cli.config.as_deref(), overrides, &home())
}

/// What the environment says under names of another tool.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read here and nowhere else"
)]
fn legacy() -> Legacy {
    Legacy::read(|name| std::env::var(name).ok())
}

/// Where the data is unless something else is said.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment is read here and nowhere else"
)]
fn home() -> Utf8PathBuf {
    if nix::unistd::geteuid().is_root() {
        return DEFAULT_DATA_DIR.into();
    }
    let named = std::env::var("XDG_DATA_HOME")
        .ok()
        .filter(|folder| !folder.is_empty());
    let own = || {
        std::env::var("HOME")
            .ok()
            .map(|home| format!("{home}/.local/share"))
    };
    match named.or_else(own) {
        Some(folder) => Utf8PathBuf::from(folder).join("muster"),
        None => DEFAULT_DATA_DIR.into(),
    }
}

fn in_runtime(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(work);
    // Work on a file that hangs must not hold up the end.
    runtime.shutdown_timeout(END_MAX);
    result
}

/// Writes to standard output. Whoever closes it early, as `head` does, has seen enough.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_token_that_would_not_live_is_refused() {
        let parse = |ttl| Cli::try_parse_from(["muster-controller", "token", "create", "--ttl", ttl]);
        assert!(parse("0s").is_err() && parse("999ms").is_err());
        assert!(parse("1s").is_ok() && parse("24h").is_ok());
    }

    #[test]
    fn the_data_folder_may_stand_after_the_command() {
        let cli = Cli::try_parse_from([
            "muster-controller",
            "token",
            "create",
            "--data-dir",
            "/x",
            "--uses",
            "3",
        ])
        .unwrap();
        assert_eq!(cli.data_dir.as_deref(), Some("/x".into()));
    }
}
