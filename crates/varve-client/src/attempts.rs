use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use varve_api::error::{ApiError, Reason};
use varve_env::Entropy;

use crate::ClientBuilder;
use crate::backoff::Backoff;

/// Most servers that the attempts of a call keep away from: more than hold a partition.
const AVOIDED_MAX: usize = 16;

/// The longest pause where a leader has gone, and another is about to come.
const LEADERLESS_PAUSE_MAX: Duration = Duration::from_millis(250);

/// The attempts of one call: how long they may go on, and what follows a failure.
#[derive(Debug)]
pub(crate) struct Attempts {
    deadline: Instant,
    attempt_timeout: Duration,
    backoff: Backoff,
    entropy: Arc<dyn Entropy>,
    /// Servers that failed.
    avoided: Vec<Arc<str>>,
    /// What the last attempt failed with that was not merely out of time.
    reason: Option<ApiError>,
    /// What is asked for changes nothing: whatever became of the last attempt, the caller may be told of an earlier one.
    only_looks: bool,
}

impl Attempts {
    pub(crate) fn new(deadline: Instant, options: &ClientBuilder) -> Self {
        let entropy = options.env.entropy.clone();
        let (attempt_timeout, backoff) = (options.attempt_timeout, Backoff::default());
        Self {
            deadline,
            attempt_timeout,
            backoff,
            entropy,
            avoided: Vec::new(),
            reason: None,
            only_looks: false,
        }
    }

    /// Leaves time for a server that is asked to wait for so long before it answers.
    pub(crate) fn waiting(mut self, wait: Duration) -> Self {
        self.deadline += wait;
        self.attempt_timeout += wait;
        self
    }

    /// For a call that changes nothing.
    pub(crate) fn that_only_look(mut self) -> Self {
        self.only_looks = true;
        self
    }

    /// When there is no time left for another attempt.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long the next attempt may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).min(self.attempt_timeout)
    }

    /// Servers that another attempt is not to begin with.
    pub(crate) fn avoided(&self) -> &[Arc<str>] {
        &self.avoided
    }

    /// Takes note that a server failed, so that the next attempt goes to another if it may.
    pub(crate) fn avoid(&mut self, addr: &Arc<str>) {
        if self.avoided.len() >= AVOIDED_MAX {
            self.avoided.clear();
        }
        if !self.avoided.contains(addr) {
            self.avoided.push(addr.clone());
        }
    }

    /// Lets another server be asked at once, after one that could not be reached.
    ///
    /// # Errors
    /// The same error, if there is no time left.
    pub(crate) fn elsewhere(&self, error: ApiError) -> Result<(), ApiError> {
        if Instant::now() >= self.deadline { Err(error) } else { Ok(()) }
    }

    /// Waits until it is time for another attempt.
    ///
    /// # Errors
    /// The same error, if the table of errors allows no other attempt, or there is no time left for one.
    pub(crate) async fn after(&mut self, error: ApiError, idempotent: bool) -> Result<(), ApiError> {
        if error.retryable(idempotent) { self.wait(error).await } else { Err(error) }
    }

    /// As [`Attempts::after`], for an error that is known to pass whatever the table says.
    ///
    /// # Errors
    /// The same error, if there is no time left for another attempt. Where the end of the call has cut that short, the one before
    /// says what is the matter: its error where nothing can have been changed, and its words with the others where something can.
    pub(crate) async fn wait(&mut self, error: ApiError) -> Result<(), ApiError> {
        let (now, pause) = (Instant::now(), self.pause(&error));
        if now + pause >= self.deadline {
            let is_cut_short = error.reason == Reason::Deadline && now >= self.deadline;
            return Err(match self.reason.take().filter(|_| is_cut_short) {
                Some(before) if self.only_looks => before,
                Some(before) => ApiError {
                    message: format!("{}; before that: {}", error.message, before.message),
                    ..error
                },
                None => error,
            });
        }
        tracing::debug!(%error, ?pause, "call failed, trying again");
        if error.reason != Reason::Deadline {
            self.reason = Some(error);
        }
        sleep(pause).await;
        Ok(())
    }

    /// Starts over, after a success within a call that goes on.
    pub(crate) fn progress(&mut self, deadline: Instant) {
        self.deadline = deadline;
        self.reason = None;
        self.backoff.reset();
    }

    /// Begins with any server again.
    pub(crate) fn avoid_none(&mut self) {
        self.avoided.clear();
    }

    fn pause(&mut self, error: &ApiError) -> Duration {
        retry_pause(error, &mut self.backoff, &*self.entropy)
    }
}

/// The pause before the next attempt: none if another server is known to be the right one, as the server asks if it does,
/// else growing. Where it is a leader that is missing it grows no longer than an election takes, which it would else add to.
pub(crate) fn retry_pause(error: &ApiError, backoff: &mut Backoff, entropy: &dyn Entropy) -> Duration {
    let grown = backoff.next(entropy);
    let leader_is_known =
        error.reason == Reason::NotLeader && error.get(varve_api::error::meta::LEADER_ADDR).is_some();
    match error.retry_after {
        Some(asked) => asked.max(grown),
        // Two servers that name each other must not keep us spinning, so that this is the shortest pause, not none.
        None if leader_is_known => grown.min(crate::backoff::BACKOFF_FIRST),
        None if lacks_leader(error.reason) => grown.min(LEADERLESS_PAUSE_MAX),
        None => grown,
    }
}

fn lacks_leader(reason: Reason) -> bool {
    matches!(reason, Reason::NoLeader | Reason::NotLeader | Reason::Unreachable | Reason::ConnectionLost)
}

#[cfg(test)]
mod tests {
    use varve_env::Env;

    use super::*;
    use crate::backoff::BACKOFF_MAX;

    #[test]
    fn a_leader_that_is_missing_is_looked_for_often_and_others_ever_less() {
        let entropy = Env::real().entropy;
        let last = |reason| {
            let mut backoff = Backoff::default();
            let pause = |_| retry_pause(&ApiError::new(reason, ""), &mut backoff, &*entropy);
            (0..20).map(pause).last().expect("there are some")
        };
        assert_eq!(last(Reason::NoLeader), LEADERLESS_PAUSE_MAX);
        assert!(last(Reason::CommitUnknown) >= BACKOFF_MAX / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_cut_short_tells_what_was_the_matter_before() {
        let options = crate::Client::builder();
        let second = Duration::from_secs(1);
        let cut_short = async |mut attempts: Attempts| {
            let before = ApiError::new(Reason::Unreachable, "nobody is there");
            attempts.after(before, true).await.expect("there is time");
            sleep(second).await;
            attempts
                .after(ApiError::new(Reason::Deadline, "no answer"), true)
                .await
                .expect_err("there is none")
        };
        let attempts = || Attempts::new(Instant::now() + second, &options);
        assert_eq!(cut_short(attempts().that_only_look()).await.reason, Reason::Unreachable);
        // What may have happened is told so.
        let error = cut_short(attempts()).await;
        assert_eq!(
            (error.reason, &*error.message),
            (Reason::Deadline, "no answer; before that: nobody is there")
        );
    }

    #[test]
    fn a_server_is_not_asked_before_it_says() {
        let asked = Duration::from_secs(7);
        let error = ApiError::new(Reason::Overloaded, "").retry_after(asked);
        assert_eq!(retry_pause(&error, &mut Backoff::default(), &*Env::real().entropy), asked);
    }
}
