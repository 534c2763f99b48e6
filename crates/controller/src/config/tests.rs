use super::*;

const HOME: &str = "/home/muster";

fn parse(text: &str) -> Result<Config, ConfigError> {
    parse_with(text, Overrides::default())
}

fn parse_with(text: &str, overrides: Overrides) -> Result<Config, ConfigError> {
    Config::parse(Utf8Path::new("test.toml"), text, overrides, Utf8Path::new(HOME))
}

#[test]
fn the_default_text_gives_the_defaults() {
    let config = parse(&Config::default_text()).unwrap();
    assert_eq!(config, parse("").unwrap());
    assert_eq!(config.http.address.to_string(), "127.0.0.1:8480");
    assert_eq!(config.agents.address.to_string(), "0.0.0.0:8481");
    assert_eq!(config.secret_key_file, "/home/muster/secret.key");
}

#[test]
fn every_commented_setting_of_the_default_text_is_one() {
    let uncommented: String = Config::default_text()
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|rest| rest.contains(" = "))
                .unwrap_or(line)
        })
        .fold(String::new(), |text, line| text + line + "\n");
    let written = parse(&uncommented).unwrap();
    let defaults = parse("").unwrap();
    assert_eq!(written.data_dir, DEFAULT_DATA_DIR);
    assert_eq!(
        (
            written.http,
            written.auth,
            written.enrolment,
            written.intake,
            written.samples,
            written.alerts,
            written.scheduler.is_manual,
        ),
        (
            defaults.http,
            defaults.auth,
            defaults.enrolment,
            defaults.intake,
            defaults.samples,
            defaults.alerts,
            defaults.scheduler.is_manual,
        )
    );
}

#[test]
fn all_mistakes_are_told_at_once_with_their_keys() {
    let text = "data_dir = \"x\"\nsecret_key_file = \"y\"\n[http]\naddress = \"here\"\ntrusted_proxies = [\"here\"]\n[agents]\nadvertised = \"a b:1\"\n\
                connections_max = 0\n[database]\nurl = \"postgres://u:secret@h/db\"\n[auth]\nsession_ttl = \"soon\"\n\
                login_per_min = 0\n[enrolment]\nenrolment_per_s = -1.0\ntoken_ttl = \"2days\"\n[intake]\n\
                size_bytes_max = 1\n[samples]\nretention = \"1s\"\n[log]\nformat = \"xml\"\n";
    let message = parse(text).unwrap_err().to_string();
    for key in [
        "data_dir",
        "secret_key_file",
        "http.address",
        "http.trusted_proxies",
        "agents.advertised",
        "agents.connections_max",
        "database.url",
        "auth.session_ttl",
        "auth.login_per_min",
        "enrolment.enrolment_per_s",
        "enrolment.token_ttl",
        "intake.size_bytes_max",
        "samples.retention",
        "log.format",
    ] {
        assert!(message.contains(&format!("{key}: ")), "{key} in {message}");
    }
    assert!(!message.contains("secret@"), "{message}");
}

fn tls_of(text: &str) -> Option<HttpTls> {
    parse(text).unwrap().http.tls
}

#[test]
fn plain_http_is_for_loopback_only() {
    assert_eq!(tls_of(""), None);
    assert_eq!(tls_of("[http]\naddress = \"[::1]:9\"\n"), None);
    assert!(matches!(
        tls_of("[http]\ntls = true\n"),
        Some(HttpTls::Own { .. })
    ));
    for address in ["0.0.0.0:8480", "[::]:8480", "192.0.2.1:8480"] {
        let overrides = || Overrides {
            http: Some(address.parse().unwrap()),
            ..Overrides::default()
        };
        let config = parse_with("[http]\nnames = [\"muster.example.com\"]\n", overrides()).unwrap();
        let names = vec!["muster.example.com".to_owned()];
        assert_eq!(config.http.tls, Some(HttpTls::Own { names }), "{address}");
        let message = parse_with("[http]\ntls = false\n", overrides())
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("http.tls: ") && message.contains(address),
            "{message}"
        );
    }
}

