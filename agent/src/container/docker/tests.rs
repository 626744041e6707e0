use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::container::info::Runtime;
use crate::image::ImageDigest;
use crate::text::ByteText;

const ID: &str = "10ee6a25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d7645828";
const IMAGE: &str = "sha256:d254d627f2f4c4cf32050ccc65db81c0a64d21a0bad7ab92f0747bc2e5c174f9";

/// A data directory as dockerd 20.10 lays it out, with one container.
struct DataDirectory(tempfile::TempDir);

fn docker_in(config: DockerConfig) -> Docker {
    let mut docker = Docker::new(config);
    docker.refresh(&[]);
    docker
}

impl DataDirectory {
    fn new() -> Self {
        let data = Self(tempfile::tempdir().expect("directory"));
        std::fs::create_dir_all(data.0.path().join("containers").join(ID)).expect("directory");
        std::fs::create_dir_all(data.0.path().join("image/overlay2")).expect("directory");
        data.write_container(&description());
        let repositories = serde_json::json!({"Repositories": {
            "demo": {"demo:1": IMAGE, "demo:old": format!("sha256:{}", "0".repeat(64))},
            "reg.example:5000/team/demo": {
                "reg.example:5000/team/demo:v2": IMAGE,
                "reg.example:5000/team/demo@sha256:99": IMAGE,
            },
        }});
        data.write("image/overlay2/repositories.json", &repositories.to_string());
        data
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        std::fs::write(&path, content).expect("write");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("mode");
    }

    fn config_path(&self) -> PathBuf {
        self.0.path().join("containers").join(ID).join("config.v2.json")
    }

    fn write_container(&self, description: &serde_json::Value) {
        self.write(
            &format!("containers/{ID}/config.v2.json"),
            &description.to_string(),
        );
    }

    fn docker(&self) -> Docker {
        docker_in(DockerConfig {
            data_roots: vec![self.0.path().to_owned()],
            find_daemons: false,
        })
    }

    fn find(&self) -> Result<Option<ContainerInfo>, RuntimeError> {
        self.docker().find(&ID.parse().expect("an id"))
    }
}

fn description() -> serde_json::Value {
    serde_json::json!({
        "StreamConfig": {},
        "State": {"Running": true, "Paused": false, "Restarting": false, "OOMKilled": false, "Pid": 20224,
            "ExitCode": 0, "Error": "", "StartedAt": "2026-11-21T08:06:08.255195848Z",
            "FinishedAt": "0001-01-01T00:00:00Z", "Health": null},
        "ID": ID, "Created": "2026-11-21T08:06:07.938602233Z", "Managed": false,
        "Path": "/bin/sleep", "Args": ["100000"],
        "Config": {"Hostname": "10ee6a25f319", "Env": null, "Cmd": ["/bin/sleep", "100000"], "Image": "demo:1",
            "Entrypoint": null, "Labels": {"a": "b", "x": "ü\"\n"}},
        "Image": IMAGE, "Name": "/web", "Driver": "overlay2", "OS": "linux", "MountPoints": {}
    })
}

#[test]
fn reads_what_dockerd_writes() {
    let data = DataDirectory::new();
    let info = data.find().expect("readable").expect("there");
    assert_eq!(info.runtime, Runtime::Docker);
    assert_eq!(info.name, ByteText::from("web"));
    assert_eq!(info.image.digest.as_ref().map(ImageDigest::as_str), Some(IMAGE));
    assert_eq!(info.image.reference, Some(ByteText::from("demo:1")));
    assert_eq!(
        info.image.references,
        ["demo:1", "reg.example:5000/team/demo:v2"].map(ByteText::from)
    );
    assert_eq!(
        info.image.manifests,
        ["reg.example:5000/team/demo@sha256:99"].map(ByteText::from)
    );
    assert_eq!(info.labels[&ByteText::from("x")], ByteText::from("ü\"\n"));
    assert_eq!(
        (info.role, info.args),
        (ByteText::from("/bin/sleep"), vec![ByteText::from("100000")])
    );
    assert_eq!((info.running, info.init_pid), (true, Some(20224)));
    assert!(info.started > info.created);
    assert_eq!(info.storage.data_root, data.0.path());
    assert_eq!(data.docker().running().containers.len(), 1);
}

