//! `driftlock profile sign` and `verify`, and the signature that `import` takes along. No agent is asked.
//!
//! Input: a document, keys and signatures in files, a password. Output: a signature's file, or a line that says who signed what.
//! Failure: [`Failure`]; nothing is written unless the document is one.

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::args::{ProfileImport, ProfileSign, ProfileVerify};
use super::document;
use super::failure::Failure;
use super::write_out;
use crate::config::profiles::read_key;
use crate::profile::document::ProfileDocument;
use crate::signature::{
    LockedKey, Prehash, PublicKey, SIGNATURE_BYTES_MAX, SUFFIX, SecretKey, Signature, SignatureError,
};
use crate::text::escape;

/// Longest password in bytes: minisign's.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// Signs a document.
pub(super) fn sign(arguments: &ProfileSign) -> Result<(), Failure> {
    let (document, prehash) = document(&arguments.file)?;
    let key = secret_key(&arguments.key)?;
    let comment = match &arguments.comment {
        Some(comment) => comment.clone(),
        None => default_comment(&arguments.file),
    };
    let signature =
        Signature::sign(&key, &prehash, &comment).map_err(|error| about(&arguments.file, error))?;
    let output = arguments
        .output
        .clone()
        .unwrap_or_else(|| with_suffix(&arguments.file));
    std::fs::write(&output, signature.render()).map_err(failed("write", &output))?;
    write_out(&format!(
        "{}: profile of {}, signed with key {}\n",
        output.display(),
        document.digest.short(),
        key.id()
    ))
}

/// Verifies the signature of a document.
pub(super) fn verify(arguments: &ProfileVerify) -> Result<(), Failure> {
    let key = public_key(&arguments.public_key)?;
    let file = arguments
        .signature
        .clone()
        .unwrap_or_else(|| with_suffix(&arguments.file));
    let (document, prehash) = document(&arguments.file)?;
    let bytes = read(&file)?;
    let signature = Signature::parse(&bytes).map_err(|error| about(&file, error))?;
    signature
        .verify(&key, &prehash)
        .map_err(|error| about(&file, error))?;
    write_out(&format!(
        "{}: profile of {}, signed with key {} ({})\n",
        arguments.file.display(),
        document.digest.short(),
        key.id(),
        escape(signature.trusted_comment().as_bytes())
    ))
}

/// The signature that an import takes along: the one that is named, else the one beside the document.
pub(super) fn beside(import: &ProfileImport) -> Result<Option<String>, Failure> {
    let file = match &import.signature {
        Some(file) => file.clone(),
        None if import.unsigned || import.file == Path::new("-") => return Ok(None),
        None => {
            let file = with_suffix(&import.file);
            if !file.try_exists().map_err(failed("look for", &file))? {
                return Ok(None);
            }
            file
        }
    };
    let bytes = read(&file)?;
    // What is no signature at all is told here, where the file has a name.
    Signature::parse(&bytes).map_err(|error| about(&file, error))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// A document, and what is signed of its file.
fn document(file: &Path) -> Result<(ProfileDocument, Prehash), Failure> {
    let (text, source) = document::read(file)?;
    let document =
        ProfileDocument::parse(text.as_bytes(), &source).map_err(|error| Failure::Host(error.into()))?;
    Ok((document, Prehash::of(text.as_bytes())))
}

fn public_key(text: &str) -> Result<PublicKey, Failure> {
    let file = Path::new(text);
    let is_key = || PublicKey::parse(text.as_bytes()).ok().filter(|_| !file.exists());
    if let Some(key) = is_key() {
        return Ok(key);
    }
    let bytes = read_key(file).map_err(failed("read", file))?;
    PublicKey::parse(&bytes).map_err(|error| about(file, error))
}

fn secret_key(file: &Path) -> Result<SecretKey, Failure> {
    let bytes = Zeroizing::new(read_key(file).map_err(failed("read", file))?);
    let key = LockedKey::parse(&bytes).map_err(|error| about(file, error))?;
    let password = if key.is_encrypted() {
        password(file)?
    } else {
        Zeroizing::default()
    };
    key.unlock(password.as_bytes())
        .map_err(|error| about(file, error))
}

/// The password of a key: asked for at a terminal, else the first line of standard input.
fn password(file: &Path) -> Result<Zeroizing<String>, Failure> {
    let read = if std::io::stdin().is_terminal() {
        rpassword::prompt_password(format!("password of {}: ", file.display())).map(Zeroizing::new)
    } else {
        let mut line = Zeroizing::new(String::new());
        let read = std::io::stdin()
            .lock()
            .take(PASSWORD_BYTES_MAX + 1)
            .read_line(&mut line);
        read.map(|_| Zeroizing::new(line.trim_end_matches(['\r', '\n']).to_owned()))
    };
    read.map_err(failed("read the password of", file))
}

/// What minisign writes: when, and which file.
fn default_comment(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default();
    let name = escape(name.as_encoded_bytes());
    format!("timestamp:{}\tfile:{name}\thashed", Timestamp::now().as_second())
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)
        .and_then(|opened| {
            opened
                .take(SIGNATURE_BYTES_MAX as u64 + 1)
                .read_to_end(&mut bytes)
        })
        .map_err(failed("read", file))?;
    Ok(bytes)
}

fn with_suffix(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

fn about(file: &Path, error: SignatureError) -> Failure {
    Failure::Host(anyhow::Error::new(error).context(file.display().to_string()))
}

fn failed(operation: &'static str, file: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = file.to_owned();
    move |source| Failure::File {
        operation,
        path,
        source,
    }
}
