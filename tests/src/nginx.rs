//! nginx as Debian packages it, as an image, and a load for it.
//!
//! The image's root is made by mmdebstrap from the package sources of the machine's own release; beside nginx it holds what the tests need
//! to act in the container. The load speaks HTTP/1.1 to it inside the container's network, which has no way out.
//! Failure: packages that cannot be had, a server that does not answer.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::thread::LinkNameSpaceType;

use crate::environment::Environment;
use crate::runtime::Runtime;
use crate::server;

/// The server's program.
pub const NGINX: &str = "/usr/sbin/nginx";
/// Where the server listens, in the container's network.
pub(crate) const ADDRESS: &str = "127.0.0.1:8080";
/// Pages that there are.
const PAGES: u64 = 40;

const CONFIGURATION: &str = "user www-data;
worker_processes 2;
pid /run/nginx.pid;
events { worker_connections 256; }
http {
    access_log /var/log/nginx/access.log;
    error_log /var/log/nginx/error.log;
    include /etc/nginx/mime.types;
    include /etc/nginx/conf.d/*.conf;
}
";
const SITE: &str = "server {
    listen 127.0.0.1:8080;
    root /srv/www;
    location /private/ { deny all; }
}
";

/// How a load differs from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// What visitors do: pages one after the other, over connections that are kept.
    Ordinary,
    /// Other clients: each request on a connection of its own, in another order, half of them wrong.
    Rough,
}

/// Builds the image `name`. Returns its config digest.
pub fn build(runtime: &dyn Runtime, name: &str) -> anyhow::Result<String> {
    let directory = directory(runtime)?;
    let root = root(directory.path())?;
    runtime.import(&root, name)
}

/// Builds the image `name`, and `next`, in which one package, that of the server's program, has a later version: built of the
/// same sources with other bytes in the program, and installed by dpkg's own tools.
pub fn build_upgraded(runtime: &dyn Runtime, name: &str, next: &str) -> anyhow::Result<()> {
    let directory = directory(runtime)?;
    let root = root(directory.path())?;
    runtime.import(&root, name)?;
    upgrade(directory.path(), &root).context("cannot upgrade the package")?;
    runtime.import(&root, next)?;
    Ok(())
}

fn directory(runtime: &dyn Runtime) -> anyhow::Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("nginx-")
        .tempdir_in(runtime.place().directory())?)
}

/// The root filesystem of the image, in `directory`.
fn root(directory: &Path) -> anyhow::Result<PathBuf> {
    let root = directory.join("root");
    server::unpack(&root, &["nginx-light"])?;
    fill(&root).context("cannot lay out the image's files")?;
    Ok(root)
}

/// Unpacks a later version of the package `nginx` into `root`.
fn upgrade(directory: &Path, root: &Path) -> anyhow::Result<()> {
    let work = directory.join("package");
    fs::create_dir(&work)?;
    // As root, apt gives up its rights for a download, and could not write here.
    run(Command::new("apt-get")
        .args(["--option=APT::Sandbox::User=root", "--quiet", "download", "nginx"])
        .current_dir(&work))?;
    let package = fs::read_dir(&work)?
        .next()
        .context("nothing was downloaded")??
        .path();
    let files = work.join("files");
    run(Command::new("dpkg-deb")
        .arg("--raw-extract")
        .args([&package, &files]))?;
    let control = files.join("DEBIAN/control");
    let text = fs::read_to_string(&control)?;
    let version = text
        .lines()
        .find(|line| line.starts_with("Version: "))
        .context("the package has no version")?;
    fs::write(&control, text.replace(version, &format!("{version}+local1")))?;
    fs::OpenOptions::new()
        .append(true)
        .open(files.join(&NGINX[1..]))?
        .write_all(b"\nlocal1\n")?;
    let upgraded = work.join("upgraded.deb");
    run(Command::new("dpkg-deb")
        .args(["--root-owner-group", "--build"])
        .args([&files, &upgraded]))?;
    run(Command::new("dpkg-deb").arg("--extract").arg(&upgraded).arg(root))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// Lays out what the image holds beside its packages.
pub(crate) fn fill(root: &Path) -> anyhow::Result<()> {
    let environment = Environment::get();
    for directory in [
        "etc/cron.d",
        "etc/nginx/conf.d",
        "proc",
        "sys",
        "dev",
        "run",
        "srv/www",
        "tmp",
        "var/lib/nginx",
        "var/log/nginx",
    ] {
        fs::create_dir_all(root.join(directory))?;
    }
    if !root.join("var/run").exists() {
        symlink("/run", root.join("var/run"))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    for program in ["service", "act"] {
        let target = root.join("usr/bin").join(program);
        fs::copy(environment.fixture(program), &target)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    }
    for (path, text) in [
        ("etc/nginx/nginx.conf", CONFIGURATION),
        ("etc/nginx/conf.d/site.conf", SITE),
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n",
        ),
        ("etc/group", "root:x:0:\nwww-data:x:33:\n"),
        ("etc/shadow", "root:*:19000:0:99999:7:::\n"),
    ] {
        fs::write(root.join(path), text)?;
    }
    for page in 0..PAGES {
        let text = format!("<p>page {page}</p>\n").repeat(1 + usize::try_from(page * 37 % 400)?);
        fs::write(root.join(format!("srv/www/page-{page}.html")), text)?;
    }
    Ok(())
}

/// Has `clients` make requests of the server in the network of `process` for so long. Returns how many were answered.
pub fn load(process: u32, clients: u64, manner: Manner, duration: Duration) -> anyhow::Result<u64> {
    let network = fs::File::open(format!("/proc/{process}/ns/net")).context("no such process")?;
    let answered = AtomicU64::new(0);
    let end = Instant::now() + duration;
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..clients)
            .map(|client| {
                let (network, answered) = (&network, &answered);
                scope.spawn(move || -> anyhow::Result<()> {
                    use std::os::fd::AsFd as _;
                    // The thread ends with its work, and nobody else has its network.
                    rustix::thread::move_into_link_name_space(
                        network.as_fd(),
                        Some(LinkNameSpaceType::Network),
                    )?;
                    let mut number = client * 7;
                    while Instant::now() < end {
                        answered.fetch_add(visit(manner, number)?, Ordering::Relaxed);
                        number += 1;
                        // A server's load, not a flood: the machine has other work.
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Ok(())
                })
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a client panicked"))?)
    })?;
    Ok(answered.into_inner())
}

/// Makes one request of the server in the network of `process`, whatever the answer.
pub fn request(process: u32, method: &str, path: &str) -> anyhow::Result<()> {
    let network = fs::File::open(format!("/proc/{process}/ns/net")).context("no such process")?;
    std::thread::scope(|scope| {
        let client = scope.spawn(|| -> anyhow::Result<()> {
            use std::os::fd::AsFd as _;
            // The thread ends with its work, and nobody else has its network.
            rustix::thread::move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))?;
            let mut connection = TcpStream::connect(ADDRESS).context("the server does not listen")?;
            connection.set_read_timeout(Some(Duration::from_secs(20)))?;
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            connection.write_all(request.as_bytes())?;
            let mut answer = Vec::new();
            let _ = connection.read_to_end(&mut answer);
            Ok(())
        });
        client
            .join()
            .map_err(|_| anyhow::anyhow!("the client panicked"))?
    })
}

/// One visit: requests, and their answers. Returns how many were answered.
fn visit(manner: Manner, number: u64) -> anyhow::Result<u64> {
    let page = number % PAGES;
    let requests: Vec<String> = match manner {
        Manner::Ordinary => vec![
            format!("GET /page-{page}.html HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("HEAD /page-{page}.html HTTP/1.1\r\nHost: a\r\n\r\n"),
            format!("GET /missing-{number} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"),
        ],
        Manner::Rough => vec![match number % 8 {
            0 => format!("GET /page-{page}.html HTTP/1.0\r\n\r\n"),
            1 => format!(
                "GET /page-{page}.html HTTP/1.1\r\nHost: b\r\nRange: bytes=10-99\r\nConnection: close\r\n\r\n"
            ),
            2 => "GET /../../etc/shadow HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned(),
            3 => format!(
                "POST /page-{page}.html HTTP/1.1\r\nHost: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
            ),
            4 => "GET /private/x HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".to_owned(),
            5 => format!(
                "GET /{} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n",
                "x".repeat(9000)
            ),
            6 => "nonsense\r\n\r\n".to_owned(),
            _ => format!(
                "GET /page-{page}.html?q={number} HTTP/1.1\r\nHost: b\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n"
            ),
        }],
    };
    let mut connection = TcpStream::connect(ADDRESS).context("the server does not listen")?;
    connection.set_read_timeout(Some(Duration::from_secs(20)))?;
    connection.write_all(requests.concat().as_bytes())?;
    let mut answer = Vec::new();
    // A server that refuses what is left of a request may reset the connection.
    let _ = connection.read_to_end(&mut answer);
    let answers = answer
        .windows(9)
        .filter(|window| window.starts_with(b"HTTP/1.1 "))
        .count();
    ensure!(answers > 0, "no answer to {requests:?}");
    Ok(u64::try_from(answers)?)
}
