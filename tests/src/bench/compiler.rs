//! A C compiler for an image, and a program for it to compile.
//!
//! Input: the root filesystem of an image; the machine's `gcc`. Output: in it the compiler with all that it needs, a program with
//! [`HEADERS`] headers of its own, and a script that compiles it ([`COMPILE`]). The program is made here, always the same. Failure: a
//! machine without `gcc`, or one that compiles nothing.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::image;

/// The script, in the image.
pub const COMPILE: &str = "/usr/bin/compile";
/// Headers of the program's own.
pub const HEADERS: usize = 300;
/// Where the program's source is, in the image.
const SOURCE: &str = "/usr/src/bench";
/// The compiler, in the image and on the machine.
const COMPILER: &str = "/usr/bin/gcc";
/// The assembler.
const ASSEMBLER: &str = "/usr/bin/as";

/// Where the compiler writes: its result, and a file with another name each time, `ccXXXXXX.s`.
pub const WRITTEN: &str = "/tmp";

/// The script's text.
const SCRIPT: &str = "#!/bin/sh
PATH=/usr/bin
export PATH
exec gcc -O1 -c -o /tmp/main.o /usr/src/bench/main.c
";

/// Puts all of it into an image's root filesystem.
pub fn install(root: &Path) -> anyhow::Result<()> {
    let source = root.join(&SOURCE[1..]);
    std::fs::create_dir_all(&source)?;
    for number in 0..HEADERS {
        std::fs::write(source.join(file_name(number)), header(number))?;
    }
    std::fs::write(source.join("main.c"), program())?;
    let compiler = said(Command::new(COMPILER).arg("-print-prog-name=cc1"))?;
    for program in [COMPILER, ASSEMBLER, compiler.trim()] {
        ensure!(
            Path::new(program).is_absolute(),
            "{COMPILER} does not say where its compiler is but {program}"
        );
        copy(Path::new(program), root)?;
        for library in image::libraries_of(Path::new(program))? {
            copy(&library, root)?;
        }
    }
    // What the program includes of the system's, as the compiler itself tells it: another list without optimisation.
    let rule = said(
        Command::new(COMPILER)
            .args(["-O1", "-M"])
            .arg(source.join("main.c")),
    )?;
    let included = rule.split_whitespace().map(Path::new);
    for header in included.filter(|path| path.is_absolute() && !path.starts_with(&source)) {
        copy(header, root)?;
    }
    let script = root.join(&COMPILE[1..]);
    std::fs::write(&script, SCRIPT)?;
    Ok(std::fs::set_permissions(
        &script,
        std::fs::Permissions::from_mode(0o755),
    )?)
}

/// What a program of the machine's prints.
fn said(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}: is gcc installed?"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Copies a file of the machine to the same path in the root filesystem.
fn copy(path: &Path, root: &Path) -> anyhow::Result<()> {
    let relative: PathBuf = path.components().skip(1).collect();
    let target = root.join(relative);
    std::fs::create_dir_all(target.parent().context("a file in the root directory")?)?;
    std::fs::copy(path, &target).with_context(|| format!("cannot copy {}", path.display()))?;
    Ok(())
}

fn file_name(number: usize) -> String {
    format!("unit{number:03}.h")
}

/// A header with what headers have: it includes two others, and has constants, types, declarations and a short function.
fn header(number: usize) -> String {
    let name = format!("unit{number:03}");
    let guard = format!("UNIT{number:03}_H");
    let mut text = format!("#ifndef {guard}\n#define {guard}\n\n");
    if let Some(last) = number.checked_sub(1) {
        for other in std::collections::BTreeSet::from([number / 2, last]) {
            let _ = writeln!(text, "#include \"{}\"", file_name(other));
        }
    }
    let (limit, bytes) = (number * 37 % 1000, 16 + number % 48);
    let _ = write!(
        text,
        "
#define UNIT{number:03}_LIMIT {limit}

struct {name} {{
    int number;
    long total;
    char name[{bytes}];
    struct {name} *next;
}};

enum {name}_state {{ UNIT{number:03}_IDLE, UNIT{number:03}_BUSY, UNIT{number:03}_DONE }};

int {name}_open(struct {name} *unit, const char *path);
void {name}_close(struct {name} *unit);

static inline long {name}_step(struct {name} *unit, int by)
{{
    if (by > UNIT{number:03}_LIMIT)
        by = UNIT{number:03}_LIMIT;
    unit->total += (long)unit->number * by;
    return unit->total;
}}

#endif
"
    );
    text
}

/// A program that includes all of them and some of the system's, and uses each.
fn program() -> String {
    let mut text = String::new();
    for header in ["stdio", "stdlib", "string", "unistd"] {
        let _ = writeln!(text, "#include <{header}.h>");
    }
    for number in 0..HEADERS {
        let _ = writeln!(text, "#include \"{}\"", file_name(number));
    }
    text.push_str("\nint main(void)\n{\n    long sum = 0;\n");
    for number in 0..HEADERS {
        let by = number * 7 % 100;
        let _ = writeln!(
            text,
            "    {{ struct unit{number:03} unit = {{ {number}, 0, \"\", NULL }}; sum += unit{number:03}_step(&unit, {by}); }}"
        );
    }
    text.push_str("    printf(\"%ld\\n\", sum);\n    return 0;\n}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_header_is_included_and_used() {
        let program = program();
        for number in [0, HEADERS - 1] {
            assert!(program.contains(&format!("#include \"{}\"", file_name(number))));
            assert!(program.contains(&format!("unit{number:03}_step(&unit")));
        }
        assert!(!header(0).contains("#include"), "{}", header(0));
        let last = header(HEADERS - 1);
        assert!(
            last.contains("#include \"unit298.h\"") && last.contains("#include \"unit149.h\""),
            "{last}"
        );
    }
}
