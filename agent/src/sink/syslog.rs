//! Syslog over TCP or TLS: RFC 5424 messages in the frames of RFC 6587 (octet counting), over TLS as RFC 5425 says.
//!
//! Input: alerts. Output: frames; [`super::stream`] says what counts as received. Failure: as there. A frame says its length in bytes before
//! its text, so that nothing a container chose can end it; in the text, what the header and the structured data have a syntax for is
//! replaced or escaped.

use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::stream::{Counted, Duplex, IN_FLIGHT_MAX, SEND_MAX, Stream};
use super::tls;
use super::transport::{Message, Transport, TransportError, failed, not_open};
use crate::alert::head::AlertHead;
use crate::alert::severity::Severity;
use crate::config::sinks::SyslogTarget;

/// Facility "log audit" (RFC 5424, table 1).
const LOG_AUDIT: u8 = 13;
/// Name of the structured data. 32473 is the enterprise number that RFC 5612 keeps for examples: Driftlock has none of its own.
const SD_ID: &str = "driftlock@32473";
/// Longest host name (RFC 5424, section 6).
const HOSTNAME_MAX: usize = 255;
/// After how long a receiver whose kernel acknowledges nothing is given up. Otherwise that takes a quarter of an hour.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);

/// A syslog receiver.
#[derive(Debug)]
pub struct SyslogTransport {
    target: SyslogTarget,
    facility: u8,
    stream: Option<Stream>,
}

impl SyslogTransport {
    /// One for this target.
    #[must_use]
    pub fn new(target: &SyslogTarget) -> Self {
        Self {
            target: target.clone(),
            facility: target
                .facility
                .and_then(|number| u8::try_from(number.get()).ok())
                .unwrap_or(LOG_AUDIT),
            stream: None,
        }
    }
}

impl Transport for SyslogTransport {
    const IN_FLIGHT_MAX: u64 = IN_FLIGHT_MAX;

    async fn open(&mut self) -> Result<(), TransportError> {
        self.stream = None;
        let connected = timeout(SEND_MAX, connect(&self.target)).await;
        self.stream = Some(connected.map_err(failed("connect to", &self.target.address))??);
        Ok(())
    }

    async fn send(&mut self, messages: &[Message]) -> Result<(), TransportError> {
        let Some(last) = messages.last() else {
            return Ok(());
        };
        let mut frames = String::new();
        for message in messages {
            let text = message_text(&message.head, &message.line, self.facility, std::process::id());
            frames.push_str(&text.len().to_string());
            frames.push(' ');
            frames.push_str(&text);
        }
        let stream = self
            .stream
            .as_mut()
            .ok_or_else(|| not_open(&self.target.address))?;
        stream.send(frames.as_bytes(), last.number).await
    }

    async fn acknowledged(&mut self) -> Result<u64, TransportError> {
        match &mut self.stream {
            Some(stream) => stream.settled().await,
            None => Err(not_open(&self.target.address)),
        }
    }
}

/// Makes a connection, with TLS if that is configured.
async fn connect(target: &SyslogTarget) -> Result<Stream, TransportError> {
    let address = &target.address;
    let socket = TcpStream::connect(address)
        .await
        .map_err(failed("connect to", address))?;
    watch_over(&socket).map_err(failed("use the socket to", address))?;
    let (counted, below) = Counted::new(socket).map_err(failed("use the socket to", address))?;
    let io: Box<dyn Duplex> = match &target.tls {
        None => Box::new(counted),
        Some(section) => {
            let connector = TlsConnector::from(Arc::new(tls::client_config(section).await?));
            let name = tls::server_name(section.server_name.as_deref().unwrap_or_else(|| host(address)))?;
            let protected = connector.connect(name, counted).await;
            Box::new(protected.map_err(failed("begin TLS with", address))?)
        }
    };
    Ok(Stream::new(io, below, address.clone()))
}

/// Has the kernel notice a receiver that is gone without a word.
fn watch_over(socket: &TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let millis = u32::try_from(UNANSWERED_MAX.as_millis()).unwrap_or(u32::MAX);
    sockopt::set_tcp_user_timeout(socket, millis)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, UNANSWERED_MAX)?;
    Ok(sockopt::set_tcp_keepintvl(socket, UNANSWERED_MAX / 3)?)
}

