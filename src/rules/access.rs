//! Who may read and write the topics of a rule: principals, by name or pattern.
//!
//! - ACCESS-1: whoever is not named is refused, in either direction; where nobody is named, everybody is. Only on
//!   listeners whose clients have no names there is nobody to ask for.
//!
//! - ACCESS-2: what a group's file says concerns the next request, of connections that are there as well.
//!
//! For any thread; nobody waits for another.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::matcher::{Token, tokens, wildcard};

/// Who may open, who may seal, and who does neither.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Who gets records as they are stored, and stores only what is sealed already; `None`: nobody. It wins over the
    /// others.
    pub raw_for: Option<Principals>,
    /// Whether what these store has to open.
    pub raw_verify: bool,
    /// Who gets records opened; `None`: nobody who has a name.
    pub open_for: Option<Principals>,
    /// Whose records are sealed; `None`: nobody who has a name.
    pub seal_for: Option<Principals>,
}

/// A list of principals.
#[derive(Clone, Debug)]
pub struct Principals {
    names: Names,
    /// Those of files.
    groups: Arc<[Members]>,
}

/// Who belongs to a group, as its file says. Clones are the same group.
#[derive(Clone, Debug, Default)]
pub struct Members(Arc<ArcSwap<Names>>);

/// Names, and patterns of names: a group may have thousands of the former, and is asked for each partition.
#[derive(Clone, Debug, Default)]
struct Names(Arc<Listed>);

#[derive(Debug, Default)]
struct Listed {
    whole: HashSet<Box<str>>,
    patterns: Box<[Box<[Token]>]>,
}

impl Principals {
    /// Of names as they stand behind `User:`; `*` stands for any characters, none included, `?` for one byte.
    pub fn new<'t>(patterns: impl IntoIterator<Item = &'t str>) -> Self {
        Self {
            names: Names::new(patterns),
            groups: Arc::default(),
        }
    }

    /// The same, and the members of these groups.
    #[must_use]
    pub fn with_groups(self, groups: impl IntoIterator<Item = Members>) -> Self {
        Self {
            groups: groups.into_iter().collect(),
            ..self
        }
    }

    fn name(&self, principal: &str) -> bool {
        let is_member = |group: &Members| group.0.load().name(principal);
        self.names.name(principal) || self.groups.iter().any(is_member)
    }
}

impl Members {
    /// From now on it is these, as [`Principals::new`] takes them (ACCESS-2).
    pub fn set<'t>(&self, patterns: impl IntoIterator<Item = &'t str>) {
        self.0.store(Arc::new(Names::new(patterns)));
    }
}

impl Names {
    fn new<'t>(patterns: impl IntoIterator<Item = &'t str>) -> Self {
        let (patterns, whole): (Vec<&str>, Vec<&str>) =
            patterns.into_iter().partition(|name| name.contains(['*', '?']));
        Self(Arc::new(Listed {
            whole: whole.into_iter().map(Box::from).collect(),
            patterns: patterns.into_iter().map(tokens).collect(),
        }))
    }

    fn name(&self, principal: &str) -> bool {
        let byte = |at: usize| principal.as_bytes().get(at).map(|&byte| Token::Byte(byte));
        let Listed { whole, patterns } = &*self.0;
        let mut patterns = patterns.iter();
        whole.contains(principal) || patterns.any(|pattern| wildcard(pattern, principal.len(), byte))
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking<'a> {
    /// Somebody at a listener whose clients have no names: the network vouches for them.
    Anybody,
    /// Somebody at one whose clients have names; `None` has none all the same.
    Principal(Option<&'a str>),
}

impl Access {
    /// Whether this one gets records as they are stored, and stores them so. Nobody does who has no name.
    pub fn is_raw(&self, asking: Asking<'_>) -> bool {
        asking != Asking::Anybody && is_named(self.raw_for.as_ref(), asking)
    }

    /// Whether records are opened for this one (ACCESS-1).
    pub fn opens_for(&self, asking: Asking<'_>) -> bool {
        is_named(self.open_for.as_ref(), asking)
    }

    /// Whether records of this one are sealed (ACCESS-1).
    pub fn seals_for(&self, asking: Asking<'_>) -> bool {
        is_named(self.seal_for.as_ref(), asking)
    }
}

/// What stands behind `User:`, of a principal as it is written.
pub fn pattern_of(written: &str) -> Option<&str> {
    written
        .strip_prefix("User:")
        .filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.starts_with("User:"))
}

/// Whether a list names who asks (ACCESS-1).
pub fn is_named(list: Option<&Principals>, asking: Asking<'_>) -> bool {
    match asking {
        Asking::Anybody => true,
        Asking::Principal(None) => false,
        Asking::Principal(Some(name)) => list.is_some_and(|list| list.name(name)),
    }
}

/// As long as a principal may be.
const NAME_BYTES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    /// ACCESS-1
    #[test]
    fn whoever_is_not_named_is_refused() {
        let access = Access {
            open_for: Some(Principals::new(["app-1", "team-*", "CN=?,O=x"])),
            ..Access::default()
        };
        let opens = |name| access.opens_for(Asking::Principal(Some(name)));
        for named in ["app-1", "team-", "team-a", "CN=a,O=x"] {
            assert!(opens(named), "{named}");
        }
        for other in ["app-10", "app-", "App-1", "", "xteam-a", "CN=aa,O=x", "*", "team"] {
            assert!(!opens(other), "{other}");
        }
        assert!(
            !access.seals_for(Asking::Principal(Some("app-1"))),
            "nobody is named"
        );
        for access in [&access, &Access::default()] {
            assert!(!access.opens_for(Asking::Principal(None)) && !access.seals_for(Asking::Principal(None)));
            assert!(access.opens_for(Asking::Anybody) && access.seals_for(Asking::Anybody));
        }
        assert!(!Access::default().opens_for(Asking::Principal(Some("app-1"))));
    }

    #[test]
    fn nobody_without_a_name_gets_records_as_they_are_stored() {
        let access = Access {
            raw_for: Some(Principals::new(["mirror-*"])),
            ..Access::default()
        };
        for (asking, expected) in [
            (Asking::Principal(Some("mirror-1")), true),
            (Asking::Principal(Some("app-1")), false),
            (Asking::Principal(None), false),
            (Asking::Anybody, false),
        ] {
            assert_eq!(access.is_raw(asking), expected, "{asking:?}");
            assert!(!Access::default().is_raw(asking));
        }
    }

    /// ACCESS-2
    #[test]
    fn a_group_is_what_its_file_said_last() {
        let members = Members::default();
        let list = Principals::new(["app-1"]).with_groups([Members::default(), members.clone()]);
        let access = Access {
            open_for: Some(list),
            ..Access::default()
        };
        let opens = |name| access.opens_for(Asking::Principal(Some(name)));
        assert!(opens("app-1") && !opens("batch-7"));
        members.set(["batch-*"]);
        assert!(opens("app-1") && opens("batch-7") && !opens("other"));
        members.set(["other"]);
        assert!(opens("app-1") && !opens("batch-7") && opens("other"));
    }
}
