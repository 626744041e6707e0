//! Redis, which keeps what it holds in snapshots and a journal, loaded by its own `redis-benchmark`.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::{Client, Load, PATIENCE, Reviewed, Server, user_and_script};
use crate::environment::patience;

/// Redis.
#[derive(Clone, Copy, Debug)]
pub struct Redis;

const CONFIGURATION: &str = "bind 127.0.0.1
port 6379
dir /var/lib/redis
save 10 1000
appendonly yes
";

/// As images of servers do that start as root and give up what they do not need.
const START: &str = "#!/bin/sh
set -e
chown redis:redis /var/lib/redis
exec setpriv --reuid=redis --regid=redis --clear-groups redis-server /etc/redis/redis.conf
";

/// In place of a command: waits until what is done in the background is done. What empties the server would end a snapshot half-way.
const WAIT: &[&str] = &[];

/// What is asked besides the benchmark. A snapshot of more than four megabytes is written in another way than a small one.
const LEARNED: &[&[&str]] = &[
    &[
        "EVAL",
        "for i = 1, 40000 do redis.call('SET', 'k' .. i, redis.sha1hex(i) .. redis.sha1hex(-i) .. redis.sha1hex(i .. 'x') .. redis.sha1hex(i .. 'y') .. redis.sha1hex(i .. 'z')) end",
        "0",
    ],
    &["BGSAVE", "SCHEDULE"],
    &["BGREWRITEAOF"],
    WAIT,
    &["INFO"],
    &["EVAL", "return redis.call('DBSIZE')", "0"],
    // And one that it does end half-way.
    &["BGSAVE", "SCHEDULE"],
    &["FLUSHALL", "ASYNC"],
];
const OTHER: &[&[&str]] = &[
    &["BGREWRITEAOF"],
    &[
        "EVAL",
        "for i = 1, 2000 do redis.call('SET', 'k' .. i, i) end",
        "0",
    ],
    &["SORT", "mylist", "LIMIT", "0", "10", "ALPHA"],
    &["BGSAVE", "SCHEDULE"],
    &["MEMORY", "STATS"],
    &["UNLINK", "mylist"],
];

impl Server for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["redis-server", "dash", "coreutils", "util-linux"]
    }

    fn fill(&self, root: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(root.join("var/lib/redis"))?;
        fs::write(root.join("etc/redis/redis.conf"), CONFIGURATION)?;
        user_and_script(root, "redis", START)
    }

    fn options(&self) -> &'static [&'static str] {
        &["--entrypoint=/usr/bin/start", "--volume=/var/lib/redis"]
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[]
    }

    fn greet(&self, client: &Client<'_>) -> anyhow::Result<()> {
        let answer = client.run(&["redis-cli", "PING"])?;
        // While it loads its data, it answers by an error.
        ensure!(answer.trim() == "PONG", "{answer}");
        Ok(())
    }

    fn reviewed(&self) -> &'static [Reviewed] {
        // temp-13.rdb, appendonly.aof.5.incr.aof: numbers of one to three digits within a name have no type.
        &[Reviewed {
            layer: "volume",
            pattern: "/var/lib/redis/**",
            operations: &["read", "write", "create", "rename"],
        }]
    }

    fn load(&self, client: &Client<'_>, load: Load, _: u32, duration: Duration) -> anyhow::Result<u64> {
        let requests: u64 = 2000;
        let count = requests.to_string();
        let (words, commands): (&[&str], _) = match load {
            Load::Learned => (&["-c", "20", "-d", "64"], LEARNED),
            Load::Other => (
                &[
                    "-c",
                    "50",
                    "-d",
                    "700",
                    "-r",
                    "100000",
                    "-P",
                    "8",
                    "-t",
                    "set,get,lpush,zadd,hset,mset",
                ],
                OTHER,
            ),
        };
        let end = Instant::now() + duration;
        let mut answered = 0;
        loop {
            let text = client.run(&[&["redis-benchmark", "-q", "-n", &count], words].concat())?;
            let tests = text.matches("requests per second").count();
            ensure!(tests > 0 && !text.contains("Error"), "{text}");
            answered += requests * u64::try_from(tests)?;
            for command in commands {
                if *command == WAIT {
                    wait(client)?;
                    continue;
                }
                let answer = client.run(&[&["redis-cli"], *command].concat())?;
                // What is done in the background is done once at a time.
                ensure!(
                    !answer.starts_with("ERR") || answer.contains("already in progress"),
                    "{command:?}: {answer}"
                );
            }
            if Instant::now() >= end {
                break;
            }
        }
        Ok(answered)
    }
}

fn wait(client: &Client<'_>) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience(PATIENCE);
    loop {
        let answer = client.run(&["redis-cli", "INFO", "persistence"])?;
        let is_under_way = answer.lines().any(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                (name.ends_with("_in_progress") || name.ends_with("_scheduled")) && value.trim() == "1"
            })
        });
        if !is_under_way {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it does not end: {answer}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
