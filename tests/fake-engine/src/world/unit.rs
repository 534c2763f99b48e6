//! What Podman says beyond Docker, and what a systemd unit with `podman run --replace` does.

use serde_json::{Value, json};

use super::{World, text};

impl World {
    /// What Podman says of a container in its own words.
    pub(super) fn native(&mut self, name: &str) -> Option<Value> {
        let inspect = self.inspect(name)?;
        let monitor = self.monitor(name);
        Some(json!({
            "Id": inspect["Id"], "State": {"ConmonPid": monitor}, "Config": {"CreateCommand": self.command_line},
        }))
    }

    /// Number of the process that watches over a container that runs; 0 where there is none.
    pub fn monitor(&mut self, name: &str) -> u64 {
        let Some(inspect) = self.inspect(name) else {
            return 0;
        };
        if inspect["State"]["Running"] != true {
            return 0;
        }
        // Ids are numbers here: each container has one of its own.
        u64::from_str_radix(text(&inspect, "Id"), 16).unwrap_or_default() & 0xffff
    }

    /// What a unit with `podman run --replace` does when it is restarted: the container is made anew of what its image's
    /// name means now.
    ///
    /// # Errors
    /// What Podman would say where it can't be made or started.
    pub fn replace(&mut self, name: &str, body: &Value) -> Result<(), String> {
        self.stop_and_forget(name);
        let made = self.create(name, body);
        if made.status != 201 {
            return Err(made.body.to_string());
        }
        let id = text(&made.body, "Id").to_owned();
        let started = self.start(&id);
        if started.status == 204 {
            return Ok(());
        }
        self.stop_and_forget(name);
        Err(started.body.to_string())
    }

    /// What a unit does when it ends: its container goes, and its volumes stay.
    pub fn stop_and_forget(&mut self, name: &str) {
        if let Some(id) = self.find(name) {
            self.stop(&id);
            self.containers.remove(&id);
        }
    }
}
