//! One run of a virtual machine.
//!
//! Input: kernel, first root and disks ([`Setup`]), a directory for what it writes. Output: how it ended, with its console
//! and what it kept; what the tests write is passed on as it comes. Failure: QEMU does not start or refuses its arguments.
//!
//! Without acceleration: it works everywhere, and a machine on which the kernels are tested may be virtual itself.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often the machine's output is looked at.
const PAUSE: Duration = Duration::from_millis(100);
/// Bytes of the tests' output that are passed on. Beyond it nothing is, which is told: a test that writes without end
/// must not fill a log.
const OUTPUT_MAX: usize = 4 << 20;

/// Bytes of the disk on which a machine keeps what is to be known of it afterwards.
const KEPT_MAX: u64 = 4 << 20;

/// What a machine is made of.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The kernel's image.
    pub kernel: &'a Path,
    /// The kernel's first root.
    pub initramfs: &'a Path,
    /// Images of the first and the second disk. What the machine writes to them is lost.
    pub disks: [&'a Path; 2],
    /// Words for the kernel's command line besides the machine's own.
    pub append: &'a str,
    /// Each instruction takes a nanosecond of the machine's time, and waiting takes none: what is timed is the same in each run.
    pub counts_instructions: bool,
}

/// How a machine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its tests ran; so many failed.
    Exit(u32),
    /// It ended, or restarted, before it said how its tests did.
    Died,
    /// It was still running when time was up.
    Hung,
}

/// What a machine did.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// What it wrote to its third disk.
    pub kept: String,
    /// What its tests wrote.
    pub output: String,
    console: String,
}

impl Outcome {
    /// The last lines of the console, each indented.
    pub fn console_tail(&self, count: usize) -> String {
        let lines: Vec<&str> = self
            .console
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let mut text = String::new();
        for line in &lines[lines.len().saturating_sub(count)..] {
            text += "    | ";
            text.extend(line.chars().filter(|c| !c.is_control()));
            text.push('\n');
        }
        text
    }

    /// What the kernel warned of: it went on, but somebody should look.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        // The text of the warning, if it has one, stands in the line between.
        let mut lines = self.console.lines();
        std::iter::from_fn(move || {
            lines.by_ref().find(|line| line.contains("[ cut here ]"))?;
            lines.next().map(str::trim)
        })
    }
}

/// A child that does not outlive its owner.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // It may have ended, then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a machine and waits for its end, at most for `patience`.
pub fn run(setup: &Setup<'_>, directory: &Path, patience: Duration) -> Result<Outcome> {
    let (console, output) = (directory.join("console.log"), directory.join("output.log"));
    let kept = directory.join("kept");
    for file in [&console, &output, &kept] {
        File::create(file).with_context(|| format!("cannot make {}", file.display()))?;
    }
    File::options()
        .write(true)
        .open(&kept)
        .and_then(|file| file.set_len(KEPT_MAX))
        .with_context(|| format!("cannot make {}", kept.display()))?;
    let messages = directory.join("qemu.log");
    let errors = File::create(&messages).with_context(|| format!("cannot make {}", messages.display()))?;
    let mut command = command(setup, [&console, &output], &kept);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let mut machine = Machine(command.spawn().context("cannot run qemu-system-x86_64")?);
    let mut follow = Follow::new(&output)?;
    let started = Instant::now();
    let status = loop {
        let ended = machine.0.try_wait().context("cannot wait for QEMU")?;
        follow.pass_on()?;
        if ended.is_some() || started.elapsed() > patience {
            break ended;
        }
        std::thread::sleep(PAUSE);
    };
    drop(machine);
    if let Some(status) = status.filter(|status| !status.success()) {
        let text = std::fs::read_to_string(&messages).unwrap_or_default();
        bail!("QEMU failed: {status}\n{}", text.trim());
    }
    let console = text_of(&console)?;
    let end = match (verdict(&console), status) {
        (Some(failed), _) => End::Exit(failed),
        (None, Some(_)) => End::Died,
        (None, None) => End::Hung,
    };
    Ok(Outcome {
        end,
        kept: text_of(&kept)?.trim_end_matches('\0').to_owned(),
        output: text_of(&output)?,
        console,
    })
}

