//! Whom a NATS server lets in: the ways that it has for that, each with what an agent needs for it.
//!
//! Input: a directory. Output: the server's configuration, and a file of credentials as NATS's own tools write it. Failure: a file that cannot be
//! written. The keys and the statements that they sign are made here, for a server that has them all in its configuration.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// The agent's name where it has one.
pub const USER: &str = "agent";
/// Its password, or its token. Never in a log.
pub const PASSWORD: &str = "correct horse/battery";
/// The same as it stands in an address.
pub const PASSWORD_IN_ADDRESS: &str = "correct%20horse%2Fbattery";

/// Who vouches for users, in a server that knows users by what is signed.
#[derive(Debug)]
pub struct Authority {
    operator: KeyPair,
    account: KeyPair,
}

impl Authority {
    /// Makes one with keys of its own.
    #[must_use]
    pub fn new() -> Self {
        Self {
            operator: KeyPair::new_operator(),
            account: KeyPair::new_account(),
        }
    }

    /// What the server's configuration says of it.
    pub fn configuration(&self) -> anyhow::Result<String> {
        let operator = self.operator.public_key();
        let account = self.account.public_key();
        let itself = statement(
            &self.operator,
            &operator,
            "operator",
            &json!({"type": "operator", "version": 2}),
        )?;
        let unlimited = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
            "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
        });
        let of_account = statement(
            &self.operator,
            &account,
            "alerts",
            &json!({"type": "account", "version": 2, "limits": unlimited}),
        )?;
        // A server with streams wants an account for itself.
        let own = KeyPair::new_account();
        let limits = json!({
            "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1,
        });
        let of_own = statement(
            &self.operator,
            &own.public_key(),
            "server",
            &json!({"type": "account", "version": 2, "limits": limits}),
        )?;
        let own = own.public_key();
        Ok(format!(
            "operator: {itself}\nsystem_account: {own}\nresolver: MEMORY\nresolver_preload: {{ {account}: {of_account}, {own}: {of_own} }}\n"
        ))
    }

    /// Writes credentials of a user who may do anything in the account.
    pub fn write_credentials(&self, file: &Path) -> anyhow::Result<()> {
        let user = KeyPair::new_user();
        let may = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
        let statement = statement(&self.account, &user.public_key(), USER, &may)?;
        let seed = user.seed()?;
        Ok(std::fs::write(
            file,
            format!(
                "-----BEGIN NATS USER JWT-----\n{statement}\n------END NATS USER JWT------\n\n\
                 -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
            ),
        )?)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

/// How a server knows the agent.
#[derive(Debug)]
pub enum Access {
    /// By the certificate of its connection.
    Certificate,
    /// By name and password.
    Password,
    /// By a token.
    Token,
    /// By what an authority has signed, and the key that it was signed for.
    Credentials {
        /// Who vouches for it.
        authority: Box<Authority>,
        /// The file that the agent reads.
        file: PathBuf,
        /// The file that the test reads.
        own: PathBuf,
    },
}

impl Access {
    /// By credentials, in files of a directory. The agent's is not written yet.
    pub fn credentials(directory: &Path) -> anyhow::Result<Self> {
        let authority = Box::new(Authority::new());
        let own = directory.join("test.creds");
        authority.write_credentials(&own)?;
        Ok(Self::Credentials {
            authority,
            file: directory.join("agent.creds"),
            own,
        })
    }

    /// What the server's configuration says.
    pub fn configuration(&self) -> anyhow::Result<String> {
        match self {
            Self::Certificate => Ok(String::new()),
            Self::Password => Ok(format!(
                "authorization {{ user: {USER}, password: \"{PASSWORD}\" }}\n"
            )),
            Self::Token => Ok(format!("authorization {{ token: \"{PASSWORD}\" }}\n")),
            Self::Credentials { authority, .. } => authority.configuration(),
        }
    }
}

/// A signed statement about a key, as NATS's servers read it.
fn statement(by: &KeyPair, about: &str, name: &str, nats: &Value) -> anyhow::Result<String> {
    let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let head = encode(json!({"typ": "JWT", "alg": "ed25519-nkey"}));
    // Issued long ago: the server's clock and this one are the same, but who knows.
    let body = json!({"jti": about, "iat": 1_700_000_000, "iss": by.public_key(), "sub": about, "name": name, "nats": nats});
    let text = format!("{head}.{}", encode(body));
    let signature = URL_SAFE_NO_PAD.encode(by.sign(text.as_bytes())?);
    Ok(format!("{text}.{signature}"))
}