/// The host of `HOST:PORT`.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// A message: header, structured data and, as its text, the alert in the sink's format.
fn message_text(alert: &AlertHead, line: &str, facility: u8, process: u32) -> String {
    let priority = u16::from(facility) * 8 + level(alert.severity);
    let time = alert.time.to_micros();
    let host = printable(&alert.node);
    let kind = alert.kind.as_str();
    let data = structured(&[
        ("id", &alert.id.to_string()),
        ("kind", kind),
        ("severity", alert.severity.as_str()),
    ]);
    let text = line.trim_end_matches('\n');
    format!("<{priority}>1 {time} {host} driftlock {process} {kind} {data} {text}")
}

/// The severity's number (RFC 5424, table 2).
fn level(severity: Severity) -> u16 {
    match severity {
        Severity::Critical => 2,
        Severity::High => 3,
        Severity::Medium => 4,
        Severity::Low => 5,
        Severity::Info => 6,
    }
}

/// A name as the header can hold it: printable ASCII without spaces, not empty, not too long.
fn printable(name: &str) -> String {
    let is_printable = |character: char| character.is_ascii_graphic();
    let name: String = name
        .chars()
        .take(HOSTNAME_MAX)
        .map(|character| if is_printable(character) { character } else { '_' })
        .collect();
    if name.is_empty() { "-".to_owned() } else { name }
}

/// One element of structured data.
fn structured(parameters: &[(&str, &str)]) -> String {
    let mut element = format!("[{SD_ID}");
    for (name, value) in parameters {
        element.extend([" ", name, "=\""]);
        for character in value.chars() {
            if matches!(character, '"' | '\\' | ']') {
                element.push('\\');
            }
            element.push(character);
        }
        element.push('"');
    }
    element.push(']');
    element
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::example;
    use crate::alert::format::AlertFormat;
    use crate::alert::model::Alert;

    /// What ends lines, frames, elements and terminals.
    const HOSTILE: &str = "a\"b\\c]\n<0>1 - - - - - - forged\n99 <0>1 \r\0\u{1b}[31m\u{feff}\u{202e}é";

    fn alert() -> Alert {
        example::alert("2026-03-01T12:00:00.123456789Z".parse().expect("a date"))
    }

    #[test]
    fn a_message_is_as_the_standard_has_it() {
        let mut alert = alert();
        alert.severity = Severity::High;
        let text = message_text(&AlertHead::from(&alert), "{\"a\":1}\n", 13, 77);
        let id = alert.id;
        assert_eq!(
            text,
            format!(
                "<107>1 2026-03-01T12:00:00.123456Z worker-1 driftlock 77 exec.drift \
                 [driftlock@32473 id=\"{id}\" kind=\"exec.drift\" severity=\"high\"] {{\"a\":1}}"
            )
        );
    }

    #[test]
    fn hostile_names_stay_where_they_are() {
        let mut alert = alert();
        alert.node = HOSTILE.to_owned();
        alert.container.name = Some(HOSTILE.into());
        alert.process.comm = HOSTILE.into();
        for format in [AlertFormat::Driftlock, AlertFormat::Falco, AlertFormat::Ocsf] {
            let line = format.line(&alert);
            let text = message_text(&AlertHead::from(&alert), &line, 0, 1);
            assert!(!text.chars().any(char::is_control), "{text:?}");
            let mut fields = text.splitn(7, ' ');
            let header: Vec<_> = fields.by_ref().take(6).collect();
            assert_eq!(header[0], "<3>1");
            assert_eq!(header[2].matches(' ').count(), 0);
            assert_eq!(&header[3..], ["driftlock", "1", "exec.drift"]);
            let rest = fields.next().expect("structured data");
            let (_, message) = rest.split_once("] ").expect("the end of the structured data");
            assert_eq!(message, line.trim_end());
        }
    }

    #[test]
    fn values_are_escaped() {
        assert_eq!(
            structured(&[("a", "x\"y\\z]"), ("b", "")]),
            r#"[driftlock@32473 a="x\"y\\z\]" b=""]"#
        );
    }

    #[test]
    fn a_node_without_a_name_has_none() {
        assert_eq!(printable(""), "-");
        assert_eq!(printable("node 1\u{e9}"), "node_1_");
        assert_eq!(printable(&"x".repeat(300)).len(), HOSTNAME_MAX);
    }

    #[test]
    fn the_host_is_what_comes_before_the_port() {
        for (address, expected) in [
            ("logs:6514", "logs"),
            ("[::1]:6514", "::1"),
            ("10.0.0.1:1", "10.0.0.1"),
        ] {
            assert_eq!(host(address), expected);
        }
    }
}
