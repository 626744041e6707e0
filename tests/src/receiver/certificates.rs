//! An authority, and what it vouches for: the receivers, and the agent.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// The name in the agent's certificate.
pub const AGENT: &str = "driftlock-agent";

/// Files of certificates and keys.
#[derive(Clone, Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Makes them in a directory.
    pub fn create(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let certificates = Self {
            directory: directory.to_owned(),
        };
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "driftlock-tests");
        std::fs::write(certificates.authority(), params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);
        for (name, names, usage) in [
            (
                "receiver",
                ["localhost", "127.0.0.1"].as_slice(),
                ExtendedKeyUsagePurpose::ServerAuth,
            ),
            ("agent", &[AGENT], ExtendedKeyUsagePurpose::ClientAuth),
        ] {
            let key = KeyPair::generate()?;
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names.clone())?;
            params.distinguished_name.push(DnType::CommonName, &*names[0]);
            params.extended_key_usages = vec![usage];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            std::fs::write(
                certificates.certificate(name),
                params.signed_by(&key, &issuer)?.pem(),
            )?;
            std::fs::write(certificates.key(name), key.serialize_pem())?;
        }
        Ok(certificates)
    }

    /// The authority's certificate.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.join("ca.pem")
    }

    /// The certificate of `receiver` or `agent`.
    #[must_use]
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.pem"))
    }

    /// Its key.
    #[must_use]
    pub fn key(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.key"))
    }

    /// What a sink's section `tls:` says.
    #[must_use]
    pub fn of_agent(&self) -> String {
        format!(
            "{{ ca: {}, cert: {}, key: {} }}",
            self.authority().display(),
            self.certificate("agent").display(),
            self.key("agent").display()
        )
    }
}
