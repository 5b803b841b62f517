//! A bounded map that forgets what was used least recently.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// At most `capacity` values that are cheap to clone.
#[derive(Debug)]
pub(crate) struct Lru<K, V> {
    capacity: usize,
    state: Mutex<State<K, V>>,
}

#[derive(Debug)]
struct State<K, V> {
    by_key: BTreeMap<K, (u64, V)>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Ord + Copy, V: Clone> Lru<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { by_key: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0 };
        Self { capacity: capacity.max(1), state: Mutex::new(state) }
    }

    pub(crate) fn get(&self, key: K) -> Option<V> {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (used, value) = state.by_key.get_mut(&key)?;
        state.uses += 1;
        state.by_use.remove(used);
        state.by_use.insert(state.uses, key);
        *used = state.uses;
        Some(value.clone())
    }

    pub(crate) fn insert(&self, key: K, value: V) {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.uses += 1;
        if let Some((used, _)) = state.by_key.insert(key, (state.uses, value)) {
            state.by_use.remove(&used);
        }
        state.by_use.insert(state.uses, key);
        while state.by_key.len() > self.capacity {
            let Some((_, oldest)) = state.by_use.pop_first() else { break };
            state.by_key.remove(&oldest);
        }
    }

    /// Forgets all keys but those that `keep` names.
    pub(crate) fn retain(&self, keep: impl Fn(K) -> bool) {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.by_key.retain(|key, _| keep(*key));
        state.by_use.retain(|_, key| keep(*key));
    }

    pub(crate) fn remove(&self, key: K) -> Option<V> {
        let state = &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (used, value) = state.by_key.remove(&key)?;
        state.by_use.remove(&used);
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_what_was_used_least_recently() {
        let lru = Lru::new(2);
        lru.insert(1, 'a');
        lru.insert(2, 'b');
        assert_eq!(lru.get(1), Some('a'));
        lru.insert(3, 'c');
        assert_eq!((lru.get(1), lru.get(2), lru.get(3)), (Some('a'), None, Some('c')));
        assert_eq!(lru.remove(1), Some('a'));
        assert_eq!((lru.remove(1), lru.get(3)), (None, Some('c')));
        lru.retain(|key| key != 3);
        assert_eq!((lru.get(3), lru.remove(3)), (None, None));
    }
}
