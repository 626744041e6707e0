//! The names of the techniques of MITRE ATT&CK that alerts point to.
//!
//! Input: an id. Output: [`Technique`]. Failure: none; what is in no row has no name. Ids and names are those of ATT&CK for
//! Enterprise (<https://attack.mitre.org>), the ones that [`super::severity`] lists.

/// A technique, or one of its sub-techniques.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Technique<'a> {
    /// Id of the technique itself.
    pub id: &'a str,
    /// Its name, if it is known here.
    pub name: Option<&'static str>,
    /// Whether it is a sub-technique; then its name, if that is known here.
    pub sub: Option<Option<&'static str>>,
}

/// By id: the name.
const NAMES: &[(&str, &str)] = &[
    ("T1003", "OS Credential Dumping"),
    ("T1003.008", "/etc/passwd and /etc/shadow"),
    ("T1014", "Rootkit"),
    ("T1037", "Boot or Logon Initialization Scripts"),
    ("T1040", "Network Sniffing"),
    ("T1053", "Scheduled Task/Job"),
    ("T1053.003", "Cron"),
    ("T1055", "Process Injection"),
    ("T1055.008", "Ptrace System Calls"),
    ("T1059", "Command and Scripting Interpreter"),
    ("T1070", "Indicator Removal"),
    ("T1098", "Account Manipulation"),
    ("T1098.004", "SSH Authorized Keys"),
    ("T1105", "Ingress Tool Transfer"),
    ("T1136", "Create Account"),
    ("T1136.001", "Local Account"),
    ("T1499", "Endpoint Denial of Service"),
    ("T1529", "System Shutdown/Reboot"),
    ("T1543", "Create or Modify System Process"),
    ("T1543.002", "Systemd Service"),
    ("T1548", "Abuse Elevation Control Mechanism"),
    ("T1552", "Unsecured Credentials"),
    ("T1552.001", "Credentials In Files"),
    ("T1552.004", "Private Keys"),
    ("T1552.007", "Container API"),
    ("T1562", "Impair Defenses"),
    ("T1574", "Hijack Execution Flow"),
    ("T1574.006", "Dynamic Linker Hijacking"),
    ("T1609", "Container Administration Command"),
    ("T1611", "Escape to Host"),
    ("T1620", "Reflective Code Loading"),
];

/// The technique with this id: `T1574`, or of a sub-technique `T1574.006`.
#[must_use]
pub fn technique(id: &str) -> Technique<'_> {
    let (of, sub) = match id.split_once('.') {
        Some((of, _)) => (of, Some(name(id))),
        None => (id, None),
    };
    Technique {
        id: of,
        name: name(of),
        sub,
    }
}

fn name(id: &str) -> Option<&'static str> {
    NAMES.iter().find(|row| row.0 == id).map(|row| row.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_technique_of_a_rating_has_a_name() {
        let sources = [
            include_str!("severity.rs"),
            include_str!("severity/cap.rs"),
            include_str!("severity/file.rs"),
            include_str!("severity/syscall.rs"),
        ];
        let quoted = sources.iter().flat_map(|source| source.split('"'));
        let ids: Vec<_> = quoted
            .filter(|text| {
                text.starts_with("T1") && text[1..].bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'.'))
            })
            .collect();
        assert!(ids.len() > 50, "the ids were not found: {ids:?}");
        for id in ids {
            let technique = technique(id);
            assert!(technique.name.is_some(), "{id}");
            assert_ne!(technique.sub, Some(None), "{id}");
        }
    }

    #[test]
    fn a_technique_without_a_name_keeps_its_id() {
        let newer = technique("T9999.001");
        assert_eq!((newer.id, newer.name, newer.sub), ("T9999", None, Some(None)));
    }
}
