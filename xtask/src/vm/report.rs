//! `docs/kernel-support.md`: what each kernel can do, as it was seen.
//!
//! Input: for each kernel what `driftlock doctor --json` printed there and what its tests came to. Output: the page. Failure: a
//! `doctor` that names no tiers. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde_json::Value;

use super::results::Results;

/// The domains, in the order of their columns.
const DOMAINS: [&str; 5] = ["exec", "library", "file", "cap", "syscall"];

const HEAD: &str = "\
# What each kernel can do

Written by `cargo xtask vm --kernel all`: not by hand. Each kernel is Debian's, as it boots without further words on its command
line, in a virtual machine with a container runtime. The last row is the machine on which the command ran.

- **deny**: the operation is refused, the caller sees \"Permission denied\".
- **kill**: the process is killed before the program's first instruction.
- **observe**: it is reported.
- **none**: it is not seen.

Each was proved by the agent when it started, by trying it (`driftlock doctor` says the same on your machine).
";

/// A kernel's row.
#[derive(Debug)]
pub struct Row<'a> {
    /// The kernel's release.
    pub kernel: &'a str,
    /// What was found out about it. Without files of tests where none ran.
    pub results: &'a Results,
}

/// The page.
pub fn page(rows: &[Row<'_>]) -> Result<String> {
    let mut text = HEAD.to_owned();
    text.push('\n');
    table(
        &mut text,
        &["kernel", "exec", "library", "file", "cap", "syscall"],
    );
    let mut reasons: BTreeMap<(usize, String, String), Vec<&str>> = BTreeMap::new();
    for row in rows {
        let mut cells = vec![row.kernel.to_owned()];
        for (position, domain) in DOMAINS.iter().enumerate() {
            let (can, reason) = tier(row.results.doctor.as_ref(), domain)
                .with_context(|| format!("the agent says nothing of {domain} on {}", row.kernel))?;
            reasons
                .entry((position, can.clone(), reason))
                .or_default()
                .push(row.kernel);
            cells.push(can);
        }
        line(&mut text, &cells);
    }
    text.push_str("\n## Why\n\n");
    table(&mut text, &["domain", "can", "why", "where"]);
    for ((position, can, reason), kernels) in &reasons {
        let domain = DOMAINS[*position];
        line(&mut text, &[domain, can, reason, &kernels.join(", ")]);
    }
    text.push_str("\n## Tests\n\n");
    text.push_str("The same executables as `cargo xtask test` runs. Number of tests that passed, of each file of `tests/tests`:\n\n");
    tests(&mut text, rows);
    text.push_str("\n## Not on this kernel\n\n");
    text.push_str("What a test could not try, after it had asserted that the agent says why:\n\n");
    for row in rows {
        for lack in &row.results.not_here {
            let _ = writeln!(text, "- {}: {lack}", row.kernel);
        }
    }
    Ok(text)
}

/// The most that can be done in a domain, and why.
fn tier(doctor: Option<&Value>, domain: &str) -> Option<(String, String)> {
    let tier = doctor?["tiers"]
        .as_array()?
        .iter()
        .find(|tier| tier["domain"] == domain)?;
    Some((
        tier["can"].as_str()?.to_owned(),
        tier["reason"].as_str()?.to_owned(),
    ))
}

/// A row for each file of tests, a column for each kernel on which tests ran.
fn tests(text: &mut String, rows: &[Row<'_>]) {
    let rows: Vec<_> = rows.iter().filter(|row| !row.results.files.is_empty()).collect();
    let mut files: Vec<&str> = Vec::new();
    for file in rows.iter().flat_map(|row| &row.results.files) {
        if !files.contains(&file.name.as_str()) {
            files.push(&file.name);
        }
    }
    let mut head = vec!["file"];
    head.extend(rows.iter().map(|row| row.kernel));
    table(text, &head);
    for name in files {
        let mut cells = vec![name.to_owned()];
        for row in &rows {
            let file = row.results.files.iter().find(|file| file.name == name);
            cells.push(file.map_or_else(String::new, |file| file.tests_passed.len().to_string()));
        }
        line(text, &cells);
    }
}

/// A table's head.
fn table(text: &mut String, names: &[&str]) {
    line(text, names);
    line(text, &vec!["---"; names.len()]);
}

/// A table's line. What would end a cell is written otherwise.
fn line(text: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        let _ = write!(
            text,
            "| {} ",
            cell.as_ref().replace('|', "\\|").replace('\n', " ")
        );
    }
    text.push_str("|\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results(can: &str, reason: &str, not_here: &str) -> Results {
        let tiers: Vec<Value> = DOMAINS
            .iter()
            .map(|domain| serde_json::json!({"domain": domain, "can": can, "reason": reason}))
            .collect();
        let doctor = serde_json::json!({ "tiers": tiers });
        let kept = format!("doctor {doctor}\nnot on this kernel: {not_here}\nfile one 0 1\n");
        Results::parse(&kept, "vm: tests/one.rs on x\ntest a ... ok\n")
    }

    #[test]
    fn a_page_says_what_each_kernel_can_and_why() {
        let (old, new) = (
            results("kill", "no a|b", "one: x: no a"),
            results("deny", "proved", "two: y: z"),
        );
        let rows = [
            Row {
                kernel: "5.10",
                results: &old,
            },
            Row {
                kernel: "6.1",
                results: &new,
            },
        ];
        let page = page(&rows).expect("complete");
        assert!(
            page.contains("| 5.10 | kill | kill | kill | kill | kill |\n"),
            "{page}"
        );
        assert!(page.contains("| exec | deny | proved | 6.1 |\n"), "{page}");
        assert!(page.contains("no a\\|b"), "{page}");
        assert!(
            page.contains("| file | 5.10 | 6.1 |\n| --- | --- | --- |\n| one | 1 | 1 |\n"),
            "{page}"
        );
        assert!(page.contains("- 5.10: one: x: no a\n"), "{page}");
    }

    #[test]
    fn a_kernel_without_tiers_makes_no_page() {
        let nothing = Results::default();
        let rows = [Row {
            kernel: "5.10",
            results: &nothing,
        }];
        assert!(
            page(&rows)
                .expect_err("incomplete")
                .to_string()
                .contains("exec on 5.10")
        );
    }
}
