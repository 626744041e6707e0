//! What is recorded: ordinary programs of a Debian-like machine, each run of a script with other inputs.
//!
//! Input: the number of the window, what this machine offers, and draws. Output: a script for `sh`. Failure: a machine that offers
//! nothing. Which inputs a run takes is drawn, few of them often and many seldom; what the programs then do with them is theirs.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::PATH;
use super::draw::Draw;
use crate::process;

/// Something that is run again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Workload {
    /// GCC compiles, assembles and links a small program with headers of this machine.
    Compile,
    /// A shell runs a few ordinary commands.
    Shell,
    /// Python imports a few modules of its library.
    Python,
    /// Git works in one repository, which grows from run to run.
    Git,
    /// dpkg and apt answer questions about installed packages.
    Packages,
    /// nginx in a container answers requests and is looked after, watched by the agent (as root).
    Server,
}

/// Modules of Python that show a window, open a browser or print by being imported.
const NOT_IMPORTED: &[&str] = &[
    "antigravity",
    "this",
    "idlelib",
    "turtledemo",
    "turtle",
    "tkinter",
];

/// What an operator or a script types, the usual first.
const COMMANDS: &[&str] = &[
    "ls -l /etc",
    "cat /etc/os-release",
    "grep -r root /etc/passwd",
    "date",
    "id",
    "head -n 3 /etc/services",
    "wc -l /etc/passwd",
    "ps",
    "df /",
    "sort /etc/passwd",
    "uname -a",
    "sed -n 1,3p /etc/group",
    "awk -F: '{print $1}' /etc/passwd",
    "find /etc/apt -type f",
    "tail -n 2 /etc/group",
    "cut -d: -f1 /etc/passwd",
    "env",
    "du -s /etc/apt",
    "stat /etc/hostname",
    "tr a-z A-Z < /etc/hostname",
    "mkdir -p made/here",
    "cp /etc/hostname copied",
    "mv copied moved; cp /etc/hostname copied",
    "rm -f moved",
    "touch touched",
    "ln -sf touched linked",
    "tar cf all.tar touched made",
    "tar czf all.tgz made",
    "gzip -kf touched",
    "gunzip -c touched.gz",
    "md5sum /etc/passwd",
    "sha256sum /etc/group",
    "diff /etc/passwd /etc/group",
    "cmp /etc/passwd /etc/group",
    "uniq /etc/hosts",
    "tee copy < /etc/hosts",
    "xargs echo < /etc/hosts",
    "basename /etc/hosts",
    "dirname /etc/hosts",
    "seq 1 5",
    "expr 1 + 2",
    "printf x",
    "sleep 0",
    "hostname",
    "whoami",
    "groups",
    "readlink /bin/sh",
    "realpath /bin/sh",
    "mktemp",
    "mktemp -d",
    "chmod 600 touched",
    "chown 0:0 touched",
    "install -m 600 /etc/hosts installed",
    "split -l 2 /etc/hosts",
    "od -c /etc/hostname",
    "base64 /etc/hostname",
    "nl /etc/hosts",
    "paste /etc/hosts /etc/hostname",
    "join /etc/hosts /etc/hosts",
    "comm /etc/hosts /etc/hosts",
    "fold /etc/hosts",
    "tac /etc/hosts",
    "shuf -n 1 /etc/hosts",
    "nproc",
    "free",
    "uptime",
    "getconf PAGE_SIZE",
    "getent passwd root",
    "locale",
    "which sh",
    "perl -e 1",
    "perl -MPOSIX -e 1",
    "perl -MData::Dumper -e 1",
    "perl -MFile::Temp -e 1",
    "bash -c true",
    "openssl version",
    "file /bin/sh",
    "xxd /etc/hostname",
    "nice true",
    "timeout 1 true",
    "flock lock true",
    "getopt ab -- -a",
    "column /etc/hosts",
    "lscpu",
    "lsblk",
    "mount",
    "dmesg",
    "logger x",
    "cal",
    "bc",
];

