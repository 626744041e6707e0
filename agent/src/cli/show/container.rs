//! `driftlock containers`.

use super::status::{lost, lost_tone};
use super::{image, mode_tone, or_dash, short_id, tiers_in_short};
use crate::cli::screen::{Screen, Tone, keep_whole, lines};
use crate::control::view::{ContainerState, ContainerView, ModeSource};

/// A row per container, and below them what stands against watching some of them fully.
#[must_use]
pub fn text(containers: &[ContainerView], screen: Screen) -> String {
    if containers.is_empty() {
        return "no containers\n".to_owned();
    }
    let mut table = screen.table(&[
        "ID", "NAME", "IMAGE", "ROLE", "MODE", "CAN", "RULES", "KILLED", "LOST",
    ]);
    keep_whole(&mut table, &[0, 5, 6, 7, 8]);
    for container in containers {
        let mode = container.modes.first();
        let (mode_text, tone) = match (container.state, mode) {
            (ContainerState::Resolved, Some(mode)) => {
                let source = match mode.source {
                    ModeSource::Default => " (default)",
                    ModeSource::Image | ModeSource::Reference => "",
                    ModeSource::Container => " (its own)",
                    ModeSource::Protected => " (protected)",
                };
                (format!("{}{source}", mode.mode), mode_tone(mode.mode))
            }
            (ContainerState::Unresolved, _) => ("unresolved".to_owned(), Tone::Bad),
            _ => ("pending".to_owned(), Tone::Notable),
        };
        table.add_row([
            screen.cell(short_id(&container.id), Tone::Plain),
            screen.cell(or_dash(container.name.as_ref()), Tone::Plain),
            screen.cell(
                image(container.image.as_ref(), container.digest.as_ref()),
                Tone::Plain,
            ),
            screen.cell(or_dash(container.role.as_ref()), Tone::Plain),
            screen.cell(mode_text, tone),
            screen.cell(tiers_in_short(&container.tiers), Tone::Plain),
            screen.cell(container.rules, Tone::Plain),
            screen.cell(container.counters.kills, Tone::Plain),
            screen.cell(lost(&container.counters), lost_tone(&container.counters)),
        ]);
    }
    let notes = containers.iter().flat_map(|container| {
        let id = short_id(&container.id);
        let unresolved = container.state_reason.as_ref();
        let unresolved = unresolved.filter(|_| container.state != ContainerState::Resolved);
        let unrecognised = (!container.drift_recognisable).then(|| {
            let reason = container.drift_reason.as_deref().unwrap_or("no reason known");
            format!("{id}: drift cannot be told from the image: {reason}\n")
        });
        [unresolved.map(|reason| format!("{id}: {reason}\n")), unrecognised]
    });
    std::iter::once(lines(&table)).chain(notes.flatten()).collect()
}
