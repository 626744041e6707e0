//! From events to deviations: what a profile says of a behaviour. Pure; one module per domain.

pub mod exec;
