//! `cargo xtask setup`: what the other commands need, found or installed.
//!
//! Input: for which commands. Output: the machine has what they need, and [`Tools`] says where. Failure: a list of
//! what is missing with the packages that would bring it, or the end of the output of the installer that failed.
//!
//! Nothing is done twice: each need is looked for first, and only what is not there is installed.

mod cargo_tools;
mod debian;
mod ebpf_toolchain;
mod go_tools;
mod missing;
mod needs;
mod path;
mod python_packages;

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::process;
use cargo_tools::CargoTool;
pub use cargo_tools::cargo;
use debian::Apt;
pub use ebpf_toolchain::Compiler;
use go_tools::GoTool;
use needs::Need;
pub use path::{is_executable, is_root, on_path, tools as cache, workspace};

/// What the machine is prepared for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Purpose {
    /// `cargo xtask build`: the eBPF toolchain.
    Build,
    /// `cargo xtask check`: rustfmt, clippy, cargo-deny, typos.
    Check,
    /// `cargo xtask test`: the toolchain and a container runtime.
    Test,
    /// `cargo xtask demo`: the toolchain and a container runtime.
    Demo,
    /// `cargo xtask bench`: the toolchain and a container runtime.
    Bench,
    /// `cargo xtask fuzz`: a C++ compiler for the engine.
    Fuzz,
    /// `cargo xtask vm`: the toolchain and a virtual machine.
    Vm,
}

impl Purpose {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Build,
        Self::Check,
        Self::Test,
        Self::Demo,
        Self::Bench,
        Self::Fuzz,
        Self::Vm,
    ];

    fn needs_linker(self) -> bool {
        !matches!(self, Self::Check | Self::Fuzz)
    }

    fn needs_containers(self) -> bool {
        // A virtual machine runs this machine's container runtime.
        matches!(self, Self::Test | Self::Demo | Self::Bench | Self::Vm)
    }
}

/// Where the things are that were asked for. What no purpose asked for is `None`.
#[derive(Debug, Default)]
pub struct Tools {
    /// The compiler for the kernel programs.
    pub compiler: Option<Compiler>,
    /// Its linker.
    pub linker: Option<PathBuf>,
    /// cargo-deny.
    pub deny: Option<PathBuf>,
    /// typos.
    pub typos: Option<PathBuf>,
    /// A statically linked busybox.
    pub busybox: Option<PathBuf>,
    /// A Python interpreter that has py-ocsf-models; `None` also where the package index is out of reach.
    pub ocsf_python: Option<PathBuf>,
    /// Helm; `None` also where it cannot be built.
    pub helm: Option<PathBuf>,
    /// Kustomize; as Helm.
    pub kustomize: Option<PathBuf>,
}

/// Finds or installs what `purposes` need and says so line by line.
pub fn run(purposes: &[Purpose]) -> Result<Tools> {
    let started = Instant::now();
    let any = |wanted: fn(Purpose) -> bool| purposes.iter().any(|purpose| wanted(*purpose));
    let mut setup = Setup::default();
    missing::refuse_what_cannot_be_installed(purposes)?;

    let mut tools = Tools::default();
    let compiler = setup.compiler()?;
    if any(Purpose::needs_linker) {
        tools.linker = Some(setup.linker(&compiler)?);
    }
    if any(|purpose| purpose == Purpose::Check) {
        setup.clippy(&compiler);
        setup.rustup_component("rustfmt", "fmt")?;
        setup.rustup_component("clippy", "clippy")?;
        tools.deny = Some(setup.tool(&CargoTool::new("cargo-deny", "cargo-deny", "0.20.2"))?);
        tools.typos = Some(setup.tool(&CargoTool::new("typos-cli", "typos", "1.52.0"))?);
    }
    tools.compiler = Some(compiler);
    for need in machine_needs(purposes) {
        setup.need(need)?;
    }
    if any(Purpose::needs_containers) {
        tools.busybox = Some(setup.busybox()?);
    }
    if any(|purpose| purpose == Purpose::Test) {
        tools.ocsf_python = setup.wanted(
            python_packages::OCSF_MODELS,
            python_packages::OCSF_MODELS_VERSION,
            python_packages::find,
            python_packages::install,
        );
        tools.helm = setup.go_tool(&go_tools::HELM);
        tools.kustomize = setup.go_tool(&go_tools::KUSTOMIZE);
    }
    let count = setup.installed;
    let outcome = match setup.missing.as_slice() {
        [] => "everything is there".to_owned(),
        missing => format!("without {}", missing.join(", ")),
    };
    eprintln!(
        "setup: {count} installed, {outcome} ({:.1} s)",
        started.elapsed().as_secs_f64()
    );
    Ok(tools)
}

