//! What the image does, domain by domain; what came in from outside; what was accepted though it did not come with the image.
//!
//! Input: a role. Output: parts of the page. Files are grouped by directory, each group to be opened. Failure: none.

use std::collections::BTreeMap;

use agent_common::domain::Domain;
use agent_common::file::Layer;
use maud::{Markup, html};

use super::coverage::{bar, title, told};
use super::curve::real;
use super::{Subject, count};
use crate::behaviour::{Behaviour, BehaviourParts};
use crate::profile::document::RoleProfile;
use crate::profile::model::{AcceptedDrift, ExecInEntry};
use crate::text::ByteText;

/// Components of a directory by which files are grouped.
const GROUP_DEPTH: usize = 2;
/// A domain with up to so many behaviours is shown without being asked for.
const SHOWN: usize = 12;

/// A system call that was seen in no more windows than this stands out.
const RARE: u64 = 2;

/// A behaviour, as a row shows it.
struct Row {
    parts: BehaviourParts,
    windows: u64,
}

/// Everything that the profile permits or proposes, apart from rules for several paths.
pub(super) fn sections(subject: &Subject<'_>) -> Markup {
    html! {
        @for domain in told(&subject.profile) { (own(subject.held, domain)) }
        (from_outside(&subject.held.exec_in))
        (accepted(&subject.held.drift))
    }
}

/// What the container's own processes do in one domain.
fn own(profile: &RoleProfile, domain: Domain) -> Markup {
    let of_domain = profile
        .main
        .iter()
        .filter(|(behaviour, _)| behaviour.domain() == domain);
    let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for (behaviour, evidence) in of_domain.filter(|(behaviour, _)| !behaviour.is_pattern()) {
        let parts = BehaviourParts::from(behaviour);
        let row = Row {
            windows: evidence.windows,
            parts,
        };
        groups.entry(group(&row.parts)).or_default().push(row);
    }
    let all: usize = groups.values().map(Vec::len).sum();
    let most = groups.values().map(Vec::len).max().unwrap_or(1);
    let windows = profile.counts.of(domain).windows;
    let is_open = all <= SHOWN;
    html! {
        section.domain.(domain.as_str()) {
            h3 { span.dot.(domain.as_str()) {} (title(domain)) span.amount { (all) } }
            @if all == 0 {
                p.none { (nothing(domain)) }
            } @else if domain == Domain::Syscall {
                (calls(&groups.into_values().flatten().collect::<Vec<_>>()))
            } @else if groups.len() == 1 || domain != Domain::File {
                (table(&groups.into_values().flatten().collect::<Vec<_>>(), windows))
            } @else {
                div.groups {
                    @for (directory, rows) in &groups {
                        details open[is_open] {
                            summary {
                                code { (directory) }
                                (bar(real(rows.len() as u64) / real(most as u64)))
                                span.right { (operations(rows)) }
                            }
                            (table(rows, windows))
                        }
                    }
                }
            }
        }
    }
}

/// System calls are many and have short names: side by side, by interface and phase.
fn calls(rows: &[Row]) -> Markup {
    // Names, and whether each was seen seldom.
    let mut by_manner: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    for row in rows {
        let names = by_manner
            .entry(row.parts.manner().unwrap_or_default())
            .or_default();
        names.insert(row.parts.subject(), row.windows <= RARE);
    }
    html! {
        p.lead { "Those that stand out were seen in no more than " (RARE) " windows." }
        @for (manner, names) in &by_manner {
            p.group { span.tag { (manner) } span.small { (names.len()) } }
            ul.chips {
                @for (name, is_rare) in names { li.rare[*is_rare] { code { (name) } } }
            }
        }
    }
}

fn nothing(domain: Domain) -> &'static str {
    match domain {
        Domain::Cap => "It was observed, and used none.",
        _ => "Nothing was seen.",
    }
}

