//! `muster` as a person or a program uses it, against a whole controller.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use muster_e2e::{Process, World, binary, eventually, run_to_end, run_with};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

/// A person with a home of their own.
struct Person {
    home: PathBuf,
}

impl Person {
    fn new(world: &World, name: &str) -> Self {
        Self {
            home: world.dir().join(name),
        }
    }

    fn run(&self, words: &[&str], input: &str) -> Result<Output> {
        run_with("muster", words, &[("XDG_CONFIG_HOME", &self.home)], input)
    }

    /// Runs `muster` and reads what it prints.
    fn does(&self, words: &[&str], input: &str) -> Result<String> {
        let done = self.run(words, input)?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "{words:?}: {} {said}", done.status);
        Ok(String::from_utf8(done.stdout)?)
    }

    fn json(&self, words: &[&str]) -> Result<Value> {
        let words = [words, &["-o", "json"]].concat();
        Ok(serde_json::from_str(&self.does(&words, "")?)?)
    }

    /// Runs `muster`, which is to fail; gives its exit code and what it said.
    fn fails(&self, words: &[&str]) -> Result<(i32, String)> {
        let done = self.run(words, "")?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Ok((done.status.code().context("it was killed")?, said))
    }
}

async fn start() -> Result<(World, Person, String)> {
    let world = World::start().await?;
    let url = format!("http://{}", world.http);
    let password = std::fs::read_to_string(world.data().join("admin-password"))?;
    let admin = Person::new(&world, "admin");
    let words = ["login", &url, "--username", "admin", "--password-file", "-"];
    admin.does(&words, &password)?;
    Ok((world, admin, url))
}

#[tokio::test]
async fn a_server_is_added_watched_asked_and_deleted_from_the_command_line() -> Result<()> {
    let (world, admin, _) = start().await?;
    let made = admin.json(&["servers", "add", "web", "--tag", "prod"])?;
    let token = world.dir().join("enrolment-token");
    std::fs::write(&token, made["enrolment_token"].as_str().context("token")?)?;
    let enrolled = world.enroll("agent", &token)?;
    ensure!(enrolled.status.success(), "{enrolled:?}");
    let agent = world.start_agent("agent", &[])?;
    eventually(PATIENCE, async || {
        let servers = admin.json(&["servers", "list"])?;
        ensure!(servers[0]["status"] == "online", "{servers}\n{}", agent.printed());
        Ok(())
    })
    .await?;
    eventually(PATIENCE, async || {
        admin.does(&["servers", "collect", "web"], "").map(|_| ())
    })
    .await?;
    // What was collected is acknowledged first and can be asked for a moment later.
    eventually(PATIENCE, async || {
        let samples = admin.json(&["query", "node_load1{instance=\"web\"}", "--since", "10m"])?;
        let points = samples["series"][0]["points"].as_array().context("points")?;
        ensure!(!points.is_empty(), "{samples}");
        let top = admin.json(&["top", "--once", "--sort", "mem"])?;
        let used = top[0]["memory_used_ratio"].as_f64().context("memory")?;
        ensure!(0.0 < used && used < 1.0 && top[0]["load1"].is_f64(), "{top}");
        println!("memory used {used:.3}, {} points of node_load1", points.len());
        Ok(())
    })
    .await?;
    let table = admin.does(&["top"], "")?;
    ensure!(table.contains("SERVER") && table.contains("web"), "{table}");

    admin.does(&["servers", "disable", "web"], "")?;
    ensure!(admin.json(&["servers", "show", "web"])?["monitoring_enabled"] == false);
    admin.does(&["servers", "rename", "web", "www"], "")?;
    admin.does(&["servers", "interval", "www", "30"], "")?;
    ensure!(admin.json(&["servers", "show", "www"])?["collection_interval"] == 30);
    ensure!(admin.fails(&["servers", "show", "web"])?.0 == 4);
    let (code, said) = admin.fails(&["servers", "delete", "www"])?;
    ensure!(code == 2 && said.contains("--yes"), "{code} {said}");
    admin.does(&["servers", "delete", "www", "--yes"], "")?;
    ensure!(admin.json(&["servers", "list"])? == Value::Array(vec![]));
    Ok(())
}

/// A rule that every server breaks.
const BUSY: &str = "name: busy
metric_name: load_1m
condition: gte
threshold: 0
severity: critical
description: look at what runs
";

