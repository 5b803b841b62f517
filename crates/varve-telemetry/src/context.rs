//! Which trace a piece of work belongs to.

use std::fmt;

/// The name of gRPC metadata and of a record's header that carries a context.
const TRACEPARENT: &str = "traceparent";
/// Bytes of a context in the form of W3C: `00-<trace>-<parent>-<flags>`.
const W3C_BYTES: usize = 55;
/// Bytes of a context between nodes.
const WIRE_BYTES: usize = 24;

/// A place in a trace that is recorded. Work that is not recorded has none, and costs nothing.
///
/// It is written and read as W3C's Trace Context, level 1 (`traceparent`); what says that it is not sampled reads as none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    trace: u128,
    span: u64,
}

impl TraceContext {
    /// The name of the gRPC metadata, and of the record header, that holds one.
    pub const NAME: &'static str = TRACEPARENT;
    /// How many bytes it takes between nodes.
    pub const WIRE_BYTES: usize = WIRE_BYTES;

    /// A place in a trace; `None` where either number is 0, which means none.
    #[must_use]
    pub fn new(trace: u128, span: u64) -> Option<Self> {
        (trace != 0 && span != 0).then_some(Self { trace, span })
    }

    /// The trace.
    #[must_use]
    pub fn trace_id(self) -> u128 {
        self.trace
    }

    /// The span within it.
    #[must_use]
    pub fn span_id(self) -> u64 {
        self.span
    }

    /// Reads a `traceparent`; `None` where it is malformed, or says that the trace is not recorded.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        // A later version may be longer, and begins the same.
        let text = text
            .get(..W3C_BYTES)
            .filter(|_| text.len() == W3C_BYTES || text.get(W3C_BYTES) == Some(&b'-'))?;
        let text = std::str::from_utf8(text).ok()?;
        let mut parts = text.split('-');
        let version = hex(parts.next()?, 2)?;
        let (trace, span, flags) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?, hex(parts.next()?, 2)?);
        if version == 0xff || flags & 1 == 0 || parts.next().is_some() {
            return None;
        }
        Self::new(trace, u64::try_from(span).ok()?)
    }

    /// As a `traceparent`.
    #[must_use]
    pub fn to_traceparent(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace, self.span)
    }

    /// As bytes between nodes: the trace's number and the span's, big end first.
    #[must_use]
    pub fn to_wire(self) -> [u8; WIRE_BYTES] {
        let mut bytes = [0; WIRE_BYTES];
        bytes[..16].copy_from_slice(&self.trace.to_be_bytes());
        bytes[16..].copy_from_slice(&self.span.to_be_bytes());
        bytes
    }

    /// Reads what [`TraceContext::to_wire`] has written.
    #[must_use]
    pub fn from_wire(bytes: [u8; WIRE_BYTES]) -> Option<Self> {
        let (trace, span) = bytes.split_at(16);
        Self::new(u128::from_be_bytes(trace.try_into().ok()?), u64::from_be_bytes(span.try_into().ok()?))
    }
}

/// A number of exactly so many small hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let good = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    good.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_traceparent())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn what_is_written_is_read() {
        let context = TraceContext::parse(GOOD.as_bytes()).expect("it is good");
        assert_eq!(context.to_traceparent(), GOOD);
        assert_eq!(TraceContext::from_wire(context.to_wire()), Some(context));
    }

    #[test]
    fn a_later_version_may_say_more() {
        let later = format!("cc{}-more", &GOOD[2..]);
        assert!(TraceContext::parse(later.as_bytes()).is_some());
    }

    #[test]
    fn what_is_malformed_or_not_recorded_is_none() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "00-0af7651916cd43dd8448eb211c80319cx-b7ad6b716920333-01",
            "00_0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331_01",
        ] {
            assert_eq!(TraceContext::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(TraceContext::parse(&[0xff; 55]), None);
        assert_eq!(TraceContext::from_wire([0; WIRE_BYTES]), None);
    }
}
