//! The canary: the agent regularly tries a drifted execution of its own, in a container of its own, and sees whether it is caught, and how fast.
//!
//! A process of the agent's own ([`process`]) is entered in its container at the start and forks from then on; what it forks belongs to the same
//! container, as any program's children do, and executes a file that is drift there, and enforced. Hook, ring buffer, decoding,
//! comparison and decision are those of any other execution; only no alert goes out.
//! Input: the passing of time, the record, and what the process saw. Output: [`Outcome`](attempt::Outcome) of each try ([`attempt`], pure; the engine keeps the
//! time). Failure: a try of which nothing can be said is an outcome too.

pub mod attempt;
pub mod process;
