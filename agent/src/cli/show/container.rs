//! `driftlock containers`.

use agent_common::domain::Mode;

use super::attention::lost;
use super::status::lost_tone;
use super::{image, mode_tone, or_dash, short_id};
use crate::cli::screen::{Screen, Tone, keep_whole, lines, shorten};
use crate::control::view::{ContainerState, ContainerView, DomainModeView, ModeSource, Tier};

/// Columns of the terminal below which what is also told elsewhere gives way.
const NARROW: u16 = 130;
/// Blanks beside the content of a column.
const BLANKS: usize = 2;
/// Digits that a count has as a rule.
const DIGITS: usize = 6;
/// Columns that a name has at least.
const ROOM_LEAST: usize = 8;
/// Columns that modes have at most in a narrow terminal; longer ones are continued below.
const ROOM_OF_MODES: usize = 24;

/// A row per container, and below them what stands against watching some of them fully.
#[must_use]
pub fn text(containers: &[ContainerView], screen: Screen) -> String {
    if containers.is_empty() {
        return "no containers\n".to_owned();
    }
    let is_narrow = screen.width.is_some_and(|width| width < NARROW);
    let has_pods = containers.iter().any(|container| container.pod.is_some());
    let mut heads = vec!["ID", "NAME", "IMAGE", "MODE"];
    heads.extend(has_pods.then_some("POD"));
    if is_narrow {
        heads.extend(["STOPPED", "LOST"]);
    } else {
        heads.extend(["KILLED", "DENIED", "LOST", "RULES", "ROLE"]);
    }
    let mut table = screen.table(&heads);
    let chosen = ["NAME", "IMAGE", "POD", "ROLE"];
    let is_chosen = |head: &str| chosen.contains(&head);
    let short: Vec<usize> = (0..heads.len())
        .filter(|index| !is_chosen(heads[*index]))
        .filter(|index| !is_narrow || heads[*index] != "MODE")
        .collect();
    keep_whole(&mut table, &short);
    // What containers and their owners chose shares the room that the other columns leave.
    let taken = heads.iter().filter(|head| !is_chosen(head));
    let taken: usize = taken.map(|head| columns_of(head, containers, is_narrow)).sum();
    let parts = heads.iter().filter(|head| is_chosen(head)).count();
    let room = screen.width.map_or(usize::MAX, |width| {
        (usize::from(width).saturating_sub(taken) / parts)
            .saturating_sub(BLANKS)
            .max(ROOM_LEAST)
    });
    let chosen = |text: &str| screen.cell(shorten(text, room), Tone::Plain);
    for container in containers {
        let (mode, tone) = mode(container);
        let counters = &container.counters;
        let (kills, denied) = (counters.kills, counters.denied);
        let lost = screen.cell(lost(counters), lost_tone(counters));
        let mut cells = vec![
            screen.cell(short_id(&container.id), Tone::Plain),
            chosen(&or_dash(container.name.as_ref())),
            chosen(&image(container.image.as_ref(), container.digest.as_ref())),
            screen.cell(mode, tone),
        ];
        cells.extend(has_pods.then(|| chosen(&or_dash(pod(container)))));
        if is_narrow {
            cells.extend([screen.cell(kills.saturating_add(denied), Tone::Plain), lost]);
        } else {
            cells.extend([
                screen.cell(kills, Tone::Plain),
                screen.cell(denied, Tone::Plain),
                lost,
                screen.cell(container.rules, Tone::Plain),
                chosen(&or_dash(container.role.as_ref())),
            ]);
        }
        table.add_row(cells);
    }
    let notes = containers.iter().flat_map(|container| {
        let id = short_id(&container.id);
        let unresolved = container.state_reason.as_ref();
        let unresolved = unresolved.filter(|_| container.state != ContainerState::Resolved);
        let unrecognised = (!container.drift_recognisable).then(|| {
            let reason = container.drift_reason.as_deref().unwrap_or("no reason known");
            format!("{id}: drift cannot be told from the image: {reason}\n")
        });
        let nested = (container.nested > 0).then(|| {
            format!(
                "{id}: containers that it runs itself, which belong to it: {}\n",
                container.nested
            )
        });
        let unresolved = unresolved.map(|reason| format!("{id}: {reason}\n"));
        [unresolved, unrecognised, nested]
    });
    std::iter::once(lines(&table)).chain(notes.flatten()).collect()
}

/// Columns that the longest content of a column takes that is short by nature, with the blanks beside it.
fn columns_of(head: &str, containers: &[ContainerView], is_narrow: bool) -> usize {
    let contents = containers.iter().map(|container| match head {
        "ID" => short_id(&container.id).len(),
        "MODE" => {
            let whole = mode(container).0.len();
            if is_narrow {
                whole.min(ROOM_OF_MODES)
            } else {
                whole
            }
        }
        _ => DIGITS,
    });
    contents.max().unwrap_or_default().max(head.len()) + BLANKS
}

/// Namespace and name of a container's pod.
#[must_use]
pub fn pod(container: &ContainerView) -> Option<String> {
    let pod = container.pod.as_ref()?;
    Some(match &container.namespace {
        Some(namespace) => format!("{namespace}/{pod}"),
        None => pod.to_string(),
    })
}

/// The modes of a container in short: that of exec, and which of the other domains that are watched have another one, as in
/// `enforce, learn file cap`. A domain that is off because nobody asked for it is left out.
#[must_use]
pub fn mode(container: &ContainerView) -> (String, Tone) {
    match container.state {
        ContainerState::Unresolved => return ("unresolved".to_owned(), Tone::Bad),
        ContainerState::Pending => return ("pending".to_owned(), Tone::Notable),
        ContainerState::NotObservable => return ("not observable".to_owned(), Tone::Bad),
        ContainerState::Resolved | ContainerState::Provisional => {}
    }
    let is_watched = |mode: &&DomainModeView| {
        let mut tiers = container.tiers.iter();
        tiers.any(|tier| tier.domain == mode.domain && tier.can > Tier::None)
    };
    let Some(first) = container.modes.first() else {
        return ("pending".to_owned(), Tone::Notable);
    };
    let mut others: Vec<_> = container
        .modes
        .iter()
        .skip(1)
        .filter(is_watched)
        .filter(|other| other.mode != first.mode)
        .filter(|other| (other.mode, other.source) != (Mode::Off, ModeSource::Default))
        .collect();
    others.sort_by_key(|other| other.mode);
    let groups = others.chunk_by(|one, next| one.mode == next.mode).map(|group| {
        let domains: Vec<_> = group.iter().map(|other| other.domain.as_str()).collect();
        format!(", {} {}", group[0].mode, domains.join(" "))
    });
    let source = match first.source {
        ModeSource::Default => " (default)",
        ModeSource::Image | ModeSource::Reference => "",
        ModeSource::Container => " (its own)",
        ModeSource::Annotation => " (its pod's)",
        ModeSource::Protected => " (protected)",
        ModeSource::Unlearned => " (nothing learned)",
        ModeSource::Unsigned => " (not signed)",
        ModeSource::Inherited => " (as the image before)",
        ModeSource::Changed => " (changed, not approved)",
    };
    let provisional = (container.state == ContainerState::Provisional).then(|| ", provisional".to_owned());
    let text = std::iter::once(format!("{}{source}", first.mode))
        .chain(groups)
        .chain(provisional);
    (text.collect(), mode_tone(first.mode))
}
