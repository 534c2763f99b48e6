//! A conversation with an SMTP server (RFC 5321): encrypted with STARTTLS (RFC 3207) or from the beginning (RFC 8314),
//! as somebody with a password if there is one.
//!
//! The connection is made by [`Network`], so that the same addresses are refused as for HTTP. A recipient whom the
//! server refuses does not keep the mail from the others.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Address;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, AsyncTokioStream, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::transport::smtp::response::Response;
use muster_base::ErrorChain;
use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use url::Host;

use crate::network::{ConnectError, Network};
use crate::outcome::Attempt;
use crate::parcel::Parcel;
use crate::secret::Secret;
use crate::text::{self, Measure};
use crate::tls::Roots;

/// How long the whole conversation may take.
const TOTAL_MAX: Duration = Duration::from_secs(45);
/// Longest subject, characters.
const SUBJECT_MAX: usize = 200;

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encryption {
    /// Plain at first, encrypted before anything of value is said; refused if the server cannot.
    #[default]
    Starttls,
    /// Encrypted from the beginning.
    Tls,
    /// Not at all.
    None,
}

impl Encryption {
    pub(crate) const fn port(self) -> u16 {
        match self {
            Self::Starttls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// An SMTP server, and who writes to whom through it.
pub(crate) struct Smtp {
    pub(crate) host: Host<String>,
    pub(crate) port: u16,
    pub(crate) encryption: Encryption,
    pub(crate) from: Mailbox,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) login: Option<(String, Secret)>,
    /// Instead of the system's.
    pub(crate) roots: Option<Roots>,
}

/// Why a mail was not taken.
#[derive(Debug, Error)]
enum SmtpError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("agree on TLS with {host}")]
    Tls { host: String, source: io::Error },
    #[error("{host} offers no STARTTLS")]
    NoStarttls { host: String },
    #[error("{doing}")]
    Talk {
        doing: &'static str,
        source: lettre::transport::smtp::Error,
    },
    #[error("write the mail")]
    Write(#[source] lettre::error::Error),
    #[error("{host} did not take it within {} s", TOTAL_MAX.as_secs())]
    Timeout { host: String },
    #[error("no recipient was accepted: {refused}")]
    NoRecipient { refused: String, is_temporary: bool },
}

impl SmtpError {
    fn judge(&self) -> Attempt {
        let told = text::one_line(&ErrorChain(self).to_string());
        match self {
            Self::Connect(ConnectError::Refused(_)) | Self::Write(_) | Self::NoStarttls { .. } => {
                Attempt::permanent(told)
            }
            Self::NoRecipient {
                is_temporary: false, ..
            } => Attempt::permanent(told),
            Self::NoRecipient {
                is_temporary: true, ..
            } => Attempt::temporary(told),
            Self::Talk { source, .. } if source.is_permanent() || source.is_client() => {
                Attempt::permanent(told)
            }
            Self::Talk { source, .. } if source.is_transient() => Attempt::temporary(told),
            _ => Attempt::unreachable(told),
        }
    }
}

/// Names what a conversation was at.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> Result<T, SmtpError>;
}

impl<T> Doing<T> for Result<T, lettre::transport::smtp::Error> {
    fn doing(self, doing: &'static str) -> Result<T, SmtpError> {
        self.map_err(|source| SmtpError::Talk { doing, source })
    }
}

impl Smtp {
    /// Where mail goes, for people.
    pub(crate) fn target(&self) -> String {
        let to: Vec<String> = self.to.iter().map(|mailbox| mailbox.email.to_string()).collect();
        let shown = text::fit(&to.join(", "), 200, Measure::Chars, text::verbatim);
        format!("{shown} through {}:{}", self.host, self.port)
    }

    /// Sends the news as one mail.
    pub(crate) async fn send(&self, network: &Network, system: &Roots, parcel: &Parcel<'_>) -> Attempt {
        let sent = timeout(TOTAL_MAX, self.converse(network, system, parcel)).await;
        let sent = sent.unwrap_or_else(|_| {
            let host = self.host.to_string();
            Err(SmtpError::Timeout { host })
        });
        sent.unwrap_or_else(|error| error.judge())
    }

    async fn converse(
        &self,
        network: &Network,
        system: &Roots,
        parcel: &Parcel<'_>,
    ) -> Result<Attempt, SmtpError> {
        let mail = self.write(parcel).map_err(SmtpError::Write)?;
        let roots = self.roots.as_ref().unwrap_or(system);
        let mut connection = self.connect(network, roots).await?;
        if let Some((user, password)) = &self.login {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            connection
                .auth(DEFAULT_MECHANISMS, &credentials)
                .await
                .doing("log in")?;
        }
        let (response, refused) = self.hand_over(&mut connection, &mail).await?;
        // It has the mail: how the conversation ends is of no importance.
        let _ = connection.quit().await;
        let lines: Vec<&str> = response.message().collect();
        let mut told = format!("{} {}", response.code(), lines.join(" "));
        if !refused.is_empty() {
            told.push_str(&format!("; refused: {}", refused.join("; ")));
        }
        Ok(Attempt::delivered(text::one_line(&told)))
    }

