//! Scalars: text as written, with its place and the type that it is meant to have.
//!
//! A scalar is typed only after `${VAR}` has been replaced in it, so that a variable may stand for a
//! number as well as for a text, and so that every wrong value of a document is found and not only
//! the first.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::finding::suggestion;
use super::span::{Span, Spanned};
use crate::resource::image::ImageRef;
use crate::resource::probe::StatusRanges;
use crate::resource::spec::{DependencyCondition, DesiredState, PullPolicy};
use crate::resource::units::{Bytes, NanoCpus};

/// What a scalar can be read as.
pub trait ScalarType: Sized {
    /// # Errors
    /// Says what is wrong with the text and what would be right.
    fn parse(text: &str) -> Result<Self, String>;
    fn schema() -> Schema;
}

/// A scalar as it stands in the manifest: `0755`, `1.20` and `yes` keep their text.
pub struct Scalar<T> {
    pub text: String,
    pub span: Span,
    is: PhantomData<fn() -> T>,
}

impl<T> Scalar<T> {
    pub fn new(text: impl Into<String>, span: Span) -> Self {
        Self { text: text.into(), span, is: PhantomData }
    }
}

impl<T> Clone for Scalar<T> {
    fn clone(&self) -> Self {
        Self::new(self.text.clone(), self.span)
    }
}

impl<T> fmt::Debug for Scalar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Equal wherever they stand.
impl<T> PartialEq for Scalar<T> {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl<T> Eq for Scalar<T> {}

/// The text of any scalar. YAML gives it as written; TOML has typed it already.
pub(super) struct Text(pub String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl Visitor<'_> for TextVisitor {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a single value")
            }

            fn visit_str<E: Error>(self, v: &str) -> Result<Text, E> {
                Ok(Text(v.to_owned()))
            }

            fn visit_bool<E: Error>(self, v: bool) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }

            fn visit_i64<E: Error>(self, v: i64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }

            fn visit_u64<E: Error>(self, v: u64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }

            fn visit_f64<E: Error>(self, v: f64) -> Result<Text, E> {
                Ok(Text(v.to_string()))
            }
        }
        d.deserialize_str(TextVisitor)
    }
}

impl<'de, T> Deserialize<'de> for Scalar<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Spanned::<Text>::deserialize(d)?;
        Ok(Self::new(text.value.0, text.span))
    }
}

impl<T: ScalarType> JsonSchema for Scalar<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        T::schema()
    }
}

/// What a value that `${VAR}` may stand for looks like to an editor.
const VARIABLE: &str = r"\$\{";

fn text_schema(pattern: &str) -> Schema {
    json_schema!({ "type": ["string", "number"], "pattern": format!("{pattern}|{VARIABLE}") })
}

fn number_schema(minimum: i64, maximum: i64) -> Schema {
    json_schema!({ "anyOf": [
        { "type": "integer", "minimum": minimum, "maximum": maximum },
        { "type": "string", "pattern": format!(r"^-?\d+$|{VARIABLE}") },
    ] })
}

impl ScalarType for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }

    fn schema() -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

impl ScalarType for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" | "True" | "TRUE" => Ok(true),
            "false" | "False" | "FALSE" => Ok(false),
            _ => Err(format!("`{text}` is neither `true` nor `false`")),
        }
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [{ "type": "boolean" }, { "type": "string", "pattern": VARIABLE }] })
    }
}

/// A port number, 1–65535.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortNumber(pub u16);

impl ScalarType for PortNumber {
    fn parse(text: &str) -> Result<Self, String> {
        match text.parse::<u16>() {
            Ok(port) if port > 0 => Ok(Self(port)),
            _ => Err(format!("`{text}` is not a port; ports are 1 to 65535")),
        }
    }

    fn schema() -> Schema {
        number_schema(1, 65535)
    }
}

macro_rules! integers {
    ($($t:ty: $min:expr, $max:expr;)*) => {$(
        impl ScalarType for $t {
            fn parse(text: &str) -> Result<Self, String> {
                text.parse().map_err(|_| format!("`{text}` is not a whole number from {} to {}", <$t>::MIN, <$t>::MAX))
            }

            fn schema() -> Schema {
                number_schema($min, $max)
            }
        }
    )*};
}

integers! {
    u32: 0, 4_294_967_295;
    i32: -2_147_483_648, 2_147_483_647;
    i64: i64::MIN, i64::MAX;
}

impl ScalarType for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration; write it as `500ms`, `10s` or `2m`");
        // humantime takes a bare 0 only; a bare number would be a guess at the unit.
        let duration = humantime::parse_duration(text).map_err(|_| wrong())?;
        if duration > Duration::from_hours(366 * 24) {
            Err(format!("`{text}` is longer than a year"))
        } else {
            Ok(duration)
        }
    }

    fn schema() -> Schema {
        text_schema(r"^\s*(\d+\s*[a-zA-Zµ]+\s*)+$|^0$")
    }
}

