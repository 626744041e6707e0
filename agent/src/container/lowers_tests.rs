use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::container::content::Location;
use crate::container::content::tests::undisturbed;
use crate::container::overlay::LowerLayer;
use crate::container::test_mount::TestMount;

const PATH: &str = "/usr/bin/tool";

/// A container as Docker mounts it: the layer that the runtime wrote, then the image's.
struct Container {
    mount: TestMount,
    overlay: Overlay,
}

impl Container {
    /// Lays out the layers by `fill`, then mounts them.
    fn new(fill: impl Fn(&str, &Path)) -> Self {
        let names = ["c-init/diff", "top/diff", "base/diff"];
        let mount = TestMount::overlay_of(&names, |name, directory| {
            std::fs::create_dir_all(directory.join("usr/bin")).expect("directory");
            fill(name, directory);
        });
        let lowers = names.iter().map(|name| LowerLayer {
            directory: mount.lower(name),
            from_image: !name.contains("-init"),
        });
        let overlay = Overlay {
            lowers: lowers.collect(),
            upper: mount.upper(),
        };
        Self { mount, overlay }
    }

    /// With the image's file in the lowest layer.
    fn with_tool() -> Self {
        Self::new(|name, directory| {
            if name == "base/diff" {
                write(&directory.join("usr/bin/tool"), b"abc", 0o755);
            }
        })
    }

    fn tool(&self) -> std::path::PathBuf {
        self.mount.path().join("usr/bin/tool")
    }

    fn compare(&self) -> ImageMatch {
        let limits = ContentLimits::default();
        let location = Location::Upper {
            directory: &self.overlay.upper,
            device: 1,
        };
        let hashed = undisturbed(location, &PATH.into(), None, &limits).expect("a file in the upper layer");
        self.overlay
            .compare_with_image(&PATH.into(), &hashed, &limits)
            .expect("readable layers")
    }
}

fn write(path: &Path, content: &[u8], mode: u32) {
    std::fs::write(path, content).expect("write");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("mode");
}

#[test]
fn a_file_that_was_only_touched_is_the_images() {
    let container = Container::with_tool();
    std::fs::set_permissions(container.tool(), std::fs::Permissions::from_mode(0o700)).expect("mode");
    assert_eq!(container.compare(), ImageMatch::Equal);
    std::os::unix::fs::chown(container.tool(), Some(1000), Some(1000)).expect("owner");
    assert!(container.compare().is_equal());
}

#[test]
fn one_that_gained_privileges_is_not() {
    let container = Container::with_tool();
    std::fs::set_permissions(container.tool(), std::fs::Permissions::from_mode(0o4755)).expect("mode");
    assert_eq!(container.compare(), ImageMatch::MorePrivileged);
    std::fs::set_permissions(container.tool(), std::fs::Permissions::from_mode(0o755)).expect("mode");
    assert_eq!(container.compare(), ImageMatch::Equal);
    // cap_net_bind_service, effective and permitted, version 2 of the attribute.
    let mut capability = [0; 20];
    capability[..4].copy_from_slice(&0x0200_0001_u32.to_le_bytes());
    capability[4..8].copy_from_slice(&(1_u32 << 10).to_le_bytes());
    let file = File::open(container.mount.upper().join("usr/bin/tool")).expect("open");
    rustix::fs::fsetxattr(
        &file,
        "security.capability",
        &capability,
        rustix::fs::XattrFlags::empty(),
    )
    .expect("attribute");
    drop(file);
    assert_eq!(container.compare(), ImageMatch::MorePrivileged);
}

#[test]
fn other_content_is_drift() {
    let container = Container::with_tool();
    write(&container.tool(), b"abd", 0o755);
    assert_eq!(container.compare(), ImageMatch::OtherContent);
    write(&container.tool(), b"abcd", 0o755);
    assert_eq!(container.compare(), ImageMatch::OtherContent);
    // Removed and written again, it is the same file at the same place.
    std::fs::remove_file(container.tool()).expect("remove");
    write(&container.tool(), b"abc", 0o755);
    assert_eq!(container.compare(), ImageMatch::Equal);
}

#[test]
fn what_the_image_does_not_have_is_not_the_images() {
    let container = Container::new(|name, directory| {
        if name == "c-init/diff" {
            write(&directory.join("usr/bin/tool"), b"abc", 0o755);
        }
    });
    write(&container.tool(), b"abc", 0o755);
    assert_eq!(container.compare(), ImageMatch::NotInImage);

    let container = Container::new(|_, _| {});
    write(&container.tool(), b"abc", 0o755);
    assert_eq!(container.compare(), ImageMatch::NotInImage);
}

#[test]
fn the_topmost_layer_of_the_image_counts() {
    let container = Container::new(|name, directory| match name {
        "top/diff" => write(&directory.join("usr/bin/tool"), b"new", 0o755),
        "base/diff" => write(&directory.join("usr/bin/tool"), b"abc", 0o755),
        _ => {}
    });
    write(&container.tool(), b"abc", 0o755);
    assert_eq!(container.compare(), ImageMatch::OtherContent);
    write(&container.tool(), b"new", 0o755);
    assert_eq!(container.compare(), ImageMatch::Equal);
}

#[test]
fn what_the_image_removed_is_not_the_images() {
    let opaque = |directory: &Path| {
        let directory = File::open(directory.join("usr")).expect("open");
        rustix::fs::fsetxattr(
            &directory,
            "trusted.overlay.opaque",
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .expect("attribute");
    };
    let whiteout = |directory: &Path| {
        let path = directory.join("usr/bin/tool");
        rustix::fs::mknodat(rustix::fs::CWD, path, FileType::CharacterDevice, Mode::empty(), 0)
            .expect("whiteout");
    };
    let instead = |directory: &Path| {
        std::fs::remove_dir(directory.join("usr/bin")).expect("remove");
        write(&directory.join("usr/bin"), b"a file", 0o644);
    };
    let hide: [&dyn Fn(&Path); 3] = [&opaque, &whiteout, &instead];
    for (number, hide) in hide.into_iter().enumerate() {
        let container = Container::new(|name, directory| match name {
            "top/diff" => hide(directory),
            "base/diff" => write(&directory.join("usr/bin/tool"), b"abc", 0o755),
            _ => {}
        });
        // The kernel's view and ours agree that nothing is there.
        assert!(!container.tool().exists(), "{number}");
        let directory = container.tool().parent().expect("a parent").to_owned();
        if directory.is_file() {
            std::fs::remove_file(&directory).expect("remove");
        }
        std::fs::create_dir_all(&directory).expect("directory");
        write(&container.tool(), b"abc", 0o755);
        assert_eq!(container.compare(), ImageMatch::NotInImage, "{number}");
    }
}
