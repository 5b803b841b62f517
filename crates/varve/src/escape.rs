//! Bytes as they are written on a command line.

use std::str::FromStr;

/// Text in which `\n`, `\r`, `\t`, `\0`, `\\` and `\xHH` stand for bytes. It may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Escaped(Vec<u8>);

impl Escaped {
    /// What it stands for.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for Escaped {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            if c == '\\' {
                bytes.push(escaped(&mut chars)?);
            } else {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        Ok(Self(bytes))
    }
}

/// The byte of what follows a backslash.
fn escaped(chars: &mut std::str::Chars<'_>) -> Result<u8, String> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let hex: String = chars.by_ref().take(2).filter(char::is_ascii_hexdigit).collect();
            let byte = if hex.len() == 2 { u8::from_str_radix(&hex, 16).ok() } else { None };
            byte.ok_or_else(|| "\\x takes two hexadecimal digits".into())
        }
        _ => Err("after \\ comes n, r, t, 0, \\ or xHH".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        let bytes = |text: &str| text.parse::<Escaped>().map(|escaped| escaped.0);
        assert_eq!(bytes(r"\r\n"), Ok(b"\r\n".to_vec()));
        assert_eq!(bytes(r"\0"), Ok(vec![0]));
        assert_eq!(bytes(r"\x1fü\\"), Ok("\u{1f}ü\\".as_bytes().to_vec()));
        assert_eq!(bytes(""), Ok(vec![]));
        for wrong in ["\\", "\\q", "\\x1", "\\xzz", "\\x+1"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
    }
}
