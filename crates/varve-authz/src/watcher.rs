//! Policies that are edited while they are in use.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use varve_env::Blocking;

use crate::authorizer::Authorizer;
use crate::error::PolicyError;
use crate::source::{Contents, PolicySource};

/// How often the files are looked at.
pub const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// What a look at the files came to.
#[derive(Debug)]
pub enum Reload {
    /// They are as they were.
    Unchanged,
    /// They have changed, and the new policy is in use.
    Replaced,
    /// They have changed and are wrong: the old policy stays in use.
    Refused(PolicyError),
}

/// Looks whether a policy's files have changed, and puts the new policy in use if it is good.
///
/// Files are compared by what they hold, so that it does not matter how they were replaced: written over, renamed into place, or
/// by another target of a symbolic link, as Kubernetes does.
#[derive(Debug)]
pub struct PolicyWatcher {
    authorizer: Authorizer,
    source: PolicySource,
    /// What was last read, good or not; `None` where the files could not be read.
    last: Option<Contents>,
    /// Why the files could not be read when they were last looked at, so that it is said once.
    unreadable: Option<String>,
    blocking: Blocking,
}

impl PolicyWatcher {
    /// Loads a policy and begins to watch it.
    ///
    /// # Errors
    ///
    /// A file cannot be read, or the first line that is wrong.
    pub fn start(source: PolicySource, blocking: Blocking) -> Result<(Authorizer, Self), PolicyError> {
        let contents = source.read()?;
        let authorizer = Authorizer::new(source.compile(&contents)?, blocking);
        let watcher =
            Self { authorizer: authorizer.clone(), source, last: Some(contents), unreadable: None, blocking };
        Ok((authorizer, watcher))
    }

    /// Looks once. It blocks on the files, and while a policy is compiled.
    pub fn check(&mut self) -> Reload {
        let contents = match self.source.read() {
            Ok(contents) => contents,
            Err(error) => return self.cannot_read(error),
        };
        self.unreadable = None;
        if self.last.as_ref() == Some(&contents) {
            return Reload::Unchanged;
        }
        let compiled = self.source.compile(&contents);
        self.last = Some(contents);
        match compiled {
            Ok(policy) => {
                self.authorizer.replace(policy);
                Reload::Replaced
            }
            Err(error) => Reload::Refused(error),
        }
    }

    /// Looks every [`POLL_INTERVAL`], and at once when it is `asked` to, for as long as it is polled. Whatever comes of it but
    /// nothing is handed to `report`.
    pub async fn run(mut self, asked: Arc<Notify>, mut report: impl FnMut(&Reload)) {
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = asked.notified() => {}
                _ = ticks.tick() => {}
            }
            let (watcher, outcome) = self
                .blocking
                .run(move || {
                    let outcome = self.check();
                    (self, outcome)
                })
                .await;
            self = watcher;
            match &outcome {
                Reload::Unchanged => {}
                Reload::Replaced => {
                    let rules = self.authorizer.with_policy(|policy| policy.rules().len());
                    tracing::info!(file = %self.source.policy_file.display(), rules, "the policy was replaced");
                }
                Reload::Refused(error) => {
                    tracing::error!(%error, "the policy was edited and is wrong: the one before stays in use");
                }
            }
            if !matches!(outcome, Reload::Unchanged) {
                report(&outcome);
            }
        }
    }

    /// Files may be gone for a moment while they are replaced, and that is said once.
    fn cannot_read(&mut self, error: PolicyError) -> Reload {
        let said = error.to_string();
        if self.unreadable.as_ref() == Some(&said) {
            return Reload::Unchanged;
        }
        self.unreadable = Some(said);
        Reload::Refused(error)
    }
}

#[cfg(test)]
mod tests;
