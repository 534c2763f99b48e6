//! The four types, and what pretends to be one.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn index(media_type: &str) -> Value {
    let entry = |name: &str, os: &str, architecture: &str, variant: Option<&str>| {
        let mut platform = json!({"os": os, "architecture": architecture, "os.version": "10"});
        if let Some(variant) = variant {
            platform["variant"] = json!(variant);
        }
        json!({"mediaType": OCI_MANIFEST, "digest": digest(name), "size": 7, "platform": platform, "new": {"a": 1}})
    };
    json!({
        "schemaVersion": 2, "mediaType": media_type, "unheard-of": [1],
        "manifests": [
            entry("attestation", "unknown", "unknown", None),
            entry("amd64", "linux", "amd64", None),
            entry("armv6", "linux", "arm", Some("v6")),
            entry("arm64", "linux", "arm64", Some("v8")),
            {"mediaType": "application/vnd.example+json", "digest": digest("none")},
        ],
    })
}

fn image(media_type: &str) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": media_type, "annotations": null,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest("config"), "size": 2},
        "layers": [{"mediaType": "x", "digest": digest("layer"), "size": 3}],
    })
}

fn parse(sent: Option<&str>, value: &Value) -> Result<Document, ManifestError> {
    Document::parse(sent, value.to_string().as_bytes())
}

#[test]
fn all_four_types_are_read_whether_the_type_is_in_the_header_or_in_the_document() {
    for kind in [DOCKER_LIST, OCI_INDEX] {
        let mut value = index(kind);
        assert!(matches!(parse(None, &value), Ok(Document::Index(_))), "{kind}");
        assert!(
            matches!(parse(Some(kind), &value), Ok(Document::Index(_))),
            "{kind}"
        );
        value.as_object_mut().unwrap().remove("mediaType");
        assert!(
            matches!(parse(Some(kind), &value), Ok(Document::Index(_))),
            "{kind}"
        );
        assert!(
            matches!(parse(Some("application/json"), &value), Ok(Document::Index(_))),
            "{kind}"
        );
    }
    for kind in [DOCKER_MANIFEST, OCI_MANIFEST] {
        let mut value = image(kind);
        let sent = format!("{kind}; charset=utf-8");
        assert!(
            matches!(parse(Some(&sent), &value), Ok(Document::Image(_))),
            "{kind}"
        );
        value.as_object_mut().unwrap().remove("mediaType");
        assert!(matches!(parse(None, &value), Ok(Document::Image(_))), "{kind}");
    }
}

#[test]
fn what_two_readers_would_read_as_two_images_is_refused() {
    let mut both = index(OCI_INDEX);
    both["config"] = image(OCI_MANIFEST)["config"].clone();
    assert!(matches!(parse(None, &both), Err(ManifestError::Ambiguous)));
    assert!(matches!(
        parse(Some(OCI_MANIFEST), &index(OCI_INDEX)),
        Err(ManifestError::Type { .. })
    ));
    let v1 = json!({"schemaVersion": 1, "fsLayers": []});
    assert!(matches!(parse(None, &v1), Err(ManifestError::Unsupported(_))));
    assert!(matches!(
        parse(None, &json!({"errors": []})),
        Err(ManifestError::Json(_))
    ));
    assert!(matches!(parse(None, &json!([1])), Err(ManifestError::Json(_))));
    let mut many = index(OCI_INDEX);
    let entry = many["manifests"][1].clone();
    many["manifests"] = Value::Array(vec![entry; 1_001]);
    assert!(matches!(parse(None, &many), Err(ManifestError::Entries(1_001))));
}

#[test]
fn a_machine_gets_the_entry_of_its_platform_and_never_an_attestation() {
    let Ok(Document::Index(index)) = parse(None, &index(OCI_INDEX)) else {
        panic!("an index");
    };
    for (platform, expected) in [
        ("linux/amd64", Some("amd64")),
        ("linux/arm64/v8", Some("arm64")),
        ("linux/arm/v7", Some("armv6")),
        ("linux/arm/v5", None),
        ("linux/s390x", None),
    ] {
        let found = index
            .child(&platform.parse().unwrap())
            .map(|entry| entry.digest.clone());
        assert_eq!(found, expected.map(digest), "{platform}");
    }
}

#[test]
fn a_configuration_says_platform_labels_and_environment() {
    let config = json!({
        "architecture": "arm64", "os": "linux", "variant": "v8", "created": "1970-01-01T00:00:00Z",
        "config": {"Labels": {"org.opencontainers.image.version": "1.2"}, "Env": ["PG_MAJOR=16", "A=b=c"]},
        "history": [],
    });
    let config = ImageConfig::parse(config.to_string().as_bytes()).unwrap();
    assert_eq!(config.platform, Some("linux/arm64".parse().unwrap()));
    assert_eq!(config.labels["org.opencontainers.image.version"], "1.2");
    assert_eq!(
        (config.variable("PG_MAJOR"), config.variable("A")),
        (Some("16"), Some("b=c"))
    );
    let bare = ImageConfig::parse(br#"{"config":{"Labels":null,"Env":null}}"#).unwrap();
    assert_eq!(bare, ImageConfig::default());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), sent in "\\PC{0,40}") {
        let _ = Document::parse(Some(&sent), &bytes);
        let _ = ImageConfig::parse(&bytes);
    }
}
