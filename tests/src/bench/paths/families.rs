//! Names that real tools draw for their temporary files, and others that vary by design.
//!
//! Input: the tools that are installed. Output: for each family of names the forms of its samples. Failure: a tool that is there
//! and fails.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::Forms;

/// A family of names.
pub struct Family {
    /// What draws them.
    pub name: &'static str,
    /// Its samples; `None` if the tool is not here.
    pub forms: Option<Forms>,
}

/// Names of each family that is cheap to draw.
const SAMPLES: usize = 2_000;
/// Of a family where each name takes a start of its tool.
const SAMPLES_OF_STARTS: usize = 300;

/// All families.
pub fn all() -> anyhow::Result<Vec<Family>> {
    let scratch = tempfile::tempdir().context("cannot make a directory")?;
    let scratch = scratch.path();
    Ok(vec![
        family("mktemp, `tmp.XXXXXXXXXX`", mktemp(scratch, "tmp.XXXXXXXXXX")?),
        family(
            "mktemp, `name.XXXXXX`, as mkstemp draws",
            mktemp(scratch, "name.XXXXXX")?,
        ),
        family("mktemp, `name-XXXXXX`", mktemp(scratch, "name-XXXXXX")?),
        family(
            "mktemp, `nameXXXXXX`, nothing between",
            mktemp(scratch, "nameXXXXXX")?,
        ),
        family("Python, `tempfile.mkstemp()`", python(scratch, "")?),
        family("Python, `tempfile.mkstemp('.json')`", python(scratch, ".json")?),
        family("GCC, `/tmp/ccXXXXXX.s`", gcc(scratch)?),
        family("Go, `os.CreateTemp(\"\", \"\")`", go(scratch, "")?),
        family(
            "Go, `os.CreateTemp(\"\", \"app-*.txt\")`",
            go(scratch, "app-*.txt")?,
        ),
        family("Go, `go run` itself", go_build(scratch)?),
        family("git, objects", git(scratch)?),
        family("Rust's crate tempfile", Some(rust(scratch)?)),
        family("the kernel's uuids, `UUID.json`", Some(uuids()?)),
        family(
            "numbers within a name, `name-N.log`, N from 1 to 32,768",
            Some(numbers()),
        ),
    ])
}

fn family(name: &'static str, paths: Option<Vec<String>>) -> Family {
    let forms = paths.map(|paths| Forms::of(paths.into_iter().map(String::into_bytes)));
    Family { name, forms }
}

/// What a tool prints; `None` if it is not there.
fn output(command: &mut Command) -> anyhow::Result<Option<String>> {
    let output = match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        output => output.with_context(|| format!("cannot run {command:?}"))?,
    };
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    // Where each tool says it: GCC shows what it would run on standard error.
    let text = [output.stdout, output.stderr].concat();
    Ok(Some(String::from_utf8_lossy(&text).into_owned()))
}

/// A name in a directory that is made for this, as if it were in `/tmp`.
fn in_tmp(path: &str) -> String {
    let name = Path::new(path.trim()).file_name().unwrap_or_default();
    format!("/tmp/{}", name.to_string_lossy())
}

/// Lines of a tool's, each a path.
fn lines(command: &mut Command) -> anyhow::Result<Option<Vec<String>>> {
    Ok(output(command)?.map(|text| text.lines().map(in_tmp).collect()))
}

fn mktemp(scratch: &Path, template: &str) -> anyhow::Result<Option<Vec<String>>> {
    let script = format!("i=0; while [ $i -lt {SAMPLES} ]; do mktemp -u \"$1\" || exit 1; i=$((i+1)); done");
    let template = scratch.join(template);
    lines(Command::new("sh").args(["-c", &script, "sh"]).arg(template))
}

fn python(scratch: &Path, suffix: &str) -> anyhow::Result<Option<Vec<String>>> {
    let script = "import os, sys, tempfile\n\
        for _ in range(int(sys.argv[3])):\n    \
            handle, name = tempfile.mkstemp(sys.argv[2], dir=sys.argv[1]); os.close(handle); os.unlink(name); print(name)";
    lines(
        Command::new("python3")
            .args(["-c", script])
            .arg(scratch)
            .args([suffix, &SAMPLES.to_string()]),
    )
}

