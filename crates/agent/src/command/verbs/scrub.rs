//! Having a pool read and compared: md's `check` (Documentation/admin-guide/md.rst), `zpool scrub`, `btrfs scrub`.

use std::time::Duration;

use muster_base::ErrorChain;
use muster_model::{CommandRefusal, ResourceKey};
use muster_parse::mounts;

use super::Outcome;
use crate::host::{Host, ProgramCall, ProgramError};

/// How long a program may take to begin.
const DEADLINE: Duration = Duration::from_secs(60);

/// Which pool, as its own tools call it.
enum Pool {
    /// Kernel name of an array.
    Md(String),
    /// Name of a pool.
    Zfs(String),
    /// Where it is mounted.
    Btrfs(String),
}

pub(super) async fn run(host: &Host, key: &ResourceKey) -> Outcome {
    let pool = match find(host, key).await {
        Ok(Some(pool)) => pool,
        Ok(None) => {
            return Outcome::failed(
                CommandRefusal::NoSuchTarget,
                format!("there is no pool {key} here"),
            );
        }
        Err(why) => return Outcome::failed(CommandRefusal::Failed, why),
    };
    match is_under_way(host, &pool).await {
        Some(true) => return Outcome::done("it runs already"),
        Some(false) => {}
        None => {
            return Outcome::failed(
                CommandRefusal::Failed,
                "it can't be told whether one runs already",
            );
        }
    }
    match start(host, &pool).await {
        Ok(()) => Outcome::done("begun"),
        Err(why) => Outcome::failed(CommandRefusal::Failed, why),
    }
}

/// Whether a pool is being read and compared; `None` if that can't be told.
pub(super) async fn is_running(host: &Host, key: &ResourceKey) -> Option<bool> {
    let pool = find(host, key).await.ok()??;
    is_under_way(host, &pool).await
}

async fn find(host: &Host, key: &ResourceKey) -> Result<Option<Pool>, String> {
    let key = key.as_str();
    if let Some(uuid) = key.strip_prefix("pool:mdadm:") {
        return Ok(array(host, uuid).await?.map(Pool::Md));
    }
    if let Some(guid) = key.strip_prefix("pool:zfs:") {
        let text = output(
            host,
            "zpool",
            vec!["list", "-H", "-o", "guid,name"],
            "zpool/guids",
        )
        .await?;
        let wanted = guid.strip_prefix("name/");
        let rows = text.lines().filter_map(|line| line.split_once('\t'));
        let found = rows
            .into_iter()
            .find(|(row, name)| *row == guid || wanted == Some(*name));
        return Ok(found.map(|(_, name)| Pool::Zfs(name.to_owned())));
    }
    if let Some(fsid) = key.strip_prefix("pool:btrfs:") {
        return Ok(mounted(host, fsid).await?.map(Pool::Btrfs));
    }
    Err(format!("{key} is of a kind that cannot be read and compared"))
}

/// Kernel name of the array with this UUID.
async fn array(host: &Host, uuid: &str) -> Result<Option<String>, String> {
    let names = host
        .blocking("arrays to check", |files| files.names("/sys/block"))
        .await
        .map_err(|error| ErrorChain(&error).to_string())?;
    for name in names.into_iter().filter(|name| name.starts_with("md")) {
        if uuid == format!("name/{name}") {
            return Ok(Some(name));
        }
        let device = format!("/dev/{name}");
        let args = vec!["--detail", "--export", device.as_str()];
        let Ok(text) = output(host, "mdadm", args, &format!("mdadm/export-{name}")).await else {
            continue;
        };
        if text
            .lines()
            .any(|line| line.strip_prefix("MD_UUID=") == Some(uuid))
        {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Where the filesystem with this id is mounted.
async fn mounted(host: &Host, fsid: &str) -> Result<Option<String>, String> {
    let folder = format!("/sys/fs/btrfs/{fsid}/devices");
    let devices = host
        .blocking("devices to scrub", move |files| files.names(&folder))
        .await
        .map_err(|error| ErrorChain(&error).to_string())?;
    let text = host.read_proc("self/mountinfo").await;
    let text = text
        .map_err(|error| ErrorChain(&error).to_string())?
        .unwrap_or_default();
    let is_of = |source: &str| {
        let name = source.rsplit('/').next().unwrap_or_default();
        devices.iter().any(|device| device == name)
    };
    let mut found = mounts::parse(&text).value.into_iter();
    let found = found.find(|mount| mount.fs_type == "btrfs" && is_of(&mount.source));
    Ok(found.map(|mount| mount.mount_point))
}

async fn is_under_way(host: &Host, pool: &Pool) -> Option<bool> {
    match pool {
        Pool::Md(name) => {
            let action = host.read_sys(&format!("block/{name}/md/sync_action")).await;
            action.ok()?.map(|action| action.trim() == "check")
        }
        Pool::Zfs(name) => {
            let text = output(
                host,
                "zpool",
                vec!["status", name],
                &format!("zpool/status-{name}"),
            )
            .await;
            Some(text.ok()?.contains("scrub in progress"))
        }
        Pool::Btrfs(place) => {
            // It exits with 1 where none ever ran.
            let args = vec!["scrub", "status", place.as_str()];
            let said = said(host, "btrfs", args, "btrfs/scrub-status").await.ok()?;
            Some(said.lines().any(|line| {
                let status = line.trim().strip_prefix("Status:");
                status.is_some_and(|status| status.trim() == "running")
            }))
        }
    }
}

async fn start(host: &Host, pool: &Pool) -> Result<(), String> {
    match pool {
        Pool::Md(name) => {
            let path = format!("block/{name}/md/sync_action");
            let action = host.read_sys(&path).await.ok().flatten().unwrap_or_default();
            if action.trim() != "idle" {
                return Err(format!("the array is busy with {}", action.trim()));
            }
            match host.write_sys(&path, "check").await {
                Ok(true) => Ok(()),
                Ok(false) => Err("the array is gone".to_owned()),
                Err(error) => Err(ErrorChain(&error).to_string()),
            }
        }
        Pool::Zfs(name) => {
            let record = format!("zpool/scrub-{name}");
            let begun = output(host, "zpool", vec!["scrub", name], &record).await;
            begun.map(drop)
        }
        Pool::Btrfs(place) => {
            let begun = output(host, "btrfs", vec!["scrub", "start", place], "btrfs/scrub-start");
            begun.await.map(drop)
        }
    }
}

/// What a program says that must succeed.
async fn output(host: &Host, program: &'static str, args: Vec<&str>, record: &str) -> Result<String, String> {
    let (status, text) = call(host, program, args, record).await?;
    match status {
        Some(0) => Ok(text),
        _ => Err(format!("{program} says: {}", text.trim())),
    }
}

/// What a program says, however it ends.
async fn said(host: &Host, program: &'static str, args: Vec<&str>, record: &str) -> Result<String, String> {
    call(host, program, args, record).await.map(|(_, text)| text)
}

async fn call(
    host: &Host,
    program: &'static str,
    args: Vec<&str>,
    record: &str,
) -> Result<(Option<i32>, String), String> {
    let call = ProgramCall {
        program,
        args,
        record,
        deadline: DEADLINE,
    };
    let output = host.run(&call).await;
    let output = output.map_err(|error: ProgramError| ErrorChain(&error).to_string())?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status != Some(0) {
        text.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    text.truncate(text.floor_char_boundary(64 * 1_024));
    Ok((output.status, text))
}
