//! `driftlock containers`.

use super::attention::lost;
use super::status::lost_tone;
use super::{image, mode_tone, or_dash, short_id, tiers_in_short};
use crate::cli::screen::{Screen, Tone, keep_whole, lines, shorten};
use crate::control::view::{ContainerState, ContainerView, DomainModeView, ModeSource, Tier};

/// Columns below which the role and the number of rules give way.
const NARROW: u16 = 100;

/// A row per container, and below them what stands against watching some of them fully.
#[must_use]
pub fn text(containers: &[ContainerView], screen: Screen) -> String {
    if containers.is_empty() {
        return "no containers\n".to_owned();
    }
    let is_narrow = screen.width.is_some_and(|width| width < NARROW);
    let has_pods = containers.iter().any(|container| container.pod.is_some());
    let mut heads = vec!["ID", "NAME", "IMAGE", "MODE", "CAN", "KILLED", "DENIED", "LOST"];
    if has_pods {
        heads.push("POD");
    }
    if !is_narrow {
        heads.extend(["RULES", "ROLE"]);
    }
    let mut table = screen.table(&heads);
    keep_whole(&mut table, &[0, 3, 4, 5, 6, 7]);
    for container in containers {
        let (mode, tone) = mode(container);
        let counters = &container.counters;
        let name = or_dash(container.name.as_ref());
        let image = image(container.image.as_ref(), container.digest.as_ref());
        let mut cells = vec![
            screen.cell(short_id(&container.id), Tone::Plain),
            screen.cell(shorten(&name, screen.share(2, 12)), Tone::Plain),
            screen.cell(shorten(&image, screen.share(2, 12)), Tone::Plain),
            screen.cell(mode, tone),
            screen.cell(tiers_in_short(&container.tiers), Tone::Plain),
            screen.cell(counters.kills, Tone::Plain),
            screen.cell(counters.denied, Tone::Plain),
            screen.cell(lost(counters), lost_tone(counters)),
        ];
        if has_pods {
            cells.push(screen.cell(
                shorten(&or_dash(pod(container)), screen.share(2, 12)),
                Tone::Plain,
            ));
        }
        if !is_narrow {
            let role = or_dash(container.role.as_ref());
            cells.push(screen.cell(container.rules, Tone::Plain));
            cells.push(screen.cell(shorten(&role, screen.share(2, 12)), Tone::Plain));
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
        [unresolved.map(|reason| format!("{id}: {reason}\n")), unrecognised]
    });
    std::iter::once(lines(&table)).chain(notes.flatten()).collect()
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

/// The modes of a container in short: that of exec, or another one where it differs, for the domains that are watched.
#[must_use]
pub fn mode(container: &ContainerView) -> (String, Tone) {
    match container.state {
        ContainerState::Unresolved => return ("unresolved".to_owned(), Tone::Bad),
        ContainerState::Pending => return ("pending".to_owned(), Tone::Notable),
        ContainerState::Resolved => {}
    }
    let is_watched = |mode: &&DomainModeView| {
        let mut tiers = container.tiers.iter();
        tiers.any(|tier| tier.domain == mode.domain && tier.can > Tier::None)
    };
    let Some(first) = container.modes.first() else {
        return ("pending".to_owned(), Tone::Notable);
    };
    let others = container.modes.iter().skip(1).filter(is_watched);
    let others = others
        .filter(|other| other.mode != first.mode)
        .map(|other| format!(", {} {}", other.domain, other.mode));
    let source = match first.source {
        ModeSource::Default => " (default)",
        ModeSource::Image | ModeSource::Reference => "",
        ModeSource::Container => " (its own)",
        ModeSource::Protected => " (protected)",
    };
    let text = std::iter::once(format!("{}{source}", first.mode)).chain(others);
    (text.collect(), mode_tone(first.mode))
}
