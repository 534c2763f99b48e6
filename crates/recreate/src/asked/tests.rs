use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A container that is in these networks with these aliases, and its own inspect with this command line.
fn container(networks: &[(&str, &[&str])]) -> Value {
    let mut shown = Map::new();
    for (name, aliases) in networks {
        let mut all = vec!["0123456789ab"];
        all.extend(*aliases);
        shown.insert((*name).to_owned(), json!({"NetworkID": name, "Aliases": all}));
    }
    json!({
        "Id": ID, "Config": {"Labels": {}}, "HostConfig": {"NetworkMode": "bridge"}, "State": {"Running": false},
        "NetworkSettings": {"Networks": shown},
    })
}

fn native(line: &str, command: &[&str]) -> Value {
    let words: Vec<&str> = line.split_whitespace().collect();
    json!({"Config": {"CreateCommand": words, "Cmd": command}})
}

/// What is asked for in one network, as it is put into the endpoint's settings.
fn endpoint(line: &str, networks: &[(&str, &[&str])], of: &str) -> Result<Value, AskedError> {
    let asked = asked(&container(networks), Some(&native(line, &[])), None)?;
    let mut endpoint = Map::new();
    asked.add(of, &mut endpoint);
    Ok(Value::Object(endpoint))
}

#[test]
fn addresses_are_read_from_every_form_of_the_command_line() {
    let four = json!({"IPAMConfig": {"IPv4Address": "10.1.0.9"}});
    for line in [
        "podman run --network mine --ip 10.1.0.9 r/a:1",
        "podman run --net=mine --ip=10.1.0.9 r/a:1",
        "podman container create --network=mine:ip=10.1.0.9 r/a:1",
        "podman --root /r --log-level=debug run -d --net mine --ip 10.1.0.9 r/a:1",
        "podman run --ip 10.9.9.9 -dit -eA=1 -e B=2 -p80:80 --network mine --rm=false --ip 10.1.0.9 -- r/a:1",
        "podman run --cgroup-manager=cgroupfs --network mine --ip 10.1.0.9 r/a:1",
    ] {
        assert_eq!(
            endpoint(line, &[("mine", &[])], "mine"),
            Ok(four.clone()),
            "{line}"
        );
    }
    let all = "podman run --network mine:ip=10.1.0.9,ip=fd00::9,mac=92:d0:c6:0a:29:33,alias=a --network other r/a:1";
    let networks: &[(&str, &[&str])] = &[("mine", &["a"]), ("other", &[])];
    assert_eq!(
        endpoint(all, networks, "mine"),
        Ok(json!({
            "IPAMConfig": {"IPv4Address": "10.1.0.9", "IPv6Address": "fd00::9"},
            "MacAddress": "92:d0:c6:0a:29:33",
        }))
    );
    assert_eq!(endpoint(all, networks, "other"), Ok(json!({})));
    let flags = "podman run --net mine --ip6 fd00::9 --mac-address 92:d0:c6:0a:29:33 r/a:1";
    assert_eq!(
        endpoint(flags, &[("mine", &[])], "mine"),
        Ok(json!({"IPAMConfig": {"IPv6Address": "fd00::9"}, "MacAddress": "92:d0:c6:0a:29:33"}))
    );
}

#[test]
fn the_default_network_is_whatever_no_other_word_stands_for() {
    for line in [
        "podman run --ip 10.88.0.9 r/a:1",
        "podman run --network bridge --ip 10.88.0.9 r/a:1",
        "podman run --network bridge:ip=10.88.0.9 r/a:1",
        "podman run --network default --ip=10.88.0.9 r/a:1",
    ] {
        let wanted = json!({"IPAMConfig": {"IPv4Address": "10.88.0.9"}});
        assert_eq!(
            endpoint(line, &[("podman", &[])], "podman"),
            Ok(wanted.clone()),
            "{line}"
        );
        assert_eq!(
            endpoint(line, &[("renamed", &[])], "renamed"),
            Ok(wanted),
            "{line}"
        );
    }
    let both = "podman run --network bridge --network mine:ip=10.1.0.9 r/a:1";
    let networks: &[(&str, &[&str])] = &[("podman", &[]), ("mine", &[])];
    assert_eq!(endpoint(both, networks, "podman"), Ok(json!({})));
}

