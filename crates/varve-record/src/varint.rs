//! Variable-length integers: zigzag, then seven bits a byte, least significant first (as in Protocol Buffers).

/// The most bytes of a 64-bit varint.
pub(crate) const VARLONG_BYTES_MAX: usize = 10;

/// The bytes that `value` takes.
#[inline]
pub(crate) fn encoded_len(value: i64) -> usize {
    // Every seven bits take one byte, and 0 takes one too: (bits + 6) / 7 for bits in 1..=64.
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Appends `value`.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, value: i64) {
    let raw = zigzag(value);
    if raw < 0x80 {
        out.push(raw as u8);
    } else if raw < 0x4000 {
        out.extend_from_slice(&[raw as u8 | 0x80, (raw >> 7) as u8]);
    } else {
        write_long(out, raw);
    }
}

/// Takes a 32-bit varint off the front, or `None` if it is cut short or out of range.
#[inline]
pub(crate) fn read_i32(input: &mut &[u8]) -> Option<i32> {
    i32::try_from(read_i64(input)?).ok()
}

/// Takes a 64-bit varint off the front, or `None` if it is cut short or out of range.
#[inline]
pub(crate) fn read_i64(input: &mut &[u8]) -> Option<i64> {
    // Nearly all varints of a batch (lengths, deltas) take one or two bytes.
    match **input {
        [first, ref rest @ ..] if first < 0x80 => {
            *input = rest;
            Some(unzigzag(first.into()))
        }
        [first, second, ref rest @ ..] if second < 0x80 => {
            *input = rest;
            Some(unzigzag(u64::from(first & 0x7f) | u64::from(second) << 7))
        }
        _ => read_long(input),
    }
}

#[cold]
fn write_long(out: &mut Vec<u8>, mut raw: u64) {
    let mut bytes = [0; VARLONG_BYTES_MAX];
    let mut len = 0;
    for byte in &mut bytes {
        len += 1;
        *byte = raw as u8 | 0x80;
        raw >>= 7;
        if raw == 0 {
            *byte &= 0x7f;
            break;
        }
    }
    out.extend_from_slice(&bytes[..len]);
}

#[cold]
fn read_long(input: &mut &[u8]) -> Option<i64> {
    let mut raw = 0u64;
    for (place, &byte) in input.iter().take(VARLONG_BYTES_MAX).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * place as u32;
        // The tenth byte has room for one bit only.
        if shift == 63 && bits > 1 {
            return None;
        }
        raw |= bits << shift;
        if byte < 0x80 {
            *input = &input[place + 1..];
            return Some(unzigzag(raw));
        }
    }
    None
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, value);
        out
    }

    #[test]
    fn matches_the_published_examples() {
        // The zigzag table of the Protocol Buffers encoding guide, and the ends of the range.
        assert_eq!(encode(0), [0]);
        assert_eq!(encode(-1), [1]);
        assert_eq!(encode(1), [2]);
        assert_eq!(encode(-2), [3]);
        assert_eq!(encode(63), [0x7e]);
        assert_eq!(encode(-64), [0x7f]);
        assert_eq!(encode(64), [0x80, 0x01]);
        assert_eq!(encode(8191), [0xfe, 0x7f]);
        assert_eq!(encode(8192), [0x80, 0x80, 0x01]);
        assert_eq!(encode(0x7fff_ffff), [0xfe, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(encode(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
    }

    #[test]
    fn refuses_what_is_out_of_range_or_cut_short() {
        let eleven = [0x80; 11];
        assert_eq!(read_i64(&mut &eleven[..]), None);
        assert_eq!(read_i64(&mut &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02][..]), None);
        assert_eq!(read_i32(&mut &encode(i64::from(i32::MAX) + 1)[..]), None);
        assert_eq!(read_i32(&mut &encode(i64::from(i32::MIN))[..]), Some(i32::MIN));
        assert_eq!(read_i64(&mut &[][..]), None);
        assert_eq!(read_i64(&mut &[0x80][..]), None);
    }

    proptest! {
        #[test]
        fn round_trips(value: i64, shift in 0u32..64, tail: Vec<u8>) {
            let value = value >> shift;
            let mut bytes = encode(value);
            prop_assert_eq!(bytes.len(), encoded_len(value));
            bytes.extend_from_slice(&tail);
            let mut input = &bytes[..];
            prop_assert_eq!(read_i64(&mut input), Some(value));
            prop_assert_eq!(input, &tail[..]);
        }
    }
}
