//! Who has which roles, through others.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::error::{PolicyError, Problem};
use crate::limits::ROLE_DEPTH_MAX;
use crate::rule::RoleLink;

/// The roles of everyone who has one. There is no circle in them, and no way through them is too long.
#[derive(Debug, Default)]
pub(crate) struct Roles {
    direct: BTreeMap<String, Vec<String>>,
}

impl Roles {
    pub(crate) fn of(file: &Arc<str>, links: &[RoleLink]) -> Result<Self, PolicyError> {
        let mut roles = Self::default();
        for link in links {
            if let Some(circle) = roles.way(&link.role, &link.member) {
                let circle = [link.member.as_str()].into_iter().chain(circle).collect::<Vec<_>>().join(", ");
                return Err(PolicyError::new(file, link.line, Problem::RoleCycle { circle }));
            }
            roles.direct.entry(link.member.clone()).or_default().push(link.role.clone());
        }
        let heights = roles.heights();
        match links.iter().find(|link| heights.get(link.member.as_str()) > Some(&ROLE_DEPTH_MAX)) {
            Some(link) => Err(PolicyError::new(file, link.line, Problem::RolesTooDeep)),
            None => Ok(roles),
        }
    }

    /// Every role of a subject, those of its roles among them.
    pub(crate) fn all_of(&self, subject: &str) -> BTreeSet<&str> {
        let mut all = BTreeSet::new();
        let mut to_do = vec![subject];
        while let Some(name) = to_do.pop() {
            for role in self.direct.get(name).into_iter().flatten() {
                if all.insert(role.as_str()) {
                    to_do.push(role);
                }
            }
        }
        all
    }

    /// Whoever has a role.
    pub(crate) fn members(&self) -> impl Iterator<Item = &str> {
        self.direct.keys().map(String::as_str)
    }

    /// Whether somebody has this role.
    pub(crate) fn is_role(&self, name: &str) -> bool {
        self.direct.values().flatten().any(|role| role == name)
    }

    /// A way from one name up to another, both included.
    fn way<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut to_do = vec![from];
        while let Some(name) = to_do.pop() {
            if name == to {
                let mut way = vec![name];
                while let Some(&before) = way.last().and_then(|last| came_from.get(last)) {
                    way.push(before);
                }
                way.reverse();
                return Some(way);
            }
            for role in self.direct.get(name).into_iter().flatten() {
                if role != from && !came_from.contains_key(role.as_str()) {
                    came_from.insert(role, name);
                    to_do.push(role);
                }
            }
        }
        None
    }

    /// How many roles lie above each name on the longest way. A role is looked at when all of its members were, so that each is
    /// looked at once.
    fn heights(&self) -> BTreeMap<&str, usize> {
        let mut heights: BTreeMap<&str, usize> = BTreeMap::new();
        let mut to_do: Vec<(&str, bool)> = self.members().map(|name| (name, false)).collect();
        while let Some((name, roles_are_done)) = to_do.pop() {
            if heights.contains_key(name) {
                continue;
            }
            let roles = self.direct.get(name).map_or(&[][..], Vec::as_slice);
            if roles_are_done || roles.is_empty() {
                let above = roles.iter().filter_map(|role| heights.get(role.as_str())).max();
                heights.insert(name, above.map_or(usize::from(!roles.is_empty()), |height| height + 1));
            } else {
                to_do.push((name, true));
                to_do.extend(roles.iter().map(|role| (role.as_str(), false)));
            }
        }
        heights
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(links: &[(&str, &str)]) -> Result<Roles, PolicyError> {
        let link = |(at, (member, role)): (usize, &(&str, &str))| RoleLink {
            line: at + 1,
            member: (*member).to_owned(),
            role: (*role).to_owned(),
        };
        Roles::of(&"policy.csv".into(), &links.iter().enumerate().map(link).collect::<Vec<_>>())
    }

    #[test]
    fn roles_of_roles_count() {
        let roles =
            roles(&[("alice", "writers"), ("alice", "readers"), ("writers", "staff"), ("bob", "staff")])
                .expect("no circle");
        assert_eq!(roles.all_of("alice").into_iter().collect::<Vec<_>>(), ["readers", "staff", "writers"]);
        assert_eq!(roles.all_of("nobody").len(), 0);
        assert!(roles.is_role("staff") && !roles.is_role("alice"));
    }

    #[test]
    fn a_circle_is_told_whole_with_the_line_that_closes_it() {
        let error = roles(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]).unwrap_err();
        assert_eq!(error.to_string(), "policy.csv, line 4: the roles go round in a circle: d, b, c, d");
        let error = roles(&[("a", "a")]).unwrap_err();
        assert_eq!(error.to_string(), "policy.csv, line 1: the roles go round in a circle: a, a");
    }

    #[test]
    fn roles_are_not_nested_without_end() {
        let names: Vec<String> = (0..=ROLE_DEPTH_MAX + 1).map(|at| format!("r{at}")).collect();
        let chain: Vec<(&str, &str)> =
            names.windows(2).map(|two| (two[0].as_str(), two[1].as_str())).collect();
        roles(&chain[1..]).expect("ten steps");
        let error = roles(&chain).unwrap_err();
        assert!(matches!((error.line, &error.problem), (Some(1), Problem::RolesTooDeep)), "{error}");
    }

    #[test]
    fn roles_that_share_roles_are_looked_at_once() {
        // Each of a layer has each of the next: there are more ways than could ever be walked.
        let mut links = Vec::new();
        for layer in 0..9 {
            for (from, to) in (0..10).flat_map(|from| (0..10).map(move |to| (from, to))) {
                links.push((format!("{layer}-{from}"), format!("{}-{to}", layer + 1)));
            }
        }
        let links: Vec<_> = links.iter().map(|(member, role)| (member.as_str(), role.as_str())).collect();
        assert_eq!(roles(&links).expect("no circle").all_of("0-0").len(), 90);
    }
}
