//! What may be done with which paths: `AppArmor`'s rules for files.
//!
//! Input: a profile. Output: rules in the order of their globs, and what they do not say as the profile does. Failure: none.

use std::collections::{BTreeMap, BTreeSet};

use agent_common::domain::Domain;
use agent_common::file::{FileOperation, Layer};

use super::super::{Source, listed};
use super::glob::Glob;
use crate::behaviour::{Behaviour, FileBehaviour};

/// What may be done with files, as a set of these bits.
type Access = u8;
const READ: Access = 1;
/// Writing, creating and removing are one to `AppArmor`.
const WRITE: Access = 1 << 1;
/// Mapping as code.
const MAP: Access = 1 << 2;
/// Locks: nothing in a profile speaks of them, and whoever may use a file may lock it.
const LOCK: Access = 1 << 3;
/// Executing it under this same profile.
const EXECUTE: Access = 1 << 4;

/// How each bit is written, in this order.
const WORDS: [(Access, &str); 5] = [
    (READ, "r"),
    (WRITE, "w"),
    (MAP, "m"),
    (LOCK, "k"),
    (EXECUTE, "ix"),
];

/// The rules of one profile.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// By glob.
    files: BTreeMap<String, Access>,
    /// Globs of names that hard links may get.
    links: BTreeSet<String>,
    /// Rules that hold for more than the profile's.
    wider: Vec<String>,
    /// Programs of which one name is permitted, and thereby all.
    applets: BTreeSet<String>,
    /// Uses of files that have no place in the container's tree.
    without_place: usize,
    /// Programs that are permitted by content.
    by_content: Vec<String>,
    /// The profile was learned in domain file.
    tells_of_files: bool,
}

impl Rules {
    /// Those of a profile.
    pub(super) fn of(source: &Source<'_>) -> Self {
        let mut rules = Self {
            tells_of_files: source.tells_of(Domain::File),
            ..Self::default()
        };
        for behaviour in source.permitted() {
            if let Behaviour::Exec(exec) = behaviour {
                if exec.applet.is_some() {
                    rules.applets.insert(exec.path.to_string());
                }
                rules.permit(Glob::of_path(exec.path.as_bytes()).text, READ | MAP | EXECUTE);
            } else if let Behaviour::File(file) = behaviour {
                rules.permit_file(file);
            }
        }
        for (_, path) in source.profile.drift.keys() {
            rules.by_content.push(path.to_string());
            rules.permit(Glob::of_path(path.as_bytes()).text, READ | MAP | EXECUTE);
        }
        if !rules.tells_of_files {
            rules.permit("/**".to_owned(), READ | WRITE | MAP | LOCK);
            rules.links.insert("/**".to_owned());
        }
        rules
    }

    /// What they do not say as the profile does.
    pub(super) fn notes(&self) -> Vec<String> {
        let mut notes = vec![
            "A file's layer: AppArmor knows paths alone. A path that was used in the image is permitted as well when a volume \
             is mounted over it, or the file was replaced."
                .to_owned(),
            "What may be mapped as code: all files of the image that are read, as in domain library; which of them are \
             libraries is not in a profile."
                .to_owned(),
            "Writing, creating, renaming onto a name and removing are one permission (w), and files that were opened for writing \
             may be read. A path that is read may be a directory."
                .to_owned(),
        ];
        if !self.tells_of_files {
            notes.push(
                "Files: the profile was never learned in domain file; all may be read and written."
                    .to_owned(),
            );
        }
        if !self.wider.is_empty() {
            notes.push(format!(
                "Globs that hold for more than the rule, whose varying parts have no exact glob: {}.",
                listed(&self.wider)
            ));
        }
        if !self.applets.is_empty() {
            let applets: Vec<&String> = self.applets.iter().collect();
            notes.push(format!(
                "Programs that do what their name says: {} may be executed by every name.",
                listed(&applets)
            ));
        }
        if !self.by_content.is_empty() {
            notes.push(format!(
                "Permitted by content in the profile, by path alone here: {}.",
                listed(&self.by_content)
            ));
        }
        if self.without_place > 0 {
            notes.push(format!(
                "Left out, because they have no place in the container's tree (layers foreign and anonymous): {} of the uses of files.",
                self.without_place
            ));
        }
        notes
    }

    fn permit_file(&mut self, file: &FileBehaviour) {
        if matches!(file.layer, Layer::Foreign | Layer::Anonymous) {
            self.without_place += 1;
            return;
        }
        let glob = Glob::of(&file.pattern);
        if glob.is_wider {
            self.wider.push(file.to_string());
        }
        let came_with_the_image = matches!(file.layer, Layer::Image | Layer::Unknown);
        let map = if came_with_the_image { MAP } else { 0 };
        match file.operation {
            FileOperation::Read => {
                // A directory that is listed has a slash at its end.
                let end = if glob.text.ends_with("/**") { "" } else { "{,/}" };
                self.permit(glob.text + end, READ | LOCK | map);
            }
            FileOperation::Write | FileOperation::Create | FileOperation::Rename => {
                self.permit(glob.text, READ | WRITE | LOCK);
            }
            FileOperation::Link => {
                self.permit(glob.text.clone(), READ | WRITE | LOCK);
                self.links.insert(glob.text);
            }
        }
    }

    fn permit(&mut self, glob: String, access: Access) {
        *self.files.entry(glob).or_default() |= access;
    }
}

impl std::fmt::Display for Rules {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (glob, access) in &self.files {
            write!(formatter, "  \"{glob}\" ")?;
            for (bit, word) in WORDS {
                if access & bit != 0 {
                    formatter.write_str(word)?;
                }
            }
            formatter.write_str(",\n")?;
        }
        for glob in &self.links {
            writeln!(formatter, "  link \"{glob}\" -> \"/**\",")?;
        }
        Ok(())
    }
}
