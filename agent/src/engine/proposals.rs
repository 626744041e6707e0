//! Rules for several paths that a profile's evidence speaks for, as its reviewer sees them.
//!
//! Input: a profile. Output: proposals, by layer and operation; none is a rule until it is accepted. Failure: none.

use agent_common::domain::Domain;
use agent_common::file::{FileOperation, Layer};

use crate::behaviour::BehaviourParts;
use crate::control::view::RuleProposalView;
use crate::profile::generalise::{Proposal, Sighting, allows, generalise};
use crate::profile::model::Profile;
use crate::text::ByteText;

/// What would stand for several paths that the container's own processes used.
pub(super) fn rule_proposals(profile: &Profile) -> Vec<RuleProposalView> {
    let uses = Layer::ALL.iter().flat_map(|layer| {
        FileOperation::ALL
            .iter()
            .map(move |operation| (*layer, *operation))
    });
    uses.flat_map(|(layer, operation)| of_use(profile, layer, operation))
        .collect()
}

fn of_use(profile: &Profile, layer: Layer, operation: FileOperation) -> Vec<RuleProposalView> {
    let rules: Vec<_> = profile.main.patterns(layer).collect();
    let has_rule = |path: &[u8]| {
        rules
            .iter()
            .any(|(rule, _)| rule.operation == operation && rule.pattern.holds_for(path))
    };
    let sightings: Vec<Sighting> = profile
        .exact_files(layer, operation)
        // What a rule holds for already needs no other.
        .filter(|(path, _)| !has_rule(path.as_bytes()))
        .map(|(path, evidence)| Sighting {
            path: path.as_bytes().to_vec(),
            windows: evidence.windows,
            first_window: evidence.first_window,
        })
        .collect();
    let windows = profile.counts.of(Domain::File).windows;
    let view = |proposal: Proposal| {
        let others: Vec<ByteText> = profile
            .exact_files(layer, operation)
            .map(|(path, _)| path)
            .collect();
        let others = others.iter().map(ByteText::as_bytes);
        let others = others.filter(|path| !proposal.replaces.iter().any(|replaced| replaced == path));
        RuleProposalView {
            parts: BehaviourParts {
                layer: Some(layer),
                operation: Some(operation),
                pattern: Some(proposal.pattern.clone()),
                ..BehaviourParts::of(Domain::File)
            },
            paths: proposal.support.values,
            windows: proposal.support.windows,
            covered: proposal.support.covered,
            allows: allows(proposal.pattern.pattern(), others),
        }
    };
    generalise(&sightings, windows).into_iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::{Behaviour, FileBehaviour, FilePattern};
    use crate::profile::model::{Evidence, ProfileKey, Role};

    #[test]
    fn new_names_of_one_kind_in_several_windows_are_proposed_until_a_rule_holds_for_them() {
        let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let role = Role::new("/bin/sh".into()).expect("a role");
        let mut profile = Profile::new(1, ProfileKey { digest, role });
        profile.counts.file.windows = 20;
        let file = |pattern, operation| {
            Behaviour::File(FileBehaviour {
                layer: Layer::Upper,
                pattern,
                operation,
            })
        };
        for number in 0..10_u64 {
            let evidence = Evidence {
                first_window: 2 * number,
                ..Evidence::of_windows(1)
            };
            let path = format!("/tmp/job-{}.log", 123_450 + number);
            let pattern = FilePattern::Exact(path.as_str().into());
            profile
                .main
                .insert(file(pattern, FileOperation::Create), evidence);
        }
        let stable = file(FilePattern::Exact("/etc/a".into()), FileOperation::Create);
        profile.main.insert(stable, Evidence::of_windows(20));
        let found = rule_proposals(&profile);
        let [proposal] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(proposal.parts.subject(), "/tmp/job-{decimal}.log");
        assert_eq!(proposal.parts.operation, Some(FileOperation::Create));
        assert_eq!((proposal.paths, proposal.windows), (10, 10));
        assert!(
            proposal.allows.iter().any(|line| line.starts_with("{decimal}: ")),
            "{proposal:?}"
        );

        let pattern = FilePattern::Pattern("/tmp/job-{decimal}.log".parse().expect("a rule"));
        profile
            .main
            .insert(file(pattern, FileOperation::Create), Evidence::default());
        assert_eq!(rule_proposals(&profile), []);
    }
}