/// What is done with a repository, the usual first. `$n` is the number of the window.
const GIT: &[&str] = &[
    "echo $n >> file; git add .; git commit -m $n",
    "git status",
    "git log -3",
    "git diff HEAD~1",
    "mkdir -p d$((n % 7)); echo $n > d$((n % 7))/f; git add .; git commit -m d$n",
    "git branch b$n",
    "git checkout -q -b c$n; echo $n > c; git add .; git commit -m c; git checkout -q -",
    "git show HEAD",
    "git blame file",
    "git tag t$n",
    "git stash; git stash pop",
    "echo x >> file; git stash; git stash drop",
    "git rev-parse HEAD",
    "git grep 1",
    "git merge --no-edit c$((n - 1))",
    "git reset --hard HEAD",
    "git rebase HEAD~1",
    "git cherry-pick c$((n - 2))",
    "git gc -q",
    "git fsck",
    "git archive HEAD -o a.tar",
    "git shortlog -s HEAD",
    "git describe --tags",
    "git config user.name n$n",
    "git clean -fd",
    "git mv file file2; git mv file2 file",
    "git revert --no-edit HEAD",
    "git bundle create b.bundle HEAD",
    "git clone -q . clone$n",
    "git worktree add w$n; git worktree remove w$n",
    "git format-patch -1",
    "git reflog",
    "git bisect start; git bisect reset",
    "git notes add -m x",
    "git repack -adq",
    "git count-objects -v",
    "git ls-files",
    "git submodule status",
    "git am --abort",
    "git remote add r$n .; git fetch -q r$n",
];

/// What is asked about a package, `P`.
const QUESTIONS: &[&str] = &[
    "dpkg -s P",
    "dpkg -L P",
    "dpkg-query -W P",
    "apt-cache policy P",
    "apt-cache show P",
    "dpkg -l P",
    "apt-cache depends P",
    "dpkg -S /usr/share/doc/P",
    "apt-get -s remove P",
    "apt-cache rdepends P",
    "dpkg --print-architecture",
    "apt-mark showmanual P",
    "apt-get -s install P",
    "dpkg-query -c P",
    "apt-config dump",
    "dpkg --audit",
    "dpkg-divert --list",
    "update-alternatives --get-selections",
    "dpkg-trigger --check-supported",
    "apt-cache stats",
    "dpkg-architecture",
    "apt list P",
];

/// Ways to compile.
const COMPILATIONS: &[&str] = &[
    "-c",
    "-c -O2",
    "-o program",
    "-S",
    "-c -g",
    "-O2 -o program",
    "-E",
    "-o program -lm",
    "-c -Wall -Wextra",
    "-c -O3",
    "-shared -fPIC -o program.so",
    "-o program -pthread",
    "-static -o program",
    "-c -fsanitize=address",
    "-c -std=c99",
    "-flto -o program",
    "-c -march=native",
    "-M",
    "-c -fprofile-arcs",
    "-o program -Wl,--gc-sections",
    "-c -x c++",
    "-c -pipe",
];

/// What a server is asked, other than its pages, and what its operator does; the usual first.
const SERVICE: &[&str] = &[
    "request HEAD /page-0.html",
    "request GET /missing",
    "run /usr/sbin/nginx -t",
    "run /usr/sbin/nginx -s reload",
    "request GET /private/x",
    "run /usr/sbin/nginx -s reopen",
    "request POST /page-1.html",
    "run /usr/sbin/nginx -T",
    "request GET /page-0.html?query",
    "run /usr/sbin/nginx -V",
    "request HEAD /missing",
    "run /usr/sbin/nginx -c /etc/nginx/missing.conf",
    "request GET /../etc/passwd",
    "run /usr/sbin/nginx -t -q",
    "request DELETE /page-2.html",
    "request GET /private/../page-3.html",
];
/// Pages of the server, which are asked for between these.
const PAGES: usize = 40;

impl Workload {
    /// Everything that is recorded.
    pub const ALL: [Self; 6] = [
        Self::Compile,
        Self::Shell,
        Self::Python,
        Self::Git,
        Self::Packages,
        Self::Server,
    ];