impl ScalarType for Bytes {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    fn schema() -> Schema {
        text_schema(r"^\d+(\.\d+)?\s*([KkMmGgTt]?([Ii]?[Bb])?)$")
    }
}

impl ScalarType for NanoCpus {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    fn schema() -> Schema {
        text_schema(r"^\d+(\.\d{1,9})?$")
    }
}

impl ScalarType for ImageRef {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "minLength": 1 })
    }
}

impl ScalarType for StatusRanges {
    fn parse(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }

    fn schema() -> Schema {
        text_schema(r"^\d{3}(-\d{3})?(,\d{3}(-\d{3})?)*$")
    }
}

/// Permission bits as everybody writes them: octal, `0644` or `"644"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl ScalarType for Mode {
    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        match u32::from_str_radix(digits, 8) {
            Ok(mode) if mode <= 0o7777 && digits.len() >= 3 => Ok(Self(mode)),
            _ => Err(format!("`{text}` is not a file mode; write it in octal, as `0644`")),
        }
    }

    fn schema() -> Schema {
        text_schema("^(0o?)?[0-7]{3,4}$")
    }
}

/// `all`, or how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountOrAll(pub i64);

impl ScalarType for CountOrAll {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "all" | "-1" => Ok(Self(-1)),
            _ => match text.parse() {
                Ok(n) if n > 0 => Ok(Self(n)),
                _ => Err(format!("`{text}` is neither `all` nor a number")),
            },
        }
    }

    fn schema() -> Schema {
        json_schema!({ "anyOf": [{ "const": "all" }, { "type": "integer", "minimum": -1 }, { "type": "string", "pattern": VARIABLE }] })
    }
}

/// A word out of a fixed list.
macro_rules! words {
    ($($(#[$doc:meta])* $t:ty { $($word:literal => $value:expr),* $(,)? })*) => {$(
        impl ScalarType for $t {
            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)*
                    _ => Err(unknown_word(text, &[$($word),*])),
                }
            }

            fn schema() -> Schema {
                json_schema!({ "anyOf": [{ "enum": [$($word),*] }, { "type": "string", "pattern": VARIABLE }] })
            }
        }
    )*};
}

fn unknown_word(text: &str, words: &[&str]) -> String {
    let suggestion = suggestion(text, words.iter().copied());
    if suggestion.is_empty() {
        let list: Vec<_> = words.iter().map(|w| format!("`{w}`")).collect();
        format!("unknown word `{text}`; it is one of {}", list.join(", "))
    } else {
        format!("unknown word `{text}`{suggestion}")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartWord {
    No,
    OnFailure,
    Always,
    UnlessStopped,
    Managed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyWord {
    Auto,
    Recreate,
    StartFirst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdoptWord {
    Never,
    Observe,
    Replace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountWord {
    Volume,
    Bind,
    Tmpfs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelinuxWord {
    Shared,
    Private,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropagationWord {
    Private,
    RPrivate,
    Shared,
    RShared,
    Slave,
    RSlave,
}

impl PropagationWord {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::RPrivate => "rprivate",
            Self::Shared => "shared",
            Self::RShared => "rshared",
            Self::Slave => "slave",
            Self::RSlave => "rslave",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolWord(pub crate::resource::spec::Protocol);

words! {
    PullPolicy { "Always" => Self::Always, "IfNotPresent" => Self::IfNotPresent, "Never" => Self::Never }
    DesiredState { "Running" => Self::Running, "Stopped" => Self::Stopped }
    DependencyCondition { "Started" => Self::Started, "Ready" => Self::Ready, "Completed" => Self::Completed }
    RestartWord {
        "No" => Self::No, "OnFailure" => Self::OnFailure, "Always" => Self::Always,
        "UnlessStopped" => Self::UnlessStopped, "Managed" => Self::Managed,
    }
    StrategyWord { "Auto" => Self::Auto, "Recreate" => Self::Recreate, "StartFirst" => Self::StartFirst }
    AdoptWord { "Never" => Self::Never, "Observe" => Self::Observe, "Replace" => Self::Replace }
    MountWord { "volume" => Self::Volume, "bind" => Self::Bind, "tmpfs" => Self::Tmpfs }
    SelinuxWord { "shared" => Self::Shared, "private" => Self::Private }
    PropagationWord {
        "private" => Self::Private, "rprivate" => Self::RPrivate, "shared" => Self::Shared,
        "rshared" => Self::RShared, "slave" => Self::Slave, "rslave" => Self::RSlave,
    }
    ProtocolWord {
        "tcp" => Self(crate::resource::spec::Protocol::Tcp),
        "udp" => Self(crate::resource::spec::Protocol::Udp),
        "sctp" => Self(crate::resource::spec::Protocol::Sctp),
    }
}
