//! Each way in which containers are known to lose something when they are made again, one test a way.

use std::collections::BTreeMap;

use muster_recreate::{Input, Network, Plan, RecreateError, Why, explain, plan};
use serde_json::{Value, json};

const OLD: &str = "sha256:00";
const NEW: &str = "sha256:11";
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const PARENT: &str = "ffff456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Case {
    container: Value,
    old: Value,
    new: Value,
    is_podman: bool,
}

/// A container called `web` of an image without any configuration.
fn case(config: Value, host: Value) -> Case {
    let mut container = json!({
        "Id": ID, "Name": "/web", "Image": OLD,
        "Config": {"Hostname": "0123456789ab", "Image": "r/a:1"},
        "HostConfig": {"NetworkMode": "default", "AutoRemove": false},
        "Mounts": [],
        "NetworkSettings": {"Networks": {}},
    });
    merge(&mut container["Config"], config);
    merge(&mut container["HostConfig"], host);
    Case {
        container,
        old: json!({"Id": OLD, "Config": {}}),
        new: json!({"Id": NEW, "Config": {}}),
        is_podman: false,
    }
}

#[expect(clippy::needless_pass_by_value, reason = "calls are shorter with it")]
fn merge(into: &mut Value, from: Value) {
    for (key, value) in from.as_object().cloned().unwrap_or_default() {
        into[key] = value;
    }
}

impl Case {
    fn images(mut self, old: Value, new: Value) -> Self {
        self.old["Config"] = old;
        self.new["Config"] = new;
        self
    }

    fn plan(&self) -> Plan {
        self.try_plan().expect("a plan")
    }

    fn try_plan(&self) -> Result<Plan, RecreateError> {
        let names = BTreeMap::from([
            (ID.to_owned(), "web".to_owned()),
            (PARENT.to_owned(), "vpn".to_owned()),
        ]);
        plan(&Input {
            is_podman: self.is_podman,
            container: &self.container,
            old_image: Some(&self.old),
            new_image: &self.new,
            image: "r/a:1",
            asked: None,
            names: &names,
        })
    }
}

#[test]
fn what_came_from_the_image_is_left_to_the_new_one_and_what_was_set_is_kept() {
    let case = case(
        json!({
            "Env": ["PATH=/old", "A=mine", "B=1"], "WorkingDir": "/w", "User": "me",
            "Labels": {"version": "1", "team": "x"}, "StopSignal": "SIGTERM",
            "ExposedPorts": {"80/tcp": {}, "81/tcp": {}}, "Shell": ["/bin/sh"],
        }),
        json!({}),
    )
    .images(
        json!({
            "Env": ["PATH=/old", "A=image"], "WorkingDir": "/w", "Labels": {"version": "1"},
            "StopSignal": "SIGTERM", "ExposedPorts": {"80/tcp": {}}, "Shell": ["/bin/sh"],
        }),
        json!({"Env": ["PATH=/new", "A=image2"], "Labels": {"version": "2"}}),
    );
    let body = case.plan().body;
    assert_eq!(body["Env"], json!(["A=mine", "B=1"]));
    assert_eq!(body["Labels"], json!({"team": "x"}));
    assert_eq!(body["ExposedPorts"], json!({"81/tcp": {}}));
    assert_eq!(body["User"], "me");
    for inherited in ["WorkingDir", "StopSignal", "Shell", "Hostname"] {
        assert_eq!(body[inherited], Value::Null, "{inherited}");
    }
    assert_eq!(body["Image"], "r/a:1");
}

#[test]
fn what_happens_to_be_a_default_is_kept_where_somebody_set_it() {
    let case = case(json!({"WorkingDir": "/", "StopSignal": "TERM"}), json!({}))
        .images(json!({}), json!({"WorkingDir": "/app", "StopSignal": "QUIT"}));
    let body = case.plan().body;
    assert_eq!(body["WorkingDir"], "/");
    assert_eq!(body["StopSignal"], "TERM");
}

