//! The wire format of each service that takes JSON over HTTP, and what its answers mean.

use std::time::Duration;

use muster_alert::{NotificationKind, Severity};
use muster_notify::{Blame, Kind, Outcome, test_news};
use serde_json::{Value, json};

use super::sink::{Asked, Sink, Told};
use super::{NOW_MS, channel, deliver, firing, http, news_of};

const TITLE: &str = "[CRITICAL] sda on nas1 is at 61 °C";
const LINK: &str = "https://muster.example.org/alerts/17";

fn ok(body: &Value) -> Told {
    (200, Vec::new(), body.to_string())
}

/// All of it: a POST of JSON by Muster.
fn assert_json_post(asked: &Asked, path: &str) {
    assert_eq!(asked.line, format!("POST {path}"));
    assert_eq!(asked.header("content-type"), "application/json");
    assert!(asked.header("user-agent").starts_with("Muster/"));
    assert_eq!(asked.header("content-length"), asked.body.len().to_string());
}

#[tokio::test]
async fn slack_gets_blocks_in_which_nothing_is_a_mention() {
    let sink = Sink::start(vec![(200, Vec::new(), "ok".to_owned())]).await;
    let url = http(sink.address, "/services/T0/B0/secret-path");
    let slack = channel(Kind::Slack, &json!({"allow_unencrypted": true}), &[("url", &url)]);
    assert_eq!(slack.target(), "127.0.0.1");
    let attempt = deliver(&slack, &[firing()]).await;
    assert_eq!(
        (attempt.outcome, attempt.answer.as_str()),
        (Outcome::Delivered, "200 ok")
    );
    let asked = sink.only();
    assert_json_post(&asked, "/services/T0/B0/secret-path");
    let body = asked.json();
    assert_eq!(body["text"], TITLE);
    let attachment = &body["attachments"][0];
    assert_eq!(attachment["color"], "#d32f2f");
    let blocks = attachment["blocks"].as_array().unwrap();
    assert_eq!(blocks[0]["text"]["text"], format!("*{TITLE}*"));
    let text = blocks[1]["text"]["text"].as_str().unwrap();
    assert!(text.contains("&lt;check&gt; the fans &amp; the"), "{text}");
    assert!(blocks.iter().all(|block| block["text"]["verbatim"] == true));
    assert_eq!(blocks[2]["text"]["text"], format!("<{LINK}|Open in Muster>"));
}

#[tokio::test]
async fn discord_gets_an_embed_and_may_mention_nobody() {
    let limited = (
        429,
        Vec::new(),
        json!({"message": "rate limited", "retry_after": 1.5}).to_string(),
    );
    let sink = Sink::start(vec![ok(&json!({"id": "1"})), limited]).await;
    let url = http(sink.address, "/api/webhooks/1/secret");
    let discord = channel(
        Kind::Discord,
        &json!({"allow_unencrypted": true}),
        &[("url", &url)],
    );
    let mut news = firing();
    news.text = "@everyone ".repeat(1_000);
    assert_eq!(deliver(&discord, &[news]).await.outcome, Outcome::Delivered);
    let asked = sink.only();
    assert_json_post(&asked, "/api/webhooks/1/secret?wait=true");
    let body = asked.json();
    assert_eq!(body["allowed_mentions"], json!({"parse": []}));
    let embed = &body["embeds"][0];
    assert_eq!(embed["title"], "\\[CRITICAL\\] sda on nas1 is at 61 °C");
    assert_eq!(
        (&embed["color"], &embed["url"]),
        (&json!(0xd3_2f2f), &json!(LINK))
    );
    assert_eq!(embed["timestamp"], "2025-11-22T14:12:00Z");
    let description = embed["description"].as_str().unwrap();
    assert!(description.starts_with("\\@everyone \\@everyone"));
    assert!(description.ends_with('…'));
    assert!((4_080..=4_096).contains(&description.encode_utf16().count()));
    let later = deliver(&discord, &[firing()]).await;
    let expected = Outcome::Temporary {
        blame: Blame::Channel,
        retry_after: Some(Duration::from_millis(1_500)),
    };
    assert_eq!(later.outcome, expected);
}

