//! The frame of `driftlock top`.
//!
//! Input: [`State`], and a frame of the terminal's size. Output: the frame, drawn. Failure: none; what has no room is shortened in its middle
//! or left out, the least important first. Pure. What a container chose is in its escaped form, and no control character reaches the terminal.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table, TableState};

use super::state::{Connection, State};
use crate::alert::model::Alert;
use crate::cli::screen::{Tone, duration, shorten};
use crate::cli::show::alert::{action, behaviour, container as container_of, severity_tone};
use crate::cli::show::attention::{headline, lost, points};
use crate::cli::show::container::{mode, pod};
use crate::cli::show::{image, mode_tone, or_dash, short_id, tier_tone, tier_word};
use crate::control::view::{ContainerState, ContainerView, StatusView, Tier};

/// Lines for what needs attention at most.
const POINTS_MAX: usize = 3;
/// Columns from which on a container's image is shown, and its pod.
const WITH_IMAGE: u16 = 90;
/// Columns for the modes of a container.
const MODES: u16 = 24;

/// Draws what is known.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let head = head(state, frame.area().width);
    let head_height = u16::try_from(head.len()).unwrap_or(u16::MAX);
    let containers = state.sample.as_ref().map_or(0, |sample| sample.containers.len());
    // Containers have the room that they need, up to a half of it; alerts have the rest.
    let wanted = u16::try_from(containers.max(1))
        .unwrap_or(u16::MAX)
        .saturating_add(3);
    let half = frame.area().height.saturating_sub(head_height + 1) / 2;
    let [top, middle, detail, bottom, keys] = Layout::vertical([
        Constraint::Length(head_height),
        Constraint::Length(wanted.min(half.max(4))),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Paragraph::new(head), top);
    draw_containers(state, frame, middle);
    frame.render_widget(Paragraph::new(selected(state, detail.width)), detail);
    draw_alerts(state, frame, bottom);
    frame.render_widget(Paragraph::new(key_line(state)), keys);
}

/// The lines at the top: who is shown, whether it enforces, what it can do, how busy it is.
fn head(state: &State, width: u16) -> Vec<Line<'static>> {
    let mut lines = vec![title(state)];
    let columns = usize::from(width);
    if let Connection::Lost(reason) = &state.connection {
        let text = format!("agent not reachable, retrying: {reason}");
        lines.push(Line::styled(shorten(&text, columns), state.style(Tone::Bad)));
    }
    let Some(sample) = &state.sample else {
        if state.connection == Connection::Waiting {
            lines.push(Line::raw(format!("asking the agent at {} ...", state.socket)));
        }
        return lines;
    };
    let status = &sample.status;
    let first = headline(status);
    let style = state.style(first.tone).add_modifier(Modifier::BOLD);
    lines.push(Line::styled(shorten(&first.text, columns), style));
    for point in points(status).into_iter().take(POINTS_MAX) {
        let text = shorten(&point.text, columns.saturating_sub(2));
        lines.push(Line::from(vec![
            Span::styled("! ", state.style(point.tone)),
            Span::raw(text),
        ]));
    }
    lines.push(domains(state, status));
    lines.push(rates(state, status));
    lines
}

fn title(state: &State) -> Line<'static> {
    let mut spans = vec![Span::styled(
        "driftlock top",
        Style::new().add_modifier(Modifier::BOLD),
    )];
    if let Some(sample) = &state.sample {
        let status = &sample.status;
        let uptime = duration(Duration::from_secs(status.uptime_s));
        spans.push(Span::raw(format!(
            "  {}  agent {} for {uptime}",
            status.node, status.version
        )));
    }
    if state.is_paused {
        let style = state.style(Tone::Notable).add_modifier(Modifier::REVERSED);
        spans.push(Span::raw("  "));
        let text = match state.waiting.len() {
            0 => " paused ".to_owned(),
            alerts => format!(" paused, {alerts} alerts wait "),
        };
        spans.push(Span::styled(text, style));
    }
    Line::from(spans)
}