#[test]
fn a_certificate_from_files_is_for_tls_and_needs_its_key() {
    let both = "[http]\ncertificate = \"/a.crt\"\nkey = \"/a.key\"\n";
    assert!(matches!(tls_of(both), Some(HttpTls::Files { .. })));
    for (text, key) in [
        ("[http]\ncertificate = \"/a.crt\"\n", "http.key"),
        ("[http]\nkey = \"/a.key\"\n", "http.certificate"),
        (
            "[http]\ncertificate = \"a.crt\"\nkey = \"/a.key\"\n",
            "http.certificate",
        ),
        (&format!("{both}names = [\"a\"]\n"), "http.names"),
        ("[http]\nnames = [\"a b\"]\n", "http.names"),
    ] {
        let message = parse(text).unwrap_err().to_string();
        assert!(message.contains(&format!("{key}: ")), "{text}: {message}");
    }
}

#[test]
fn postgresql_is_told_to_come_later_and_sqlite_is_taken() {
    let message = parse("[database]\nurl = \"postgres://host/db\"\n")
        .unwrap_err()
        .to_string();
    assert!(message.contains("comes with a later version"), "{message}");
    assert!(parse("[database]\nurl = \"sqlite\"\n").is_ok());
    assert!(parse("[database]\nurl = \"mysql://host\"\n").is_err());
}

#[test]
fn the_command_line_goes_before_the_file() {
    let overrides = Overrides {
        data_dir: Some("relative".into()),
        agents: Some("127.0.0.1:1".parse().unwrap()),
        ..Overrides::default()
    };
    let text = "data_dir = \"/elsewhere\"\n[agents]\naddress = \"127.0.0.1:2\"\n";
    let config = parse_with(text, overrides).unwrap();
    assert_eq!(config.agents.address.port(), 1);
    assert_eq!(config.secret_key_file, "relative/secret.key");
}

#[test]
fn a_misspelt_key_is_a_mistake() {
    assert!(matches!(parse("[agnets]\n"), Err(ConfigError::Parse { .. })));
    assert!(matches!(
        parse("[auth]\nsession_tll = \"1h\"\n"),
        Err(ConfigError::Parse { .. })
    ));
}

#[test]
fn a_named_file_must_exist() {
    let missing = Some(Utf8Path::new("/nonexistent"));
    let loaded = Config::load(missing, Overrides::default(), Utf8Path::new(HOME));
    assert!(matches!(loaded, Err(ConfigError::Read { .. })));
}

#[test]
fn names_of_another_tool_in_the_environment_are_taken_or_told() {
    let set = |name: &str| match name {
        "RETENTION_DAYS" => Some("30".to_owned()),
        "ENABLE_SCHEDULERS" => Some("False".to_owned()),
        "DISABLE_AUTH" => Some("true".to_owned()),
        "CONTAINER_UPDATE_CHECK_INTERVAL" => Some("1800".to_owned()),
        "CONTAINER_DISCOVERY_INTERVAL" => Some("600".to_owned()),
        "ENABLE_TRIVY" => Some(String::new()),
        _ => None,
    };
    let overrides = || Overrides {
        legacy: Legacy::read(set),
        ..Overrides::default()
    };
    let home = Utf8Path::new("/home/muster");
    let config = Config::parse(Utf8Path::new("x.toml"), "", overrides(), home).unwrap();
    assert_eq!(config.alerts.retention.as_secs(), 30 * 86_400);
    assert!(config.scheduler.is_manual);
    assert_eq!(config.scheduler.every["check_images"].as_secs(), 1_800);
    assert_eq!(config.scheduler.every["container_discovery"].as_secs(), 600);
    let names: Vec<&str> = config.without_effect.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["DISABLE_AUTH"]);
    // What the file says goes before.
    let text =
        "[alerts]\nretention = \"60days\"\n[scheduler]\nenabled = true\nevery.retain_alerts = \"6h\"\n";
    let config = Config::parse(Utf8Path::new("x.toml"), text, overrides(), home).unwrap();
    assert_eq!(config.alerts.retention.as_secs(), 60 * 86_400);
    assert!(!config.scheduler.is_manual);
    assert_eq!(config.scheduler.every["retain_alerts"].as_secs(), 6 * 3_600);
    let refused =
        parse("[scheduler]\nevery.seal_samples = \"1h\"\nevery.retain_alerts = \"1s\"\n").unwrap_err();
    for key in ["scheduler.every.seal_samples", "scheduler.every.retain_alerts"] {
        assert!(refused.to_string().contains(key), "{refused}");
    }
}
