//! The queue of a writer, and the loop that works it off.

use crate::completion::Completion;
use crate::log::{LogInner, Op};
use crate::shared::Shared;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::{self, ThreadId};

/// Operations that are taken from the queue at once. What logs may queue is bounded by their own settings.
const GROUP_OPS_MAX: usize = 4096;
/// Bytes of entries that are taken at once: what is written between two syncs.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;

type Work = (Arc<LogInner>, Op);
/// Operations of one log, each with its place in the queue.
type LogWork = (Arc<LogInner>, Vec<(u64, Op)>);

/// What waits for one writer.
pub(crate) struct WriterQueue {
    shared: Arc<Shared>,
    state: Mutex<QueueState>,
    /// Held while a group is worked off, so that a caller that must not wait for the writer's task can do its work instead.
    running: Mutex<()>,
}

#[derive(Default)]
struct QueueState {
    work: VecDeque<Work>,
    waker: Option<Waker>,
    closed: bool,
    /// Somebody wants to know how much space is free.
    space_asked: bool,
    thread: Option<ThreadId>,
}

impl WriterQueue {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: Mutex::default(), running: Mutex::default() }
    }

    /// Has this writer look at the free space after its next group; call the waker, where one is given.
    #[must_use]
    pub(crate) fn ask_for_space(&self) -> Option<Waker> {
        let mut state = self.lock();
        state.space_asked = true;
        state.waker.take()
    }

    /// Adds work for a log; call the waker, where one is given, once no lock is held.
    #[must_use]
    pub(crate) fn push(&self, log: &Arc<LogInner>, ops: impl IntoIterator<Item = Op>) -> Option<Waker> {
        let mut state = self.lock();
        state.work.extend(ops.into_iter().map(|op| (Arc::clone(log), op)));
        state.waker.take()
    }

    /// Operations that wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().work.len()
    }

    /// Works the queue off until it is closed and empty.
    pub(crate) async fn run(self: Arc<Self>) {
        self.lock().thread = Some(thread::current().id());
        while self.wait().await {
            self.run_group();
        }
    }

    /// Works off all that is queued, here and now.
    pub(crate) fn run_all(&self) {
        while self.run_group() {}
    }

    /// Ends the loop once the queue is empty.
    pub(crate) fn close(&self) {
        let waker = {
            let mut state = self.lock();
            state.closed = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Whether the caller is the writer's own thread: it must not wait for itself.
    pub(crate) fn is_own_thread(&self) -> bool {
        self.lock().thread == Some(thread::current().id())
    }

    /// Waits for work; false where there will be none.
    async fn wait(&self) -> bool {
        poll_fn(|context| {
            let mut state = self.lock();
            if !state.work.is_empty() || state.space_asked {
                return Poll::Ready(true);
            }
            if state.closed {
                return Poll::Ready(false);
            }
            state.waker = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Works off one group: writes, syncs each file once, calls back in the order of arrival, then tidies up. False where
    /// there was nothing to do.
    fn run_group(&self) -> bool {
        let _running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let group = self.take_group();
        let space_asked = std::mem::take(&mut self.lock().space_asked);
        if group.is_empty() && !space_asked {
            return false;
        }
        let mut completed = Vec::new();
        let logs: Vec<Arc<LogInner>> = group
            .into_iter()
            .map(|(log, ops)| {
                log.write(ops, &mut completed);
                log
            })
            .collect();
        logs.iter().for_each(|log| log.sync(&mut completed));
        completed.sort_by_key(|completion| completion.arrival);
        completed.into_iter().for_each(Completion::give);
        logs.iter().for_each(|log| log.tidy());
        if space_asked {
            self.shared.sample_space();
        }
        true
    }

    /// Takes what is queued, up to the bounds, by log in the order of arrival.
    fn take_group(&self) -> Vec<LogWork> {
        let mut state = self.lock();
        let mut places: BTreeMap<*const LogInner, usize> = BTreeMap::new();
        let mut group: Vec<LogWork> = Vec::new();
        let mut bytes = 0;
        for arrival in 0..GROUP_OPS_MAX as u64 {
            if bytes >= GROUP_BYTES_MAX {
                break;
            }
            let Some((log, op)) = state.work.pop_front() else { break };
            bytes += op.body_bytes();
            let place = *places.entry(Arc::as_ptr(&log)).or_insert(group.len());
            match group.get_mut(place) {
                Some((_, ops)) => ops.push((arrival, op)),
                None => group.push((log, vec![(arrival, op)])),
            }
        }
        group
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
