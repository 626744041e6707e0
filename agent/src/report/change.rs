//! What is different from the image before.
//!
//! Input: the comparison of both documents. Output: a part of the page. Failure: none; where the document names an image that it descends
//! from and that one's profile is not at hand, the page says so.

use agent_common::domain::Section;
use maud::{Markup, html};

use super::count;
use crate::profile::diff::{BehaviourDiff, Change, ProfileDiff, RoleDiff, Said};
use crate::profile::document::ProfileDocument;
use crate::profile::model::Role;

/// A list that is longer is opened by the reader.
const SHOWN: usize = 40;

/// The comparison, if there is something to compare with.
pub(super) fn section(document: &ProfileDocument, diff: Option<&ProfileDiff>, role: Option<&Role>) -> Markup {
    let Some(diff) = diff else {
        return match &document.image.descends_from {
            None => html! {},
            Some(previous) => html! {
                section.domain {
                    h2 { "Against the previous image" }
                    p.none { "The profile of " code { (previous.short()) } " is not at hand." }
                }
            },
        };
    };
    let roles: Vec<&RoleDiff> = diff
        .roles
        .iter()
        .filter(|of_role| role.is_none_or(|role| *role.as_text() == of_role.role))
        .collect();
    html! {
        section.domain.change {
            h2 { "Against the previous image" }
            p.lead { (diff.from.name) " " code { (diff.from.digest.short()) } " \u{2192} " (diff.to.name) " " code { (diff.to.digest.short()) } }
            @if roles.is_empty() { p.none { "Both permit the same." } }
            @for of_role in roles { (of(of_role)) }
        }
    }
}

fn of(role: &RoleDiff) -> Markup {
    let of_kind = |change: Change| role.behaviours.iter().filter(move |diff| diff.change == change);
    html! {
        h3 {
            "Role " code { (role.role) }
            @match role.change {
                Change::Added => { span.badge.good { "new" } },
                Change::Removed => { span.badge.bad { "gone" } },
                Change::Changed => {},
            }
        }
        @for setting in &role.settings {
            p { code { (setting.name) } ": " (word(setting.from)) " \u{2192} " (word(setting.to)) }
        }
        @for (change, mark, what) in [(Change::Added, "+", "new behaviour"), (Change::Removed, "\u{2212}", "behaviour that is gone"), (Change::Changed, "~", "changed behaviour")] {
            @let rows: Vec<&BehaviourDiff> = of_kind(change).collect();
            @if !rows.is_empty() {
                details open[rows.len() <= SHOWN] {
                    summary { span.mark.(class(change)) { (mark) } (count(rows.len() as u64, what)) }
                    table.behaviours {
                        tbody {
                            @for row in rows {
                                tr {
                                    td.mark.(class(change)) { (mark) }
                                    td.which { (row.parts.domain.as_str()) }
                                    td.name { code { (row.parts.subject()) } }
                                    td { @if let Some(manner) = row.parts.manner() { span.tag { (manner) } } }
                                    td { (remark(row)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn class(change: Change) -> &'static str {
    match change {
        Change::Added => "added",
        Change::Removed => "removed",
        Change::Changed => "changed",
    }
}

fn word(setting: Option<bool>) -> &'static str {
    match setting {
        Some(true) => "yes",
        Some(false) => "no",
        None => "\u{2014}",
    }
}

/// For whom it is, if not for the container's own processes, and what of it is different.
fn remark(row: &BehaviourDiff) -> &'static str {
    let permits = |said: &Option<Said>| said.as_ref().map(|said| said.permitted);
    match (row.section, permits(&row.from), permits(&row.to)) {
        (None, Some(_), Some(_)) => "other contents or note",
        (None, ..) => "by content",
        (Some(Section::ExecIn), Some(false), Some(true)) => "from outside: accepted now",
        (Some(Section::ExecIn), Some(true), Some(false)) => "from outside: no longer accepted",
        (Some(Section::ExecIn), _, Some(false)) => "from outside: proposed",
        (Some(Section::ExecIn), ..) => "from outside",
        (Some(Section::Main), ..) => "",
    }
}
