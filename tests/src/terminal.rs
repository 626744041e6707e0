//! A program in a pseudo-terminal, and what its screen shows.
//!
//! Input: a command, the terminal's size, keys. Output: the screen as text, line by line, without the blanks that end them. Failure: a
//! pseudo-terminal that cannot be made; a screen that does not show in time what is waited for, with what it shows instead.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::environment::patience;

/// How long the screen may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program in a terminal. Dropping it kills the program.
#[derive(Debug)]
pub struct Terminal {
    /// The terminal's other end: what is written are keys.
    keyboard: File,
    /// The program's own end, kept open so that its settings can be read after the program has ended.
    own: File,
    program: Child,
    screen: Arc<Mutex<Screen>>,
}

/// What the terminal was told.
struct Screen {
    parser: vt100::Parser,
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.parser.screen().contents())
    }
}

impl Terminal {
    /// Starts a program in a terminal of its own of this size, as the first of its session.
    pub fn start(command: &Command, rows: u16, columns: u16) -> anyhow::Result<Self> {
        let other: OwnedFd = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).context("no pseudo-terminal")?;
        grantpt(&other)?;
        unlockpt(&other)?;
        let name = ptsname(&other, Vec::new())?;
        let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
        // It must not become the terminal of the test's own session.
        let own = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOCTTY)
            .open(path)?;
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        tcsetwinsize(&own, size)?;
        let mut in_session = Command::new("setsid");
        in_session
            .arg("--ctty")
            .arg(command.get_program())
            .args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => in_session.env(name, value),
                None => in_session.env_remove(name),
            };
        }
        let program = in_session
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .stdin(Stdio::from(own.try_clone()?))
            .stdout(Stdio::from(own.try_clone()?))
            .stderr(Stdio::from(own.try_clone()?))
            .spawn()
            .context("cannot run setsid")?;
        let screen = Arc::new(Mutex::new(Screen {
            parser: vt100::Parser::new(cells(rows)?, cells(columns)?, 0),
        }));
        let keyboard = File::from(other);
        let (mut output, shown) = (keyboard.try_clone()?, Arc::clone(&screen));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends when nobody has the terminal's own end open any more.
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                lock(&shown).parser.process(&bytes[..length]);
            }
        });
        Ok(Self {
            keyboard,
            own,
            program,
            screen,
        })
    }

    /// What the screen shows now.
    #[must_use]
    pub fn text(&self) -> String {
        let screen = lock(&self.screen);
        let (_, columns) = screen.parser.screen().size();
        let lines: Vec<_> = screen
            .parser
            .screen()
            .rows(0, columns.get())
            .map(|line| line.trim_end().to_owned())
            .collect();
        lines.join("\n").trim_end().to_owned()
    }

    /// Whether any line went on in the next one because the screen is not wide enough for it.
    #[must_use]
    pub fn is_wrapped(&self) -> bool {
        let screen = lock(&self.screen);
        let (rows, _) = screen.parser.screen().size();
        (0..rows.get()).any(|row| screen.parser.screen().row_wrapped(row))
    }

    /// Whether any cell on the screen has a colour.
    #[must_use]
    pub fn is_coloured(&self) -> bool {
        let screen = lock(&self.screen);
        let (rows, columns) = screen.parser.screen().size();
        (0..rows.get()).any(|row| {
            (0..columns.get()).any(|column| {
                let cell = screen.parser.screen().cell(row, column);
                cell.is_some_and(|cell| cell.fgcolor() != vt100::Color::Default)
            })
        })
    }

    /// Whether the terminal is as programs expect to find it: it shows what is typed, on its first screen, with its cursor.
    pub fn is_restored(&self) -> anyhow::Result<bool> {
        let modes = tcgetattr(&self.own)?.local_modes;
        let screen = lock(&self.screen);
        let screen = screen.parser.screen();
        Ok(modes.contains(LocalModes::ECHO | LocalModes::ICANON)
            && !screen.alternate_screen()
            && !screen.hide_cursor())
    }

    /// Waits until the screen shows what is wanted, and gives it.
    pub fn wait_until(&self, wanted: impl Fn(&str) -> bool) -> anyhow::Result<String> {
        let deadline = Instant::now() + patience(PATIENCE);
        loop {
            let text = self.text();
            if wanted(&text) {
                return Ok(text);
            }
            ensure!(Instant::now() < deadline, "the screen shows:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Types.
    pub fn press(&mut self, keys: &str) -> anyhow::Result<()> {
        Ok(self.keyboard.write_all(keys.as_bytes())?)
    }

    /// Gives the terminal another size.
    pub fn resize(&self, rows: u16, columns: u16) -> anyhow::Result<()> {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        lock(&self.screen)
            .parser
            .screen_mut()
            .set_size(cells(rows)?, cells(columns)?);
        Ok(tcsetwinsize(&self.own, size)?)
    }

    /// The process id of the program.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.program.id()
    }

    /// Waits until the program has ended.
    pub fn wait(&mut self) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + patience(PATIENCE);
        loop {
            if let Some(status) = self.program.try_wait()? {
                return Ok(status);
            }
            ensure!(
                Instant::now() < deadline,
                "it does not end; the screen shows:\n{}",
                self.text()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

fn cells(number: u16) -> anyhow::Result<NonZero<u16>> {
    NonZero::new(number).context("a terminal has rows and columns")
}

fn lock(screen: &Mutex<Screen>) -> MutexGuard<'_, Screen> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
