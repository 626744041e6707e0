//! The command line as it is typed: flags, environment, help with examples.
//!
//! Input: the program's arguments. Output: [`Arguments`], not yet resolved ([`super::resolve`]). Failure: wrong usage is
//! answered by clap with exit code 2.

mod examples;

use std::path::PathBuf;

use agent_common::domain::{Domain, Mode};
use agent_common::file::{FileOperation, Layer};
use agent_common::syscall::SyscallAbi;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use crate::alert::format::AlertFormat;
use crate::config::{Level, LogFormat};
use crate::tag::Tag as _;
use crate::text::ByteText;

/// Drift prevention and profiling for container nodes.
#[derive(Debug, Parser)]
#[command(name = "driftlock", version, arg_required_else_help = true, after_help = examples::EXIT_CODES)]
pub struct Arguments {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command.
#[derive(Debug, Default, Args)]
pub struct Global {
    /// The agent's control socket [default: /run/driftlock/control.sock]
    #[arg(long, global = true, env = "DRIFTLOCK_SOCKET", hide_env_values = true, value_name = "PATH", help_heading = GLOBAL)]
    pub socket: Option<PathBuf>,
    /// Directory of the profile store [default: /var/lib/driftlock]
    #[arg(long, global = true, env = "DRIFTLOCK_STATE_DIR", hide_env_values = true, value_name = "PATH", help_heading = GLOBAL)]
    pub state_dir: Option<PathBuf>,
    /// Configuration file [default: /etc/driftlock/config.yaml, which may be absent]
    #[arg(long, global = true, env = "DRIFTLOCK_CONFIG", hide_env_values = true, value_name = "FILE", help_heading = GLOBAL)]
    pub config: Option<PathBuf>,
    /// Where maps and links are pinned [default: /sys/fs/bpf/driftlock]
    #[arg(long, global = true, env = "DRIFTLOCK_BPFFS", hide_env_values = true, value_name = "PATH", help_heading = GLOBAL)]
    pub bpffs: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent: alerts as JSON lines on standard output, its log on standard error
    #[command(after_help = examples::RUN_EXAMPLES)]
    Run(Run),
    /// Show how the agent is: what it can do, what it watches, what was lost
    #[command(after_help = examples::STATUS_EXAMPLES)]
    Status(Output),
    /// List the containers that the agent knows
    #[command(after_help = examples::CONTAINERS_EXAMPLES)]
    Containers(Output),
    /// Show or set what happens to deviations: learn, monitor or enforce; or switch a domain off
    #[command(subcommand, after_help = examples::MODE_EXAMPLES)]
    Mode(ModeCommand),
    /// Show and change what images are known to do
    #[command(subcommand, after_help = examples::PROFILE_EXAMPLES)]
    Profile(ProfileCommand),
    /// Show the latest alerts, or follow them
    #[command(after_help = examples::ALERTS_EXAMPLES)]
    Alerts(Alerts),
    /// Watch containers, rates, losses and alerts live in the terminal
    #[cfg(feature = "top")]
    #[command(after_help = examples::TOP_EXAMPLES)]
    Top(Top),
    /// Say what this node can do, and why not more
    #[command(after_help = examples::DOCTOR_EXAMPLES)]
    Doctor(Output),
    /// Remove everything that is pinned, and with it what is enforced; profiles stay
    #[command(after_help = examples::TEARDOWN_EXAMPLES)]
    Teardown(Output),
    /// Print a script that completes commands and flags in a shell
    #[command(after_help = examples::COMPLETIONS_EXAMPLES)]
    Completions(Completions),
    /// Print the manual page, or write those of all commands into a directory
    #[command(after_help = examples::MAN_EXAMPLES)]
    Man(Man),
    /// The process of the agent's that answers before executions
    #[command(hide = true)]
    AnswerExecs(AnswerExecs),
    /// The process of the agent's self-test
    #[command(name = crate::kernel::self_test::COMMAND, hide = true)]
    SelfTest,
    /// The process of the agent's canary
    #[command(name = crate::canary::process::COMMAND, hide = true)]
    Canary,
}

/// `driftlock answer-execs`
#[derive(Debug, Args)]
pub struct AnswerExecs {
    /// The directory in which the maps are pinned
    #[arg(long, value_name = "PATH")]
    pub maps: PathBuf,
}

/// `driftlock top`
#[cfg(feature = "top")]
#[derive(Clone, Copy, Debug, Args)]
pub struct Top {
    /// How often the agent is asked, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub interval: u16,
}

/// `driftlock completions`
#[derive(Clone, Copy, Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: clap_complete::Shell,
}

