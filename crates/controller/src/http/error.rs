//! The one table from what went wrong to what the caller is told.
//!
//! Owns the stable codes, their statuses and titles, and the problem+json body (RFC 9457). A caller gets a code, a
//! public sentence and the request id; causes stay in our log under the same id. A [`Problem`] travels in the
//! response's extensions and is rendered by the outermost layer, which alone knows the request id and whether a
//! person or a program asked.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use muster_notify::SettingProblem;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::FieldProblem;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident => $word:literal, $status:ident, $title:literal;)*) => {
        /// Every way in which a request can be refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code, in the order of their statuses.
            #[cfg(test)]
            pub(super) const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable word that programs compare.
            #[must_use]
            pub(super) const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub(super) const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)* }
            }

            /// The sentence that is the same for every problem of this code.
            #[must_use]
            pub(super) const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The request is not well-formed HTTP for us.
    BadRequest => "bad_request", BAD_REQUEST, "The request could not be understood";
    /// The body is not JSON.
    MalformedJson => "malformed_json", BAD_REQUEST, "The body is not valid JSON";
    /// There is no valid session or token.
    Unauthenticated => "unauthenticated", UNAUTHORIZED, "A valid access token is needed";
    /// Name or password is wrong; which one is not said.
    InvalidCredentials => "invalid_credentials", UNAUTHORIZED, "User name or password is wrong";
    /// Only somebody who logged in may do this, not an API token.
    SessionNeeded => "session_needed", FORBIDDEN, "This needs a login instead of an API token";
    /// The caller's role is not enough.
    Forbidden => "forbidden", FORBIDDEN, "This needs another role";
    /// A cookie came with a request that another site may have made.
    CrossOrigin => "cross_origin", FORBIDDEN, "The request came from another site";
    /// No route has this path.
    NotFound => "not_found", NOT_FOUND, "There is nothing at this address";
    /// No such server.
    ServerNotFound => "server_not_found", NOT_FOUND, "There is no such server";
    /// No such device.
    DeviceNotFound => "device_not_found", NOT_FOUND, "There is no such device";
    /// No such pool.
    PoolNotFound => "pool_not_found", NOT_FOUND, "There is no such pool";
    /// No such resource.
    ResourceNotFound => "resource_not_found", NOT_FOUND, "There is no such resource";
    /// No such account.
    UserNotFound => "user_not_found", NOT_FOUND, "There is no such user";
    /// No such API token of the caller's.
    TokenNotFound => "token_not_found", NOT_FOUND, "There is no such API token";
    /// No such channel.
    ChannelNotFound => "channel_not_found", NOT_FOUND, "There is no such channel";
    /// No such delivery.
    DeliveryNotFound => "delivery_not_found", NOT_FOUND, "There is no such delivery";
    /// No such task.
    TaskNotFound => "task_not_found", NOT_FOUND, "There is no such task";
    /// No such registry.
    RegistryNotFound => "registry_not_found", NOT_FOUND, "There is no such registry";
    /// No such rule.
    RuleNotFound => "rule_not_found", NOT_FOUND, "There is no such rule";
    /// No such alert.
    AlertNotFound => "alert_not_found", NOT_FOUND, "There is no such alert";
    /// No such silence or window.
    SilenceNotFound => "silence_not_found", NOT_FOUND, "There is no such silence";
    /// No such agent.
    AgentNotFound => "agent_not_found", NOT_FOUND, "There is no such agent";
    /// No such container.
    ContainerNotFound => "container_not_found", NOT_FOUND, "There is no such container";
    /// No such runtime.
    ContainerHostNotFound => "container_host_not_found", NOT_FOUND, "There is no such container host";
    /// No such update.
    UpdateNotFound => "update_not_found", NOT_FOUND, "There is no such update";
    /// No such update policy.
    UpdatePolicyNotFound => "update_policy_not_found", NOT_FOUND, "There is no such update policy";
    /// No such maintenance window.
    WindowNotFound => "maintenance_window_not_found", NOT_FOUND, "There is no such maintenance window";
    /// No such roll-out.
    RolloutNotFound => "rollout_not_found", NOT_FOUND, "There is no such roll-out";
    /// No such command.
    CommandNotFound => "command_not_found", NOT_FOUND, "There is no such command";
    /// The path exists, the method does not.
    MethodNotAllowed => "method_not_allowed", METHOD_NOT_ALLOWED, "This address does not take this method";
    /// Another account has this name.
    UsernameTaken => "username_taken", CONFLICT, "The user name is taken";
    /// Another channel has this name.
    ChannelNameTaken => "channel_name_taken", CONFLICT, "The name of the channel is taken";
    /// A disabled channel is told nothing.
    ChannelDisabled => "channel_disabled", CONFLICT, "The channel is disabled";
    /// Another registry has this name or address, or it was changed meanwhile.
    RegistryTaken => "registry_taken", CONFLICT, "The registry is there already, or was changed meanwhile";
    /// A disabled registry is not asked.
    RegistryDisabled => "registry_disabled", CONFLICT, "The registry is disabled";
    /// Only what was given up can be sent again, to a channel that is there and enabled.
    DeliveryNotDead => "delivery_not_dead", CONFLICT, "The delivery cannot be sent again";
    /// The change would leave nobody who may administer.
    LastAdmin => "last_admin", CONFLICT, "This is the last enabled admin";
    /// There are as many of these as there may be.
    LimitReached => "limit_reached", CONFLICT, "There are as many as there may be";
    /// The alert is over, or pending, or acknowledged already.
    AlertState => "alert_state", CONFLICT, "The alert is in another state";
    /// Something stands against the update; the detail says what.
    UpdateNotReady => "update_not_ready", CONFLICT, "The update may not be done now";
    /// The thing is in a state in which this cannot be done.
    WrongState => "wrong_state", CONFLICT, "This cannot be done in its state";
    /// Nothing is changed while the freeze switch is on.
    Frozen => "frozen", CONFLICT, "The freeze switch is on";
    /// There is no agent that the command could be for.
    CommandNotIssued => "command_not_issued", CONFLICT, "The agent could not be told";
    /// The server's agent has no open session.
    AgentNotConnected => "agent_not_connected", CONFLICT, "The server's agent is not connected";
    /// Nothing was enrolled for the server, or its identity was revoked or is in quarantine.
    NoAgent => "no_agent", CONFLICT, "The server has no agent that may connect";
    /// The command is over.
    CommandOver => "command_over", CONFLICT, "The command is over";
    /// There is nothing to decide about the agent.
    AgentNotWaiting => "agent_not_waiting", CONFLICT, "The agent waits for no decision";
    /// The body is longer than 1 MiB.
    BodyTooLarge => "body_too_large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The body is of a type that is not taken here.
    UnsupportedMediaType => "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, "The body has the wrong media type";
    /// The body is JSON, but not what is asked for.
    InvalidBody => "invalid_body", UNPROCESSABLE_ENTITY, "The body is not what is expected";
    /// A path or query parameter is wrong; `parameter` names it.
    InvalidParameter => "invalid_parameter", UNPROCESSABLE_ENTITY, "A parameter is not valid";
    /// Too many failed logins for this account or address.
    TooManyAttempts => "too_many_attempts", TOO_MANY_REQUESTS, "Too many attempts, try again later";
    /// Something failed on our side; the log says what, under the request id.
    Internal => "internal", INTERNAL_SERVER_ERROR, "Something went wrong in the controller";
    /// The channel's other side did not take a message.
    DeliveryFailed => "delivery_failed", BAD_GATEWAY, "The channel's other side did not take it";
    /// The agent did not do it.
    CommandFailed => "command_failed", BAD_GATEWAY, "The agent did not do it";
    /// More requests are under way than are served at once.
    Overloaded => "overloaded", SERVICE_UNAVAILABLE, "Too many requests are under way";
    /// The server is silent, so there is nothing to show of now.
    ServerNotReporting => "server_not_reporting", SERVICE_UNAVAILABLE, "The server does not report";
    /// Answering took longer than a request may.
    TimedOut => "timed_out", GATEWAY_TIMEOUT, "The answer took too long";
}