/// What it would call its assembler with, without running it.
fn gcc(scratch: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let mut names = Vec::new();
    for _ in 0..SAMPLES_OF_STARTS {
        let mut command = Command::new("gcc");
        command
            .args(["-###", "-c", "-x", "c", "/dev/null", "-o"])
            .arg(scratch.join("object"));
        let Some(text) = output(command.env("TMPDIR", scratch))? else {
            return Ok(None);
        };
        let mut words = text.split_whitespace().map(|word| word.trim_matches('"'));
        let name = words.rfind(|word| {
            Path::new(word)
                .extension()
                .is_some_and(|extension| extension == "s")
        });
        names.push(in_tmp(
            name.with_context(|| format!("GCC names no file: {text}"))?,
        ));
    }
    Ok(Some(names))
}

/// A program that makes temporary files and prints their names, the last line its own.
const GO: &str = r#"package main

import ("fmt"; "os"; "strconv")

func main() {
	count, _ := strconv.Atoi(os.Args[3])
	for i := 0; i < count; i++ {
		file, err := os.CreateTemp(os.Args[1], os.Args[2])
		if err != nil { panic(err) }
		fmt.Println(file.Name())
		file.Close()
		os.Remove(file.Name())
	}
}
"#;

fn go(scratch: &Path, pattern: &str) -> anyhow::Result<Option<Vec<String>>> {
    let program = scratch.join("temporary");
    if !program.exists() {
        let source = scratch.join("temporary.go");
        std::fs::write(&source, GO)?;
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&program).arg(&source);
        // The machine's settings for modules do not matter to a file by itself.
        if output(
            build
                .env("GO111MODULE", "off")
                .env("GOCACHE", scratch.join("cache")),
        )?
        .is_none()
        {
            return Ok(None);
        }
    }
    lines(
        Command::new(program)
            .arg(scratch)
            .args([pattern, &SAMPLES.to_string()]),
    )
}

/// Where the go tool says that it works.
fn go_build(scratch: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let mut names = HashSet::new();
    for _ in 0..SAMPLES_OF_STARTS / 15 {
        let mut command = Command::new("go");
        command
            .args(["build", "-work", "-o", "/dev/null"])
            .arg(scratch.join("temporary.go"))
            .env("GO111MODULE", "off")
            .env("GOCACHE", scratch.join("cache"))
            .env("GOTMPDIR", scratch);
        let Some(text) = output(&mut command)? else {
            return Ok(None);
        };
        let work = text.lines().find_map(|line| line.trim().strip_prefix("WORK="));
        let work = work.with_context(|| format!("go does not say where it works: {text}"))?;
        names.insert(in_tmp(work) + "/b001/importcfg");
    }
    Ok(Some(names.into_iter().collect()))
}

/// The objects of a repository with as many files.
fn git(scratch: &Path) -> anyhow::Result<Option<Vec<String>>> {
    let repository = scratch.join("repository");
    std::fs::create_dir(&repository)?;
    for number in 0..SAMPLES {
        std::fs::write(repository.join(format!("file{number}")), number.to_string())?;
    }
    for words in [["init", "--quiet"], ["add", "."]] {
        let mut command = Command::new("git");
        command
            .args(["-c", "gc.auto=0"])
            .args(words)
            .current_dir(&repository);
        if output(&mut command)?.is_none() {
            return Ok(None);
        }
    }
    let mut names = Vec::new();
    for directory in std::fs::read_dir(repository.join(".git/objects"))?.flatten() {
        let above = directory.file_name().to_string_lossy().into_owned();
        for object in std::fs::read_dir(directory.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let object = object.file_name().to_string_lossy().into_owned();
            names.push(format!("/repository/.git/objects/{above}/{object}"));
        }
    }
    Ok(Some(names))
}

fn rust(scratch: &Path) -> anyhow::Result<Vec<String>> {
    (0..SAMPLES)
        .map(|_| {
            let file = tempfile::NamedTempFile::new_in(scratch)?;
            Ok(in_tmp(&file.path().to_string_lossy()))
        })
        .collect()
}

fn uuids() -> anyhow::Result<Vec<String>> {
    (0..SAMPLES)
        .map(|_| {
            let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
            Ok(format!("/var/spool/{}.json", uuid.trim()))
        })
        .collect()
}

fn numbers() -> Vec<String> {
    (1..=32_768)
        .map(|number| format!("/run/name-{number}.log"))
        .collect()
}
