//! Commands through a real controller and a real agent: refused without a policy, done with one, known on both sides.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{Api, World, eventually, run_to_end};
use reqwest::StatusCode;
use serde_json::{Value, json};

fn succeeded(output: &Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{said}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

async fn server_of(api: &Api) -> Result<i64> {
    eventually(Duration::from_secs(60), async || {
        let all = api.items("/api/infrastructure/servers").await?;
        ensure!(all.len() == 1 && all[0]["status"] == "online", "{all:?}");
        all[0]["id"].as_i64().context("id")
    })
    .await
}

async fn ask(api: &Api, server: i64, command: &Value) -> Result<String> {
    let path = format!("/api/infrastructure/servers/{server}/commands");
    let (status, answer) = api.ask("POST", &path, Some(command.clone())).await?;
    ensure!(status == StatusCode::ACCEPTED, "{status} {answer}");
    let made: Value = serde_json::from_str(&answer)?;
    Ok(made["id"].as_str().context("id")?.to_owned())
}

/// Waits until a command is over.
async fn over(api: &Api, id: &str) -> Result<Value> {
    eventually(Duration::from_secs(60), async || {
        let command = api.get(&format!("/api/commands/{id}")).await?;
        let is_open =
            ["pending", "received", "started"].contains(&command["state"].as_str().unwrap_or_default());
        ensure!(!is_open, "{command}");
        Ok(command)
    })
    .await
}

/// S9: another key signs; an agent that is there takes it at once, and one that was away when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_signs_commands_and_agents_take_it_at_once_or_when_they_are_back() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root has files that are root's");
        return Ok(());
    }
    let mut world = World::start().await?;
    let api = world.api().await?;
    let (root, policy) = (world.dir().join("root"), world.dir().join("policy.toml"));
    let action = root.join("sys/block/md0/md/sync_action");
    std::fs::create_dir_all(action.parent().context("above")?)?;
    std::fs::create_dir_all(root.join("proc"))?;
    let settings = world.dir().join("agent.toml");
    std::fs::write(&settings, format!("policy_file = \"{}\"\n", text(&policy)))?;
    std::fs::set_permissions(world.dir(), PermissionsExt::from_mode(0o755))?;
    succeeded(&world.enroll("agent", &world.token_file(1)?)?)?;
    let (root, settings, policy) = (text(&root), text(&settings), text(&policy));
    let allow = [
        "allow",
        "pool.scrub",
        "--pool",
        "pool:mdadm:*",
        "--policy",
        policy.as_str(),
    ];
    succeeded(&run_to_end("muster-agent", &allow)?)?;
    let more = ["--root", root.as_str(), "--config", settings.as_str()];
    let mut agent = world.start_agent("agent", &more)?;
    let server = server_of(&api).await?;
    let scrub = json!({"verb": "pool_scrub", "pool": "pool:mdadm:name/md0"});
    let is_done = async |api: &Api| {
        std::fs::write(&action, "idle\n")?;
        let done = over(api, &ask(api, server, &scrub).await?).await?;
        ensure!(done["state"] == "succeeded", "{done}");
        anyhow::Ok(())
    };
    is_done(&api).await?;
    let first = api.get("/api/commands/key").await?;
    for n in 1..=3 {
        if n == 2 {
            agent.kill()?;
        }
        let (status, answer) = api.ask("POST", "/api/commands/rotate-key", None).await?;
        ensure!(status == StatusCode::OK, "{status} {answer}");
        match n {
            1 => is_done(&api).await?,
            // It slept through two of them, and the controller through its own end.
            3 => {
                world.kill_controller()?;
                world.start_controller().await?;
                agent = world.start_agent("agent", &more)?;
            }
            _ => {}
        }
    }
    let api = world.api().await?;
    server_of(&api).await?;
    is_done(&api).await?;
    let now = api.get("/api/commands/key").await?;
    ensure!(now["key_id"] != first["key_id"], "{now}");
    let data = text(&world.dir().join("agent"));
    let shown = succeeded(&run_to_end(
        "muster-agent",
        &["audit", "show", "--data-dir", &data],
    )?)?;
    ensure!(shown.matches("\"command.key\"").count() == 3, "{shown}");
    let entries = api.items("/api/audit?limit=1000").await?;
    let rotations = entries
        .iter()
        .filter(|entry| entry["action"] == "command.rotate_key" && entry["outcome"] == "allowed");
    ensure!(rotations.count() >= 3, "{entries:?}");
    agent.kill()?;
    Ok(())
}

