//! Where the page comes from: one answer of the engine, kept for a moment.
//!
//! Input: the engine's channel of requests, and what facts have added up to. Output: [`Answer`]: the page and whether the engine answers.
//! Failure: an engine that does not answer in time is told on the page. Whoever asks while an answer is on its way waits for that
//! one, and within a second everybody gets the same: any number of readers cost the engine one answer a second.

use std::fmt::Error;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::Metrics;
use super::figures::Figures;
use super::process::OwnProcess;
use crate::control::connection::EngineRequest;
use crate::control::protocol::{Request, Response};
use crate::control::view::StatusView;

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(1);
/// How long is waited for the engine; Prometheus waits ten seconds if nobody says otherwise.
const PATIENCE: Duration = Duration::from_secs(4);

/// What was found out.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The page, in the newer text format.
    pub(super) page: Arc<str>,
    /// For how long the engine does not answer, as far as it was asked; `None` if it does.
    pub(super) silent: Option<Duration>,
}

/// The source of the page.
#[derive(Debug)]
pub(super) struct Source {
    engine: mpsc::Sender<EngineRequest>,
    metrics: Metrics,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    answer: Option<(Instant, Answer)>,
    /// Since when the engine has not answered.
    silent_since: Option<Instant>,
}

impl Source {
    pub(super) fn new(engine: mpsc::Sender<EngineRequest>, metrics: Metrics) -> Self {
        Self {
            engine,
            metrics,
            last: Mutex::default(),
        }
    }

    /// The page as it is now, or was a moment ago.
    pub(super) async fn answer(&self) -> Result<Answer, Error> {
        let mut last = self.last.lock().await;
        if let Some((at, answer)) = &last.answer
            && at.elapsed() < KEPT
        {
            return Ok(answer.clone());
        }
        let asked = Instant::now();
        let status = timeout(PATIENCE, self.ask()).await.ok().flatten();
        last.silent_since = match &status {
            Some(_) => None,
            None => last.silent_since.or(Some(asked)),
        };
        let answer = Answer {
            page: self.page(status)?.into(),
            silent: last.silent_since.map(|since| since.elapsed()),
        };
        last.answer = Some((Instant::now(), answer.clone()));
        Ok(answer)
    }

    async fn ask(&self) -> Option<StatusView> {
        let (sender, receiver) = oneshot::channel();
        self.engine.send((Request::Status, sender)).await.ok()?;
        match receiver.await.ok()? {
            Response::Ok(value) => serde_json::from_value(value).ok(),
            Response::Err(_) => None,
        }
    }

    fn page(&self, status: Option<StatusView>) -> Result<String, Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Figures(status.map(Arc::new))));
        self.metrics.register(&mut registry);
        registry.register_collector(Box::new(OwnProcess));
        let mut page = String::new();
        encode(&mut page, &registry)?;
        Ok(page)
    }
}
