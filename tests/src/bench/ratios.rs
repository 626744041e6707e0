//! The report of rounds without and with the agent: ratios, and how long the kernel programs ran.
//!
//! Input: [`Ratios`]. Output: a [`Report`]. Failure: a kernel that does not say its release.

use serde_json::{Map, Value, json};

use super::Options;
use super::alternate::Row;
use super::programs::Runs;
use super::report::{Grid, Machine, Report, verdict};
use super::statistics::Spread;

/// Runs for each time below which a kernel program is left out of the table: it ran for something else.
const RUNS_SHOWN: f64 = 0.005;

/// What was measured in rounds.
#[derive(Clone, Debug)]
pub struct Ratios {
    /// In one word.
    pub part: &'static str,
    /// What is counted: `start`, `call` or `compilation`.
    pub of: &'static str,
    /// The unit that a time is shown in.
    pub unit: Unit,
    /// What this kernel can do about each domain that is measured, in the agent's words, such as ``exec `kill` ``.
    pub tiers: Vec<String>,
    /// How much was measured.
    pub options: Options,
    /// One for each situation.
    pub rows: Vec<Row>,
    /// The kernel programs, for each place where something was done.
    pub places: Vec<Place>,
}

/// The kernel programs' runs while something was done in one place.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where.
    pub name: String,
    /// How often it was done.
    pub times: u32,
    /// What ran.
    pub runs: Runs,
}

impl Place {
    /// Time of all kernel programs together for each time it was done, ns.
    #[must_use]
    pub fn ns_each(&self) -> u64 {
        let total: u64 = self.runs.values().map(|run| run.time_ns).sum();
        total / u64::from(self.times.max(1))
    }
}

/// A unit of time.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl Ratios {
    /// For people and programs.
    pub fn report(&self) -> anyhow::Result<Report> {
        let Options { rounds, sample } = self.options;
        let tiers = self.tiers.join(", ");
        Ok(Report {
            part: self.part,
            machine: Machine::this()?,
            conditions: format!(
                "tiers: {tiers}; {rounds} rounds, {sample} {}s in a sample.",
                self.of
            ),
            tables: vec![self.row_grid(), self.run_grid()],
            numbers: self.numbers(),
        })
    }

    fn row_grid(&self) -> Grid {
        let unit = self.unit.name();
        let (without, with) = (format!("without, {unit} of CPU"), format!("with, {unit} of CPU"));
        let mut grid = Grid::new(&[
            "where",
            "CPU time, ratio",
            "quartiles (least to greatest)",
            "goal",
            "time, ratio",
            &without,
            &with,
        ]);
        let spread = |spread: &Spread| {
            format!(
                "{:.3} to {:.3} ({:.3} to {:.3})",
                spread.lower_quartile, spread.upper_quartile, spread.least, spread.greatest
            )
        };
        for row in &self.rows {
            let goal = row.goal.map_or(String::new(), |goal| {
                verdict(&format!("{goal:.3}"), row.cpu.median <= goal)
            });
            grid.lines.push(vec![
                row.name.clone(),
                format!("{:.4}", row.cpu.median),
                spread(&row.cpu),
                goal,
                format!("{:.4}", row.wall.median),
                self.unit.show(row.without_ns),
                self.unit.show(row.with_ns),
            ]);
        }
        grid
    }

    fn run_grid(&self) -> Grid {
        let mut grid = Grid::new(&[
            "where",
            "kernel program",
            &format!("runs per {}", self.of),
            "ns per run",
        ]);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let ratio = |a: u64, b: u64| a as f64 / b as f64;
        for place in &self.places {
            for (program, run) in &place.runs {
                let each = ratio(run.count, u64::from(place.times));
                if each >= RUNS_SHOWN {
                    let time = format!("{:.0}", ratio(run.time_ns, run.count));
                    let cells = [place.name.clone(), program.clone(), format!("{each:.2}"), time];
                    grid.lines.push(cells.to_vec());
                }
            }
        }
        grid
    }

    fn numbers(&self) -> Map<String, Value> {
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
                    json!({
                        "place": place.name,
                        "times": place.times,
                        "program": program,
                        "runs": run.count,
                        "time_ns": run.time_ns,
                    })
                })
            })
            .collect();
        let fields = [
            ("tiers", json!(self.tiers)),
            ("rounds", json!(self.options.rounds)),
            ("sample", json!(self.options.sample)),
            ("rows", json!(rows)),
            ("programs", json!(programs)),
        ];
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect()
    }
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Ms => "ms",
            Self::Us => "us",
            Self::Ns => "ns",
        }
    }

    fn show(self, ns: f64) -> String {
        match self {
            Self::Ms => format!("{:.1}", ns / 1e6),
            Self::Us => format!("{:.1}", ns / 1e3),
            Self::Ns => format!("{ns:.0}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::programs::Run;

    fn run(count: u64, time_ns: u64) -> Run {
        Run { count, time_ns }
    }

    fn ratios() -> Ratios {
        Ratios {
            part: "exec",
            of: "start",
            unit: Unit::Us,
            tiers: vec!["exec `kill`".to_owned()],
            options: Options {
                rounds: 2,
                sample: 1_000,
            },
            rows: vec![Row {
                name: "outside".to_owned(),
                goal: Some(1.005),
                cpu: Spread::of(&[1.0, 1.02]).expect("values"),
                wall: Spread::of(&[1.0]).expect("values"),
                without_ns: 50_000.0,
                with_ns: 50_500.0,
            }],
            places: vec![Place {
                name: "outside".to_owned(),
                times: 1_000,
                runs: Runs::from([
                    ("sched_process_exec".to_owned(), run(2_000, 100_000)),
                    ("cgroup_mkdir".to_owned(), run(4, 100)),
                ]),
            }],
        }
    }

    #[test]
    fn a_goal_that_is_missed_says_so() {
        let ratios = ratios();
        let expected = [
            "outside",
            "1.0100",
            "1.005 to 1.015 (1.000 to 1.020)",
            "1.005: MISSED",
            "1.0000",
            "50.0",
            "50.5",
        ];
        assert_eq!(ratios.row_grid().lines, [expected]);
        // Four of a thousand: something else made a cgroup.
        let expected = ["outside", "sched_process_exec", "2.00", "50"];
        assert_eq!(ratios.run_grid().lines, [expected]);
    }

    #[test]
    fn programs_get_the_numbers() {
        let numbers = ratios().numbers();
        assert_eq!(numbers["rows"][0]["cpu_ratio"]["count"], 2);
        assert_eq!(numbers["programs"][1]["time_ns"], 100_000);
    }
}
