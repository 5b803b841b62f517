use std::sync::Arc;

use varve_env::Entropy;

/// Which server is asked what any can answer.
#[derive(Debug, Default)]
pub(crate) struct Rotation {
    /// The one in use, until it fails.
    current: Option<Arc<str>>,
    /// Those that failed since one answered.
    tried: Vec<Arc<str>>,
}

impl Rotation {
    /// The one in use; else one of these at random that was not tried, so that the clients of a server that fails spread
    /// over the others.
    pub(crate) fn next<'a>(
        &mut self,
        addrs: impl Iterator<Item = &'a Arc<str>>,
        entropy: &dyn Entropy,
    ) -> Option<Arc<str>> {
        if self.current.is_none() {
            let untried: Vec<_> = addrs.filter(|addr| !self.was_tried(addr)).collect();
            let chosen = entropy.below(untried.len().max(1) as u64);
            self.current =
                usize::try_from(chosen).ok().and_then(|chosen| untried.get(chosen)).copied().cloned();
        }
        self.current.clone()
    }

    /// The one in use; else the first of these that was not tried.
    pub(crate) fn next_in_order<'a>(
        &mut self,
        addrs: impl Iterator<Item = &'a Arc<str>>,
    ) -> Option<Arc<str>> {
        if self.current.is_none() {
            self.current = addrs.into_iter().find(|addr| !self.was_tried(addr)).cloned();
        }
        self.current.clone()
    }

    pub(crate) fn current(&self) -> Option<Arc<str>> {
        self.current.clone()
    }

    pub(crate) fn was_tried(&self, addr: &Arc<str>) -> bool {
        self.tried.contains(addr)
    }

    pub(crate) fn failed(&mut self, addr: &Arc<str>) {
        self.current.take_if(|current| current == addr);
        if !self.was_tried(addr) {
            self.tried.push(addr.clone());
        }
    }

    pub(crate) fn answered(&mut self, addr: &Arc<str>) {
        self.tried.clear();
        self.current.get_or_insert_with(|| addr.clone());
    }

    /// Leaves the one in use if it is gone.
    pub(crate) fn retain(&mut self, is_known: impl FnOnce(&Arc<str>) -> bool) {
        self.current.take_if(|current| !is_known(current));
    }

    pub(crate) fn start_over(&mut self) {
        self.tried.clear();
    }
}
