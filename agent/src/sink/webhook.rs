//! A webhook: HTTP(S) POST, over connections that are kept. An answer of the class 2xx counts as received.
//!
//! Input: alerts. Output: one request at a time, in their order: a JSON object, or up to `batch` of them as lines. Failure: answers that
//! say that the receiver will never take this (400, 413, 415, 422) refuse an alert; of several at once it is found out which by sending
//! them singly. Any other answer, or none within the time that is configured, is tried again. Files of certificates and headers are read
//! anew after each failure, so that what has expired can be replaced in place.
//!
//! Redirections are not followed (they are a failure), and no proxy is taken from the environment: alerts go where the configuration
//! says. Bounds: of an answer's body [`BODY_MAX`] bytes are read.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::tls;
use super::transport::{Message, Transport, TransportError, failed, not_open, with_causes};
use crate::config::sinks::WebhookTarget;
use crate::text::escape;

/// How long an answer may take if nobody says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long making a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Most bytes of an answer's body that are read, so that the connection can be used again.
const BODY_MAX: usize = 16 << 10;
/// Most bytes of it that are told of a failure.
const BODY_TOLD: usize = 300;
/// Holds the alert's id, so that a receiver can tell what it gets twice.
const ID_HEADER: HeaderName = HeaderName::from_static("driftlock-alert-id");

/// A webhook.
pub struct WebhookTransport {
    target: WebhookTarget,
    batch: usize,
    open: Option<Open>,
    /// What is not acknowledged.
    waiting: VecDeque<Waiting>,
    /// The request that is under way, with the first of what waits.
    running: Option<Running>,
    /// So many of the first are sent singly, because they were refused together.
    singly: usize,
}

/// What requests are made with.
struct Open {
    client: Client,
    url: Url,
    headers: HeaderMap,
}

/// An alert that is not acknowledged.
struct Waiting {
    number: u64,
    id: String,
    line: Arc<str>,
}

/// A request.
struct Running {
    /// How many alerts are in it.
    count: usize,
    answer: Pin<Box<dyn Future<Output = Result<Answer, TransportError>> + Send>>,
}

/// What the receiver says.
enum Answer {
    Taken,
    Refused(String),
}

impl WebhookTransport {
    /// One for this target.
    #[must_use]
    pub fn new(target: &WebhookTarget) -> Self {
        let batch = target.batch.map_or(1, crate::config::Number::get);
        Self {
            target: target.clone(),
            batch: usize::try_from(batch).unwrap_or(usize::MAX),
            open: None,
            waiting: VecDeque::new(),
            running: None,
            singly: 0,
        }
    }

    /// Begins the next request; `None` if nothing waits.
    fn next_request(&mut self) -> Result<Option<Running>, TransportError> {
        let count = if self.singly > 0 { 1 } else { self.batch }.min(self.waiting.len());
        let Some(first) = self.waiting.front() else {
            return Ok(None);
        };
        let open = self.open.as_ref().ok_or_else(|| not_open("the webhook"))?;
        let mut request = open.client.post(open.url.clone());
        request = if self.batch == 1 {
            request
                .header(CONTENT_TYPE, "application/json")
                .header(ID_HEADER, &first.id)
                .body(first.line.trim_end_matches('\n').to_owned())
        } else {
            let lines: String = self
                .waiting
                .iter()
                .take(count)
                .map(|waiting| &*waiting.line)
                .collect();
            request.header(CONTENT_TYPE, "application/x-ndjson").body(lines)
        };
        let request = request.headers(open.headers.clone());
        self.singly = self.singly.saturating_sub(1);
        Ok(Some(Running {
            count,
            answer: Box::pin(ask(request, subject(&open.url))),
        }))
    }
}

impl Transport for WebhookTransport {
    const IN_FLIGHT_MAX: u64 = 256;

    async fn open(&mut self) -> Result<(), TransportError> {
        self.running = None;
        self.waiting.clear();
        self.singly = 0;
        self.open = Some(open(&self.target).await?);
        Ok(())
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), TransportError> {
        self.waiting.extend(messages.iter().map(|message| Waiting {
            number: message.number,
            id: message.head.id.to_string(),
            line: message.line.clone(),
        }));
        Ok(())
    }

