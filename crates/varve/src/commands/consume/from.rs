//! Where a read begins or ends, as it is written on a command line.

use std::time::Duration;

use crate::time::parse_time;
use crate::units::parse_duration;

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// At the first record kept.
    Start,
    /// After the last record.
    End,
    /// At this offset.
    Offset(u64),
    /// So many records before the end.
    Last(u64),
    /// At the first record appended at or after this time.
    Time(Instant),
}

/// Where to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// Before this offset.
    Offset(u64),
    /// Before the first record appended at or after this time.
    Time(Instant),
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instant {
    /// Milliseconds since 1970.
    At(i64),
    /// So long before now.
    Ago(Duration),
}

impl Instant {
    /// Milliseconds since 1970, if it is `now_ms` now.
    pub(crate) fn unix_ms(self, now_ms: i64) -> i64 {
        match self {
            Self::At(ms) => ms,
            Self::Ago(ago) => now_ms.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)),
        }
    }
}

/// Reads `start`, `end`, `7`, `-5`, `@2026-11-23T02:43:13Z`, `@1795401793` or `1h`.
pub(crate) fn parse_from(text: &str) -> Result<From, String> {
    match text {
        "start" => return Ok(From::Start),
        "end" => return Ok(From::End),
        _ => {}
    }
    if let Some(last) = text.strip_prefix('-') {
        let count = last.parse().ok().filter(|_| is_digits(last));
        return count.map(From::Last).ok_or_else(|| format!("{text:?}: after - comes a number of records"));
    }
    let wrong = || format!("{text:?}: write start, end, an offset, -N, @TIME, or how long ago (1h)");
    match point(text, wrong)? {
        Until::Offset(offset) => Ok(From::Offset(offset)),
        Until::Time(instant) => Ok(From::Time(instant)),
    }
}

/// Reads `7`, `@2026-11-23T02:43:13Z`, `@1795401793` or `1h`.
pub(crate) fn parse_until(text: &str) -> Result<Until, String> {
    point(text, || format!("{text:?}: write an offset, @TIME, or how long ago (1h)"))
}

fn point(text: &str, wrong: impl FnOnce() -> String) -> Result<Until, String> {
    if let Some(time) = text.strip_prefix('@') {
        return parse_time(time).map(|ms| Until::Time(Instant::At(ms)));
    }
    if is_digits(text) {
        return text.parse().map(Until::Offset).map_err(|_| format!("{text} is no offset: it is too large"));
    }
    parse_duration(text).map(|ago| Until::Time(Instant::Ago(ago))).map_err(|_| wrong())
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_say_where() {
        for (text, from) in [
            ("start", From::Start),
            ("end", From::End),
            ("0", From::Offset(0)),
            ("17", From::Offset(17)),
            ("-5", From::Last(5)),
            ("-0", From::Last(0)),
            ("@1970-01-01", From::Time(Instant::At(0))),
            ("@-1.5", From::Time(Instant::At(-1500))),
            ("1h", From::Time(Instant::Ago(Duration::from_secs(3600)))),
        ] {
            assert_eq!(parse_from(text), Ok(from), "{text}");
        }
        assert_eq!(parse_until("17"), Ok(Until::Offset(17)));
        assert_eq!(Instant::Ago(Duration::from_secs(1)).unix_ms(1500), 500);
    }

    #[test]
    fn what_is_none_is_refused() {
        for text in ["", "-", "--5", "-1h", "-+5", "+5", "first", "@", "@soon", "1x", "99999999999999999999"]
        {
            assert!(parse_from(text).is_err(), "{text}");
        }
        for text in ["start", "end", "-5"] {
            assert!(parse_until(text).is_err(), "{text}");
        }
    }
}
