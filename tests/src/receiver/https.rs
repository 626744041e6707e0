//! An HTTPS server that wants a certificate of its clients, and can be told to answer badly.

use std::io::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::{Arrived, Certificates, Log, Receiver, free_port};

/// Of so many requests one each is refused for now, answered late, and taken and not answered.
const FAULT_EVERY: u64 = 400;
/// How late.
const LATE: Duration = Duration::from_millis(200);

/// An HTTPS server.
#[derive(Debug)]
pub struct HttpsReceiver {
    port: u16,
    certificates: Certificates,
    state: Arc<State>,
    running: Option<Runtime>,
}

#[derive(Debug, Default)]
struct State {
    log: Log,
    is_faulty: AtomicBool,
    requests: AtomicU64,
    /// Requests that are not as they should be.
    bad: AtomicU64,
}

impl HttpsReceiver {
    /// With these certificates.
    pub fn new(certificates: &Certificates) -> anyhow::Result<Self> {
        Ok(Self {
            port: free_port()?,
            certificates: certificates.clone(),
            state: Arc::default(),
            running: None,
        })
    }

    /// Has it answer some requests badly.
    #[must_use]
    pub fn faulty(self) -> Self {
        self.state.is_faulty.store(true, Ordering::Relaxed);
        self
    }

    fn config(&self) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let mut authorities = RootCertStore::empty();
        authorities.add(CertificateDer::from_pem_file(self.certificates.authority())?)?;
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(&provider))
                .build()?;
        Ok(ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_file(
                    self.certificates.certificate("receiver"),
                )?],
                PrivateKeyDer::from_pem_file(self.certificates.key("receiver"))?,
            )?)
    }
}

impl Receiver for HttpsReceiver {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn sink(&self) -> String {
        format!(
            "- {{ format: falco, webhook: {{ url: 'https://localhost:{}/alerts', tls: {}, headers: {{ x-test: storm }} }} }}\n",
            self.port,
            self.certificates.of_agent()
        )
    }

    fn start(&mut self) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let acceptor = TlsAcceptor::from(Arc::new(self.config()?));
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", self.port)))
            .with_context(|| format!("cannot listen on port {}", self.port))?;
        let state = Arc::clone(&self.state);
        runtime.spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
                tokio::spawn(async move {
                    let Ok(connection) = acceptor.accept(connection).await else {
                        return;
                    };
                    let service = service_fn(move |request| answer(request, Arc::clone(&state)));
                    let connection = TokioIo::new(connection);
                    // A connection that was cut off, by either side, is what tests are about.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(connection, service)
                        .await;
                });
            }
        });
        self.running = Some(runtime);
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        self.running = None;
        Ok(())
    }

    fn arrived(&mut self) -> anyhow::Result<Arrived> {
        let bad = self.state.bad.load(Ordering::Relaxed);
        anyhow::ensure!(bad == 0, "{bad} requests were not as they should be");
        Ok(self.state.log.arrived())
    }
}

async fn answer(request: Request<Incoming>, state: Arc<State>) -> Result<Response<String>, Error> {
    let number = state.requests.fetch_add(1, Ordering::Relaxed) % FAULT_EVERY;
    let is_faulty = state.is_faulty.load(Ordering::Relaxed);
    let header = |name| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let (kind, id, mark) = (
        header("content-type"),
        header("driftlock-alert-id"),
        header("x-test"),
    );
    let body = request
        .into_body()
        .collect()
        .await
        .map_err(Error::other)?
        .to_bytes();
    let body = String::from_utf8_lossy(&body);
    let is_good = kind.as_deref() == Some("application/json")
        && mark.as_deref() == Some("storm")
        && id.is_some_and(|id| body.contains(&id));
    if !is_good {
        state.bad.fetch_add(1, Ordering::Relaxed);
    }
    let with_status = |status: u16| {
        let mut response = Response::new("that was it\n".to_owned());
        *response.status_mut() = hyper::StatusCode::from_u16(status).map_err(Error::other)?;
        Ok(response)
    };
    match number {
        100 if is_faulty => return with_status(500),
        200 if is_faulty => tokio::time::sleep(LATE).await,
        _ => {}
    }
    state.log.note(&body);
    if is_faulty && number == 300 {
        return Err(Error::other("cut off"));
    }
    with_status(200)
}
