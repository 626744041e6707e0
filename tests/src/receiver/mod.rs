//! Real receivers of alerts: what an agent's sinks send to, each of which can be stopped without a word and started again.
//!
//! Input: a directory, and certificates ([`certificates`]). Output: the sink's entry for the agent's configuration, and what arrived. Failure:
//! a server that does not start, with what it said. Dropping one stops it.

mod certificates;
mod file;
mod https;
mod nats;
mod nats_access;
mod rsyslog;
mod unix;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::Value;

pub use self::certificates::Certificates;
pub use self::file::FileReceiver;
pub use self::https::HttpsReceiver;
pub use self::nats::NatsReceiver;
pub use self::nats_access::{Access, Authority, PASSWORD, PASSWORD_IN_ADDRESS};
pub use self::rsyslog::RsyslogReceiver;
pub use self::unix::UnixReceiver;

use crate::environment::patience;

/// How long a server may take to listen.
const STARTING: Duration = Duration::from_secs(20);

/// What the paths begin with that alerts are told apart by.
pub const MARKED: &str = "/tmp/alert-";

/// Something that alerts are sent to.
pub trait Receiver: Send {
    /// Its name among the agent's sinks.
    fn name(&self) -> &'static str;

    /// Its entry in the list `sinks:`.
    fn sink(&self) -> String;

    /// Starts it, again if it was stopped, and waits until it takes connections.
    fn start(&mut self) -> anyhow::Result<()>;

    /// Ends it at once, as a crash does. What it has received stays.
    fn stop(&mut self) -> anyhow::Result<()>;

    /// What arrived so far.
    fn arrived(&mut self) -> anyhow::Result<Arrived>;
}

/// By the paths of the programs that alerts are about: the alerts' ids, and how often each came.
#[derive(Clone, Debug, Default)]
pub struct Arrived {
    alerts: BTreeMap<String, BTreeMap<String, u64>>,
    /// The same of summaries: the ids of the alerts whose repeats they sum up. They are alerts of their own, each with its own id.
    summaries: BTreeMap<String, BTreeSet<String>>,
}

/// What arrives while a receiver runs.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Arrived>>);

impl Arrived {
    /// Takes note of an alert in any format. Alerts about other programs, and lines that were cut off, count for nothing.
    pub fn note(&mut self, line: &str) {
        let Ok(alert) = serde_json::from_str::<Value>(line) else {
            return;
        };
        let of_falco = &alert["output_fields"]["driftlock.id"];
        let id = [&alert["id"], of_falco, &alert["metadata"]["uid"]]
            .into_iter()
            .find_map(Value::as_str);
        // What the end of the line, a field or a sentence may be depends on the format; a path has nothing but these.
        let path = line.find(MARKED).map(|start| {
            let rest = &line[start + MARKED.len()..];
            let is_in_path = |character: char| character.is_ascii_alphanumeric() || character == '-';
            let length = rest
                .find(|character| !is_in_path(character))
                .unwrap_or(rest.len());
            &line[start..start + MARKED.len() + length]
        });
        // A finding's own id is the first alert's in OCSF.
        let of_ocsf =
            Some(&alert["finding_info"]["uid"]).filter(|finding| **finding != alert["metadata"]["uid"]);
        let repeats_of = [
            &alert["repeats_of"],
            &alert["output_fields"]["driftlock.repeats_of"],
            of_ocsf.unwrap_or(&Value::Null),
        ]
        .into_iter()
        .find_map(Value::as_str);
        if let (Some(first), Some(path)) = (repeats_of, path) {
            let firsts = self.summaries.entry(path.to_owned()).or_default();
            firsts.insert(first.to_owned());
        } else if let (Some(id), Some(path)) = (id, path) {
            *self
                .alerts
                .entry(path.to_owned())
                .or_default()
                .entry(id.to_owned())
                .or_default() += 1;
        }
    }

    /// How many paths there are.
    #[must_use]
    pub fn paths(&self) -> usize {
        self.alerts.len()
    }

    /// How many of them were told again as repeats.
    #[must_use]
    pub fn told_as_repeats(&self) -> usize {
        self.summaries.len()
    }