#[tokio::test]
async fn an_alert_is_seen_answered_and_silenced_from_the_command_line() -> Result<()> {
    let (world, admin, url) = start().await?;
    let made = admin.json(&["tokens", "api", "create", "watch", "--scope", "read"])?;
    let token = world.dir().join("api-token");
    std::fs::write(&token, made["token"].as_str().context("token")?)?;
    let token = token.to_str().context("path")?;
    let words = [
        "alerts",
        "--watch",
        "-o",
        "json",
        "--server",
        &url,
        "--token-file",
        token,
    ];
    let mut watch = Process::start(&binary("muster"), &words, &world.dir().join("watch"))?;
    let made = admin.json(&["servers", "add", "web"])?;
    let token = world.dir().join("enrolment-token");
    std::fs::write(&token, made["enrolment_token"].as_str().context("token")?)?;
    let enrolled = world.enroll("agent", &token)?;
    ensure!(enrolled.status.success(), "{enrolled:?}");
    let _agent = world.start_agent("agent", &[])?;
    admin.does(&["rules", "add", "--file", "-"], BUSY)?;
    let of_rule = ["alerts", "--rule", "busy", "--on", "web"];
    let mut id = String::new();
    eventually(PATIENCE, async || {
        let alerts = admin.json(&of_rule)?;
        ensure!(alerts[0]["status"] == "active", "{alerts}");
        id = alerts[0]["id"].to_string();
        Ok(())
    })
    .await?;
    let table = admin.does(&of_rule, "")?;
    for part in ["critical", "active", "web"] {
        ensure!(table.contains(part), "{part} in {table}");
    }
    let shown = admin.does(&["alerts", "show", &id], "")?;
    for part in ["CRITICAL, active", "look at what runs", "no enabled channel"] {
        ensure!(shown.contains(part), "{part} in {shown}");
    }
    admin.does(&["alerts", "ack", &id, "--note", "on it"], "")?;
    let known = admin.json(&["alerts", "show", &id])?["alert"].clone();
    ensure!(
        known["acknowledged_by"] == "admin" && known["acknowledged_note"] == "on it",
        "{known}"
    );
    let (code, said) = admin.fails(&["alerts", "ack", &id])?;
    ensure!(code == 1, "{code} {said}");
    admin.does(&["alerts", "snooze", &id, "--for", "2h"], "")?;
    ensure!(admin.does(&of_rule, "")?.contains("snoozed"));
    let resolved = admin.json(&[&of_rule[..], &["resolve", "--all"]].concat())?;
    ensure!(resolved["changed"] == 1, "{resolved}");
    let over = admin.json(&["alerts", "--status", "resolved", "--rule", "busy"])?;
    ensure!(over[0]["resolved_by"] == "admin", "{over}");
    told_of_each_change(&mut watch).await?;
    tried_and_counted(&admin)
}

/// Whoever listens is told of each change.
async fn told_of_each_change(watch: &mut Process) -> Result<()> {
    eventually(PATIENCE, async || {
        let seen = watch.printed();
        let of_rule: Vec<Value> = seen
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|alert: &Value| alert["rule_name"] == "busy")
            .collect();
        for status in ["active", "acknowledged", "resolved"] {
            ensure!(
                of_rule.iter().any(|alert| alert["status"] == status),
                "{status} in {seen}"
            );
        }
        Ok(())
    })
    .await?;
    ensure!(watch.is_running()?, "{}", watch.printed());
    Ok(())
}

/// Rules are tried without keeping them, alerts are counted, and what runs by itself is listed.
fn tried_and_counted(admin: &Person) -> Result<()> {
    let tried = admin.json(&[
        "rules",
        "test",
        "busy",
        "--over",
        "1h",
        "--with",
        "threshold=1000000",
    ])?;
    ensure!(tried["triggered"] == 0 && tried["judged"] == 1, "{tried}");
    let tried = admin.does(&["rules", "test", "busy"], "")?;
    ensure!(tried.contains("goes on") && tried.contains("web"), "{tried}");
    ensure!(Some(1) <= admin.json(&["alerts", "stats"])?["resolved_24h"].as_u64());
    let tasks = admin.json(&["tasks"])?;
    ensure!(tasks["tasks"][0]["name"].is_string(), "{tasks}");
    ensure!(admin.fails(&["tasks", "run", "no-such-task"])?.0 == 4);
    ensure!(admin.fails(&["alerts", "show", "777"])?.0 == 4);
    Ok(())
}

