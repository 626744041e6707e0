use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::container::overlay::LowerLayer;
use crate::container::test_mount::TestDirectory;

/// Layers in a directory of their own.
struct Layers(TestDirectory);

impl Layers {
    fn new() -> Self {
        Self(TestDirectory::new())
    }

    fn layer(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, layer: &str, path: &str, content: &[u8]) {
        let path = self.layer(layer).join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(path, content).expect("written");
    }

    fn pair(&self, before: &[&str], now: &[&str]) -> ImagePair {
        let layers = |names: &[&str]| names.iter().map(|name| self.layer(name)).collect();
        ImagePair::new(layers(before), layers(now), ContentLimits::default())
    }
}

fn enough() -> Budget {
    Budget {
        until: Instant::now() + Duration::from_mins(1),
        bytes: u64::MAX,
    }
}

fn likeness(pair: &ImagePair, path: &str) -> Option<Likeness> {
    pair.compare(&path.into(), &mut enough())
        .expect("readable layers")
}

#[test]
fn each_path_is_compared_with_what_the_other_image_has_there() {
    let layers = Layers::new();
    layers.write("base", "bin/shared", b"1");
    layers.write("base", "bin/replaced", b"1");
    layers.write("base", "bin/removed", b"1");
    layers.write("old", "bin/rebuilt", b"same");
    layers.write("new", "bin/rebuilt", b"same");
    layers.write("old", "bin/upgraded", b"v1");
    layers.write("new", "bin/upgraded", b"v2");
    layers.write("old", "bin/longer", b"1");
    layers.write("new", "bin/longer", b"12");
    let long = vec![7; 3 * CHUNK_BYTES + 1];
    let mut other = long.clone();
    other[3 * CHUNK_BYTES] = 8;
    for (layer, path, content) in [
        ("old", "bin/long", &long),
        ("new", "bin/long", &long),
        ("old", "bin/last-byte", &long),
        ("new", "bin/last-byte", &other),
    ] {
        layers.write(layer, path, content);
    }
    layers.write("new", "bin/replaced", b"2");
    layers.write("new", "bin/added", b"1");
    layers.write("old", "etc/kind", b"");
    layers.write("new", "etc/kind/file", b"");
    let gone = rustix::fs::makedev(0, 0);
    let whiteout = layers.layer("new").join("bin/removed");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &whiteout,
        FileType::CharacterDevice,
        rustix::fs::Mode::empty(),
        gone,
    )
    .unwrap_or_else(|error| panic!("cannot run without root: {error}"));
    let pair = layers.pair(&["old", "base"], &["new", "base"]);
    for (path, expected) in [
        ("/bin/shared", Likeness::Same),
        ("/bin/rebuilt", Likeness::Same),
        ("/bin/upgraded", Likeness::Changed),
        ("/bin/longer", Likeness::Changed),
        ("/bin/long", Likeness::Same),
        ("/bin/last-byte", Likeness::Changed),
        ("/bin/replaced", Likeness::Changed),
        ("/bin/removed", Likeness::Absent),
        ("/bin/added", Likeness::New),
        ("/bin/nowhere", Likeness::Absent),
        ("/bin", Likeness::Same),
        ("/etc/kind", Likeness::Changed),
    ] {
        assert_eq!(likeness(&pair, path), Some(expected), "{path}");
    }
    assert!(!pair.is_same());
    assert!(layers.pair(&["old", "base"], &["old", "base"]).is_same());
}

#[test]
fn what_executing_a_file_gives_is_part_of_it() {
    let layers = Layers::new();
    layers.write("old", "bin/tool", b"1");
    layers.write("new", "bin/tool", b"1");
    let pair = layers.pair(&["old"], &["new"]);
    let tool = layers.layer("new").join("bin/tool");
    assert_eq!(likeness(&pair, "/bin/tool"), Some(Likeness::Same));
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o4755)).expect("mode");
    assert_eq!(likeness(&pair, "/bin/tool"), Some(Likeness::Changed));
}

#[test]
fn what_the_budget_does_not_allow_is_not_compared() {
    let layers = Layers::new();
    layers.write("base", "bin/shared", b"1");
    layers.write("old", "bin/tool", b"12345");
    layers.write("new", "bin/tool", b"12345");
    let pair = layers.pair(&["old", "base"], &["new", "base"]);
    let compare =
        |path: &str, budget: &mut Budget| pair.compare(&path.into(), budget).expect("readable layers");
    let mut budget = Budget {
        bytes: 15,
        ..enough()
    };
    assert_eq!(compare("/bin/tool", &mut budget), Some(Likeness::Same));
    assert_eq!(
        compare("/bin/tool", &mut budget),
        None,
        "10 of 15 bytes were read"
    );
    assert_eq!(
        compare("/bin/shared", &mut budget),
        Some(Likeness::Same),
        "nothing to read"
    );
    budget.until = Instant::now();
    assert_eq!(compare("/bin/shared", &mut budget), None);
}

#[test]
fn layers_that_are_gone_are_noticed() {
    let layers = Layers::new();
    layers.write("top", "a", b"");
    layers.write("own", "a", b"");
    let lower = |name: &str, from_image| LowerLayer {
        directory: layers.layer(name),
        from_image,
    };
    let overlay = Overlay {
        lowers: vec![lower("own", false), lower("top", true)],
        upper: layers.layer("upper"),
    };
    let noted = image_layers(&overlay).expect("they are there");
    assert_eq!(still_there(&noted), Some(vec![layers.layer("top")]));
    assert_eq!(still_there(&[]), None);
    std::fs::rename(layers.layer("top"), layers.layer("kept")).expect("renamed");
    assert_eq!(still_there(&noted), None);
    layers.write("top", "a", b"");
    assert_eq!(still_there(&noted), None, "another directory has the name");
}
