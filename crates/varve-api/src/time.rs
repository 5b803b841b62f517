//! Times on the wire are `google.protobuf.Timestamp`; inside they are milliseconds since 1970 (UTC).

use std::time::Duration;

use prost_types::Timestamp;

const MS_PER_S: i64 = 1000;
const NANOS_PER_MS: i64 = 1_000_000;

/// The timestamp of a number of milliseconds since 1970 (UTC), which may be negative.
#[must_use]
pub fn timestamp_from_ms(ms: i64) -> Timestamp {
    let nanos = ms.rem_euclid(MS_PER_S) * NANOS_PER_MS;
    Timestamp {
        seconds: ms.div_euclid(MS_PER_S),
        nanos: i32::try_from(nanos).expect("it is less than a second"),
    }
}

/// Milliseconds since 1970 (UTC), rounded down; `None` if a peer sent what is no timestamp or lies beyond an `i64`.
#[must_use]
pub fn ms_from_timestamp(timestamp: &Timestamp) -> Option<i64> {
    let nanos = i64::from(timestamp.nanos);
    if !(0..MS_PER_S * NANOS_PER_MS).contains(&nanos) {
        return None;
    }
    let ms = timestamp.seconds.checked_mul(MS_PER_S)?;
    ms.checked_add(nanos / NANOS_PER_MS)
}

/// A duration that a peer sent; `None` if it is negative or none at all.
#[must_use]
pub fn duration_from_proto(duration: &prost_types::Duration) -> Option<Duration> {
    (*duration).try_into().ok()
}

/// A duration to send; the longest that the wire takes, if it is longer.
#[must_use]
pub fn duration_to_proto(duration: Duration) -> prost_types::Duration {
    let longest = prost_types::Duration { seconds: i64::MAX, nanos: 0 };
    duration.try_into().unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_pass_through() {
        for ms in [0, 1, -1, 999, 1000, -1000, -1001, 1_700_000_000_123, i64::MAX, i64::MIN + 999] {
            assert_eq!(ms_from_timestamp(&timestamp_from_ms(ms)), Some(ms), "{ms}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for (seconds, nanos) in [(0, -1), (0, 1_000_000_000), (i64::MAX, 0), (i64::MIN, 0)] {
            assert_eq!(ms_from_timestamp(&Timestamp { seconds, nanos }), None, "{seconds} {nanos}");
        }
    }

    #[test]
    fn durations_pass_through() {
        let duration = Duration::from_millis(1500);
        assert_eq!(duration_from_proto(&duration_to_proto(duration)), Some(duration));
        let negative = prost_types::Duration { seconds: -1, nanos: 0 };
        assert_eq!(duration_from_proto(&negative), None);
    }
}
