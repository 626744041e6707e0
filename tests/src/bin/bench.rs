//! What Driftlock costs; `cargo xtask bench` runs it.
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tests::bench::exec;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    part: Part,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The start of a program.
    Exec {
        /// Rounds without and with the agent.
        #[arg(long)]
        rounds: u32,
        /// Starts in a sample.
        #[arg(long)]
        starts: u32,
        /// Write the numbers there as JSON.
        #[arg(long)]
        json: Option<PathBuf>,
        /// Put the tables into this page.
        #[arg(long)]
        page: Option<PathBuf>,
    },
}

fn main() -> anyhow::Result<()> {
    let Part::Exec {
        rounds,
        starts,
        json,
        page,
    } = Arguments::parse().part;
    let report = exec::run(exec::Options { rounds, starts })?;
    println!("{}", report.table());
    if let Some(file) = json {
        std::fs::write(&file, format!("{:#}\n", report.to_json()))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(page) = page {
        report.write_to_page(&page)?;
    }
    Ok(())
}
