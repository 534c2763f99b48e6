//! The command line: arguments and environment to settings, settings to the part that does the work, its result to an
//! exit code.
//!
//! Exit codes: 0 done, 1 failed, 2 the command line or what it names cannot be used. What was asked for goes to
//! standard output and nothing else does; everything else goes to standard error.

use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use camino::{Utf8Path, Utf8PathBuf};
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use muster_base::{ErrorChain, log, shutdown};
use muster_proto::packing;

use crate::alarm::Bell;
use crate::collect::runner::Plan;
use crate::collect::{ALL, Context, Place};
use crate::command::{self, link};
use crate::config::{Config, DEFAULT_DATA_DIR, Source};
use crate::host::Host;
use crate::identity::Machine;
use crate::privileged::{self, Launch, Setup, User};
use crate::{enrol, run, seal};

pub mod address;
mod collect;
mod commands;
mod parse;
mod render;

/// The command line or what it names cannot be used.
const EXIT_USAGE: u8 = 2;
/// Bytes of output that are written at once.
const OUTPUT_BUFFER: usize = 64 * 1024;
/// How long the end waits for file work that may hang.
const END_MAX: Duration = Duration::from_millis(500);

/// Reads one server, and reports to the controller.
#[derive(Debug, Parser)]
#[command(name = "muster-agent", version)]
struct Cli {
    /// Settings; without it /etc/muster/agent.toml if that exists.
    #[arg(long, global = true, env = "MUSTER_AGENT_CONFIG", value_name = "FILE")]
    config: Option<Utf8PathBuf>,
    /// Log lines for people (text) or programs (json); instead of the settings'.
    #[arg(long, global = true, env = "MUSTER_LOG_FORMAT", value_name = "text|json")]
    log_format: Option<log::Format>,
    /// Which log lines are written, such as debug or muster_agent=debug; instead of the settings'.
    #[arg(long, global = true, env = "MUSTER_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Lists the collectors and ends.
    #[arg(long, exclusive = true)]
    list_collectors: bool,
    /// Checks the settings and ends.
    #[arg(long)]
    check_config: bool,
    /// Prints the settings with their defaults and ends.
    #[arg(long, exclusive = true)]
    print_default_config: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Reports to the controller until told to end.
    Run(Run),
    /// Exchanges an enrolment token for an identity.
    #[command(alias = "enrol")]
    Enroll(Enroll),
    /// Removes identity, epoch and spool, so that each copy of this machine enrols anew.
    Seal(Seal),
    /// Collects once, without any controller, and prints what was found.
    Collect(collect::Collect),
    /// Reads a recorded output and prints what it says, as JSON.
    Parse(parse::Parse),
    /// Lets the controller do something on this server, by a rule in the policy.
    Allow(commands::Allow),
    /// What this server lets its controller do.
    #[command(subcommand)]
    Policy(commands::Policy),
    /// What was asked of this server and done.
    #[command(subcommand)]
    Audit(commands::Audit),
    /// The part with rights; started by the agent itself.
    #[command(hide = true)]
    Privileged(Child),
    /// The part that does what is commanded; started by the agent itself.
    #[command(hide = true)]
    Executor(Child),
}

#[derive(Debug, Args)]
struct Child {
    /// The process that started it.
    #[arg(long, value_name = "PID")]
    parent: i32,
}

#[derive(Debug, Args)]
struct Run {
    /// Where identity and state are kept.
    #[arg(long, env = "MUSTER_AGENT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<Utf8PathBuf>,
    /// Reads everything below DIR instead of this machine.
    #[arg(long, value_name = "DIR")]
    root: Option<Utf8PathBuf>,
    /// The controller's agent port, if it moved since enrolment.
    #[arg(long, env = "MUSTER_CONTROLLER", value_name = "HOST:PORT", value_parser = address::parse)]
    controller: Option<String>,
}

#[derive(Debug, Args)]
struct Enroll {
    /// The controller's agent port.
    #[arg(long, env = "MUSTER_CONTROLLER", value_name = "HOST:PORT", value_parser = address::parse)]
    controller: String,
    /// The file with the enrolment token.
    #[arg(long, env = "MUSTER_TOKEN_FILE", value_name = "FILE")]
    token_file: Utf8PathBuf,
    /// Where identity and state are kept.
    #[arg(long, env = "MUSTER_AGENT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<Utf8PathBuf>,
    /// Takes the host name from below DIR, as `run --root` takes everything; the identity is this machine's all the same.
    #[arg(long, value_name = "DIR")]
    root: Option<Utf8PathBuf>,
}

