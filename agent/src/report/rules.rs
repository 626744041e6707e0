//! Rules for several paths: what speaks for each, and what each permits that was never seen.
//!
//! Input: a profile. Output: a part of the page. Failure: none.

use agent_common::domain::Section;
use maud::{Markup, html};

use super::{Subject, count};
use crate::behaviour::{Behaviour, FileBehaviour, FilePattern};
use crate::profile::generalise::allows;
use crate::profile::pattern::PathPattern;

/// Examples of what was seen that are shown of each rule.
const EXAMPLES: usize = 3;

/// A rule with what is known of it.
struct Rule<'a> {
    file: &'a FileBehaviour,
    pattern: &'a PathPattern,
    section: Section,
}

/// The rules of both sections.
pub(super) fn section(subject: &Subject<'_>) -> Markup {
    let held = subject.held;
    let main = held.main.keys().map(|behaviour| (Section::Main, behaviour));
    let accepted = held.exec_in.iter().filter(|(_, entry)| entry.accepted);
    let exec_in = accepted.map(|(behaviour, _)| (Section::ExecIn, behaviour));
    let rules: Vec<Rule<'_>> = main
        .chain(exec_in)
        .filter_map(|(section, behaviour)| match behaviour {
            Behaviour::File(file) => match &file.pattern {
                FilePattern::Pattern(pattern) => Some(Rule {
                    file,
                    pattern,
                    section,
                }),
                FilePattern::Exact(_) => None,
            },
            _ => None,
        })
        .collect();
    if rules.is_empty() {
        return html! {};
    }
    html! {
        section.domain.rules {
            h3 { "Rules for several paths" span.amount { (rules.len()) } }
            p.lead { "Each stands for names that vary, and permits more than was seen." }
            div.tiles { @for rule in &rules { (tile(subject, rule)) } }
        }
    }
}

fn tile(subject: &Subject<'_>, rule: &Rule<'_>) -> Markup {
    let (paths, windows) = subject.profile.support(rule.section, rule.file);
    let exact = |behaviour: &Behaviour| match behaviour {
        Behaviour::File(FileBehaviour {
            pattern: FilePattern::Exact(path),
            layer,
            operation,
        }) => Some((path.clone(), *layer, *operation)),
        _ => None,
    };
    let seen: Vec<_> = subject.held.main.keys().filter_map(exact).collect();
    // What it holds for in the manner that it is for, and what in that manner was seen elsewhere.
    let same = seen
        .iter()
        .filter(|(_, layer, operation)| (*layer, *operation) == (rule.file.layer, rule.file.operation));
    let examples = same.filter(|(path, ..)| rule.pattern.pattern().holds_for(path.as_bytes()));
    // Paths that are used in another manner as well are what a reviewer wants to know of.
    let others = seen
        .iter()
        .filter(|(_, layer, operation)| (*layer, *operation) != (rule.file.layer, rule.file.operation))
        .map(|(path, ..)| path.as_bytes());
    html! {
        div.tile {
            p.rule { code { (rule.pattern) } }
            p {
                span.tag { (rule.file.operation.as_str()) }
                span.tag.layer { (rule.file.layer.as_str()) }
                @if rule.section == Section::ExecIn { span.tag { "from outside" } }
            }
            p {
                @if paths == 0 { "No path was seen that it holds for." }
                @else { strong { (count(paths, "path")) } " seen, in " (count(windows, "window")) }
            }
            @for (path, ..) in examples.take(EXAMPLES) { p.example { code { (path) } } }
            p.also { "also permits" }
            ul { @for line in allows(rule.pattern.pattern(), others) { li { (line) } } }
        }
    }
}
