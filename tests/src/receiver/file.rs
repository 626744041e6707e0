//! A file. Nobody has to run for it.

use std::path::{Path, PathBuf};

use super::{Arrived, Receiver};

/// A file that the agent writes.
#[derive(Debug)]
pub struct FileReceiver {
    path: PathBuf,
}

impl FileReceiver {
    /// In a directory.
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self {
            path: directory.join("alerts.ndjson"),
        }
    }
}

impl Receiver for FileReceiver {
    fn name(&self) -> &'static str {
        "file"
    }

    fn sink(&self) -> String {
        format!("- file: {{ path: {}, max_mb: 4096 }}\n", self.path.display())
    }

    fn start(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    fn arrived(&mut self) -> anyhow::Result<Arrived> {
        let mut arrived = Arrived::default();
        std::fs::read_to_string(&self.path)?
            .lines()
            .for_each(|line| arrived.note(line));
        Ok(arrived)
    }
}
