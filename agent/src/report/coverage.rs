//! How well each domain is known: a card for each, and the curves.
//!
//! Input: a profile. Output: parts of the page; the curves as a picture that is text (SVG). Failure: none; a domain of which too little
//! was seen has no curve, which its card says.

use agent_common::domain::Domain;
use maud::{Markup, html};

use super::curve::{Curve, real};
use super::{grouped, per_cent};
use crate::behaviour::LEARNED_DOMAINS;
use crate::profile::completeness::{Amount, Completeness, Condition, Subject, Targets};
use crate::profile::model::Profile;

/// The picture's size, and where its axes begin, in units of its own.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 44.0;
/// The vertical axis counts nines: what is not covered halves and halves again, and 99 % is as far above 90 % as that is above
/// nothing. So many are shown.
const NINES: f64 = 4.0;
/// The lines across the picture.
const GRID: &[(f64, &str)] = &[
    (0.0, "0\u{202f}%"),
    (0.5, "50\u{202f}%"),
    (0.9, "90\u{202f}%"),
    (0.99, "99\u{202f}%"),
    (0.999, "99.9\u{202f}%"),
    (0.9999, "99.99\u{202f}%"),
];
/// About so many numbers of windows along the lower edge.
const TICKS: u64 = 6;

/// What a domain is called on the page.
pub(super) fn title(domain: Domain) -> &'static str {
    match domain {
        Domain::Exec => "Programs",
        Domain::File => "Files",
        Domain::Cap => "Capabilities",
        Domain::Library => "Libraries",
        Domain::Syscall => "System calls",
    }
}

/// The domains that the profile tells of.
pub(super) fn told(profile: &Profile) -> impl Iterator<Item = Domain> {
    LEARNED_DOMAINS
        .iter()
        .copied()
        .filter(|domain| *domain == Domain::Exec || profile.tells_of(*domain))
}

/// A card per domain.
pub(super) fn cards(profile: &Profile, targets: &Targets) -> Markup {
    html! {
        section.cards {
            @for domain in told(profile) {
                @let rules = profile.main.keys().filter(|behaviour| behaviour.domain() == domain).count() as u64;
                @let coverage = profile.coverage(domain);
                div.card.(domain.as_str()) {
                    h3 { (title(domain)) }
                    p.number { (grouped(rules)) span { (if rules == 1 { "rule" } else { "rules" }) } }
                    (bar(coverage.unwrap_or_default()))
                    @match coverage {
                        Some(share) => p { strong { (per_cent(share)) } " covered" },
                        None => p { "too little was seen to estimate coverage" },
                    }
                    (conditions(&profile.completeness(domain, targets)))
                }
            }
        }
    }
}

/// Whether a domain may be called learned, by conditions.
fn conditions(completeness: &Completeness) -> Markup {
    html! {
        p.learned {
            @if completeness.complete { span.badge.good { "learned" } }
            @else { span.badge.notable { "still learning" } }
        }
        ul.conditions {
            @for condition in &completeness.conditions {
                li.(if condition.met { "met" } else { "missing" }) { (text(condition)) }
            }
        }
    }
}

/// What is, against what is needed.
fn text(condition: &Condition) -> String {
    let is = condition.is.map_or_else(|| "nothing known".to_owned(), amount);
    let needed = amount(condition.needed);
    let what = match condition.subject {
        Subject::Coverage => "covered",
        Subject::Instances => "containers",
        Subject::Windows => "windows",
        Subject::Starts => "starts seen",
        Subject::Ends => "ends seen",
        Subject::LostWindows => return format!("{is} windows lost records, {needed} may"),
    };
    format!("{is} {what}, {needed} needed")
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Count(count) => grouped(count),
        Amount::Share(share) => per_cent(share),
    }
}

/// A bar that is full at 1.
pub(super) fn bar(share: f64) -> Markup {
    let width = format!("{:.2}", share.clamp(0.0, 1.0) * 100.0);
    html! {
        svg.bar viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true" {
            rect.rest width="100" height="6" {}
            rect.part width=(width) height="6" {}
        }
    }
}

