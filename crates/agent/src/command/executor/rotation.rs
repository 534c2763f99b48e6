//! Another key signs commands from now on.

use muster_base::ErrorChain;
use muster_proto::v1;
use tracing::{error, info, warn};

use super::Inner;
use crate::command::audit::Event;
use crate::command::{keys, sha256_hex};

/// What the audit log calls it.
const WHAT: &str = "command.key";

impl Inner {
    /// Takes the steps that follow the key that counts. Each is in the audit log and on disk before it counts.
    pub(super) fn take_keys(&self, way: &v1::CommandKeys) {
        let roots = match self.dir.load() {
            Ok(identity) => identity.roots,
            Err(error) => {
                error!(error = %ErrorChain(&error), "no command key is taken: the identity cannot be read");
                return;
            }
        };
        let now_ms = self.now_ms();
        let mut state = self.lock();
        // That of the enrolment may be several, of which the last is the newest.
        let Some(counts) = state.keys.last().copied() else {
            return;
        };
        let steps = match keys::judge(way, self.pinned.controller, counts, &roots) {
            Ok(steps) => steps,
            Err(why) => {
                warn!(why, "a command key was refused");
                let event = Event {
                    what: WHAT.to_owned(),
                    decision: "refused".to_owned(),
                    reason: "bad_signature".to_owned(),
                    detail: why.to_owned(),
                    ..Event::default()
                };
                if let Err(error) = state.audit.record_unsigned(event, now_ms) {
                    error!(error = %ErrorChain(&error), "a refusal is missing from the audit log");
                }
                return;
            }
        };
        for step in steps {
            let event = Event {
                what: WHAT.to_owned(),
                bytes: sha256_hex(&step.new),
                decision: "allowed".to_owned(),
                detail: format!("takes the place of the key {}", short(&step.old)),
                ..Event::default()
            };
            if let Err(error) = state.audit.record(event, now_ms) {
                error!(error = %ErrorChain(&error), "a command key is not taken: it cannot be written down");
                return;
            }
            if let Err(error) = keys::store(
                &self.folder,
                (self.pinned.controller, self.pinned.agent),
                &step.new,
            ) {
                error!(error = %ErrorChain(&error), "a command key is not taken: it cannot be written down");
                return;
            }
            info!(key = short(&step.new), "another key signs commands from now on");
            state.keys = vec![step.new];
        }
    }
}

/// What the controller calls a key.
fn short(key: &[u8]) -> String {
    sha256_hex(key).chars().take(16).collect()
}
