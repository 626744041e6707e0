//! What was measured, for people and for programs.
//!
//! Input: a [`Report`]. Output: a table for a terminal, JSON, or a section of docs/benchmarks.md. Failure: a kernel that does not say
//! its release; a page that cannot be read or written.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use comfy_table::{ContentArrangement, Table};
use serde_json::{Value, json};

use super::programs::Runs;
use super::statistics::Spread;

/// The lines of the page that a section lies between.
const SECTION_BEGINS: &str = "<!-- begin: exec -->";
/// See [`SECTION_BEGINS`].
const SECTION_ENDS: &str = "<!-- end: exec -->";

/// What was measured, and where.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The kernel's release.
    pub kernel: String,
    /// The processors, and how many.
    pub processors: String,
    /// The day, in UTC.
    pub date: String,
    /// What this kernel can do about executions, in the agent's word: `deny` or `kill`.
    pub tier: String,
    /// Rounds without and with the agent.
    pub rounds: u32,
    /// Starts in a sample.
    pub starts: u32,
    /// One for each situation.
    pub rows: Vec<Row>,
    /// The kernel programs, for each place where programs were started.
    pub places: Vec<Place>,
}

/// One situation.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub name: String,
    /// The most that the median ratio of CPU time may be. `None` for noise.
    pub goal: Option<f64>,
    /// Ratios of CPU time per start, with the agent to without.
    pub cpu: Spread,
    /// Ratios of time per start.
    pub wall: Spread,
    /// CPU time of a start without the agent, median of the samples, ns.
    pub without_ns: f64,
    /// CPU time of a start with the agent, ns.
    pub with_ns: f64,
}

/// The kernel programs' runs while programs were started in one place.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where.
    pub name: &'static str,
    /// What ran.
    pub runs: Runs,
}

impl Report {
    /// With nothing in it but what machine this is, and when.
    pub fn of_this_machine() -> anyhow::Result<Self> {
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
            ..Self::default()
        })
    }

    /// For a terminal.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("{}\n", self.conditions());
        for (head, lines) in [
            (ROW_HEAD.as_slice(), self.row_cells()),
            (&RUN_HEAD, self.run_cells()),
        ] {
            let mut table = Table::new();
            table
                .load_style(comfy_table::presets::UTF8_FULL_CONDENSED)
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_header(head);
            for line in lines {
                table.add_row(line);
            }
            let _ = writeln!(text, "{table}");
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name,
                    "goal": row.goal,
                    "cpu_ratio": row.cpu.to_json(),
                    "time_ratio": row.wall.to_json(),
                    "cpu_ns_without": row.without_ns,
                    "cpu_ns_with": row.with_ns,
                })
            })
            .collect();
        let programs: Vec<Value> = self
            .places
            .iter()
            .flat_map(|place| {
                place.runs.iter().map(|(program, run)| {
                    json!({"place": place.name, "program": program, "runs": run.count, "time_ns": run.time_ns})
                })
            })
            .collect();
        json!({
            "schema": "driftlock.bench-exec/v1",
            "kernel": self.kernel,
            "processors": self.processors,
            "date": self.date,
            "tier": self.tier,
            "rounds": self.rounds,
            "starts": self.starts,
            "rows": rows,
            "programs": programs,
        })
    }

    /// Puts the section about executions into a page, in place of what was there.
    pub fn write_to_page(&self, page: &Path) -> anyhow::Result<()> {
        let old = std::fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
        let new = replace_section(&old, &self.section())
            .with_context(|| format!("{} has no line {SECTION_BEGINS}", page.display()))?;
        std::fs::write(page, new).with_context(|| format!("cannot write {}", page.display()))
    }

    /// Where and how it was measured.
    fn conditions(&self) -> String {
        format!(
            "Linux {}, {}, tier `{}`, {}; {} rounds, {} starts in a sample.",
            self.kernel, self.processors, self.tier, self.date, self.rounds, self.starts
        )
    }

    fn section(&self) -> String {
        let mut text = format!("{}\n\n", self.conditions());
        markdown(&mut text, &ROW_HEAD, &self.row_cells());
        text.push('\n');
        markdown(&mut text, &RUN_HEAD, &self.run_cells());
        text
    }

    fn row_cells(&self) -> Vec<Vec<String>> {
        self.rows
            .iter()
            .map(|row| {
                let spread = |spread: &Spread| {
                    format!(
                        "{:.3} to {:.3} ({:.3} to {:.3})",
                        spread.lower_quartile, spread.upper_quartile, spread.least, spread.greatest
                    )
                };
                let goal = row.goal.map_or(String::new(), |goal| {
                    let verdict = if row.cpu.median <= goal { "met" } else { "MISSED" };
                    format!("{goal:.3}: {verdict}")
                });
                vec![
                    row.name.clone(),
                    format!("{:.4}", row.cpu.median),
                    spread(&row.cpu),
                    goal,
                    format!("{:.4}", row.wall.median),
                    format!("{:.1}", row.without_ns / 1000.0),
                    format!("{:.1}", row.with_ns / 1000.0),
                ]
            })
            .collect()
    }

    fn run_cells(&self) -> Vec<Vec<String>> {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let ratio = |a: u64, b: u64| a as f64 / b as f64;
        self.places
            .iter()
            .flat_map(|place| {
                place.runs.iter().map(move |(program, run)| {
                    vec![
                        place.name.to_owned(),
                        program.clone(),
                        format!("{:.2}", ratio(run.count, u64::from(self.starts))),
                        format!("{:.0}", ratio(run.time_ns, run.count)),
                    ]
                })
            })
            .collect()
    }
}