#[derive(Debug, Args)]
struct Seal {
    /// Where identity and state are kept.
    #[arg(long, env = "MUSTER_AGENT_DATA_DIR", value_name = "DIR")]
    data_dir: Option<Utf8PathBuf>,
    /// An enrolment token that the copies shall use; it is checked, and kept.
    #[arg(long, value_name = "FILE")]
    token_file: Option<Utf8PathBuf>,
}

/// Does what the command line says.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli) {
        Ok(code) => code,
        Err(error) => {
            // Logging may not have begun; whoever typed this reads standard error either way.
            let _ = writeln!(io::stderr(), "muster-agent: {}", ErrorChain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    if cli.list_collectors {
        return print(&list_collectors());
    }
    if cli.print_default_config {
        return print(&Config::default_text());
    }
    if let Some(Command::Privileged(child)) = &cli.command {
        return Ok(privileged::child::main(child.parent));
    }
    if let Some(Command::Executor(child)) = &cli.command {
        return Ok(command::child::main(child.parent));
    }
    let read = Source::read(cli.config.as_deref()).and_then(|source| Ok((source.check()?, source)));
    let (config, source) = match read {
        Ok(read) => read,
        Err(error) => {
            let _ = writeln!(io::stderr(), "muster-agent: {}", ErrorChain(&error));
            return Ok(ExitCode::from(EXIT_USAGE));
        }
    };
    if cli.check_config {
        return print("settings are usable\n");
    }
    let setup = Setup {
        settings: source.text().to_owned(),
        root: None,
        log_format: cli.log_format.unwrap_or(config.log.format),
        log_filter: cli.log.or_else(|| config.log.filter.clone()),
    };
    log::init(setup.log_format, setup.log_filter.as_deref());
    match cli.command {
        None => {
            // Nobody asked for it, so it is no output.
            let _ = write!(io::stderr(), "{}", Cli::command().render_help());
            Ok(ExitCode::from(EXIT_USAGE))
        }
        Some(Command::Parse(parse)) => parse.run(),
        Some(Command::Collect(collect)) => in_runtime(collect.run(&config)),
        Some(Command::Seal(seal)) => in_runtime(seal.run(&config)),
        Some(Command::Enroll(enroll)) => in_runtime(enroll.run(&config)),
        Some(Command::Run(run)) => {
            // A report is packed in a millisecond, in a third of a MiB.
            let counts = packing::keep_at_most(NonZeroUsize::MIN);
            debug_assert!(counts, "nothing was packed before");
            in_runtime(run.run(&config, setup, source.path()))
        }
        Some(Command::Allow(allow)) => allow.run(&config),
        Some(Command::Policy(policy)) => policy.run(&config),
        Some(Command::Audit(audit)) => audit.run(&config),
        Some(Command::Privileged(_) | Command::Executor(_)) => {
            unreachable!("it was dispatched before the settings were read")
        }
    }
}

fn in_runtime(work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    // Collecting is waiting: this thread is plenty, and a second is woken for nothing most of the time. Those that block
    // outlive the time between two ticks, for starting one costs more than keeping it.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_keep_alive(Duration::from_secs(90))
        .enable_all()
        .build()
        .context("start the runtime")?;
    let result = runtime.block_on(work);
    // A read that hangs in the kernel must not hold up the end.
    runtime.shutdown_timeout(END_MAX);
    result
}

impl Run {
    async fn run(self, config: &Config, setup: Setup, settings: &Utf8Path) -> anyhow::Result<ExitCode> {
        let bell = config.alarm.clone().map(|alarm| Bell::new(alarm, settings));
        let bell = bell
            .transpose()
            .context("the alarm that the settings name cannot be used")?;
        let user = config.user.as_deref().map(User::find).transpose()?;
        let root = self.root.as_deref().map(absolute).transpose()?;
        let data_dir = data_dir(self.data_dir, config);
        let executor = link::Launch::new(link::Setup {
            data_dir: command::child::absolute(data_dir.clone()).context("name the agent's folder")?,
            policy_file: commands::policy_file(None, config),
            root: root.clone(),
            log_format: setup.log_format,
            log_filter: setup.log_filter.clone(),
            containers: config.collect.containers.clone(),
        });
        let launch = Launch::new(Setup { root, ..setup });
        let options = run::Options {
            data_dir,
            controller: self.controller,
            host: host(self.root.as_ref())?,
            context: Context::new(Arc::new(config.collect.clone())),
            plans: plans(config),
            outbox_bytes_max: usize::try_from(config.uplink.buffer_bytes).unwrap_or(usize::MAX),
            privileged: Some(launch),
            executor: Some(executor),
            user,
            alarm: bell,
        };
        let shutdown = shutdown::on_signal().context("install signal handlers")?;
        run::run(options, shutdown).await?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Enroll {
    async fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        let hostname = host(self.root.as_ref())?
            .read_proc("sys/kernel/hostname")
            .await
            .context("read the host name")?;
        let options = enrol::Options {
            controller: self.controller,
            token_file: self.token_file,
            data_dir: data_dir(self.data_dir, config),
            hostname: hostname.map(|name| name.trim().to_owned()).unwrap_or_default(),
            machine: Machine::read(&Host::system()).await,
        };
        let enrolled = enrol::enrol(&options).await?;
        let identity = &enrolled.identity;
        print(&format!(
            "enrolled: agent {} of server {}\n",
            identity.agent_id, identity.server_id
        ))
    }
}

impl Seal {
    async fn run(self, config: &Config) -> anyhow::Result<ExitCode> {
        // Before anything is removed: a machine sealed with a token of no use would have neither.
        if let Some(file) = &self.token_file {
            enrol::read_token(file)?;
        }
        let data_dir = data_dir(self.data_dir, config);
        if !data_dir.is_dir() {
            return Ok(usage(&format!("there is no folder {data_dir}")));
        }
        let gone = seal::seal(&data_dir).await?;
        if gone.is_empty() {
            return print("nothing to remove: no agent was enrolled here\n");
        }
        let lines = gone.iter().map(|path| format!("removed {path}\n"));
        print(&lines.collect::<String>())
    }
}

fn host(root: Option<&Utf8PathBuf>) -> anyhow::Result<Host> {
    Ok(match root {
        Some(root) => Host::under(root)?,
        None => Host::system(),
    })
}

/// The child does not start where the agent did.
fn absolute(path: &Utf8Path) -> anyhow::Result<Utf8PathBuf> {
    path.canonicalize_utf8()
        .with_context(|| format!("open {path} as root"))
}

fn data_dir(named: Option<Utf8PathBuf>, config: &Config) -> Utf8PathBuf {
    named
        .or_else(|| config.data_dir.clone())
        .unwrap_or_else(|| DEFAULT_DATA_DIR.into())
}

fn plans(config: &Config) -> Vec<Plan> {
    config
        .collect
        .enabled()
        .map(|(descriptor, interval)| Plan::new(descriptor, interval))
        .collect()
}

fn list_collectors() -> String {
    let line = |descriptor: &crate::collect::Descriptor| {
        let place = match descriptor.place {
            Place::Net => "",
            Place::Privileged => " (privileged)",
        };
        let interval = humantime::format_duration(descriptor.interval).to_string();
        format!(
            "{:<12} {:<6} {}{place}\n",
            descriptor.name, interval, descriptor.summary
        )
    };
    ALL.iter().map(line).collect()
}

/// Writes to standard output. Whoever closes it early, as `head` does, has seen enough.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    print_with(|out| out.write_all(text.as_bytes()))
}

/// The same for what is written in parts.
fn print_with(write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> anyhow::Result<ExitCode> {
    let mut stdout = io::BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock());
    match write(&mut stdout).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(error).context("write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Says why the command line cannot be used.
fn usage(message: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "muster-agent: {message}");
    ExitCode::from(EXIT_USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_collector_is_listed() {
        let list = list_collectors();
        assert_eq!(list.lines().count(), ALL.len());
        assert!(list.contains("smart        30m    SMART"), "{list}");
    }
}
