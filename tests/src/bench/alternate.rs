//! Rounds without and with the agent in turn, and the ratios that come of them. Pure.
//!
//! Input: the samples of each round. Output: a [`Row`] for each situation, and one for the noise of each base. Failure: too few
//! rounds give fewer rows.
//!
//! Each sample with the agent is compared to the mean of the samples before and after it without; so a machine that becomes
//! slower or faster cancels out. Samples without the agent, compared in the same way among themselves, say what the machine's
//! noise is.

use super::load::Cost;
use super::statistics::Spread;

/// What is measured with the agent.
#[derive(Clone, Debug)]
pub struct Situation {
    /// Its name.
    pub name: String,
    /// The most that the median ratio of CPU time may be.
    pub goal: Option<f64>,
    /// The same without the agent: its place among the bases.
    pub base: usize,
}

/// A situation and its ratios.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub name: String,
    /// The most that the median ratio of CPU time may be. `None` for noise.
    pub goal: Option<f64>,
    /// Ratios of CPU time for each time, with the agent to without.
    pub cpu: Spread,
    /// Ratios of time.
    pub wall: Spread,
    /// CPU time without the agent, median of the samples, ns.
    pub without_ns: f64,
    /// CPU time with the agent, ns.
    pub with_ns: f64,
}

/// The samples of a measurement.
#[derive(Clone, Debug, Default)]
pub struct Samples {
    /// For each round without the agent, a sample for each base. One round more than `with`.
    pub without: Vec<Vec<Cost>>,
    /// For each round with the agent, a sample for each situation.
    pub with: Vec<Vec<Cost>>,
}

impl Samples {
    /// A row for each situation, and the noise of each base.
    #[must_use]
    pub fn rows(&self, bases: &[&str], situations: &[Situation]) -> Vec<Row> {
        let base = |place: usize| column(&self.without, place);
        let measured = situations.iter().enumerate().filter_map(|(place, situation)| {
            let with = column(&self.with, place);
            row(&situation.name, situation.goal, &base(situation.base), &with)
        });
        let noise = bases
            .iter()
            .enumerate()
            .filter_map(|(place, name)| noise(&format!("noise {name}"), &base(place)));
        measured.chain(noise).collect()
    }
}

/// One sample of each round.
fn column(rounds: &[Vec<Cost>], place: usize) -> Vec<Cost> {
    rounds
        .iter()
        .filter_map(|round| round.get(place).copied())
        .collect()
}

/// Each sample against the mean of the samples before and after it. `around` holds one more than `samples`.
fn row(name: &str, goal: Option<f64>, around: &[Cost], samples: &[Cost]) -> Option<Row> {
    let ratios = |of: fn(&Cost) -> f64| {
        let neighbours = around
            .windows(2)
            .map(|pair| f64::midpoint(of(&pair[0]), of(&pair[1])));
        let ratios: Vec<f64> = samples
            .iter()
            .zip(neighbours)
            .map(|(sample, base)| of(sample) / base)
            .collect();
        Spread::of(&ratios)
    };
    let cpu = |costs: &[Cost]| -> Vec<f64> { costs.iter().map(|cost| cost.cpu_ns).collect() };
    Some(Row {
        name: name.to_owned(),
        goal,
        cpu: ratios(|cost| cost.cpu_ns)?,
        wall: ratios(|cost| cost.wall_ns)?,
        without_ns: Spread::of(&cpu(around))?.median,
        with_ns: Spread::of(&cpu(samples))?.median,
    })
}

/// Samples without the agent among themselves: each but the first and last against the mean of its neighbours.
fn noise(name: &str, samples: &[Cost]) -> Option<Row> {
    let (even, odd): (Vec<_>, Vec<_>) = samples.iter().enumerate().partition(|(place, _)| place % 2 == 0);
    let costs =
        |list: Vec<(usize, &Cost)>| -> Vec<Cost> { list.into_iter().map(|(_, cost)| *cost).collect() };
    row(name, None, &costs(even), &costs(odd))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(cpu_ns: f64) -> Cost {
        Cost {
            cpu_ns,
            wall_ns: 2.0 * cpu_ns,
        }
    }

    #[test]
    fn a_machine_that_becomes_slower_cancels_out() {
        let without = [cost(100.0), cost(120.0), cost(140.0)];
        let with = [cost(121.0), cost(143.0)];
        let row = row("x", None, &without, &with).expect("a row");
        assert!((row.cpu.median - 1.1).abs() < 1e-9, "{row:?}");
        assert!((row.wall.greatest - 1.1).abs() < 1e-9, "{row:?}");
        let noise = noise("y", &without).expect("a row");
        assert!((noise.cpu.median - 1.0).abs() < 1e-9, "{noise:?}");
        assert_eq!(noise.cpu.count, 1);
    }

    #[test]
    fn each_situation_has_its_base_and_one_round_has_no_noise_to_tell() {
        let situation = |name: &str, base| Situation {
            name: name.to_owned(),
            goal: Some(1.0),
            base,
        };
        let samples = Samples {
            without: vec![vec![cost(100.0), cost(50.0)]; 2],
            with: vec![vec![cost(200.0), cost(300.0), cost(50.0)]],
        };
        let situations = [situation("a", 0), situation("b", 0), situation("c", 1)];
        let rows = samples.rows(&["inside", "outside"], &situations);
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.name.as_str(), row.cpu.median.to_bits()))
            .collect();
        let expected = [("a", 2.0_f64), ("b", 3.0), ("c", 1.0)].map(|(name, ratio)| (name, ratio.to_bits()));
        assert_eq!(told, expected);
    }
}
