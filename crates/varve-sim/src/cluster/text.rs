//! Records that say which value they are, and whether they arrived as they were sent.

/// A record of a value: of many lengths, so that batches and frames do not all look alike.
pub(super) fn text_of(value: u64) -> String {
    let padding = usize::try_from(value.wrapping_mul(0x9E37_79B9) % 701).unwrap_or(0);
    format!("{value} {}", "x".repeat(padding))
}

/// The value of a record; one that nobody appends where the record is not as it was sent.
pub(super) fn value_of(text: &[u8]) -> u64 {
    let digits = std::str::from_utf8(text).ok().and_then(|text| text.split(' ').next());
    let value = digits.and_then(|digits| digits.parse().ok());
    value.filter(|value| text_of(*value).as_bytes() == text).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_was_changed_has_no_value() {
        assert_eq!(value_of(text_of(42).as_bytes()), 42);
        assert_eq!(value_of(b"42 "), u64::MAX);
        assert_eq!(value_of(b"\xff"), u64::MAX);
    }
}
