//! What Driftlock costs, measured with real containers.
//!
//! Input: what is measured, and how often. Output: a [`report::Report`]: ratios of what something costs with the agent and without it.
//! Failure: what could not be set up or did not succeed; a cost above its goal is no failure but stands in the report.

pub mod exec;
mod load;
pub mod program;
pub mod programs;
pub mod report;
pub mod statistics;