/// `driftlock man`
#[derive(Debug, Args)]
pub struct Man {
    /// Write a page for each command into this directory, which must exist
    #[arg(long, value_name = "PATH")]
    pub dir: Option<PathBuf>,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `driftlock run`
#[derive(Debug, Default, Args)]
pub struct Run {
    /// The node's name in alerts [default: the host name]
    #[arg(long, env = "DRIFTLOCK_NODE", hide_env_values = true, value_name = "NAME")]
    pub node: Option<String>,
    /// How much the agent logs [default: info]
    #[arg(
        long,
        env = "DRIFTLOCK_LOG_LEVEL",
        hide_env_values = true,
        value_name = "LEVEL"
    )]
    pub log_level: Option<Level>,
    /// How the agent logs [default: text]
    #[arg(
        long,
        env = "DRIFTLOCK_LOG_FORMAT",
        hide_env_values = true,
        value_name = "FORMAT"
    )]
    pub log_format: Option<LogFormat>,
    /// How much the kernel programs log; chosen when they are loaded [default: off]
    #[arg(
        long,
        env = "DRIFTLOCK_KERNEL_LOG_LEVEL",
        hide_env_values = true,
        value_name = "LEVEL"
    )]
    pub kernel_log_level: Option<Level>,
    /// Remove everything that is pinned when the agent is told to end; else what is enforced stays in force
    #[arg(long)]
    pub teardown_on_exit: bool,
    /// A data directory of Docker; may be repeated [default: looked for]
    #[arg(long = "docker-data-root", value_name = "PATH")]
    pub docker_data_roots: Vec<PathBuf>,
}

/// `driftlock mode`
#[derive(Debug, Subcommand)]
pub enum ModeCommand {
    /// Show the default mode, and what is set for images and containers
    #[command(after_help = examples::MODE_EXAMPLES)]
    Get(Output),
    /// Set the mode of an image, of a container, or of everything else
    #[command(after_help = examples::MODE_EXAMPLES, group = ArgGroup::new("target").required(true))]
    Set(ModeSet),
}

/// `driftlock mode set`
#[derive(Debug, Args)]
pub struct ModeSet {
    /// learn: new behaviour goes into the profile; monitor: every deviation is reported; enforce: and prevented
    #[arg(value_parser = settable_mode)]
    pub mode: Mode,
    /// For an image: reference, digest, or a digest's beginning
    #[arg(long, group = "target", value_name = "REF|DIGEST")]
    pub image: Option<String>,
    /// For one container: name, id, or an id's beginning
    #[arg(long, group = "target", value_name = "NAME|ID")]
    pub container: Option<String>,
    /// For everything that has no mode of its own
    #[arg(long, group = "target")]
    pub default: bool,
    /// For one domain only
    #[arg(long, value_parser = domain)]
    pub domain: Option<Domain>,
}

/// `driftlock profile`
#[derive(Debug, Subcommand)]
pub enum ProfileCommand {
    /// List the profiles
    #[command(after_help = examples::PROFILE_EXAMPLES)]
    List(Output),
    /// Show what a profile holds, and what is proposed
    #[command(after_help = examples::PROFILE_EXAMPLES)]
    Show(ProfileShow),
    /// Compare what two profiles permit
    #[command(after_help = examples::DIFF_EXAMPLES)]
    Diff(ProfileDiff),
    /// Print an image's profile document, or what other tools enforce of a profile
    #[command(after_help = examples::EXPORT_EXAMPLES)]
    Export(ProfileExport),
    /// Take over a profile document; it replaces the image's profile
    #[command(after_help = examples::PROFILE_EXAMPLES)]
    Import(ProfileImport),
    /// Write a page that shows what an image does, how well that is known, and what its rules permit
    #[command(after_help = examples::REPORT_EXAMPLES)]
    Report(ProfileReport),
    /// Sign a profile document with a secret key of minisign
    #[command(after_help = examples::SIGN_EXAMPLES)]
    Sign(ProfileSign),
    /// Verify the signature of a profile document
    #[command(after_help = examples::SIGN_EXAMPLES)]
    Verify(ProfileVerify),
    /// Say that what a profile permits was reviewed
    #[command(after_help = examples::PROFILE_EXAMPLES)]
    Approve(ProfileName),
    /// Permit one program
    #[command(after_help = examples::ACCEPT_EXAMPLES)]
    Accept(Box<ProfileAccept>),
}

