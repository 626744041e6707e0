//! `driftlock profile accept`: from what was typed to the request.
//!
//! Input: the arguments. Output: the request. Failure: [`Failure::Usage`] for parts that do not go together, [`Failure::File`] for
//! a copy of a program that cannot be read.

use std::fs::File;
use std::path::PathBuf;

use agent_common::cap::{CapOutcome, UserNamespace};
use agent_common::domain::Section;
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::SyscallAbi;
use sha2::{Digest as _, Sha256};

use super::args::ProfileAccept;
use super::failure::Failure;
use crate::behaviour::{Capability, FilePattern, syscall};
use crate::control::protocol::{Accept, Request};
use crate::profile::model::ContentHash;
use crate::profile::pattern::PatternTextError;
use crate::text::{ByteText, UnescapeError};

/// The request for what was typed.
pub(super) fn request(accept: ProfileAccept) -> Result<Request, Failure> {
    let (image, role) = (accept.name.image.clone(), accept.name.role.clone());
    let layer = match (accept.volume, accept.upper, accept.layer) {
        (true, _, _) => Some(Layer::Volume),
        (_, true, _) => Some(Layer::Upper),
        (_, _, layer) => layer,
    };
    // A path begins with a slash, so it is never a capability.
    let capability = subject(&accept).parse::<Capability>().ok();
    let behaviour = match (capability, accept.operation) {
        _ if accept.proposed => Accept::Proposed {
            domain: accept.domain,
        },
        (Some(capability), _) => self::capability(&accept, capability, layer)?,
        // Nor a system call.
        (None, _) if is_name(&accept) => system_call(&accept, layer)?,
        (None, _) if accept.abi.is_some() => {
            return usage("--abi is about a system call, as ptrace");
        }
        (None, _) if accept.refused || accept.other_namespace => {
            return usage("--refused and --other-namespace are about a capability, as CAP_NET_RAW");
        }
        (None, Some(operation)) => file(&accept, operation, layer)?,
        (None, None) => program(accept, layer)?,
    };
    Ok(Request::ProfileAccept {
        image,
        role,
        accept: behaviour,
    })
}

fn capability(
    accept: &ProfileAccept,
    capability: Capability,
    layer: Option<Layer>,
) -> Result<Accept, Failure> {
    let has_content = accept.sha256.is_some() || accept.file.is_some() || accept.note.is_some();
    if layer.is_some() || accept.exec || accept.applet.is_some() || accept.operation.is_some() || has_content
    {
        return usage("a capability has no layer, applet, operation or content");
    }
    Ok(Accept::Cap {
        section: section(accept),
        capability,
        namespace: if accept.other_namespace {
            UserNamespace::Other
        } else {
            UserNamespace::Initial
        },
        outcome: if accept.refused {
            CapOutcome::Refused
        } else {
            CapOutcome::Granted
        },
    })
}

/// The interface of this machine's own programs.
const OWN_ABI: SyscallAbi = if cfg!(target_arch = "aarch64") {
    SyscallAbi::Aarch64
} else {
    SyscallAbi::X86_64
};

fn is_name(accept: &ProfileAccept) -> bool {
    let is_part = |symbol: char| symbol.is_ascii_lowercase() || symbol.is_ascii_digit() || symbol == '_';
    let subject = subject(accept);
    !subject.is_empty() && subject.chars().all(is_part)
}

fn system_call(accept: &ProfileAccept, layer: Option<Layer>) -> Result<Accept, Failure> {
    let has_content = accept.sha256.is_some() || accept.file.is_some() || accept.note.is_some();
    if layer.is_some() || accept.exec || accept.applet.is_some() || accept.operation.is_some() || has_content
    {
        return usage("a system call has no layer, applet, operation or content");
    }
    let abi = accept.abi.unwrap_or(OWN_ABI);
    let Some(number) = syscall::number(abi, subject(accept)) else {
        return Err(Failure::Usage(format!(
            "`{}` is no system call of {abi}; a path begins with a slash",
            subject(accept)
        )));
    };
    Ok(Accept::Syscall {
        section: section(accept),
        abi,
        number,
    })
}

fn file(accept: &ProfileAccept, operation: FileOperation, layer: Option<Layer>) -> Result<Accept, Failure> {
    Ok(Accept::File {
        section: section(accept),
        // What is written to the container's root filesystem goes to its upper layer, whatever lay below.
        layer: layer.unwrap_or(match operation {
            FileOperation::Read => Layer::Image,
            FileOperation::Write | FileOperation::Create | FileOperation::Rename | FileOperation::Link => {
                Layer::Upper
            }
        }),
        files: if accept.pattern {
            let pattern = subject(accept).parse();
            FilePattern::Pattern(
                pattern.map_err(|error: PatternTextError| Failure::Usage(error.to_string()))?,
            )
        } else {
            FilePattern::Exact(path(accept)?)
        },
        operation,
    })
}

/// What did not come with the image is accepted by its content, all else by its path.
fn program(accept: ProfileAccept, layer: Option<Layer>) -> Result<Accept, Failure> {
    match layer {
        None | Some(Layer::Image | Layer::Unknown) => {
            if accept.sha256.is_some() || accept.file.is_some() {
                return usage(
                    "a program of the image is accepted by its path; --sha256 and --file need --volume or --upper",
                );
            }
            if accept.note.is_some() {
                return usage("--note needs --volume or --upper");
            }
            Ok(Accept::Exec {
                section: section(&accept),
                layer: layer.unwrap_or(Layer::Image),
                path: path(&accept)?,
                applet: accept.applet,
            })
        }
        Some(layer @ (Layer::Volume | Layer::Upper)) => {
            if accept.exec_in {
                return usage(
                    "a program that did not come with the image is accepted for all; --exec-in is for one of the image, \
                     or for a file with --operation",
                );
            }
            if accept.applet.is_some() {
                return usage("what did not come with the image is accepted by its content, not by applet");
            }
            let path = path(&accept)?;
            let sha256 = match accept.file {
                Some(file) => Some(hash(file)?),
                None => accept.sha256,
            };
            Ok(Accept::Drift {
                layer,
                path,
                sha256,
                note: accept.note,
            })
        }
        Some(Layer::Foreign | Layer::Anonymous) => {
            usage("a program that is foreign or has no name cannot be accepted: only upper and volume can")
        }
    }
}

fn subject(accept: &ProfileAccept) -> &str {
    accept.subject.as_deref().unwrap_or_default()
}

fn path(accept: &ProfileAccept) -> Result<ByteText, Failure> {
    let path = subject(accept).parse();
    path.map_err(|error: UnescapeError| Failure::Usage(error.to_string()))
}

fn section(accept: &ProfileAccept) -> Section {
    if accept.exec_in {
        Section::ExecIn
    } else {
        Section::Main
    }
}

fn usage<T>(message: &str) -> Result<T, Failure> {
    Err(Failure::Usage(message.to_owned()))
}

fn hash(path: PathBuf) -> Result<String, Failure> {
    let mut hasher = Sha256::new();
    let copied = File::open(&path).and_then(|mut file| std::io::copy(&mut file, &mut hasher));
    match copied {
        Ok(_) => Ok(ContentHash(hasher.finalize().into()).to_string()),
        Err(source) => Err(Failure::File {
            operation: "read",
            path,
            source,
        }),
    }
}
