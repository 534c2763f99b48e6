//! Identities against those who would abuse or lose them: copies, crashes, the wrong port, a new root.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{World, eventually, run_to_end};
use serde_json::Value;

fn is_full() -> bool {
    std::env::var_os("MUSTER_TEST_FULL").is_some()
}

fn succeeded(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Asks the running controller on the command line.
fn ask(world: &World, args: &[&str]) -> Result<String> {
    let data = text(&world.data());
    let args: Vec<&str> = args.iter().copied().chain(["--data-dir", &data]).collect();
    succeeded(&run_to_end("muster-controller", &args)?)
}

/// Copies an agent's folder as a clone of its machine would have it.
#[expect(
    clippy::disallowed_methods,
    reason = "copies a folder, which the standard library can't"
)]
fn copy(world: &World, from: &str, to: &str) -> Result<PathBuf> {
    let (from, to) = (world.dir().join(from), world.dir().join(to));
    let copied = Command::new("cp").arg("-a").arg(&from).arg(&to).status()?;
    ensure!(copied.success());
    Ok(to)
}

async fn agents(world: &World) -> Result<Vec<Value>> {
    world.api().await?.items("/api/infrastructure/agents").await
}

async fn online(world: &World, servers: usize) -> Result<()> {
    let api = world.api().await?;
    eventually(Duration::from_secs(90), async || {
        let all = api.items("/api/infrastructure/servers").await?;
        ensure!(
            all.len() == servers && all.iter().all(|server| server["status"] == "online"),
            "{all:?}"
        );
        Ok(())
    })
    .await
}

/// S7
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_running_agent_is_found_and_neither_is_believed_until_somebody_decides() -> Result<()> {
    let world = World::start().await?;
    succeeded(&world.enroll("agent", &world.token_file(1)?)?)?;
    let agent = world.start_agent("agent", &[])?;
    online(&world, 1).await?;
    copy(&world, "agent", "clone")?;
    let started = Instant::now();
    let mut clone = world.start_agent("clone", &[])?;
    let id = eventually(Duration::from_secs(60), async || {
        let agents = agents(&world).await?;
        ensure!(
            agents.len() == 1 && agents[0]["status"] == "quarantined",
            "{agents:?}"
        );
        Ok(agents[0]["id"].as_str().context("id")?.to_owned())
    })
    .await?;
    println!("a running copy was found after {:?}", started.elapsed());
    for process in [&agent, &clone] {
        eventually(Duration::from_secs(30), async || {
            let said = process.printed();
            said.contains("quarantine").then_some(()).context(said)
        })
        .await?;
    }
    clone.kill()?;
    let listed = ask(&world, &["agent", "list", "--status", "quarantined"])?;
    ensure!(listed.contains(&id), "{listed}");
    ask(&world, &["agent", "adopt", &id])?;
    online(&world, 1).await?;
    ensure!(agents(&world).await?[0]["status"] == "active");
    Ok(())
}

/// S7
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_image_is_nobody_and_each_copy_of_it_enrols_as_a_server_of_its_own() -> Result<()> {
    let world = World::start().await?;
    succeeded(&world.enroll("template", &world.token_file(1)?)?)?;
    let template = text(&world.dir().join("template"));
    let token = world.token_file(2)?;
    let said = succeeded(&run_to_end(
        "muster-agent",
        &["seal", "--data-dir", &template, "--token-file", &text(&token)],
    )?)?;
    ensure!(said.contains("removed") && said.contains("identity"), "{said}");
    ensure!(token.exists());
    for name in ["one", "two"] {
        copy(&world, "template", name)?;
        let refused = run_to_end(
            "muster-agent",
            &["run", "--data-dir", &text(&world.dir().join(name))],
        )?;
        ensure!(!refused.status.success(), "a sealed agent is no agent");
        succeeded(&world.enroll(name, &token)?)?;
    }
    let servers = world.api().await?.items("/api/infrastructure/servers").await?;
    ensure!(servers.len() == 3, "{servers:?}");
    Ok(())
}

/// S7
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_was_made_on_another_machine_is_not_used() -> Result<()> {
    let world = World::start().await?;
    succeeded(&world.enroll("agent", &world.token_file(1)?)?)?;
    let folder = world.dir().join("agent");
    let mark = folder.join("identity/machine");
    if !mark.exists() {
        println!("this machine has no id, so identities are not bound to it");
        return Ok(());
    }
    std::fs::write(&mark, "00:00\n")?;
    let refused = run_to_end("muster-agent", &["run", "--data-dir", &text(&folder)])?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && said.contains("another machine"),
        "{said}"
    );
    ensure!(said.contains("muster-agent seal"), "{said}");
    Ok(())
}

