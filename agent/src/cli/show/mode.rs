//! `driftlock mode get`.

use super::{mode_tone, or_dash, short_id};
use crate::cli::screen::{Screen, Tone, lines};
use crate::control::view::{ModeView, TargetModeView};

/// A row for each mode that is set.
#[must_use]
pub fn text(modes: &ModeView, screen: Screen) -> String {
    let mut table = screen.table(&["FOR", "WHAT", "DOMAIN", "MODE"]);
    for default in &modes.default {
        table.add_row([
            screen.cell("default", Tone::Plain),
            screen.cell("-", Tone::Plain),
            screen.cell(default.domain, Tone::Plain),
            screen.cell(default.mode, mode_tone(default.mode)),
        ]);
    }
    let mut rows = |kind: &str, targets: &[TargetModeView]| {
        for target in targets {
            let what = match &target.name {
                Some(name) => format!("{name} ({})", short_id(&target.id)),
                None => target.id.to_string(),
            };
            table.add_row([
                screen.cell(kind, Tone::Plain),
                screen.cell(what, Tone::Plain),
                screen.cell(
                    target
                        .domain
                        .map_or("all".to_owned(), |domain| or_dash(Some(domain))),
                    Tone::Plain,
                ),
                screen.cell(target.mode, mode_tone(target.mode)),
            ]);
        }
    };
    rows("image", &modes.images);
    rows("container", &modes.containers);
    lines(&table)
}