#[tokio::test]
async fn telegram_gets_escaped_html_and_its_token_is_nowhere_else() {
    let limited = json!({"ok": false, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 7}});
    let refused =
        json!({"ok": false, "error_code": 400, "description": "chat not found for 123:canary-token"});
    let sink = Sink::start(vec![
        ok(&json!({"ok": true, "result": {"message_id": 1}})),
        (429, Vec::new(), limited.to_string()),
        (400, Vec::new(), refused.to_string()),
    ])
    .await;
    let settings = json!({"chat_id": -100_123, "message_thread_id": 4, "api": http(sink.address, ""), "allow_unencrypted": true});
    let telegram = channel(Kind::Telegram, &settings, &[("bot_token", "123:canary-token")]);
    assert!(!format!("{telegram:?} {}", telegram.target()).contains("canary"));
    let mut news = firing();
    news.text = format!("<b>&{}", "😀".repeat(5_000));
    assert_eq!(deliver(&telegram, &[news]).await.outcome, Outcome::Delivered);
    let asked = sink.only();
    assert_json_post(&asked, "/bot123:canary-token/sendMessage");
    let body = asked.json();
    assert_eq!(
        (&body["chat_id"], &body["parse_mode"]),
        (&json!("-100123"), &json!("HTML"))
    );
    assert_eq!(body["message_thread_id"], 4);
    assert_eq!(body["reply_markup"]["inline_keyboard"][0][0]["url"], LINK);
    let text = body["text"].as_str().unwrap();
    assert!(
        text.starts_with(&format!("<b>{TITLE}</b>\n\n&lt;b&gt;&amp;😀")),
        "{text:.80}"
    );
    let shown = text
        .replace("<b>", "")
        .replace("</b>", "")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&");
    assert!(
        (4_090..=4_096).contains(&shown.encode_utf16().count()),
        "{}",
        shown.encode_utf16().count()
    );
    let later = deliver(&telegram, &[firing()]).await;
    let Outcome::Temporary { retry_after, .. } = later.outcome else {
        panic!("{later:?}")
    };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
    let refused = deliver(&telegram, &[firing()]).await;
    assert_eq!(refused.outcome, Outcome::Permanent);
    assert!(
        refused.answer.contains("chat not found for (secret)"),
        "{}",
        refused.answer
    );
}

#[tokio::test]
async fn ntfy_gets_json_at_its_root_with_the_user_or_the_token() {
    let sink = Sink::start(Vec::new()).await;
    let mut settings =
        json!({"server": http(sink.address, "/ntfy/"), "topic": "home-alerts", "allow_unencrypted": true});
    let ntfy = channel(Kind::Ntfy, &settings, &[("token", "tk_canary")]);
    let mut news = firing();
    news.text = "ü".repeat(4_000);
    assert_eq!(deliver(&ntfy, &[news]).await.outcome, Outcome::Delivered);
    let asked = sink.only();
    assert_json_post(&asked, "/ntfy/");
    assert_eq!(asked.header("authorization"), "Bearer tk_canary");
    let body = asked.json();
    assert_eq!(body["topic"], "home-alerts");
    assert_eq!(
        (&body["priority"], &body["tags"]),
        (&json!(5), &json!(["rotating_light"]))
    );
    assert_eq!((&body["title"], &body["click"]), (&json!(TITLE), &json!(LINK)));
    assert!(body["message"].as_str().unwrap().len() <= 4_000);
    settings["username"] = "phil".into();
    let ntfy = channel(Kind::Ntfy, &settings, &[("token", "mypass")]);
    deliver(&ntfy, &[news_of(NotificationKind::Resolved)]).await;
    let asked = sink.asked().pop().unwrap();
    assert_eq!(asked.header("authorization"), "Basic cGhpbDpteXBhc3M=");
    assert_eq!(asked.json()["priority"], 3);
}

