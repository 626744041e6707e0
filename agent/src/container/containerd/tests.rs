use super::*;
use crate::container::error::RuntimeError;

const ID: &str = "3e1a25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d764582810";
const POD: &str = "90ff25f319dcd43ef2828bbd9d0df52ce1e524482cb5a7879680a5d764582822";

/// A state directory as containerd 1.6 lays it out.
struct State(tempfile::TempDir);

impl State {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("directory"))
    }

    fn bundle(&self, namespace: &str, id: &str) -> PathBuf {
        self.0.path().join(TASK_DIRECTORY).join(namespace).join(id)
    }

    fn write(&self, namespace: &str, id: &str, config: &serde_json::Value, shim: &str) {
        let bundle = self.bundle(namespace, id);
        std::fs::create_dir_all(&bundle).expect("directory");
        for (name, content) in [
            ("config.json", config.to_string()),
            ("init.pid", std::process::id().to_string()),
            ("shim-binary-path", shim.to_owned()),
        ] {
            std::fs::write(bundle.join(name), content).expect("write");
        }
    }

    fn containerd(&self) -> Containerd {
        let mut containerd = Containerd::new(ContainerdConfig {
            states: vec![self.0.path().to_owned()],
            find: false,
        });
        containerd.refresh(&[]);
        containerd
    }

    fn find(&self, id: &str) -> Result<Option<(ContainerInfo, Question)>, RuntimeError> {
        self.containerd().find(&id.parse().expect("an id"))
    }
}

fn plain() -> serde_json::Value {
    serde_json::json!({"ociVersion": "1.0.2-dev", "process": {"user": {"uid": 0, "gid": 0},
        "args": ["/bin/sleep", "100"], "cwd": "/"}, "root": {"path": "rootfs"},
        "linux": {"cgroupsPath": format!("/default/{ID}")}})
}

fn in_pod(kind: &str) -> serde_json::Value {
    let mut config = plain();
    config["annotations"] = serde_json::json!({
        "io.kubernetes.cri.container-type": kind,
        "io.kubernetes.cri.sandbox-id": POD,
        "io.kubernetes.cri.sandbox-name": "web-0",
        "io.kubernetes.cri.sandbox-namespace": "shop",
        "io.kubernetes.cri.sandbox-uid": "5f0e",
        "driftlock.dev/mode": "monitor",
    });
    if kind == "container" {
        config["annotations"]["io.kubernetes.cri.container-name"] = "app".into();
        config["annotations"]["io.kubernetes.cri.image-name"] = "docker.io/library/demo:1".into();
    }
    config
}

const RUNC: &str = "/usr/bin/containerd-shim-runc-v2";

#[test]
fn reads_a_plain_container() {
    let state = State::new();
    state.write("default", ID, &plain(), RUNC);
    let (info, question) = state.find(ID).expect("readable").expect("there");
    assert_eq!(info.runtime, Runtime::Containerd);
    assert_eq!(info.role, ByteText::from("/bin/sleep"));
    assert_eq!(info.args, vec![ByteText::from("100")]);
    assert_eq!((info.pod, info.image.digest), (None, None));
    assert_eq!(info.init_pid, Some(std::process::id()));
    assert!(info.running && !info.is_sandbox && info.isolation.is_none());
    let expected = Question {
        socket: state.0.path().join("containerd.sock"),
        namespace: "default".to_owned(),
        about: About::Container { id: ID.to_owned() },
    };
    assert_eq!(question, expected);
    assert!(state.find(POD).expect("readable").is_none());
}

#[test]
fn reads_a_pod() {
    let state = State::new();
    state.write("k8s.io", ID, &in_pod("container"), RUNC);
    state.write("k8s.io", POD, &in_pod("sandbox"), RUNC);
    let (info, question) = state.find(ID).expect("readable").expect("there");
    let pod = info.pod.expect("a pod");
    assert_eq!(
        (pod.namespace, pod.name, pod.uid, pod.container),
        ("shop".into(), "web-0".into(), "5f0e".into(), Some("app".into()))
    );
    assert_eq!(
        pod.annotations[&ByteText::from("driftlock.dev/mode")],
        "monitor".into()
    );
    assert_eq!(info.name, "app".into());
    assert_eq!(info.image.reference, Some("docker.io/library/demo:1".into()));
    assert_eq!(
        question.about,
        About::PodContainer {
            id: ID.to_owned(),
            sandbox: POD.to_owned()
        }
    );
    let (info, question) = state.find(POD).expect("readable").expect("there");
    assert!(info.is_sandbox);
    assert_eq!(info.pod.expect("a pod").container, None);
    assert_eq!(question.about, About::PodSandbox { id: POD.to_owned() });
}

#[test]
fn leaves_docker_its_own_and_says_what_cannot_be_watched() {
    let state = State::new();
    state.write("moby", ID, &plain(), RUNC);
    assert!(state.find(ID).expect("readable").is_none());
    state.write(
        "k8s.io",
        POD,
        &in_pod("sandbox"),
        "/usr/local/bin/containerd-shim-runsc-v1",
    );
    let (info, _) = state.find(POD).expect("readable").expect("there");
    assert_eq!(info.isolation, Some(Isolation::GVisor));
}

#[test]
fn a_bundle_that_is_no_bundle_is_an_error() {
    let state = State::new();
    state.write("default", ID, &serde_json::json!({"process": {"args": 3}}), RUNC);
    assert!(matches!(state.find(ID), Err(RuntimeError::Malformed { .. })));
    state.write("default", ID, &serde_json::Value::Null, RUNC);
    assert!(state.find(ID).is_err());
    std::fs::write(state.bundle("default", ID).join("config.json"), "{\"pro").expect("write");
    assert!(state.find(ID).expect_err("cut").is_retryable());
}

proptest::proptest! {
    #[test]
    fn takes_any_bytes_for_a_bundle(position: proptest::sample::Index, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..4)) {
        let mut content = in_pod("container").to_string().into_bytes();
        let position = position.index(content.len());
        let end = content.len().min(position + bytes.len());
        content.splice(position..end, bytes);
        let _ = bundle::parse(Path::new("config.json"), &content);
    }
}
