//! A policy for `SELinux`, as a block in the manner of udica.
//!
//! Input: a profile. Output: a block of `SELinux`'s Common Intermediate Language (CIL) that inherits from udica's templates `container` and
//! `net_container`, and permits the capabilities. Failure: none; what `SELinux` can tell by types alone is in the comments.

use std::collections::BTreeSet;

use agent_common::cap::UserNamespace;
use agent_common::domain::Domain;
use agent_common::file::Layer;

use super::{Export, Format, Source, comment, listed};
use crate::behaviour::{Behaviour, Capability, FileBehaviour};

/// What stands before each comment.
const MARK: &str = ";";
/// Capabilities below this number are permissions of the first class, the others of the second
/// (security/selinux/include/classmap.h).
const SECOND_CLASS: u8 = 32;
/// The number behind the last capability that `SELinux` has a permission for (the same file, Linux 6.12).
const KNOWN: u8 = 41;

/// How it is loaded, with the templates that it inherits from.
const HOW_TO_LOAD: &str = "; Load it with udica's templates:
;   semodule -i FILE.cil /usr/share/udica/templates/base_container.cil /usr/share/udica/templates/net_container.cil
";

/// Writes it.
pub(super) fn export(source: &Source<'_>) -> Export {
    let mut notes = source.common_notes();
    let mut rules = Vec::new();
    capabilities(source, &mut rules, &mut notes);
    notes.push(
        "Files and programs: SELinux knows them by their types, not by their paths. Every file of the image has one type \
         (container_file_t), which the template permits to read, to write and to execute; so which of them are used is not restricted."
            .to_owned(),
    );
    volumes(source, &mut notes);
    notes.push(
        "Network: a profile does not hold it. The template net_container permits all of it; restricted_net_container with ports \
         of your choice is narrower."
            .to_owned(),
    );
    notes.push("System calls: SELinux does not know them. Use a seccomp profile besides.".to_owned());
    let block = source.name().replace('-', "_");
    let text = [
        comment::lines(MARK, &source.heading(Format::SeLinux)),
        HOW_TO_LOAD.to_owned(),
        format!("; Use it: --security-opt label=type:{block}.process\n; What this cannot express:\n"),
        comment::notes(MARK, &notes),
        format!("(block {block}\n    (blockinherit container)\n    (blockinherit net_container)\n"),
        rules.concat(),
        ")\n".to_owned(),
    ]
    .concat();
    Export { text, notes }
}

fn capabilities(source: &Source<'_>, rules: &mut Vec<String>, notes: &mut Vec<String>) {
    let classes = [
        (UserNamespace::Initial, "capability", "capability2"),
        (UserNamespace::Other, "cap_userns", "cap2_userns"),
    ];
    if !source.tells_of(Domain::Cap) {
        let all = classes.iter().flat_map(|(_, first, second)| [first, second]);
        rules.extend(all.map(|class| format!("    (allow process process ({class} (all)))\n")));
        notes
            .push("Capabilities: the profile was never learned in domain cap; all are permitted.".to_owned());
        return;
    }
    let mut newer = BTreeSet::new();
    for (namespace, first, second) in classes {
        let used = source.capabilities(namespace);
        newer.extend(
            used.iter()
                .filter(|capability| capability.number() >= KNOWN)
                .copied(),
        );
        let is_in_second = |capability: &&Capability| capability.number() >= SECOND_CLASS;
        let is_known = |capability: &&Capability| capability.number() < KNOWN;
        let (second_names, first_names): (Vec<&Capability>, Vec<&Capability>) =
            used.iter().filter(is_known).partition(is_in_second);
        for (class, capabilities) in [(first, first_names), (second, second_names)] {
            let names: Vec<String> = capabilities
                .into_iter()
                .map(|capability| permission(*capability))
                .collect();
            if !names.is_empty() {
                rules.push(format!(
                    "    (allow process process ({class} ({})))\n",
                    names.join(" ")
                ));
            }
        }
    }
    if !newer.is_empty() {
        let newer: Vec<Capability> = newer.into_iter().collect();
        notes.push(format!(
            "Capabilities that SELinux has no name for: {}.",
            listed(&newer)
        ));
    }
}

/// The permission's name.
fn permission(capability: Capability) -> String {
    let name = capability.name().to_ascii_lowercase();
    name.strip_prefix("cap_").unwrap_or(&name).to_owned()
}

/// Which directories on volumes are used: those need a type, or a template of udica's.
fn volumes(source: &Source<'_>, notes: &mut Vec<String>) {
    let directories: BTreeSet<String> = source
        .permitted()
        .into_iter()
        .filter_map(|behaviour| match behaviour {
            Behaviour::File(
                file @ FileBehaviour {
                    layer: Layer::Volume, ..
                },
            ) => place(file),
            _ => None,
        })
        .collect();
    if !directories.is_empty() {
        let directories: Vec<String> = directories.into_iter().collect();
        notes.push(format!(
            "Volumes: files are used on mounts in {}. What the node has there must have a type that the container may use \
             (mount option z or Z gives it container_file_t), or needs a template of udica's (log_container, home_container, ...).",
            listed(&directories)
        ));
    }
}

/// The directory at the root under which a file on a volume is used; `None` for those that every container has.
fn place(file: &FileBehaviour) -> Option<String> {
    let text = file.pattern.to_string();
    let first = text.trim_start_matches('/').split('/').next().unwrap_or_default();
    (!matches!(first, "proc" | "sys" | "dev")).then(|| format!("/{first}"))
}