/// Mode by default and tier of each domain that is watched.
fn domains(state: &State, status: &StatusView) -> Line<'static> {
    let mut spans = Vec::new();
    for tier in status.tiers.iter().filter(|tier| tier.can > Tier::None) {
        let mut modes = status.default_modes.iter();
        let mode = modes
            .find(|mode| mode.domain == tier.domain)
            .map(|mode| mode.mode);
        spans.push(Span::raw(format!("{}: ", tier.domain)));
        spans.push(Span::styled(
            or_dash(mode),
            state.style(mode.map_or(Tone::Plain, mode_tone)),
        ));
        spans.push(Span::raw(" by default, can "));
        spans.push(Span::styled(
            tier_word(tier.can),
            state.style(tier_tone(tier.can)),
        ));
        spans.push(Span::raw("   "));
    }
    if spans.is_empty() {
        spans.push(Span::styled("no domain is watched", state.style(Tone::Bad)));
    }
    Line::from(spans)
}

fn rates(state: &State, status: &StatusView) -> Line<'static> {
    let counters = &status.counters;
    let lost = lost(counters);
    let tone = if lost > 0 { Tone::Bad } else { Tone::Plain };
    Line::from(vec![
        Span::raw(format!(
            "records {}/s   alerts {}/s   ",
            number(state.rates.records),
            number(state.rates.alerts)
        )),
        Span::styled(
            format!("lost {lost} ({}/s)", number(state.rates.lost)),
            state.style(tone),
        ),
        Span::raw(format!(
            "   denied {}   killed {}   alerts {}",
            counters.denied, counters.kills, status.alerts
        )),
    ])
}

fn draw_containers(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let containers = state.containers();
    let with_image = area.width >= WITH_IMAGE;
    let with_pods = with_image && containers.iter().any(|one| one.pod.is_some());
    let mut heads = vec!["NAME", "MODE", "COVERAGE", "REC/S", "STOPPED", "LOST"];
    let mut widths = vec![
        Constraint::Fill(3),
        Constraint::Length(MODES),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(6),
    ];
    if with_image {
        heads.insert(1, "IMAGE");
        widths.insert(1, Constraint::Fill(3));
    }
    if with_pods {
        heads.insert(2, "POD");
        widths.insert(2, Constraint::Fill(2));
    }
    // What the other columns and the blanks between all of them leave, in the shares given above.
    let free = usize::from(area.width.saturating_sub(34 + MODES));
    let shares = 3 + if with_image { 3 } else { 0 } + if with_pods { 2 } else { 0 };
    let (room, pod_room) = ((free * 3 / shares).max(8), (free * 2 / shares).max(8));
    let rows = containers.iter().map(|one| {
        let name = one
            .name
            .as_ref()
            .map_or_else(|| short_id(&one.id), ToString::to_string);
        let mut cells = vec![Cell::from(shorten(&name, room))];
        if with_image {
            let image = image(one.image.as_ref(), one.digest.as_ref());
            cells.push(Cell::from(shorten(&image, room)));
        }
        if with_pods {
            cells.push(Cell::from(shorten(&or_dash(pod(one)), pod_room)));
        }
        let (mode, tone) = mode(one);
        let coverage = state.coverage(one).map(|share| format!("{:.1} %", share * 100.0));
        let lost = lost(&one.counters);
        let lost_tone = if lost > 0 { Tone::Bad } else { Tone::Plain };
        cells.extend([
            Cell::from(Span::styled(
                shorten(&mode, usize::from(MODES)),
                state.style(tone),
            )),
            Cell::from(or_dash(coverage)),
            Cell::from(number(state.rate(one))),
            Cell::from(one.counters.kills.saturating_add(one.counters.denied).to_string()),
            Cell::from(Span::styled(lost.to_string(), state.style(lost_tone))),
        ]);
        Row::new(cells)
    });
    let order = if state.is_reversed { ", reversed" } else { "" };
    let title = format!(
        " containers ({}) by {}{order} ",
        containers.len(),
        state.sort.as_str()
    );
    let table = Table::new(rows, widths)
        .header(Row::new(heads).style(Style::new().add_modifier(Modifier::BOLD)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED))
        .block(Block::new().borders(Borders::TOP).title(title));
    let mut selection = TableState::new().with_selected(state.selected());
    frame.render_stateful_widget(table, area, &mut selection);
}

