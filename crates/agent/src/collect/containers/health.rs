//! How well a container is. What cannot be told is unknown, and only what runs as it should is healthy.

use muster_model::Health;

use super::inspect::{Container, Status};

/// 128 and the number of SIGINT, SIGKILL and SIGTERM: how what was told to stop ends.
const STOPPED_CODES: [i64; 3] = [130, 137, 143];

/// The health of a container, and what it rests on.
pub(super) fn judge(container: &Container) -> (Health, Option<String>) {
    match container.status {
        Status::Running => running(container),
        Status::Paused => (Health::Warning, Some("is paused".to_owned())),
        Status::Restarting => (
            Health::Critical,
            Some(format!("does not stay up: restarts after {}", ending(container))),
        ),
        Status::Created => created(container),
        Status::Exited | Status::Stopped => ended(container),
        Status::Dead => (
            Health::Critical,
            Some("is dead: the engine could not remove it".to_owned()),
        ),
        Status::Removing => (Health::Unknown, Some("is being removed".to_owned())),
        Status::Unknown => (Health::Unknown, Some("its state is not known".to_owned())),
    }
}

/// Whether it is down though nobody seems to have stopped it.
pub(super) fn is_down_unexpectedly(container: &Container) -> bool {
    let is_stopped_in_order = |code: i64| code == 0 || STOPPED_CODES.contains(&code);
    let is_oom_killed = container.is_oom_killed == Some(true);
    match container.status {
        Status::Dead | Status::Restarting => true,
        Status::Created => container.error.is_some(),
        Status::Exited | Status::Stopped => {
            is_oom_killed || container.exit_code.is_some_and(|code| !is_stopped_in_order(code))
        }
        Status::Running | Status::Paused | Status::Removing | Status::Unknown => false,
    }
}

fn running(container: &Container) -> (Health, Option<String>) {
    match container.health.as_deref() {
        Some("healthy" | "none") => (Health::Healthy, None),
        Some("unhealthy") => (Health::Critical, Some("its health check fails".to_owned())),
        Some("starting") => (
            Health::Unknown,
            Some("its health check has not succeeded yet".to_owned()),
        ),
        _ => (Health::Unknown, Some("its health check is not known".to_owned())),
    }
}

fn created(container: &Container) -> (Health, Option<String>) {
    match (&container.error, should_run(container)) {
        (Some(error), _) => (
            Health::Critical,
            Some(format!("could not be started: {error:.300}")),
        ),
        (None, true) => (
            Health::Warning,
            Some("was never started, though it is to run always".to_owned()),
        ),
        (None, false) => (Health::Unknown, Some("was never started".to_owned())),
    }
}

fn ended(container: &Container) -> (Health, Option<String>) {
    let ending = ending(container);
    if container.is_oom_killed == Some(true) {
        return (
            Health::Critical,
            Some(format!("ran out of memory: ended with {ending}")),
        );
    }
    if is_down_unexpectedly(container) {
        return (Health::Critical, Some(format!("ended with {ending}")));
    }
    match container.exit_code {
        None => (Health::Unknown, Some("ended, and how is not known".to_owned())),
        Some(_) if should_run(container) => (
            Health::Warning,
            Some(format!(
                "does not run, though it is to run always: ended with {ending}"
            )),
        ),
        Some(0) => (Health::Healthy, Some("has done its work and ended".to_owned())),
        Some(_) => (Health::Warning, Some(format!("was stopped: ended with {ending}"))),
    }
}

fn should_run(container: &Container) -> bool {
    matches!(
        container.restart_policy.as_deref(),
        Some("always" | "unless-stopped")
    )
}

fn ending(container: &Container) -> String {
    match container.exit_code {
        Some(code) => format!("exit code {code}"),
        None => "an exit code that is not known".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(status: Status, health: &str, policy: &str, exit_code: i64) -> Container {
        Container {
            status,
            health: Some(health.to_owned()),
            restart_policy: Some(policy.to_owned()),
            exit_code: Some(exit_code),
            ..Container::default()
        }
    }

    #[test]
    fn only_what_runs_or_has_done_its_work_is_healthy() {
        use Health::{Critical, Healthy, Unknown, Warning};
        for (status, health, policy, exit_code, expected) in [
            (Status::Running, "none", "no", 0, Healthy),
            (Status::Running, "healthy", "always", 0, Healthy),
            (Status::Running, "starting", "no", 0, Unknown),
            (Status::Running, "unhealthy", "no", 0, Critical),
            (Status::Running, "a new word", "no", 0, Unknown),
            (Status::Paused, "healthy", "no", 0, Warning),
            (Status::Restarting, "none", "always", 1, Critical),
            (Status::Exited, "none", "no", 0, Healthy),
            (Status::Exited, "none", "no", 3, Critical),
            (Status::Exited, "none", "no", 143, Warning),
            (Status::Exited, "healthy", "unless-stopped", 0, Warning),
            (Status::Stopped, "none", "always", 137, Warning),
            (Status::Created, "none", "no", 0, Unknown),
            (Status::Created, "none", "always", 0, Warning),
            (Status::Dead, "none", "no", 0, Critical),
            (Status::Removing, "none", "no", 0, Unknown),
            (Status::Unknown, "healthy", "no", 0, Unknown),
        ] {
            let found = judge(&container(status, health, policy, exit_code));
            assert_eq!(found.0, expected, "{status:?} {health} {policy} {exit_code}");
            assert!(
                found.0 == Healthy || found.1.is_some(),
                "{found:?} without a reason"
            );
        }
    }

    #[test]
    fn out_of_memory_is_critical_whatever_stopped_it() {
        let mut killed = container(Status::Exited, "none", "no", 137);
        killed.is_oom_killed = Some(true);
        assert_eq!(judge(&killed).0, Health::Critical);
        assert!(is_down_unexpectedly(&killed));
    }

    #[test]
    fn nothing_known_is_never_healthy() {
        assert_eq!(judge(&Container::default()).0, Health::Unknown);
    }
}