/// A refusal: a code, a sentence about this case, and what else helps the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Which row of the table.
    pub(super) code: Code,
    /// What is wrong in this case, for a person to read; never a cause from inside.
    pub(super) detail: String,
    /// The offending parameter or field.
    pub(super) parameter: Option<String>,
    /// How long the caller should wait.
    pub(super) retry_after: Option<Duration>,
}

/// The problem+json body.
#[derive(Debug, Serialize, ToSchema)]
#[schema(title = "Problem")]
pub(super) struct ProblemBody {
    /// `urn:muster:problem:` and the code.
    #[serde(rename = "type")]
    #[schema(example = "urn:muster:problem:server_not_found")]
    pub(super) problem_type: String,
    /// The same for every problem of this code.
    pub(super) title: &'static str,
    /// The HTTP status.
    pub(super) status: u16,
    /// The stable word that programs compare.
    #[schema(example = "server_not_found")]
    pub(super) code: &'static str,
    /// What is wrong in this case.
    pub(super) detail: String,
    /// The offending parameter or field, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) parameter: Option<String>,
    /// Names this request in the controller's log.
    pub(super) request_id: String,
}

impl Problem {
    /// A problem of this code.
    #[must_use]
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            parameter: None,
            retry_after: None,
        }
    }

    /// A wrong parameter.
    #[must_use]
    pub(super) fn parameter(name: &str, detail: impl std::fmt::Display) -> Self {
        Self {
            parameter: Some(name.to_owned()),
            ..Self::new(Code::InvalidParameter, format!("{name}: {detail}"))
        }
    }

    /// A wrong field of a body.
    #[must_use]
    pub(super) fn field(name: &str, detail: impl std::fmt::Display) -> Self {
        Self {
            parameter: Some(name.to_owned()),
            ..Self::new(Code::InvalidBody, format!("{name}: {detail}"))
        }
    }

    /// Wrong fields of a body.
    #[must_use]
    pub(super) fn fields(problems: &[FieldProblem]) -> Self {
        if let [only] = problems {
            return Self::field(only.field, &only.message);
        }
        let all = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.field, problem.message));
        Self::new(Code::InvalidBody, all.collect::<Vec<_>>().join("; "))
    }

    /// Settings of a channel that cannot be taken.
    #[must_use]
    pub(super) fn settings(problems: &[SettingProblem]) -> Self {
        if let [only] = problems {
            return Self::field(&only.field, &only.message);
        }
        let all = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.field, problem.message));
        Self::new(Code::InvalidBody, all.collect::<Vec<_>>().join("; "))
    }

    /// A failure of ours. Logs the whole chain here, once; the caller is only told where to look.
    #[must_use]
    pub(super) fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = %muster_base::ErrorChain(error), "request failed");
        Self::new(
            Code::Internal,
            "the controller's log has the cause under this request id",
        )
    }

    /// There is no valid session or token.
    #[must_use]
    pub(super) fn unauthenticated() -> Self {
        Self::new(
            Code::Unauthenticated,
            "send Authorization: Bearer with a token from POST /api/auth/token",
        )
    }

    /// No such server.
    #[must_use]
    pub(super) fn no_server(id: i64) -> Self {
        Self::new(Code::ServerNotFound, format!("there is no server {id}"))
    }

    /// What a status made by the framework means in our table.
    #[must_use]
    pub(super) fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::new(Code::NotFound, "no route has this path"),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(Code::MethodNotAllowed, "the Allow header lists the methods")
            }
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(Code::BodyTooLarge, "a body may have 1 MiB"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(Code::UnsupportedMediaType, "send Content-Type: application/json")
            }
            StatusCode::UNPROCESSABLE_ENTITY => {
                Self::new(Code::InvalidBody, "the body is not what is expected")
            }
            status if status.is_client_error() => {
                Self::new(Code::BadRequest, "the request could not be read")
            }
            _ => Self::new(
                Code::Internal,
                "the controller's log has the cause under this request id",
            ),
        }
    }

    /// The body for this request.
    #[must_use]
    pub(super) fn body(&self, request_id: &str) -> ProblemBody {
        ProblemBody {
            problem_type: format!("urn:muster:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            code: self.code.as_str(),
            detail: self.detail.clone(),
            parameter: self.parameter.clone(),
            request_id: request_id.to_owned(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if self.code.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Bearer realm=\"muster\""),
            );
        }
        if let Some(wait) = self.retry_after {
            // Rounded up, so that whoever waits this long is not refused again.
            let seconds = wait.as_secs() + u64::from(0 < wait.subsec_nanos());
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_codes_is_as_published() {
        let table: Vec<String> = Code::ALL
            .iter()
            .map(|code| format!("{} {} {}", code.status().as_u16(), code.as_str(), code.title()))
            .collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn codes_are_unique() {
        let mut words: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Code::ALL.len());
    }

    #[test]
    fn a_retry_hint_is_rounded_up() {
        let mut problem = Problem::new(Code::TooManyAttempts, "wait");
        problem.retry_after = Some(Duration::from_millis(1_200));
        let response = problem.into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    }
}