/// The curves and their figures.
pub(super) fn figure(profile: &Profile) -> Markup {
    let curves: Vec<(Domain, Curve)> = told(profile)
        .filter_map(|domain| Some((domain, Curve::of(profile, domain)?)))
        .collect();
    if curves.is_empty() {
        return html! {};
    }
    html! {
        section {
            h3 { "Coverage" }
            p.lead {
                "The share of what the image does that its profile held after so many windows, and what is expected if it is observed on. "
                "The scale counts nines."
            }
            figure {
                (picture(&curves))
                figcaption {
                    table {
                        thead { tr { th { "domain" } th.right { "windows" } th.right { "coverage now" } th.right { "after as many again" } } }
                        tbody {
                            @for (domain, curve) in &curves {
                                tr {
                                    td { span.dot.(domain.as_str()) {} (title(*domain)) }
                                    td.right { (grouped(curve.windows)) }
                                    td.right { (per_cent(curve.now())) }
                                    td.right { (per_cent(curve.doubled())) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn picture(curves: &[(Domain, Curve)]) -> Markup {
    let windows = curves.iter().map(|(_, curve)| curve.windows).max().unwrap_or(1);
    let all = 2.0 * real(windows);
    let x = |windows: f64| LEFT + (WIDTH - LEFT - RIGHT) * windows / all;
    let y = |share: f64| {
        let nines = -(1.0 - share).max(10.0_f64.powf(-NINES)).log10();
        TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - nines / NINES)
    };
    let path = |points: &[(f64, f64)]| {
        let points = points
            .iter()
            .map(|(windows, share)| format!("{:.1},{:.1}", x(*windows), y(*share)));
        points.collect::<Vec<_>>().join(" ")
    };
    let (low, high, now) = (at(HEIGHT - BOTTOM), at(TOP), at(x(real(windows))));
    html! {
        svg.curves viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label="Coverage by observation windows" {
            rect.future x=(now) y=(high) width=(at(x(all) - x(real(windows)))) height=(at(HEIGHT - BOTTOM - TOP)) {}
            @for (share, label) in GRID {
                line.grid x1=(at(LEFT)) x2=(at(WIDTH - RIGHT)) y1=(at(y(*share))) y2=(at(y(*share))) {}
                text.label x=(at(LEFT - 10.0)) y=(at(y(*share) + 4.0)) text-anchor="end" { (label) }
            }
            @for tick in ticks(2 * u128::from(windows)) {
                line.tick x1=(at(x(tick))) x2=(at(x(tick))) y1=(low) y2=(at(HEIGHT - BOTTOM + 5.0)) {}
                text.label x=(at(x(tick))) y=(at(HEIGHT - BOTTOM + 20.0)) text-anchor="middle" { (format!("{tick:.0}")) }
            }
            line.now x1=(now) x2=(now) y1=(high) y2=(low) {}
            text.label x=(at(x(real(windows)) - 8.0)) y=(at(TOP - 12.0)) text-anchor="end" { "observed" }
            text.label x=(at(x(real(windows)) + 8.0)) y=(at(TOP - 12.0)) { "expected" }
            text.label x=(at(WIDTH - RIGHT)) y=(at(HEIGHT - 6.0)) text-anchor="end" { "observation windows" }
            @for (domain, curve) in curves {
                g.(domain.as_str()) {
                    polyline.observed points=(path(&curve.observed)) {}
                    polyline.expected points=(path(&curve.expected)) {}
                    circle cx=(at(x(real(curve.windows)))) cy=(at(y(curve.now()))) r="4.5" {}
                }
            }
        }
    }
}

/// A coordinate.
fn at(place: f64) -> String {
    format!("{place:.1}")
}

/// Round numbers up to `most`.
fn ticks(most: u128) -> impl Iterator<Item = f64> {
    let wanted = (most / u128::from(TICKS)).max(1);
    let magnitude = 10_u128.pow(wanted.ilog10());
    let step = [1, 2, 5, 10]
        .into_iter()
        .map(|times| times * magnitude)
        .find(|step| *step >= wanted)
        .unwrap_or(wanted);
    (0..=most / step).map(move |index| {
        #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
        let tick = (index * step) as f64;
        tick
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        let of = |most| ticks(most).collect::<Vec<_>>();
        assert_eq!(of(2), [0.0, 1.0, 2.0]);
        assert_eq!(of(824), [0.0, 200.0, 400.0, 600.0, 800.0]);
        assert!(of(2 * u128::from(u64::MAX)).len() <= 8);
    }
}
