//! A program that reads lines from a Unix socket.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

use super::{Arrived, Log, Receiver};

/// A Unix socket and who listens on it.
#[derive(Debug)]
pub struct UnixReceiver {
    path: PathBuf,
    log: Log,
    running: Option<Runtime>,
}

impl UnixReceiver {
    /// In a directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join("alerts.sock"),
            log: Log::default(),
            running: None,
        }
    }
}

impl Receiver for UnixReceiver {
    fn name(&self) -> &'static str {
        "unix"
    }

    fn sink(&self) -> String {
        format!("- unix: {{ path: {} }}\n", self.path.display())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let _ = std::fs::remove_file(&self.path);
        let listener = {
            let _entered = runtime.enter();
            UnixListener::bind(&self.path)?
        };
        let log = self.log.clone();
        runtime.spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let log = log.clone();
                tokio::spawn(async move {
                    let mut lines = BufReader::new(connection).lines();
                    while let Ok(Some(line)) = lines.next_line().await {
                        log.note(&line);
                    }
                });
            }
        });
        self.running = Some(runtime);
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        // Whatever is read and not yet handled is lost with it.
        self.running = None;
        Ok(())
    }

    fn arrived(&mut self) -> anyhow::Result<Arrived> {
        Ok(self.log.arrived())
    }
}