#[test]
fn what_was_cleared_stays_cleared_where_that_can_be_said() {
    let case = case(
        json!({"Env": [], "Labels": {}, "Entrypoint": [], "Cmd": ["x"]}),
        json!({}),
    )
    .images(
        json!({"Env": ["A=1"], "Labels": {"l": "1"}, "Entrypoint": ["/e"], "User": "u",
               "Healthcheck": {"Test": ["CMD", "t"]}}),
        json!({"Env": ["A=2"], "Labels": {"l": "2"}, "Entrypoint": ["/e2"], "User": "u",
               "Healthcheck": {"Test": ["CMD", "t"]}}),
    );
    let made = case.plan();
    assert_eq!(made.body["Env"], json!(["A"]));
    assert_eq!(made.body["Labels"], json!({"l": ""}));
    assert_eq!(made.body["Entrypoint"], json!([]));
    assert_eq!(made.body["Cmd"], json!(["x"]));
    assert_eq!(made.body["Healthcheck"], json!({"Test": ["NONE"]}));
    assert!(
        made.notes.iter().any(|note| note.path == "Config/User"),
        "{:?}",
        made.notes
    );
}

#[test]
fn entry_point_and_command_are_one_choice() {
    let old = json!({"Entrypoint": ["/e"], "Cmd": ["c"]});
    let new = json!({"Entrypoint": ["/e2"], "Cmd": ["c2"]});
    for (own, kept) in [
        ((json!(["/e"]), json!(["c"])), (Value::Null, Value::Null)),
        ((json!(["/e"]), json!(["mine"])), (Value::Null, json!(["mine"]))),
        ((json!(["/mine"]), Value::Null), (json!(["/mine"]), Value::Null)),
        ((json!(["/mine"]), json!(["c"])), (json!(["/mine"]), json!(["c"]))),
        ((json!(["/e"]), Value::Null), (json!(["/e"]), Value::Null)),
        ((json!([]), json!(["c"])), (json!([]), Value::Null)),
    ] {
        let case =
            case(json!({"Entrypoint": own.0, "Cmd": own.1}), json!({})).images(old.clone(), new.clone());
        let body = case.plan().body;
        assert_eq!((body["Entrypoint"].clone(), body["Cmd"].clone()), kept, "{own:?}");
    }
}

#[test]
fn a_health_check_is_judged_part_by_part() {
    let case = case(
        json!({"Healthcheck": {"Test": ["CMD", "old"], "Interval": 5, "Retries": 9}}),
        json!({}),
    )
    .images(
        json!({"Healthcheck": {"Test": ["CMD", "old"], "Interval": 5, "Retries": 3}}),
        json!({"Healthcheck": {"Test": ["CMD", "new"], "Interval": 7, "Retries": 3}}),
    );
    let expected = json!({"Test": ["CMD", "new"], "Interval": 7, "Retries": 9});
    assert_eq!(case.plan().body["Healthcheck"], expected);
}

#[test]
fn without_the_old_image_all_is_kept_and_it_is_said() {
    let case = case(json!({"Env": ["PATH=/old"], "Labels": {"l": "1"}}), json!({}));
    let names = BTreeMap::new();
    let made = plan(&Input {
        is_podman: false,
        container: &case.container,
        old_image: None,
        new_image: &case.new,
        image: "r/a:1",
        asked: None,
        names: &names,
    })
    .expect("a plan");
    assert_eq!(made.body["Env"], json!(["PATH=/old"]));
    assert!(made.notes.iter().any(|note| note.message.contains("gone")));
}

#[test]
fn a_host_name_is_kept_only_if_somebody_chose_it() {
    let named = case(json!({"Hostname": "db"}), json!({}));
    assert_eq!(named.plan().body["Hostname"], "db");
    let by_id = case(json!({}), json!({}));
    assert_eq!(by_id.plan().body["Hostname"], Value::Null);
    for mode in [json!({"NetworkMode": "host"}), json!({"UTSMode": "host"})] {
        let shared = case(json!({"Hostname": "server"}), mode);
        assert_eq!(shared.plan().body["Hostname"], Value::Null);
    }
}

