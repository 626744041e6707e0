//! From what strace writes to behaviours.
//!
//! Input: its files, one per process, with the paths of descriptors (`-ff -y`). Output: programs that were executed, files that were opened and
//! how, and the names of system calls. What did not succeed is a system call and nothing else. Failure: a file that cannot be read. A
//! line that is not understood is skipped, as signals and exits are.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::windows::Behaviour;

/// All behaviours of the processes whose traces lie in `directory`.
pub fn read_all(directory: &Path) -> Result<BTreeSet<Behaviour>> {
    let mut all = BTreeSet::new();
    let entries =
        std::fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("cannot read {}", directory.display()))?
            .path();
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        for line in String::from_utf8_lossy(&bytes).lines() {
            all.extend(behaviours(line));
        }
    }
    Ok(all)
}

/// What one line tells.
fn behaviours(line: &str) -> Vec<Behaviour> {
    let Some((call, rest)) = line.split_once('(') else {
        return Vec::new();
    };
    let is_name = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !is_name(call) {
        return Vec::new();
    }
    let mut found = vec![behaviour("syscall", call.to_owned())];
    // The result stands behind the last sign of equality: arguments may hold others, paths hardly.
    let Some((arguments, result)) = rest.rsplit_once(") = ").or_else(|| rest.rsplit_once(" = ")) else {
        return found;
    };
    match call {
        "execve" | "execveat" if result.starts_with('0') => {
            found.extend(quoted(arguments).map(|path| behaviour("exec", path.to_owned())));
        }
        "open" | "openat" | "openat2" | "creat" => {
            let opened =
                opened(result).map(|path| behaviour("file", format!("{} {path}", manner(call, arguments))));
            found.extend(opened);
        }
        _ => {}
    }
    found
}

fn behaviour(domain: &'static str, text: String) -> Behaviour {
    Behaviour { domain, text }
}

/// The first quoted argument.
fn quoted(arguments: &str) -> Option<&str> {
    arguments.split('"').nth(1)
}

/// The file behind a new descriptor, `3</etc/passwd>`, if it has a path.
fn opened(result: &str) -> Option<&str> {
    let (number, path) = result.split_once('<')?;
    let path = path.strip_suffix('>')?;
    (number.bytes().all(|byte| byte.is_ascii_digit()) && path.starts_with('/')).then_some(path)
}

/// How it is opened, in the words of domain file.
fn manner(call: &str, arguments: &str) -> &'static str {
    if call == "creat" || arguments.contains("O_CREAT") {
        "create"
    } else if arguments.contains("O_WRONLY") || arguments.contains("O_RDWR") {
        "write"
    } else {
        "read"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(line: &str) -> Vec<String> {
        let found = behaviours(line).into_iter();
        found.map(|one| format!("{} {}", one.domain, one.text)).collect()
    }

    #[test]
    fn a_program_that_runs_is_one_and_a_failed_one_is_not() {
        assert_eq!(
            texts(r#"execve("/usr/bin/ls", [""...], 0x7ffd /* 4 vars */) = 0"#),
            ["syscall execve", "exec /usr/bin/ls"]
        );
        assert_eq!(
            texts(
                r#"execve("/bin/no", [""...], 0x7ffd /* 4 vars */) = -1 ENOENT (No such file or directory)"#
            ),
            ["syscall execve"]
        );
    }

    #[test]
    fn a_file_is_told_by_where_its_descriptor_leads() {
        assert_eq!(
            texts(r#"openat(AT_FDCWD</tmp>, "x", O_RDONLY|O_CLOEXEC) = 3</tmp/x>"#),
            ["syscall openat", "file read /tmp/x"]
        );
        assert_eq!(
            texts(r#"openat(AT_FDCWD</tmp>, "x", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 4</tmp/x>"#),
            ["syscall openat", "file create /tmp/x"]
        );
        assert_eq!(
            texts(r#"open("/dev/null", O_RDWR) = 3</dev/null<char 1:3>>"#),
            ["syscall open", "file write /dev/null<char 1:3>"]
        );
        assert_eq!(
            texts(r#"openat(AT_FDCWD</tmp>, "y", O_RDONLY) = -1 ENOENT (No such file or directory)"#),
            ["syscall openat"]
        );
    }

    #[test]
    fn what_is_no_call_tells_nothing() {
        for line in ["+++ exited with 0 +++", "", "--- SIGCHLD ---", "?(", "= 3"] {
            assert_eq!(texts(line), Vec::<String>::new(), "{line}");
        }
        assert_eq!(texts("exit_group(0) = ?"), ["syscall exit_group"]);
        assert_eq!(
            texts("read(3<pipe:[1]>, "),
            ["syscall read"],
            "it never came back"
        );
    }
}
