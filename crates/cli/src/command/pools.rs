//! `muster pools`: the arrays, ZFS pools, volume groups and BTRFS filesystems of the fleet, and what rests on each.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, ClientError, Common, given};
use crate::render::tree::{self, Tree};
use crate::render::{Column, Output, clean, print, size, word};

const PATH: &str = "/api/infrastructure/storage/pools";

/// Pools: list, show.
#[derive(Debug, Args)]
pub(crate) struct Pools {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    filter: Filter,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which pools are listed.
#[derive(Debug, Default, Args)]
struct Filter {
    /// Only with this health: healthy, warning, critical, failed or unknown.
    #[arg(long, global = true)]
    health: Option<String>,
    /// Only of servers of this name.
    #[arg(long, global = true, value_name = "NAME")]
    on: Option<String>,
    /// Only of this type: mdadm, zfs, lvm, btrfs or other.
    #[arg(long = "type", global = true, value_name = "TYPE")]
    pool_type: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them; what `pools` alone does too.
    List,
    /// Shows one: all that is known of it, what it rests on, what rests on it, and what goes down with it.
    Show {
        /// Its id.
        id: i64,
    },
}

impl Filter {
    /// Whether nothing is left out.
    const fn is_everything(&self) -> bool {
        self.health.is_none() && self.on.is_none() && self.pool_type.is_none()
    }

    fn query(self) -> Vec<(&'static str, String)> {
        given([
            ("health", self.health),
            ("server", self.on),
            ("pool_type", self.pool_type),
        ])
    }
}

impl Pools {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        match self.command {
            None | Some(Command::List) => list(&client, output, self.filter).await,
            Some(Command::Show { id }) => show(&client, output, id).await,
        }
    }
}

/// What is looked for, for whoever misses a pool.
const NONE: &str = "there is no pool\n\n\
    Agents look for MD arrays (/proc/mdstat, mdadm), ZFS pools (zpool, zfs), LVM volume groups (vgs, lvs) and BTRFS \
    filesystems\n(btrfs); most of it needs root. If one is missing: `muster-agent collect --only mdadm,zfs,lvm,btrfs \
    --format json` on its\nserver says under \"problems\" what could not be read, and the server's page which collectors \
    found nothing, and why.\n";

async fn list(client: &Client, output: Output, filter: Filter) -> Result<(), ClientError> {
    let is_everything = filter.is_everything();
    let mut items = client.list(PATH, &filter.query()).await?;
    if output == Output::Table && items.is_empty() && is_everything {
        return print(NONE);
    }
    if output == Output::Table {
        let servers = client.list("/api/infrastructure/servers", &[]).await?;
        for item in &mut items {
            let server = servers.iter().find(|server| server["id"] == item["server_id"]);
            let name = server.map_or_else(|| item["server_id"].clone(), |server| server["hostname"].clone());
            item["server"] = name;
        }
    }
    output.list(&items, &columns())
}

fn columns() -> [Column; 10] {
    let bytes =
        |field: &'static str| move |item: &Value| item[field].as_f64().map_or_else(|| "-".to_owned(), size);
    [
        Column::field("ID", "id"),
        Column::field("SERVER", "server"),
        Column::field("POOL", "pool_name"),
        Column::field("TYPE", "pool_type"),
        Column::field("LEVEL", "raid_level"),
        Column::field("DEVICES", "device_count"),
        Column::new("SIZE", bytes("total_size_bytes")),
        Column::new("USED", bytes("used_size_bytes")),
        Column::field("HEALTH", "health"),
        Column::field("STATUS", "status_message"),
    ]
}

async fn show(client: &Client, output: Output, id: i64) -> Result<(), ClientError> {
    let mut pool = client.get(&format!("{PATH}/{id}"), &[]).await?;
    let impact = client
        .get(&format!("/api/infrastructure/resources/{id}/impact"), &[])
        .await?;
    if output != Output::Table {
        return output.value(&json!({"pool": pool, "impact": impact}));
    }
    if let Some(fields) = pool.as_object_mut() {
        // Whole documents are for the API; here they would hide everything else.
        fields.retain(|name, _| !name.ends_with("_raw"));
    }
    let path = format!(
        "/api/infrastructure/servers/{}/topology",
        word(&pool["server_id"])
    );
    let topology = client.get(&path, &[]).await?;
    print(&describe(id, &pool, &topology, &impact, tree::is_coloured()))
}

/// Writes a pool for people.
fn describe(id: i64, pool: &Value, topology: &Value, impact: &Value, is_coloured: bool) -> String {
    let mut text = String::new();
    for (name, value) in pool.as_object().into_iter().flatten() {
        let value = match value.as_f64() {
            _ if value.is_null() || value.as_array().is_some_and(Vec::is_empty) => continue,
            Some(bytes) if name.ends_with("_bytes") => size(bytes),
            _ => word(value),
        };
        text.push_str(&format!("{:<28}{}\n", clean(name), clean(&value)));
    }
    for (title, tree) in [
        ("Rests on", Tree::below(topology)),
        ("Carries", Tree::above(topology)),
    ] {
        let drawn = tree.draw_from(id, is_coloured);
        if !drawn.is_empty() {
            text.push_str(&format!("\n{title}:\n{drawn}"));
        }
    }
    let affected = impact.get("affected").and_then(Value::as_array);
    let affected = affected.map(Vec::as_slice).unwrap_or_default();
    if !affected.is_empty() {
        text.push_str("\nIf it dies:\n");
    }
    for hit in affected {
        let part = |name: &str| clean(&hit.get(name).map_or_else(|| "-".to_owned(), word));
        let (effect, kind, name) = (part("effect"), part("kind"), part("name"));
        text.push_str(&format!("  {effect:<9} {kind} {name}: {}\n", part("reason")));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        pools: Pools,
    }

    #[test]
    fn filters_become_parameters_with_and_without_list() {
        for words in [
            &["x", "--type", "zfs", "--on", "web"][..],
            &["x", "list", "--type", "zfs", "--on", "web"],
        ] {
            let line = Line::try_parse_from(words).unwrap();
            let expected = [("server", "web".to_owned()), ("pool_type", "zfs".to_owned())];
            assert_eq!(line.pools.filter.query(), expected);
        }
        assert!(Line::try_parse_from(["x", "show"]).is_err());
    }

    #[test]
    fn a_pool_is_told_with_what_it_rests_on_and_what_goes_down_with_it() {
        let resource =
            |id: i64, name: &str| json!({"id": id, "kind": "device", "name": name, "health": "healthy"});
        let topology = json!({
            "resources": [resource(1, "sda"), resource(2, "md0"), resource(3, "/srv")],
            "links": [{"from": 2, "to": 1}, {"from": 3, "to": 2}],
        });
        let pool =
            json!({"pool_name": "md0", "total_size_bytes": 2_000, "gone_at": null, "note": "\u{1b}[31m"});
        let impact = json!({"affected": [{"effect": "lost", "kind": "filesystem", "name": "/srv", "reason": "rests on it"}]});
        let text = describe(2, &pool, &topology, &impact, false);
        for part in [
            "2.0 kB",
            "Rests on:\n└─ sda",
            "Carries:\n└─ /srv",
            "lost      filesystem /srv: rests on it",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains('\u{1b}') && !text.contains("gone_at"));
        for odd in [json!(null), json!([1]), json!({"affected": [7]})] {
            let _ = describe(1, &odd, &odd, &odd, true);
        }
    }
}
