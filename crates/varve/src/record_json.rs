//! A record as JSON: what `consume -o jsonl` writes, `produce --format json` reads.
//!
//! Keys, values and header values are text where they are UTF-8 (`"value": "..."`) and base64 where they are not
//! (`"value_base64": "..."`); a value that is absent is `null`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Serialize, Serializer};
use varve_client::ProducerRecord;
use varve_record::{Header, HeaderRef, HeadersRef, RecordRef, Timestamp};

use crate::time::{format_time, parse_time};

/// A record that was read, to be written as JSON.
pub(crate) struct JsonRecord<'a> {
    /// Topic.
    pub(crate) topic: &'a str,
    /// Partition.
    pub(crate) partition: u32,
    /// When it was appended, in milliseconds since 1970.
    pub(crate) append_time_ms: i64,
    /// The rest.
    pub(crate) record: RecordRef<'a>,
}

impl Serialize for JsonRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("topic", self.topic)?;
        map.serialize_entry("partition", &self.partition)?;
        map.serialize_entry("offset", &self.record.offset.get())?;
        map.serialize_entry("create_time", &format_time(self.record.timestamp.get()))?;
        map.serialize_entry("append_time", &format_time(self.append_time_ms))?;
        serialize_bytes(&mut map, ["key", "key_base64"], self.record.key)?;
        serialize_bytes(&mut map, ["value", "value_base64"], self.record.value)?;
        map.serialize_entry("headers", &JsonHeaders(self.record.headers))?;
        map.end()
    }
}

struct JsonHeaders<'a>(HeadersRef<'a>);

impl Serialize for JsonHeaders<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.0.len()))?;
        for header in self.0.iter() {
            seq.serialize_element(&JsonHeader(header))?;
        }
        seq.end()
    }
}

struct JsonHeader<'a>(HeaderRef<'a>);

impl Serialize for JsonHeader<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", self.0.name)?;
        serialize_bytes(&mut map, ["value", "value_base64"], self.0.value)?;
        map.end()
    }
}

fn serialize_bytes<M: SerializeMap>(
    map: &mut M,
    [text, base64]: [&str; 2],
    bytes: Option<&[u8]>,
) -> Result<(), M::Error> {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => map.serialize_entry(text, &()),
        Some(Ok(utf8)) => map.serialize_entry(text, utf8),
        Some(Err(bytes)) => map.serialize_entry(base64, &STANDARD.encode(bytes)),
    }
}

/// Reads one record. Where it came from (`topic`, `partition`, `offset`, `append_time`) is passed over, so that what was
/// consumed can be produced elsewhere.
///
/// # Errors
/// If it is no JSON object, has a field that is not known, or says neither value nor that there is none.
pub(crate) fn parse_record(json: &[u8]) -> Result<ProducerRecord, String> {
    let parsed: Input = serde_json::from_slice(json).map_err(|error| message(&error))?;
    let value = bytes_of("value", parsed.value.clone(), parsed.value_base64)?;
    if value.is_none() && parsed.value.is_none() {
        return Err("it has neither \"value\" nor \"value_base64\"; write \"value\": null for none".into());
    }
    let key = bytes_of("key", parsed.key, parsed.key_base64)?;
    let headers = parsed.headers.into_iter().map(header).collect::<Result<_, _>>()?;
    let time = parsed.create_time.map(|time| parse_time(&time)).transpose()?;
    Ok(ProducerRecord { key, value, headers, create_time: time.map(Timestamp::new), partition: None })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    #[serde(default, deserialize_with = "present")]
    key: Option<Option<String>>,
    key_base64: Option<String>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Option<String>>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<InputHeader>,
    create_time: Option<String>,
    #[serde(rename = "append_time")]
    _append_time: Option<IgnoredAny>,
    #[serde(rename = "topic")]
    _topic: Option<IgnoredAny>,
    #[serde(rename = "partition")]
    _partition: Option<IgnoredAny>,
    #[serde(rename = "offset")]
    _offset: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InputHeader {
    name: String,
    #[serde(default, deserialize_with = "present")]
    value: Option<Option<String>>,
    value_base64: Option<String>,
}

/// Tells `null` from a field that is not there.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

fn header(header: InputHeader) -> Result<Header, String> {
    let value = bytes_of("value", header.value, header.value_base64)?;
    Ok(Header { name: header.name, value })
}

fn bytes_of(
    name: &str,
    text: Option<Option<String>>,
    base64: Option<String>,
) -> Result<Option<Bytes>, String> {
    match (text.flatten(), base64) {
        (Some(_), Some(_)) => Err(format!("it has both \"{name}\" and \"{name}_base64\"")),
        (Some(text), None) => Ok(Some(text.into())),
        (None, Some(base64)) => {
            let bytes = STANDARD.decode(base64).map_err(|error| format!("\"{name}_base64\": {error}"))?;
            Ok(Some(bytes.into()))
        }
        (None, None) => Ok(None),
    }
}

/// What serde says, without "line 1", which is not the line of the file.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    format!("{} (column {})", text.strip_suffix(&place).unwrap_or(&text), error.column())
}

