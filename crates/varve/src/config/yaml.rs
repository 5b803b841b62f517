//! The YAML file: one flat mapping of keys to plain values, and to lists of them where a key takes several.

use std::path::Path;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};

use super::{ConfigError, LIST_SEPARATOR, Place, key};

/// A key and its value as written, with the place of the key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Reads the pairs of a document. An empty document, or one of comments alone, has none.
///
/// # Errors
/// If it is no YAML, no mapping, or nested.
pub(crate) fn parse(path: &Path, text: &str) -> Result<Vec<Pair>, ConfigError> {
    let mut reader = Reader { path, pairs: Vec::new(), key: None, list: None, in_mapping: false };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| reader.error(error.marker(), error.info()))?;
        reader.take(&event, span)?;
    }
    Ok(reader.pairs)
}

struct Reader<'a> {
    path: &'a Path,
    pairs: Vec<Pair>,
    /// The key whose value comes next.
    key: Option<(String, Place)>,
    /// The values of the list that is open.
    list: Option<Vec<String>>,
    in_mapping: bool,
}

impl Reader<'_> {
    fn take(&mut self, event: &Event<'_>, span: Span) -> Result<(), ConfigError> {
        match event {
            Event::MappingStart(..) if !self.in_mapping => self.in_mapping = true,
            Event::SequenceStart(..) if self.list.is_none() && self.key_takes_list() => {
                self.list = Some(Vec::new());
            }
            Event::SequenceEnd => self.end_of_list(),
            Event::Scalar(text, ScalarStyle::Plain, ..) if !self.in_mapping && is_null(text) => {}
            Event::Scalar(text, style, ..) if self.in_mapping => self.scalar(text, *style, span)?,
            Event::Scalar(..) => return Err(self.error(&span.start, "write one `key: value` a line")),
            Event::MappingStart(..) | Event::SequenceStart(..) | Event::Alias(..) => {
                let what = match &self.key {
                    Some((key, _)) => format!("{key} takes a plain value, not a list or a mapping"),
                    None => "write one `key: value` a line".to_owned(),
                };
                return Err(self.error(&span.start, &what));
            }
            _ => {}
        }
        Ok(())
    }

    fn key_takes_list(&self) -> bool {
        let key = self.key.as_ref().and_then(|(name, _)| key::find(name));
        key.is_some_and(|key| key.list)
    }

    fn end_of_list(&mut self) {
        if let (Some(values), Some((key, place))) = (self.list.take(), self.key.take()) {
            self.pairs.push(Pair { key, value: values.join(LIST_SEPARATOR), place });
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, span: Span) -> Result<(), ConfigError> {
        if let Some(values) = &mut self.list {
            values.push(text.to_owned());
            return Ok(());
        }
        let Some((key, place)) = self.key.take() else {
            let place = self.place(&span.start);
            if self.pairs.iter().any(|pair| pair.key == text) {
                return Err(self.error(&span.start, &format!("{text} is given twice")));
            }
            self.key = Some((text.to_owned(), place));
            return Ok(());
        };
        if style == ScalarStyle::Plain && is_null(text) {
            return Err(ConfigError::Yaml { place, problem: format!("{key} has no value") });
        }
        self.pairs.push(Pair { key, value: text.to_owned(), place });
        Ok(())
    }

    fn place(&self, marker: &Marker) -> Place {
        Place::File { path: self.path.into(), line: marker.line(), column: marker.col() + 1 }
    }

    fn error(&self, marker: &Marker, problem: &str) -> ConfigError {
        ConfigError::Yaml { place: self.place(marker), problem: problem.to_owned() }
    }
}

fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<(String, String)>, String> {
        let pairs = parse(Path::new("v.yaml"), text).map_err(|e| e.to_string())?;
        Ok(pairs.into_iter().map(|pair| (pair.key, pair.value)).collect())
    }

    #[test]
    fn a_flat_mapping() {
        let pairs = read("# mine\ndata-dir: /tmp/v\nbootstrap: true\nnode-name: \"null\"\n").expect("good");
        let expected = [("data-dir", "/tmp/v"), ("bootstrap", "true"), ("node-name", "null")];
        assert_eq!(pairs, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read("# nothing yet\n"), Ok(vec![]));
        assert_eq!(read("---\n"), Ok(vec![]));
    }

    #[test]
    fn a_list_where_a_key_takes_several() {
        let joined =
            vec![("start-join-addrs".to_owned(), "a:1,b:2".to_owned()), ("rack".to_owned(), "r1".to_owned())];
        for text in [
            "start-join-addrs: [\"a:1\", \"b:2\"]\nrack: r1\n",
            "start-join-addrs:\n  - a:1\n  - b:2\nrack: r1\n",
            "start-join-addrs: a:1,b:2\nrack: r1\n",
        ] {
            assert_eq!(read(text), Ok(joined.clone()), "{text}");
        }
        let nested = read("start-join-addrs:\n  - [a]\n").expect_err("nested");
        assert!(nested.contains("v.yaml:2:5: start-join-addrs takes"), "{nested}");
    }

    #[test]
    fn mistakes_name_their_place() {
        for (text, place) in [
            ("data-dir: /tmp/v\nlog-level:\n  a: b\n", "v.yaml:3:3: log-level takes a plain value"),
            ("log-level: [a]\n", "v.yaml:1:12: log-level takes a plain value"),
            ("a: 1\na: 2\n", "v.yaml:2:1: a is given twice"),
            ("a: 1\nb:\n", "v.yaml:2:1: b has no value"),
            ("just words\n", "v.yaml:1:1: write one `key: value` a line"),
            ("- a\n", "v.yaml:1:1: write one"),
            ("a: 'x\n", "v.yaml:"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with(place), "{text:?} gives {error:?}");
        }
    }
}
