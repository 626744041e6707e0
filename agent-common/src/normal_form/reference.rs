//! The types once more, byte by byte and as simply as can be: what the fast code must agree with.

extern crate std;

use std::string::{String, ToString as _};
use std::vec::Vec;

use super::{Form, Kind, NAME_BYTES, Part, Pattern, PatternError};

fn alphanumeric(name: &[u8], at: usize) -> bool {
    name.get(at).is_some_and(u8::is_ascii_alphanumeric)
}

/// Whether `name` has a byte of each of these classes from `at` on: `d` digit, `x` hexadecimal, `o` neither letter nor digit,
/// `*` any; else the byte itself.
fn fits(name: &[u8], at: usize, classes: &str) -> bool {
    let Some(bytes) = name.get(at..at + classes.len()) else {
        return false;
    };
    bytes
        .iter()
        .zip(classes.bytes())
        .all(|(byte, class)| match class {
            b'd' => byte.is_ascii_digit(),
            b'x' => byte.is_ascii_hexdigit(),
            b'o' => !byte.is_ascii_alphanumeric(),
            b'*' => true,
            _ => *byte == class,
        })
}

fn is_mixed(bytes: &[u8]) -> bool {
    let has = |class: fn(&u8) -> bool| bytes.iter().any(class);
    let classes = [
        has(u8::is_ascii_digit),
        has(u8::is_ascii_lowercase),
        has(u8::is_ascii_uppercase),
    ];
    let small = bytes.iter().take_while(|byte| byte.is_ascii_lowercase()).count();
    let number_behind = small > 0 && bytes[small..].iter().all(u8::is_ascii_digit);
    classes.iter().filter(|has| **has).count() >= 2 && !number_behind
}

/// Where random parts are, among bytes that have no type yet.
fn random(name: &[u8], mut take: impl FnMut(usize, usize)) {
    let ends = |at: usize| name.len() == at || name.get(at) == Some(&b'.');
    let mixed = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_alphanumeric) && is_mixed(bytes);
    let python = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if name.starts_with(b"tmp") && ends(11) && name[3..11].iter().all(python) {
        take(3, 11);
    }
    for (begins, start) in [(&b"cc"[..], 2), (b".tmp", 4)] {
        if name.starts_with(begins) && ends(start + 6) && mixed(&name[start..start + 6]) {
            take(start, start + 6);
        }
    }
    for length in [6, 8, 10, 12] {
        let Some(start) = name.len().checked_sub(length).filter(|start| *start > 0) else {
            continue;
        };
        let (delimiter, drawn) = (name[start - 1], &name[start..]);
        let capitalised = drawn[0].is_ascii_uppercase() && drawn[1..].iter().all(u8::is_ascii_lowercase);
        if matches!(delimiter, b'.' | b'-' | b'_')
            && mixed(drawn)
            && (!capitalised || (length == 6 && delimiter == b'.'))
        {
            take(start, name.len());
        }
    }
}

/// The end of the run of bytes of a class that `at` is in.
fn run(name: &[u8], at: usize, taken: &[Option<Kind>], class: fn(&u8) -> bool) -> usize {
    let mut end = at;
    while end < name.len() && class(&name[end]) && taken[end].is_none() {
        end += 1;
    }
    end
}

/// The type of each byte, if it has one, and whether a part begins there.
fn kinds(name: &[u8]) -> Vec<(Option<Kind>, bool)> {
    let mut kinds: Vec<Option<Kind>> = std::vec![None; name.len()];
    let mut first = std::vec![false; name.len()];
    let mut take = |kinds: &mut Vec<Option<Kind>>, start: usize, end: usize, kind| {
        kinds[start..end].fill(Some(kind));
        first[start] = true;
    };
    for at in 0..name.len() {
        let before = at.checked_sub(1);
        let apart = before.is_none_or(|before| !alphanumeric(name, before));
        if apart && fits(name, at, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx") && !alphanumeric(name, at + 36) {
            take(&mut kinds, at, at + 36, Kind::Uuid);
        }
        let digit = |at| fits(name, at, "d");
        if before.is_none_or(|before| !digit(before)) && fits(name, at, "dddd-dd-dd") && !digit(at + 10) {
            let time = fits(name, at + 10, "*ddoddodd") && !digit(at + 19);
            take(&mut kinds, at, at + if time { 19 } else { 10 }, Kind::Date);
        }
    }
    for at in 0..name.len() {
        let apart = at == 0 || !alphanumeric(name, at - 1);
        let end = run(name, at, &kinds, u8::is_ascii_hexdigit);
        let bytes = &name[at..end];
        if apart
            && bytes.len() >= 8
            && !alphanumeric(name, end)
            && bytes.iter().any(u8::is_ascii_digit)
            && bytes.iter().any(u8::is_ascii_alphabetic)
        {
            take(&mut kinds, at, end, Kind::Hexadecimal);
        }
    }
    random(name, |start, end| {
        if kinds[start..end].iter().all(Option::is_none) {
            take(&mut kinds, start, end, Kind::Random);
        }
    });
    let mut at = 0;
    while at < name.len() {
        let end = run(name, at, &kinds, u8::is_ascii_digit);
        let attached = at > 0 && name[at - 1].is_ascii_alphabetic();
        if end - at >= if attached { 6 } else { 4 } {
            take(&mut kinds, at, end, Kind::Decimal);
        }
        at = end.max(at + 1);
    }
    kinds.into_iter().zip(first).collect()
}

