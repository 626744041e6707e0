//! NATS `JetStream`: each alert is published under its id as `Nats-Msg-Id`, by which the server drops what it gets twice. What the server
//! has acknowledged counts as received: it is in the stream.
//!
//! Input: alerts. Output: messages on the configured subject. Failure: a lost connection and an acknowledgement that does not come within
//! [`ACK_MAX`] are failures, and what was not acknowledged is published again; the client library makes no connection anew behind the
//! runner's back for long. A message that is larger than the server or the stream takes is refused. Bounds: 256 messages, and one batch
//! less one, are on their way.

use std::collections::VecDeque;
use std::error::Error as _;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamError, GetStreamErrorKind, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, Context, ErrorCode, stream};
use async_nats::{ConnectOptions, Event, ServerAddr};
use percent_encoding::percent_decode_str;
use tokio::sync::watch;
use tokio::time::timeout;

use super::tls;
use super::transport::{Message, Transport, TransportError, failed, not_open, with_causes};
use crate::config::sinks::NatsTarget;

/// How long an acknowledgement may take.
const ACK_MAX: Duration = Duration::from_secs(10);
/// How long making a connection, with its stream, may take.
const OPEN_MAX: Duration = Duration::from_secs(30);
/// For how long a stream that is made here knows the ids of its messages: an outage of that length brings nothing twice.
const DUPLICATE_WINDOW: Duration = Duration::from_mins(10);
/// Acknowledgements that the library waits for at most: more than are ever on their way.
const ACKS_MAX: usize = 1_024;

/// A NATS server with a stream.
pub struct NatsTransport {
    target: NatsTarget,
    open: Option<Open>,
    in_flight: VecDeque<InFlight>,
}

/// A connection.
struct Open {
    context: Context,
    /// It is lost.
    lost: watch::Receiver<bool>,
    /// The servers, for errors.
    subject: String,
}

/// A message that is not acknowledged.
struct InFlight {
    number: u64,
    answer: Pin<Box<dyn Future<Output = Result<(), TransportError>> + Send>>,
}

impl NatsTransport {
    /// One for this target.
    #[must_use]
    pub fn new(target: &NatsTarget) -> Self {
        Self {
            target: target.clone(),
            open: None,
            in_flight: VecDeque::new(),
        }
    }
}

impl Transport for NatsTransport {
    const IN_FLIGHT_MAX: u64 = 256;

    async fn open(&mut self) -> Result<(), TransportError> {
        self.in_flight.clear();
        self.open = None;
        let opened = timeout(OPEN_MAX, connect(&self.target)).await;
        self.open = Some(opened.map_err(failed("connect to", "the NATS server"))??);
        Ok(())
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), TransportError> {
        let open = self.open.as_ref().ok_or_else(|| not_open("the NATS server"))?;
        for message in messages {
            let payload = message.line.trim_end_matches('\n').to_owned();
            let publish = PublishMessage::build()
                .message_id(message.head.id.to_string())
                .payload(payload.into());
            let sent = open
                .context
                .send_publish(self.target.subject.clone(), publish)
                .await;
            let (number, subject) = (message.number, open.subject.clone());
            let answer: Pin<Box<dyn Future<Output = _> + Send>> = match sent {
                Ok(acknowledgement) => Box::pin(async move {
                    let answer = acknowledgement.await;
                    answer
                        .map(drop)
                        .map_err(|error| not_taken(&error, number, subject))
                }),
                // Told in its place, when everything before it is acknowledged.
                Err(error) if is_refusal(&error) => {
                    Box::pin(std::future::ready(Err(not_taken(&error, number, subject))))
                }
                Err(error) => return Err(not_taken(&error, number, subject)),
            };
            self.in_flight.push_back(InFlight { number, answer });
        }
        Ok(())
    }