#[test]
fn what_stands_behind_the_image_is_the_containers_own() {
    let own = native("podman run --net mine r/a:1 --ip 10.1.0.9", &["--ip", "10.1.0.9"]);
    let asked = asked(&container(&[("mine", &[])]), Some(&own), None).expect("it is known");
    let mut endpoint = Map::new();
    asked.add("mine", &mut endpoint);
    assert_eq!(endpoint, Map::new());
    let dashes = native("podman run --net mine r/a:1 -- --ip", &["--", "--ip"]);
    assert!(super::asked(&container(&[("mine", &[])]), Some(&dashes), None).is_ok());
    let other = native("podman run --net mine r/a:1 sleep 9", &["sleep", "10"]);
    assert_eq!(
        super::asked(&container(&[("mine", &[])]), Some(&other), None),
        Err(AskedError::Unread(UnreadError::Arguments))
    );
}

#[test]
fn lines_that_are_not_fully_understood_say_nothing() {
    for line in [
        "podman",
        "podman run",
        "podman run --net mine",
        "podman run --net mine --",
        "podman run --net",
        "podman run --net mine --new-in-podman-9 --ip r/a:1",
        "podman run -dZ --net mine r/a:1",
        "podman play kube x.yaml",
        "podman container clone web",
        "podman --unknown run --net mine r/a:1",
        "podman run --net mine --ip not.an.ip r/a:1",
        "podman run --net mine:ip r/a:1",
        "podman run --net mine:mtu=9000 r/a:1",
        "podman run --net mine --net other --ip 10.1.0.9 r/a:1",
        "podman run --net mine --net host r/a:1",
        "podman run --net mine --network-alias \"a,b\" r/a:1",
        "podman run --- --net mine r/a:1",
    ] {
        let said = endpoint(line, &[("mine", &[])], "mine");
        assert!(matches!(said, Err(AskedError::Unread(_))), "{line}: {said:?}");
    }
    let interface = "podman run --net mine:interface_name=lan0 r/a:1";
    assert!(matches!(
        endpoint(interface, &[("mine", &[])], "mine"),
        Err(AskedError::Unsayable(_))
    ));
    let two = "podman run --net mine:ip=10.1.0.9,ip=10.1.0.10 r/a:1";
    assert!(matches!(
        endpoint(two, &[("mine", &[])], "mine"),
        Err(AskedError::Unsayable(_))
    ));
}

#[test]
fn a_secret_in_a_command_line_is_never_told() {
    let line = "podman run --odd=topsecret --net mine r/a:1";
    let error = endpoint(line, &[("mine", &[])], "mine").expect_err("it is not known");
    assert!(
        error.to_string().contains("--odd") && !error.to_string().contains("topsecret"),
        "{error}"
    );
}

#[test]
fn networks_that_changed_since_are_not_guessed_at() {
    let line = "podman run --net mine --ip 10.1.0.9 r/a:1";
    for shown in [
        &[("mine", &[][..]), ("late", &[][..])][..],
        &[("late", &[][..])][..],
        &[][..],
    ] {
        let said = endpoint(line, shown, "mine");
        assert!(
            matches!(said, Err(AskedError::Moved { .. })),
            "{shown:?}: {said:?}"
        );
    }
    let alias = "podman run --net mine --network-alias a,b r/a:1";
    assert!(endpoint(alias, &[("mine", &["b", "a", "more"])], "mine").is_ok());
    assert!(matches!(
        endpoint(alias, &[("mine", &["a"])], "mine"),
        Err(AskedError::Moved { .. })
    ));
    // One that runs with another address than its line says was given it otherwise.
    let mut running = container(&[("mine", &[])]);
    running["State"]["Running"] = json!(true);
    running["NetworkSettings"]["Networks"]["mine"]["IPAddress"] = json!("10.1.0.9");
    assert!(asked(&running, Some(&native(line, &[])), None).is_ok());
    running["NetworkSettings"]["Networks"]["mine"]["IPAddress"] = json!("10.1.0.7");
    assert!(matches!(
        asked(&running, Some(&native(line, &[])), None),
        Err(AskedError::Moved { .. })
    ));
}

