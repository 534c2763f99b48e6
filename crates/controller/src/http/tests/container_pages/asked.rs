//! What was asked of a container's server, on its page.

use axum::http::StatusCode;
use muster_base::id::{AgentId, ServerId};
use muster_model::{CommandState, CommandStatus, Verb};
use muster_proto::convert::CommandReport;
use serde_json::{Value, json};

use super::post;
use crate::app::auth::Role;
use crate::app::commands::{CommandRow, IssueOptions, Issuer};
use crate::http::tests::containers::{container, furnish, id_of};
use crate::http::tests::harness::{NOW, TestApp};
use crate::http::tests::page::{HOSTILE, is_harmless};

/// A command about `web` of a server whose agent is enrolled.
struct Asked {
    server: ServerId,
    agent: AgentId,
    id: i64,
}

impl Asked {
    async fn of(app: &TestApp) -> Self {
        let server = furnish(app, "one", vec![container("web", "nginx:1", &[])]).await;
        let (_, agent) = crate::app::tests::enrolled(&app.state.app, "one", Some(server)).await;
        let id = id_of(app, "web").await;
        Self { server, agent, id }
    }

    async fn restart(&self, app: &TestApp) -> CommandRow {
        let seen = app.state.updates.container(self.id).await.unwrap();
        let verb = Verb::ContainerRestart {
            target: seen.target,
            timeout_s: None,
        };
        let issuer = Issuer::task("containers for operator");
        let commands = app.state.app.commands();
        let issued = commands.issue(self.server, verb, &issuer, IssueOptions::default());
        issued.await.unwrap()
    }

    async fn says(
        &self,
        app: &TestApp,
        row: &CommandRow,
        state: CommandState,
        step: &str,
        words: (&str, &str),
        result: Option<Value>,
    ) {
        let report = CommandReport {
            status: CommandStatus {
                id: row.id,
                state,
                at_ms: NOW,
                progress: (state == CommandState::Started).then_some(0.25),
                step: step.to_owned(),
                message: words.1.to_owned(),
                result,
            },
            reason: words.0.to_owned(),
            counter: 0,
            audit: None,
        };
        app.state.app.commands().said(self.agent, &report).await.unwrap();
    }

    async fn page(&self, app: &TestApp) -> String {
        app.browse(&format!("/containers/{}", self.id))
            .await
            .text()
            .to_owned()
    }
}

#[tokio::test]
async fn what_was_asked_is_followed_and_a_refusal_by_the_server_says_how_it_is_allowed() {
    const SOON: &str = "http-equiv=\"refresh\" content=\"2\"";
    let app = TestApp::start().await;
    let asked = Asked::of(&app).await;
    assert!(!asked.page(&app).await.contains("http-equiv"));
    let row = asked.restart(&app).await;
    let page = asked.page(&app).await;
    for part in ["waits for the server", "by operator", SOON] {
        assert!(page.contains(part), "{part} in {page}");
    }
    asked
        .says(
            &app,
            &row,
            CommandState::Started,
            "stop",
            ("", "it is being stopped"),
            None,
        )
        .await;
    let page = asked.page(&app).await;
    for part in [
        "under way",
        "<progress max=\"1\" value=\"0.250\"",
        "25 %",
        "it is being stopped",
        SOON,
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(!page.contains("data-every"), "events tell of it: {page}");
    asked
        .says(&app, &row, CommandState::Succeeded, "", ("", "restarted"), None)
        .await;
    let page = asked.page(&app).await;
    assert!(
        page.contains("pill good\">done") && !page.contains("http-equiv"),
        "{page}"
    );
    let row = asked.restart(&app).await;
    let words = (
        "not_allowed",
        "the policy of this server does not allow container.restart",
    );
    asked
        .says(&app, &row, CommandState::Refused, "", words, None)
        .await;
    let page = asked.page(&app).await;
    for part in [
        "refused by the server",
        "the policy of this server does not allow container.restart",
        "muster-agent allow container.restart --container 'web'",
        "As root on one",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}

#[tokio::test]
async fn the_end_of_a_log_is_shown_to_operators_alone_and_is_only_text() {
    let app = TestApp::start().await;
    let asked = Asked::of(&app).await;
    let operator = app.token_of(Role::Operator).await;
    let uri = format!("/containers/{}", asked.id);
    let done = post(&app, &operator, &format!("{uri}/logs"), "").await;
    assert_eq!(done.status, StatusCode::SEE_OTHER, "{}", done.text());
    let query = crate::app::commands::CommandQuery::default();
    let rows = app
        .state
        .app
        .commands()
        .list(query, crate::app::PageRequest::default())
        .await
        .unwrap();
    let lines =
        json!({"lines": [{"stream": "stdout", "text": "it began\n"}, {"stream": "stderr", "text": HOSTILE}]});
    asked
        .says(
            &app,
            &rows.items[0],
            CommandState::Succeeded,
            "",
            ("", "2 lines"),
            Some(lines),
        )
        .await;
    let page = app.send(app.as_bearer("GET", &uri, &operator)).await;
    assert!(
        page.text().contains("it began") && page.text().contains("&lt;script&gt;"),
        "{}",
        page.text()
    );
    assert!(is_harmless(page.text()));
    let viewer = app.token_of(Role::Viewer).await;
    let page = app.send(app.as_bearer("GET", &uri, &viewer)).await;
    assert!(!page.text().contains("it began"), "{}", page.text());
}
