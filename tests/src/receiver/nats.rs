//! Debian's nats-server with a `JetStream` on disk, and certificates on both sides or another way to know the agent ([`Access`]).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use async_nats::{Client, ConnectOptions, jetstream};

use super::nats_access::{Access, PASSWORD, PASSWORD_IN_ADDRESS, USER};
use super::{Arrived, Certificates, Receiver, free_port, wait_for_port};
use crate::runtime::tail;

/// The stream, which the agent makes.
const STREAM: &str = "DRIFTLOCK";

/// A NATS server.
#[derive(Debug)]
pub struct NatsReceiver {
    directory: PathBuf,
    certificates: Certificates,
    access: Access,
    port: u16,
    process: Option<Child>,
}

impl NatsReceiver {
    /// In a directory; it knows the agent by its certificate.
    pub fn new(directory: &Path, certificates: &Certificates) -> anyhow::Result<Self> {
        Self::with(directory, certificates, Access::Certificate)
    }

    /// In a directory, which is made; it knows the agent in this way.
    pub fn with(directory: &Path, certificates: &Certificates, access: Access) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let receiver = Self {
            directory: directory.to_owned(),
            certificates: certificates.clone(),
            access,
            port: free_port()?,
            process: None,
        };
        std::fs::write(receiver.configuration(), receiver.access.configuration()?)?;
        std::fs::write(receiver.password_file(), format!("{PASSWORD}\n"))?;
        Ok(receiver)
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("nats.conf")
    }

    fn password_file(&self) -> PathBuf {
        self.directory.join("password")
    }

    /// Where the agent finds it, and how it gets in, in the words of its sink.
    fn way(&self) -> String {
        let port = self.port;
        let authority = self.certificates.authority();
        let authority = authority.display();
        match &self.access {
            Access::Certificate => format!(
                "url: 'tls://localhost:{port}', tls: {}",
                self.certificates.of_agent()
            ),
            Access::Password => format!(
                "url: 'tls://{USER}@localhost:{port}', password_file: {}, tls: {{ ca: {authority} }}",
                self.password_file().display()
            ),
            Access::Token => {
                format!("url: 'tls://{PASSWORD_IN_ADDRESS}@localhost:{port}', tls: {{ ca: {authority} }}")
            }
            Access::Credentials { file, .. } => format!(
                "url: 'tls://localhost:{port}', credentials: {}, tls: {{ ca: {authority} }}",
                file.display()
            ),
        }
    }

    /// How the test itself gets in.
    async fn connect(&self) -> anyhow::Result<Client> {
        let options = ConnectOptions::new().add_root_certificates(self.certificates.authority());
        let options = match &self.access {
            Access::Certificate => options.add_client_certificate(
                self.certificates.certificate("agent"),
                self.certificates.key("agent"),
            ),
            Access::Password => options.user_and_password(USER.to_owned(), PASSWORD.to_owned()),
            Access::Token => options.token(PASSWORD.to_owned()),
            Access::Credentials { own, .. } => options.credentials(&std::fs::read_to_string(own)?)?,
        };
        Ok(options.connect(format!("tls://localhost:{}", self.port)).await?)
    }

    fn log(&self) -> PathBuf {
        self.directory.join("nats.log")
    }
}

impl Receiver for NatsReceiver {
    fn name(&self) -> &'static str {
        match self.access {
            Access::Certificate => "nats",
            Access::Password => "nats-password",
            Access::Token => "nats-token",
            Access::Credentials { .. } => "nats-credentials",
        }
    }

    fn sink(&self) -> String {
        format!(
            "- {{ name: {}, format: ocsf, nats: {{ subject: driftlock.alerts, stream: {STREAM}, {} }} }}\n",
            self.name(),
            self.way()
        )
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new("nats-server");
        if matches!(self.access, Access::Certificate) {
            command.arg("--tlsverify");
        }
        let process = command
            .arg("--config")
            .arg(self.configuration())
            .args([
                "--addr",
                "127.0.0.1",
                "--port",
                &self.port.to_string(),
                "--jetstream",
                "--store_dir",
            ])
            .arg(self.directory.join("nats"))
            .args(["--tls", "--tlscacert"])
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
            let client = self.connect().await?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever has what the server asks for gets in and may make a stream; whoever has nothing does not get in.
    #[test]
    fn a_server_lets_in_whom_it_knows_and_nobody_else() -> anyhow::Result<()> {
        let directory = tempfile::tempdir()?;
        let certificates = Certificates::create(&directory.path().join("certificates"))?;
        let credentials = Access::credentials(directory.path())?;
        for (name, access) in [
            ("certificate", Access::Certificate),
            ("password", Access::Password),
            ("token", Access::Token),
            ("credentials", credentials),
        ] {
            let mut receiver = NatsReceiver::with(&directory.path().join(name), &certificates, access)?;
            receiver.start()?;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let outcome = runtime.block_on(async {
                let stranger = ConnectOptions::new()
                    .add_root_certificates(certificates.authority())
                    .connect(format!("tls://localhost:{}", receiver.port))
                    .await;
                anyhow::ensure!(stranger.is_err(), "a stranger gets in");
                let stream = jetstream::stream::Config {
                    name: STREAM.to_owned(),
                    ..jetstream::stream::Config::default()
                };
                jetstream::new(receiver.connect().await?)
                    .create_stream(stream)
                    .await?;
                Ok(())
            });
            outcome.with_context(|| format!("{name}: {}", tail(&receiver.log())))?;
        }
        Ok(())
    }
}
