//! What an engine has, and what calls do to it.

mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

/// What a container of an image does once it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs.
    Runs,
    /// Runs, and is healthy after 30 ms.
    Healthy,
    /// Runs, and is unhealthy after 30 ms.
    NeverHealthy,
    /// Ends after 10 ms with exit code 7.
    Crashes,
    /// Cannot be started.
    BrokenEntrypoint,
    /// Cannot be started, because somebody else has its port.
    PortTaken,
}

#[derive(Debug, Clone)]
struct Image {
    inspect: Value,
    behaviour: Behaviour,
}

#[derive(Debug, Clone)]
struct Container {
    inspect: Value,
    started: Option<Instant>,
    starts: u64,
}

/// Containers, images, names and volumes.
#[derive(Debug, Default)]
pub struct World {
    containers: BTreeMap<String, Container>,
    images: BTreeMap<String, Image>,
    /// `repository:tag` and `repository@digest` by image.
    names: BTreeMap<String, String>,
    /// What can be pulled: `repository@digest` to image.
    registry: BTreeMap<String, (String, Image)>,
    /// Whether what can be pulled is only for who shows a credential.
    is_closed: bool,
    volumes: BTreeSet<String>,
    made: u64,
    /// The command line by which containers say that they were made; none without one. Of Podman.
    pub command_line: Vec<String>,
    /// Whether it is an engine of a user.
    pub is_rootless: bool,
    /// What no client may do.
    violations: Vec<String>,
}

/// Status and body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    fn good(body: Value) -> Self {
        Self { status: 200, body }
    }

    pub(crate) fn failure(status: u16, message: &str) -> Self {
        Self {
            status,
            body: json!({"message": message}),
        }
    }

    fn missing(what: &str) -> Self {
        Self::failure(404, &format!("No such thing: {what}"))
    }
}

