//! Where a value stands in its file, carried through deserialisation.

use serde::{Deserialize, Deserializer};

/// A range of bytes, counted from the begin of the document that the value stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: usize,
    pub len: usize,
    /// False for what has no place in a file (a value from the TOML configuration).
    pub known: bool,
}

impl Span {
    pub(crate) fn of(location: serde_yaml::Location) -> Self {
        let span = location.span();
        match (location.line(), span.byte_offset()) {
            (1.., Some(start)) => Self {
                start: usize::try_from(start).unwrap_or(usize::MAX),
                len: usize::try_from(span.byte_len().unwrap_or(0)).unwrap_or(0),
                known: true,
            },
            _ => Self::default(),
        }
    }
}

/// A value and where it stands. For an alias that is where it is used, not where it is defined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spanned<T> {
    pub value: T,
    pub span: Span,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let spanned = serde_yaml::Spanned::<T>::deserialize(d)?;
        Ok(Self { value: spanned.value, span: Span::of(spanned.referenced) })
    }
}

impl<T: schemars::JsonSchema> schemars::JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        T::json_schema(generator)
    }
}
