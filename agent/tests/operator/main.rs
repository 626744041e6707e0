//! What an operator types and reads: the binary against an agent that answers from examples, and every table.

mod agent;
mod command_line;
mod documents;
mod example;
mod formats;
mod published;
mod report;
mod signature;
mod tables;
#[cfg(feature = "top")]
mod top;
mod usage;
