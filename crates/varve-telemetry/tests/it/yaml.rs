//! A YAML document as a tree.

use saphyr_parser::{Event, Parser};

#[derive(Debug)]
pub(crate) enum Yaml {
    Text(String),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Yaml {
    /// The one document in a text.
    pub(crate) fn parse(text: &str) -> Self {
        let mut events = Parser::new_from_str(text).map(|event| event.unwrap().0);
        let root = events.find(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(..)));
        Self::node(root.unwrap(), &mut events)
    }

    fn node<'a>(first: Event<'a>, rest: &mut impl Iterator<Item = Event<'a>>) -> Self {
        match first {
            Event::Scalar(text, ..) => Self::Text(text.into_owned()),
            Event::SequenceStart(..) => {
                let mut list = Vec::new();
                loop {
                    match rest.next().unwrap() {
                        Event::SequenceEnd => return Self::List(list),
                        item => list.push(Self::node(item, rest)),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut map = Vec::new();
                loop {
                    match rest.next().unwrap() {
                        Event::MappingEnd => return Self::Map(map),
                        Event::Scalar(key, ..) => {
                            let value = rest.next().unwrap();
                            map.push((key.into_owned(), Self::node(value, rest)));
                        }
                        other => panic!("no key: {other:?}"),
                    }
                }
            }
            other => panic!("not expected here: {other:?}"),
        }
    }

    /// What stands under a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            Self::Text(_) | Self::List(_) => None,
        }
    }

    /// The text under a key; empty if there is none.
    pub(crate) fn text(&self, key: &str) -> &str {
        match self.get(key) {
            Some(Self::Text(text)) => text,
            _ => "",
        }
    }

    /// The items of the list under a key; none if there is no list.
    pub(crate) fn items(&self, key: &str) -> &[Self] {
        match self.get(key) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }
}