/// Which profile.
#[derive(Debug, Args)]
pub struct ProfileName {
    /// Reference, digest, or a digest's beginning
    pub image: String,
    /// The path of the entrypoint, where an image has profiles for several
    #[arg(long)]
    pub role: Option<String>,
}

/// `driftlock profile show`
#[derive(Debug, Args)]
pub struct ProfileShow {
    /// Which profile.
    #[command(flatten)]
    pub name: ProfileName,
    /// How it is printed.
    #[command(flatten)]
    pub output: Output,
}

/// `driftlock profile diff`
#[derive(Debug, Args)]
pub struct ProfileDiff {
    /// The first: a document's file if there is one of that name, - for standard input, else a reference, a digest, or
    /// its beginning
    pub from: String,
    /// The second
    pub to: String,
    /// End with exit code 1 if they differ
    #[arg(long)]
    pub exit_code: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `driftlock profile export`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true))]
pub struct ProfileExport {
    /// Reference, digest, or a digest's beginning
    #[arg(group = "what")]
    pub image: Option<String>,
    /// Take the profile document from this file, or - for standard input, without an agent
    #[arg(long, group = "what", value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// What to make of it
    #[arg(long, value_enum, default_value_t = ExportFormat::Document)]
    pub format: ExportFormat,
    /// The path of the entrypoint, where an image has profiles for several; a document has all of them
    #[arg(long)]
    pub role: Option<String>,
    /// Write it to this file
    #[arg(short, long, value_name = "FILE", conflicts_with = "json")]
    pub output: Option<PathBuf>,
    /// Print JSON with the document or export as a text
    #[arg(long)]
    pub json: bool,
}

/// What a profile is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(clippy::doc_markdown, reason = "what is shown as help has no code")]
pub enum ExportFormat {
    /// The profile document: all that is known of the image, to be reviewed, kept and imported
    Document,
    /// A system call filter for Docker, Podman, containerd and CRI-O
    Seccomp,
    /// The securityContext of a container, for Kubernetes
    SecurityContext,
    /// A profile for AppArmor
    #[value(name = "apparmor")]
    AppArmor,
    /// A policy for SELinux (CIL), as udica writes them
    #[value(name = "selinux")]
    SeLinux,
}

/// `driftlock profile import`
#[derive(Debug, Args)]
pub struct ProfileImport {
    /// The document, or - for standard input
    pub file: PathBuf,
    /// The file of its signature [default: FILE.minisig, if it is there]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// Import it without a signature, also where FILE.minisig is there
    #[arg(long, conflicts_with = "signature")]
    pub unsigned: bool,
}

/// `driftlock profile report`
#[derive(Debug, Args)]
pub struct ProfileReport {
    /// A document's file if there is one of that name, - for standard input, else a reference, a digest, or its beginning
    pub profile: String,
    /// Where to write the page, - for standard output
    #[arg(long, value_name = "FILE")]
    pub html: PathBuf,
    /// Compare with this profile, named in the same way [default: the image that it descends from, if the agent knows it]
    #[arg(long, value_name = "PROFILE")]
    pub previous: Option<String>,
    /// One role alone, by the path of its entrypoint
    #[arg(long)]
    pub role: Option<String>,
}

/// `driftlock profile sign`
#[derive(Debug, Args)]
pub struct ProfileSign {
    /// The document
    pub file: PathBuf,
    /// The file of the secret key, as `minisign -G` makes it; its password is asked for, or read from standard input
    #[arg(long, value_name = "FILE")]
    pub key: PathBuf,
    /// Where to write the signature [default: FILE.minisig]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// A comment that is signed, too [default: the time and the document's name]
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
}

/// `driftlock profile verify`
#[derive(Debug, Args)]
pub struct ProfileVerify {
    /// The document
    pub file: PathBuf,
    /// The public key: its file, or the key itself
    #[arg(long, value_name = "FILE|KEY")]
    pub public_key: String,
    /// The file of the signature [default: FILE.minisig]
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
}

