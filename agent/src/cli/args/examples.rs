//! What stands below the help of each command: examples, and what else one must know to use it.
//!
//! Input, output, failure: none. A test runs every example through the parser.

pub(super) const EXIT_CODES: &str =
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 agent not reachable, 4 not permitted.

Every command shows examples: driftlock COMMAND --help";

pub(super) const RUN_EXAMPLES: &str = "Examples:
  driftlock run
  driftlock run --config ./config.yaml --log-level debug
  driftlock run | jq -c 'select(.severity == \"critical\")'";

pub(super) const STATUS_EXAMPLES: &str = "Examples:
  driftlock status
  driftlock status --json | jq .counters
  driftlock status --socket /run/other/control.sock";

pub(super) const CONTAINERS_EXAMPLES: &str = "Examples:
  driftlock containers
  driftlock containers --json | jq -r '.[] | select(.rules == 0).name'";

pub(super) const MODE_EXAMPLES: &str = "Examples:
  driftlock mode get
  driftlock mode set enforce --image shop:1
  driftlock mode set monitor --container shop-1
  driftlock mode set monitor --image shop:1 --domain exec
  driftlock mode set learn --default";

pub(super) const PROFILE_EXAMPLES: &str = "Examples:
  driftlock profile list
  driftlock profile show shop:1
  driftlock profile diff shop.yaml shop:1
  driftlock profile export shop:1 -o shop.yaml
  driftlock profile import shop.yaml
  driftlock profile approve shop:1
  driftlock profile accept shop:1 /bin/health-check --exec-in";

pub(super) const REPORT_EXAMPLES: &str = "Examples:
  driftlock profile report shop:2 --html shop.html
  driftlock profile report shop.yaml --html shop.html --previous shop-1.yaml
  driftlock profile report shop:2 --role /bin/shop --html - > shop.html

The page needs nothing else: no script, no other file, no address.";

pub(super) const SIGN_EXAMPLES: &str = "Examples:
  minisign -G -p ops.pub -s ops.key
  driftlock profile export shop:1 -o shop.yaml
  driftlock profile sign shop.yaml --key ops.key
  driftlock profile verify shop.yaml --public-key ops.pub
  driftlock profile import shop.yaml

Signatures and keys are those of minisign: minisign -V -p ops.pub -m shop.yaml
says the same. The import takes shop.yaml.minisig along. A node enforces only
what is signed if its config.yaml has profiles.trusted_keys and
profiles.enforce_only_signed: true.";

pub(super) const EXPORT_EXAMPLES: &str = "Examples:
  driftlock profile export shop:1 -o shop.yaml
  driftlock profile export shop:1 --format seccomp -o shop.json
  driftlock profile export shop:1 --format apparmor -o shop.apparmor
  driftlock profile export --from shop.yaml --format security-context
  driftlock profile export shop:1 --role /usr/sbin/nginx --format selinux

What a format cannot express is said in the text, as comments; for seccomp
on standard error.";

pub(super) const ACCEPT_EXAMPLES: &str = "Examples:
An exec probe, so that it is silent:
  driftlock profile accept shop:1 --exec-in /bin/busybox --applet wget
All that an operator's shell did, after a look at it by profile show:
  driftlock profile accept shop:1 --proposed
A program of the image that never ran while its profile was learned:
  driftlock profile accept shop:1 /usr/bin/backup
An init that the runtime mounts into the container, with the content of the
latest alert about it:
  driftlock profile accept shop:1 --volume /sbin/docker-init
The same before it ever ran, by the file itself:
  driftlock profile accept shop:1 --volume /sbin/docker-init \\
    --file /usr/libexec/docker/docker-init
A file that is read on a volume, and a capability:
  driftlock profile accept shop:1 --volume /etc/shop.conf --operation read
  driftlock profile accept shop:1 CAP_NET_RAW";

pub(super) const ALERTS_EXAMPLES: &str = "Examples:
  driftlock alerts --last 10
  driftlock alerts --follow
  driftlock alerts --follow --json | jq -c '[.time, .kind, .behaviour.path]'
  driftlock alerts --follow --format ocsf > findings.ndjson
  driftlock alerts --follow --format falco | while read -r alert; do \\
    curl -s --json \"$alert\" http://falcosidekick:2801/; done";

#[cfg(feature = "top")]
pub(super) const TOP_EXAMPLES: &str = "Examples:
  driftlock top
  driftlock top --interval 5

Keys: q quit, s sort by the next column, r reverse, p pause, arrows select.";

pub(super) const DIFF_EXAMPLES: &str = "Examples:
  driftlock profile diff shop:1 shop:2
  driftlock profile diff shop.yaml shop:2
  driftlock profile diff shop.yaml shop:2 --json --exit-code

How often something was seen is not compared, only what is permitted
or proposed.";

pub(super) const COMPLETIONS_EXAMPLES: &str = "Examples:
  driftlock completions bash > /etc/bash_completion.d/driftlock
  driftlock completions zsh > ~/.zfunc/_driftlock";

pub(super) const MAN_EXAMPLES: &str = "Examples:
  driftlock man --dir /usr/local/share/man/man1
  driftlock man | man -l -";

pub(super) const DOCTOR_EXAMPLES: &str = "Examples:
  driftlock doctor
  driftlock doctor --json | jq '.checks[] | select(.result != \"ok\")'

Asks the agent if one runs, and otherwise checks this machine itself.
Exit code 1 if something that the agent needs is missing.";

pub(super) const TEARDOWN_EXAMPLES: &str = "Examples:
  driftlock teardown
  driftlock teardown --bpffs /sys/fs/bpf/other

End the agent first. Nothing is enforced any more after this.";