/// Heads of the columns of situations.
const ROW_HEAD: [&str; 7] = [
    "where",
    "CPU time, ratio",
    "quartiles (least to greatest)",
    "goal",
    "time, ratio",
    "without, us of CPU",
    "with, us of CPU",
];

/// Heads of the columns of kernel programs.
const RUN_HEAD: [&str; 4] = ["where", "kernel program", "runs per start", "ns per run"];

fn markdown(text: &mut String, head: &[&str], lines: &[Vec<String>]) {
    let _ = writeln!(text, "| {} |", head.join(" | "));
    let _ = writeln!(text, "|{}", "---|".repeat(head.len()));
    for line in lines {
        let _ = writeln!(text, "| {} |", line.join(" | "));
    }
}

/// The page with another section; `None` if it has no place for it.
fn replace_section(page: &str, section: &str) -> Option<String> {
    let (before, rest) = page.split_once(SECTION_BEGINS)?;
    let (_, after) = rest.split_once(SECTION_ENDS)?;
    Some(format!(
        "{before}{SECTION_BEGINS}\n{section}{SECTION_ENDS}{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::programs::Run;

    fn report() -> Report {
        Report {
            kernel: "6.1".to_owned(),
            rounds: 2,
            starts: 100,
            rows: vec![Row {
                name: "outside".to_owned(),
                goal: Some(1.005),
                cpu: Spread::of(&[1.0, 1.02]).expect("values"),
                wall: Spread::of(&[1.0]).expect("values"),
                without_ns: 50_000.0,
                with_ns: 50_500.0,
            }],
            places: vec![Place {
                name: "outside",
                runs: Runs::from([(
                    "sched_process_exec".to_owned(),
                    Run {
                        count: 200,
                        time_ns: 10_000,
                    },
                )]),
            }],
            ..Report::default()
        }
    }

    #[test]
    fn a_goal_that_is_missed_says_so() {
        let page = format!("head\n{SECTION_BEGINS}\nold\n{SECTION_ENDS}\nfoot\n");
        let page = replace_section(&page, &report().section()).expect("a place");
        assert!(page.starts_with("head\n") && page.ends_with("\nfoot\n"), "{page}");
        assert!(!page.contains("old"), "{page}");
        assert!(
            page.contains(
                "| outside | 1.0100 | 1.005 to 1.015 (1.000 to 1.020) | 1.005: MISSED | 1.0000 | 50.0 | 50.5 |"
            ),
            "{page}"
        );
        assert!(
            page.contains("| outside | sched_process_exec | 2.00 | 50 |"),
            "{page}"
        );
        assert_eq!(replace_section("no place", ""), None);
    }

    #[test]
    fn programs_get_the_numbers() {
        let json = report().to_json();
        assert_eq!(json["rows"][0]["cpu_ratio"]["count"], 2);
        assert_eq!(json["programs"][0]["time_ns"], 10_000);
    }
}