    async fn acknowledged(&mut self) -> Result<u64, TransportError> {
        let open = self.open.as_mut().ok_or_else(|| not_open("the NATS server"))?;
        let first = async {
            match self.in_flight.front_mut() {
                Some(first) => first.answer.as_mut().await.map(|()| first.number),
                None => std::future::pending().await,
            }
        };
        let answer = tokio::select! {
            biased;
            answer = first => answer,
            _ = open.lost.wait_for(|lost| *lost) => {
                return Err(failed("send to", &*open.subject)("the connection is lost"));
            }
        };
        self.in_flight.pop_front();
        answer
    }
}

async fn connect(target: &NatsTarget) -> Result<Open, TransportError> {
    let servers = servers(&target.url)?;
    let names: Vec<_> = servers
        .iter()
        .map(|server| format!("{}:{}", server.host(), server.port()))
        .collect();
    let subject = names.join(",");
    let (tell, lost) = watch::channel(false);
    let secret = match &target.password_file {
        Some(file) => Some(read(file).await?.trim_end().to_owned()),
        None => None,
    };
    let mut options = match login(&servers, secret) {
        None => ConnectOptions::new(),
        Some(Login::Password(name, password)) => ConnectOptions::with_user_and_password(name, password),
        Some(Login::Token(token)) => ConnectOptions::with_token(token),
    };
    options = options
        .name("driftlock")
        .max_reconnects(servers.len())
        .event_callback(move |event| {
            if matches!(event, Event::Disconnected | Event::Closed) {
                tell.send_replace(true);
            }
            std::future::ready(())
        });
    if target.tls.is_some() || servers.iter().any(ServerAddr::tls_required) {
        let section = target.tls.clone().unwrap_or_default();
        options = options
            .require_tls(true)
            .tls_client_config(tls::client_config(&section).await?);
    }
    if let Some(file) = &target.credentials {
        options = options
            .credentials(&read(file).await?)
            .map_err(failed("use the credentials in", file.display().to_string()))?;
    }
    let client = options
        .connect(servers)
        .await
        .map_err(|error| failed("connect to", &*subject)(with_causes(&error)))?;
    let context = jetstream::context::ContextBuilder::new()
        .timeout(ACK_MAX)
        .ack_timeout(ACK_MAX)
        .max_ack_inflight(ACKS_MAX)
        .build(client);
    if let Some(name) = &target.stream {
        provide(&context, name, &target.subject).await?;
    }
    Ok(Open {
        context,
        lost,
        subject,
    })
}

/// The servers of a list with commas between them.
fn servers(urls: &str) -> Result<Vec<ServerAddr>, TransportError> {
    urls.split(',')
        // What is wrong is not shown: an address may hold a password.
        .map(|url| {
            url.trim()
                .parse()
                .map_err(failed("use", "the NATS server's address"))
        })
        .collect()
}

async fn read(file: &Path) -> Result<String, TransportError> {
    tokio::fs::read_to_string(file)
        .await
        .map_err(failed("read", file.display().to_string()))
}

/// What the server is to know the agent by.
#[derive(PartialEq, Eq)]
enum Login {
    /// Name and password: `nats://NAME:PASSWORD@...`.
    Password(String, String),
    /// A token: `nats://TOKEN@...`.
    Token(String),
}

/// What the first address says that says anything: the servers are of one cluster. The library does not look there. `secret`, from a file, is the
/// password of the name in the address; or the token, if there is none.
fn login(servers: &[ServerAddr], secret: Option<String>) -> Option<Login> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let said = servers
        .iter()
        .find_map(|server| Some((decoded(server.username()?), server.password().map(decoded))));
    match (said, secret) {
        (Some((name, password)), Some(secret)) => Some(Login::Password(name, password.unwrap_or(secret))),
        (Some((name, Some(password))), None) => Some(Login::Password(name, password)),
        (Some((token, None)), None) | (None, Some(token)) => Some(Login::Token(token)),
        (None, None) => None,
    }
}

