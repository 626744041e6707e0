//! What a profile for `AppArmor` permits, as `AppArmor`'s own compiler understands it, on any kernel.
//!
//! Input: the text of a profile. Output: the automaton that `apparmor_parser` makes of its rules for files ([`Automaton`]), which can be asked for
//! paths. Nothing is loaded into a kernel. Failure: the compiler refuses the profile, or prints what this module does not read.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

/// Permissions as the compiler numbers them (`parser/immunix.h`), of whoever owns the file.
pub const EXECUTE: u32 = 1;
/// Writing.
pub const WRITE: u32 = 1 << 1;
/// Reading.
pub const READ: u32 = 1 << 2;
/// Making a hard link of this name.
pub const LINK: u32 = 1 << 4;
/// Locking.
pub const LOCK: u32 = 1 << 5;
/// Mapping as code.
pub const MAP: u32 = 1 << 6;
/// All of these.
const ALL: u32 = EXECUTE | WRITE | READ | LINK | LOCK | MAP;

/// The compiled rules for files.
#[derive(Debug, Default)]
pub struct Automaton {
    /// By number.
    states: BTreeMap<u32, State>,
}

#[derive(Debug, Default)]
struct State {
    permissions: u32,
    next: BTreeMap<u8, u32>,
    /// For every other byte but NUL, and but the slash unless the flag says so.
    otherwise: Option<(u32, bool)>,
}

impl Automaton {
    /// Compiles the profile in `file`.
    ///
    /// # Errors
    /// The compiler is not there or refuses it; the message holds its words.
    pub fn of(file: &Path) -> Result<Self> {
        let output = Command::new("apparmor_parser")
            .args(["--skip-kernel-load", "--skip-read-cache", "--Dump", "dfa-states"])
            .arg(file)
            .output()
            .context("cannot run apparmor_parser")?;
        let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "apparmor_parser refuses {}: {text}",
            file.display()
        );
        Self::read(&text)
    }

    /// Reads what the compiler prints of its states.
    ///
    /// # Errors
    /// A line that is neither of the kinds known here.
    fn read(text: &str) -> Result<Self> {
        let mut automaton = Self::default();
        let mut current = 0;
        for line in text.lines() {
            if let Some((left, right)) = line
                .strip_prefix("    ")
                .and_then(|rest| rest.rsplit_once(" -> {"))
            {
                let (target, _) = right
                    .split_once('}')
                    .with_context(|| format!("no target: {line:?}"))?;
                let target = target.parse().with_context(|| format!("no target: {line:?}"))?;
                let state = automaton.states.entry(current).or_default();
                if let Some(except) = left.strip_prefix("[^").and_then(|rest| rest.strip_suffix(']')) {
                    state.otherwise = Some((target, !except.contains('/')));
                } else {
                    let (_, number) = left
                        .rsplit_once("0x")
                        .with_context(|| format!("no byte: {line:?}"))?;
                    let byte =
                        u8::from_str_radix(number, 16).with_context(|| format!("no byte: {line:?}"))?;
                    state.next.insert(byte, target);
                }
            } else if let Some((number, rest)) = line.strip_prefix('{').and_then(|rest| rest.split_once('}'))
            {
                let number = number.parse().with_context(|| format!("no state: {line:?}"))?;
                let state = automaton.states.entry(number).or_default();
                if let Some((_, permissions)) = rest.split_once("(0x ") {
                    let (allowed, _) = permissions
                        .split_once('/')
                        .with_context(|| format!("no permissions: {line:?}"))?;
                    state.permissions = u32::from_str_radix(allowed.trim(), 16)?;
                }
                current = number;
            }
        }
        if automaton.states.is_empty() {
            bail!("the compiler prints no states: {text}");
        }
        Ok(automaton)
    }

    /// What may be done with the file at `path`.
    #[must_use]
    pub fn permissions(&self, path: &[u8]) -> u32 {
        /// Where every path begins.
        const START: u32 = 1;
        let mut number = START;
        for byte in path {
            let Some(state) = self.states.get(&number) else {
                return 0;
            };
            let otherwise = state
                .otherwise
                .filter(|(_, with_slash)| *byte != 0 && (*byte != b'/' || *with_slash));
            match state
                .next
                .get(byte)
                .copied()
                .or(otherwise.map(|(target, _)| target))
            {
                Some(target) => number = target,
                None => return 0,
            }
        }
        self.states
            .get(&number)
            .map_or(0, |state| state.permissions & ALL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_walked_byte_by_byte() {
        let text = "Cache read/write disabled\n{1} <== (allow/deny/audit/quiet)\n{3} (0x 10004/0/0/0)\n{4} (0x 8002/0/0/0)\n\n\
                    {1} perms: none\n    / 0x2f -> {2}\n{2} perms: none\n    0xff -> {3}  (0x 10004/0/0/0)\n    [^\\x0/] -> {4}\n\
                    {4} perms:  (0x 8002/0/0/0)\n    [^\\x0] -> {4}\n";
        let automaton = Automaton::read(text).expect("is read");
        for (path, permissions) in [
            (&b"/\xff"[..], READ),
            (b"/\xffx", 0),
            (b"/a", WRITE),
            (b"//", 0),
            (b"/a/b", WRITE),
            (b"/a\0", 0),
            (b"/", 0),
        ] {
            assert_eq!(
                automaton.permissions(path),
                permissions,
                "{}",
                path.escape_ascii()
            );
        }
        assert!(Automaton::read("nothing").is_err());
    }
}