/// The id of image number `number`.
#[must_use]
fn image_id(number: u64) -> String {
    format!("sha256:{number:064x}")
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Links as inspects tell them: `/target:/self/alias`.
fn with_links_as_told(mut host: Value, name: &str) -> Value {
    let links = host.get_mut("Links").and_then(Value::as_array_mut);
    for link in links.into_iter().flatten() {
        let (target, alias) = link
            .as_str()
            .and_then(|link| link.split_once(':'))
            .unwrap_or_default();
        let alias = alias.rsplit('/').next().unwrap_or_default();
        *link = json!(format!("/{}:/{name}/{alias}", target.trim_start_matches('/')));
    }
    host
}

/// A time for each container, the later ones later.
fn made_at(number: u64) -> String {
    let (hours, minutes, seconds) = (number / 3_600, number / 60 % 60, number % 60);
    format!("2026-01-01T{hours:02}:{minutes:02}:{seconds:02}Z")
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
}

impl World {
    /// Makes an image that is here under `reference`; its id.
    pub fn image(&mut self, number: u64, reference: &str, config: Value, behaviour: Behaviour) -> String {
        let id = image_id(number);
        let image = Self::make_image(&id, config, behaviour);
        self.images.insert(id.clone(), image);
        self.names.insert(reference.to_owned(), id.clone());
        id
    }

    /// Makes an image that can be pulled as `repository@digest`; its id.
    pub fn pullable(&mut self, number: u64, reference: &str, config: Value, behaviour: Behaviour) -> String {
        let id = image_id(number);
        let image = Self::make_image(&id, config, behaviour);
        self.registry.insert(reference.to_owned(), (id.clone(), image));
        id
    }

    /// An image that is here was pulled as `repository@digest`, and can be again.
    pub fn known_as(&mut self, number: u64, reference: &str) {
        let id = image_id(number);
        if let Some(image) = self.images.get_mut(&id) {
            image.inspect["RepoDigests"] = json!([reference]);
            self.registry.insert(reference.to_owned(), (id, image.clone()));
        }
    }

    /// Removes an image that is here.
    pub fn prune(&mut self, number: u64) {
        let id = image_id(number);
        self.images.remove(&id);
        self.names.retain(|_, of| *of != id);
    }

    /// From now on images are pulled only with a credential.
    pub fn close(&mut self) {
        self.is_closed = true;
    }

    #[expect(clippy::needless_pass_by_value, reason = "calls are shorter with it")]
    fn make_image(id: &str, config: Value, behaviour: Behaviour) -> Image {
        Image {
            inspect: json!({"Id": id, "Config": config, "Size": 1_000_000, "RepoDigests": []}),
            behaviour,
        }
    }

    /// What was done that no client may do: two containers running on one volume, volumes removed.
    #[must_use]
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Names of all volumes.
    #[must_use]
    pub fn volumes(&self) -> &BTreeSet<String> {
        &self.volumes
    }

    /// Names of containers that run, and the images they run from.
    pub fn running(&mut self) -> Vec<(String, String)> {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        let all = ids.iter().filter_map(|id| self.inspect(id));
        all.filter(|inspect| inspect["State"]["Running"] == true)
            .map(|inspect| {
                (
                    text(&inspect, "Name").trim_start_matches('/').to_owned(),
                    text(&inspect, "Image").to_owned(),
                )
            })
            .collect()
    }

    /// Names of all containers.
    #[must_use]
    pub fn container_names(&self) -> Vec<String> {
        let all = self.containers.values();
        all.map(|one| text(&one.inspect, "Name").trim_start_matches('/').to_owned())
            .collect()
    }

    fn find(&self, name: &str) -> Option<String> {
        let is_it = |id: &str, one: &Container| {
            id == name
                || text(&one.inspect, "Name").trim_start_matches('/') == name
                || (12 <= name.len() && id.starts_with(name))
        };
        let found = self.containers.iter().find(|(id, one)| is_it(id, one));
        found.map(|(id, _)| id.clone())
    }

    fn find_image(&self, name: &str) -> Option<String> {
        if self.images.contains_key(name) {
            return Some(name.to_owned());
        }
        self.names.get(name).cloned()
    }

    /// Inspect of a container as it is now.
    pub fn inspect(&mut self, name: &str) -> Option<Value> {
        let id = self.find(name)?;
        let container = self.containers.get_mut(&id)?;
        let behaviour = self
            .images
            .get(text(&container.inspect, "Image"))
            .map(|image| image.behaviour);
        let policy = container.inspect["HostConfig"]["RestartPolicy"]["Name"].clone();
        if let Some(started) = container.started {
            let age = started.elapsed();
            let state = &mut container.inspect["State"];
            match behaviour {
                Some(Behaviour::Crashes) if Duration::from_millis(10) < age => {
                    if policy == "always" || policy == "unless-stopped" {
                        container.starts += 1;
                        container.started = Some(Instant::now());
                        state["StartedAt"] = json!(format!("start {}", container.starts));
                        container.inspect["RestartCount"] = json!(container.starts);
                    } else {
                        container.started = None;
                        *state = json!({"Status": "exited", "Running": false, "ExitCode": 7, "StartedAt": state["StartedAt"]});
                    }
                }
                Some(Behaviour::Healthy | Behaviour::NeverHealthy) => {
                    let good = behaviour == Some(Behaviour::Healthy);
                    let word = match (Duration::from_millis(30) < age, good) {
                        (false, _) => "starting",
                        (true, true) => "healthy",
                        (true, false) => "unhealthy",
                    };
                    state["Health"] = json!({"Status": word});
                }
                _ => {}
            }
        }
        Some(container.inspect.clone())
    }

    pub(crate) fn call(
        &mut self,
        (method, path, query): (&str, &str, &str),
        body: &Value,
        has_credential: bool,
    ) -> Answer {
        let query: BTreeMap<String, String> = url::form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect();
        let get = |key: &str| query.get(key).map(String::as_str).unwrap_or_default();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", ["version"]) => {
                Answer::good(json!({"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10"}))
            }
            ("GET", ["info"]) => Answer::good(json!({"DockerRootDir": "/", "Rootless": self.is_rootless})),
            ("GET", ["libpod", "containers", name, "json"]) => self
                .native(name)
                .map_or_else(|| Answer::missing(name), Answer::good),
            ("GET", ["containers", "json"]) => Answer::good(self.list()),
            ("GET", ["containers", name, "json"]) => self
                .inspect(name)
                .map_or_else(|| Answer::missing(name), Answer::good),
            ("POST", ["containers", "create"]) => self.create(get("name"), body),
            ("POST", ["containers", name, verb]) => self.change(name, verb, get("name"), body),
            ("DELETE", ["containers", name]) => self.remove(name, get("v"), get("force") == "true"),
            ("POST", ["networks", network, "connect"]) => self.connect(network, body),
            ("POST", ["images", "create"]) if self.is_closed && !has_credential => Answer::failure(
                404,
                "pull access denied, repository does not exist or may require a login",
            ),
            ("POST", ["images", "create"]) => self.pull(get("fromImage"), get("tag")),
            ("GET", ["images", rest @ .., "json"]) => {
                let name = rest.join("/");
                let found = self.find_image(&name).and_then(|id| self.images.get(&id));
                found.map_or_else(
                    || Answer::missing(&name),
                    |image| Answer::good(image.inspect.clone()),
                )
            }
            ("POST", ["images", rest @ .., "tag"]) => {
                let Some(id) = self.find_image(&rest.join("/")) else {
                    return Answer::missing("image");
                };
                self.names.insert(format!("{}:{}", get("repo"), get("tag")), id);
                Answer {
                    status: 201,
                    body: Value::Null,
                }
            }
            ("DELETE", ["images", rest @ ..]) => {
                let removed = self.names.remove(&rest.join("/"));
                removed.map_or_else(|| Answer::missing("image"), |_| Answer::good(json!([])))
            }
            _ => Answer::failure(404, "page not found"),
        }
    }

    fn list(&self) -> Value {
        let all = self.containers.iter().map(|(id, one)| {
            json!({
                "Id": id, "Names": [one.inspect["Name"]], "Image": one.inspect["Config"]["Image"],
                "HostConfig": {"NetworkMode": one.inspect["HostConfig"]["NetworkMode"]},
            })
        });
        Value::Array(all.collect())
    }

    fn pull(&mut self, repository: &str, digest: &str) -> Answer {
        let name = format!("{repository}@{digest}");
        let Some((id, image)) = self.registry.get(&name).cloned() else {
            return Answer::failure(404, &format!("manifest for {name} not found"));
        };
        self.images.insert(id.clone(), image);
        self.names.insert(name, id);
        Answer::good(json!({"status": "Pull complete", "id": "layer"}))
    }

    /// What Docker's daemon makes of a body and an image.
    fn create(&mut self, name: &str, body: &Value) -> Answer {
        if self.find(name).is_some() {
            return Answer::failure(409, &format!("The container name \"/{name}\" is already in use"));
        }
        let Some(image) = self.find_image(text(body, "Image")) else {
            return Answer::missing(text(body, "Image"));
        };
        self.made += 1;
        let id = format!("{:064x}", 0xabc0_0000_u64 + self.made);
        let of_image = self.images[&image].inspect["Config"].clone();
        let mut config = object(body);
        let host = config.remove("HostConfig").unwrap_or_default();
        let networking = config.remove("NetworkingConfig").unwrap_or_default();
        for key in [
            "User",
            "WorkingDir",
            "StopSignal",
            "Cmd",
            "Entrypoint",
            "Healthcheck",
        ] {
            if config.get(key).is_none_or(is_nothing) {
                config.insert(key.to_owned(), of_image[key].clone());
            }
        }
        for key in ["Labels", "ExposedPorts", "Volumes"] {
            let mut all = object(&of_image[key]);
            all.extend(object(config.get(key).unwrap_or(&Value::Null)));
            config.insert(key.to_owned(), Value::Object(all));
        }
        let pairs = |value: Option<&Value>| -> Vec<String> {
            let items = value.and_then(Value::as_array).cloned().unwrap_or_default();
            items
                .iter()
                .filter_map(|item| item.as_str().map(str::to_owned))
                .collect()
        };
        let mut env = pairs(config.get("Env"));
        let key = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        for pair in pairs(of_image.get("Env")) {
            if !env.iter().any(|own| key(own) == key(&pair)) {
                env.push(pair);
            }
        }
        config.insert("Env".to_owned(), json!(env));
        if config.get("Hostname").is_none_or(is_nothing) {
            config.insert("Hostname".to_owned(), json!(id[..12]));
        }
        let mounts = self.mounts(&id, &host, &config);
        let mut networks = object(&networking["EndpointsConfig"]);
        if networks.is_empty() && text(&host, "NetworkMode") == "default" {
            networks.insert("bridge".to_owned(), json!({}));
        }
        let host = with_links_as_told(host, name);
        let inspect = json!({
            "Id": id, "Name": format!("/{name}"), "Image": image, "Created": made_at(self.made), "Config": config, "HostConfig": host,
            "Mounts": mounts, "NetworkSettings": {"Networks": networks}, "RestartCount": 0,
            "State": {"Status": "created", "Running": false, "ExitCode": 0, "StartedAt": "0001-01-01T00:00:00Z"},
        });
        let container = Container {
            inspect,
            started: None,
            starts: 0,
        };
        self.containers.insert(id.clone(), container);
        Answer {
            status: 201,
            body: json!({"Id": id, "Warnings": []}),
        }
    }

    fn mounts(&mut self, id: &str, host: &Value, config: &Map<String, Value>) -> Vec<Value> {
        let volume = |name: &str, place: &str| {
            let source = format!("/volumes/{name}/_data");
            json!({"Type": "volume", "Name": name, "Source": source, "Destination": place, "RW": true})
        };
        let binds = host["Binds"].as_array().cloned().unwrap_or_default();
        let mut mounts: Vec<Value> = binds
            .iter()
            .filter_map(|bind| {
                let mut parts = bind.as_str()?.split(':');
                Some(volume(parts.next()?, parts.next()?))
            })
            .collect();
        for place in object(&config["Volumes"]).keys() {
            if !mounts.iter().any(|mount| mount["Destination"] == *place) {
                mounts.push(volume(&format!("anonymous-{id}"), place));
            }
        }
        let names = mounts.iter().map(|mount| text(mount, "Name").to_owned());
        self.volumes.extend(names);
        mounts
    }

    fn change(&mut self, name: &str, verb: &str, to: &str, body: &Value) -> Answer {
        let Some(id) = self.find(name) else {
            return Answer::missing(name);
        };
        match verb {
            "start" => self.start(&id),
            "stop" => self.stop(&id),
            "restart" => {
                self.stop(&id);
                self.start(&id)
            }
            "rename" => {
                if self.find(to).is_some_and(|other| other != id) {
                    return Answer::failure(409, &format!("the name {to} is in use"));
                }
                self.container(&id)["Name"] = json!(format!("/{to}"));
                Answer {
                    status: 204,
                    body: Value::Null,
                }
            }
            "update" => {
                self.container(&id)["HostConfig"]["RestartPolicy"] = body["RestartPolicy"].clone();
                Answer::good(json!({"Warnings": []}))
            }
            _ => Answer::failure(404, "page not found"),
        }
    }

    fn container(&mut self, id: &str) -> &mut Value {
        &mut self.containers.get_mut(id).expect("it was found").inspect
    }

    fn start(&mut self, id: &str) -> Answer {
        let inspect = self.inspect(id).unwrap_or_default();
        if inspect["State"]["Running"] == true {
            return Answer {
                status: 304,
                body: Value::Null,
            };
        }
        let behaviour = self
            .images
            .get(text(&inspect, "Image"))
            .map(|image| image.behaviour);
        match behaviour {
            Some(Behaviour::BrokenEntrypoint) => {
                return Answer::failure(400, "OCI runtime create failed: exec: no such file or directory");
            }
            Some(Behaviour::PortTaken) => {
                return Answer::failure(500, "Bind for 0.0.0.0:80 failed: port is already allocated");
            }
            _ => {}
        }
        self.watch(id, &inspect);
        let container = self.containers.get_mut(id).expect("it was found");
        container.starts += 1;
        container.started = Some(Instant::now());
        container.inspect["State"] = json!({
            "Status": "running", "Running": true, "ExitCode": 0, "StartedAt": format!("start {}", container.starts),
        });
        Answer {
            status: 204,
            body: Value::Null,
        }
    }

    /// Two that run on one volume may ruin it.
    fn watch(&mut self, id: &str, inspect: &Value) {
        let names = |inspect: &Value| -> BTreeSet<String> {
            let mounts = inspect["Mounts"].as_array().cloned().unwrap_or_default();
            mounts
                .iter()
                .map(|mount| text(mount, "Name").to_owned())
                .collect()
        };
        let own = names(inspect);
        let others = self
            .containers
            .iter()
            .filter(|(other, one)| *other != id && one.started.is_some());
        let both: Vec<String> = others
            .filter(|(_, one)| names(&one.inspect).intersection(&own).next().is_some())
            .map(|(_, one)| {
                format!(
                    "{} and {} run on one volume",
                    text(&one.inspect, "Name"),
                    text(inspect, "Name")
                )
            })
            .collect();
        self.violations.extend(both);
    }

    fn stop(&mut self, id: &str) -> Answer {
        let container = self.containers.get_mut(id).expect("it was found");
        if container.started.take().is_none() {
            return Answer {
                status: 304,
                body: Value::Null,
            };
        }
        let started = container.inspect["State"]["StartedAt"].clone();
        container.inspect["State"] =
            json!({"Status": "exited", "Running": false, "ExitCode": 0, "StartedAt": started});
        Answer {
            status: 204,
            body: Value::Null,
        }
    }

    fn remove(&mut self, name: &str, volumes: &str, force: bool) -> Answer {
        let Some(id) = self.find(name) else {
            return Answer::missing(name);
        };
        if volumes != "false" {
            self.violations
                .push(format!("{name} was removed with its volumes"));
        }
        if self.containers[&id].started.is_some() && !force {
            return Answer::failure(409, "You cannot remove a running container");
        }
        self.containers.remove(&id);
        Answer {
            status: 204,
            body: Value::Null,
        }
    }

    fn connect(&mut self, network: &str, body: &Value) -> Answer {
        let Some(id) = self.find(text(body, "Container")) else {
            return Answer::missing("container");
        };
        self.container(&id)["NetworkSettings"]["Networks"][network] = body["EndpointConfig"].clone();
        Answer {
            status: 200,
            body: Value::Null,
        }
    }

    /// Connects a container as `POST /networks/{network}/connect` does. For the beginning of a test.
    pub fn connect_for_test(&mut self, network: &str, body: &Value) {
        self.connect(network, body);
    }

    /// Makes and starts a container of an image that is here; its id. For the beginning of a test.
    ///
    /// # Panics
    /// If it can't be made.
    pub fn run(&mut self, name: &str, body: &Value) -> String {
        let made = self.create(name, body);
        let id = text(&made.body, "Id").to_owned();
        assert_eq!(self.start(&id).status, 204, "{}", made.body);
        id
    }
}
