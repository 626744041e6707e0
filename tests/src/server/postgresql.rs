//! `PostgreSQL`, which makes its database at the first start, loaded by its own `pgbench`.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::{Client, Load, Reviewed, Server, user_and_script};

/// `PostgreSQL`.
#[derive(Clone, Copy, Debug)]
pub struct Postgresql;

/// As images of servers do that start as root and give up what they do not need. What a database does in the background once in minutes
/// is done in seconds, so that a load of minutes holds all of it.
const START: &str = "#!/bin/sh
set -e
export PATH=/usr/lib/postgresql/15/bin:/usr/bin LANG=C.UTF-8 TZ=UTC PGDATA=/var/lib/postgresql/data
as_user() { setpriv --reuid=postgres --regid=postgres --clear-groups \"$@\"; }
mkdir -p /run/postgresql \"$PGDATA\"
chown postgres:postgres /run/postgresql \"$PGDATA\"
chmod 700 \"$PGDATA\"
if [ ! -s \"$PGDATA/PG_VERSION\" ]; then
    as_user initdb --auth=trust --username=postgres
    cat >> \"$PGDATA/postgresql.conf\" <<END
listen_addresses = '127.0.0.1'
autovacuum_naptime = 5
checkpoint_timeout = 30
max_wal_size = 64MB
END
fi
exec setpriv --reuid=postgres --regid=postgres --clear-groups postgres
";

/// What is asked besides the benchmark. Queries that seem costly are compiled, with libraries that are read only then.
const LEARNED: &str = "VACUUM ANALYZE;
CREATE TABLE sorted AS SELECT i, md5(i::text) AS word FROM generate_series(1, 120000) AS i ORDER BY word;
CREATE INDEX ON sorted (word);
SELECT count(*) FROM (SELECT * FROM sorted ORDER BY word, i LIMIT 100000) AS s;
SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0; SELECT sum(i * 2), max(word) FROM sorted WHERE i % 7 = 3 AND word > 'a';
VACUUM FULL sorted;
TRUNCATE sorted;
DROP TABLE sorted;
CREATE DATABASE learned;
DROP DATABASE learned;
CHECKPOINT;
";
const OTHER: &str = "CREATE TABLE words (id serial PRIMARY KEY, word text UNIQUE, body bytea);
INSERT INTO words (word, body) SELECT md5(i::text), decode(repeat('00ff', 2000), 'hex') FROM generate_series(1, 5000) AS i;
UPDATE words SET word = word || 'x' WHERE id % 3 = 0;
DELETE FROM words WHERE id % 5 = 0;
SELECT count(*) FROM words AS a JOIN words AS b ON a.word < b.word WHERE a.id < 300;
SELECT count(*) FROM (SELECT i FROM generate_series(1, 600000) AS i ORDER BY -i) AS s;
REINDEX TABLE words;
CLUSTER words USING words_pkey;
CREATE DATABASE other TEMPLATE template0;
VACUUM VERBOSE words;
DROP TABLE words;
DROP DATABASE other;
";

impl Server for Postgresql {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn packages(&self) -> &'static [&'static str] {
        &["postgresql-15", "dash", "coreutils", "util-linux"]
    }

    fn fill(&self, root: &Path) -> anyhow::Result<()> {
        std::fs::create_dir_all(root.join("var/lib/postgresql"))?;
        user_and_script(root, "postgres", START)
    }

    fn options(&self) -> &'static [&'static str] {
        // The signal has it end without waiting for its clients.
        &[
            "--entrypoint=/usr/bin/start",
            "--volume=/var/lib/postgresql",
            "--stop-signal=SIGINT",
        ]
    }

    fn arguments(&self) -> &'static [&'static str] {
        &[]
    }

    fn greet(&self, client: &Client<'_>) -> anyhow::Result<()> {
        ask(client, "SELECT 1").map(drop)
    }

    fn reviewed(&self) -> &'static [Reviewed] {
        &[
            // Tables, journal and temporary files, in names of many kinds, are all its own.
            Reviewed {
                layer: "volume",
                pattern: "/var/lib/postgresql/data/**",
                operations: &["read", "write", "create", "rename"],
            },
            // Segments of shared memory, each of a number that is drawn.
            Reviewed {
                layer: "volume",
                pattern: "/dev/shm/PostgreSQL.{decimal}",
                operations: &["write", "create"],
            },
            // Which of its functions are compiled into a query depends on the query.
            Reviewed {
                layer: "image",
                pattern: "/usr/lib/postgresql/15/lib/bitcode/postgres/**",
                operations: &["read"],
            },
        ]
    }

    fn load(&self, client: &Client<'_>, load: Load, round: u32, duration: Duration) -> anyhow::Result<u64> {
        // Tables that are made anew have other files.
        pgbench(client, &["-i", "-q", "-s", "2"])?;
        let seconds = duration.as_secs().max(2).to_string();
        let (clients, mode): (_, &[&str]) = match (load, round % 2) {
            (Load::Learned, _) => ("4", &[]),
            (Load::Other, 0) => ("10", &["-S", "-M", "prepared", "-C"]),
            (Load::Other, _) => ("7", &["-N", "-M", "extended"]),
        };
        let text = pgbench(
            client,
            &[&["-c", clients, "-j", "2", "-T", &seconds], mode].concat(),
        )?;
        let statements = match load {
            Load::Learned => LEARNED,
            Load::Other => OTHER,
        };
        for statement in statements.split_inclusive(";\n") {
            ask(client, statement)?;
        }
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("number of transactions actually processed: "));
        Ok(line.with_context(|| text.clone())?.trim().parse()?)
    }
}

fn pgbench(client: &Client<'_>, words: &[&str]) -> anyhow::Result<String> {
    const PGBENCH: &[&str] = &[
        "/usr/lib/postgresql/15/bin/pgbench",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
    ];
    client.run(&[PGBENCH, words, &["postgres"]].concat())
}

fn ask(client: &Client<'_>, statement: &str) -> anyhow::Result<String> {
    client.run(&[
        "/usr/lib/postgresql/15/bin/psql",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-v",
        "ON_ERROR_STOP=1",
        "-c",
        statement,
        "postgres",
    ])
}
