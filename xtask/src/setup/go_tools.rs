//! Tools that come as Go modules: built by `go install` at a fixed version into a directory of their own.
//!
//! Input: which tool. Output: the path of its program. Failure: there is no Go that can build it, or the end of go's output. What go fetches it
//! holds against the public checksums by itself. A program of the same major version on the search path is used instead.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::path;
use crate::process;

/// The first Go that fetches by itself a newer one where a module asks for it.
const GO_MINOR_MIN: u32 = 21;
/// Where Go's own archive is unpacked by custom, beside the search path.
const USUAL_GO: &str = "/usr/local/go/bin/go";

/// A program from a Go module.
#[derive(Debug)]
pub struct GoTool {
    /// The program's name.
    pub program: &'static str,
    /// The package that is built.
    pub package: &'static str,
    /// The version that is wanted, exactly.
    pub version: &'static str,
    /// Its arguments to say its version.
    pub ask_version: &'static [&'static str],
    /// What the version of one on the search path must begin with.
    pub major: &'static str,
}

/// Renders the chart.
pub const HELM: GoTool = GoTool {
    program: "helm",
    package: "helm.sh/helm/v3/cmd/helm",
    version: "v3.22.0",
    ask_version: &["version", "--short"],
    major: "v3.",
};

/// Renders the kustomize base.
pub const KUSTOMIZE: GoTool = GoTool {
    program: "kustomize",
    package: "sigs.k8s.io/kustomize/kustomize/v5",
    version: "v5.7.1",
    ask_version: &["version"],
    major: "v5.",
};

impl GoTool {
    /// The program, wherever it is.
    pub fn find(&self) -> Option<PathBuf> {
        let built = self
            .directory()
            .ok()
            .map(|directory| directory.join(self.program));
        built
            .into_iter()
            .chain(path::on_path(self.program))
            .find(|program| self.is_of_the_major_version(program))
    }

    /// Builds it. What is only needed for that is removed again.
    pub fn install(&self, step: &str) -> Result<PathBuf> {
        let go = go()?;
        let work = path::tools()?.join(format!("{}-build", self.program));
        std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
        let mut command = Command::new(go);
        command
            .args(["install", "-ldflags=-s -w"])
            .arg(format!("{}@{}", self.package, self.version))
            .env("GOBIN", self.directory()?)
            .env("GOCACHE", work.join("cache"))
            .env("GOMODCACHE", work.join("modules"))
            // Without it go writes what cannot be removed; what else the user has set there is not meant for this.
            .env("GOFLAGS", "-modcacherw")
            .env("GOWORK", "off")
            .env("CGO_ENABLED", "0")
            .current_dir(&work);
        let built = process::hide(step, &mut command);
        let removed = std::fs::remove_dir_all(&work);
        built?;
        removed.with_context(|| format!("cannot remove {}", work.display()))?;
        match self.find() {
            Some(program) => Ok(program),
            None => bail!("{step}: built, but it does not say that it is {}", self.version),
        }
    }

    fn directory(&self) -> Result<PathBuf> {
        Ok(path::tools()?.join(format!("{}-{}", self.program, self.version)))
    }

    fn is_of_the_major_version(&self, program: &Path) -> bool {
        path::is_executable(program)
            && process::capture(Command::new(program).args(self.ask_version))
                .is_ok_and(|text| text.trim().starts_with(self.major))
    }
}

/// A Go that can build the tools.
fn go() -> Result<PathBuf> {
    let usual = Some(PathBuf::from(USUAL_GO)).filter(|go| path::is_executable(go));
    let go = path::on_path("go").or(usual).with_context(|| {
        format!("there is no Go 1.{GO_MINOR_MIN} or later to build it (that of Debian 12 is older)")
    })?;
    let said = process::capture(Command::new(&go).args(["env", "GOVERSION"]))?;
    match minor(&said) {
        Some(minor) if minor >= GO_MINOR_MIN => Ok(go),
        _ => bail!(
            "{} is {}, and Go 1.{GO_MINOR_MIN} or later is needed to build it",
            go.display(),
            said.trim()
        ),
    }
}

/// The second number of a version like `go1.26.8`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.trim().strip_prefix("go1.")?;
    let digits = rest
        .find(|character: char| !character.is_ascii_digit())
        .map_or(rest, |end| &rest[..end]);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_the_second_number() {
        assert_eq!(minor("go1.26.8\n"), Some(26));
        assert_eq!(minor("go1.19"), Some(19));
        assert_eq!(minor("go1.27rc1"), Some(27));
        assert_eq!(minor("devel"), None);
    }

    #[test]
    fn the_wanted_version_is_of_the_major_version() {
        for tool in [HELM, KUSTOMIZE] {
            assert!(tool.version.starts_with(tool.major), "{tool:?}");
        }
    }
}