#[cfg(test)]
mod tests {
    use varve_record::{BatchBuilder, Compression, Limits};

    use super::*;

    fn through_json(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[HeaderRef<'_>],
    ) -> (String, ProducerRecord) {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(Timestamp::new(1500), key, value, headers).expect("it fits");
        let records = builder.build().expect("one record").records(&Limits::default()).expect("good");
        let record = records.iter().next().expect("one").expect("good");
        let json = JsonRecord { topic: "t", partition: 3, append_time_ms: 2000, record };
        let json = serde_json::to_string(&json).expect("plain");
        let parsed = parse_record(json.as_bytes()).expect(&json);
        (json, parsed)
    }

    #[test]
    fn what_is_consumed_can_be_produced() {
        let headers = [
            HeaderRef { name: "a", value: Some(b"1") },
            HeaderRef { name: "a", value: Some(b"\xff") },
            HeaderRef { name: "b", value: None },
        ];
        let (json, record) = through_json(Some(b"k"), Some(b"v\n\"\xc3\xbc"), &headers);
        assert_eq!(
            json,
            "{\"topic\":\"t\",\"partition\":3,\"offset\":0,\"create_time\":\"1970-01-01T00:00:01.500Z\",\
             \"append_time\":\"1970-01-01T00:00:02.000Z\",\"key\":\"k\",\"value\":\"v\\n\\\"ü\",\"headers\":[\
             {\"name\":\"a\",\"value\":\"1\"},{\"name\":\"a\",\"value_base64\":\"/w==\"},{\"name\":\"b\",\"value\":null}]}"
        );
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.value.as_deref(), Some(&b"v\n\"\xc3\xbc"[..]));
        assert_eq!(record.create_time, Some(Timestamp::new(1500)));
        let read: Vec<_> = record.headers.iter().map(|h| (h.name.as_str(), h.value.as_deref())).collect();
        assert_eq!(read, headers.map(|h| (h.name, h.value)));

        let (_, record) = through_json(None, Some(b"\xff\x00"), &[]);
        assert_eq!((record.key, record.value.as_deref()), (None, Some(&b"\xff\x00"[..])));
        let (_, record) = through_json(Some(b""), None, &[]);
        assert_eq!((record.key.as_deref(), record.value), (Some(&b""[..]), None));
    }

    #[test]
    fn mistakes_are_named() {
        for (json, says) in [
            ("{}", "neither \"value\" nor"),
            ("{\"vlaue\": \"x\"}", "unknown field `vlaue`"),
            ("{\"value\": 5}", "expected a string"),
            ("{\"value\": \"x\", \"value_base64\": \"\"}", "both"),
            ("{\"value_base64\": \"?\"}", "value_base64"),
            ("{\"value\": \"x\", \"create_time\": \"soon\"}", "is no time"),
            ("{\"value\": \"x\"} y", "trailing"),
            ("[1]", ""),
            ("", "EOF"),
        ] {
            let error = parse_record(json.as_bytes()).expect_err(json);
            assert!(error.contains(says), "{json}: {error}");
        }
    }
}
