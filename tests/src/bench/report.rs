//! What was measured, for people and for programs.
//!
//! Input: a [`Report`]. Output: tables for a terminal, JSON, or a section of docs/benchmarks.md. Failure: a kernel that does not say
//! its release; a page that cannot be read or written.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Map, Value, json};

/// What was measured, and where.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was measured, in one word: names the section of the page, and the schema.
    pub part: &'static str,
    /// On which machine, and when.
    pub machine: Machine,
    /// How much, and under which conditions, in words.
    pub conditions: String,
    /// What people read.
    pub tables: Vec<Grid>,
    /// What programs read, beside the machine.
    pub numbers: Map<String, Value>,
}

/// The machine, and the day.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// The kernel's release.
    pub kernel: String,
    /// The processors, and how many.
    pub processors: String,
    /// The day, in UTC.
    pub date: String,
}

/// A table.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// The heads of its columns.
    pub head: Vec<String>,
    /// Its lines, each with a cell for each column.
    pub lines: Vec<Vec<String>>,
}

impl Machine {
    /// This machine, now.
    pub fn this() -> anyhow::Result<Self> {
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let processors = std::fs::read_to_string("/proc/cpuinfo")?;
        let models = processors.lines().filter(|line| line.starts_with("model name"));
        let model = models.clone().next().and_then(|line| line.split_once(": "));
        Ok(Self {
            kernel: release.trim().to_owned(),
            processors: format!(
                "{} x {}",
                models.count(),
                model.map_or("unknown", |(_, model)| model)
            ),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        })
    }
}

impl Grid {
    /// With these heads and no lines.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|&name| name.to_owned()).collect(),
            lines: Vec::new(),
        }
    }

    fn to_markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.head);
        let _ = writeln!(text, "|{}", "---|".repeat(self.head.len()));
        self.lines.iter().for_each(|cells| text.push_str(&line(cells)));
        text
    }

    fn to_table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(&self.head);
        for line in &self.lines {
            table.add_row(line);
        }
        table
    }
}

impl Report {
    /// For a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}: {}\n", self.part, self.head());
        for grid in &self.tables {
            let _ = writeln!(text, "{}", grid.to_table());
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        let schema = format!("driftlock.bench-{}/v1", self.part);
        object.insert("schema".to_owned(), json!(schema));
        for (name, value) in [
            ("kernel", &self.machine.kernel),
            ("processors", &self.machine.processors),
            ("date", &self.machine.date),
        ] {
            object.insert(name.to_owned(), json!(value));
        }
        object.extend(self.numbers.clone());
        Value::Object(object)
    }

    /// Puts its section into a page, in place of what was there.
    pub fn write_to_page(&self, page: &Path) -> anyhow::Result<()> {
        let old = std::fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
        let new = self
            .replace_section(&old)
            .with_context(|| format!("{} has no place for {}", page.display(), self.part))?;
        std::fs::write(page, new).with_context(|| format!("cannot write {}", page.display()))
    }

    /// Where and how it was measured.
    fn head(&self) -> String {
        let Machine {
            kernel,
            processors,
            date,
        } = &self.machine;
        format!("Linux {kernel}, {processors}, {date}; {}", self.conditions)
    }

    fn section(&self) -> String {
        let grids: Vec<String> = self.tables.iter().map(Grid::to_markdown).collect();
        format!("{}\n\n{}", self.head(), grids.join("\n"))
    }

    /// The page with another section; `None` if it has no place for it.
    fn replace_section(&self, page: &str) -> Option<String> {
        let [begins, ends] = ["begin", "end"].map(|word| format!("<!-- {word}: {} -->", self.part));
        let (before, rest) = page.split_once(&begins)?;
        let (_, after) = rest.split_once(&ends)?;
        Some(format!("{before}{begins}\n{}{ends}{after}", self.section()))
    }
}

/// Whether a goal is met, in a cell: the goal as text, and what came of it.
#[must_use]
pub fn verdict(goal: &str, met: bool) -> String {
    format!("{goal}: {}", if met { "met" } else { "MISSED" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut grid = Grid::new(&["where", "goal"]);
        grid.lines
            .push(vec!["outside".to_owned(), verdict("1.005", false)]);
        Report {
            part: "exec",
            machine: Machine {
                kernel: "6.1".to_owned(),
                ..Machine::default()
            },
            conditions: "2 rounds.".to_owned(),
            tables: vec![grid.clone(), grid],
            numbers: Map::from_iter([("rounds".to_owned(), json!(2))]),
        }
    }

    #[test]
    fn a_section_takes_the_place_of_its_own_alone() {
        let page = "head\n<!-- begin: exec -->\nold\n<!-- end: exec -->\n<!-- begin: calls -->\nkept\n";
        let page = report().replace_section(page).expect("a place");
        let expected = "head\n<!-- begin: exec -->\nLinux 6.1, , ; 2 rounds.\n\n\
            | where | goal |\n|---|---|\n| outside | 1.005: MISSED |\n\n\
            | where | goal |\n|---|---|\n| outside | 1.005: MISSED |\n\
            <!-- end: exec -->\n<!-- begin: calls -->\nkept\n";
        assert_eq!(page, expected);
        assert_eq!(report().replace_section("<!-- begin: calls -->"), None);
    }

    #[test]
    fn programs_get_the_machine_and_the_numbers() {
        let json = report().to_json();
        assert_eq!(json["schema"], "driftlock.bench-exec/v1");
        assert_eq!(json["kernel"], "6.1");
        assert_eq!(json["rounds"], 2);
    }
}
