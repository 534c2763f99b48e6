//! Email through a real server.

use muster_alert::NotificationKind;
use muster_notify::{Channel, Kind, Options, Outcome};
use serde_json::{Value, json};

use super::smtp::SmtpServer;
use super::{deliver, firing, news_of, secrets};

fn mail(server: &SmtpServer, encryption: &str, more: &Value, pairs: &[(&str, &str)]) -> Channel {
    let mut settings = json!({
        "host": "localhost", "port": server.port, "encryption": encryption, "ca": server.authority,
        "from": "Muster <muster@example.org>", "to": ["admin@example.org", "Zoë <second@example.org>"],
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    Channel::build(Kind::Email, &settings, secrets(pairs), Options::default()).unwrap()
}

fn header<'a>(mail: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = mail["headers"].as_array().unwrap().iter();
    headers
        .filter(|header| header[0] == name)
        .map(|header| header[1].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn mail_goes_out_encrypted_and_logged_in_both_ways() {
    for encryption in ["starttls", "tls"] {
        let mut server = SmtpServer::start(encryption, Some(("muster", "canary-password"))).await;
        let login = json!({"username": "muster"});
        let channel = mail(&server, encryption, &login, &[("password", "canary-password")]);
        let attempt = deliver(&channel, &[firing()]).await;
        assert_eq!(attempt.outcome, Outcome::Delivered, "{encryption}: {attempt:?}");
        assert_eq!(attempt.answer, "250 2.0.0 Queued as 4711");
        let got = server.next().await;
        assert_eq!((&got["tls"], &got["user"]), (&json!(true), &json!("muster")));
        assert_eq!(got["from"], "muster@example.org");
        assert_eq!(got["to"], json!(["admin@example.org", "second@example.org"]));
        assert_eq!(header(&got, "Subject"), ["[CRITICAL] sda on nas1 is at 61 °C"]);
        assert_eq!(header(&got, "From"), ["Muster <muster@example.org>"]);
        assert_eq!(header(&got, "Message-ID"), ["<a17-2.c5@example.org>"]);
        assert_eq!(header(&got, "References"), ["<muster-r3-5f2c@example.org>"]);
        assert_eq!(header(&got, "Auto-Submitted"), ["auto-generated"]);
        assert!(
            header(&got, "Date")[0].starts_with("Sat, 22 Nov 2025 14:12:05"),
            "{got}"
        );
        let text = got["text"].as_str().unwrap();
        assert!(
            text.starts_with("The drive is hotter than it should be: <check> the fans & the *filter*."),
            "{text}"
        );
        assert!(text.contains("Value: 61.25 °C (> 60 °C)"), "{text}");

        let wrong = mail(&server, encryption, &login, &[("password", "canary-wrong")]);
        let attempt = deliver(&wrong, &[firing()]).await;
        assert_eq!(attempt.outcome, Outcome::Permanent, "{attempt:?}");
        assert!(
            attempt.answer.contains("log in") && !attempt.answer.contains("canary"),
            "{}",
            attempt.answer
        );
    }
}

#[tokio::test]
async fn what_stands_in_a_name_makes_no_header() {
    let mut server = SmtpServer::start("none", None).await;
    let channel = mail(&server, "none", &json!({"allow_unencrypted": true}), &[]);
    let mut news = news_of(NotificationKind::Resolved);
    news.title = "disk\r\nBcc: victim@example.org\r\n\r\nevil ü".to_owned();
    news.text = "first\r\n.\r\nQUIT\r\n..dots".to_owned();
    let attempt = deliver(&channel, &[news]).await;
    assert_eq!(attempt.outcome, Outcome::Delivered, "{attempt:?}");
    let got = server.next().await;
    assert_eq!(
        header(&got, "Subject"),
        ["[RESOLVED] disk Bcc: victim@example.org evil ü"]
    );
    assert_eq!(header(&got, "Bcc"), [""; 0]);
    assert_eq!(got["to"], json!(["admin@example.org", "second@example.org"]));
    let text = got["text"].as_str().unwrap().replace("\r\n", "\n");
    assert!(text.starts_with("first\n.\nQUIT\n..dots\n"), "{text}");
    assert_eq!(got["tls"], false);
}

#[tokio::test]
async fn a_recipient_who_is_unknown_keeps_the_mail_from_nobody_else() {
    let mut server = SmtpServer::start("none", None).await;
    let plain = |to: Value| {
        mail(
            &server,
            "none",
            &json!({"allow_unencrypted": true, "to": to}),
            &[],
        )
    };
    let some = plain(json!(["unknown@example.org", "admin@example.org"]));
    let none = plain(json!(["unknown@example.org"]));
    let later = plain(json!(["later@example.org", "unknown@example.org"]));
    let attempt = deliver(&some, &[firing()]).await;
    assert_eq!(attempt.outcome, Outcome::Delivered);
    assert!(
        attempt.answer.contains("refused: unknown@example.org"),
        "{}",
        attempt.answer
    );
    assert_eq!(deliver(&none, &[firing()]).await.outcome, Outcome::Permanent);
    assert!(matches!(
        deliver(&later, &[firing()]).await.outcome,
        Outcome::Temporary { .. }
    ));
    let mut spam = firing();
    spam.text = "REFUSE THIS".to_owned();
    let attempt = deliver(&some, &[spam]).await;
    assert_eq!(attempt.outcome, Outcome::Permanent, "{attempt:?}");
    assert!(attempt.answer.contains("Looks like spam"), "{}", attempt.answer);
    assert_eq!(server.next().await["to"], json!(["admin@example.org"]));
}

#[tokio::test]
async fn nothing_is_said_without_the_encryption_that_was_asked_for() {
    let server = SmtpServer::start("none", None).await;
    let login = json!({"username": "muster"});
    let channel = mail(&server, "starttls", &login, &[("password", "canary-password")]);
    let attempt = deliver(&channel, &[firing()]).await;
    assert_eq!(attempt.outcome, Outcome::Permanent, "{attempt:?}");
    assert!(attempt.answer.contains("STARTTLS"), "{}", attempt.answer);
    // Somebody else's authority vouches for nobody here.
    let (theirs, mut ours) = (
        SmtpServer::start("starttls", None).await,
        SmtpServer::start("starttls", None).await,
    );
    for encryption in ["starttls", "tls"] {
        let channel = mail(&ours, encryption, &json!({"ca": theirs.authority}), &[]);
        let attempt = deliver(&channel, &[firing()]).await;
        assert!(
            matches!(attempt.outcome, Outcome::Temporary { .. }),
            "{attempt:?}"
        );
    }
    let channel = mail(&ours, "starttls", &json!({}), &[]);
    assert_eq!(deliver(&channel, &[firing()]).await.outcome, Outcome::Delivered);
    assert_eq!(ours.next().await["tls"], true);
}
