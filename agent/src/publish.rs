//! The profile publisher: profiles become rules in the kernel.
//!
//! Input: profiles of the store. Output: entries of `RULES`, and the generation to put into `CONTAINERS`. A profile grows by
//! single inserts; it is replaced by publishing the next generation, letting the caller flip its containers, and removing
//! the old rules after a grace period, so that a hook that still holds the old generation finds it. (A hook that is slower
//! than that reads the generation again.) Which rules there are is the kernel's to know: the map itself is read when some are to go.
//! Failure: a rule that the kernel has no room for is an error; the behaviour then stays unknown to the kernel, which in
//! `enforce` means that it is killed. A replacement that fails leaves the old generation in force.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use agent_common::domain::Section;
use agent_common::file::Layer;
use agent_common::hash::HashKey;
use agent_common::rule::{RULE_ALLOW, RULE_APPLET, RuleKey};

use crate::behaviour::{Behaviour, ExecBehaviour};
use crate::kernel::maps::{Maps, MapsError};
use crate::profile::model::Profile;
use crate::text::ByteText;

/// How long the rules of a replaced generation stay. A hook runs for microseconds.
pub const GRACE: Duration = Duration::from_millis(200);

/// What the kernel holds of all profiles.
pub struct Publisher {
    key: HashKey,
    published: HashMap<u32, Published>,
    /// Whose rules go, and when.
    retired: HashMap<(u32, u32), Duration>,
    /// By profile and generation: rules that an earlier agent left in force.
    inherited: HashSet<(u32, u32)>,
}

/// What the kernel holds of one profile.
#[derive(Default)]
struct Published {
    generation: u32,
    /// How many rules.
    rules: usize,
    /// The files that were found to be multi-call binaries by looking: that is not in the profile.
    multi_call: BTreeSet<ShortKey>,
}

/// A rule's key without profile and generation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ShortKey {
    hash: u64,
    domain: u8,
    layer: u8,
    section: u8,
    operation: u8,
}

impl ShortKey {
    fn of(key: &RuleKey) -> Self {
        Self {
            hash: key.hash,
            domain: key.domain,
            layer: key.layer,
            section: key.section,
            operation: key.operation,
        }
    }

    fn in_map(self, profile: u32, generation: u32) -> RuleKey {
        RuleKey {
            hash: self.hash,
            profile,
            generation,
            domain: self.domain,
            layer: self.layer,
            section: self.section,
            operation: self.operation,
            reserved: [0; 4],
        }
    }
}

#[derive(Clone, Copy)]
enum Rule {
    /// The profile holds it.
    Allow,
    /// A multi-call binary, which may or may not be in the profile with some applet.
    Applet,
}

impl Rule {
    const fn value(self) -> u32 {
        match self {
            Self::Allow => RULE_ALLOW,
            Self::Applet => RULE_APPLET,
        }
    }
}

impl Publisher {
    /// Nothing published yet; `key` is the secret of the loaded programs.
    #[must_use]
    pub fn new(key: HashKey) -> Self {
        Self {
            key,
            published: HashMap::new(),
            retired: HashMap::new(),
            inherited: HashSet::new(),
        }
    }

    /// Takes note of the profiles and generations of which an earlier agent left rules. They stay in force until
    /// [`Publisher::remove_inherited`] finds that no container refers to them; what is published from now on has later generations.
    pub fn inherit(&mut self, left: HashSet<(u32, u32)>) {
        self.inherited.extend(left);
    }

    /// Whether rules of an earlier agent are still there.
    #[must_use]
    pub fn has_inherited(&self) -> bool {
        !self.inherited.is_empty()
    }

    /// Removes inherited rules, after the grace period, of all profiles and generations that are not `in_use`.
    pub fn remove_inherited(&mut self, in_use: &HashSet<(u32, u32)>, now: Duration) {
        let gone = self.inherited.extract_if(|of| !in_use.contains(of));
        self.retired.extend(gone.map(|of| (of, now + GRACE)));
    }

    /// The generation that comes after all that there ever were of a profile, as far as the kernel's maps know.
    fn next_generation(&self, profile: u32) -> u32 {
        let published = self.published.get(&profile).map(|published| published.generation);
        let inherited = self
            .inherited
            .iter()
            .chain(self.retired.keys())
            .filter(|(of, _)| *of == profile)
            .map(|(_, generation)| *generation);
        let last = published.into_iter().chain(inherited).max().unwrap_or(0);
        last.wrapping_add(1).max(1)
    }

    /// The generation of `profile` in the kernel; publishes it if it is not there.
    pub fn ensure(&mut self, maps: &mut Maps, profile: &Profile) -> Result<u32, MapsError> {
        match self.published.get(&profile.id) {
            Some(published) => Ok(published.generation),
            None => self.replace(maps, profile),
        }
    }