/// What Debian packages bring, apart from the eBPF toolchain.
fn machine_needs(purposes: &[Purpose]) -> Vec<&'static Need> {
    let any = |wanted: fn(Purpose) -> bool| purposes.iter().any(|purpose| wanted(*purpose));
    let mut needs = Vec::new();
    if any(Purpose::needs_containers) {
        needs.extend([
            &needs::STATIC_LIBC,
            &needs::DOCKERD,
            &needs::DOCKER,
            &needs::RUNC,
            &needs::TAR,
            &needs::UNSHARE,
        ]);
    }
    if any(|purpose| purpose == Purpose::Test) {
        needs.extend([
            &needs::CONTAINERD,
            &needs::CTR,
            &needs::PODMAN,
            &needs::CRUN,
            &needs::MMDEBSTRAP,
            &needs::MINISIGN,
            &needs::PROMETHEUS,
            &needs::PROMTOOL,
            &needs::CHROMIUM,
            &needs::APPARMOR,
            &needs::SECILC,
            &needs::PYTHON,
            &needs::NATS,
            &needs::RSYSLOG,
            &needs::RSYSLOG_TLS,
        ]);
    }
    if any(|purpose| matches!(purpose, Purpose::Test | Purpose::Vm)) {
        needs.push(&needs::SYSTEMD);
    }
    if any(|purpose| matches!(purpose, Purpose::Check | Purpose::Fuzz)) {
        needs.push(&needs::CXX);
    }
    if any(|purpose| purpose == Purpose::Vm) {
        needs.extend([
            &needs::DBUS,
            &needs::QEMU,
            &needs::XZ,
            &needs::MKFS,
            &needs::STRIP,
        ]);
    }
    needs
}

/// One run of setup.
#[derive(Debug, Default)]
struct Setup {
    apt: Apt,
    installed: usize,
    /// What is wanted, not required, and not there.
    missing: Vec<&'static str>,
}

impl Setup {
    fn compiler(&mut self) -> Result<Compiler> {
        let name = "eBPF compiler";
        let started = Instant::now();
        if let Some(compiler) = ebpf_toolchain::choose() {
            there(
                name,
                &format!(
                    "rustc {} with source, {}",
                    compiler.release,
                    compiler.rustc.display()
                ),
            );
            return Ok(compiler);
        }
        self.apt.install(name, &owned(&COMPILER_PACKAGES))?;
        let compiler = ebpf_toolchain::choose().with_context(|| {
            format!(
                "{} are installed, but that compiler has no library source or an LLVM that bpf-linker does not know: \
                 the packages must be of version 1.91 or later (Debian 12: suite bookworm-security)",
                COMPILER_PACKAGES.join(" and ")
            )
        })?;
        self.done(name, started, &format!("rustc {}", compiler.release));
        Ok(compiler)
    }

    fn linker(&mut self, compiler: &Compiler) -> Result<PathBuf> {
        let tool = compiler.linker();
        let name = tool.package;
        if let Some(program) = compiler.find_linker() {
            there(
                name,
                &format!(
                    "{} for LLVM {}, {}",
                    tool.version,
                    compiler.llvm,
                    program.display()
                ),
            );
            return Ok(program);
        }
        let llvm = format!("LLVM {}", compiler.llvm);
        let directory = if let Some(directory) = compiler.llvm_config() {
            there(&llvm, &directory.display().to_string());
            directory
        } else {
            let started = Instant::now();
            self.apt.install(&llvm, &llvm_packages(compiler.llvm))?;
            let directory = compiler
                .llvm_config()
                .context("LLVM is installed, but not its llvm-config")?;
            self.done(&llvm, started, &directory.display().to_string());
            directory
        };
        let started = Instant::now();
        let program = tool.install(name, Some(&directory))?;
        self.done(
            name,
            started,
            &format!("{} for LLVM {}", tool.version, compiler.llvm),
        );
        Ok(program)
    }

