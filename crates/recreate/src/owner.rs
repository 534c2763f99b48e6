//! Who made a container, and would make it again.

use serde_json::Value;

use crate::value::text;

/// Who owns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Whoever ran the command.
    Nobody,
    /// A compose project: it is made again with its labels, and compose sees what it expects.
    Compose {
        /// The project.
        project: String,
        /// The service in it.
        service: String,
    },
    /// A systemd unit makes it anew at each start, of Podman's.
    Systemd {
        /// The unit.
        unit: String,
    },
    /// A Swarm service keeps it running.
    Swarm,
    /// A kubelet keeps it running.
    Kubernetes,
    /// The container that holds a pod's networks.
    PodInfra,
}

/// Who owns `container`, by its labels.
#[must_use]
pub fn owner(container: &Value) -> Owner {
    let labels = &container["Config"]["Labels"];
    let label = |name: &str| text(labels, name);
    let has = |prefix: &str| {
        let labels = labels.as_object();
        labels.is_some_and(|labels| labels.keys().any(|key| key.starts_with(prefix)))
    };
    if has("com.docker.swarm.") {
        return Owner::Swarm;
    }
    if has("io.kubernetes.") {
        return Owner::Kubernetes;
    }
    if !label("PODMAN_SYSTEMD_UNIT").is_empty() {
        return Owner::Systemd {
            unit: label("PODMAN_SYSTEMD_UNIT").to_owned(),
        };
    }
    if text(&container["Config"], "Image").contains("podman-pause") {
        return Owner::PodInfra;
    }
    let project = label("com.docker.compose.project");
    if project.is_empty() {
        return Owner::Nobody;
    }
    Owner::Compose {
        project: project.to_owned(),
        service: label("com.docker.compose.service").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_would_make_it_again_is_found_by_labels() {
        let of = |labels: Value| owner(&json!({"Config": {"Labels": labels, "Image": "a"}}));
        assert_eq!(of(Value::Null), Owner::Nobody);
        assert_eq!(of(json!({"com.docker.swarm.task.id": "1"})), Owner::Swarm);
        assert_eq!(of(json!({"io.kubernetes.pod.name": "p"})), Owner::Kubernetes);
        let unit = of(json!({"PODMAN_SYSTEMD_UNIT": "a.service"}));
        assert_eq!(
            unit,
            Owner::Systemd {
                unit: "a.service".to_owned()
            }
        );
        let compose = of(json!({"com.docker.compose.project": "p", "com.docker.compose.service": "s"}));
        assert!(matches!(compose, Owner::Compose { project, .. } if project == "p"));
        let infra = owner(&json!({"Config": {"Image": "localhost/podman-pause:4.3.1-0"}}));
        assert_eq!(infra, Owner::PodInfra);
    }
}
