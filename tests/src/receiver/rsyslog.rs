//! Debian's rsyslogd, with a configuration of its own: TLS with certificates on both sides, frames with their lengths, a file.
//!
//! The machine's own service is not touched: this one runs in the foreground with its own configuration, process file and directory.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use super::certificates::AGENT;
use super::{Arrived, Certificates, Receiver, free_port, wait_for_port};
use crate::runtime::tail;

/// rsyslogd.
#[derive(Debug)]
pub struct RsyslogReceiver {
    directory: PathBuf,
    certificates: Certificates,
    port: u16,
    process: Option<Child>,
}

impl RsyslogReceiver {
    /// In a directory.
    pub fn new(directory: &Path, certificates: &Certificates) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory.join("rsyslog"))?;
        let receiver = Self {
            directory: directory.join("rsyslog"),
            certificates: certificates.clone(),
            port: free_port()?,
            process: None,
        };
        std::fs::write(receiver.file("conf"), receiver.configuration())?;
        Ok(receiver)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// What arrives is written as `MSGID STRUCTURED-DATA MSG`. Each line begins anew, whatever a process that was killed has left half.
    fn configuration(&self) -> String {
        format!(
            r#"global(workDirectory="{directory}" maxMessageSize="256k" processInternalMessages="on"
    defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="{authority}"
    defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/name" permittedPeer=["{AGENT}"])
template(name="alert" type="string" string="\n%msgid% %structured-data% %msg%\n")
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="alerts")
ruleset(name="alerts") {{ action(type="omfile" file="{output}" template="alert" ioBufferSize="256k") }}
action(type="omfile" file="{own}")
"#,
            directory = self.directory.display(),
            authority = self.certificates.authority().display(),
            certificate = self.certificates.certificate("receiver").display(),
            key = self.certificates.key("receiver").display(),
            port = self.port,
            output = self.file("alerts").display(),
            own = self.file("own").display(),
        )
    }
}

impl Receiver for RsyslogReceiver {
    fn name(&self) -> &'static str {
        "syslog"
    }

    fn sink(&self) -> String {
        format!(
            "- syslog: {{ address: 'localhost:{}', tls: {} }}\n",
            self.port,
            self.certificates.of_agent()
        )
    }

    fn start(&mut self) -> anyhow::Result<()> {
        // What a process that was killed has left would keep this one from starting.
        let _ = std::fs::remove_file(self.file("pid"));
        let log = File::options().create(true).append(true).open(self.file("log"))?;
        let process = Command::new("rsyslogd")
            .arg("-n")
            .arg("-f")
            .arg(self.file("conf"))
            .arg("-i")
            .arg(self.file("pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start rsyslogd")?;
        self.process = Some(process);
        wait_for_port(self.port, || tail(&self.file("log")) + &tail(&self.file("own")))
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn arrived(&mut self) -> anyhow::Result<Arrived> {
        let mut arrived = Arrived::default();
        for line in String::from_utf8_lossy(&std::fs::read(self.file("alerts"))?).lines() {
            // The header and the data say what the text says, or the message is not as it was sent.
            let Some((head, text)) = line.split_once("\"] ") else {
                continue;
            };
            let id = head
                .split_once("[driftlock@32473 id=\"")
                .and_then(|(kind, rest)| {
                    let is_drift = kind.trim() == "exec.drift";
                    rest.split_once('"').filter(|_| is_drift).map(|(id, _)| id)
                });
            if id.is_some_and(|id| text.contains(id)) {
                arrived.note(text);
            }
        }
        Ok(arrived)
    }
}

impl Drop for RsyslogReceiver {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
