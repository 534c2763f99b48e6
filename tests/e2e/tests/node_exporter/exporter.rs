//! Runs the two programs: one page of each.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use muster_e2e::{Process, run_to_end};

use crate::page::Page;

const EXPORTER: &str = "/usr/bin/prometheus-node-exporter";
/// A loaded machine gets this long to start a program and answer.
const LIMIT: Duration = Duration::from_secs(60);

/// What the exporter shows of this machine, or of a captured root.
pub(crate) async fn exporter_page(root: Option<&Path>) -> Result<Page> {
    ensure!(
        Path::new(EXPORTER).is_file(),
        "{EXPORTER} is missing: cargo xtask test-deps installs it"
    );
    let folder = tempfile::tempdir()?;
    // Another process may take the port between looking for it and using it.
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut args = vec![
            format!("--web.listen-address={address}"),
            "--collector.textfile.directory=".to_owned() + folder.path().to_str().context("path")?,
        ];
        if let Some(root) = root {
            let root = root.to_str().context("path")?;
            args.push(format!("--path.procfs={root}/proc"));
            args.push(format!("--path.sysfs={root}/sys"));
            args.push(format!("--path.rootfs={root}"));
            args.push(format!("--path.udev.data={root}/run/udev/data"));
            args.push("--no-collector.netdev.netlink".to_owned());
        }
        let log = folder.path().join("exporter.log");
        let mut process = Process::start(Path::new(EXPORTER), &args, &log)?;
        if let Some(text) = scrape(&mut process, &address).await? {
            return Page::parse(&text);
        }
        println!("{}", process.printed());
    }
    bail!("the exporter does not start")
}

/// The page; `None` if the process ends before it answers.
async fn scrape(process: &mut Process, address: &str) -> Result<Option<String>> {
    let url = format!("http://{address}/metrics");
    let client = reqwest::Client::builder().no_proxy().timeout(LIMIT).build()?;
    let start = std::time::Instant::now();
    while start.elapsed() < LIMIT {
        if !process.is_running()? {
            return Ok(None);
        }
        if let Ok(answer) = client.get(&url).send().await {
            let answer = answer.error_for_status()?;
            return Ok(Some(answer.text().await?));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("the exporter does not answer")
}

/// What the agent shows of this machine, or of a captured root.
pub(crate) fn agent_page(root: Option<&Path>) -> Result<Page> {
    let mut args = vec!["collect", "--format", "prometheus"];
    if let Some(root) = root {
        args.extend(["--root", root.to_str().context("path")?]);
    }
    let output = run_to_end("muster-agent", &args)?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Page::parse(&String::from_utf8(output.stdout)?)
}
