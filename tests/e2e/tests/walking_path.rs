//! `muster up` on this very machine, compared with what the system's own tools say.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{Process, World, binary, eventually};
use serde_json::Value;

fn tool(program: &str, args: &[&str]) -> Result<String> {
    #[expect(clippy::disallowed_methods, reason = "the system's own tools are the oracle")]
    let output = std::process::Command::new(program)
        .args(args)
        .env("LC_ALL", "C")
        .output()?;
    Ok(String::from_utf8(output.stdout)?)
}

fn up(world: &World, more: &[&str]) -> Result<Process> {
    let (http, grpc) = (world.http.to_string(), world.grpc.to_string());
    let data = world.data().to_string_lossy().into_owned();
    let args: Vec<&str> = ["up", "--data-dir", &data, "--http", &http, "--grpc", &grpc]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
    Process::start(&binary("muster"), &args, &world.dir().join("up.log"))
}

async fn only_server(world: &World) -> Result<(muster_e2e::Api, Value)> {
    let api = world.api().await?;
    let servers = api.items("/api/infrastructure/servers").await?;
    ensure!(servers.len() == 1, "{servers:?}");
    Ok((api, servers[0].clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_one_collection_the_controller_knows_what_lsblk_and_df_know() -> Result<()> {
    let mut world = World::prepare()?;
    let mut once = up(&world, &["--once"])?;
    let status = once.wait(Duration::from_secs(90))?;
    ensure!(status.success(), "{status}: {}", once.printed());
    for collector in ["block: facts", "cpu: facts", "filesystem: facts", "memory: facts"] {
        ensure!(
            once.printed().contains(collector),
            "{collector}: {}",
            once.printed()
        );
    }

    world.start_controller().await?;
    let (api, server) = only_server(&world).await?;
    let id = server["id"].as_i64().context("id")?;
    devices_equal_lsblk(&api, id).await?;
    filesystems_equal_df(&api).await?;
    federation_is_read_by_the_reference_parser(&api, &world).await
}

async fn devices_equal_lsblk(api: &muster_e2e::Api, id: i64) -> Result<()> {
    let told: Value = serde_json::from_str(&tool("lsblk", &["-b", "-d", "-J", "-o", "NAME,SIZE"])?)?;
    let expected: BTreeMap<String, i64> = told["blockdevices"]
        .as_array()
        .context("blockdevices")?
        .iter()
        .map(|disk| Some((disk["name"].as_str()?.to_owned(), disk["size"].as_i64()?)))
        .collect::<Option<_>>()
        .context("lsblk")?;
    let devices = api
        .items(&format!(
            "/api/infrastructure/servers/{id}/storage/devices?limit=1000"
        ))
        .await?;
    let found: BTreeMap<String, i64> = devices
        .iter()
        .map(|device| {
            Some((
                device["device_name"].as_str()?.to_owned(),
                device["size_bytes"].as_i64()?,
            ))
        })
        .collect::<Option<_>>()
        .with_context(|| format!("{devices:?}"))?;
    ensure!(found == expected, "found {found:?}, lsblk says {expected:?}");
    for device in &devices {
        ensure!(device["health"] == device["smart_status"], "{device}");
    }
    Ok(())
}

async fn filesystems_equal_df(api: &muster_e2e::Api) -> Result<()> {
    let sizes = api.range("node_filesystem_size_bytes", "{}").await?;
    let inodes = api.range("node_filesystem_files", "{}").await?;
    let of = |all: &[(Value, Vec<(i64, f64)>)], mount: &str| {
        let one = all.iter().find(|(labels, _)| labels["mountpoint"] == mount);
        one.and_then(|(_, points)| points.last()).map(|point| point.1)
    };
    let mut compared = 0;
    for line in tool("df", &["-B1", "--output=size,itotal,target"])?
        .lines()
        .skip(1)
    {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [size, files, mount] = fields[..] else {
            continue;
        };
        let Some(found) = of(&sizes, mount) else { continue };
        ensure!(
            found.to_string() == size,
            "{mount}: {found} bytes, df says {size}"
        );
        ensure!(
            of(&inodes, mount).map(|n| n.to_string()).as_deref() == Some(files),
            "inodes of {mount}"
        );
        compared += 1;
    }
    ensure!(
        0 < compared && of(&sizes, "/").is_some(),
        "no filesystem was compared"
    );
    Ok(())
}

async fn federation_is_read_by_the_reference_parser(api: &muster_e2e::Api, world: &World) -> Result<()> {
    let (status, text) = api
        .ask("GET", "/federate?match[]=%7B__name__%3D~%22.%2B%22%7D", None)
        .await?;
    ensure!(status == 200, "{status} {text}");
    let file = world.dir().join("federate.txt");
    std::fs::write(&file, &text)?;
    let python = python()?;
    let script = "import sys\n\
        from prometheus_client.parser import text_string_to_metric_families as parse\n\
        families = list(parse(open(sys.argv[1]).read()))\n\
        samples = [s for f in families for s in f.samples]\n\
        assert samples, 'no samples'\n\
        assert all(s.labels.get('job') and s.labels.get('instance') for s in samples)\n\
        names = {s.name for s in samples}\n\
        assert {'node_load1', 'node_memory_MemTotal_bytes', 'node_uname_info'} <= names, names\n\
        print(len(samples))";
    #[expect(clippy::disallowed_methods, reason = "the reference parser is the oracle")]
    let output = std::process::Command::new(python)
        .args(["-c", script])
        .arg(&file)
        .output()
        .context("start python")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The interpreter with `prometheus-client` that `make test` prepares.
fn python() -> Result<std::path::PathBuf> {
    let target = binary("muster")
        .ancestors()
        .nth(2)
        .context("target folder")?
        .to_owned();
    let python = target.join("venv/bin/python");
    ensure!(
        python.exists(),
        "{} is missing: run `make test-deps`",
        python.display()
    );
    Ok(python)
}

#[tokio::test(flavor = "multi_thread")]
async fn up_says_when_it_is_ready_and_shows_this_machine_within_a_minute() -> Result<()> {
    let world = World::prepare()?;
    let mut process = up(&world, &[])?;
    eventually(Duration::from_secs(60), async || {
        ensure!(
            process
                .printed()
                .contains(&format!("ready: http://{}\n", world.http)),
            "{}",
            process.printed()
        );
        Ok(())
    })
    .await?;
    let password = world.data().join("admin-password");
    ensure!(
        process
            .printed()
            .contains(&format!("admin password: {}\n", password.display()))
    );
    eventually(Duration::from_secs(60), async || {
        let (api, server) = only_server(&world).await?;
        ensure!(server["status"] == "online", "{server}");
        devices_equal_lsblk(&api, server["id"].as_i64().context("id")?).await
    })
    .await?;

    let (api, server) = only_server(&world).await?;
    let (status, body) = api
        .ask(
            "POST",
            &format!("/api/infrastructure/servers/{}/collect", server["id"]),
            None,
        )
        .await?;
    ensure!(status == 200 || status == 202, "{status} {body}");
    let status = process.stop(Duration::from_secs(30))?;
    ensure!(status.success(), "{status}: {}", process.printed());
    Ok(())
}
