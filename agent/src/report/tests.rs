//! The page's text. What a browser makes of it is tried in `agent/tests/operator/report.rs`.

use agent_common::file::{FileOperation, Layer};
use proptest::prelude::*;

use super::*;
use crate::behaviour::{Behaviour, ExecBehaviour, FileBehaviour, FilePattern};
use crate::profile::document::tests::document;
use crate::profile::model::Evidence;

/// What a name must not become: the beginning of a tag, or the end of an attribute.
const HOSTILE: &str = "/bin/<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;\u{202e}\u{1b}[2J";

/// The tags of a page and their attributes, as far as a name could make more of them.
fn tags(page: &str) -> usize {
    page.matches('<').count()
}

#[test]
fn a_hostile_name_is_text_wherever_it_stands() {
    let page_of = |name: &str| {
        let mut document = ProfileDocument {
            digest: format!("sha256:{}", "0".repeat(64)).parse().expect("a digest"),
            image: crate::profile::model::ImageRecord::default(),
            roles: std::collections::BTreeMap::new(),
        };
        document.image.references.insert(name.to_owned());
        let mut profile = RoleProfile::default();
        let exec = |path: &str| {
            Behaviour::Exec(ExecBehaviour {
                layer: Layer::Image,
                path: path.into(),
                applet: Some(path.into()),
            })
        };
        let file = |pattern| {
            Behaviour::File(FileBehaviour {
                layer: Layer::Volume,
                pattern,
                operation: FileOperation::Read,
            })
        };
        profile.main.insert(exec(name), Evidence::of_windows(3));
        let below = format!("{name}/{name}/{name}/1");
        let exact = FilePattern::Exact(below.as_str().into());
        profile.main.insert(file(exact), Evidence::of_windows(3));
        let form = agent_common::normal_form::Form::of_path(below.as_bytes());
        let pattern = agent_common::normal_form::Pattern::form(form).expect("a rule");
        profile
            .main
            .insert(file(FilePattern::Pattern(pattern.into())), Evidence::default());
        profile.exec_in.entry(exec(name)).or_default();
        let drift = profile.drift.entry((Layer::Volume, name.into())).or_default();
        drift.note = name.to_owned();
        profile.counts.file.windows = 9;
        document
            .roles
            .insert(Role::new(name.into()).expect("a role"), profile);
        let mut previous = document.clone();
        previous.roles.clear();
        Report {
            document: &document,
            previous: Some(&previous),
            role: None,
            targets: Targets::default(),
        }
        .html()
    };
    let (hostile, tame) = (page_of(HOSTILE), page_of("/bin/tame"));
    for raw in ["<script", "<img", "\u{1b}", "\u{202e}", "onerror=alert(2)>"] {
        assert!(!hostile.contains(raw), "{raw:?}");
    }
    assert!(hostile.contains("&lt;script&gt;") && hostile.contains("\\xe2\\x80\\xae"));
    // As many tags as with a name that means no harm, but for one more directory that its slash makes.
    assert_eq!(tags(&hostile), tags(&tame), "{hostile}");
    assert!(hostile.contains("Content-Security-Policy"));
}

#[test]
fn numbers_are_read_at_a_glance() {
    assert_eq!(grouped(0), "0");
    assert_eq!(grouped(1_234_567), "1\u{202f}234\u{202f}567");
    assert_eq!(per_cent(0.999_99), "99.9\u{202f}%", "never rounded up to all");
    assert_eq!(per_cent(1.0), "100\u{202f}%");
    assert_eq!(
        (count(1, "path"), count(2, "path")),
        ("1 path".to_owned(), "2 paths".to_owned())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a document holds, the page names nothing outside itself and runs nothing.
    #[test]
    fn every_document_has_a_page(document in document(), previous in document()) {
        let page = Report { document: &document, previous: Some(&previous), role: None, targets: Targets::default() }.html();
        prop_assert!(page.ends_with("</html>"));
        for element in ["<script", "<img", "<link", "<iframe", "<a ", "<object", " style=", " src=", " href="] {
            let inside = page.split("</style>").nth(1).expect("a body");
            // Of names only what is escaped is left: no tag begins in one.
            prop_assert!(!element.starts_with('<') || !inside.contains(element), "{}", element);
        }
    }
}
