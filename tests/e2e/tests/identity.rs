//! Who gets in, and what an agent gives away before it knows whom it talks to.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{World, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_of_one_machine_are_two_servers() -> Result<()> {
    let world = World::start().await?;
    let token = world.token_file(2)?;
    let mut agents = Vec::new();
    for folder in ["one", "two"] {
        let enrolled = world.enroll(folder, &token)?;
        ensure!(
            enrolled.status.success(),
            "{}",
            String::from_utf8_lossy(&enrolled.stderr)
        );
        agents.push(world.start_agent(folder, &[])?);
    }
    let api = world.api().await?;
    eventually(Duration::from_secs(30), async || {
        let servers = api.items("/api/infrastructure/servers").await?;
        ensure!(
            servers.len() == 2 && servers.iter().all(|server| server["status"] == "online"),
            "{servers:?}"
        );
        ensure!(servers[0]["id"] != servers[1]["id"]);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_token_enrols_nobody() -> Result<()> {
    let world = World::start().await?;
    let token = world.token_file(1)?;
    let copy = world.dir().join("copy");
    std::fs::copy(&token, &copy)?;
    let first = world.enroll("one", &token)?;
    ensure!(
        first.status.success(),
        "{}",
        String::from_utf8_lossy(&first.stderr)
    );
    ensure!(
        !token.exists(),
        "a single-use token's file is deleted once it is used"
    );

    let second = world.enroll("two", &copy)?;
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    ensure!(!second.status.success() && said.contains("token"), "{said}");
    ensure!(
        world
            .api()
            .await?
            .items("/api/infrastructure/servers")
            .await?
            .len()
            == 1
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_another_controller_is_never_shown_to_this_one() -> Result<()> {
    let (world, other) = (World::start().await?, World::start().await?);
    let token = other.token_file(1)?;
    let refused = world.enroll("one", &token)?;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(!refused.status.success(), "enrolled with the wrong pin");
    ensure!(said.contains("not the controller"), "{said}");
    ensure!(
        token.exists(),
        "the token is still good elsewhere and must be kept"
    );
    let enrolled = other.enroll("one-there", &token)?;
    ensure!(
        enrolled.status.success(),
        "its use was not consumed: {}",
        String::from_utf8_lossy(&enrolled.stderr)
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_of_another_controller_gets_nowhere() -> Result<()> {
    let (world, other) = (World::start().await?, World::start().await?);
    let enrolled = other.enroll("one", &other.token_file(1)?)?;
    ensure!(
        enrolled.status.success(),
        "{}",
        String::from_utf8_lossy(&enrolled.stderr)
    );

    // The identity is moved to an agent that is told to connect to a controller which never issued it.
    let agent = other.start_agent("one", &["--controller", &world.grpc.to_string()])?;
    eventually(Duration::from_secs(20), async || {
        let said = agent.printed();
        said.contains("UnknownIssuer").then_some(()).context(said)
    })
    .await?;
    ensure!(
        world
            .api()
            .await?
            .items("/api/infrastructure/servers")
            .await?
            .is_empty()
    );
    Ok(())
}
