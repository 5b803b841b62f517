//! For how long a certificate is good.

use std::time::{Duration, SystemTime};

use time::OffsetDateTime;

/// How much earlier than now a certificate begins to be good, so that a host whose clock is a little behind takes it.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long something is good, from when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity(Duration);

/// A time that is too short or too long for what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is good for at least {min_hours}h and at most {max_days}d")]
pub struct InvalidValidity {
    what: &'static str,
    min_hours: u64,
    max_days: u64,
}

impl Validity {
    /// Ten years, for an authority.
    pub const AUTHORITY: Self = Self(days(3652));
    /// A year, for the certificates that it makes.
    pub const CERTIFICATE: Self = Self(days(365));
    /// Thirty days, for a list of revocations: a server refuses an older one, so it has to be made anew in time.
    pub const REVOCATIONS: Self = Self(days(30));

    /// For an authority: a day to thirty years.
    ///
    /// # Errors
    ///
    /// It is shorter or longer.
    pub fn of_authority(time: Duration) -> Result<Self, InvalidValidity> {
        Self::within("an authority", time, DAY, days(10_958))
    }

    /// For a certificate: an hour to five years.
    ///
    /// # Errors
    ///
    /// It is shorter or longer.
    pub fn of_certificate(time: Duration) -> Result<Self, InvalidValidity> {
        Self::within("a certificate", time, HOUR, days(1826))
    }

    /// For a list of revocations: an hour to a year.
    ///
    /// # Errors
    ///
    /// It is shorter or longer.
    pub fn of_revocations(time: Duration) -> Result<Self, InvalidValidity> {
        Self::within("a list of revocations", time, HOUR, days(366))
    }

    fn within(
        what: &'static str,
        time: Duration,
        min: Duration,
        max: Duration,
    ) -> Result<Self, InvalidValidity> {
        if (min..=max).contains(&time) {
            return Ok(Self(time));
        }
        let (min_hours, max_days) = (min.as_secs() / HOUR.as_secs(), max.as_secs() / DAY.as_secs());
        Err(InvalidValidity { what, min_hours, max_days })
    }

    /// From when and until when that is, for what is made now. `None` where the clock shows no time that a certificate can say.
    pub(crate) fn from(self, now: SystemTime) -> Option<(OffsetDateTime, OffsetDateTime)> {
        Some((date(now.checked_sub(BACKDATE)?)?, date(now.checked_add(self.0)?)?))
    }
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * DAY.as_secs())
}

/// The second that a time lies in, as certificates have no finer ones.
pub(crate) fn date(time: SystemTime) -> Option<OffsetDateTime> {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    OffsetDateTime::from_unix_timestamp(i64::try_from(since_epoch.as_secs()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_bounds() {
        assert_eq!(Validity::of_certificate(days(365)), Ok(Validity::CERTIFICATE));
        assert_eq!(Validity::of_authority(days(3652)), Ok(Validity::AUTHORITY));
        assert_eq!(Validity::of_revocations(days(30)), Ok(Validity::REVOCATIONS));
        let said = Validity::of_certificate(days(9999)).unwrap_err().to_string();
        assert_eq!(said, "a certificate is good for at least 1h and at most 1826d");
        Validity::of_certificate(Duration::from_secs(3599)).unwrap_err();
        Validity::of_authority(HOUR).unwrap_err();
        Validity::of_revocations(days(367)).unwrap_err();
    }

    #[test]
    fn it_begins_a_little_earlier() {
        let now = SystemTime::UNIX_EPOCH + days(20_000);
        let (from, until) = Validity::CERTIFICATE.from(now).unwrap();
        assert_eq!(from.unix_timestamp(), 20_000 * 86_400 - 300);
        assert_eq!(until.unix_timestamp(), 20_365 * 86_400);
        assert_eq!(Validity::CERTIFICATE.from(SystemTime::UNIX_EPOCH), None, "before the epoch");
    }
}