#[test]
fn a_container_that_has_not_started_has_no_process() {
    let data = DataDirectory::new();
    let mut description = description();
    description["State"] =
        serde_json::json!({"Running": false, "Pid": 0, "StartedAt": "0001-01-01T00:00:00Z"});
    description["Args"] = serde_json::Value::Null;
    description["Config"]["Labels"] = serde_json::Value::Null;
    description["Config"]["Image"] = IMAGE["sha256:".len()..][..12].into();
    data.write_container(&description);
    let info = data.find().expect("readable").expect("there");
    assert_eq!((info.running, info.init_pid, info.started), (false, None, None));
    assert_eq!(info.image.reference, None);
    assert!(data.docker().running().containers.is_empty());
}

#[test]
fn an_unknown_container_is_no_error() {
    let data = DataDirectory::new();
    let other = "f".repeat(64).parse().expect("an id");
    assert_eq!(data.docker().find(&other).expect("no error"), None);
    std::fs::remove_file(data.0.path().join("image/overlay2/repositories.json")).expect("remove");
    let info = data.find().expect("readable").expect("there");
    assert!(info.image.references.is_empty());
}

#[test]
fn a_file_that_is_cut_short_can_be_tried_again() {
    let data = DataDirectory::new();
    let whole = description().to_string();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        let cut = whole
            .char_indices()
            .map(|(index, _)| index)
            .filter(|index| *index <= length)
            .max();
        data.write(
            &format!("containers/{ID}/config.v2.json"),
            &whole[..cut.unwrap_or(0)],
        );
        let error = data.find().expect_err("cut");
        assert!(error.is_retryable(), "{length}: {error}");
    }
}

#[test]
fn what_others_can_write_proves_nothing() {
    let data = DataDirectory::new();
    std::fs::set_permissions(data.config_path(), std::fs::Permissions::from_mode(0o666)).expect("mode");
    assert!(matches!(
        data.find(),
        Err(RuntimeError::Untrusted { mode: 0o666, .. })
    ));
    std::fs::remove_file(data.config_path()).expect("remove");
    std::os::unix::fs::symlink("/etc/hostname", data.config_path()).expect("link");
    assert!(matches!(data.find(), Err(RuntimeError::Read(_))));
}

#[test]
fn says_what_is_wrong_with_a_description() {
    let data = DataDirectory::new();
    let with = |field: &str, value: serde_json::Value| {
        let mut description = description();
        description[field] = value;
        data.write_container(&description);
        data.find().expect_err(field)
    };
    assert!(matches!(
        with("Image", "demo".into()),
        RuntimeError::Malformed { .. }
    ));
    assert!(matches!(
        with("ID", "f".repeat(64).into()),
        RuntimeError::Malformed { .. }
    ));
    assert!(matches!(with("Name", 3.into()), RuntimeError::Malformed { .. }));
    assert!(matches!(
        with("Driver", "../../x".into()),
        RuntimeError::Malformed { .. }
    ));
}

#[test]
fn an_image_in_containerds_store_is_named_by_its_manifest() {
    let data = DataDirectory::new();
    let mut description = description();
    description["Driver"] = "overlayfs".into();
    data.write_container(&description);
    let info = data.find().expect("readable").expect("there");
    assert_eq!(info.image.digest, None);
    assert_eq!(info.image.target.as_ref().map(ImageDigest::as_str), Some(IMAGE));
    assert_eq!(info.image.reference, Some(ByteText::from("demo:1")));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn takes_any_bytes_for_a_description(position: proptest::sample::Index, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..4)) {
        let data = DataDirectory::new();
        let mut content = description().to_string().into_bytes();
        let position = position.index(content.len());
        let end = content.len().min(position + bytes.len());
        content.splice(position..end, bytes);
        std::fs::write(data.config_path(), &content).expect("write");
        if let Ok(found) = data.find() {
            proptest::prop_assert!(found.is_some_and(|info| info.id.as_str() == ID));
        }
    }
}

#[test]
fn of_two_copies_the_running_one_counts() {
    let (stopped, running) = (DataDirectory::new(), DataDirectory::new());
    let mut description = description();
    description["State"]["Running"] = false.into();
    stopped.write_container(&description);
    let docker = docker_in(DockerConfig {
        data_roots: vec![stopped.0.path().to_owned(), running.0.path().to_owned()],
        find_daemons: false,
    });
    let info = docker
        .find(&ID.parse().expect("an id"))
        .expect("readable")
        .expect("there");
    assert_eq!(info.storage.data_root, running.0.path());
}
