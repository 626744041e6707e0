//! What tests in a virtual machine came to.
//!
//! Input: the lines that the machine wrote to its third disk, and its tests' output. Output: [`Results`]. Failure: none; what
//! the machine did not get to is not in it.

use serde_json::Value;

use crate::not_here;

/// What is known of one kernel's run.
#[derive(Debug, Default)]
pub struct Results {
    /// What `driftlock doctor --json` printed.
    pub doctor: Option<Value>,
    /// The files of tests, in the order in which they ran.
    pub files: Vec<File>,
    /// What tests could not try on this kernel: test, what and reason.
    pub not_here: Vec<String>,
}

/// A file of tests.
#[derive(Debug, PartialEq, Eq)]
pub struct File {
    /// Its name, without extension.
    pub name: String,
    /// Whether all that ran passed.
    pub passed: bool,
    /// How long it took.
    pub seconds: u64,
    /// Its tests that passed.
    pub tests_passed: Vec<String>,
    /// Its tests that did not.
    pub tests_failed: Vec<String>,
}

impl Results {
    /// From the lines that the machine kept and the output that it wrote.
    pub fn parse(kept: &str, output: &str) -> Self {
        let doctor = kept.lines().find_map(|line| line.strip_prefix("doctor "));
        let mut files: Vec<File> = kept.lines().filter_map(file).collect();
        for (name, test, passed) in tests(output) {
            if let Some(file) = files.iter_mut().find(|file| file.name == name) {
                let list = if passed {
                    &mut file.tests_passed
                } else {
                    &mut file.tests_failed
                };
                list.push(test);
            }
        }
        Self {
            doctor: doctor.and_then(|text| serde_json::from_str(text).ok()),
            files,
            not_here: not_here::parse(kept),
        }
    }
}

/// What `driftlock doctor --json` said, as lines for people: what the kernel can do per domain, then what was checked.
pub fn doctor_lines(doctor: &Value) -> Vec<String> {
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let each = |name: &str, line: fn([String; 3]) -> String, fields: [&str; 3]| {
        let list = doctor[name].as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter()
            .map(|of| line(fields.map(|field| text(of, field))))
            .collect::<Vec<_>>()
    };
    let mut lines = each(
        "tiers",
        |[domain, can, reason]| format!("{domain:<8} {can:<8} {reason}"),
        ["domain", "can", "reason"],
    );
    lines.extend(each(
        "checks",
        |[result, name, detail]| format!("{result:<8} {name}: {detail}"),
        ["result", "name", "detail"],
    ));
    lines
}

/// `file NAME STATUS SECONDS`.
fn file(line: &str) -> Option<File> {
    let mut words = line.strip_prefix("file ")?.split(' ');
    let name = words.next()?.to_owned();
    let status: i32 = words.next()?.parse().ok()?;
    let seconds = words.next()?.parse().ok()?;
    Some(File {
        name,
        passed: status == 0,
        seconds,
        tests_passed: Vec::new(),
        tests_failed: Vec::new(),
    })
}

/// File, name and success of each test that ended: `test NAME ... ok`, between which a test may have written lines of its own.
fn tests(output: &str) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    let mut file = "";
    let mut running: Option<&str> = None;
    for line in output.lines().map(|line| line.trim_end_matches('\r')) {
        if let Some(rest) = line.strip_prefix("vm: tests/") {
            file = rest.split(".rs").next().unwrap_or_default();
            running = None;
            continue;
        }
        let mut word = line;
        if let Some((name, rest)) = line
            .strip_prefix("test ")
            .and_then(|line| line.split_once(" ... "))
        {
            running = Some(name);
            word = rest;
        }
        let passed = match word {
            "ok" => true,
            "FAILED" => false,
            _ => continue,
        };
        if let Some(name) = running.take() {
            found.push((file.to_owned(), name.to_owned(), passed));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "vm: tests/one.rs on 6.1\r\n\r\nrunning 3 tests\r\ntest a ... ok\r\n\
        test b ... a word of its own\r\nnot on this kernel: one: b: why\r\nok\r\ntest c ... ignored\r\n\
        vm: tests/two.rs on 6.1\r\ntest a ... FAILED\r\nok\r\n";

    #[test]
    fn each_test_is_found_in_its_file_whatever_it_wrote() {
        let found = tests(OUTPUT);
        let found: Vec<_> = found
            .iter()
            .map(|(file, test, passed)| (file.as_str(), test.as_str(), *passed))
            .collect();
        assert_eq!(
            found,
            [("one", "a", true), ("one", "b", true), ("two", "a", false)]
        );
    }

    #[test]
    fn what_doctor_said_is_shown_by_line() {
        let doctor = serde_json::json!({
            "tiers": [{"domain": "exec", "can": "deny", "reason": "proved"}],
            "checks": [{"name": "kernel", "result": "ok", "detail": "6.1", "hint": null}],
        });
        assert_eq!(
            doctor_lines(&doctor),
            ["exec     deny     proved", "ok       kernel: 6.1"]
        );
        assert!(doctor_lines(&Value::Null).is_empty());
    }

    #[test]
    fn what_the_machine_kept_is_read() {
        let kept =
            "doctor {\"tiers\":[]} \nnot on this kernel: one: b: why\nfile one 0 12\nfile two 101 3\n\0\0";
        let results = Results::parse(kept, OUTPUT);
        assert!(results.doctor.is_some_and(|doctor| doctor["tiers"].is_array()));
        assert_eq!(results.not_here, ["one: b: why"]);
        assert_eq!(results.files.len(), 2);
        assert_eq!(
            (
                results.files[0].passed,
                results.files[0].seconds,
                results.files[0].tests_passed.len()
            ),
            (true, 12, 2)
        );
        assert_eq!(
            (results.files[1].passed, results.files[1].tests_failed.len()),
            (false, 1)
        );
    }
}