    /// The word on the command line, and the file's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Compile => "compile",
            Self::Shell => "shell",
            Self::Python => "python",
            Self::Git => "git",
            Self::Packages => "packages",
            Self::Server => "server",
        }
    }

    /// What a window of it is.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Compile => {
                "a window is one compilation by GCC of a small program, with headers and in a way that are drawn"
            }
            Self::Shell => "a window is one run of sh with six ordinary commands that are drawn",
            Self::Python => "a window is one start of Python that imports three modules that are drawn",
            Self::Git => {
                "a window is three things done with one git repository, drawn; the repository grows from window to window"
            }
            Self::Packages => "a window is three questions to dpkg and apt about installed packages, drawn",
            Self::Server => {
                "a window is one container of nginx, from its start to its end, with eight requests and things done in it that are drawn, as the agent learned it"
            }
        }
    }

    /// What inputs are drawn from. `work` is where scripts will run.
    pub fn pool(self, work: &Path) -> Result<Vec<String>> {
        let ask = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            command
                .args(arguments)
                .env("PATH", PATH)
                .env("LC_ALL", "C")
                .current_dir(work);
            process::capture(&mut command)
        };
        let pool: Vec<String> = match self {
            Self::Compile => {
                let mut headers = Vec::new();
                for entry in std::fs::read_dir("/usr/include").context("cannot read /usr/include")? {
                    let name = entry.context("cannot read /usr/include")?.file_name();
                    headers.extend(
                        name.to_str()
                            .filter(|name| Path::new(name).extension() == Some("h".as_ref()))
                            .map(ToOwned::to_owned),
                    );
                }
                headers.sort();
                headers
            }
            Self::Shell => return Ok(COMMANDS.iter().map(ToString::to_string).collect()),
            Self::Python => {
                let list = ask(
                    "python3",
                    &["-c", "import sys; print(*sorted(sys.stdlib_module_names))"],
                )?;
                let modules = list.split_whitespace();
                let modules = modules.filter(|name| !name.starts_with('_') && !NOT_IMPORTED.contains(name));
                modules.map(ToOwned::to_owned).collect()
            }
            Self::Git => {
                let setup = "git init -q; git config user.name n; git config user.email e; git config gc.auto 0; echo 0 > file; git add .; git commit -q -m 0; git tag t";
                ask(
                    "env",
                    &[
                        "-i",
                        &format!("PATH={PATH}"),
                        &format!("HOME={}", work.display()),
                        "sh",
                        "-c",
                        setup,
                    ],
                )?;
                return Ok(GIT.iter().map(ToString::to_string).collect());
            }
            Self::Server => {
                let pages = (0..PAGES).map(|page| format!("request GET /page-{page}.html"));
                let mut others = SERVICE.iter().map(ToString::to_string);
                // In turn, so that among the usual ones are some of both.
                return Ok(pages
                    .flat_map(|page| std::iter::once(page).chain(others.next()))
                    .collect());
            }
            Self::Packages => ask("dpkg-query", &["-W", "-f", "${Package}\\n"])?
                .lines()
                .map(ToOwned::to_owned)
                .collect(),
        };
        ensure!(
            !pool.is_empty(),
            "this machine has nothing to draw from for {}",
            self.name()
        );
        Ok(pool)
    }

    /// The script of window `number`.
    pub fn script(self, number: u32, pool: &[String], draw: &mut Draw) -> String {
        let mut several = |count: usize| {
            let drawn: Vec<String> = (0..count).map(|_| draw.skewed(pool).clone()).collect();
            drawn
        };
        match self {
            Self::Compile => {
                let includes: Vec<_> = several(2)
                    .into_iter()
                    .map(|name| format!("#include <{name}>"))
                    .collect();
                let includes = includes.join("\n");
                let way = draw.skewed(COMPILATIONS);
                format!(
                    "cat > program.c <<'END'\n{includes}\nint main(void) {{ return 0; }}\nEND\ngcc {way} program.c\n"
                )
            }
            Self::Shell => several(6).join("\n"),
            Self::Python => format!("python3 -B -c 'import {}'", several(3).join(", ")),
            Self::Git => format!("n={number}\n{}", several(3).join("\n")),
            Self::Server => several(8).join(";"),
            Self::Packages => {
                let packages = several(3);
                let questions = packages
                    .iter()
                    .map(|package| draw.skewed(QUESTIONS).replace('P', package));
                questions.collect::<Vec<_>>().join("\n")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_window_of_a_workload_is_another_script_and_the_same_each_time() {
        let pool: Vec<String> = (0..200).map(|number| format!("item{number}")).collect();
        for workload in Workload::ALL {
            let scripts = || {
                let mut draw = Draw::new(workload.name());
                let scripts = (0..20).map(|number| workload.script(number, &pool, &mut draw));
                scripts.collect::<Vec<_>>()
            };
            assert_eq!(scripts(), scripts());
            let mut different = scripts();
            different.sort();
            different.dedup();
            assert!(different.len() > 15, "{workload:?}");
        }
    }

    #[test]
    fn a_question_names_its_package() {
        let pool = vec!["bash".to_owned()];
        let mut draw = Draw::new("packages");
        let script = Workload::Packages.script(0, &pool, &mut draw);
        assert!(script.contains("bash") && !script.contains(" P"), "{script}");
    }
}
