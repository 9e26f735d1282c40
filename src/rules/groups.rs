//! Who may use which groups and transactional ids, where brokers see the proxy alone.
//!
//! - GROUPS-FOR-1: the first rule that takes the name decides; where none does, nobody may use it.
//!
//! For any thread; nobody waits for another.

use std::sync::Arc;

use super::access::{Asking, Principals, is_named};
use super::matcher::Matcher;

/// Rules, in order. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct GroupRules(Arc<[GroupRule]>);

/// Who may use the groups and transactional ids whose names are taken.
#[derive(Clone, Debug)]
pub struct GroupRule {
    /// Which names.
    pub matcher: Matcher,
    /// Whose they are.
    pub users: Principals,
}

impl GroupRules {
    /// In the order in which they are tried.
    pub fn new(rules: Vec<GroupRule>) -> Self {
        Self(rules.into())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Whether this one may use the group, or the transactional id, of this name (GROUPS-FOR-1).
    pub fn permit(&self, name: &str, asking: Asking<'_>) -> bool {
        if name.len() > NAME_BYTES_MAX {
            return false;
        }
        let rule = self.0.iter().find(|rule| rule.matcher.matches(name));
        rule.is_some_and(|rule| is_named(Some(&rule.users), asking))
    }
}

/// Kafka has no bound; to compare a name with a rule is one step, whose length grows with the name.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(matcher: Matcher, user: &str) -> GroupRule {
        GroupRule {
            matcher,
            users: Principals::new([user]),
        }
    }

    /// GROUPS-FOR-1
    #[test]
    fn the_first_rule_that_takes_a_name_decides() {
        let rules = GroupRules::new(vec![
            rule(
                Matcher::exact_of_any("payments-audit ü").expect("a name"),
                "auditor",
            ),
            rule(Matcher::glob_of_any("payments-*").expect("a glob"), "app-*"),
            rule(Matcher::regex("team-([a-z]+)").expect("an expression"), "team"),
        ]);
        let permit = |name: &str, user| rules.permit(name, Asking::Principal(Some(user)));
        for (name, user) in [
            ("payments-audit ü", "auditor"),
            ("payments-", "app-1"),
            ("payments-/ 1", "app-2"),
            ("team-a", "team"),
        ] {
            assert!(permit(name, user), "{name} {user}");
        }
        for (name, user) in [
            ("payments-audit ü", "app-1"),
            ("payments-1", "auditor"),
            ("xpayments-1", "app-1"),
            ("team-", "team"),
            ("other", "app-1"),
            ("", "app-1"),
        ] {
            assert!(!permit(name, user), "{name} {user}");
        }
        let long = |bytes: usize| format!("payments-{}", "x".repeat(bytes - 9));
        assert!(permit(&long(NAME_BYTES_MAX), "app-1"));
        assert!(!permit(&long(NAME_BYTES_MAX + 1), "app-1"));
        assert!(!rules.permit("payments-1", Asking::Principal(None)));
        assert!(!GroupRules::default().permit("payments-1", Asking::Principal(Some("app-1"))));
    }
}
