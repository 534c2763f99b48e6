//! Why a command was not done: words that do not change, for programs and audit logs.

/// Why a command was refused, expired or did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CommandRefusal {
    /// The signature is not one of the pinned key over these bytes.
    BadSignature,
    /// The bytes are no command.
    Malformed,
    /// It carries a field that this version does not know.
    UnknownField,
    /// It asks for something that this version does not know.
    UnknownVerb,
    /// It is for another agent.
    OtherAgent,
    /// It is for another generation of this agent's identity.
    OtherGeneration,
    /// It is of another controller than the one that this agent was enrolled at.
    OtherController,
    /// Its counter is not above the highest one seen, and its id is not known: it was sent before.
    Replayed,
    /// It was not begun in time.
    Expired,
    /// The controller's time is not known, so that it cannot be told whether it is still in time.
    NoTime,
    /// The local policy does not allow it.
    NotAllowed,
    /// The local policy cannot be trusted or read, so nothing is allowed.
    PolicyUnusable,
    /// The local policy has stopped everything that changes anything.
    Frozen,
    /// The container has rights, or the engine's socket, and the local policy does not allow that.
    PrivilegedContainer,
    /// The new image is of another repository, and the local policy does not list that one.
    OtherRepository,
    /// There is no such runtime, container or pool here.
    NoSuchTarget,
    /// What is there is not what the command was made for.
    RealityChanged,
    /// This agent cannot do that here.
    Unsupported,
    /// Too much is under way or waits to be told.
    Busy,
    /// The part that does what is commanded does not run.
    NoExecutor,
    /// The journal or the audit log cannot be written, so nothing may be done.
    NotWritten,
    /// It was tried and did not succeed.
    Failed,
    /// It was ended before its end.
    Cancelled,
    /// It was begun when the agent ended, and what became of it can't be told.
    Interrupted,
    /// It took longer than it may.
    TimedOut,
    /// The state database was restored from a backup after it was asked for.
    Restored,
    /// It was sent and the agent has never answered.
    NotAnswered,
    /// The credential that it needs was lost with a restart of the controller.
    CredentialLost,
    /// Another word of a newer version.
    Other,
}

impl CommandRefusal {
    /// Every one.
    pub const ALL: [Self; 29] = [
        Self::BadSignature,
        Self::Malformed,
        Self::UnknownField,
        Self::UnknownVerb,
        Self::OtherAgent,
        Self::OtherGeneration,
        Self::OtherController,
        Self::Replayed,
        Self::Expired,
        Self::NoTime,
        Self::NotAllowed,
        Self::PolicyUnusable,
        Self::Frozen,
        Self::PrivilegedContainer,
        Self::OtherRepository,
        Self::NoSuchTarget,
        Self::RealityChanged,
        Self::Unsupported,
        Self::Busy,
        Self::NoExecutor,
        Self::NotWritten,
        Self::Failed,
        Self::Cancelled,
        Self::Interrupted,
        Self::TimedOut,
        Self::Restored,
        Self::NotAnswered,
        Self::CredentialLost,
        Self::Other,
    ];

    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::Malformed => "malformed",
            Self::UnknownField => "unknown_field",
            Self::UnknownVerb => "unknown_verb",
            Self::OtherAgent => "other_agent",
            Self::OtherGeneration => "other_generation",
            Self::OtherController => "other_controller",
            Self::Replayed => "replayed",
            Self::Expired => "expired",
            Self::NoTime => "no_time",
            Self::NotAllowed => "not_allowed",
            Self::PolicyUnusable => "policy_unusable",
            Self::Frozen => "frozen",
            Self::PrivilegedContainer => "privileged_container",
            Self::OtherRepository => "other_repository",
            Self::NoSuchTarget => "no_such_target",
            Self::RealityChanged => "reality_changed",
            Self::Unsupported => "unsupported",
            Self::Busy => "busy",
            Self::NoExecutor => "no_executor",
            Self::NotWritten => "not_written",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::TimedOut => "timed_out",
            Self::Restored => "restored",
            Self::NotAnswered => "not_answered",
            Self::CredentialLost => "credential_lost",
            Self::Other => "other",
        }
    }

    /// The one of this word; [`CommandRefusal::Other`] for a word of a newer version.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        let found = Self::ALL.into_iter().find(|one| one.as_str() == word);
        found.unwrap_or(Self::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_leads_back() {
        for one in CommandRefusal::ALL {
            assert_eq!(CommandRefusal::of_word(one.as_str()), one);
        }
        assert_eq!(CommandRefusal::of_word("moon"), CommandRefusal::Other);
    }
}
