//! Alerts: what is told to the outside about a deviation.
//!
//! [`model`] is the document, one JSON object per line (schema [`model::SCHEMA`]); [`severity`] says how grave a
//! deviation is and which ATT&CK techniques it points to; [`fold`] lets the first of a kind out at once and counts its
//! repeats, and holds an alert about a kill until the kill is confirmed; [`time`] turns the kernel's clock into dates;
//! [`head`] is what sinks need to know of any alert; [`summary`] says it in a few words, and [`format`](mod@format) in the words of other products.
//! Input: what the engine knows of an event and its container. Output: lines for stdout and for the control socket.
//! Failure: none of these modules does I/O; what reaches a bound is counted and said in [`fold`].

#[cfg(test)]
pub(crate) mod example;
pub mod fold;
pub mod format;
pub mod head;
pub mod hold;
pub mod kind;
pub mod model;
#[cfg(test)]
mod reference;
pub mod severity;
pub mod summary;
pub mod technique;
pub mod time;
