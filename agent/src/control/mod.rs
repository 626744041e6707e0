//! The control socket: how an operator's command reaches the running agent.
//!
//! [`protocol`] are the requests and responses, one JSON document per line; [`view`] are the typed answers;
//! [`server`] listens in the agent, `peer` finds out who a client is, [`access`] knows what it may do, `admission` whether there is
//! a place for it, [`connection`] serves it, [`feed`] has the alerts for readers; [`client`] asks from the command line.
//! Input: connections of local processes. Output: requests for the engine, which alone answers them. Failure: each
//! module states its own; a client that misbehaves loses its connection and disturbs nobody else.

pub mod access;
mod admission;
pub mod client;
pub mod connection;
pub mod feed;
mod line;
mod peer;
pub mod protocol;
pub mod server;
#[cfg(test)]
mod tests;
pub mod view;
