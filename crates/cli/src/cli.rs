//! The arguments, and the defaults that depend on who runs it. The only place that reads the environment.

use std::net::SocketAddr;
use std::path::Path;

use camino::Utf8PathBuf;
use clap::{Parser, Subcommand};
use clap_complete::Shell;
use muster_base::log::Format;

use crate::client::ClientError;
use crate::{client, command, up};

/// Where data is for root, as for the packaged services.
const SYSTEM_DATA_DIR: &str = "/var/lib/muster";

const EXIT_CODES: &str = "Exit codes:
  0  done
  1  it did not work
  2  the command line, the settings or the contexts cannot be used
  3  a login is needed, or this login may not do that
  4  there is no such thing
  5  the controller cannot be reached, or cannot be trusted
  6  it was begun and is not over";

/// The command line of Muster.
#[derive(Debug, Parser)]
#[command(name = "muster", version, about, after_help = EXIT_CODES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a controller and an agent on this machine, enrolled with each other.
    Up(UpArgs),
    Login(command::Login),
    Logout(command::Logout),
    Contexts(command::Contexts),
    Servers(command::Servers),
    Devices(command::Devices),
    Pools(command::Pools),
    Containers(command::Containers),
    Updates(command::Updates),
    Alerts(command::Alerts),
    Rules(command::Rules),
    Silences(command::Silences),
    Channels(command::Channels),
    Registries(command::Registries),
    Commands(command::Commands),
    Tasks(command::Tasks),
    Tokens(command::Tokens),
    Users(command::Users),
    Query(command::Query),
    Top(command::Top),
    /// Prints what a shell needs to complete the words of `muster`.
    Completions {
        /// Which shell.
        #[arg(value_enum)]
        shell: Shell,
    },
    /// Becomes a program that ends with its parent. What `up` starts its children with.
    #[command(hide = true)]
    Tether(TetherArgs),
}

#[derive(Debug, Parser)]
pub(crate) struct UpArgs {
    /// Where the controller keeps its data; the agent's is in `agent` below it [default: /var/lib/muster for root,
    /// else $XDG_DATA_HOME/muster or ~/.local/share/muster].
    #[arg(long, value_name = "DIR", env = "MUSTER_DATA_DIR")]
    data_dir: Option<Utf8PathBuf>,
    /// Where the controller answers HTTP, on loopback; port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8480", value_parser = loopback)]
    http: SocketAddr,
    /// Where the controller answers agents; port 0 takes any free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8481")]
    grpc: SocketAddr,
    /// Ends when the first outcome of every collector is stored and can be asked for; 1 if that takes over 45 s.
    #[arg(long)]
    once: bool,
    /// How log lines on standard error look: text or json.
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: Format,
    /// Which log lines are shown.
    #[arg(long, value_name = "FILTER", env = "MUSTER_LOG", hide = true)]
    pub(crate) log_filter: Option<String>,
}

#[derive(Debug, Parser)]
pub(crate) struct TetherArgs {
    /// Process id of who must be the parent.
    #[arg(long)]
    pub(crate) parent: i32,
    /// The program and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) program: Vec<String>,
}

impl UpArgs {
    /// What `up` is asked to do, with every default filled in.
    pub(crate) fn options(&self) -> up::Options {
        let environment = Environment {
            is_root: nix::unistd::geteuid().is_root(),
            data_home: std::env::var_os("XDG_DATA_HOME").and_then(|path| path.into_string().ok()),
            home: std::env::var_os("HOME").and_then(|path| path.into_string().ok()),
        };
        let data_dir = self.data_dir.clone().unwrap_or_else(|| environment.data_dir());
        up::Options {
            data_dir: absolute(data_dir),
            http: self.http,
            grpc: self.grpc,
            is_once: self.once,
            log_format: self.log_format,
        }
    }
}