/// QEMU's command line.
fn command(setup: &Setup<'_>, serial_ports: [&Path; 2], kept: &Path) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
        // With cx16 a machine with two CPUs died in an oops. With the others the kernel copies and clears memory by one
        // instruction that is emulated byte by byte. With a thread for each CPU a machine died in an oops, at a breakpoint that the
        // other CPU had just taken away from the code (`int3`): such code is changed when a hook is attached.
        .args([
            "-accel",
            "tcg,thread=single",
            "-machine",
            "q35",
            "-cpu",
            "max,-cx16,-erms,-fsrm",
        ])
        .args(["-smp", "2", "-m", "2048"])
        .arg("-kernel")
        .arg(setup.kernel)
        .arg("-initrd")
        .arg(setup.initramfs)
        // A panic restarts at once, which ends QEMU. Another clock than this would be a device, asked at great cost.
        .arg("-append")
        .arg(format!(
            "console=ttyS0 panic=-1 mitigations=off tsc=reliable clocksource=tsc {}",
            setup.append
        ));
    if setup.counts_instructions {
        command.args(["-icount", "shift=0,sleep=off"]);
    }
    for port in serial_ports {
        command.arg("-serial").arg(format!("file:{}", port.display()));
    }
    for image in setup.disks {
        command.arg("-drive").arg(format!(
            "if=virtio,format=raw,cache=unsafe,snapshot=on,file={}",
            image.display()
        ));
    }
    command.arg("-drive").arg(format!(
        "if=virtio,format=raw,cache=unsafe,file={}",
        kept.display()
    ));
    command
}

fn text_of(file: &Path) -> Result<String> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the first process said at last: a line `EXIT n`.
fn verdict(console: &str) -> Option<u32> {
    let line = console
        .lines()
        .rev()
        .find_map(|line| line.trim().strip_prefix("EXIT "))?;
    line.trim().parse().ok()
}

/// A file that grows, passed on to standard output.
struct Follow {
    file: File,
    passed_bytes: usize,
}

impl Follow {
    fn new(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self {
            file,
            passed_bytes: 0,
        })
    }

    fn pass_on(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        self.file
            .read_to_end(&mut bytes)
            .context("cannot read the tests' output")?;
        // A terminal in the machine ends lines with a carriage return.
        bytes.retain(|&byte| byte != b'\r');
        let was_below = self.passed_bytes < OUTPUT_MAX;
        self.passed_bytes += bytes.len();
        if self.passed_bytes <= OUTPUT_MAX {
            let mut stdout = std::io::stdout().lock();
            stdout
                .write_all(&bytes)
                .and_then(|()| stdout.flush())
                .context("cannot write")?;
        } else if was_below {
            eprintln!("  the tests wrote more than {OUTPUT_MAX} bytes: the rest is not shown");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(console: &str) -> Outcome {
        Outcome {
            end: End::Died,
            kept: String::new(),
            output: String::new(),
            console: console.to_owned(),
        }
    }

    #[test]
    fn the_verdict_is_a_line_of_its_own() {
        assert_eq!(
            verdict("[ 1.0] boot\r\n\r\nEXIT 0\r\n[ 2.0] Power down\r\n"),
            Some(0)
        );
        assert_eq!(verdict("EXIT 3\n"), Some(3));
        assert_eq!(verdict("[ 1.0] Kernel panic - EXIT 0\n"), None);
        assert_eq!(verdict("EXIT \n"), None);
    }

    #[test]
    fn warnings_are_found_and_the_tail_is_the_end() {
        let outcome = outcome(
            "one\n[ 5.3] ----[ cut here ]----\n[ 5.3] something is off\n[ 5.4] WARNING: x\nlast\x1b\n",
        );
        assert_eq!(
            outcome.warnings().collect::<Vec<_>>(),
            ["[ 5.3] something is off"]
        );
        assert_eq!(outcome.console_tail(2), "    | [ 5.4] WARNING: x\n    | last\n");
    }
}
