//! The common name of a certificate, where it says who holds it.

use std::fmt;

/// Longest common name, in characters (`ub-common-name` of RFC 5280, appendix A.1).
pub const COMMON_NAME_CHARS_MAX: usize = 64;

/// A common name that can be a subject: one that shows as what it is, and is never mistaken for another's URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommonName(String);

/// A common name that is not taken for a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCommonName {
    /// There is nothing in it.
    #[error("it is empty")]
    Empty,
    /// It is longer than X.509 has them.
    #[error("it has more than {COMMON_NAME_CHARS_MAX} characters")]
    TooLong,
    /// It holds a NUL, a line break, or what makes it look like another.
    #[error("it holds control characters or invisible ones")]
    Unseen,
    /// It begins or ends with a space.
    #[error("it begins or ends with a space")]
    Padded,
    /// It looks like a URI, which is what the subject's alternative names are for.
    #[error("it looks like a URI: put that into the subject's alternative names")]
    Uri,
    /// It is written in an encoding that is seen nowhere any more.
    #[error("it is encoded as neither UTF8String, PrintableString nor IA5String")]
    Encoding,
}

impl CommonName {
    /// Takes a common name, if it can be a subject.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn new(name: &str) -> Result<Self, InvalidCommonName> {
        if name.is_empty() {
            return Err(InvalidCommonName::Empty);
        }
        if name.chars().count() > COMMON_NAME_CHARS_MAX {
            return Err(InvalidCommonName::TooLong);
        }
        if name.chars().any(is_unseen) {
            return Err(InvalidCommonName::Unseen);
        }
        if name.trim() != name {
            return Err(InvalidCommonName::Padded);
        }
        if name.contains("://") {
            return Err(InvalidCommonName::Uri);
        }
        Ok(Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommonName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Control characters, and those that have no width or turn the direction of writing: two names that differ by them alone would
/// look the same in a policy and in a log.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(c, '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_show_as_what_they_are() {
        let longest = "é".repeat(COMMON_NAME_CHARS_MAX);
        for name in ["root", "alice", "Doe, Jane", "a@b.c", "*", "Zoë", "a:b", "a//b", longest.as_str()] {
            assert_eq!(CommonName::new(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn names_that_do_not() {
        use InvalidCommonName::{Empty, Padded, TooLong, Unseen, Uri};
        let too_long = "x".repeat(COMMON_NAME_CHARS_MAX + 1);
        for (name, problem) in [
            ("", Empty),
            (too_long.as_str(), TooLong),
            ("root\0.evil", Unseen),
            ("a\nb", Unseen),
            ("a\u{202e}b", Unseen),
            ("a\u{200b}", Unseen),
            (" a", Padded),
            ("a ", Padded),
            ("a\u{a0}", Padded),
            ("varve://c/node/a", Uri),
        ] {
            assert_eq!(CommonName::new(name).expect_err(name), problem);
        }
    }
}
