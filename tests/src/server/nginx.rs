//! nginx: the image of [`crate::nginx`], loaded by Apache's benchmark `ab` and by that module's clients.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::{Client, Load, Reviewed, Server};
use crate::nginx::{self, Manner};

/// nginx.
#[derive(Clone, Copy, Debug)]
pub struct Nginx;

impl Server for Nginx {
    fn name(&self) -> &'static str {
        "nginx"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["nginx-light", "apache2-utils"]
    }

    fn fill(&self, root: &Path) -> anyhow::Result<()> {
        nginx::fill(root)
    }

    fn options(&self) -> &'static [&'static str] {
        &["--entrypoint=/usr/sbin/nginx"]
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["-g", "daemon off;"]
    }

    fn greet(&self, client: &Client<'_>) -> anyhow::Result<()> {
        self::requests(client, 1, 1, &[], "/page-0.html").map(drop)
    }

    fn load(&self, client: &Client<'_>, load: Load, round: u32, duration: Duration) -> anyhow::Result<u64> {
        // `ab` ends after so many requests, whatever the time; the clients of the other half take the time that is left.
        let (requests, parallel, options, manner): (_, _, &[&str], _) = match load {
            Load::Learned => (2000, 8, &["-k"], Manner::Ordinary),
            Load::Other => (3000, 50, &["-H", "Accept-Encoding: gzip"], Manner::Rough),
        };
        let page = format!("/page-{}.html", 1 + round % 39);
        let answered = self::requests(client, requests, parallel, options, &page)?;
        Ok(answered + nginx::load(client.process, 4, manner, duration)?)
    }

    fn reviewed(&self) -> &'static [Reviewed] {
        // Pages come and go with what is served.
        &[Reviewed {
            layer: "image",
            pattern: "/srv/www/**",
            operations: &["read"],
        }]
    }

    fn reload(&self) -> Option<&'static str> {
        Some("HUP")
    }
}

/// Has `ab` make so many requests, so many of them in parallel. Returns how many were answered, which has to be all.
fn requests(
    client: &Client<'_>,
    count: u64,
    parallel: u64,
    options: &[&str],
    path: &str,
) -> anyhow::Result<u64> {
    let (count, parallel) = (count.to_string(), parallel.to_string());
    let address = format!("http://{}{path}", nginx::ADDRESS);
    let words = [
        &["ab", "-q", "-n", &count, "-c", &parallel],
        options,
        &[address.as_str()],
    ]
    .concat();
    let text = client.run(&words)?;
    let number = |name: &str| -> anyhow::Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.with_context(|| text.clone())?.trim().parse()?)
    };
    anyhow::ensure!(
        number("Failed requests:")? == 0 && !text.contains("Non-2xx"),
        "{text}"
    );
    number("Complete requests:")
}