    async fn acknowledged(&mut self) -> Result<u64, TransportError> {
        loop {
            if self.running.is_none() {
                self.running = self.next_request()?;
            }
            let Some(running) = &mut self.running else {
                return std::future::pending().await;
            };
            let answer = running.answer.as_mut().await;
            let count = running.count;
            self.running = None;
            match answer? {
                Answer::Taken => {
                    if let Some(last) = self.waiting.drain(..count).next_back() {
                        return Ok(last.number);
                    }
                }
                Answer::Refused(reason) => match self.waiting.front() {
                    Some(first) if count == 1 => {
                        return Err(TransportError::Refused {
                            number: first.number,
                            reason,
                        });
                    }
                    _ => self.singly = count,
                },
            }
        }
    }
}

async fn open(target: &WebhookTarget) -> Result<Open, TransportError> {
    // What is wrong is not shown: an address may hold a secret.
    let url = Url::parse(&target.url).map_err(failed("use", "the webhook's address"))?;
    let config = match url.scheme() {
        "https" => tls::client_config(&target.tls.clone().unwrap_or_default()).await?,
        "http" if target.tls.is_none() => tls::none()?,
        "http" => {
            return Err(failed("use", subject(&url))(
                "`tls` needs an address that begins with https",
            ));
        }
        _ => return Err(failed("use", subject(&url))("neither http nor https")),
    };
    let timeout = target
        .timeout_s
        .map_or(TIMEOUT, |number| Duration::from_secs(number.get().into()));
    let client = Client::builder()
        .tls_backend_preconfigured(config)
        .user_agent(concat!("driftlock/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_MAX)
        .timeout(timeout)
        .build()
        .map_err(|error| failed("set up", subject(&url))(with_causes(&error.without_url())))?;
    let headers = headers(target).await?;
    Ok(Open { client, url, headers })
}

/// The further headers of each request.
async fn headers(target: &WebhookTarget) -> Result<HeaderMap, TransportError> {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str, is_secret: bool| {
        let header: HeaderName = name
            .parse()
            .map_err(failed("use as a header", escape(name.as_bytes())))?;
        // The value may be a secret.
        let mut value: HeaderValue = value.parse().map_err(failed("use the value of header", name))?;
        value.set_sensitive(is_secret);
        headers.insert(header, value);
        Ok::<_, TransportError>(())
    };
    for (name, value) in &target.headers {
        add(name, value, false)?;
    }
    for (name, file) in &target.header_files {
        let value = tokio::fs::read_to_string(file)
            .await
            .map_err(failed("read", file.display().to_string()))?;
        add(name, value.trim_end(), true)?;
    }
    Ok(headers)
}

/// Makes a request and reads its answer.
async fn ask(request: RequestBuilder, subject: String) -> Result<Answer, TransportError> {
    let mut response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Err(failed("send to", subject)(with_causes(&error.without_url()))),
    };
    let status = response.status();
    let body = beginning(&mut response).await;
    if status.is_success() {
        return Ok(Answer::Taken);
    }
    let reason = format!("{status}: {}", escape(&body));
    match status {
        StatusCode::BAD_REQUEST
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => Ok(Answer::Refused(reason)),
        _ => Err(failed("send to", subject)(reason)),
    }
}

/// The beginning of an answer's body. One that breaks off changes nothing about the answer.
async fn beginning(response: &mut Response) -> Vec<u8> {
    let mut told = Vec::new();
    let mut read = 0;
    while read < BODY_MAX
        && let Ok(Some(chunk)) = response.chunk().await
    {
        read += chunk.len();
        let room = BODY_TOLD.saturating_sub(told.len()).min(chunk.len());
        told.extend_from_slice(&chunk[..room]);
    }
    told
}

/// The receiver as errors name it: the path may hold a secret.
fn subject(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
}

#[cfg(test)]
mod tests;
