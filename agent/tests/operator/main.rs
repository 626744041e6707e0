//! What an operator types and reads: the binary against an agent that answers from examples, and every table.

mod command_line;
mod example;
mod tables;