/// S1
#[tokio::test(flavor = "multi_thread")]
async fn a_controller_killed_between_redemptions_leaves_no_token_half_used() -> Result<()> {
    let mut world = World::prepare()?;
    world.settings = "[enrolment]\nenrolment_per_address_per_s = 1000.0\nenrolment_burst = 1000\nenrolment_per_s = 1000.0\n".to_owned();
    world.start_controller().await?;
    let (rounds, crowd): (usize, usize) = if is_full() { (50, 20) } else { (3, 6) };
    let mut undecided = 0;
    for round in 0..rounds {
        let tokens: Vec<PathBuf> = (0..crowd).map(|_| world.token_file(1)).collect::<Result<_>>()?;
        let shared = Arc::new(world);
        let tries: Vec<_> = tokens
            .iter()
            .enumerate()
            .map(|(n, token)| {
                let (world, token) = (Arc::clone(&shared), token.clone());
                std::thread::spawn(move || world.enroll(&format!("agent-{round}-{n}"), &token))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(fastrand::u64(0..400)));
        let pid = shared.controller.as_ref().context("controller")?.id();
        kill(pid)?;
        let mut failed = Vec::new();
        for (n, one) in tries.into_iter().enumerate() {
            let output = one.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
            if !output.status.success() {
                failed.push(n);
            }
        }
        world = Arc::into_inner(shared).context("all threads have ended")?;
        world.controller = None;
        world.start_controller().await?;
        undecided += failed.len();
        // The same key asks again: whether its use was consumed or not, it is enrolled now, and once.
        for n in failed {
            succeeded(&world.enroll(&format!("agent-{round}-{n}"), &tokens[n])?)?;
        }
        let api = world.api().await?;
        let agents = api.get("/api/infrastructure/agents?limit=1000").await?;
        ensure!(agents["total"] == (round + 1) * crowd, "{}", agents["total"]);
    }
    println!(
        "{rounds} kills among {} redemptions, {undecided} of them cut off: 0 lost, 0 doubled",
        rounds * crowd
    );
    Ok(())
}

fn kill(pid: u32) -> Result<()> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid)?);
    Ok(nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?)
}

/// S3
#[tokio::test(flavor = "multi_thread")]
async fn an_agents_certificate_is_worth_nothing_on_the_port_for_people() -> Result<()> {
    let world = World::start().await?;
    succeeded(&world.enroll("agent", &world.token_file(1)?)?)?;
    // The start of a TLS handshake (record, version, length, ClientHello): there is none to be had.
    let mut tcp = TcpStream::connect(world.http)?;
    tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
    tcp.write_all(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 3])?;
    let mut answer = Vec::new();
    let _ = tcp.take(100).read_to_end(&mut answer);
    ensure!(answer.first() != Some(&22), "{answer:?}");
    // Nor does a header that proxies use for certificates open anything.
    let chain = std::fs::read_to_string(world.dir().join("agent/identity/chain.pem"))?;
    let client = reqwest::Client::new();
    for header in ["x-client-cert", "x-forwarded-client-cert", "ssl-client-cert"] {
        let answer = client
            .get(format!("http://{}/api/infrastructure/servers", world.http))
            .header(header, chain.replace('\n', " "))
            .send()
            .await?;
        ensure!(answer.status() == 401, "{header}: {}", answer.status());
    }
    Ok(())
}

/// S8
#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_replaced_under_a_running_agent() -> Result<()> {
    let mut world = World::prepare()?;
    world.settings = "[enrolment]\nagent_certificate_ttl = \"2min\"\n".to_owned();
    world.start_controller().await?;
    succeeded(&world.enroll("agent", &world.token_file(1)?)?)?;
    let mut agent = world.start_agent("agent", &[])?;
    online(&world, 1).await?;
    let before = ask(&world, &["ca", "status"])?;
    ensure!(before.contains("phase: steady"), "{before}");
    ask(&world, &["ca", "prepare"])?;
    eventually(Duration::from_secs(60), async || {
        let status = ask(&world, &["ca", "status"])?;
        ensure!(status.contains("1 of 1"), "{status}");
        Ok(())
    })
    .await?;
    for (step, phase) in [
        ("issue", "issuing"),
        ("rollback", "published"),
        ("issue", "issuing"),
        ("switch", "switched"),
        ("retire", "steady"),
    ] {
        let said = ask(&world, &["ca", step])?;
        ensure!(said.contains(&format!("phase: {phase}")), "{step}: {said}");
    }
    let refused = run_to_end(
        "muster-controller",
        &["ca", "retire", "--data-dir", &text(&world.data())],
    )?;
    ensure!(!refused.status.success());
    // The agent, with what it had before, and a new one.
    ensure!(agent.is_running()?);
    agent.kill()?;
    let _agent = world.start_agent("agent", &[])?;
    succeeded(&world.enroll("another", &world.token_file(1)?)?)?;
    let _another = world.start_agent("another", &[])?;
    online(&world, 2).await?;
    world.stop_controller()?;
    world.start_controller().await?;
    online(&world, 2).await
}

/// S5
#[tokio::test(flavor = "multi_thread")]
async fn agents_that_do_not_renew_are_cut_off_soon_after_their_certificates_end() -> Result<()> {
    if !is_full() {
        println!("only with MUSTER_TEST_FULL: it takes two minutes");
        return Ok(());
    }
    let mut world = World::prepare()?;
    world.settings = "[enrolment]\nagent_certificate_ttl = \"1min\"\n".to_owned();
    world.start_controller().await?;
    // Simulated agents never renew.
    let started = Instant::now();
    let _sim = world.start_sim(5, &["--interval", "1", "--series", "1", "--duration", "150"])?;
    online(&world, 5).await?;
    let api = world.api().await?;
    eventually(Duration::from_secs(130), async || {
        let all = api.items("/api/infrastructure/servers").await?;
        ensure!(all.iter().all(|server| server["status"] != "online"), "{all:?}");
        Ok(())
    })
    .await?;
    println!(
        "certificates of 60 s: nobody was connected after {:?}",
        started.elapsed()
    );
    Ok(())
}
