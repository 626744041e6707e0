//! The page about a profile, in a real browser: what it shows, that it needs nothing else, and that hostile names stay names.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::agent::{command, text};

/// A page as tall as the report of the example.
const WINDOW: &str = "--window-size=1280,3100";

/// A name that becomes a script and a picture wherever it is not escaped; each changes the title of the page.
const HOSTILE: &str = "/opt/<script>document.title=1</script>\\\"'><img src=x onerror=document.title=2>&lt;svg onload=document.title=3>";

/// A profile of an image with the name that is to do harm in every place that a container or a document chooses.
fn document() -> String {
    let mut text = format!(
        "apiVersion: driftlock/v1
kind: ImageProfile
image:
  digest: sha256:{}
  references:
  - docker.io/library/shop:2
  - \"shop:2{HOSTILE}\"
descendsFrom: sha256:{}
roles:
- role: /bin/shop
  approved: true
  scripts: true
  exec:
  - {{layer: image, path: /bin/shop, windows: 120}}
  - {{layer: image, path: /bin/helper, windows: 1}}
  - {{layer: image, path: /bin/busybox, applet: \"<img src=x onerror=document.title=4>\", windows: 2}}
  - {{layer: image, path: \"{HOSTILE}\", windows: 60}}
  files:
",
        "2".repeat(64),
        "1".repeat(64)
    );
    for number in 0..30 {
        let windows = 1 + number * 4;
        text.extend([
            format!("  - {{layer: image, path: /usr/share/shop/page-{number:02}.html, operation: read, windows: {windows}}}\n"),
            format!(
                "  - {{layer: upper, path: /var/tmp/job-{}.log, operation: create, windows: 1, firstWindow: {number}}}\n",
                123_450 + number
            ),
        ]);
    }
    let rest = format!(
        "  - {{layer: volume, path: \"{HOSTILE}/x\", operation: write, windows: 7}}
  - {{layer: upper, pattern: \"/var/tmp/job-{{decimal}}.log\", operation: create, windows: 30}}
  - {{layer: volume, pattern: \"{HOSTILE}/**\", operation: write}}
  capabilities:
  - {{capability: CAP_NET_BIND_SERVICE, namespace: initial, outcome: granted, windows: 120}}
  systemCalls:
  - {{name: read, abi: x86_64, phase: program, windows: 120}}
  - {{name: openat, abi: x86_64, phase: program, windows: 2}}
  - {{name: capset, abi: x86_64, phase: runtime, windows: 4}}
  execIn:
  - {{layer: image, path: /bin/health, windows: 110, accepted: true}}
  - {{layer: image, path: \"{HOSTILE}\", windows: 1, accepted: false}}
  acceptedDrift:
  - layer: volume
    path: \"{HOSTILE}\"
    sha256:
    - {}
    note: \"{HOSTILE}\"
  observation:
    windows: 120
    instances: 4
    files: {{instances: 4, windows: 119, lostWindows: 1, lostRecords: 12}}
    capabilities: {{instances: 4, windows: 120}}
- role: \"{HOSTILE}\"
  exec:
  - {{layer: image, path: /bin/other}}
",
        "ab".repeat(32)
    );
    text + &rest
}

const PREVIOUS: &str = "apiVersion: driftlock/v1
kind: ImageProfile
image:
  digest: sha256:1111111111111111111111111111111111111111111111111111111111111111
  references: [docker.io/library/shop:1]
roles:
- role: /bin/shop
  exec:
  - {layer: image, path: /bin/shop, windows: 9}
  - {layer: image, path: /bin/gone, windows: 9}
";

/// What the browser makes of a page.
struct Rendered {
    /// The document as it stands after everything has run.
    dom: String,
    /// What the page said on the console, refusals by its policy included.
    console: Vec<String>,
}

/// A browser with settings of its own.
struct Browser {
    settings: String,
}

impl Browser {
    /// `None`, and a note, where there is none; `cargo xtask test` installs it.
    fn find(directory: &Path) -> Option<Self> {
        if Command::new("chromium").arg("--version").output().is_err() {
            eprintln!("chromium is not there: the page was not looked at");
            return None;
        }
        Some(Self {
            settings: format!("--user-data-dir={}", directory.join("browser").display()),
        })
    }

    /// Opens a page, and gives what that prints.
    fn open(&self, arguments: &[&str], page: &Path) -> Rendered {
        let output = Command::new("chromium")
            // Its sandbox does not work for root; the page is our own.
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--enable-logging=stderr",
            ])
            .arg(&self.settings)
            .args(arguments)
            .arg(format!("file://{}", page.display()))
            .output()
            .expect("the browser runs");
        assert!(output.status.success(), "{output:?}");
        let log = String::from_utf8_lossy(&output.stderr);
        let console = log.lines().filter(|line| line.contains("CONSOLE"));
        Rendered {
            dom: text(&output.stdout).to_owned(),
            console: console.map(str::to_owned).collect(),
        }
    }
}

fn written(directory: &Path) -> PathBuf {
    for (name, content) in [("shop.yaml", document()), ("previous.yaml", PREVIOUS.to_owned())] {
        std::fs::write(directory.join(name), content).expect("written");
    }
    let arguments = [
        "profile",
        "report",
        "shop.yaml",
        "--html",
        "shop.html",
        "--previous",
        "previous.yaml",
    ];
    let output = command(Path::new("/nonexistent"), &arguments)
        .current_dir(directory)
        .output()
        .expect("runs");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    directory.join("shop.html")
}

#[test]
fn a_browser_shows_the_page_and_runs_nothing_of_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    let page = written(path);
    let Some(browser) = Browser::find(path) else {
        return;
    };
    let render = |page: &Path| browser.open(&["--dump-dom"], page);

    // That this browser would run what is not escaped, and would say what it refuses.
    let control = path.join("control.html");
    std::fs::write(
        &control,
        "<title>x</title><script>document.title='ran';no()</script>",
    )
    .expect("written");
    let seen = render(&control);
    assert!(
        seen.dom.contains("<title>ran</title>") && seen.console.len() == 1,
        "{}",
        seen.dom
    );

    let Rendered { dom, console } = render(&page);
    assert_eq!(console, Vec::<String>::new());
    assert!(
        dom.contains("<title>docker.io/library/shop:2 \u{b7} Driftlock</title>"),
        "{dom}"
    );
    let body = dom.split_once("<body>").expect("a body").1;
    for element in [
        "<script",
        "<img",
        "<link",
        "<iframe",
        "onload=\"",
        "onerror=\"",
        "href=",
        "src=\"",
    ] {
        assert!(!body.contains(element), "{element}");
    }
    // What the browser took for text it writes escaped; the name stands in every place that it was given.
    let name = "/opt/&lt;script&gt;document.title=1&lt;/script&gt;";
    assert!(body.matches(name).count() >= 10, "{}", body.matches(name).count());
    for shown in [
        "<h1>docker.io/library/shop:2</h1>",
        "<polyline class=\"observed\"",
        "<polyline class=\"expected\"",
        "119 windows, 40 needed",
        "1 windows lost records, 0 may",
        "30 create",
        "<li class=\"\"><code>read</code></li>",
        "<li class=\"rare\"><code>openat</code></li>",
        "x86_64, by the runtime",
        "<code>/var/tmp/job-{decimal}.log</code>",
        "{decimal}: ",
        "/**: any name, at any depth",
        "1 behaviour that is gone",
        "docker.io/library/shop:1 <code>111111111111</code>",
    ] {
        assert!(body.contains(shown), "{shown}");
    }
    // All that the page holds is in the page, and the style was applied: else a dark system would see no other colours.
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let shoot = |name: &str, scheme: &str| {
        let file = shots.join(name);
        let _ = std::fs::remove_file(&file);
        let screenshot = format!("--screenshot={}", file.display());
        browser.open(&[&screenshot, WINDOW, scheme], &page);
        std::fs::read(&file).expect("a picture")
    };
    let dark = shoot("report-dark.png", "--blink-settings=preferredColorScheme=0");
    let light = shoot("report-light.png", "--blink-settings=preferredColorScheme=1");
    for picture in [&dark, &light] {
        assert!(
            picture.starts_with(b"\x89PNG") && picture.len() > 100_000,
            "{} bytes",
            picture.len()
        );
    }
    assert_ne!(dark, light);
}

#[test]
fn a_report_is_of_what_was_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    written(path);
    let report = |arguments: &[&str]| {
        let arguments = [&["profile", "report", "shop.yaml", "--html", "-"], arguments].concat();
        let output = command(Path::new("/nonexistent"), &arguments)
            .current_dir(path)
            .output()
            .expect("runs");
        (
            output.status.code(),
            text(&output.stdout).to_owned(),
            text(&output.stderr).to_owned(),
        )
    };
    // Without the agent nobody knows the image that it descends from.
    let (code, page, error) = report(&["--role", "/bin/shop"]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert!(
        page.contains("is not at hand") && !page.contains("/bin/other"),
        "{page}"
    );
    let (code, page, error) = report(&["--role", "/bin/nobody"]);
    assert_eq!((code, page.as_str()), (Some(2), ""));
    assert!(
        error.contains("/bin/nobody") && error.contains("/bin/shop"),
        "{error}"
    );
    let (code, _, error) = report(&["--previous", "absent.yaml"]);
    assert_eq!(code, Some(3), "what is no file is asked of the agent: {error}");
}
