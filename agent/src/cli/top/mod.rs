//! `driftlock top`: the agent, live, in a terminal.
//!
//! `sample` asks the agent and reads the keys, [`state`] is what is known and what keys do to it, [`frame`] draws it. Input: the
//! control socket and the keyboard. Output: the terminal's other screen, which is left as it was found, also after a panic or a signal.
//! Failure: a terminal that cannot be used ends the command; an agent that does not answer is shown as such and tried again.

pub mod frame;
mod sample;
pub mod state;

use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use ratatui::DefaultTerminal;

use super::screen::Screen;
use sample::News;
use state::State;

/// How long is waited for news before the frame is drawn anew all the same.
const REDRAW: Duration = Duration::from_millis(500);
/// Most news that are taken in before the frame is drawn.
const BATCH: usize = 256;

/// Shows the agent behind `socket`, asked each `interval`, until the user ends it.
///
/// # Errors
/// Standard input or output is no terminal, or the terminal cannot be read or written.
pub fn run(socket: &Path, interval: Duration) -> io::Result<()> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(io::Error::other(
            "`driftlock top` needs a terminal; `driftlock status --json` and `driftlock alerts --follow --json` do not",
        ));
    }
    let mut state = State::new(socket.display().to_string(), Screen::of_stdout().colour);
    // From here on a panic has the terminal restored before it is told.
    let mut terminal = ratatui::try_init()?;
    let shown = sample::start(socket, interval).and_then(|news| show(&mut terminal, &mut state, &news));
    let restored = ratatui::try_restore();
    shown.and(restored)
}

/// Draws what is known until the user has enough.
fn show(terminal: &mut DefaultTerminal, state: &mut State, news: &Receiver<News>) -> io::Result<()> {
    loop {
        terminal.draw(|area| frame::draw(state, area))?;
        let first = match news.recv_timeout(REDRAW) {
            Ok(first) => Some(first),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("the threads that ask the agent have ended"));
            }
        };
        for news in first.into_iter().chain(news.try_iter()).take(BATCH) {
            match news {
                News::Input(input) => state.take(input),
                News::Resized => {}
                News::End => return Ok(()),
                News::Failed(error) => return Err(error),
            }
            if state.is_over() {
                return Ok(());
            }
        }
    }
}