/// Where contexts are kept: `$XDG_CONFIG_HOME/muster`, or `~/.config/muster`.
pub(crate) fn config_dir() -> Result<Utf8PathBuf, ClientError> {
    let read = |name| std::env::var_os(name).and_then(|path| path.into_string().ok());
    client::context::config_dir(read("XDG_CONFIG_HOME"), read("HOME")).ok_or(ClientError::NoConfigDir)
}

/// What the default data folder depends on.
struct Environment {
    is_root: bool,
    data_home: Option<String>,
    home: Option<String>,
}

impl Environment {
    /// Root keeps data where the services do. Others follow the XDG base directories, which ignore relative paths.
    fn data_dir(&self) -> Utf8PathBuf {
        if self.is_root {
            return SYSTEM_DATA_DIR.into();
        }
        let absolute = |path: &Option<String>| {
            path.as_deref()
                .filter(|path| Path::new(path).is_absolute())
                .map(Utf8PathBuf::from)
        };
        absolute(&self.data_home)
            .map(|path| path.join("muster"))
            .or_else(|| absolute(&self.home).map(|path| path.join(".local/share/muster")))
            .unwrap_or_else(|| SYSTEM_DATA_DIR.into())
    }
}

/// Children are told where data is by a path that does not depend on where they run.
fn absolute(path: Utf8PathBuf) -> Utf8PathBuf {
    camino::absolute_utf8(&path).unwrap_or(path)
}

/// `up` watches its controller over plain HTTP, which there is on loopback only.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| format!("{text:?} is not an address and port"))?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("`up` is for one machine: to be reached from others, run muster-controller and muster-agent as services".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_dir(is_root: bool, data_home: Option<&str>, home: Option<&str>) -> String {
        let environment = Environment {
            is_root,
            data_home: data_home.map(str::to_owned),
            home: home.map(str::to_owned),
        };
        environment.data_dir().into_string()
    }

    fn parse(words: &[&str]) -> Result<UpArgs, clap::Error> {
        let args = Args::try_parse_from([&["muster", "up"], words].concat())?;
        match args.command {
            Command::Up(up) => Ok(up),
            _ => unreachable!("the words begin with up"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn root_keeps_data_where_the_services_do() {
        assert_eq!(data_dir(true, Some("/x"), Some("/root")), "/var/lib/muster");
    }

    #[test]
    fn others_keep_data_in_their_own_folders() {
        assert_eq!(data_dir(false, Some("/data"), Some("/home/a")), "/data/muster");
        assert_eq!(
            data_dir(false, None, Some("/home/a")),
            "/home/a/.local/share/muster"
        );
        assert_eq!(
            data_dir(false, Some("relative"), Some("/home/a")),
            "/home/a/.local/share/muster"
        );
    }

    #[test]
    fn both_ports_are_on_loopback_unless_said_otherwise() {
        let up = parse(&["--data-dir", "/tmp/x"]).unwrap();
        assert_eq!(up.http, "127.0.0.1:8480".parse().unwrap());
        assert_eq!(up.grpc, "127.0.0.1:8481".parse().unwrap());
        assert!(!up.once);
    }

    #[test]
    fn a_relative_data_folder_is_made_absolute() {
        let options = parse(&["--data-dir", "x"]).unwrap().options();
        assert!(
            options.data_dir.is_absolute() && options.data_dir.ends_with("x"),
            "{}",
            options.data_dir
        );
    }

    #[test]
    fn a_port_alone_is_not_an_address() {
        assert!(parse(&["--http", "8480"]).is_err());
        assert!(parse(&["--http", "0.0.0.0:8480"]).is_err());
        assert!(parse(&["--log-format", "xml"]).is_err());
    }

    #[test]
    fn what_follows_the_tethered_program_belongs_to_it() {
        let words = [
            "muster", "tether", "--parent", "7", "/bin/x", "run", "--http", "a", "--parent", "b",
        ];
        let Command::Tether(tether) = Args::try_parse_from(words).unwrap().command else {
            panic!("tether");
        };
        assert_eq!(tether.parent, 7);
        assert_eq!(tether.program, ["/bin/x", "run", "--http", "a", "--parent", "b"]);
    }
}
