//! Debian's nats-server with a `JetStream` on disk, and certificates on both sides.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use async_nats::{ConnectOptions, jetstream};

use super::{Arrived, Certificates, Receiver, free_port, wait_for_port};
use crate::runtime::tail;

/// The stream, which the agent makes.
const STREAM: &str = "DRIFTLOCK";

/// A NATS server.
#[derive(Debug)]
pub struct NatsReceiver {
    directory: PathBuf,
    certificates: Certificates,
    port: u16,
    process: Option<Child>,
}

impl NatsReceiver {
    /// In a directory.
    pub fn new(directory: &Path, certificates: &Certificates) -> anyhow::Result<Self> {
        Ok(Self {
            directory: directory.to_owned(),
            certificates: certificates.clone(),
            port: free_port()?,
            process: None,
        })
    }

    fn log(&self) -> PathBuf {
        self.directory.join("nats.log")
    }
}

impl Receiver for NatsReceiver {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn sink(&self) -> String {
        format!(
            "- {{ format: ocsf, nats: {{ url: 'tls://localhost:{}', subject: driftlock.alerts, stream: {STREAM}, tls: {} }} }}\n",
            self.port,
            self.certificates.of_agent()
        )
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let process = Command::new("nats-server")
            .args([
                "--addr",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--jetstream",
                "--store_dir",
            ])
            .arg(self.directory.join("nats"))
            .args(["--tls", "--tlsverify", "--tlscacert"])
            .arg(self.certificates.authority())
            .arg("--tlscert")
            .arg(self.certificates.certificate("receiver"))
            .arg("--tlskey")
            .arg(self.certificates.key("receiver"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start nats-server")?;
        self.process = Some(process);
        wait_for_port(self.port, || tail(&self.log()))
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(mut process) = self.process.take() {
            process.kill()?;
            process.wait()?;
        }
        Ok(())
    }

    fn arrived(&mut self) -> anyhow::Result<Arrived> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let client = ConnectOptions::new()
                .add_root_certificates(self.certificates.authority())
                .add_client_certificate(
                    self.certificates.certificate("agent"),
                    self.certificates.key("agent"),
                )
                .connect(format!("tls://localhost:{}", self.port))
                .await?;
            let stream = jetstream::new(client).get_stream(STREAM).await?;
            let state = &stream.cached_info().state;
            let mut arrived = Arrived::default();
            for number in state.first_sequence..=state.last_sequence {
                let message = stream.get_raw_message(number).await?;
                arrived.note(std::str::from_utf8(&message.payload)?);
            }
            Ok(arrived)
        })
    }
}

impl Drop for NatsReceiver {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
