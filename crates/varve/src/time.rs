//! Times as people write them: RFC 3339, or seconds since 1970.
//!
//! Inside they are milliseconds since 1970 (UTC). The calendar is the proleptic Gregorian one; the conversion is that of
//! Howard Hinnant's "chrono-compatible low-level date algorithms".

const MS_PER_DAY: i64 = 86_400_000;

/// Reads `2026-11-23T02:43:13.5Z`, with an offset (`+01:00`) instead of `Z`, with a space instead of `T`, or a date
/// alone (midnight UTC); or seconds since 1970, which may have a fraction.
pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    let parsed =
        if text.contains('-') && !text.starts_with('-') { rfc3339(text) } else { unix_seconds(text) };
    parsed.ok_or_else(|| {
        format!("{text:?} is no time: write 2026-11-23T02:43:13Z, 2026-11-23, or seconds since 1970")
    })
}

/// Writes `2026-11-23T02:43:13.500Z`.
pub(crate) fn format_time(unix_ms: i64) -> String {
    let (year, month, day) = civil_from_days(unix_ms.div_euclid(MS_PER_DAY));
    let ms = unix_ms.rem_euclid(MS_PER_DAY);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

fn unix_seconds(text: &str) -> Option<i64> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let ms = unsigned(whole)?.checked_mul(1000)?.checked_add(fraction_ms(fraction)?)?;
    Some(if negative { -ms } else { ms })
}

fn rfc3339(text: &str) -> Option<i64> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, "00:00:00Z"),
    };
    let mut parts = date.split('-');
    let year = digits(parts.next()?, 4)?;
    let month = digits(parts.next()?, 2)?;
    let day = digits(parts.next()?, 2)?;
    let days = days_from_civil(year, month, day);
    // A date that does not exist comes back as another.
    if parts.next().is_some() || civil_from_days(days) != (year, month, day) {
        return None;
    }
    Some(days * MS_PER_DAY + time_of_day(time)?)
}

/// Milliseconds since midnight UTC of `02:43`, `02:43:13.5`, each with `Z` or an offset.
fn time_of_day(text: &str) -> Option<i64> {
    let at = text.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = text.split_at(at);
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let hour = digits(parts.next()?, 2).filter(|h| *h < 24)?;
    let minute = digits(parts.next()?, 2).filter(|m| *m < 60)?;
    // 60 is a leap second, which Unix time does not know.
    let second = parts.next().map_or(Some(0), |s| digits(s, 2)).filter(|s| *s <= 60)?.min(59);
    if parts.next().is_some() {
        return None;
    }
    Some(((hour * 60 + minute) * 60 + second) * 1000 + fraction_ms(fraction)? - zone_ms(zone)?)
}

fn zone_ms(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if zone.starts_with('-') { -1 } else { 1 };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let hours = digits(hours, 2).filter(|h| *h < 24)?;
    let minutes = digits(minutes, 2).filter(|m| *m < 60)?;
    Some(sign * (hours * 60 + minutes) * 60_000)
}

/// The first three digits of a fraction.
fn fraction_ms(fraction: &str) -> Option<i64> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let padded: String = fraction.chars().chain("000".chars()).take(3).collect();
    unsigned(&padded)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    if text.len() == count { unsigned(text) } else { None }
}

fn unsigned(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01", 0),
            ("2000-02-29T12:00:00.25Z", 951_825_600_250),
            ("2026-11-23T02:43:13Z", 1_795_401_793_000),
            ("2026-11-23 03:43:13+01:00", 1_795_401_793_000),
            ("2026-11-22T21:43-05:00", 1_795_401_780_000),
            ("1969-12-31T23:59:59.999Z", -1),
            ("1795401793", 1_795_401_793_000),
            ("1795401793.5", 1_795_401_793_500),
            ("-1", -1000),
            ("1970-01-01T00:00:00.0009999999999999999999Z", 0),
        ] {
            assert_eq!(parse_time(text), Ok(ms), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-11-23T",
            "2026-11-23T24:00:00Z",
            "2026-11-23T02:43:13",
            "2026-11-23T02:43:13.Z",
            "2026-11-23T02:60:00Z",
            "1.5.5",
            "99999999999999999999",
            "é-1-1",
            "2026-11-23é",
        ] {
            assert!(parse_time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_passes_through() {
        for day in -1_000_000..1_000_000 {
            let (y, m, d) = civil_from_days(day);
            assert_eq!(days_from_civil(y, m, d), day);
        }
        assert_eq!(format_time(1_795_401_793_500), "2026-11-23T02:43:13.500Z");
        assert_eq!(parse_time(&format_time(-12_345)), Ok(-12_345));
    }
}
