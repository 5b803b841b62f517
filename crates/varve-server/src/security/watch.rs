//! Certificates that change on the disk.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use varve_cert::Description;
use varve_env::Env;
use varve_tls::ServerTls;

/// How often it is said that a certificate ends before long.
const SAY_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// With less time left it is said that a list of revoked certificates ends.
const LISTS_LEFT_MIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Takes over what the files hold, every so often and when asked to. What is wrong is said once, and changes nothing.
pub(super) async fn certificates(env: Env, tls: ServerTls, every: Duration, asked: Arc<Notify>) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut wrong = None;
    let mut said = None;
    loop {
        tokio::select! {
            biased;
            () = asked.notified() => {}
            _ = ticks.tick() => {}
        }
        let files = tls.clone();
        match env.blocking.run(move || files.reload_if_changed()).await {
            Ok(false) => wrong = None,
            Ok(true) => {
                (wrong, said) = (None, None);
                tracing::info!("the certificates were read again: new connections go by them");
            }
            Err(error) => {
                let error = error.to_string();
                if wrong.as_ref() != Some(&error) {
                    tracing::error!(
                        error,
                        "the certificates have changed and cannot be used: the ones before stay in use"
                    );
                    wrong = Some(error);
                }
            }
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(env.clock.now_unix_ms().unsigned_abs());
        let is_due = said.is_none_or(|said| now.duration_since(said).is_ok_and(|since| since >= SAY_AGAIN));
        if is_due {
            said = Some(now);
            for (file, certificate) in [tls.shown_to_clients(), tls.shown_to_peers()] {
                say_what_is_wrong(&file, &certificate, now);
            }
            let [of_clients, of_nodes] = tls.authorities();
            let apart = (of_nodes.0 != of_clients.0).then_some(of_nodes);
            for (file, authorities) in [of_clients].into_iter().chain(apart) {
                authorities.iter().for_each(|authority| say_what_is_wrong(&file, authority, now));
            }
            say_when_lists_end(&tls, now);
        }
    }
}

/// When certificates end, by what they are for: of several the first.
pub(super) fn ends(tls: &ServerTls) -> Vec<(&'static str, i64)> {
    let end = |certificate: &Vec<u8>| {
        let description = Description::of(certificate, SystemTime::UNIX_EPOCH).ok()?;
        Some(description.not_after.unix_timestamp())
    };
    let first = |certificates: &[Vec<u8>]| certificates.iter().filter_map(end).min();
    let [(_, of_clients), (_, of_nodes)] = tls.authorities();
    let ends = [
        ("server", end(&tls.shown_to_clients().1)),
        ("peer", end(&tls.shown_to_peers().1)),
        ("server-ca", first(&of_clients)),
        ("peer-ca", first(&of_nodes)),
        ("crl", tls.lists_end().map(|(_, end)| end)),
    ];
    ends.into_iter().filter_map(|(usage, end)| Some((usage, end?))).collect()
}

/// Says that a list of revoked certificates ends before long, or has: it is written anew by somebody, or by nobody.
fn say_when_lists_end(tls: &ServerTls, now: SystemTime) {
    let Some((file, end)) = tls.lists_end() else { return };
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let left = end.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
    if left < LISTS_LEFT_MIN.as_secs().cast_signed() {
        let (file, hours_left) = (file.display(), left / 3600);
        tracing::warn!(%file, hours_left, "list of revoked certificates: write it anew, for nobody is let in once it has ended");
    }
}

fn say_what_is_wrong(file: &Path, certificate: &[u8], now: SystemTime) {
    let Ok(description) = Description::of(certificate, now) else { return };
    for finding in description.findings {
        tracing::warn!(file = %file.display(), not_after = %description.not_after, %finding, "certificate: replace it");
    }
}