#[test]
fn binds_and_mounts_are_both_carried_and_volumes_without_a_name_are_bound_by_theirs() {
    let mut case = case(
        json!({"Volumes": {"/data": {}}}),
        json!({"Binds": ["v:/v"], "Mounts": [{"Type": "volume", "Source": "m", "Target": "/m/"}],
               "Tmpfs": {"/t": ""}}),
    );
    let volume = |name: &str, place: &str, rw: bool| json!({"Type": "volume", "Name": name, "Destination": place, "RW": rw});
    case.container["Mounts"] = json!([
        volume("v", "/v", true),
        volume("m", "/m", true),
        volume("abc", "/data", true),
        volume("def", "/ro", false),
        volume("never", "/t", true),
        {"Type": "bind", "Source": "/s", "Destination": "/s"},
    ]);
    let host = &case.plan().body["HostConfig"];
    assert_eq!(host["Binds"], json!(["v:/v", "abc:/data", "def:/ro:ro"]));
    assert_eq!(
        host["Mounts"],
        json!([{"Type": "volume", "Source": "m", "Target": "/m/"}])
    );
}

#[test]
fn addresses_that_were_asked_for_are_kept_and_observed_ones_are_not() {
    let mut case = case(
        json!({"MacAddress": "02:42:0a:00:00:09", "Hostname": "chosen"}),
        json!({"NetworkMode": "front"}),
    );
    case.container["NetworkSettings"]["Networks"] = json!({
        "back": {"IPAMConfig": null, "Aliases": ["svc", "0123456789ab", "chosen"], "IPAddress": "10.1.0.4",
                 "MacAddress": "02:42:0a:01:00:04", "DriverOpts": {"o": "1"}, "GwPriority": 5, "DNSNames": ["x"]},
        "front": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}, "IPAddress": "10.0.0.9", "EndpointID": "e"},
    });
    let made = case.plan();
    let front = &made.body["NetworkingConfig"]["EndpointsConfig"];
    assert_eq!(
        *front,
        json!({"front": {"IPAMConfig": {"IPv4Address": "10.0.0.9"}}})
    );
    assert_eq!(made.body["MacAddress"], Value::Null, "it was made from 10.0.0.9");
    let back = Network {
        name: "back".to_owned(),
        endpoint: json!({"Aliases": ["svc"], "DriverOpts": {"o": "1"}, "GwPriority": 5}),
    };
    assert_eq!(made.networks, [back]);
    case.container["Config"]["MacAddress"] = json!("02:11:22:33:44:55");
    assert_eq!(case.plan().body["MacAddress"], "02:11:22:33:44:55");
}

#[test]
fn other_containers_are_named_and_not_numbered() {
    let case = case(
        json!({"ExposedPorts": {"80/tcp": {}}, "Hostname": "ffff456789ab", "Domainname": "d"}),
        json!({"NetworkMode": format!("container:{PARENT}"), "PidMode": "container:vpn",
               "VolumesFrom": [format!("{PARENT}:ro"), "vpn"], "Links": ["/vpn:/web/alias"]}),
    );
    let made = case.plan();
    let host = &made.body["HostConfig"];
    assert_eq!(host["NetworkMode"], "container:vpn");
    assert_eq!(host["VolumesFrom"], json!(["vpn:ro", "vpn"]));
    assert_eq!(host["Links"], json!(["vpn:alias"]));
    assert_eq!(made.needs, ["vpn"]);
    for shared in ["ExposedPorts", "Hostname", "Domainname", "NetworkingConfig"] {
        assert_eq!(made.body[shared], Value::Null, "{shared}");
    }
    let lost = case_of_lost_parent();
    assert!(matches!(lost.try_plan(), Err(RecreateError::Unresolved { .. })));
}

fn case_of_lost_parent() -> Case {
    case(json!({}), json!({"NetworkMode": "container:eeee456789abcdef"}))
}

#[test]
fn every_other_option_passes_as_it_is_known_or_not() {
    let host = json!({
        "NetworkMode": "default", "AutoRemove": false, "DeviceRequests": [{"Driver": "nvidia", "Count": -1}],
        "Devices": [{"PathOnHost": "/dev/x", "PathInContainer": "/dev/y", "CgroupPermissions": "rwm"}],
        "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}], "Init": true, "Sysctls": {"a": "1"},
        "SecurityOpt": ["seccomp=unconfined"], "CapAdd": ["X"], "ShmSize": 5, "LogConfig": {"Type": "local"},
        "GroupAdd": ["5"], "OomScoreAdj": 3, "Runtime": "kata", "CgroupParent": "/p", "SomethingNew": {"deep": [1]},
    });
    let case = case(json!({"FieldOfTomorrow": 7, "StopTimeout": 0}), host.clone());
    let body = case.plan().body;
    assert_eq!(body["HostConfig"], host);
    assert_eq!(body["FieldOfTomorrow"], 7);
    assert_eq!(body["StopTimeout"], 0);
}

