//! Median and spread of ratios. Pure.

use serde_json::{Value, json};

/// Where the values of a list lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The least value.
    pub least: f64,
    /// A quarter of the values lie below it.
    pub lower_quartile: f64,
    /// Half of the values lie below it.
    pub median: f64,
    /// A quarter of the values lie above it.
    pub upper_quartile: f64,
    /// The greatest value.
    pub greatest: f64,
    /// How many values there are.
    pub count: usize,
}

impl Spread {
    /// Of these values, which are numbers; `None` if there are none.
    #[must_use]
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            least: *sorted.first()?,
            lower_quartile: quantile(&sorted, 0.25),
            median: quantile(&sorted, 0.5),
            upper_quartile: quantile(&sorted, 0.75),
            greatest: *sorted.last()?,
            count: sorted.len(),
        })
    }

    /// As an object of six numbers.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "median": self.median,
            "lower_quartile": self.lower_quartile,
            "upper_quartile": self.upper_quartile,
            "least": self.least,
            "greatest": self.greatest,
            "count": self.count,
        })
    }
}

/// The value below which `share` of the sorted values lie, by linear interpolation between its neighbours.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    #[expect(clippy::cast_precision_loss, reason = "lists are short")]
    let place = share * last as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and the list's length"
    )]
    let below = place as usize;
    let above = (below + 1).min(last);
    sorted[below] + (sorted[above] - sorted[below]) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_values() {
        let spread = Spread::of(&[4.0, 1.0, 3.0, 2.0]).expect("values");
        assert_eq!(
            spread,
            Spread {
                least: 1.0,
                lower_quartile: 1.75,
                median: 2.5,
                upper_quartile: 3.25,
                greatest: 4.0,
                count: 4
            }
        );
        assert_eq!(
            Spread::of(&[7.0]).expect("a value").median.to_bits(),
            7_f64.to_bits()
        );
        assert_eq!(Spread::of(&[]), None);
    }
}
