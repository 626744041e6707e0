//! Where `driftlock top` has its news from: the agent, asked again and again; its alerts, followed; the keyboard; signals.
//!
//! Input: the control socket, the terminal. Output: [`News`] in a bounded channel; while it is full the threads wait. Failure: an agent that
//! does not answer is told and tried again; a keyboard that cannot be read ends the view.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};

use super::state::{Input, Key, Sample};
use crate::control::client::{self, ClientError};
use crate::control::protocol::Request;
use crate::text::escape;

/// News that may wait to be shown.
const WAITING: usize = 64;
/// Alerts to begin with.
const FIRST_ALERTS: usize = 100;
/// How long after a failure the alerts are tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Something for the view.
#[derive(Debug)]
pub(super) enum News {
    /// For its state.
    Input(Input),
    /// The terminal has another size.
    Resized,
    /// A signal asks to end.
    End,
    /// The view cannot go on.
    Failed(io::Error),
}

/// Starts all that brings news. The threads end with the process, or when nobody takes their news.
pub(super) fn start(socket: &Path, interval: Duration) -> io::Result<Receiver<News>> {
    let (sender, news) = sync_channel(WAITING);
    let (for_alerts, for_keys, for_signals) = (sender.clone(), sender.clone(), sender.clone());
    let (for_samples, followed) = (socket.to_owned(), socket.to_owned());
    spawn("signals", move || await_signal(&for_signals))?;
    spawn("keys", move || read_keys(&for_keys))?;
    spawn("samples", move || sample(&for_samples, interval, &sender))?;
    spawn("alerts", move || follow(&followed, &for_alerts))?;
    Ok(news)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = std::thread::Builder::new().name(name.to_owned());
    thread.spawn(work).map(drop)
}

/// Asks the agent each `interval` until nobody takes the answers.
fn sample(socket: &Path, interval: Duration, news: &SyncSender<News>) {
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let answered = ask(socket).map(|(status, containers, profiles)| Sample {
            at: begun.elapsed(),
            status,
            containers,
            profiles,
        });
        let input = match answered {
            Ok(sample) => Input::Sample(Box::new(sample)),
            Err(error) => Input::Lost(escape(error.to_string().as_bytes())),
        };
        if news.send(News::Input(input)).is_err() {
            return;
        }
        std::thread::sleep(interval.saturating_sub(asked.elapsed()));
    }
}

/// What is shown, part by part.
type Answers = (
    crate::control::view::StatusView,
    Vec<crate::control::view::ContainerView>,
    Vec<crate::control::view::ProfileSummary>,
);

fn ask(socket: &Path) -> Result<Answers, ClientError> {
    Ok((
        client::ask(socket, &Request::Status)?,
        client::ask(socket, &Request::Containers)?,
        client::ask(socket, &Request::ProfileList)?,
    ))
}

/// Follows the alerts, and again after the agent has gone, until nobody takes them.
fn follow(socket: &Path, news: &SyncSender<News>) {
    let mut is_wanted = true;
    while is_wanted {
        // Why there are none is told by the samples.
        let _ = client::alerts(socket, true, Some(FIRST_ALERTS), |line| {
            is_wanted = news.send(News::Input(Input::Alert(line.to_owned()))).is_ok();
            Ok(if is_wanted {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            })
        });
        std::thread::sleep(RETRY);
    }
}

/// Reads the keyboard until nobody takes the keys.
fn read_keys(news: &SyncSender<News>) {
    loop {
        let told = match event::read() {
            Ok(Event::Key(pressed)) => match key(pressed) {
                Some(key) => News::Input(Input::Key(key)),
                None => continue,
            },
            Ok(Event::Resize(..)) => News::Resized,
            Ok(_) => continue,
            Err(error) => News::Failed(error),
        };
        let is_last = matches!(told, News::Failed(_));
        if news.send(told).is_err() || is_last {
            return;
        }
    }
}

/// What a key means; `None` for nothing.
fn key(pressed: KeyEvent) -> Option<Key> {
    if pressed.kind == KeyEventKind::Release {
        return None;
    }
    let with_control = pressed.modifiers.contains(KeyModifiers::CONTROL);
    Some(match pressed.code {
        KeyCode::Char('c') if with_control => Key::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Char('s') => Key::Sort,
        KeyCode::Char('r') => Key::Reverse,
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Up | KeyCode::Char('k') => Key::Up,
        KeyCode::Down | KeyCode::Char('j') => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::First,
        KeyCode::End => Key::Last,
        _ => return None,
    })
}

/// Waits for a signal that would otherwise leave the terminal as it is.
fn await_signal(news: &SyncSender<News>) {
    let waited = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .and_then(|runtime| {
            runtime.block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                let mut hang_up = signal(SignalKind::hangup())?;
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = hang_up.recv() => {}
                }
                Ok(())
            })
        });
    // Nobody takes it if the view has ended by itself.
    let _ = news.send(waited.map_or_else(News::Failed, |()| News::End));
}