#[tokio::test]
async fn gotify_gets_its_key_in_a_header() {
    let sink = Sink::start(Vec::new()).await;
    let settings = json!({"url": http(sink.address, ""), "allow_unencrypted": true});
    let gotify = channel(Kind::Gotify, &settings, &[("token", "Acanary")]);
    assert_eq!(deliver(&gotify, &[firing()]).await.outcome, Outcome::Delivered);
    let asked = sink.only();
    assert_json_post(&asked, "/message");
    assert_eq!(asked.header("x-gotify-key"), "Acanary");
    let body = asked.json();
    assert_eq!((&body["title"], &body["priority"]), (&json!(TITLE), &json!(8)));
    assert!(
        body["message"]
            .as_str()
            .unwrap()
            .contains("<check> the fans & the *filter*")
    );
    assert_eq!(body["extras"]["client::display"]["contentType"], "text/plain");
    assert_eq!(body["extras"]["client::notification"]["click"]["url"], LINK);
}

#[tokio::test]
async fn pushover_is_believed_only_if_its_body_says_so_too() {
    let sink = Sink::start(vec![
        ok(&json!({"status": 1, "request": "r1"})),
        ok(&json!({"status": 0, "errors": ["user identifier is invalid"]})),
    ])
    .await;
    let settings = json!({"url": http(sink.address, "/1/messages.json"), "emergency": true, "device": "phone", "allow_unencrypted": true});
    let pushover = channel(
        Kind::Pushover,
        &settings,
        &[("token", "canary-a"), ("user_key", "canary-u")],
    );
    let mut news = firing();
    news.text = "😀".repeat(2_000);
    assert_eq!(deliver(&pushover, &[news]).await.outcome, Outcome::Delivered);
    let asked = sink.only();
    assert_json_post(&asked, "/1/messages.json");
    let body = asked.json();
    assert_eq!(
        (&body["token"], &body["user"]),
        (&json!("canary-a"), &json!("canary-u"))
    );
    assert_eq!(
        (&body["priority"], &body["retry"], &body["expire"]),
        (&json!(2), &json!(60), &json!(3_600))
    );
    assert_eq!(
        (&body["title"], &body["device"]),
        (&json!(TITLE), &json!("phone"))
    );
    assert_eq!(
        (&body["url"], &body["timestamp"]),
        (&json!(LINK), &json!(1_763_820_720))
    );
    assert_eq!(body["message"].as_str().unwrap().chars().count(), 1_024);
    assert_eq!(deliver(&pushover, &[firing()]).await.outcome, Outcome::Permanent);
}