    /// clippy for the kernel programs is wanted but not required: without it the check says that it is skipped.
    fn clippy(&mut self, compiler: &Compiler) {
        let name = "clippy for eBPF";
        if let Some(program) = compiler.clippy() {
            return there(name, &program.display().to_string());
        }
        if !compiler.is_the_systems() || Apt::obstacle().is_some() {
            return eprintln!(
                "  missing        {name:<18} {} has none",
                compiler.rustc.display()
            );
        }
        let started = Instant::now();
        match self.apt.install(name, &owned(&["rust-web-clippy"])) {
            Ok(()) => self.done(name, started, ""),
            Err(error) => eprintln!("  missing        {name:<18} {error:#}"),
        }
    }

    /// A part of the Rust toolchain that runs this program.
    fn rustup_component(&mut self, component: &str, subcommand: &str) -> Result<()> {
        let present = || process::capture(cargo().args([subcommand, "--version"]));
        if let Ok(version) = present() {
            there(component, version.trim());
            return Ok(());
        }
        if path::on_path("rustup").is_none() {
            bail!(
                "{component} is missing: `cargo {subcommand}` does not run, and there is no rustup to install it"
            );
        }
        let started = Instant::now();
        process::hide(
            component,
            Command::new("rustup").args(["component", "add", component]),
        )?;
        self.done(component, started, present()?.trim());
        Ok(())
    }

    fn tool(&mut self, tool: &CargoTool) -> Result<PathBuf> {
        if let Some(program) = tool.find() {
            there(tool.package, &format!("{}, {}", tool.version, program.display()));
            return Ok(program);
        }
        let started = Instant::now();
        let program = tool.install(tool.package, None)?;
        self.done(tool.package, started, tool.version);
        Ok(program)
    }

    fn need(&mut self, need: &Need) -> Result<()> {
        if let Some(place) = (need.probe)() {
            there(need.name, &place.display().to_string());
            return Ok(());
        }
        let started = Instant::now();
        self.apt.install_one_of(need.name, need.packages)?;
        let place = (need.probe)().with_context(|| {
            format!(
                "{} is still not there after {} was installed",
                need.name,
                need.packages.join(" or ")
            )
        })?;
        self.done(need.name, started, &place.display().to_string());
        Ok(())
    }

    fn busybox(&mut self) -> Result<PathBuf> {
        let name = "static busybox";
        if let Some(place) = needs::busybox() {
            there(name, &place.display().to_string());
            return Ok(place);
        }
        let started = Instant::now();
        let directory = needs::busybox_directory().context("no home directory to unpack busybox into")?;
        self.apt.extract(name, needs::BUSYBOX_PACKAGE, &directory)?;
        let place = needs::busybox().with_context(|| format!("{} holds no busybox", directory.display()))?;
        self.done(name, started, &place.display().to_string());
        Ok(place)
    }

    /// What is neither in Debian nor a crate: wanted but not required, the test says that it is skipped.
    fn wanted(
        &mut self,
        name: &'static str,
        version: &str,
        find: impl Fn() -> Option<PathBuf>,
        install: impl Fn(&str) -> Result<PathBuf>,
    ) -> Option<PathBuf> {
        if let Some(place) = find() {
            there(name, &format!("{version}, {}", place.display()));
            return Some(place);
        }
        let started = Instant::now();
        match install(name) {
            Ok(place) => {
                self.done(name, started, version);
                Some(place)
            }
            Err(error) => {
                eprintln!("  missing        {name:<18} {error:#}");
                self.missing.push(name);
                None
            }
        }
    }

    fn go_tool(&mut self, tool: &GoTool) -> Option<PathBuf> {
        self.wanted(
            tool.program,
            tool.version,
            || tool.find(),
            |step| tool.install(step),
        )
    }

    fn done(&mut self, name: &str, started: Instant, detail: &str) {
        self.installed += 1;
        let took = format!("{:.0} s", started.elapsed().as_secs_f64());
        eprintln!("  {:<14} {name:<18} {detail}", format!("installed {took}"));
    }
}

fn there(name: &str, detail: &str) {
    eprintln!("  {:<14} {name:<18} {detail}", "already there");
}

/// Debian's compiler for its browsers: the only one in a stable release that is recent, and its library's source.
const COMPILER_PACKAGES: [&str; 2] = ["rustc-web", "rust-web-src"];

fn owned(packages: &[&str]) -> Vec<String> {
    packages.iter().map(|package| (*package).to_owned()).collect()
}

/// What bpf-linker is built with. Polly is a library of its own in Debian, and llvm-config names it.
fn llvm_packages(major: u32) -> Vec<String> {
    vec![format!("llvm-{major}-dev"), format!("libpolly-{major}-dev")]
}