#[test]
fn without_a_command_line_only_the_default_network_or_a_label_says_anything() {
    // What a client of its API has made carries the command line of Podman's service.
    let service = native("/usr/bin/podman --log-level=info system service --time 0", &[]);
    let usual = container(&[("podman", &["a"])]);
    for own in [&service, &json!({"Config": {}})] {
        assert_eq!(asked(&usual, Some(own), None), Ok(Asked::default()));
        assert_eq!(pulls_again(own), Err(AskedError::Unknown));
    }
    let own = service;
    let mut mine = container(&[("mine", &[])]);
    let image = json!({"Config": {"Labels": {}}});
    assert_eq!(asked(&mine, Some(&own), Some(&image)), Err(AskedError::Unknown));
    let line = native("podman run --net mine --ip 10.1.0.9 r/a:1", &[]);
    let known = asked(&mine, Some(&line), None).expect("it is known");
    let label = known.label().expect("it is needed");
    mine["Config"]["Labels"][LABEL] = json!(label);
    assert_eq!(asked(&mine, Some(&own), Some(&image)), Ok(known));
    // One of the image is a stranger's; and without the image nobody knows whose it is.
    let strange = json!({"Config": {"Labels": {LABEL: label}}});
    assert_eq!(asked(&mine, Some(&own), Some(&strange)), Err(AskedError::Unknown));
    assert_eq!(asked(&mine, Some(&own), None), Err(AskedError::Unknown));
    mine["Config"]["Labels"][LABEL] = json!("{\"mine\":{\"odd\":1}}");
    assert_eq!(asked(&mine, Some(&own), Some(&image)), Err(AskedError::Unknown));
}

#[test]
fn a_container_without_networks_of_its_own_needs_no_answer() {
    for mode in [
        "host",
        "none",
        "container:abc",
        "slirp4netns:mtu=1",
        "pasta",
        "ns:/run/x",
    ] {
        let mut without = container(&[("host", &[])]);
        without["HostConfig"]["NetworkMode"] = json!(mode);
        assert_eq!(asked(&without, None, None), Ok(Asked::default()), "{mode}");
    }
}

#[test]
fn a_running_container_is_asked_for_what_it_was_to_have() {
    let line = native(
        "podman run --net mine:ip=10.1.0.9,mac=92-D0-C6-0A-29-33 r/a:1",
        &[],
    );
    let mut made = container(&[("mine", &[])]);
    let known = asked(&made, Some(&line), None).expect("it is known");
    assert_eq!(known.unmet(&made).len(), 2);
    let endpoint = &mut made["NetworkSettings"]["Networks"]["mine"];
    endpoint["IPAddress"] = json!("10.1.0.9");
    endpoint["MacAddress"] = json!("92:d0:c6:0a:29:33");
    assert_eq!(known.unmet(&made), Vec::<String>::new());
}

#[test]
fn whether_the_image_is_pulled_at_each_start_is_read_too() {
    let pulls = |line: &str| pulls_again(&native(line, &[]));
    assert_eq!(pulls("podman run --pull=always r/a:1"), Ok(true));
    assert_eq!(pulls("podman run --pull newer r/a:1"), Ok(true));
    assert_eq!(pulls("podman run --pull missing r/a:1"), Ok(false));
    assert_eq!(pulls("podman run r/a:1 --pull=always"), Ok(false));
    assert!(pulls("podman run --odd r/a:1").is_err());
    assert_eq!(pulls_again(&json!({"Config": {}})), Err(AskedError::Unknown));
}
