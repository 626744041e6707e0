use super::*;
use crate::container::info::Runtime;
use crate::image::ImageDigest;
use crate::text::ByteText;

const ID: &str = "0cdbc918a9cca37c442dc2f63c4c49c806b8b1a6ecd622ccef3ea3de3e77b496";
const POD: &str = "90ff25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d764582822";
const IMAGE: &str = "a96c7b22b95dd26439af1997cfdab0ae1019d4ca415f0ac7ebe3785ce735f71b";
const MANIFEST: &str = "sha256:f0543ddae1b11c2fd01daf1a7de4705d33a984a5231593d2335663385f2eb82f";

/// A storage as Podman 4.3 lays it out.
struct Storage(tempfile::TempDir);

impl Storage {
    fn new() -> Self {
        let storage = Self(tempfile::tempdir().expect("directory"));
        storage.write(
            "overlay-images/images.json",
            &serde_json::json!([{"id": IMAGE, "digest": MANIFEST, "names": ["localhost/demo:1"],
                "layer": "febc", "created": "2026-11-21T16:56:16.869101937Z"}]),
        );
        storage
    }

    fn write(&self, path: &str, content: &serde_json::Value) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directory");
        std::fs::write(path, content.to_string()).expect("write");
    }

    fn list(&self, name: &str, containers: &[serde_json::Value]) {
        self.write(&format!("overlay-containers/{name}"), &containers.into());
    }

    fn bundle(&self, id: &str, annotations: &serde_json::Value) {
        self.write(
            &format!("overlay-containers/{id}/userdata/config.json"),
            &serde_json::json!({"process": {"args": ["/bin/sleep", "1000"]}, "annotations": annotations}),
        );
    }

    fn find(&self, id: &str) -> Result<Option<ContainerInfo>, RuntimeError> {
        let mut podman = Podman::new(PodmanConfig {
            storages: vec![self.0.path().to_owned()],
            find: false,
        });
        podman.refresh(&[]);
        podman.find(&id.parse().expect("an id"))
    }
}

fn entry(id: &str, name: &str) -> serde_json::Value {
    serde_json::json!({"id": id, "names": [name], "image": IMAGE, "layer": "51d6",
        "metadata": format!("{{\"image-name\":\"localhost/demo:1\",\"image-id\":\"{IMAGE}\",\"name\":\"{name}\"}}"),
        "created": "2026-11-21T16:56:17.584907306Z", "flags": {"MountLabel": "", "ProcessLabel": ""}})
}

fn podmans() -> serde_json::Value {
    serde_json::json!({"io.container.manager": "libpod", "io.kubernetes.cri-o.TTY": "false",
        "org.opencontainers.image.stopSignal": "15"})
}

#[test]
fn reads_what_podman_writes() {
    let storage = Storage::new();
    for list in ["containers.json", "volatile-containers.json"] {
        storage.list("containers.json", &[]);
        storage.list(list, &[entry(POD, "other"), entry(ID, "web")]);
        storage.bundle(ID, &podmans());
        let info = storage.find(ID).expect("readable").expect("there");
        assert_eq!(info.runtime, Runtime::Podman);
        assert_eq!(info.name, "web".into());
        assert_eq!(
            info.image.digest.as_ref().map(ImageDigest::as_str),
            Some(format!("sha256:{IMAGE}").as_str())
        );
        assert_eq!(info.image.reference, Some("localhost/demo:1".into()));
        assert_eq!(info.image.references, vec![ByteText::from("localhost/demo:1")]);
        let manifest = format!("localhost/demo@{MANIFEST}");
        assert_eq!(info.image.manifests, vec![ByteText::from(manifest.as_str())]);
        assert_eq!((info.role, info.args), ("/bin/sleep".into(), vec!["1000".into()]));
        assert_eq!((info.pod, info.init_pid, info.running), (None, None, false));
        assert_eq!(info.storage.driver, "overlay");
        assert!(info.created.is_some());
    }
    assert!(storage.find(&"f".repeat(64)).expect("readable").is_none());
}

#[test]
fn reads_what_cri_o_writes() {
    let storage = Storage::new();
    storage.list(
        "containers.json",
        &[
            entry(ID, "k8s_app_web-0_shop_5f0e_0"),
            entry(POD, "k8s_POD_web-0_shop_5f0e_0"),
        ],
    );
    let labels = |container: &str| {
        format!(
            "{{\"io.kubernetes.container.name\":\"{container}\",\"io.kubernetes.pod.name\":\"web-0\",\
             \"io.kubernetes.pod.namespace\":\"shop\",\"io.kubernetes.pod.uid\":\"5f0e\",\"app\":\"shop\"}}"
        )
    };
    storage.bundle(
        ID,
        &serde_json::json!({"io.container.manager": "cri-o", "io.kubernetes.cri-o.ContainerType": "container",
            "io.kubernetes.cri-o.SandboxID": POD, "io.kubernetes.cri-o.ImageName": "registry.example/shop:1",
            "io.kubernetes.cri-o.ImageRef": IMAGE, "io.kubernetes.cri-o.Labels": labels("app"),
            "io.kubernetes.cri-o.Annotations": "{\"driftlock.dev/mode\":\"learn\"}"}),
    );
    storage.bundle(
        POD,
        &serde_json::json!({"io.container.manager": "cri-o", "io.kubernetes.cri-o.ContainerType": "sandbox",
            "io.kubernetes.cri-o.SandboxID": POD, "io.kubernetes.cri-o.Labels": labels("POD"),
            "io.kubernetes.cri-o.Annotations": "{\"driftlock.dev/mode\":\"enforce\",\"x\":\"y\"}"}),
    );
    let info = storage.find(ID).expect("readable").expect("there");
    assert_eq!((info.runtime, info.is_sandbox), (Runtime::CriO, false));
    assert_eq!(info.image.reference, Some("registry.example/shop:1".into()));
    assert_eq!(info.name, "app".into());
    let pod = info.pod.expect("a pod");
    assert_eq!(
        (pod.namespace, pod.name, pod.uid),
        ("shop".into(), "web-0".into(), "5f0e".into())
    );
    assert_eq!(pod.labels[&ByteText::from("app")], "shop".into());
    // The pod's, not those of the container.
    assert_eq!(pod.annotations.len(), 1);
    assert_eq!(
        pod.annotations[&ByteText::from("driftlock.dev/mode")],
        "enforce".into()
    );
    let info = storage.find(POD).expect("readable").expect("there");
    assert!(info.is_sandbox);
    assert_eq!(
        (info.name, info.pod.expect("a pod").container),
        ("POD".into(), None)
    );
}

#[test]
fn says_what_is_wrong() {
    let storage = Storage::new();
    let mut wrong = entry(ID, "web");
    wrong["image"] = "../x".into();
    storage.list("containers.json", &[wrong]);
    storage.bundle(ID, &podmans());
    assert!(matches!(storage.find(ID), Err(RuntimeError::Malformed { .. })));
    let mut without = entry(ID, "web");
    without["image"] = "".into();
    storage.list("containers.json", &[without]);
    assert_eq!(
        storage.find(ID).expect("readable").expect("there").image.digest,
        None
    );
    let list = storage.0.path().join("overlay-containers/containers.json");
    std::fs::write(&list, "[{\"id\":").expect("write");
    assert!(storage.find(ID).expect_err("cut").is_retryable());
}
