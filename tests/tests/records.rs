//! The records that the kernel programs send, as they lie in the ring buffer: read here in place of the agent, which is halted.
//!
//! With `DRIFTLOCK_RECORDS=agent/fuzz/seeds` they, and what the agent answers to the command line, become the seeds of
//! `cargo xtask fuzz`: to be made anew whenever the ABI or a view changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use aya::maps::{Map, MapData, RingBuf};

use tests::agent::Options;
use tests::elsewhere::Elsewhere;
use tests::stage::{IMAGE, Stage};

/// Names the directory that holds the seeds of all targets.
const RECORDS: &str = "DRIFTLOCK_RECORDS";
/// Bytes of a record's header (`agent-common/src/record/mod.rs`): the ABI, the length, and further on the kind.
const HEADER_BYTES: usize = 32;
/// Where the kind is.
const KIND_AT: usize = 28;
/// The kinds that every tier sends, by their numbers.
const KINDS: [(u8, &str); 4] = [(1, "exec"), (2, "cgroup"), (3, "exit"), (4, "leave")];

/// Each kind of record that every tier has is sent, and says how long it is.
#[test]
fn every_kind_of_record_is_whole() -> anyhow::Result<()> {
    let stage = Stage::enforcing(&Options::named("records"))?;
    let volume = stage.host_directory("volume")?;
    tests::demo::put_tool(&volume)?;
    let service = stage.service("records", &[&format!("--volume={}:/data", volume.display())])?;
    let views = views(&stage)?;
    let mut ring = ring(&stage.agent.pinned())?;
    stage.agent.halt()?;
    while ring.next().is_some() {}

    // A program that conforms, drift, an unknown program, what came from outside, one that leaves, and a container that comes and goes.
    service.start(&["/bin/fetch"])?;
    assert!(
        service
            .start(&["/data/tool", "/tmp/witness", "\u{1b}"])?
            .all(stage.stop)
    );
    assert!(service.start(&["/bin/rotate", "/tmp/witness"])?.all(stage.stop));
    stage.runtime.exec(&service.container, &["/bin/ls", "/"])?;
    let passing = stage.runtime.run("passing", IMAGE, &[], &["/bin/fetch"])?;
    stage.runtime.remove(&passing)?;
    let elsewhere = Elsewhere::create()?;
    elsewhere.take(&stage.runtime.process(&service.container)?.to_string())?;

    let mut records: BTreeMap<u8, Vec<Vec<u8>>> = BTreeMap::new();
    while let Some(record) = ring.next() {
        let record = record.to_vec();
        assert!(record.len() >= HEADER_BYTES, "a record of {} bytes", record.len());
        let length = u32::from_ne_bytes(record[4..8].try_into()?);
        assert_eq!(usize::try_from(length)?, record.len());
        records.entry(record[KIND_AT]).or_default().push(record);
    }
    for (kind, name) in KINDS {
        assert!(
            records.contains_key(&kind),
            "no record {name} among {:?}",
            records.keys()
        );
    }
    if let Some(directory) = std::env::var_os(RECORDS).map(PathBuf::from) {
        for (kind, list) in &records {
            for (number, record) in list.iter().enumerate() {
                write(
                    &directory.join("decode"),
                    &format!("kind_{kind}_{number}"),
                    record,
                )?;
            }
        }
        for (name, choice, view) in views {
            write(
                &directory.join("reply"),
                name,
                &[&[choice], view.as_bytes()].concat(),
            )?;
        }
    }
    stage.agent.go_on()?;
    stage.runtime.remove(&service.container)
}

/// What the agent answers, each with the byte by which the target `reply` knows what was asked.
fn views(stage: &Stage) -> anyhow::Result<Vec<(&'static str, u8, String)>> {
    let view = |words: &[&str]| stage.agent.json(words).map(|view| view.to_string());
    Ok(vec![
        ("status", 0, view(&["status"])?),
        ("containers", 1, view(&["containers"])?),
        ("doctor", 2, view(&["doctor"])?),
        ("profile", 3, view(&["profile", "show", IMAGE])?),
    ])
}

/// The ring buffer of an agent, which must not read from it meanwhile.
fn ring(pinned: &Path) -> anyhow::Result<RingBuf<MapData>> {
    let abi = std::fs::read_dir(pinned)?.next().context("nothing is pinned")??;
    let map = Map::from_map_data(MapData::from_pin(abi.path().join("EVENTS"))?)?;
    Ok(RingBuf::try_from(map)?)
}

fn write(directory: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    let file = directory.join(name);
    std::fs::write(&file, content).with_context(|| format!("cannot write {}", file.display()))
}
