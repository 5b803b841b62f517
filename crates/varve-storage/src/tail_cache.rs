//! The newest entries of a log, in memory.

use crate::Entry;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use varve_record::{Index, Offset};

/// What an entry costs in memory besides its body.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// Bytes in all tail caches together.
#[derive(Debug)]
pub(crate) struct CacheBudget {
    used: AtomicUsize,
    total: usize,
}

impl CacheBudget {
    pub(crate) fn new(total: usize) -> Self {
        Self { used: AtomicUsize::new(0), total }
    }

    fn is_over(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.total
    }
}

/// Entries without a gap, up to the log's last one: those not yet durable, and as many before as there is room for.
#[derive(Debug)]
pub(crate) struct TailCache {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
    budget: Arc<CacheBudget>,
}

impl TailCache {
    pub(crate) fn new(bytes_max: usize, budget: Arc<CacheBudget>) -> Self {
        Self { entries: VecDeque::new(), bytes: 0, bytes_max, budget }
    }

    /// Adds the log's new last entry.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.account(cost(&entry), 0);
        self.entries.push_back(entry);
    }

    /// Makes room: drops the oldest entries that are durable until the cache is within its bounds.
    pub(crate) fn evict(&mut self, durable_below: Index) {
        let bytes_max = if self.budget.is_over() { 0 } else { self.bytes_max };
        self.evict_to(bytes_max, durable_below);
    }

    /// Drops all that is durable.
    pub(crate) fn clear_durable(&mut self, durable_below: Index) {
        self.evict_to(0, durable_below);
        self.entries.shrink_to_fit();
    }

    /// Drops entries at or behind `index`.
    pub(crate) fn truncate(&mut self, index: Index) {
        while self.entries.back().is_some_and(|entry| entry.log_id.index >= index) {
            if let Some(entry) = self.entries.pop_back() {
                self.account(0, cost(&entry));
            }
        }
    }

    pub(crate) fn first_index(&self) -> Option<Index> {
        self.entries.front().map(|entry| entry.log_id.index)
    }

    /// Entries from `index` on; `None` where that one is not here.
    pub(crate) fn starting_at(&self, index: Index) -> Option<impl Iterator<Item = &Entry>> {
        let skip = index.get().checked_sub(self.first_index()?.get())? as usize;
        (skip < self.entries.len()).then(|| self.entries.range(skip..))
    }

    /// Entries from the one with `offset` on, others between them included; `None` where that one is not here.
    pub(crate) fn starting_with(&self, offset: Offset) -> Option<impl Iterator<Item = &Entry>> {
        if self.entries.front()?.base_offset > offset {
            return None;
        }
        let skip = self.entries.partition_point(|entry| entry.next_offset() <= offset);
        (skip < self.entries.len()).then(|| self.entries.range(skip..))
    }

    fn evict_to(&mut self, bytes_max: usize, durable_below: Index) {
        while self.bytes > bytes_max
            && self.entries.front().is_some_and(|entry| entry.log_id.index < durable_below)
        {
            if let Some(entry) = self.entries.pop_front() {
                self.account(0, cost(&entry));
            }
        }
    }

    fn account(&mut self, add: usize, subtract: usize) {
        self.bytes = self.bytes + add - subtract;
        self.budget.used.fetch_add(add, Ordering::Relaxed);
        self.budget.used.fetch_sub(subtract, Ordering::Relaxed);
    }
}

impl Drop for TailCache {
    fn drop(&mut self) {
        self.account(0, self.bytes);
    }
}

/// The memory that an entry holds in the cache, about.
pub(crate) fn cost(entry: &Entry) -> usize {
    entry.body.len() + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LogId;
    use bytes::Bytes;
    use varve_record::{Term, Timestamp};

    fn entry(index: u64) -> Entry {
        let log_id = LogId::new(Term::new(1), Index::new(index));
        let mut entry = Entry::command(log_id, Timestamp::new(0), Bytes::from(vec![0; 100]));
        // Every other entry holds two records.
        entry.base_offset = Offset::new(index / 2 * 2);
        entry.record_count = if index.is_multiple_of(2) { 2 } else { 0 };
        if entry.record_count == 0 {
            entry.base_offset = Offset::new(index / 2 * 2 + 2);
        }
        entry
    }

    fn indexes<'a>(entries: Option<impl Iterator<Item = &'a Entry>>) -> Option<Vec<u64>> {
        Some(entries?.map(|entry| entry.log_id.index.get()).collect())
    }

    #[test]
    fn finds_by_index_and_offset_and_keeps_what_is_not_durable() {
        let budget = Arc::new(CacheBudget::new(1 << 20));
        let mut cache = TailCache::new(500, Arc::clone(&budget));
        (2..8).for_each(|index| cache.push(entry(index)));
        assert_eq!(indexes(cache.starting_at(Index::new(5))), Some(vec![5, 6, 7]));
        assert_eq!(indexes(cache.starting_at(Index::new(1))), None);
        assert_eq!(indexes(cache.starting_at(Index::new(8))), None);
        assert_eq!(indexes(cache.starting_with(Offset::new(5))), Some(vec![4, 5, 6, 7]));
        assert_eq!(indexes(cache.starting_with(Offset::new(1))), None);
        assert_eq!(indexes(cache.starting_with(Offset::new(8))), None);
        cache.evict(Index::new(3));
        assert_eq!(cache.first_index(), Some(Index::new(3)));
        cache.evict(Index::new(8));
        assert_eq!(cache.first_index(), Some(Index::new(6)));
        cache.truncate(Index::new(7));
        assert_eq!(indexes(cache.starting_at(Index::new(6))), Some(vec![6]));
        assert_eq!(budget.used.load(Ordering::Relaxed), 228);
        drop(cache);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