/// `driftlock profile accept`
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("from").multiple(false))]
#[allow(clippy::struct_excessive_bools, reason = "flags")]
pub struct ProfileAccept {
    /// Which profile; without a role, all of the image's.
    #[command(flatten)]
    pub name: ProfileName,
    /// The path of a program or file as alerts show it, escapes included, or the name of a capability or system call
    #[arg(
        value_name = "PATH|CAPABILITY|SYSTEM-CALL",
        required_unless_present = "proposed"
    )]
    pub subject: Option<String>,
    /// All that processes from outside were seen to do and that was not accepted yet
    #[arg(long, conflicts_with_all = ["subject", "exec", "exec_in", "volume", "upper", "layer", "operation", "applet", "sha256", "file", "note"])]
    pub proposed: bool,
    /// Of what was proposed, this domain alone
    #[arg(long, requires = "proposed", conflicts_with = "subject", value_parser = domain)]
    pub domain: Option<Domain>,
    /// A program of the image, for the container's own processes (this is the default)
    #[arg(long, group = "from", conflicts_with = "exec_in")]
    pub exec: bool,
    /// For what enters from outside: probes, an operator's shell
    #[arg(long)]
    pub exec_in: bool,
    /// On a volume or bind mount; a program by its content
    #[arg(long, group = "from")]
    pub volume: bool,
    /// Written into the container; a program by its content
    #[arg(long, group = "from")]
    pub upper: bool,
    /// Of a file: what is done with it, as alerts show it; without this it is a program that runs
    #[arg(long, value_parser = operation, value_name = "OPERATION", conflicts_with_all = ["exec", "applet", "sha256", "file", "note"])]
    pub operation: Option<FileOperation>,
    /// Of files: the path is a rule for several, as /tmp/go-build{decimal}/**
    #[arg(long, requires = "operation")]
    pub pattern: bool,
    /// Of a capability: that it is refused is permitted, not that it is used
    #[arg(long)]
    pub refused: bool,
    /// Of a capability: for user namespaces other than the node's first one
    #[arg(long)]
    pub other_namespace: bool,
    /// Of a system call: the interface by which it is made [default: this machine's own]
    #[arg(long, value_parser = abi)]
    pub abi: Option<SyscallAbi>,
    /// The layer as alerts show it
    #[arg(long, group = "from", visible_alias = "drift", value_parser = layer)]
    pub layer: Option<Layer>,
    /// Of a multi-call program (busybox), this applet only
    #[arg(long, value_parser = byte_text, value_name = "NAME")]
    pub applet: Option<ByteText>,
    /// The content that is meant [default: the one that the latest alert about this path showed]
    #[arg(long, value_name = "HEX", value_parser = sha256, conflicts_with = "file")]
    pub sha256: Option<String>,
    /// The content that is meant: that of this file on this host
    #[arg(long, value_name = "HOSTFILE")]
    pub file: Option<PathBuf>,
    /// Why it is accepted; kept in the profile
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

/// `driftlock alerts`
#[derive(Clone, Copy, Debug, Args)]
pub struct Alerts {
    /// Go on with those to come
    #[arg(short, long)]
    pub follow: bool,
    /// How many of the latest to begin with [default: all that the agent keeps]
    #[arg(short = 'n', long, value_name = "N")]
    pub last: Option<usize>,
    /// Print the alerts as they are: one JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Print JSON, one object per line, in the words of this product [default with --json: driftlock]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<AlertFormat>,
}

impl Alerts {
    /// The format of what is printed; `None` for lines that people read.
    #[must_use]
    pub fn format(self) -> Option<AlertFormat> {
        self.format.or(self.json.then(AlertFormat::default))
    }
}

fn abi(text: &str) -> Result<SyscallAbi, String> {
    SyscallAbi::from_word(text)
}

fn settable_mode(text: &str) -> Result<Mode, String> {
    match Mode::from_name(text) {
        None | Some(Mode::Pending) => Err("expected off, learn, monitor or enforce".to_owned()),
        Some(mode) => Ok(mode),
    }
}

fn domain(text: &str) -> Result<Domain, String> {
    Domain::from_word(text)
}

fn layer(text: &str) -> Result<Layer, String> {
    Layer::from_word(text)
}

fn operation(text: &str) -> Result<FileOperation, String> {
    FileOperation::from_word(text)
}

fn byte_text(text: &str) -> Result<ByteText, String> {
    text.parse()
        .map_err(|error: crate::text::UnescapeError| error.to_string())
}

fn sha256(text: &str) -> Result<String, String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    match text.parse::<crate::profile::model::ContentHash>() {
        Ok(hash) => Ok(hash.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// Heading of the options that every command has.
const GLOBAL: &str = "Global options";