#[tokio::test]
async fn rules_and_silences_are_kept_from_the_command_line_and_bad_ones_are_told() -> Result<()> {
    let (_world, admin, _) = start().await?;
    let count = |value: &Value| value.as_array().map(Vec::len);
    let before = count(&admin.json(&["rules"])?);
    admin.does(&["rules", "add", "--file", "-"], BUSY)?;
    let set = [
        "rules",
        "set",
        "busy",
        "threshold=1000",
        "for=10m",
        "scope={tags: [lab]}",
    ];
    admin.does(&set, "")?;
    let rule = admin.json(&["rules", "show", "busy"])?;
    ensure!(
        rule["threshold"] == 1000.0 && rule["scope"]["tags"][0] == "lab",
        "{rule}"
    );
    let (code, said) = admin.fails(&["rules", "set", "busy", "condition=odd"])?;
    ensure!(code == 1 && said.contains("condition"), "{code} {said}");
    admin.does(&["rules", "disable", "busy", "Load is high"], "")?;
    ensure!(count(&admin.json(&["rules", "list", "--disabled"])?) == Some(2));
    admin.does(&["rules", "enable", "busy"], "")?;
    let exported = admin.does(&["rules", "export"], "")?;
    admin.does(&["rules", "import", "-"], &exported)?;
    ensure!(count(&admin.json(&["rules"])?) == before.map(|before| before + 1));
    let done = admin.run(&["rules", "import", "-"], "rules: [{name: x}]")?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(
        done.status.code() == Some(1) && said.contains("rules[0].metric_name"),
        "{said}"
    );
    let (code, said) = admin.fails(&["rules", "rm", "busy"])?;
    ensure!(code == 2 && said.contains("--yes"), "{code} {said}");

    let night = [
        "silences", "add", "nights", "--rule", "busy", "--from", "22:00", "--to", "06:00",
    ];
    let made = admin.json(&night)?;
    ensure!(made["scope"]["rules"][0] == rule["id"], "{made}");
    let (code, said) = admin.fails(&[&night[..], &["--timezone", "Mars/Base"]].concat())?;
    ensure!(code == 1 && said.contains("timezone"), "{code} {said}");
    let swap = admin.json(&["silences", "add", "swap", "--everything", "--for", "2h"])?;
    ensure!(admin.does(&["silences"], "")?.contains("everything"));
    let id = swap["id"].to_string();
    admin.does(&["silences", "rm", &id], "")?;
    ensure!(admin.fails(&["silences", "rm", &id])?.0 == 4);
    admin.does(&["rules", "rm", "busy", "--yes"], "")?;
    ensure!(admin.fails(&["rules", "show", "busy"])?.0 == 4);
    Ok(())
}

#[tokio::test]
async fn logins_are_kept_to_their_owner_and_their_controller_and_end() -> Result<()> {
    let (world, admin, url) = start().await?;
    let kept = admin.home.join("muster/contexts.toml");
    let mode = std::fs::metadata(&kept)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "{mode:o}");
    let listed = admin.does(&["contexts", "list", "-o", "yaml"], "")?;
    ensure!(listed.contains(&url) && !listed.contains("token"), "{listed}");

    let made = admin.json(&["tokens", "api", "create", "grafana", "--scope", "read"])?;
    let token = world.dir().join("api-token");
    std::fs::write(&token, made["token"].as_str().context("token")?)?;
    let token = token.to_str().context("path")?;
    let program = Person::new(&world, "program");
    let at = ["--server", &url, "--token-file", token];
    ensure!(program.fails(&["servers", "list"])?.0 == 3);
    program.does(&[&["servers", "list"], &at[..]].concat(), "")?;
    let (code, said) = program.fails(&[&["servers", "add", "x"], &at[..]].concat())?;
    ensure!(code == 3 && said.contains("role"), "{code} {said}");

    let words = ["users", "add", "eve", "--role", "viewer", "--password-file", "-"];
    admin.does(&words, "long enough for everybody")?;
    let eve = Person::new(&world, "eve");
    let words = [
        "login",
        &url,
        "--username",
        "eve",
        "--password-file",
        "-",
        "--keep",
        "2d",
    ];
    eve.does(&words, "long enough for everybody")?;
    ensure!(eve.json(&["tokens", "api", "list"])?[0]["username"] == "eve");
    ensure!(eve.fails(&["users", "list"])?.0 == 3);
    eve.does(&["logout"], "")?;
    let (code, said) = eve.fails(&["servers", "list"])?;
    ensure!(code == 3 && said.contains("muster login"), "{code} {said}");
    ensure!(admin.json(&["tokens", "api", "list"])?.as_array().map(Vec::len) == Some(1));
    admin.does(&["users", "delete", "eve", "--yes"], "")?;

    let (code, said) = program.fails(&["login", "http://192.0.2.1:8480"])?;
    ensure!(code == 2 && said.contains("TLS"), "{code} {said}");
    let elsewhere = ["servers", "list", "--server", "http://127.0.0.1:9"];
    ensure!(admin.fails(&elsewhere)?.0 == 3, "a token is never sent elsewhere");
    let nobody = [&elsewhere[..], &["--token-file", token]].concat();
    ensure!(program.fails(&nobody)?.0 == 5);
    for shell in ["bash", "zsh", "fish"] {
        ensure!(program.does(&["completions", shell], "")?.contains("servers"));
    }
    Ok(())
}

