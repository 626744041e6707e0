//! A profile for `AppArmor`.
//!
//! Input: a profile. Output: a profile that `apparmor_parser` takes without any file beside it: programs that run, files by path, and
//! capabilities. Failure: none; what has no path is in the comments.

mod glob;
mod rules;

use agent_common::cap::UserNamespace;
use agent_common::domain::Domain;

use super::{Export, Format, Source, comment, listed};
use crate::behaviour::Capability;
use rules::Rules;

/// What stands before each comment.
const MARK: &str = "#";
/// The number behind the last capability that `AppArmor` 3.0 has a name for.
const KNOWN: u8 = 41;

/// How it is loaded and used.
const HOW_TO_LOAD: &str = "\
# Load it: apparmor_parser -r FILE. Use it: --security-opt apparmor=NAME, or appArmorProfile in Kubernetes.
# What this cannot express:
";
/// Mounts, to `AppArmor` a thing of their own besides the capability that they need.
const MOUNTS: &str = "  mount,\n  umount,\n  pivot_root,\n";
/// What every container needs and no profile holds, in `AppArmor`'s words.
const EVERY_CONTAINER: &str = r#"
  # What no profile holds, and every container may do: a profile has neither network nor signals, and a program's loader and
  # terminal are opened for it, not by it.
  network,
  unix,
  signal,
  "/" r,
  "/{usr/,}lib{,32,64,x32}/{,*/}ld-*.so*" mr,
  "/dev/{console,null,tty}" rw,
  "/dev/pts/[0-9]*" rw,
"#;

/// Writes it.
pub(super) fn export(source: &Source<'_>) -> Export {
    let name = source.name();
    let rules = Rules::of(source);
    let mut notes = source.common_notes();
    notes.extend(rules.notes());
    let capabilities = capabilities(source, &mut notes);
    notes.push(
        "Directories that are made or removed, files that are removed and sockets that are bound are not in a profile: try it \
         with flags=(complain) first, which only reports. Network, signals between containers and D-Bus are not in a profile \
         either, and are not restricted."
            .to_owned(),
    );
    let text = [
        comment::lines(MARK, &source.heading(Format::AppArmor)),
        HOW_TO_LOAD.to_owned(),
        comment::notes(MARK, &notes),
        format!("profile {name} flags=(attach_disconnected,mediate_deleted) {{"),
        EVERY_CONTAINER.to_owned(),
        format!("  ptrace peer={name},\n\n  # Capabilities\n"),
        capabilities.concat(),
        format!("\n  # Programs and files\n{rules}}}\n"),
    ]
    .concat();
    Export { text, notes }
}

/// The rules for capabilities, wherever those reach: `AppArmor` does not tell user namespaces apart.
fn capabilities(source: &Source<'_>, notes: &mut Vec<String>) -> Vec<String> {
    if !source.tells_of(Domain::Cap) {
        notes
            .push("Capabilities: the profile was never learned in domain cap; all are permitted.".to_owned());
        return vec!["  capability,\n".to_owned(), MOUNTS.to_owned()];
    }
    let mut used = source.capabilities(UserNamespace::Initial);
    let elsewhere = source.capabilities(UserNamespace::Other);
    let wider: Vec<Capability> = elsewhere.difference(&used).copied().collect();
    if !wider.is_empty() {
        notes.push(format!(
            "Used in user namespaces of their own alone, and permitted for the whole node where the container has them: {}.",
            listed(&wider)
        ));
    }
    used.extend(elsewhere);
    let (known, newer): (Vec<Capability>, Vec<Capability>) =
        used.iter().partition(|capability| capability.number() < KNOWN);
    if !newer.is_empty() {
        notes.push(format!(
            "Capabilities that AppArmor has no name for: {}.",
            listed(&newer)
        ));
    }
    let rule = |capability: &Capability| {
        let name = capability.name().to_ascii_lowercase();
        format!("  capability {},\n", name.strip_prefix("cap_").unwrap_or(&name))
    };
    let mut rules: Vec<String> = known.iter().map(rule).collect();
    if known
        .iter()
        .any(|capability| capability.name() == "CAP_SYS_ADMIN")
    {
        rules.push(MOUNTS.to_owned());
        notes.push(
            "Mounts are not in a profile; they are permitted, because the capability that they need is."
                .to_owned(),
        );
    }
    rules
}
