//! `canary:` of the configuration: how often the agent tries whether it catches what drifts.
//!
//! Input: the section. Output: the time between two tries. Failure: the reader's, with line and field ([`super::ConfigError`]).

use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::Number;

/// Between two tries, in seconds, if nobody says otherwise.
const INTERVAL_S: u32 = 60;
/// And at most. At least it is a second.
const INTERVAL_MAX_S: u32 = 3_600;
/// The word for none at all, beside 0.
const OFF: &str = "off";

/// `canary:`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CanarySection {
    /// Seconds from the begin of one try to that of the next; 0 or `off`: there are none.
    pub interval_s: Option<Interval>,
}

/// A time between two tries; `None` for no tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interval(Option<Duration>);

impl CanarySection {
    /// From the begin of one try to that of the next; `None` if there are to be none.
    #[must_use]
    pub fn resolve(&self) -> Option<Duration> {
        let default = Duration::from_secs(INTERVAL_S.into());
        self.interval_s.map_or(Some(default), |interval| interval.0)
    }
}

impl<'de> Deserialize<'de> for Interval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == OFF {
            return Ok(Self(None));
        }
        let number = serde::de::value::StringDeserializer::new(text);
        let seconds = Number::<0, INTERVAL_MAX_S>::deserialize(number)?.get();
        let interval = Duration::from_secs(seconds.into());
        Ok(Self((!interval.is_zero()).then_some(interval)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ConfigFile;
    use super::*;

    fn interval(text: &str) -> Result<Option<Duration>, String> {
        let file = ConfigFile::parse(text, "config.yaml".as_ref()).map_err(|error| error.to_string())?;
        Ok(file.canary.resolve())
    }

    #[test]
    fn once_a_minute_unless_somebody_says_otherwise() {
        for (text, seconds) in [
            ("", Some(60)),
            ("canary: {}\n", Some(60)),
            ("canary: { interval_s: 1 }\n", Some(1)),
            ("canary: { interval_s: 3600 }\n", Some(3_600)),
            ("canary: { interval_s: 0 }\n", None),
            ("canary: { interval_s: off }\n", None),
        ] {
            assert_eq!(interval(text), Ok(seconds.map(Duration::from_secs)), "{text}");
        }
        for text in [
            "canary: { interval_s: 3601 }\n",
            "canary: { interval_s: -1 }\n",
            "canary: { interval_s: never }\n",
            "canary: { interval: 1 }\n",
        ] {
            let error = interval(text).expect_err(text);
            assert!(error.contains("config.yaml:1:"), "{error}");
        }
    }
}
