//! Domain library: code that did not come with the image departs from every profile.
//!
//! It is judged by layer alone, in the kernel, which sends nothing else. What an operator accepted by path and content the
//! kernel knows by its inode, and sends no more.

use super::{Comparison, Deviation, DeviationKind};

/// The comparison of every library event: there is nothing in a profile to compare it with.
pub(super) fn compare() -> Comparison {
    Comparison::Departs(Deviation {
        kind: DeviationKind::Drift,
        learnable: None,
    })
}

#[cfg(test)]
mod tests {
    use crate::compare::{Comparison, Deviation, DeviationKind, compare};
    use crate::event::example;
    use crate::profile::model::{Evidence, Profile, ProfileKey, Role};

    #[test]
    fn no_profile_of_programs_permits_a_library_and_none_is_learned() {
        let event = example::library();
        let file = event.file().expect("a file");
        let digest = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let role = Role::new("/bin/sh".into()).expect("a role");
        let mut profile = Profile::new(1, ProfileKey { digest, role });
        let program = crate::behaviour::ExecBehaviour {
            layer: file.layer,
            path: file.path.text.clone(),
            applet: None,
        };
        profile.main.insert(program.into(), Evidence::default());
        let drift = Deviation {
            kind: DeviationKind::Drift,
            learnable: None,
        };
        assert_eq!(compare(&event, Some(&profile)), Comparison::Departs(drift));
    }
}