    /// How many alerts came more than once.
    #[must_use]
    pub fn repeated(&self) -> usize {
        let counts = self.alerts.values().flat_map(BTreeMap::values);
        counts.filter(|count| **count > 1).count()
    }

    /// What is wrong if exactly these paths are expected, each with one id.
    #[must_use]
    pub fn faults(&self, expected: &BTreeSet<String>) -> Vec<String> {
        let missing: Vec<_> = expected
            .iter()
            .filter(|path| !self.alerts.contains_key(*path))
            .collect();
        let strange: Vec<_> = self
            .alerts
            .keys()
            .filter(|path| !expected.contains(*path))
            .collect();
        let told_twice: Vec<_> = self.alerts.iter().filter(|(_, ids)| ids.len() > 1).collect();
        let mut faults = Vec::new();
        if !missing.is_empty() {
            faults.push(format!(
                "{} are missing, as {:?}",
                missing.len(),
                &missing[..missing.len().min(5)]
            ));
        }
        if !strange.is_empty() {
            faults.push(format!(
                "{} are strange, as {:?}",
                strange.len(),
                &strange[..strange.len().min(5)]
            ));
        }
        if !told_twice.is_empty() {
            let first = &told_twice[..told_twice.len().min(5)];
            faults.push(format!("{} have several ids, as {first:?}", told_twice.len()));
        }
        let is_known =
            |path: &String, id: &String| self.alerts.get(path).is_some_and(|ids| ids.contains_key(id));
        let of_nothing: Vec<_> = self
            .summaries
            .iter()
            .filter(|(path, firsts)| !firsts.iter().all(|first| is_known(path, first)))
            .collect();
        if !of_nothing.is_empty() {
            let first = &of_nothing[..of_nothing.len().min(5)];
            faults.push(format!(
                "{} sum up what never came, as {first:?}",
                of_nothing.len()
            ));
        }
        faults
    }
}

impl Log {
    fn note(&self, line: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(line);
    }

    fn arrived(&self) -> Arrived {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A port of this machine that nobody listens on.
fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Waits until somebody listens on a port; `what` is asked what it has said if nobody does.
fn wait_for_port(port: u16, what: impl Fn() -> String) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience(STARTING);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(
            Instant::now() < deadline,
            "nobody listens on port {port}: {}",
            what()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_strange_or_told_twice_is_a_fault() {
        let mut arrived = Arrived::default();
        for (id, path) in [
            ("1", "a-0"),
            ("1", "a-0"),
            ("2", "a-1"),
            ("3", "a-1"),
            ("4", "b-0"),
        ] {
            arrived.note(&format!(
                r#"{{"id":"{id}","behaviour":{{"path":"{MARKED}{path}"}}}}"#
            ));
        }
        arrived.note(r#"{"id":"5","behaviour":{"path":"/bin/sh"}}"#);
        arrived.note(&format!(r#"{{"id":"6","behaviour":{{"path":"{MARKED}"#));
        let of_falco =
            format!(r#"{{"uuid":"7","output_fields":{{"driftlock.id":"8","fd.name":"{MARKED}c"}}}}"#);
        arrived.note(&of_falco);
        let summary = |first: &str, path: &str| {
            format!(r#"{{"id":"9{first}","repeats_of":"{first}","behaviour":{{"path":"{MARKED}{path}"}}}}"#)
        };
        arrived.note(&summary("1", "a-0"));
        arrived.note(&summary("7", "a-1"));
        assert_eq!(
            (arrived.paths(), arrived.repeated(), arrived.told_as_repeats()),
            (4, 1, 2)
        );
        let expected = ["a-0", "a-1", "a-2", "c"].map(|path| format!("{MARKED}{path}"));
        let faults = arrived.faults(&expected.into());
        assert_eq!(faults.len(), 4, "{faults:?}");
        assert!(
            faults[3].starts_with("1 sum up") && faults[3].contains("a-1"),
            "{faults:?}"
        );
        assert!(
            faults[0].starts_with("1 are missing") && faults[0].contains("a-2"),
            "{faults:?}"
        );
        assert!(
            faults[1].starts_with("1 are strange") && faults[1].contains("b-0"),
            "{faults:?}"
        );
        assert!(
            faults[2].starts_with("1 have several ids") && faults[2].contains("a-1"),
            "{faults:?}"
        );
    }
}