fn whole(name: &[u8], below: Option<Kind>) -> Option<Kind> {
    let spread = matches!(below, Some(Kind::Hexadecimal | Kind::HexadecimalPair));
    if !name.iter().all(u8::is_ascii_hexdigit) {
        None
    } else if name.len() == 2 && spread {
        Some(Kind::HexadecimalPair)
    } else if name.iter().all(u8::is_ascii_digit) {
        Some(Kind::Decimal)
    } else {
        (name.len() >= 8 && name.iter().any(u8::is_ascii_digit)).then_some(Kind::Hexadecimal)
    }
}

/// The form of a path as text: each type as `<kind>`.
pub(crate) fn of_path(path: &[u8]) -> Vec<u8> {
    let mut names = Vec::new();
    let mut leading = None;
    let split = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty());
    for name in split.rev() {
        let all = whole(name, leading);
        leading = all;
        let mut text = Vec::new();
        if let Some(kind) = all {
            text = [b"<", kind.as_str().as_bytes(), b">"].concat();
        } else if name.len() > NAME_BYTES {
            text.extend_from_slice(name);
        } else {
            let kinds = kinds(name);
            leading = kinds[0].0.filter(|kind| *kind == Kind::Hexadecimal);
            for (byte, (kind, first)) in name.iter().zip(kinds) {
                match kind {
                    None => text.push(*byte),
                    Some(kind) if first => {
                        text = [&text, &b"<"[..], kind.as_str().as_bytes(), b">"].concat();
                    }
                    Some(_) => {}
                }
            }
        }
        names.push([b"/".as_slice(), &text].concat());
    }
    names.reverse();
    names.concat()
}

fn text(form: &Form) -> Vec<u8> {
    let mut text = Vec::new();
    for name in form.names() {
        text.push(b'/');
        for part in name {
            match part {
                Part::Literal(bytes) => text.extend_from_slice(bytes),
                Part::Varying(kind) => text = [&text, &b"<"[..], kind.as_str().as_bytes(), b">"].concat(),
            }
        }
    }
    text
}

mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hash::{HashKey, path as exact_hash};

    fn form(path: &str) -> String {
        String::from_utf8(text(&Form::of_path(path.as_bytes()))).expect("text")
    }

    #[test]
    fn what_varies_is_typed() {
        for (path, expected) in [
            ("/", ""),
            ("/proc/1/status", "/proc/<decimal>/status"),
            ("/proc/12/task/4711/comm", "/proc/<decimal>/task/<decimal>/comm"),
            ("/tmp/tmp.AbCd3fGhIj", "/tmp/tmp.<random>"),
            ("/tmp/ccq2ZrTh.s", "/tmp/cc<random>.s"),
            ("/tmp/.tmpaB3x9z/x", "/tmp/.tmp<random>/x"),
            ("/tmp/tmpabc_1x2y", "/tmp/tmp<random>"),
            ("/tmp/tmpk3jx9w0q.json", "/tmp/tmp<random>.json"),
            (
                "/tmp/go-build1234567890/b001/x.a",
                "/tmp/go-build<decimal>/b001/x.a",
            ),
            ("/run/app-1234.log", "/run/app-<decimal>.log"),
            ("/x/6f1e7e9c-0a3b-4c5d-8e9f-012345678901.json", "/x/<uuid>.json"),
            ("/log/a-2026-11-21.gz", "/log/a-<date>.gz"),
            ("/log/2026-11-21T10:11:12Z", "/log/<date>Z"),
            (
                "/r/.git/objects/ab/0123456789abcdef0123456789abcdef012345",
                "/r/.git/objects/<hexadecimal-pair>/<hexadecimal>",
            ),
            (
                "/r/.git/objects/12/0123456789abcdef0123456789abcdef012345",
                "/r/.git/objects/<hexadecimal-pair>/<hexadecimal>",
            ),
            (
                "/c/ab/12/00ff00ff",
                "/c/<hexadecimal-pair>/<hexadecimal-pair>/<hexadecimal>",
            ),
            (
                "/d/0a/bcdef0123456.debug",
                "/d/<hexadecimal-pair>/<hexadecimal>.debug",
            ),
            ("/t/libx-0123456789abcdef.rlib", "/t/libx-<hexadecimal>.rlib"),
        ] {
            assert_eq!(form(path), expected, "{path}");
        }
    }

    #[test]
    fn what_does_not_vary_is_literal() {
        for path in [
            "/usr/lib/x86_64-linux-gnu/libssl.so.1.1",
            "/usr/lib/python3.11/md5.sha256",
            "/usr/bin/ccmake",
            "/etc/deadbeef",
            "/etc/facade",
            "/ab/cd",
            "/x/release-1.22.333",
            "/usr/share/zoneinfo/America/St_Thomas",
        ] {
            assert_eq!(form(path), path);
        }
    }

    #[test]
    fn a_long_name_varies_as_a_whole_only() {
        let hexadecimal = "0123456789abcdef".repeat(8);
        assert_eq!(form(&std::format!("/x/{hexadecimal}")), "/x/<hexadecimal>");
        assert_eq!(form(&std::format!("/x/{}", "17".repeat(70))), "/x/<decimal>");
        let long = std::format!("/x/{hexadecimal}.json");
        assert_eq!(form(&long), long);
    }

    #[test]
    fn a_rule_that_cannot_match_is_refused() {
        let literal = |text: &'static str| std::vec![Part::Literal(text.as_bytes())];
        let varying = |kind| std::vec![Part::Varying(kind)];
        let of = |names: Vec<Vec<Part<'static>>>| Form::from_names(names).expect("names");
        assert_eq!(
            Pattern::form(of(std::vec![literal("a")])),
            Err(PatternError::Exact)
        );
        // A number beside a literal number would be a type too.
        for (names, expected) in [
            (std::vec![literal("1"), varying(Kind::Decimal)], false),
            (std::vec![literal("a"), varying(Kind::Decimal)], true),
            (std::vec![varying(Kind::HexadecimalPair), literal("a")], false),
            (
                std::vec![varying(Kind::HexadecimalPair), varying(Kind::Hexadecimal)],
                true,
            ),
            (std::vec![varying(Kind::Random)], false),
            (
                std::vec![std::vec![Part::Literal(b"a."), Part::Varying(Kind::Random)]],
                true,
            ),
            (
                std::vec![std::vec![Part::Literal(b"tmp"), Part::Varying(Kind::Random)]],
                true,
            ),
        ] {
            let form = of(names);
            assert_eq!(Pattern::form(form.clone()).is_ok(), expected, "{form:?}");
        }
        assert!(Pattern::subtree(of(std::vec![literal("15"), literal("main")])).is_ok());
        assert!(Pattern::subtree(of(std::vec![literal("15"), varying(Kind::Decimal)])).is_err());
        assert!(Pattern::subtree(of(std::vec![varying(Kind::HexadecimalPair)])).is_ok());
        assert_eq!(
            Form::from_names([[Part::Literal(b"a/b")]]),
            Err(PatternError::Name)
        );
    }

    #[test]
    fn hashes_of_different_rules_differ() {
        let key = HashKey { k0: 1, k1: 2 };
        let path = b"/run/4711/x";
        let form = Form::of_path(path);
        let hashes = [
            exact_hash(key, path, None),
            Pattern::form(form.clone()).expect("varies").hash(key),
            Pattern::subtree(form).expect("varies").hash(key),
            super::super::subtree_hash(key, path),
            super::super::subtree_hash(key, b"/"),
        ];
        for (index, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..index].contains(hash), "{hashes:?}");
        }
    }

    /// Names that nearly have a type, and bytes that have none.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        let near = "(tmp|cc|\\.tmp|go-build|pack-|)?[a-f0-9A-F]{0,14}[-._:]?([0-9]{1,9}|[a-zA-Z0-9]{5,12}|[a-z0-9_]{7,9})?(\\.[a-z]{1,3})?"
            .prop_map(String::into_bytes);
        let uuid = "[-a]?[0-9a-f]{7,9}-[0-9a-f]{4}-[0-9a-fA-F]{3,5}-[0-9a-f]{4}-[0-9a-f]{12}[-.g]?"
            .prop_map(String::into_bytes);
        let date = "[a-z0-9]?[0-9]{4}-[0-9]{2}-[0-9]{2}([T_0-][0-9]{2}[-:0][0-9]{2}[:.][0-9]{2,3})?[-.Z]?"
            .prop_map(String::into_bytes);
        let bytes = prop::collection::vec(1u8.., 1..80);
        let few = "[0a.Z_-]{1,70}".prop_map(String::into_bytes);
        let piece = prop_oneof![4 => near, 1 => uuid, 1 => date, 1 => bytes, 2 => few];
        prop::collection::vec(piece, 1..3).prop_map(|pieces| {
            let mut name = pieces.concat();
            name.retain(|byte| !matches!(byte, 0 | b'/'));
            name
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn the_fast_code_agrees(names in prop::collection::vec(name(), 0..5)) {
            let path = names.iter().flat_map(|name| [b"/".as_slice(), name].concat()).collect::<Vec<u8>>();
            let form = Form::of_path(&path);
            let (got, expected) = (text(&form), of_path(&path));
            prop_assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string());
            prop_assert_eq!(Form::from_names(form.names()), Ok(form.clone()));
            // A longer name may have room for one sample only that the form has more than one of.
            if form.varies() && names.iter().all(|name| name.len() < 40) {
                let rule = Pattern::form(form);
                prop_assert!(rule.is_ok_and(|rule| rule.holds_for(&path)), "{}", path.escape_ascii());
            }
        }
    }
}