    /// A connection that is encrypted as it should be.
    async fn connect(&self, network: &Network, roots: &Roots) -> Result<AsyncSmtpConnection, SmtpError> {
        const GREET: &str = "greet the server";
        let hello = ClientId::default();
        let stream = network.connect(&self.host, self.port).await?;
        if self.encryption == Encryption::Tls {
            let stream = roots
                .handshake(&self.host, stream)
                .await
                .map_err(|source| SmtpError::Tls {
                    host: self.host.to_string(),
                    source,
                })?;
            let stream = Box::new(Encrypted(stream));
            return AsyncSmtpConnection::connect_with_transport(stream, &hello)
                .await
                .doing(GREET);
        }
        let mut connection = AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello)
            .await
            .doing(GREET)?;
        if self.encryption == Encryption::Starttls {
            if !connection.can_starttls() {
                return Err(SmtpError::NoStarttls {
                    host: self.host.to_string(),
                });
            }
            let parameters = tls_parameters(&self.host, roots).doing("prepare TLS")?;
            connection
                .starttls(parameters, &hello)
                .await
                .doing("change to TLS")?;
        }
        Ok(connection)
    }

    /// Hands a mail over for every recipient that is accepted; returns what was said of the others.
    async fn hand_over(
        &self,
        connection: &mut AsyncSmtpConnection,
        mail: &Message,
    ) -> Result<(Response, Vec<String>), SmtpError> {
        let bytes = mail.formatted();
        let mut options = Vec::new();
        let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
        let envelope = mail.envelope();
        if !envelope.to().iter().chain(envelope.from()).all(is_ascii) {
            options.push(MailParameter::SmtpUtfEight);
        }
        if !bytes.is_ascii() && connection.server_info().supports_feature(Extension::EightBitMime) {
            options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
        }
        let sender = mail.envelope().from().cloned();
        connection
            .command(Mail::new(sender, options))
            .await
            .doing("name the sender")?;
        let mut refused = Vec::new();
        let mut is_temporary = false;
        let mut accepted = 0;
        for recipient in mail.envelope().to() {
            match connection.command(Rcpt::new(recipient.clone(), Vec::new())).await {
                Ok(_) => accepted += 1,
                Err(error) if error.is_permanent() || error.is_transient() => {
                    is_temporary |= error.is_transient();
                    refused.push(format!("{recipient}: {}", ErrorChain(&error)));
                }
                Err(source) => {
                    let doing = "name a recipient";
                    return Err(SmtpError::Talk { doing, source });
                }
            }
        }
        if accepted == 0 {
            let refused = refused.join("; ");
            return Err(SmtpError::NoRecipient {
                refused,
                is_temporary,
            });
        }
        connection.command(Data).await.doing("begin the mail")?;
        let response = connection.message(&bytes).await.doing("hand the mail over")?;
        Ok((response, refused))
    }

    fn write(&self, parcel: &Parcel<'_>) -> Result<Message, lettre::error::Error> {
        let domain = self.from.email.domain();
        let subject = text::fit(&parcel.wording.title, SUBJECT_MAX, Measure::Chars, text::verbatim);
        let sent = UNIX_EPOCH + Duration::from_millis(u64::try_from(parcel.now_ms).unwrap_or(0));
        let mut builder = Message::builder()
            .from(self.from.clone())
            .date(sent)
            .subject(subject)
            // The same when the same news come twice.
            .message_id(Some(format!("<{}@{domain}>", parcel.id)))
            .header(AutoSubmitted)
            .header(ContentType::TEXT_PLAIN);
        for recipient in &self.to {
            builder = builder.to(recipient.clone());
        }
        if let [only] = parcel.news {
            // What is told of one alert is one conversation.
            builder = builder.references(format!("<muster-{}@{domain}>", only.alert.key));
        }
        builder.body(parcel.wording.text.clone())
    }
}

/// Whom to trust, in lettre's words.
fn tls_parameters(
    host: &Host<String>,
    roots: &Roots,
) -> Result<TlsParameters, lettre::transport::smtp::Error> {
    let mut builder = TlsParameters::builder(host_name(host)).certificate_store(CertificateStore::None);
    for certificate in roots.certificates() {
        builder = builder.add_root_certificate(Certificate::from_der(certificate.to_vec())?);
    }
    builder.build()
}

/// Without the brackets of an IPv6 address in a URL.
fn host_name(host: &Host<String>) -> String {
    match host {
        Host::Domain(name) => name.clone(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// `Auto-Submitted: auto-generated` (RFC 3834): nobody's absence note shall answer.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}

/// A TLS stream that lettre takes.
struct Encrypted(TlsStream<TcpStream>);

impl fmt::Debug for Encrypted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Encrypted")
    }
}

impl AsyncTokioStream for Encrypted {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