/// What stands against watching the selected container fully, or which image it is.
fn selected(state: &State, width: u16) -> Line<'static> {
    let containers = state.containers();
    let Some(one) = state.selected().and_then(|place| containers.get(place)) else {
        return Line::raw("");
    };
    let (text, tone) = detail(one);
    Line::styled(shorten(&text, usize::from(width)), state.style(tone))
}

fn detail(one: &ContainerView) -> (String, Tone) {
    let id = short_id(&one.id);
    match (&one.state_reason, &one.drift_reason) {
        (Some(reason), _) if one.state != ContainerState::Resolved => {
            (format!("{id}: {reason}"), Tone::Notable)
        }
        (_, Some(reason)) if !one.drift_recognisable => (
            format!("{id}: drift cannot be told from the image: {reason}"),
            Tone::Notable,
        ),
        _ => {
            let image = image(one.image.as_ref(), one.digest.as_ref());
            let digest = one.digest.as_ref().map(crate::image::ImageDigest::short);
            let role = or_dash(one.role.as_ref());
            let text = format!(
                "{id}: {image} ({}), role {role}, {} rules, runtime {}",
                or_dash(digest),
                one.rules,
                or_dash(one.runtime.as_ref())
            );
            (text, Tone::Plain)
        }
    }
}

fn draw_alerts(state: &State, frame: &mut Frame<'_>, area: Rect) {
    let unread = match state.unread {
        0 => String::new(),
        lines => format!(", {lines} lines not shown"),
    };
    let block = Block::new()
        .borders(Borders::TOP)
        .title(format!(" latest alerts ({}){unread} ", state.alerts.len()));
    let width = usize::from(area.width);
    let lines: Vec<Line<'_>> = if state.alerts.is_empty() {
        vec![Line::raw("none")]
    } else {
        let shown = state.alerts.iter().take(usize::from(area.height));
        shown.map(|alert| alert_line(state, alert, width)).collect()
    };
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn alert_line(state: &State, alert: &Alert, width: usize) -> Line<'static> {
    // Time, severity, kind and action in their columns, with the blanks between them.
    let room = width.saturating_sub(9 + 9 + 17 + 19);
    let repeats = if alert.count > 1 {
        format!(" ×{}", alert.count)
    } else {
        String::new()
    };
    let what = format!("{}: {}{repeats}", container_of(alert), behaviour(alert));
    Line::from(vec![
        Span::raw(format!("{} ", alert.time.clock())),
        Span::styled(
            format!("{:<9}", alert.severity.to_string()),
            state.style(severity_tone(alert.severity)),
        ),
        Span::raw(format!("{:<17}{:<19}", alert.kind.to_string(), action(alert))),
        Span::raw(shorten(&what, room)),
    ])
}

fn key_line(state: &State) -> Line<'static> {
    let pause = if state.is_paused { "go on" } else { "pause" };
    let style = Style::new().add_modifier(Modifier::REVERSED);
    let keys = [
        ("q", "quit"),
        ("s", "sort"),
        ("r", "reverse"),
        ("p", pause),
        ("↑↓", "select"),
    ];
    let spans = keys.into_iter().flat_map(|(key, meaning)| {
        [
            Span::styled(format!(" {key} "), style),
            Span::raw(format!(" {meaning}  ")),
        ]
    });
    Line::from(spans.collect::<Vec<_>>())
}

/// A number of events per second, short.
fn number(rate: f64) -> String {
    if rate == 0.0 {
        "0".to_owned()
    } else if rate < 99.95 {
        format!("{rate:.1}")
    } else {
        format!("{rate:.0}")
    }
}

impl State {
    fn style(&self, tone: Tone) -> Style {
        match tone {
            _ if !self.colour => Style::new(),
            Tone::Plain => Style::new(),
            Tone::Good => Style::new().fg(Color::Green),
            Tone::Notable => Style::new().fg(Color::Yellow),
            Tone::Bad => Style::new().fg(Color::Red),
        }
    }
}