#[tokio::test]
async fn enrolment_tokens_are_made_listed_and_ended_from_the_command_line() -> Result<()> {
    let (world, admin, _) = start().await?;
    let made = admin.json(&["tokens", "enrolment", "create", "--uses", "3", "--ttl", "1h"])?;
    let id = made["id"].as_str().context("id")?;
    let token = world.dir().join("free-token");
    std::fs::write(&token, made["token"].as_str().context("token")?)?;
    let enrolled = world.enroll("one", &token)?;
    ensure!(enrolled.status.success(), "{enrolled:?}");
    let listed = admin.json(&["tokens", "enrolment", "list"])?;
    ensure!(listed[0]["id"] == id && listed[0]["uses_left"] == 2, "{listed}");
    ensure!(
        listed[0]["state"] == "usable" && listed[0]["created_by"] == "admin",
        "{listed}"
    );
    ensure!(
        !listed
            .to_string()
            .contains(made["token"].as_str().context("token")?)
    );
    admin.does(&["tokens", "enrolment", "revoke", id], "")?;
    let refused = world.enroll("two", &token)?;
    ensure!(!refused.status.success(), "{refused:?}");
    let listed = admin.json(&["tokens", "enrolment", "list"])?;
    ensure!(listed[0]["state"] == "ended", "{listed}");
    ensure!(
        admin
            .fails(&["tokens", "enrolment", "revoke", "0123456789abcdef"])?
            .0
            == 4
    );
    ensure!(admin.fails(&["tokens", "enrolment", "create", "--ttl", "25h"])?.0 != 0);
    Ok(())
}

/// A person who logs in over TLS as the first admin, with this much trust.
fn log_in(world: &World, name: &str, trust: &[&str]) -> Result<(Person, Output)> {
    let url = format!("https://{}", world.http);
    let password = std::fs::read_to_string(world.data().join("admin-password"))?;
    let person = Person::new(world, name);
    let words = ["login", &url, "--username", "admin", "--password-file", "-"];
    let done = person.run(&[&words, trust].concat(), &password)?;
    Ok((person, done))
}

/// What a command on the controller's machine prints.
fn local(world: &World, words: &[&str]) -> Result<String> {
    let data = world.data();
    let words = [words, &["--data-dir", data.to_str().context("path")?]].concat();
    let done = run_to_end("muster-controller", &words)?;
    ensure!(done.status.success(), "{done:?}");
    Ok(String::from_utf8(done.stdout)?)
}

#[tokio::test]
async fn over_tls_a_controller_is_trusted_by_its_root_or_its_pin_and_by_nothing_else() -> Result<()> {
    let mut world = World::prepare()?;
    world.settings = "[http]\ntls = true\n".to_owned();
    world.speaks_tls = true;
    world.start_controller().await?;
    let root = world.dir().join("root.pem");
    std::fs::write(&root, local(&world, &["ca", "root"])?)?;
    let root = root.to_str().context("path")?;
    let foreign = world.dir().join("foreign.pem");
    std::fs::write(&foreign, include_str!("../fixtures/foreign-root.pem"))?;
    let foreign = foreign.to_str().context("path")?;
    let status = local(&world, &["ca", "status"])?;
    let pin = status
        .lines()
        .find_map(|line| line.strip_prefix("root: ")?.split(' ').next())
        .with_context(|| status.clone())?;

    // Nobody is asked where there is no terminal, and the password is not sent.
    let wrong = "0".repeat(64);
    for (trust, words) in [
        (&[][..], [pin, "ca root"]),
        (&["--pin", &wrong], ["in between", &wrong]),
        (&["--ca", foreign], ["cannot be asked", "UnknownIssuer"]),
    ] {
        let (_, done) = log_in(&world, "stranger", trust)?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        let says = words.iter().all(|word| said.contains(word));
        ensure!(done.status.code() == Some(5) && says, "{trust:?}: {said}");
    }
    for (name, trust) in [("by-pin", ["--pin", pin]), ("by-ca", ["--ca", root])] {
        let (person, done) = log_in(&world, name, &trust)?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "{name}: {said}");
        ensure!(
            person.json(&["servers", "list"])? == Value::Array(vec![]),
            "{name}"
        );
    }
    // Plain HTTP gets nothing there.
    let plain = Person::new(&world, "plain");
    let url = format!("http://{}", world.http);
    let words = ["login", &url, "--username", "admin", "--password-file", "-"];
    let done = plain.run(&words, "no password for anybody")?;
    ensure!(done.status.code() == Some(5), "{done:?}");
    world.stop_controller()
}
