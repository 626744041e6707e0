//! The kernel programs and the daemon find the same rules for a path: its exact hash, that of its normal form, those of the
//! directories above it. The code of the hooks is run for real, in an object of its own that does nothing else.

use std::time::Duration;

use agent_common::hash::{self, HashKey};
use agent_common::normal_form::{Form, Pattern, subtree_hash};
use agent_common::path::{PATH_STEPS, PATH_TOO_LONG, PathWords};
use agent_common::settings::Settings;
use anyhow::Context as _;
use aya::maps::{Array, MapData};
use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use aya::{Ebpf, EbpfLoader};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use tests::environment::{Environment, patience};

/// Both halves differ from what an unset key would be.
const KEY: HashKey = HashKey {
    k0: 0x0123_4567_89ab_cdef,
    k1: 0xfedc_ba98_7654_3210,
};

/// Paths in a run.
const CASES: u32 = 6_000;

/// What the program gives, in words: hashes of directories and of their forms, the form's, two counters, the path's own.
type Output = [u64; 2 * PATH_STEPS + 3];

/// What rules may be found by.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    exact: u64,
    form: Option<u64>,
    directories: Vec<u64>,
    directory_forms: Vec<Option<u64>>,
}

/// The path code in the kernel.
struct Kernel {
    ebpf: Ebpf,
    input: Array<MapData, PathWords>,
    output: Array<MapData, Output>,
}

impl Kernel {
    fn load() -> anyhow::Result<Self> {
        let object = Environment::get().fixture("path-check.o");
        let object = std::fs::read(&object).with_context(|| format!("cannot read {}", object.display()))?;
        let settings = Settings {
            hash_key: KEY,
            ..Settings::default()
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("SETTINGS", &settings, true)
            .load(&object)?;
        program(&mut ebpf)?.load()?;
        let mut map = |name: &str| ebpf.take_map(name).with_context(|| format!("no map {name}"));
        Ok(Self {
            input: Array::try_from(map("PATH_CHECK_INPUT")?)?,
            output: Array::try_from(map("PATH_CHECK_OUTPUT")?)?,
            ebpf,
        })
    }

    fn run(&mut self, path: &PathWords) -> anyhow::Result<Found> {
        self.input.set(0, path, 0)?;
        let result = program(&mut self.ebpf)?.test_run(RawTracePointRunOptions::new())?;
        anyhow::ensure!(result.return_value == 0, "the program found no map");
        let output = self.output.get(&0, 0)?;
        let (directories, rest) = output.split_at(PATH_STEPS);
        let (directory_forms, rest) = rest.split_at(PATH_STEPS);
        let [form, counters, exact] = *rest else {
            unreachable!("these are all words")
        };
        let (count, varies) = (usize::try_from(counters & 0xffff_ffff)?, counters >> 32 == 1);
        Ok(Found {
            exact,
            form: varies.then_some(form),
            directories: directories[..count].to_vec(),
            directory_forms: directory_forms[..count]
                .iter()
                .map(|&hash| (hash != 0).then_some(hash))
                .collect(),
        })
    }
}

fn program(ebpf: &mut Ebpf) -> anyhow::Result<&mut RawTracePoint> {
    let program: Result<_, ProgramError> = ebpf
        .program_mut("path_check")
        .context("no program in the object")?
        .try_into();
    Ok(program?)
}

/// What the daemon's side says of the same path.
fn expected(names: &[Vec<u8>]) -> Found {
    let path_of = |names: &[Vec<u8>]| names.iter().flat_map(|name| [b"/", &name[..]].concat()).collect();
    let path: Vec<u8> = path_of(names);
    let form = Form::of_path(&path);
    let directory_form = |count| {
        let directory = Form::from_names(form.names().take(count)).expect("of a form");
        let varies = directory.varies();
        varies.then(|| Pattern::Subtree(directory).hash(KEY))
    };
    Found {
        exact: hash::path(KEY, &path, None),
        directories: (0..names.len())
            .map(|count| subtree_hash(KEY, &path_of(&names[..count])))
            .collect(),
        directory_forms: (0..names.len()).map(directory_form).collect(),
        form: form.varies().then(|| Pattern::Form(form.clone()).hash(KEY)),
    }
}

/// Names that have a type, nearly have one, or are any bytes.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let near = "(tmp|cc|\\.tmp|go-build|pack-|)?[a-f0-9A-F]{0,14}[-._:]?([0-9]{1,9}|[a-zA-Z0-9]{5,12}|[a-z0-9_]{7,9})?(\\.[a-z]{1,3})?";
    let uuid = "[-a]?[0-9a-f]{7,9}-[0-9a-f]{4}-[0-9a-fA-F]{3,5}-[0-9a-f]{4}-[0-9a-f]{12}[-.g]?";
    let date = "[a-z0-9]?[0-9]{4}-[0-9]{2}-[0-9]{2}([T_0-][0-9]{2}[-:0][0-9]{2}[:.][0-9]{2,3})?[-.Z]?";
    let pieces = prop_oneof![
        4 => near.prop_map(String::into_bytes),
        1 => uuid.prop_map(String::into_bytes),
        1 => date.prop_map(String::into_bytes),
        1 => prop::collection::vec(1u8.., 1..80),
        2 => "[0a.Z_-]{1,70}".prop_map(String::into_bytes),
        2 => "[0-9a-f]{2}|[0-9a-f]{38}|[0-9]{1,4}|[0-9a-f]{62,66}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(pieces, 1..3).prop_map(|pieces| {
        let mut name = pieces.concat();
        name.retain(|byte| *byte != b'/');
        name.truncate(255);
        if name.is_empty() { b"x".to_vec() } else { name }
    })
}

