//! Decisions that are remembered.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::action::Action;
use crate::decision::Decision;
use crate::limits::CACHED_OBJECTS_MAX;
use crate::object::Object;

/// The decisions about one object, by action.
type ByAction = [Option<Decision>; Action::ALL.len()];

/// Decisions by subject, object and action. A look allocates nothing and takes a lock that readers share.
#[derive(Debug, Default)]
pub(crate) struct Cache(RwLock<Kept>);

#[derive(Debug, Default)]
struct Kept {
    subjects: HashMap<Box<str>, Objects>,
    /// Objects of all subjects together.
    objects: usize,
}

#[derive(Debug, Default)]
struct Objects {
    topics: HashMap<Box<str>, ByAction>,
    cluster: ByAction,
    some_topic: ByAction,
}

impl Cache {
    pub(crate) fn get(&self, subject: &str, object: Object<'_>, action: Action) -> Option<Decision> {
        // A panic cannot leave a half-made entry behind.
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let objects = kept.subjects.get(subject)?;
        let decisions = match object {
            Object::Topic(topic) => objects.topics.get(topic)?,
            Object::Cluster => &objects.cluster,
            Object::SomeTopic => &objects.some_topic,
        };
        decisions[action.index()].clone()
    }

    /// Remembers a decision. Where there are too many, all are forgotten: they are made again as they are asked for.
    pub(crate) fn put(&self, subject: &str, object: Object<'_>, action: Action, decision: Decision) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.objects >= CACHED_OBJECTS_MAX {
            *kept = Kept::default();
        }
        let Kept { subjects, objects: count } = &mut *kept;
        let objects = match subjects.get_mut(subject) {
            Some(objects) => objects,
            None => {
                // A subject that asked for no topic counts too.
                *count += 1;
                subjects.entry(subject.into()).or_default()
            }
        };
        let decisions = match object {
            Object::Cluster => &mut objects.cluster,
            Object::SomeTopic => &mut objects.some_topic,
            Object::Topic(topic) => match objects.topics.get_mut(topic) {
                Some(decisions) => decisions,
                None => {
                    *count += 1;
                    objects.topics.entry(topic.into()).or_default()
                }
            },
        };
        decisions[action.index()] = Some(decision);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.read().unwrap().objects
    }
}
