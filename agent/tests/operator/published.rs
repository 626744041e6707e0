//! The profile documents that come with Driftlock: each is read, is as it would be exported again, and is exported in every format.

use std::path::{Path, PathBuf};

use driftlock::export::{Format, Source, export};
use driftlock::profile::document::ProfileDocument;

const PUBLISHED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles");

fn published() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(PUBLISHED).expect("a directory");
    let files = entries.map(|entry| entry.expect("an entry").path());
    files.filter(|file| is_document(file)).collect()
}

fn is_document(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml")
}

#[test]
fn published_documents_are_canonical_and_exported_in_every_format() {
    let files = published();
    assert!(!files.is_empty(), "{PUBLISHED}");
    for file in files {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file).expect("a text");
        let document = ProfileDocument::parse(text.as_bytes(), &name).expect("reads");
        assert!(
            document.render().expect("renders") == text,
            "{name} is not canonical"
        );
        assert!(!document.roles.is_empty(), "{name}");
        for (role, profile) in &document.roles {
            assert!(profile.approved, "{name}: {role}");
            let source = Source {
                digest: &document.digest,
                image: &document.image,
                role,
                profile,
            };
            for format in Format::ALL {
                let export = export(&source, format).expect("exports");
                // CIL has no dashes in names.
                let text = export.text.replace('_', "-");
                assert!(text.contains(&source.name()), "{name} as {}", format.as_str());
            }
        }
    }
}
