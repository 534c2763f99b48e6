//! A network of a test's own on which the kernel loses packets.
//!
//! It is a network namespace that has nothing but loopback, and rules that drop packets of one port by chance. A test
//! comes into it by running itself again inside; nothing outside of it notices.

use std::net::SocketAddr;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Set for the run inside.
const INSIDE: &str = "MUSTER_TEST_LOSSY_NETWORK";
/// Debian has them where only root looks.
const PATHS: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the calling test finds itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a network of its own.
    Inside,
    /// Outside, and the run inside is over and has succeeded.
    Finished,
    /// Outside: this machine has no such networks for whoever runs the tests.
    Outside,
}

/// Runs the test of this name, which is the one that calls, again inside a network of its own, where this returns
/// [`Place::Inside`].
///
/// # Errors
/// If the run inside failed.
#[expect(
    clippy::print_stdout,
    reason = "what the run inside has printed belongs to the test"
)]
pub fn enter(test: &str) -> Result<Place> {
    if std::env::var_os(INSIDE).is_some() {
        program("ip", &["link", "set", "lo", "up"])?;
        return Ok(Place::Inside);
    }
    let Some(unshare) = unshare() else {
        return Ok(Place::Outside);
    };
    let itself = std::env::current_exe()?;
    let ran = command(unshare[0])
        .args(&unshare[1..])
        .arg(itself)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()?;
    println!("{}", String::from_utf8_lossy(&ran.stdout));
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Ok(Place::Finished)
}

/// How to come into a network of one's own in which packets can be lost; as root, or as anybody where that is allowed.
fn unshare() -> Option<&'static [&'static str]> {
    const WAYS: [&[&str]; 2] = [
        &["unshare", "--net", "--"],
        &["unshare", "--user", "--map-root-user", "--net", "--"],
    ];
    let can = |way: &&[&str]| {
        let probe = "ip link set lo up && iptables -A INPUT -i lo -p tcp --dport 1 -m statistic --mode random \
                     --probability 0.3 -j DROP";
        let tried = command(way[0]).args(&way[1..]).args(["sh", "-c", probe]).output();
        tried.is_ok_and(|tried| tried.status.success())
    };
    WAYS.into_iter().find(can)
}

/// Packets of a port, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Packets {
    /// All that were sent.
    pub sent: u64,
    /// Those of them that never arrived.
    pub lost: u64,
}

/// Loses this share of all packets from and to the address, until [`heal`].
///
/// # Errors
/// Outside of [`Place::Inside`], or if the kernel refuses.
pub fn lose(address: SocketAddr, share: f64) -> Result<()> {
    heal()?;
    let (port, share) = (address.port().to_string(), share.to_string());
    for end in ["--dport", "--sport"] {
        let of_port = ["-A", "INPUT", "-i", "lo", "-p", "tcp", end, &port];
        // Without a target a rule only counts.
        program("iptables", &of_port)?;
        let chance = ["-m", "statistic", "--mode", "random", "--probability", &share];
        program(
            "iptables",
            &[&of_port[..], &chance[..], &["-j", "DROP"][..]].concat(),
        )?;
    }
    Ok(())
}

/// What was sent and lost since [`lose`].
///
/// # Errors
/// As [`lose`].
pub fn packets() -> Result<Packets> {
    let listed = program("iptables", &["-v", "-x", "-n", "-L", "INPUT"])?;
    let mut packets = Packets::default();
    for line in String::from_utf8(listed.stdout)?.lines().skip(2) {
        let count: u64 = line
            .split_whitespace()
            .next()
            .context("a rule's packets")?
            .parse()?;
        if line.contains("DROP") {
            packets.lost += count;
        } else {
            packets.sent += count;
        }
    }
    Ok(packets)
}

/// Loses nothing any more.
///
/// # Errors
/// As [`lose`].
pub fn heal() -> Result<()> {
    program("iptables", &["-F", "INPUT"]).map(drop)
}

/// Runs a program of the system to its end, and well.
fn program(name: &str, args: &[&str]) -> Result<Output> {
    ensure!(
        std::env::var_os(INSIDE).is_some(),
        "{name} {args:?} would be for the whole machine"
    );
    let ran = command(name)
        .args(args)
        .output()
        .with_context(|| name.to_owned())?;
    let said = String::from_utf8_lossy(&ran.stderr);
    ensure!(ran.status.success(), "{name} {args:?}: {said}");
    Ok(ran)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the system's own tools make the network, and the test runs itself in it"
)]
fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", PATHS).stdin(Stdio::null());
    command
}
