//! `learned:` of the configuration: from when on a profile is called complete.
//!
//! Input: the section. Output: [`Targets`]. Failure: the reader's, with line and field ([`super::ConfigError`]).

use serde::{Deserialize, Deserializer};

use super::Number;
use crate::profile::completeness::Targets;

/// Most that can be demanded of what is counted.
const COUNT_MAX: u32 = 1_000_000;

/// `learned:`, which each domain of each profile must meet. What is absent is as [`Targets::default`] says.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LearnedSection {
    /// Least estimated share of future behaviour that the profile holds.
    pub coverage: Option<Share>,
    /// Least number of container instances.
    pub instances: Option<Number<0, COUNT_MAX>>,
    /// Least number of observation windows without a lost record.
    pub windows: Option<Number<0, COUNT_MAX>>,
    /// Least number of instances that were observed from their first program on; 0 where it does not matter.
    pub starts: Option<Number<0, COUNT_MAX>>,
    /// Least number of instances whose end was observed; 0 where it does not matter.
    pub ends: Option<Number<0, COUNT_MAX>>,
    /// Most observation windows in which records were lost.
    pub lost_windows: Option<Number<0, COUNT_MAX>>,
}

/// A share, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(f64);

// === impl LearnedSection ===

impl LearnedSection {
    /// What is demanded, with the defaults of what is absent.
    #[must_use]
    pub fn resolve(&self) -> Targets {
        let default = Targets::default();
        let count =
            |said: Option<Number<0, COUNT_MAX>>, default| said.map_or(default, |number| number.0.into());
        Targets {
            coverage: self.coverage.map_or(default.coverage, |share| share.0),
            instances: count(self.instances, default.instances),
            windows: count(self.windows, default.windows),
            starts: count(self.starts, default.starts),
            ends: count(self.ends, default.ends),
            lost_windows: count(self.lost_windows, default.lost_windows),
        }
    }
}

// === impl Share ===

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse() {
            Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self(share)),
            _ => Err(serde::de::Error::custom(format_args!(
                "`{text}` is no share from 0 to 1, such as 0.99"
            ))),
        }
    }
}