    /// Publishes `profile` as its next generation, which is returned. The caller flips its containers, then calls
    /// [`Publisher::retire`] with the generation before.
    pub fn replace(&mut self, maps: &mut Maps, profile: &Profile) -> Result<u32, MapsError> {
        let mut rules = BTreeMap::new();
        for (section, behaviour) in profile.rules() {
            self.add_rules(&mut rules, section, &behaviour);
        }
        let before = self.published.get(&profile.id);
        let multi_call = before
            .map(|published| published.multi_call.clone())
            .unwrap_or_default();
        for key in &multi_call {
            rules.entry(*key).or_insert(Rule::Applet);
        }
        let generation = self.next_generation(profile.id);
        for (index, (key, rule)) in rules.iter().enumerate() {
            if let Err(error) = maps.insert_rule(&key.in_map(profile.id, generation), rule.value()) {
                for key in rules.keys().take(index) {
                    let _ = maps.remove_rule(&key.in_map(profile.id, generation));
                }
                return Err(error);
            }
        }
        let published = Published {
            generation,
            rules: rules.len(),
            multi_call,
        };
        if let Some(old) = self.published.insert(profile.id, published) {
            self.retired.insert((profile.id, old.generation), Duration::MAX);
        }
        Ok(generation)
    }

    /// The rules of a profile that no container has any more go with [`Publisher::retire`].
    pub fn forget(&mut self, profile: u32) {
        if let Some(old) = self.published.remove(&profile) {
            self.retired.insert((profile, old.generation), Duration::MAX);
        }
    }

    /// All containers have been flipped: the rules of earlier generations go after the grace period.
    pub fn retire(&mut self, now: Duration) {
        for due in self.retired.values_mut().filter(|due| **due == Duration::MAX) {
            *due = now + GRACE;
        }
    }

    /// Removes the rules whose grace period is over; false if there are none. Those that cannot be removed now stay.
    pub fn remove_retired(&mut self, maps: &mut Maps, now: Duration) -> Result<bool, MapsError> {
        let due: HashSet<(u32, u32)> = self
            .retired
            .extract_if(|_, due| *due <= now)
            .map(|(of, _)| of)
            .collect();
        if due.is_empty() {
            return Ok(false);
        }
        maps.remove_rules(&due)?;
        Ok(true)
    }

    /// Adds one behaviour to the current generation of a published profile.
    pub fn grow(
        &mut self,
        maps: &mut Maps,
        profile: u32,
        section: Section,
        behaviour: &Behaviour,
    ) -> Result<(), MapsError> {
        let mut rules = BTreeMap::new();
        self.add_rules(&mut rules, section, behaviour);
        self.insert(maps, profile, rules)
    }

    /// The file at `path` is a multi-call binary: from now on hooks look at the applet. This permits nothing.
    pub fn mark_multi_call(
        &mut self,
        maps: &mut Maps,
        profile: u32,
        layer: Layer,
        path: &ByteText,
    ) -> Result<(), MapsError> {
        let rules = BTreeMap::from(self.applet_rules(layer, path));
        if let Some(published) = self.published.get_mut(&profile) {
            published.multi_call.extend(rules.keys());
        }
        self.insert(maps, profile, rules)
    }

    /// The behaviours of `profile` for which hooks counted windows, with their section and how many windows: `seen` has those by
    /// the keys under which they were counted. What is no rule of the profile's any more is left out.
    #[must_use]
    pub fn seen_behaviours(
        &self,
        profile: &Profile,
        seen: &HashMap<RuleKey, u64>,
    ) -> Vec<(Section, Behaviour, u64)> {
        let windows = |section, behaviour: Behaviour| {
            let windows = seen.get(&behaviour.rule_key(self.key, profile.id, section))?;
            Some((section, behaviour, *windows))
        };
        profile
            .rules()
            .filter_map(|(section, behaviour)| windows(section, behaviour))
            .collect()
    }

    /// Generation and number of rules of a profile; `None` if it is not in the kernel.
    #[must_use]
    pub fn state(&self, profile: u32) -> Option<(u32, usize)> {
        let published = self.published.get(&profile)?;
        Some((published.generation, published.rules))
    }

    fn insert(
        &mut self,
        maps: &mut Maps,
        profile: u32,
        rules: BTreeMap<ShortKey, Rule>,
    ) -> Result<(), MapsError> {
        let Some(published) = self.published.get_mut(&profile) else {
            return Ok(());
        };
        for (key, rule) in rules {
            if maps.add_rule(&key.in_map(profile, published.generation), rule.value())? {
                published.rules += 1;
            }
        }
        Ok(())
    }

    /// The rules of one behaviour: its own, and for an applet also those that make hooks look at it.
    fn add_rules(&self, rules: &mut BTreeMap<ShortKey, Rule>, section: Section, behaviour: &Behaviour) {
        rules.insert(self.short_key(behaviour, section), Rule::Allow);
        if let Behaviour::Exec(ExecBehaviour {
            layer,
            path,
            applet: Some(_),
        }) = behaviour
        {
            rules.extend(self.applet_rules(*layer, path));
        }
    }

    fn applet_rules(&self, layer: Layer, path: &ByteText) -> [(ShortKey, Rule); 2] {
        let file = Behaviour::Exec(ExecBehaviour {
            layer,
            path: path.clone(),
            applet: None,
        });
        [Section::Main, Section::ExecIn].map(|section| (self.short_key(&file, section), Rule::Applet))
    }

    fn short_key(&self, behaviour: &Behaviour, section: Section) -> ShortKey {
        ShortKey::of(&behaviour.rule_key(self.key, 0, section))
    }
}
