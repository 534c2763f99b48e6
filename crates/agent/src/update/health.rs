//! Whether a new container is well: by its health check if it has one, else by running on without a restart.

use std::time::Duration;

use muster_base::shutdown::CancellationToken;
use serde_json::Value;
use tokio::time::Instant;

use super::forward::Stop;
use super::record::Record;
use super::{Updater, is_running, text};
use crate::runtime::{Engine, EngineError};

/// What one look says.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// It is well.
    Healthy,
    /// It may become so.
    Waiting,
    /// It runs, and nothing checks it.
    Running,
    /// It failed by itself.
    Failed(String),
}

/// Judges an inspect; `first` is what was seen first.
fn look(now: &Value, first: &Value) -> Look {
    let state = &now["State"];
    if !is_running(now) {
        let code = state["ExitCode"].as_i64().unwrap_or_default();
        let memory = if state["OOMKilled"] == true {
            " (out of memory)"
        } else {
            ""
        };
        return Look::Failed(format!("it ended with exit code {code}{memory}"));
    }
    let is_same =
        now["RestartCount"] == first["RestartCount"] && state["StartedAt"] == first["State"]["StartedAt"];
    if !is_same || state["Restarting"] == true {
        return Look::Failed("it was restarted by the engine".to_owned());
    }
    match text(&state["Health"], "Status") {
        "" | "none" => Look::Running,
        "healthy" => Look::Healthy,
        "unhealthy" => Look::Failed(format!("its health check failed{}", last_output(state))),
        _ => Look::Waiting,
    }
}

/// The end of what the check said last.
fn last_output(state: &Value) -> String {
    let log = state["Health"]["Log"].as_array();
    let output = log
        .and_then(|log| log.last())
        .map(|entry| text(entry, "Output"))
        .unwrap_or_default();
    let output: String = output
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect();
    if output.is_empty() {
        output
    } else {
        format!(": {output}")
    }
}

impl Updater {
    /// Watches the new container until it is well or known not to become so.
    pub(super) async fn watch(
        &self,
        engine: &dyn Engine,
        record: &mut Record,
        id: &str,
        cancel: &CancellationToken,
    ) -> Result<(), Stop> {
        let begun = Instant::now();
        // A plan that gives it no time would pass what crashes, or condemn what only starts slowly.
        let at_least = |ms| Duration::from_millis(ms).max(self.limits.watch_min);
        let limit = at_least(record.plan.health_timeout_ms);
        let stable = at_least(record.plan.stable_ms);
        let mut first: Option<(Value, Instant)> = None;
        // What happens to a container while its engine is being restarted says nothing of its image.
        let mut was_lost = false;
        loop {
            if cancel.is_cancelled() {
                return Err(Stop::cancelled());
            }
            match engine.inspect(id).await {
                Ok(now) => {
                    // The time counts from the first look: before it nobody knows what happened.
                    let (before, since) = first.get_or_insert_with(|| (now.clone(), Instant::now()));
                    let seen = look(&now, before);
                    let is_stable = stable <= since.elapsed();
                    match seen {
                        Look::Healthy => {
                            record.health = Some("healthy".to_owned());
                            return Ok(());
                        }
                        Look::Running if is_stable => {
                            record.health = Some("running".to_owned());
                            return Ok(());
                        }
                        Look::Failed(message) => {
                            record.health = Some(message.clone());
                            let message = format!("the new container is not well: {message}");
                            return Err(Stop {
                                is_image: !was_lost,
                                ..Stop::new("unhealthy", message)
                            });
                        }
                        Look::Waiting if limit <= begun.elapsed() => {
                            record.health = Some("not healthy in time".to_owned());
                            let message =
                                format!("the new container was not healthy within {} s", limit.as_secs());
                            return Err(Stop::by_image("unhealthy", message));
                        }
                        Look::Waiting | Look::Running => {}
                    }
                }
                Err(EngineError::NotFound { .. }) => {
                    return Err(Stop::new("gone", "the new container was removed by somebody"));
                }
                // An engine that is being restarted says nothing of the container.
                Err(_) if begun.elapsed() < limit.max(stable) + self.limits.patience => {
                    first = None;
                    was_lost = true;
                }
                Err(error) => return Err(Stop::engine("health", error)),
            }
            tokio::time::sleep(self.limits.pace).await;
        }
    }
}

/// Podman shows the addresses of a container only once it runs.
pub(super) async fn has_what_was_asked(engine: &dyn Engine, record: &Record, id: &str) -> Result<(), Stop> {
    let Some(asked) = &record.asked else { return Ok(()) };
    let inspected = engine.inspect(id).await;
    let inspect = inspected.map_err(|error| Stop::engine("compare", error))?;
    let unmet = asked.unmet(&inspect);
    if unmet.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the new container was not given what was asked for: {}",
        unmet.join(", ")
    );
    Err(Stop::new("unexplained", message))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[expect(clippy::needless_pass_by_value, reason = "calls are shorter with it")]
    fn seen(state: Value, restarts: u64) -> Value {
        json!({"State": state, "RestartCount": restarts})
    }

    #[test]
    fn only_what_runs_on_or_says_so_is_well() {
        let first = seen(json!({"Running": true, "StartedAt": "a"}), 0);
        let judge = |state: Value, restarts| look(&seen(state, restarts), &first);
        assert_eq!(
            judge(json!({"Running": true, "StartedAt": "a"}), 0),
            Look::Running
        );
        let health = |word: &str| json!({"Running": true, "StartedAt": "a", "Health": {"Status": word}});
        assert_eq!(judge(health("healthy"), 0), Look::Healthy);
        assert_eq!(judge(health("starting"), 0), Look::Waiting);
        assert!(matches!(judge(health("unhealthy"), 0), Look::Failed(_)));
        assert!(matches!(
            judge(json!({"Running": false, "ExitCode": 7}), 0),
            Look::Failed(_)
        ));
        // Sampled between two crashes it runs, and was started anew.
        assert!(matches!(
            judge(json!({"Running": true, "StartedAt": "b"}), 0),
            Look::Failed(_)
        ));
        assert!(matches!(
            judge(json!({"Running": true, "StartedAt": "a"}), 1),
            Look::Failed(_)
        ));
        assert!(matches!(
            judge(json!({"Running": true, "Restarting": true, "StartedAt": "a"}), 0),
            Look::Failed(_)
        ));
    }
}