/// The directory that a file is shown under.
fn group(parts: &BehaviourParts) -> String {
    let Some(path) = parts.path.as_ref().filter(|_| parts.domain == Domain::File) else {
        return String::new();
    };
    let names: Vec<&[u8]> = path.as_bytes().split(|byte| *byte == b'/').skip(1).collect();
    let depth = names.len().saturating_sub(1).min(GROUP_DEPTH);
    let mut directory = Vec::new();
    for name in &names[..depth] {
        directory.push(b'/');
        directory.extend_from_slice(name);
    }
    directory.push(b'/');
    ByteText::from(directory).to_string()
}

/// `12 read, 3 create`.
fn operations(rows: &[Row]) -> String {
    let mut amounts: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows {
        *amounts.entry(row.parts.manner().unwrap_or_default()).or_default() += 1;
    }
    let texts: Vec<String> = amounts
        .iter()
        .map(|(manner, amount)| format!("{amount} {manner}"))
        .collect();
    texts.join(", ")
}

/// A row per behaviour; the bar says in which share of the windows it was seen.
fn table(rows: &[Row], windows: u64) -> Markup {
    html! {
        table.behaviours {
            tbody {
                @for row in rows {
                    tr {
                        td.name { code { (row.parts.subject()) } }
                        td { @if let Some(manner) = row.parts.manner() { span.tag { (manner) } } }
                        td { (layer(&row.parts)) }
                        td.seen { (bar(real(row.windows) / real(windows.max(1)))) }
                        td.right { (seen(row.windows)) }
                    }
                }
            }
        }
    }
}

fn layer(parts: &BehaviourParts) -> Markup {
    match parts.layer {
        None | Some(Layer::Image) => html! {},
        Some(layer) => html! { span.tag.layer { (layer.as_str()) } },
    }
}

fn seen(windows: u64) -> String {
    if windows == 0 {
        "accepted".to_owned()
    } else {
        count(windows, "window")
    }
}

/// What processes from outside did in running containers.
fn from_outside(exec_in: &BTreeMap<Behaviour, ExecInEntry>) -> Markup {
    if exec_in.is_empty() {
        return html! {};
    }
    let proposals = exec_in.values().filter(|entry| !entry.accepted).count() as u64;
    html! {
        section.domain {
            h3 { "From outside" span.amount { (exec_in.len()) } }
            p.lead {
                "What probes, operators' shells and debuggers did in running containers. "
                @if proposals > 0 { strong.notable { (count(proposals, "proposal")) } ": not permitted until somebody accepts it." }
            }
            table.behaviours {
                tbody {
                    @for (behaviour, entry) in exec_in {
                        @let parts = BehaviourParts::from(behaviour);
                        tr {
                            td.name { code { (parts.subject()) } }
                            td { @if let Some(manner) = parts.manner() { span.tag { (manner) } } }
                            td { (layer(&parts)) }
                            td {
                                @if entry.accepted { span.badge.good { "accepted" } }
                                @else { span.badge.notable { "proposed" } }
                            }
                            td.right { (seen(entry.evidence.windows)) }
                        }
                    }
                }
            }
        }
    }
}

/// What did not come with the image and may run while it has one of these contents.
fn accepted(drift: &BTreeMap<(Layer, ByteText), AcceptedDrift>) -> Markup {
    if drift.is_empty() {
        return html! {};
    }
    html! {
        section.domain {
            h3 { "Accepted though it did not come with the image" span.amount { (drift.len()) } }
            table.behaviours {
                tbody {
                    @for ((layer, path), accepted) in drift {
                        tr {
                            td.name {
                                code { (path) }
                                @if !accepted.note.is_empty() { p.note { (crate::text::escape(accepted.note.as_bytes())) } }
                            }
                            td { span.tag.layer { (layer.as_str()) } }
                            td.hashes { @for hash in &accepted.sha256 { code { (hash) } br; } }
                        }
                    }
                }
            }
        }
    }
}
