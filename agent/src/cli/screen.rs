//! Text for people: tables that fit the terminal, colour where there is one.
//!
//! Input: rows of text that is safe to show. Output: lines. Failure: none; without a terminal nothing is wrapped, cut
//! or coloured.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::time::Duration;

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};

/// What is written on.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Columns of the terminal; `None` for no limit.
    pub width: Option<u16>,
    /// Whether colour is wanted.
    pub colour: bool,
}

/// How something is, as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Notable,
    /// Wrong.
    Bad,
    /// Nothing in particular.
    Plain,
}

/// The width to fit into. A serial port says 0 if nobody told it otherwise: that is no limit.
fn usable(width: Option<u16>, terminal: bool) -> Option<u16> {
    width.filter(|&width| terminal && width > 0)
}

/// Whether colour is wanted: `NO_COLOR` (<https://no-color.org>) before `CLICOLOR_FORCE` and `CLICOLOR`
/// (<https://bixense.com/clicolors>) before what the output is.
fn colour(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let is_set = |name| variable(name).is_some_and(|value| !value.is_empty());
    let is_zero = |name| variable(name).is_some_and(|value| value == "0");
    if is_set("NO_COLOR") {
        return false;
    }
    if is_set("CLICOLOR_FORCE") && !is_zero("CLICOLOR_FORCE") {
        return true;
    }
    terminal && !is_zero("CLICOLOR") && variable("TERM").is_none_or(|name| name != "dumb")
}

/// A text in at most so many columns, of at least three: what lies in its middle gives way to a sign that it was left out. The
/// beginning and the end of a path or a name tell more than its middle.
#[must_use]
pub fn shorten(text: &str, columns: usize) -> String {
    let length = text.chars().count();
    if length <= columns {
        return text.to_owned();
    }
    let kept = columns.max(3) - 1;
    let (first, last) = (kept / 2, kept - kept / 2);
    let beginning = text.chars().take(first);
    let end = text.chars().skip(length - last);
    beginning.chain(std::iter::once('…')).chain(end).collect()
}

impl Screen {
    /// Standard output.
    #[must_use]
    pub fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        Self {
            width: usable(Table::new().width(), terminal),
            colour: colour(terminal, |name| std::env::var_os(name)),
        }
    }

    /// A table with these column heads.
    #[must_use]
    pub fn table(self, heads: &[&str]) -> Table {
        let mut table = self.list();
        let head = |text: &&str| {
            let cell = Cell::new(text);
            if self.colour {
                cell.add_attribute(Attribute::Bold)
            } else {
                cell
            }
        };
        table.set_header(heads.iter().map(head).collect::<Vec<_>>());
        table
    }

    /// A table without heads.
    #[must_use]
    pub fn list(self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).force_no_tty();
        match self.width {
            Some(width) => {
                table
                    .set_content_arrangement(ContentArrangement::Dynamic)
                    .set_width(width);
            }
            None => {
                table.set_content_arrangement(ContentArrangement::Disabled);
            }
        }
        if self.colour {
            table.enforce_styling();
        }
        table
    }

    /// A cell in a colour.
    pub fn cell(self, text: impl std::fmt::Display, tone: Tone) -> Cell {
        let cell = Cell::new(text);
        match tone {
            _ if !self.colour => cell,
            Tone::Plain => cell,
            Tone::Good => cell.fg(Color::Green),
            Tone::Notable => cell.fg(Color::Yellow),
            Tone::Bad => cell.fg(Color::Red),
        }
    }

    /// A text in a colour, outside a table.
    #[must_use]
    pub fn paint(self, text: &str, tone: Tone) -> String {
        let code = match tone {
            _ if !self.colour => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => 32,
            Tone::Notable => 33,
            Tone::Bad => 31,
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

/// Marks columns, by their numbers, that are not wrapped; the others make room. Their content is short by nature.
pub fn keep_whole(table: &mut Table, columns: &[usize]) {
    for index in columns {
        if let Some(column) = table.column_mut(*index) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

/// A table as lines without the spaces that end them and those that all begin with.
#[must_use]
pub fn lines(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        // Where a line begins with a colour, the blank is behind it.
        let (colour, rest) = line.split_at(length_of_colour(&line));
        text.push_str(colour);
        text.push_str(rest.strip_prefix(' ').unwrap_or(rest).trim_end());
        text.push('\n');
    }
    text
}

/// How many bytes of escape sequences for colours and the like a line begins with.
fn length_of_colour(line: &str) -> usize {
    let mut length = 0;
    while let Some(parameters) = line[length..].strip_prefix("\x1b[") {
        let Some(end) = parameters.find('m') else {
            break;
        };
        length += "\x1b[".len() + end + 1;
    }
    length
}

/// A duration in its two largest units.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_a_width_has_no_limit() {
        assert_eq!(usable(Some(0), true), None);
        assert_eq!(usable(Some(80), true), Some(80));
        assert_eq!(usable(Some(80), false), None);
    }

    #[test]
    fn the_user_has_the_last_word_on_colour() {
        for (terminal, variables, expected) in [
            (true, &[][..], true),
            (false, &[], false),
            (true, &[("NO_COLOR", "1")], false),
            (true, &[("NO_COLOR", "")], true),
            (false, &[("CLICOLOR_FORCE", "1")], true),
            (false, &[("CLICOLOR_FORCE", "0")], false),
            (true, &[("CLICOLOR", "0")], false),
            (true, &[("CLICOLOR", "0"), ("CLICOLOR_FORCE", "1")], true),
            (true, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
            (true, &[("TERM", "dumb")], false),
        ] {
            let variable = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| OsString::from(value))
            };
            assert_eq!(colour(terminal, variable), expected, "{variables:?}");
        }
    }

    #[test]
    fn what_is_too_long_loses_its_middle() {
        assert_eq!(shorten("/usr/bin/program", 16), "/usr/bin/program");
        assert_eq!(shorten("/usr/bin/program", 9), "/usr…gram");
        assert_eq!(shorten("abcdef", 0), "a…f");
        assert_eq!(shorten("ääääää", 5), "ää…ää");
    }

    #[test]
    fn durations_have_two_units() {
        let texts = [0, 59, 61, 3_599, 7_260, 90_000].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(
            texts,
            ["0 s", "59 s", "1 min 1 s", "59 min 59 s", "2 h 1 min", "1 d 1 h"]
        );
    }

    #[test]
    fn a_table_fits_its_terminal() {
        let narrow = Screen {
            width: Some(40),
            colour: false,
        };
        let mut table = narrow.table(&["PATH", "WINDOWS"]);
        table.add_row(["/a/long/path/with/many/parts/that/does/not/fit/anywhere", "3"]);
        let text = lines(&table);
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        let wide = Screen {
            width: None,
            colour: false,
        };
        let mut table = wide.table(&["PATH", "WINDOWS"]);
        table.add_row(["/a/long/path/with/many/parts/that/does/not/fit/anywhere", "3"]);
        assert_eq!(lines(&table).lines().count(), 2);
    }

    #[test]
    fn colour_only_where_it_is_wanted() {
        for colour in [false, true] {
            let screen = Screen { width: None, colour };
            let mut table = screen.table(&["A"]);
            table.add_row([screen.cell("bad", Tone::Bad)]);
            assert_eq!(lines(&table).contains('\x1b'), colour);
            assert_eq!(screen.paint("bad", Tone::Bad).contains('\x1b'), colour);
            let begins_with_blank = |line: &str| line[length_of_colour(line)..].starts_with(' ');
            assert!(!lines(&table).lines().any(begins_with_blank), "{}", lines(&table));
        }
    }
}
