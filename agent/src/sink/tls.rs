//! TLS for sinks: what the configuration's files say, read anew for each connection, so that certificates can be replaced in place.
//!
//! Input: the section `tls:`. Output: rustls's configuration, with ring. Failure: each error names the file. Nothing switches the check
//! of the receiver's certificate off; `server_name` says which name it must have where that is not the host's.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::transport::{TransportError, failed, with_causes};
use crate::config::sinks::TlsSection;

/// Whose authorities are trusted if the configuration names none.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What connections are made with.
pub(super) async fn client_config(section: &TlsSection) -> Result<ClientConfig, TransportError> {
    let section = section.clone();
    // A file may be on a disk that is slow.
    tokio::task::spawn_blocking(move || read(&section))
        .await
        .map_err(failed("read", "the files of TLS"))?
}

/// Of who makes no connection with TLS: nobody is trusted.
pub(super) fn none() -> Result<ClientConfig, TransportError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed("set up", "TLS"))?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn read(section: &TlsSection) -> Result<ClientConfig, TransportError> {
    let provider = Arc::new(ring::default_provider());
    let authorities = Arc::new(authorities(section.ca.as_deref())?);
    let verifier = WebPkiServerVerifier::builder_with_provider(authorities, Arc::clone(&provider))
        .build()
        .map_err(failed("set up", "TLS"))?;
    let verifier: Arc<dyn ServerCertVerifier> = match &section.server_name {
        None => verifier,
        Some(name) => Arc::new(Named {
            name: server_name(name)?,
            verifier,
        }),
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed("set up", "TLS"))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some((cert, key)) = own(section)? else {
        return Ok(builder.with_no_client_auth());
    };
    let certificates = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key))?;
    builder
        .with_client_auth_cert(certificates, private)
        .map_err(failed(
            "use the certificate and key",
            format!("{} and {}", cert.display(), key.display()),
        ))
}

/// A name that a certificate can have.
pub(super) fn server_name(name: &str) -> Result<ServerName<'static>, TransportError> {
    ServerName::try_from(name.to_owned()).map_err(failed("use as the receiver's name", name))
}

/// The files of the agent's own certificate and key.
fn own(section: &TlsSection) -> Result<Option<(&Path, &Path)>, TransportError> {
    match (&section.cert, &section.key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (Some(one), None) => Err(failed("use", one.display().to_string())(
            "`key` is missing beside `cert`",
        )),
        (None, Some(one)) => Err(failed("use", one.display().to_string())(
            "`cert` is missing beside `key`",
        )),
    }
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore, TransportError> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        // What is in a system's list and is not understood is nobody's fault here.
        let file = Path::new(SYSTEM_AUTHORITIES);
        store.add_parsable_certificates(certificates(file)?);
        return Ok(store);
    };
    for certificate in certificates(file)? {
        store
            .add(certificate)
            .map_err(failed("use as an authority", file.display().to_string()))?;
    }
    Ok(store)
}

/// The certificates in a file; there is at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TransportError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(unreadable(file))?;
    if found.is_empty() {
        return Err(failed("read", file.display().to_string())(
            "there is no certificate in it",
        ));
    }
    Ok(found)
}

fn unreadable(file: &Path) -> impl FnOnce(rustls::pki_types::pem::Error) -> TransportError {
    let subject = PathBuf::from(file).display().to_string();
    move |error| failed("read", subject)(with_causes(&error))
}

/// Takes certificates of one name, whatever the host is called.
#[derive(Debug)]
struct Named {
    name: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _host: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verifier
            .verify_server_cert(end_entity, intermediates, &self.name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("ca.pem");
        let section = |ca: &Path| TlsSection {
            ca: Some(ca.to_owned()),
            ..TlsSection::default()
        };
        let said = |section: &TlsSection| read(section).expect_err("refused").to_string();
        let missing = said(&section(&file));
        assert!(
            missing.contains("ca.pem") && missing.contains("No such file"),
            "{missing}"
        );
        std::fs::write(&file, "nothing\n").expect("written");
        let empty = said(&section(&file));
        assert!(empty.contains("ca.pem: there is no certificate"), "{empty}");
        std::fs::write(
            &file,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )
        .expect("written");
        let broken = said(&section(&file));
        assert!(
            broken.starts_with("cannot use as an authority") && broken.contains("ca.pem"),
            "{broken}"
        );
    }

    #[test]
    fn a_certificate_needs_a_key() {
        let section = TlsSection {
            cert: Some("/a.pem".into()),
            ..TlsSection::default()
        };
        let error = own(&section).expect_err("refused").to_string();
        assert_eq!(error, "cannot use /a.pem: `key` is missing beside `cert`");
    }

    #[test]
    fn names_and_addresses_are_names() {
        for name in ["logs.example", "10.0.0.1", "::1"] {
            server_name(name).unwrap_or_else(|error| panic!("{error}"));
        }
        server_name("no name").expect_err("a space");
    }
}