/// S10, S11
#[expect(clippy::too_many_lines, reason = "one story, told in order")]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_refused_by_default_done_when_allowed_and_known_on_both_sides() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: only root has files that are root's");
        return Ok(());
    }
    let world = World::start().await?;
    let api = world.api().await?;
    let (root, policy) = (world.dir().join("root"), world.dir().join("policy.toml"));
    let action = root.join("sys/block/md0/md/sync_action");
    std::fs::create_dir_all(action.parent().context("above")?)?;
    std::fs::create_dir_all(root.join("proc"))?;
    std::fs::write(&action, "idle\n")?;
    let settings = world.dir().join("agent.toml");
    std::fs::write(&settings, format!("policy_file = \"{}\"\n", text(&policy)))?;
    std::fs::set_permissions(world.dir(), PermissionsExt::from_mode(0o755))?;
    succeeded(&world.enroll("agent", &world.token_file(1)?)?)?;
    let (root, settings) = (text(&root), text(&settings));
    let more = ["--root", root.as_str(), "--config", settings.as_str()];
    let mut agent = world.start_agent("agent", &more)?;
    let server = server_of(&api).await?;
    let scrub = json!({"verb": "pool_scrub", "pool": "pool:mdadm:name/md0"});

    let refused = over(&api, &ask(&api, server, &scrub).await?).await?;
    ensure!(
        refused["state"] == "refused" && refused["reason"] == "not_allowed",
        "{refused}"
    );
    ensure!(
        std::fs::read_to_string(&action)? == "idle\n",
        "something was done"
    );

    let policy = text(&policy);
    let args = [
        "allow",
        "pool.scrub",
        "--pool",
        "pool:mdadm:*",
        "--policy",
        policy.as_str(),
    ];
    let said = succeeded(&run_to_end("muster-agent", &args)?)?;
    ensure!(said.contains("pool.scrub"), "{said}");
    let done = over(&api, &ask(&api, server, &scrub).await?).await?;
    ensure!(
        done["state"] == "succeeded" && done["message"] == "begun",
        "{done}"
    );
    ensure!(
        std::fs::read_to_string(&action)?.starts_with("check"),
        "nothing was done"
    );

    // Killed with everything it had started; it comes back, and the counter goes on.
    agent.kill()?;
    std::fs::write(&action, "idle\n")?;
    let waiting = ask(&api, server, &scrub).await?;
    let _agent = world.start_agent("agent", &more)?;
    let done = over(&api, &waiting).await?;
    ensure!(
        done["state"] == "succeeded" && done["message"] == "begun",
        "{done}"
    );

    let data = text(&world.dir().join("agent"));
    let said = succeeded(&run_to_end(
        "muster-agent",
        &["audit", "verify", "--data-dir", &data],
    )?)?;
    ensure!(said.contains("entries"), "{said}");
    let shown = succeeded(&run_to_end(
        "muster-agent",
        &["audit", "show", "--data-dir", &data],
    )?)?;
    for word in ["\"not_allowed\"", "\"allowed\"", "\"succeeded\"", "\"admin\""] {
        ensure!(shown.contains(word), "{word} is not in {shown}");
    }
    let entries = api.items("/api/audit?limit=1000").await?;
    let outcomes: Vec<&Value> = entries
        .iter()
        .filter(|entry| entry["action"] == "command.outcome")
        .collect();
    ensure!(outcomes.len() == 3, "{outcomes:?}");
    ensure!(
        outcomes.iter().any(|entry| entry["reason"] == "not_allowed"),
        "{outcomes:?}"
    );

    let (status, answer) = api
        .ask(
            "POST",
            &format!("/api/infrastructure/servers/{server}/commands"),
            Some(json!({"verb": "pool_scrub", "pool": "x", "argv": ["sh"]})),
        )
        .await?;
    ensure!(status == StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    Ok(())
}