#[tokio::test]
async fn pagerduty_gets_one_incident_for_whatever_is_told_of_an_alert() {
    let taken = (
        202,
        Vec::new(),
        json!({"status": "success", "dedup_key": "x"}).to_string(),
    );
    let sink = Sink::start(vec![taken; 6]).await;
    let settings = json!({"url": http(sink.address, "/v2/enqueue"), "allow_unencrypted": true});
    let pagerduty = channel(Kind::Pagerduty, &settings, &[("routing_key", "canary-key")]);
    assert_eq!(deliver(&pagerduty, &[firing()]).await.outcome, Outcome::Delivered);
    let asked = sink.only();
    assert_json_post(&asked, "/v2/enqueue");
    let body = asked.json();
    assert_eq!(
        (&body["routing_key"], &body["event_action"]),
        (&json!("canary-key"), &json!("trigger"))
    );
    assert_eq!(body["dedup_key"], "muster-r3-5f2c");
    let payload = &body["payload"];
    assert_eq!(
        (&payload["summary"], &payload["source"]),
        (&json!(TITLE), &json!("nas1"))
    );
    assert_eq!(
        (&payload["severity"], &payload["component"]),
        (&json!("critical"), &json!("sda"))
    );
    assert_eq!(payload["timestamp"], "2025-11-22T14:12:00Z");
    assert_eq!(
        payload["custom_details"]["affected"],
        "pool tank, filesystem /tank, 3 more"
    );
    assert_eq!(body["links"][0], json!({"href": LINK, "text": "Alert"}));
    for kind in [
        NotificationKind::Repeat,
        NotificationKind::Acknowledged,
        NotificationKind::Resolved,
    ] {
        deliver(&pagerduty, &[news_of(kind)]).await;
    }
    // A test opens an incident and ends it.
    deliver(&pagerduty, &[test_news("pager", NOW_MS)]).await;
    let told: Vec<(String, String)> = sink
        .asked()
        .iter()
        .map(|asked| asked.json())
        .map(|body| {
            (
                body["event_action"].as_str().unwrap().to_owned(),
                body["dedup_key"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    let of_alert = |action: &str| (action.to_owned(), "muster-r3-5f2c".to_owned());
    assert_eq!(
        told[1..4],
        [of_alert("trigger"), of_alert("acknowledge"), of_alert("resolve")]
    );
    assert_eq!((told[4].0.as_str(), told[5].0.as_str()), ("trigger", "resolve"));
    assert_eq!(told[4].1, told[5].1);
    assert!(told[4].1.starts_with("muster-muster-test-"));
}

#[tokio::test]
async fn alertmanager_knows_an_alert_again_when_it_is_over() {
    let sink = Sink::start(Vec::new()).await;
    let settings =
        json!({"url": http(sink.address, "/am"), "labels": {"team": "storage"}, "allow_unencrypted": true});
    let alertmanager = channel(
        Kind::Alertmanager,
        &settings,
        &[("authorization", "Basic canary")],
    );
    let mut news = firing();
    news.labels.insert("bad-name.1".to_owned(), "x".to_owned());
    news.labels.insert("alertname".to_owned(), "not this".to_owned());
    let mut over = news.clone();
    (over.kind, over.ended_ms) = (NotificationKind::Resolved, Some(news.at_ms));
    assert_eq!(deliver(&alertmanager, &[news]).await.outcome, Outcome::Delivered);
    assert_eq!(deliver(&alertmanager, &[over]).await.outcome, Outcome::Delivered);
    let asked = sink.asked();
    assert_json_post(&asked[0], "/am/api/v2/alerts");
    assert_eq!(asked[0].header("authorization"), "Basic canary");
    let (begins, ends) = (asked[0].json(), asked[1].json());
    let expected = json!({
        "alertname": "High Temperature Alert", "severity": "critical", "muster_alert": "r3-5f2c", "instance": "nas1",
        "resource": "sda", "resource_kind": "device", "device": "sda", "team": "storage", "bad_name_1": "x",
    });
    assert_eq!(begins[0]["labels"], expected);
    assert_eq!(ends[0]["labels"], expected);
    assert_eq!(begins[0]["startsAt"], "2025-11-22T14:00:00Z");
    assert_eq!(begins[0]["endsAt"], "2025-11-29T14:12:05Z");
    assert_eq!(ends[0]["endsAt"], "2025-11-22T14:12:00Z");
    assert_eq!(begins[0]["generatorURL"], LINK);
    assert_eq!(begins[0]["annotations"]["summary"], TITLE);
    assert_eq!(
        begins[0]["annotations"]["runbook_url"],
        "https://wiki.example.org/disks"
    );
    // With another severity it is another alert there, so the milder one ends.
    deliver(&alertmanager, &[news_of(NotificationKind::Escalated)]).await;
    let escalated = sink.asked().pop().unwrap().json();
    let severities: Vec<(&str, &str)> = escalated
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| {
            (
                alert["labels"]["severity"].as_str().unwrap(),
                alert["endsAt"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        severities,
        [
            ("critical", "2025-11-29T14:12:05Z"),
            ("info", "2025-11-22T14:12:00Z"),
            ("warning", "2025-11-22T14:12:00Z")
        ]
    );
}

#[tokio::test]
async fn several_news_are_one_message_where_people_read() {
    let sink = Sink::start(Vec::new()).await;
    let settings = json!({"url": http(sink.address, ""), "allow_unencrypted": true});
    let gotify = channel(Kind::Gotify, &settings, &[("token", "Acanary")]);
    let mut mild = firing();
    mild.severity = Severity::Warning;
    deliver(&gotify, &[mild, news_of(NotificationKind::Resolved)]).await;
    let body = sink.only().json();
    assert_eq!(body["title"], "1 alert messages, 1 resolved");
    assert_eq!(body["priority"], 5);
    assert_eq!(
        body["message"],
        "- [WARNING] sda on nas1 is at 61 °C (2025-11-22T14:12:00Z)\n- [RESOLVED] sda on nas1 is at 61 °C \
         (2025-11-22T14:12:00Z)"
    );
}
