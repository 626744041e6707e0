//! What a sink tells of an alert beside its text, whatever its format: little enough to be read out of the native line at a fraction of the
//! cost of the whole.
//!
//! Input: an alert, or its native line. Output: [`AlertHead`]. Failure: a line that is none is an error of the parser.

use serde::Deserialize;

use super::kind::AlertKind;
use super::model::{Alert, AlertId};
use super::severity::Severity;
use super::time::Time;

/// The fields of an [`Alert`] that say which one it is; the others are skipped when it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct AlertHead {
    /// Its id.
    pub id: AlertId,
    /// When it happened.
    pub time: Time,
    /// The node's name.
    pub node: String,
    /// What is wrong.
    pub kind: AlertKind,
    /// How grave it is.
    pub severity: Severity,
}

impl From<&Alert> for AlertHead {
    fn from(alert: &Alert) -> Self {
        Self {
            id: alert.id,
            time: alert.time,
            node: alert.node.clone(),
            kind: alert.kind,
            severity: alert.severity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::example;

    #[test]
    fn it_is_what_the_line_says() {
        let alert = example::alert(Time::now());
        let read: AlertHead = serde_json::from_str(&alert.to_line()).expect("a head");
        let whole: Alert = serde_json::from_str(&alert.to_line()).expect("an alert");
        assert_eq!(read, AlertHead::from(&whole));
    }
}
