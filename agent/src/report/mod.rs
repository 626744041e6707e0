//! A profile as a page to look at: what an image does, how well that is known, and what its rules permit beyond it.
//!
//! Purpose: what a reviewer reads before approving, and what hangs on a wall. Input: a profile's document, and if there is one that
//! of the image before. Output: one HTML page that needs nothing else: no script, no font, no picture, no other address; dark or light
//! as the reader's system is. Failure: none. Pure.
//!
//! Names are the container's: every one goes through [`crate::text::ByteText`] (control characters, directions of writing) and then
//! through the template, which escapes what it writes. What would slip through both finds a policy in the page by which a browser
//! executes no script and loads nothing.

mod behaviours;
mod change;
mod coverage;
mod curve;
mod page;
mod rules;
#[cfg(test)]
mod tests;

use maud::{Markup, html};

use crate::profile::completeness::Targets;
use crate::profile::diff::ProfileDiff;
use crate::profile::document::{ProfileDocument, RoleProfile};
use crate::profile::model::{Profile, ProfileKey, Role};

/// What a page is made of.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The image's profiles.
    pub document: &'a ProfileDocument,
    /// Those of the image before it.
    pub previous: Option<&'a ProfileDocument>,
    /// One role alone; all of the document's if absent.
    pub role: Option<&'a Role>,
    /// What a profile must have been learned from to be called learned.
    pub targets: Targets,
}

/// One role of the image, as everything on the page asks for it.
struct Subject<'a> {
    /// What is asked of.
    profile: Profile,
    /// What is listed.
    held: &'a RoleProfile,
}

impl Report<'_> {
    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let subjects: Vec<Subject<'_>> = self
            .document
            .roles
            .iter()
            .filter(|(role, _)| self.role.is_none_or(|wanted| wanted == *role))
            .map(|(role, profile)| Subject::new(self.document, role, profile))
            .collect();
        let diff = self.previous.map(|previous| {
            let names = [previous, self.document].map(name);
            ProfileDiff::new((&names[0], previous), (&names[1], self.document))
        });
        let body = html! {
            (page::header(self.document, subjects.len()))
            main {
                @for subject in &subjects {
                    (section_of(subject, &self.targets, subjects.len() > 1))
                }
                (change::section(self.document, diff.as_ref(), self.role))
            }
            (page::footer())
        };
        page::page(&name(self.document), &body)
    }
}

impl<'a> Subject<'a> {
    fn new(document: &ProfileDocument, role: &Role, held: &'a RoleProfile) -> Self {
        let key = ProfileKey {
            digest: document.digest.clone(),
            role: role.clone(),
        };
        Self {
            profile: Profile {
                approved: held.approved,
                scripts: held.scripts,
                counts: held.counts,
                main: held
                    .main
                    .iter()
                    .map(|(behaviour, known)| (behaviour.clone(), *known))
                    .collect(),
                exec_in: held
                    .exec_in
                    .iter()
                    .map(|(behaviour, known)| (behaviour.clone(), *known))
                    .collect(),
                ..Profile::new(0, key)
            },
            held,
        }
    }
}

/// Everything about one role.
fn section_of(subject: &Subject<'_>, targets: &Targets, is_one_of_several: bool) -> Markup {
    let profile = &subject.profile;
    html! {
        article {
            (page::role_head(profile, is_one_of_several))
            (coverage::cards(profile, targets))
            (coverage::figure(profile))
            (behaviours::sections(subject))
            (rules::section(subject))
        }
    }
}

/// What the image is called: its first reference, else its digest.
fn name(document: &ProfileDocument) -> String {
    let reference = document.image.references.first();
    reference.map_or_else(
        || document.digest.short().to_owned(),
        |reference| crate::text::escape(reference.as_bytes()),
    )
}

/// `1 path`, `2 paths`.
fn count(number: u64, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{} {what}s", grouped(number))
    }
}

/// `12 345`: with narrow spaces between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A share as per cent, never rounded up to all of it.
fn per_cent(share: f64) -> String {
    let tenths = (share * 1000.0).floor() / 10.0;
    if share >= 1.0 {
        "100\u{202f}%".to_owned()
    } else {
        format!("{tenths:.1}\u{202f}%")
    }
}
