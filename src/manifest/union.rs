//! Fields that may be written short or long. Visitors by hand: serde's `untagged` would buffer the
//! value and lose every place in it.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::scalar::{Scalar, ScalarType};

/// A mapping that has a short form as one scalar.
pub trait LongForm {
    /// What is expected, for messages: `a port like "8080:80", or a mapping`.
    const EXPECTING: &'static str;
}

/// The short form's text, or the mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShortOr<M> {
    Short(String),
    Long(Box<M>),
}

impl<'de, M: LongForm + Deserialize<'de>> Deserialize<'de> for ShortOr<M> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct ShortOrVisitor<M>(PhantomData<M>);
        impl<'de, M: LongForm + Deserialize<'de>> Visitor<'de> for ShortOrVisitor<M> {
            type Value = ShortOr<M>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(M::EXPECTING)
            }

            fn visit_str<E: Error>(self, v: &str) -> Result<Self::Value, E> {
                Ok(ShortOr::Short(v.to_owned()))
            }

            fn visit_i64<E: Error>(self, v: i64) -> Result<Self::Value, E> {
                Ok(ShortOr::Short(v.to_string()))
            }

            fn visit_u64<E: Error>(self, v: u64) -> Result<Self::Value, E> {
                Ok(ShortOr::Short(v.to_string()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                M::deserialize(MapAccessDeserializer::new(map)).map(|m| ShortOr::Long(Box::new(m)))
            }
        }
        d.deserialize_any(ShortOrVisitor(PhantomData))
    }
}

impl<M: JsonSchema> JsonSchema for ShortOr<M> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("ShortOr{}", M::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let long = generator.subschema_for::<M>();
        json_schema!({ "anyOf": [{ "type": ["string", "integer"] }, long] })
    }
}

/// A command line: a list of words, or one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandForm {
    Text(String),
    Words(Vec<Scalar<String>>),
}

impl<'de> Deserialize<'de> for CommandForm {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct CommandVisitor;
        impl<'de> Visitor<'de> for CommandVisitor {
            type Value = CommandForm;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of words, or one text")
            }

            fn visit_str<E: Error>(self, v: &str) -> Result<CommandForm, E> {
                Ok(CommandForm::Text(v.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<CommandForm, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(seq)).map(CommandForm::Words)
            }
        }
        d.deserialize_any(CommandVisitor)
    }
}

impl JsonSchema for CommandForm {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Command".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "type": "array", "items": String::schema() }, { "type": "string" }] })
    }
}

/// A mapping in the order of the file; its keys' places are kept. Duplicate keys are refused by the parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entries<V>(pub Vec<(Scalar<String>, V)>);

impl<V> Default for Entries<V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        d.deserialize_map(EntriesVisitor(PhantomData))
    }
}

impl<V: JsonSchema> JsonSchema for Entries<V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("MapOf{}", V::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = generator.subschema_for::<V>();
        json_schema!({ "type": "object", "additionalProperties": value })
    }
}
