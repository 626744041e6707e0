//! `driftlock alerts`: one line for each alert.

use agent_common::rule::Action;

use super::short_id;
use crate::alert::model::Alert;
use crate::alert::severity::Severity;
use crate::alert::summary::missed as missed_text;
pub use crate::alert::summary::{action, behaviour};
use crate::cli::screen::{Screen, Tone, shorten};
use crate::control::protocol::MISSED_SCHEMA;

/// Columns that container and behaviour have at least, even if the line is then longer than the terminal is wide.
const ROOM_LEAST: usize = 40;
/// Columns that a container's name has at least, if it is that long.
const NAME_LEAST: usize = 12;

/// An alert line of the stream in one line for people. A line that this version does not understand is shown as it is:
/// it is JSON, in which nothing is left that acts on a terminal.
#[must_use]
pub fn text(line: &str, screen: Screen) -> String {
    match serde_json::from_str::<Alert>(line) {
        Ok(alert) => one(&alert, screen),
        Err(_) => match missed(line) {
            Some(missed) => screen.paint(&missed_text(missed), Tone::Bad),
            None => line.to_owned(),
        },
    }
}

/// How grave it is, as a colour.
#[must_use]
pub fn severity_tone(severity: Severity) -> Tone {
    match severity {
        Severity::Critical | Severity::High => Tone::Bad,
        Severity::Medium => Tone::Notable,
        Severity::Low | Severity::Info => Tone::Plain,
    }
}

fn one(alert: &Alert, screen: Screen) -> String {
    let tone = severity_tone(alert.severity);
    let action = action(alert);
    let action_tone = match (alert.action.taken, &alert.action.error) {
        (_, Some(_)) => Tone::Bad,
        (Action::None, None) => Tone::Notable,
        (Action::Denied | Action::Killed, None) => Tone::Good,
    };
    let tail = tail(alert);
    // Time, severity, kind and action in their columns, with the blanks between all parts.
    let fixed = 8 + 1 + 8 + 1 + 16 + 1 + 18 + 1 + 2 + 1 + tail.chars().count();
    let (container, behaviour) = (container(alert), behaviour(alert));
    let room = screen.width.map_or(usize::MAX, |width| {
        usize::from(width).saturating_sub(fixed).max(ROOM_LEAST)
    });
    // What the container did tells more than its name, so the name gives way first.
    let behaviour_room = room.saturating_sub(container.chars().count().min(NAME_LEAST));
    let behaviour = shorten(&behaviour, behaviour_room);
    let container = shorten(&container, room.saturating_sub(behaviour.chars().count()));
    format!(
        "{} {} {:<16} {} {container}: {behaviour} {tail}",
        alert.time.clock(),
        screen.paint(&format!("{:<8}", alert.severity), tone),
        alert.kind,
        screen.paint(&format!("{action:<18}"), action_tone),
    )
}

/// The container by the name that people know it by.
#[must_use]
pub fn container(alert: &Alert) -> String {
    match &alert.container.name {
        Some(name) => name.to_string(),
        None => short_id(&alert.container.id),
    }
}

/// Who did it, how often, and what may be missing.
fn tail(alert: &Alert) -> String {
    let parent = alert.process.ancestors.first();
    let repeats = alert.count > 1 || alert.repeats_of.is_some();
    [
        format!("by uid {} pid {}", alert.process.uid, alert.process.pid),
        parent
            .map(|parent| format!(" from {}", parent.comm))
            .unwrap_or_default(),
        if repeats {
            format!(", {} more since {}", alert.count, alert.first_seen.clock())
        } else {
            String::new()
        },
        alert
            .lost
            .as_ref()
            .map(|lost| format!("; {} records lost since {}", lost.records, lost.from.clock()))
            .unwrap_or_default(),
    ]
    .concat()
}

/// How many alerts a line stands for that were missed, if it stands for such.
#[must_use]
pub fn missed(line: &str) -> Option<u64> {
    let value: serde_json::Value = serde_json::from_str(line).ok()?;
    value["missed"]
        .as_u64()
        .filter(|_| value["schema"] == MISSED_SCHEMA)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::example;
    use crate::alert::model::{AlertBehaviour, AlertId, AlertLeftCgroup, AlertLost};
    use crate::control::feed::missed_line;

    const SCREEN: Screen = Screen {
        width: None,
        colour: false,
    };

    #[test]
    fn an_alert_is_one_line() {
        let time = "2026-03-01T12:00:00Z".parse().expect("a date");
        let mut alert = example::alert(time);
        let mut lines = vec![text(&alert.to_line(), SCREEN)];
        alert.action.confirmed = true;
        alert.repeats_of = Some(AlertId::new());
        alert.count = 99;
        alert.lost = Some(AlertLost {
            from: time,
            to: time,
            records: 5,
        });
        alert.container.name = Some("a\nb\x1b".into());
        lines.push(text(&alert.to_line(), SCREEN));
        alert.behaviour = AlertBehaviour::LeftCgroup(AlertLeftCgroup {
            destination: 1,
            destination_name: "user.slice".into(),
        });
        lines.push(text(&alert.to_line(), SCREEN));
        lines.push(text(&example::library(time).to_line(), SCREEN));
        lines.push(text(&example::file_use(time).to_line(), SCREEN));
        lines.push(text(&example::cap(time).to_line(), SCREEN));
        lines.push(text(missed_line(7).trim_end(), SCREEN));
        lines.push(text(r#"{"schema":"driftlock.alert/v9"}"#, SCREEN));
        insta::assert_snapshot!(lines.join("\n"));
        let colour = Screen {
            width: None,
            colour: true,
        };
        assert!(text(&alert.to_line(), colour).contains("\x1b[31mhigh"));
    }

    #[test]
    fn a_long_alert_fits_the_terminal() {
        let time = "2026-03-01T12:00:00Z".parse().expect("a date");
        let mut alert = example::alert(time);
        alert.container.name = Some("a-container-with-a-very-long-name-that-somebody-chose".into());
        if let AlertBehaviour::Exec(exec) = &mut alert.behaviour {
            exec.file.path = format!("/tmp/{}/program", "x".repeat(200)).as_str().into();
        }
        let screen = Screen {
            width: Some(140),
            colour: false,
        };
        let line = text(&alert.to_line(), screen);
        assert!(line.chars().count() <= 140, "{line}");
        assert!(line.contains("…") && line.contains("/program by uid"), "{line}");
    }
}
