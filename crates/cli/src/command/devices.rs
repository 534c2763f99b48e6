//! `muster devices`: the disks of the fleet, the verdict on each, and what is accepted of it.

mod describe;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::client::{Client, ClientError, Common, given};
use crate::render::tree::{self, Tree};
use crate::render::{Column, Output, print, say, size, word};

const PATH: &str = "/api/infrastructure/devices";

/// Disks: list, show, accept damage.
#[derive(Debug, Args)]
pub(crate) struct Devices {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    filter: Filter,
    /// Shows what rests on each: partitions, arrays, volumes, filesystems.
    #[arg(long)]
    tree: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Which disks are listed.
#[derive(Debug, Default, Args)]
struct Filter {
    /// Only with this health: healthy, warning, critical, failed or unknown.
    #[arg(long, global = true)]
    health: Option<String>,
    /// Only of servers of this name.
    #[arg(long, global = true, value_name = "NAME")]
    on: Option<String>,
    /// Only of this type: hdd, ssd, nvme or unknown.
    #[arg(long = "type", global = true, value_name = "TYPE")]
    device_type: Option<String>,
    /// Only with this in their model.
    #[arg(long, global = true)]
    model: Option<String>,
    /// Only with this in their serial number.
    #[arg(long, global = true)]
    serial: Option<String>,
    /// Also what is no disk of its own: compressed memory, files and connections as disks, optical and floppy drives.
    #[arg(long, global = true)]
    all: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them; what `devices` alone does too.
    List,
    /// Shows one: the verdict in words, its attributes, how it wears.
    Show {
        /// Its id.
        id: i64,
    },
    /// Accepts the damage that one shows now: from here on only what comes on top counts.
    Acknowledge {
        /// Its id.
        id: i64,
        /// Why.
        #[arg(long)]
        note: Option<String>,
    },
    /// Forgets what was accepted of one: all of its damage counts again.
    Forget {
        /// Its id.
        id: i64,
    },
}

impl Filter {
    fn query(self) -> Vec<(&'static str, String)> {
        given([
            ("health", self.health),
            ("server", self.on),
            ("type", self.device_type),
            ("model", self.model),
            ("serial", self.serial),
            ("virtual", self.all.then(|| "true".to_owned())),
        ])
    }
}

impl Devices {
    pub(crate) async fn run(self) -> Result<(), ClientError> {
        let (client, output) = (self.common.connect()?, self.common.output);
        match self.command {
            None | Some(Command::List) if self.tree => tree_of(&client, output, self.filter).await,
            None | Some(Command::List) => list(&client, output, self.filter).await,
            Some(Command::Show { id }) => show(&client, output, id).await,
            Some(Command::Acknowledge { id, note }) => {
                let (_, verdict) = client
                    .post(&format!("{PATH}/{id}/baseline"), &json!({"note": note}))
                    .await?;
                done(output, "accepted", &verdict)
            }
            Some(Command::Forget { id }) => {
                client.delete(&format!("{PATH}/{id}/baseline")).await?;
                let verdict = client.get(&format!("{PATH}/{id}/verdict"), &[]).await?;
                done(output, "forgotten", &verdict)
            }
        }
    }
}

async fn list(client: &Client, output: Output, filter: Filter) -> Result<(), ClientError> {
    let mut items = client.list(PATH, &filter.query()).await?;
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

/// What rests on the disks that the filter takes, server by server.
async fn tree_of(client: &Client, output: Output, filter: Filter) -> Result<(), ClientError> {
    let devices = client.list(PATH, &filter.query()).await?;
    let servers = client.list("/api/infrastructure/servers", &[]).await?;
    let mut text = String::new();
    let mut answers = Vec::new();
    for server in servers {
        let of_server = devices
            .iter()
            .filter(|device| device["server_id"] == server["id"]);
        let roots: Vec<i64> = of_server.filter_map(|device| device["id"].as_i64()).collect();
        if roots.is_empty() {
            continue;
        }
        let path = format!("/api/infrastructure/servers/{}/topology", word(&server["id"]));
        let topology = client.get(&path, &[]).await?;
        if output == Output::Table {
            text.push_str(&tree::heading(&server["hostname"]));
            text.push_str(&Tree::above(&topology).draw(&roots, tree::is_coloured()));
        } else {
            answers.push(topology);
        }
    }
    match output {
        Output::Table if text.is_empty() => say("there is none"),
        Output::Table => print(&text),
        Output::Json | Output::Yaml => output.value(&Value::Array(answers)),
    }
}

fn columns() -> [Column; 11] {
    let bytes = |item: &Value| item["size_bytes"].as_f64().map_or_else(|| "-".to_owned(), size);
    [
        Column::field("ID", "id"),
        Column::field("SERVER", "server"),
        Column::field("DEVICE", "device_name"),
        Column::field("TYPE", "device_type"),
        Column::field("MODEL", "model"),
        Column::field("SERIAL", "serial_number"),
        Column::new("SIZE", bytes),
        Column::field("°C", "temperature_celsius"),
        Column::field("HOURS", "power_on_hours"),
        Column::field("WEAR %", "wear_level_percent"),
        Column::field("HEALTH", "health"),
    ]
}

async fn show(client: &Client, output: Output, id: i64) -> Result<(), ClientError> {
    let verdict = client.get(&format!("{PATH}/{id}/verdict"), &[]).await?;
    let mut device = client
        .get(&format!("/api/infrastructure/storage/devices/{id}"), &[])
        .await?;
    if let Some(fields) = device.as_object_mut() {
        // The whole SMART document is for the API; here it would hide everything else.
        fields.remove("smart_data_raw");
    }
    match output {
        Output::Table => print(&describe::describe(&device, &verdict)),
        Output::Json | Output::Yaml => output.value(&json!({"device": device, "verdict": verdict})),
    }
}

fn done(output: Output, what: &str, verdict: &Value) -> Result<(), ClientError> {
    match output {
        Output::Table => say(&format!("{what}; the device is now {}", word(&verdict["health"]))),
        Output::Json | Output::Yaml => output.value(verdict),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        devices: Devices,
    }

    #[test]
    fn filters_become_parameters_with_and_without_list() {
        for words in [
            &["x", "--health", "failed", "--on", "web"][..],
            &["x", "list", "--health", "failed", "--on", "web"],
        ] {
            let line = Line::try_parse_from(words).unwrap();
            let expected = [("health", "failed".to_owned()), ("server", "web".to_owned())];
            assert_eq!(line.devices.filter.query(), expected);
        }
        let line = Line::try_parse_from(["x", "show", "7", "-o", "yaml"]).unwrap();
        assert!(matches!(line.devices.command, Some(Command::Show { id: 7 })));
        assert!(Line::try_parse_from(["x", "show"]).is_err());
    }
}
