//! Why a command failed, what to do about it, and the exit code: 1 failed, 2 wrong usage, 3 agent not reachable, 4 not
//! permitted.
//!
//! Input: the errors of the parts. Output: [`Failure`]. Failure: none.

use std::io;
use std::path::PathBuf;

use crate::config::ConfigError;
use crate::control::access::AccessError;
use crate::control::client::ClientError;
use crate::control::protocol::RefusalKind;
use crate::text::escape;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The agent.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A file that was named.
    #[error("cannot {operation} {}: {source}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Flags that do not go together, in a way that clap does not tell.
    #[error("{0}")]
    Usage(String),
    /// Standard output.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
    /// What the command does by itself.
    #[error("{0:#}")]
    Host(anyhow::Error),
    /// The answer itself says that something is wrong; it was printed.
    #[error("{0}")]
    Found(&'static str),
}

impl Failure {
    /// The exit code; `None` if nobody wants the output any more, which is no failure.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        match self {
            Self::Output(error) | Self::Client(ClientError::Output(error))
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                None
            }
            Self::Client(ClientError::NotRunning { .. }) => Some(3),
            Self::Client(ClientError::NotPermitted { .. }) => Some(4),
            Self::Client(ClientError::Refused(refusal)) if refusal.kind == RefusalKind::NotPermitted => {
                Some(4)
            }
            Self::Config(ConfigError::Read { source, .. }) | Self::File { source, .. } if denied(source) => {
                Some(4)
            }
            Self::Host(error) if error.chain().any(is_denied) => Some(4),
            Self::Host(error) if error.is::<AccessError>() => Some(2),
            Self::Config(_) | Self::Usage(_) => Some(2),
            _ => Some(1),
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Client(ClientError::NotRunning { .. }) => Some("is `driftlock run` running?".to_owned()),
            Self::Client(ClientError::NotPermitted { .. }) => Some("run the command as root".to_owned()),
            Self::Client(ClientError::Refused(refusal)) => refusal.hint.clone(),
            _ => None,
        }
    }

    /// All of it, for standard error. The agent's texts may hold what a container chose, and documents have lines.
    #[must_use]
    pub fn report(&self) -> String {
        let safe = |text: &str| text.lines().map(show).collect::<Vec<_>>().join("\n");
        let hint = self.hint().map(|hint| format!("hint: {}\n", safe(&hint)));
        format!(
            "driftlock: {}\n{}",
            safe(&self.to_string()),
            hint.unwrap_or_default()
        )
    }
}

/// A line without what acts on a terminal; what was escaped before stays as it is.
fn show(line: &str) -> String {
    line.split('\\')
        .map(|part| escape(part.as_bytes()))
        .collect::<Vec<_>>()
        .join("\\")
}

/// Whether a step of an error chain is a refusal by the system.
fn is_denied(error: &(dyn std::error::Error + 'static)) -> bool {
    let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let errno =
        |error: &rustix::io::Errno| *error == rustix::io::Errno::PERM || *error == rustix::io::Errno::ACCESS;
    error.downcast_ref::<io::Error>().is_some_and(denied) || error.downcast_ref().is_some_and(errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Refusal;

    #[test]
    fn exit_codes_tell_what_went_wrong() {
        let io = |kind| io::Error::from(kind);
        let socket = PathBuf::from("/run/x");
        let refused = |refusal| Failure::Client(ClientError::Refused(refusal));
        for (failure, code) in [
            (refused(Refusal::not_found("no")), Some(1)),
            (refused(Refusal::invalid("no")), Some(1)),
            (refused(Refusal::not_permitted("no")), Some(4)),
            (Failure::Usage("no".to_owned()), Some(2)),
            (Failure::Host(anyhow::anyhow!("no")), Some(1)),
            (
                Failure::Host(anyhow::Error::new(io(io::ErrorKind::PermissionDenied)).context("load")),
                Some(4),
            ),
            (
                Failure::Host(anyhow::Error::new(rustix::io::Errno::PERM)),
                Some(4),
            ),
            (Failure::Output(io(io::ErrorKind::BrokenPipe)), None),
            (Failure::Output(io(io::ErrorKind::StorageFull)), Some(1)),
            (
                ClientError::NotRunning {
                    socket: socket.clone(),
                    source: io(io::ErrorKind::NotFound),
                }
                .into(),
                Some(3),
            ),
            (
                ClientError::NotPermitted {
                    socket,
                    source: io(io::ErrorKind::PermissionDenied),
                }
                .into(),
                Some(4),
            ),
        ] {
            assert_eq!(failure.exit_code(), code, "{failure}");
        }
    }

    #[test]
    fn reports_are_safe_to_show() {
        let refusal = Refusal::failed("no \x1b[31m `\\x41`\nline 2").hint("look\x07");
        let report = Failure::Client(refusal.into()).report();
        assert_eq!(
            report,
            "driftlock: no \\x1b[31m `\\x41`\nline 2\nhint: look\\x07\n"
        );
    }
}
