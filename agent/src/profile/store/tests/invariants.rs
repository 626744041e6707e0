//! Whatever is said to the store, in whatever order, it holds what a plain model of it holds, before and after it is
//! opened again.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::profile::model::WINDOWS_MAX;
use crate::profile::{EvidenceGain, Holding};

/// Something that is said to a store.
#[derive(Clone, Debug)]
enum Word {
    Learn(Vec<(u8, Section, u8)>),
    AcceptExecIn(u8, u8),
    AcceptExec(u8, u8),
    Forget(u8, Section, u8),
    Evidence(u8, Section, u8, u64),
    Approve(u8, bool),
    Remove(u8),
    Reopen,
}

/// What is held of one profile: the windows of each behaviour, and whether it is permitted.
#[derive(Default)]
struct Model {
    held: BTreeMap<(Section, u8), (u64, bool)>,
    approved: bool,
}

fn section() -> impl Strategy<Value = Section> {
    prop_oneof![Just(Section::Main), Just(Section::ExecIn)]
}

fn word() -> impl Strategy<Value = Word> {
    let role = 0..3_u8;
    let path = 0..6_u8;
    prop_oneof![
        4 => prop::collection::vec((role.clone(), section(), path.clone()), 0..5).prop_map(Word::Learn),
        1 => (role.clone(), path.clone()).prop_map(|(role, path)| Word::AcceptExecIn(role, path)),
        1 => (role.clone(), path.clone()).prop_map(|(role, path)| Word::AcceptExec(role, path)),
        1 => (role.clone(), section(), path.clone()).prop_map(|(role, section, path)| Word::Forget(role, section, path)),
        2 => (role.clone(), section(), path, prop_oneof![0..5_u64, Just(u64::MAX)])
            .prop_map(|(role, section, path, windows)| Word::Evidence(role, section, path, windows)),
        1 => (role.clone(), any::<bool>()).prop_map(|(role, approved)| Word::Approve(role, approved)),
        1 => role.prop_map(Word::Remove),
        1 => Just(Word::Reopen),
    ]
}

fn role(number: u8) -> ProfileKey {
    key(1, &format!("/role{number}"))
}

fn program(number: u8) -> Behaviour {
    behaviour(&format!("/bin/{number}"))
}

fn say(store: &mut ProfileStore, model: &mut BTreeMap<u8, Model>, word: &Word) {
    match word {
        Word::Learn(batch) => {
            let observations: Vec<Observation> = batch
                .iter()
                .map(|(number, section, path)| Observation {
                    key: role(*number),
                    section: *section,
                    behaviour: program(*path),
                })
                .collect();
            let learned = store.learn(&observations).expect("learns");
            for ((number, section, path), answer) in batch.iter().zip(learned) {
                let profile = model.entry(*number).or_default();
                let is_known = profile.held.contains_key(&(*section, *path));
                assert_eq!(answer, if is_known { Learned::Known } else { Learned::New });
                if !is_known {
                    profile
                        .held
                        .insert((*section, *path), (0, *section == Section::Main));
                    profile.approved &= *section == Section::ExecIn;
                }
            }
        }
        Word::AcceptExecIn(number, path) => {
            let result = store.accept_exec_in(&role(*number), &[program(*path)]);
            assert_eq!(result.is_ok(), model.contains_key(number));
            if let Some(profile) = model.get_mut(number) {
                profile.held.entry((Section::ExecIn, *path)).or_default().1 = true;
            }
        }
        Word::AcceptExec(number, path) => {
            let result = store.accept_main(&role(*number), &program(*path));
            assert_eq!(result.is_ok(), model.contains_key(number));
            if let Some(profile) = model.get_mut(number) {
                profile.held.entry((Section::Main, *path)).or_insert((0, true));
            }
        }
        Word::Forget(number, section, path) => {
            let result = store.forget(&role(*number), *section, &program(*path)).ok();
            let expected = model
                .get_mut(number)
                .map(|profile| profile.held.remove(&(*section, *path)).is_some());
            assert_eq!(result, expected);
        }
        Word::Evidence(number, section, path, windows) => {
            let gain = EvidenceGain {
                key: role(*number),
                section: *section,
                behaviour: program(*path),
                windows: *windows,
            };
            store.add_windows(&[gain], &[]).expect("adds");
            let held = model
                .get_mut(number)
                .and_then(|profile| profile.held.get_mut(&(*section, *path)));
            if let Some((held, _)) = held {
                *held = held.saturating_add(*windows).min(WINDOWS_MAX);
            }
        }
        Word::Approve(number, approved) => {
            let result = store.approve(&role(*number), *approved);
            assert_eq!(result.is_ok(), model.contains_key(number));
            if let Some(profile) = model.get_mut(number) {
                profile.approved = *approved;
            }
        }
        Word::Remove(number) => {
            let result = store.remove(&role(*number));
            assert_eq!(result.is_ok(), model.remove(number).is_some());
        }
        Word::Reopen => {}
    }
}

fn compare(store: &ProfileStore, model: &BTreeMap<u8, Model>) {
    assert_eq!(store.profiles().count(), model.len());
    for (number, expected) in model {
        let profile = store.profile(&role(*number)).expect("is held");
        assert_eq!(profile.approved, expected.approved);
        for section in [Section::Main, Section::ExecIn] {
            for path in 0..6 {
                let holding = match expected.held.get(&(section, path)) {
                    Some((_, true)) => Holding::Yes,
                    Some((_, false)) => Holding::ProposedOnly,
                    None => Holding::No,
                };
                assert_eq!(profile.holds(section, &program(path)), holding);
            }
        }
        let windows: BTreeMap<_, _> = expected
            .held
            .iter()
            .map(|(held, (windows, _))| (*held, *windows))
            .collect();
        for ((section, path), windows) in windows {
            let behaviour = program(path);
            let found = match section {
                Section::Main => held(&profile.main, &behaviour).windows,
                Section::ExecIn => held(&profile.exec_in, &behaviour).evidence.windows,
            };
            assert_eq!(found, windows);
        }
        // The rules are what is held, no more and no less.
        let rules: BTreeSet<_> = profile.rules().collect();
        let permitted = expected.held.iter().filter(|(_, (_, permitted))| *permitted);
        assert_eq!(
            rules,
            permitted
                .map(|((section, path), _)| (*section, program(*path)))
                .collect()
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_store_holds_what_it_was_told(words in prop::collection::vec(word(), 1..25)) {
        let (mut store, _directory) = store();
        let mut model = BTreeMap::new();
        let mut numbers = BTreeMap::new();
        for word in &words {
            if matches!(word, Word::Reopen) {
                store = reopen(store);
            }
            say(&mut store, &mut model, word);
            compare(&store, &model);
            for profile in store.profiles() {
                let owner = numbers.entry(profile.id).or_insert_with(|| profile.key.clone());
                prop_assert_eq!(&*owner, &profile.key, "a number has one owner for ever");
            }
        }
        compare(&reopen(store), &model);
    }
}