/// Short names in a deep path and long ones in a short path, up to the bounds of what is walked.
fn path() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![
        3 => prop::collection::vec(name(), 0..8),
        1 => prop::collection::vec("[0-9a-f]{1,3}|[a-z]{1,6}".prop_map(String::into_bytes), 20..32),
    ]
}

/// Whether this is an emulated machine, which would take minutes.
fn is_slow() -> bool {
    patience(Duration::from_secs(1)) > Duration::from_secs(1)
}

#[test]
fn kernel_and_daemon_agree() -> anyhow::Result<()> {
    let mut kernel = Kernel::load()?;
    println!(
        "went {:?}",
        program(&mut kernel.ebpf)?.info()?.verified_instruction_count()
    );
    let (mut varying, mut taken) = (0, 0);
    let cases = if is_slow() { CASES / 10 } else { CASES };
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let state = std::cell::RefCell::new((&mut kernel, &mut varying, &mut taken));
    let outcome = runner.run(&path(), |names| {
        let (kernel, varying, taken) = &mut *state.borrow_mut();
        let path: Vec<u8> = names.iter().flat_map(|name| [b"/", &name[..]].concat()).collect();
        let walked = PathWords::of_path(&path);
        if walked.flags & PATH_TOO_LONG != 0 {
            return Err(TestCaseError::reject("too long to be walked"));
        }
        let found = kernel
            .run(&walked)
            .map_err(|error| TestCaseError::fail(format!("{error:#}")))?;
        **taken += 1;
        **varying += u32::from(found.form.is_some());
        prop_assert_eq!(found, expected(&names), "{}", path.escape_ascii());
        Ok(())
    });
    match outcome {
        Ok(()) => {}
        Err(TestError::Fail(reason, names)) => {
            let names: Vec<_> = names.iter().map(|name| name.escape_ascii().to_string()).collect();
            anyhow::bail!("{reason}, of {names:?}");
        }
        Err(error) => anyhow::bail!("{error}"),
    }
    // Linux 5.16 and later tell.
    let instructions = program(&mut kernel.ebpf)?.info()?.verified_instruction_count();
    println!("the verifier went through {instructions:?} instructions");
    // Else the paths would be none that show anything.
    assert!(varying > cases / 3, "something varies in {varying} of {taken}");
    assert!(varying < taken, "something varies in each");
    Ok(())
}
