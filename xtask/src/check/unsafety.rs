//! Finds unsafe code outside the places that may have it.
//!
//! Input: the workspace. Output: each place, as `file:line`. Failure: a file that cannot be read, or is no Rust.
//!
//! The workspace's lint `unsafe_code` can be switched off by an attribute in any file; this looks for the keyword and
//! for such attributes as tokens, so that comments and strings do not count.

use std::path::Path;

use anyhow::{Result, anyhow};
use proc_macro2::{TokenStream, TokenTree};

use super::sources::rust_files;

/// Where unsafe code may be: the kernel programs, the layouts they share with the daemon, the daemon's loader; of the
/// tests, the attacks and the load that no safe library offers and the removal of what a test left.
pub const ALLOWED: [&str; 11] = [
    "agent-ebpf",
    "agent-common",
    "agent/src/kernel",
    "tests/src/fixture/forge.rs",
    "tests/src/fixture/crowd.rs",
    "tests/src/fixture/map.rs",
    "tests/src/fixture/spawn.rs",
    "tests/src/fixture/act.rs",
    "tests/src/fixture/measure.rs",
    "tests/examples/preload.rs",
    "tests/src/cleanup.rs",
];

/// All places outside [`ALLOWED`].
pub fn find(root: &Path) -> Result<Vec<String>> {
    let mut places = Vec::new();
    for file in rust_files(root)? {
        let relative = file.strip_prefix(root)?;
        if ALLOWED.iter().any(|allowed| relative.starts_with(allowed)) {
            continue;
        }
        let text = std::fs::read_to_string(&file)?;
        let tokens: TokenStream = text
            .parse()
            .map_err(|error| anyhow!("{}: no Rust: {error}", relative.display()))?;
        let mut lines = Vec::new();
        collect(tokens, &mut lines);
        places.extend(
            lines
                .into_iter()
                .map(|line| format!("{}:{line}", relative.display())),
        );
    }
    Ok(places)
}

/// Appends the lines of `unsafe` and of attributes that allow it. Forbidding it is allowed everywhere.
fn collect(tokens: TokenStream, lines: &mut Vec<usize>) {
    let mut forbids = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) if forbids => {
                let _ = group;
            }
            TokenTree::Group(group) => collect(group.stream(), lines),
            TokenTree::Ident(ident) => {
                forbids = ident == "forbid" || ident == "deny";
                if ident == "unsafe" || ident == "unsafe_code" {
                    lines.push(ident.span().start().line);
                }
                continue;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {}
        }
        forbids = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let mut lines = Vec::new();
        collect(text.parse().expect("Rust"), &mut lines);
        lines
    }

    #[test]
    fn blocks_functions_and_attributes_are_found() {
        assert_eq!(lines("fn a() {\n    unsafe { b() }\n}\nunsafe fn b() {}"), [2, 4]);
        assert_eq!(
            lines("#![allow(unsafe_code)]\n#[unsafe(no_mangle)]\nfn c() {}"),
            [1, 2]
        );
        assert_eq!(lines("#[expect(\n  unsafe_code\n)]\nfn c() {}"), [2]);
    }

    #[test]
    fn comments_strings_and_prohibitions_are_not() {
        let text = "#![forbid(unsafe_code)]\n//! unsafe\n/* unsafe */ fn a() -> &'static str { \"unsafe\" }";
        assert_eq!(lines(text), Vec::<usize>::new());
    }

    #[test]
    fn only_the_allowed_directories_are_left_out() {
        let root = tempfile::tempdir().expect("a temporary directory");
        for file in [
            "agent/src/kernel/map.rs",
            "agent/src/kernel_like.rs",
            "target/gen.rs",
        ] {
            let file = root.path().join(file);
            std::fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            std::fs::write(file, "unsafe fn f() {}").expect("a file");
        }
        assert_eq!(
            find(root.path()).expect("all is Rust"),
            ["agent/src/kernel_like.rs:1"]
        );
    }
}
