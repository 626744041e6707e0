//! What Driftlock costs; `cargo xtask bench` runs it.
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;
use serde_json::{Value, json};
use tests::bench::Part;

/// What the command line says.
#[derive(Debug, Parser)]
struct Arguments {
    /// What is measured; all of it if nothing is named.
    part: Option<Part>,
    /// Rounds without and with the agent, instead of what is usual for the part.
    #[arg(long)]
    rounds: Option<u32>,
    /// How often a sample does what is measured, likewise.
    #[arg(long)]
    sample: Option<u32>,
    /// Write the numbers there as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Put the tables into this page.
    #[arg(long)]
    page: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let parts = arguments
        .part
        .map_or_else(|| Part::ALL.to_vec(), |part| vec![part]);
    let mut numbers = Vec::new();
    for part in parts {
        let report = part.run(arguments.rounds, arguments.sample)?;
        println!("{}", report.table());
        if let Some(page) = &arguments.page {
            report.write_to_page(page)?;
        }
        numbers.push(report.to_json());
    }
    let numbers = match numbers.as_slice() {
        [one] => one.clone(),
        several => json!({"schema": "driftlock.bench/v1", "parts": Value::from(several.to_vec())}),
    };
    if let Some(file) = arguments.json {
        std::fs::write(&file, format!("{numbers:#}\n"))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
