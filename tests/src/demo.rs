//! The demonstration.

/// How it is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {}

/// Runs it. Returns whether nothing was missed.
pub fn run(_options: &Options) -> anyhow::Result<bool> {
    anyhow::bail!("the demonstration is not written yet")
}
