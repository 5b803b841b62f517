//! Which logs of a data directory are open.

use crate::log::LogInner;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use varve_record::PartitionId;

/// The open logs. Its lock is never held across I/O: who makes, opens or removes a log reserves its number meanwhile, so that
/// many logs are opened at once and nobody else waits.
#[derive(Default)]
pub(crate) struct OpenLogs {
    state: Mutex<State>,
    /// A reservation was given back.
    freed: Condvar,
}

#[derive(Default)]
struct State {
    logs: BTreeMap<PartitionId, Weak<LogInner>>,
    reserved: BTreeSet<PartitionId>,
}

impl OpenLogs {
    /// Waits until nobody else works on this log, then keeps everybody else from it until the reservation is dropped.
    pub(crate) fn reserve(&self, id: PartitionId) -> Reserved<'_> {
        let mut state = self.lock();
        while !state.reserved.insert(id) {
            state = self.freed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Reserved { logs: self, id }
    }

    /// All logs that are open.
    pub(crate) fn all(&self) -> Vec<Arc<LogInner>> {
        let mut state = self.lock();
        state.logs.retain(|_, log| log.strong_count() > 0);
        state.logs.values().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sole right to work on a log.
pub(crate) struct Reserved<'a> {
    logs: &'a OpenLogs,
    id: PartitionId,
}

impl Reserved<'_> {
    pub(crate) fn id(&self) -> PartitionId {
        self.id
    }

    pub(crate) fn is_open(&self) -> bool {
        self.logs.lock().logs.get(&self.id).is_some_and(|log| log.strong_count() > 0)
    }

    /// Lets others find the log.
    pub(crate) fn publish(self, log: &Arc<LogInner>) {
        self.logs.lock().logs.insert(self.id, Arc::downgrade(log));
    }

    /// Takes the log away from where others find it, if it is open.
    pub(crate) fn withdraw(&self) -> Option<Arc<LogInner>> {
        self.logs.lock().logs.remove(&self.id).and_then(|log| log.upgrade())
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.logs.lock().reserved.remove(&self.id);
        self.logs.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn only_those_wait_who_want_the_same_log() {
        let logs = OpenLogs::default();
        let one = logs.reserve(PartitionId::new(1));
        drop(logs.reserve(PartitionId::new(2)));
        assert!(logs.all().is_empty());
        let (sender, order) = mpsc::channel();
        std::thread::scope(|scope| {
            let other = sender.clone();
            let logs = &logs;
            scope.spawn(move || {
                let _same = logs.reserve(PartitionId::new(1));
                other.send("second").unwrap();
            });
            sender.send("first").unwrap();
            drop(one);
        });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), ["first", "second"]);
    }
}