#[test]
fn compose_finds_the_image_it_would_use() {
    let labels = json!({"com.docker.compose.image": OLD, "com.docker.compose.config-hash": "h"});
    let body = case(json!({"Labels": labels}), json!({})).plan().body;
    let expected = json!({"com.docker.compose.image": NEW, "com.docker.compose.config-hash": "h"});
    assert_eq!(body["Labels"], expected);
}

#[test]
fn what_removes_itself_is_refused() {
    let refused = case(json!({}), json!({"AutoRemove": true})).try_plan();
    assert_eq!(refused, Err(RecreateError::AutoRemove));
}

#[test]
fn podman_is_not_given_what_it_does_not_take() {
    let mut case = case(
        json!({"Env": ["container=podman", "TERM=xterm", "HOSTNAME=0123456789ab", "A=1"], "WorkingDir": "/",
               "StopSignal": "15"}),
        json!({"MemorySwappiness": -1, "NanoCpus": 5, "CpuPeriod": 1, "CpuQuota": 2, "Runtime": "oci",
               "Ulimits": [{"Name": "RLIMIT_NOFILE", "Soft": 1, "Hard": 2}]}),
    );
    case.is_podman = true;
    let made = case.plan();
    assert_eq!(made.body["Env"], json!(["A=1"]));
    assert_eq!(made.body["WorkingDir"], Value::Null);
    let host = &made.body["HostConfig"];
    for gone in ["MemorySwappiness", "CpuPeriod", "CpuQuota", "Runtime"] {
        assert_eq!(host[gone], Value::Null, "{gone}");
    }
    assert_eq!(host["Ulimits"][0]["Name"], "nofile");
    assert!(
        made.notes
            .iter()
            .any(|note| note.path == "HostConfig/MemorySwappiness")
    );
}

/// By hand, after the reference of API 1.44 and later: several networks with gateway priorities, addresses of an
/// endpoint's own, names that only the engine writes. Unproven: no such engine was at hand.
#[test]
fn the_shape_of_newer_engines_is_carried_too() {
    let mut case = case(
        json!({"MacAddress": "02:aa:bb:cc:dd:ee"}),
        json!({"NetworkMode": "a", "Annotations": {"k": "v"}}),
    );
    case.container["ImageManifestDescriptor"] = json!({"digest": "sha256:22"});
    case.container["NetworkSettings"]["Networks"] = json!({
        "a": {"IPAMConfig": null, "MacAddress": "02:aa:bb:cc:dd:ee", "GwPriority": 1, "DNSNames": ["web", "0123456789ab"]},
        "b": {"IPAMConfig": {"IPv6Address": "fd00::9"}, "GwPriority": 0, "DNSNames": ["web"]},
    });
    let made = case.plan();
    assert_eq!(made.body["MacAddress"], "02:aa:bb:cc:dd:ee");
    assert_eq!(
        made.body["NetworkingConfig"]["EndpointsConfig"],
        json!({"a": {"GwPriority": 1}})
    );
    assert_eq!(
        made.networks[0].endpoint,
        json!({"IPAMConfig": {"IPv6Address": "fd00::9"}, "GwPriority": 0})
    );
    assert_eq!(made.body["HostConfig"]["Annotations"], json!({"k": "v"}));
}

#[test]
fn values_of_the_environment_are_not_told() {
    let case = case(json!({"Env": ["SECRET=one"]}), json!({}));
    let names = BTreeMap::new();
    let input = Input {
        is_podman: false,
        container: &case.container,
        old_image: Some(&case.old),
        new_image: &case.new,
        image: "r/a:1",
        asked: None,
        names: &names,
    };
    let mut after = case.container.clone();
    after["Config"]["Env"] = json!(["SECRET=two"]);
    let found = explain(&input, &after).expect("a plan");
    assert!(found.iter().any(|difference| difference.why == Why::Unexplained));
    let told: String = found
        .iter()
        .map(|difference| difference.to_json().to_string())
        .collect();
    assert!(
        told.contains("SECRET") && !told.contains("one") && !told.contains("two"),
        "{told}"
    );
}