/// Makes the stream, or adds the subject to it, if it does not take it yet.
async fn provide(context: &Context, name: &str, subject: &str) -> Result<(), TransportError> {
    let of_stream = || format!("the stream {name}");
    let found = match context.get_stream(name).await {
        Ok(stream) => Some(stream.cached_info().config.clone()),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(reason) if reason.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                None
            }
            _ => return Err(failed("find", of_stream())(with_causes(&error))),
        },
    };
    let done: Result<(), CreateStreamError> = match found {
        Some(config) if config.subjects.iter().any(|held| covers(held, subject)) => Ok(()),
        Some(mut config) => {
            config.subjects.push(subject.to_owned());
            context.update_stream(config).await.map(drop)
        }
        None => {
            let config = stream::Config {
                name: name.to_owned(),
                subjects: vec![subject.to_owned()],
                duplicate_window: DUPLICATE_WINDOW,
                ..stream::Config::default()
            };
            context.create_stream(config).await.map(drop)
        }
    };
    done.map_err(|error| failed("make or complete", of_stream())(with_causes(&error)))
}

/// Whether all of `subject` is in `held`, which may have the wildcards `*` and `>`.
fn covers(held: &str, subject: &str) -> bool {
    let mut tokens = subject.split('.');
    for wanted in held.split('.') {
        match (wanted, tokens.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (wanted, Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
    tokens.next().is_none()
}

/// Whether the message is too large, whenever it comes.
fn is_refusal(error: &PublishError) -> bool {
    let reason = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>());
    let too_large = [
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM,
        ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM,
    ];
    error.kind() == PublishErrorKind::MaxPayloadExceeded
        || reason.is_some_and(|reason| too_large.contains(&reason.error_code()))
}

fn not_taken(error: &PublishError, number: u64, subject: String) -> TransportError {
    let reason = with_causes(error);
    if is_refusal(error) {
        TransportError::Refused { number, reason }
    } else {
        failed("publish to", subject)(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_covered_by_itself_and_by_wildcards() {
        for (held, subject, expected) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.>", "a.b.c", true),
            (">", "a", true),
            ("a.>", "a", false),
            ("a.*", "a.b.c", false),
            ("a.b.c", "a.b", false),
            ("a", "b", false),
        ] {
            assert_eq!(covers(held, subject), expected, "{held} {subject}");
        }
    }

    #[test]
    fn servers_are_a_list() {
        let servers = servers("nats://a:4222, tls://b:4223").expect("addresses");
        assert_eq!((servers[0].host(), servers[1].port()), ("a", 4223));
        assert!(servers[1].tls_required() && !servers[0].tls_required());
    }

    #[test]
    fn a_login_stands_in_an_address() {
        let of = |urls| login(&servers(urls).expect("addresses"), None);
        assert!(of("nats://a:4222,nats://b:4222").is_none());
        let password = Login::Password("me".to_owned(), "se cret/@".to_owned());
        assert!(of("nats://a:4222, nats://me:se%20cret%2F%40@b:4222") == Some(password));
        assert!(of("tls://t0ken@a:4222") == Some(Login::Token("t0ken".to_owned())));
        let with_file = |urls| login(&servers(urls).expect("addresses"), Some("secret".to_owned()));
        let password = Login::Password("me".to_owned(), "secret".to_owned());
        assert!(with_file("nats://me@a:4222") == Some(password));
        assert!(with_file("nats://a:4222") == Some(Login::Token("secret".to_owned())));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_named_without_its_password() {
        let mut transport = NatsTransport::new(&NatsTarget {
            url: "nats://me:secret@127.0.0.1:1".to_owned(),
            subject: "alerts".to_owned(),
            stream: None,
            password_file: None,
            credentials: None,
            tls: None,
        });
        let error = transport.open().await.expect_err("nobody listens").to_string();
        assert!(
            error.contains("127.0.0.1:1") && error.contains("refused"),
            "{error}"
        );
        assert!(!error.contains("secret"), "{error}");
    }
}
