//! The frame of `driftlock top`, from example views, and what keys do to it.

use std::time::Duration;

use driftlock::cli::top::frame;
use driftlock::cli::top::state::{Input, Key, Sample, State};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use crate::example;

fn sample(seconds: u64, more: u64) -> Input {
    let mut status = example::status();
    status.counters.generated += more;
    status.alerts += more / 10;
    let mut containers = example::containers();
    for (container, cgroup) in containers.iter_mut().zip(70..) {
        container.cgroup = cgroup;
    }
    containers[1].counters.generated += more;
    Input::Sample(Box::new(Sample {
        at: Duration::from_secs(seconds),
        status,
        containers,
        profiles: vec![example::summary()],
    }))
}

/// What the terminal shows, line by line.
fn shown(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|area| frame::draw(state, area)).expect("drawn");
    terminal.backend().to_string()
}

fn busy() -> State {
    let mut state = State::new("/run/driftlock/control.sock".to_owned(), true);
    state.take(sample(1, 0));
    state.take(sample(3, 250));
    for (number, path) in [
        (1, "/tmp/dropped"),
        (2, "/tmp/a-second-program-with-a-long-name-that-does-not-fit"),
    ] {
        state.take(Input::Alert(example::alert(number, path)));
    }
    state
}

#[test]
fn a_busy_node() {
    insta::assert_snapshot!("wide", shown(&busy(), 120, 24));
    insta::assert_snapshot!("narrow", shown(&busy(), 80, 20));
}

#[test]
fn an_agent_that_is_not_there_or_goes() {
    let mut state = State::new("/run/driftlock/control.sock".to_owned(), false);
    insta::assert_snapshot!("waiting", shown(&state, 80, 8));
    state.take(Input::Lost(
        "no agent answers on /run/driftlock/control.sock".to_owned(),
    ));
    assert!(shown(&state, 80, 8).contains("agent not reachable, retrying: no agent answers"));
    state.take(sample(1, 0));
    assert!(!shown(&state, 80, 20).contains("not reachable"));
    state.take(Input::Lost("gone".to_owned()));
    let text = shown(&state, 80, 20);
    assert!(text.contains("agent not reachable, retrying: gone"), "{text}");
    assert!(
        text.contains("shop"),
        "what was known last is still shown: {text}"
    );
}

/// Whatever the size, nothing panics, and nothing that a container chose acts on the terminal.
#[test]
fn every_size_is_drawn() {
    let mut state = busy();
    state.take(Input::Key(Key::Down));
    for width in [1, 2, 10, 40, 60, 89, 90, 200, 500] {
        for height in [1, 2, 3, 5, 10, 50] {
            let text = shown(&state, width, height);
            assert!(
                text.chars().all(|one| one == '\n' || !one.is_control()),
                "{text:?}"
            );
        }
    }
}

#[test]
fn keys_sort_turn_round_and_select() {
    let mut state = busy();
    let names = |state: &State| -> Vec<String> {
        let containers = state.containers();
        let name = |name: &driftlock::text::ByteText| name.to_string();
        containers
            .iter()
            .map(|one| one.name.as_ref().map_or("-".to_owned(), name))
            .collect()
    };
    let evil = "evil\\x1b[2J\\x0a\\xff".to_owned();
    assert_eq!(names(&state), [evil.clone(), "shop".to_owned(), "-".to_owned()]);
    for sort in ["mode", "records/s", "stopped", "lost"] {
        state.take(Input::Key(Key::Sort));
        assert_eq!(state.sort.as_str(), sort);
        let first = if sort == "mode" {
            "shop".to_owned()
        } else {
            evil.clone()
        };
        assert_eq!(names(&state)[0], first, "{sort}");
    }
    state.take(Input::Key(Key::Reverse));
    assert_eq!(names(&state)[2], evil);
    assert_eq!(state.selected(), None);
    for (key, place) in [
        (Key::Down, 0),
        (Key::Down, 1),
        (Key::Last, 2),
        (Key::Down, 2),
        (Key::Up, 1),
        (Key::PageUp, 0),
        (Key::Up, 0),
        (Key::PageDown, 2),
        (Key::First, 0),
    ] {
        state.take(Input::Key(key));
        assert_eq!(state.selected(), Some(place), "{key:?}");
    }
    // The selection stays with its container.
    state.take(Input::Key(Key::Reverse));
    assert_eq!(state.selected(), Some(2));
    assert!(!state.is_over());
    state.take(Input::Key(Key::Quit));
    assert!(state.is_over());
}

#[test]
fn rates_are_per_second_and_begin_anew_with_another_agent() {
    let mut state = busy();
    assert!((state.rates.records - 125.0).abs() < 1e-9 && (state.rates.alerts - 12.5).abs() < 1e-9);
    let Input::Sample(mut restarted) = sample(4, 0) else {
        panic!("a sample");
    };
    restarted.status.pid += 1;
    restarted.status.counters.generated = 9000;
    state.take(Input::Sample(restarted));
    assert!(state.rates.records < 126.0, "{:?}", state.rates);
}

#[test]
fn what_comes_while_it_is_paused_is_shown_afterwards() {
    let mut state = busy();
    state.take(Input::Key(Key::Pause));
    let before = shown(&state, 100, 20);
    state.take(sample(9, 10_000));
    state.take(Input::Alert(example::alert(3, "/tmp/third")));
    let text = shown(&state, 100, 20);
    assert!(
        text.contains("paused, 1 alerts wait") && !text.contains("/tmp/third"),
        "{text}"
    );
    assert_eq!(
        before.lines().last().map(str::len),
        text.lines().last().map(str::len)
    );
    state.take(Input::Key(Key::Pause));
    assert!(shown(&state, 100, 20).contains("/tmp/third"));
    // The latest come again when the stream was broken off.
    state.take(Input::Alert(example::alert(3, "/tmp/third")));
    assert_eq!(state.alerts.len(), 3);
    state.take(Input::Alert(
        "{\"schema\":\"driftlock.missed/v1\",\"missed\":7}".to_owned(),
    ));
    assert!(shown(&state, 100, 20).contains("1 lines not shown"));
}

#[test]
fn colour_only_where_it_is_wanted() {
    for colour in [true, false] {
        let mut state = busy();
        state.colour = colour;
        let mut terminal = Terminal::new(TestBackend::new(120, 24)).expect("a terminal");
        terminal.draw(|area| frame::draw(&state, area)).expect("drawn");
        let cells = &terminal.backend().buffer().content;
        assert_eq!(cells.iter().any(|cell| cell.fg != Color::Reset), colour);
    }
}
