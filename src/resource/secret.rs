//! A value that must never be shown.

use std::fmt;
use std::sync::Arc;

/// A secret in memory. `Debug` and `Display` print a mask; it has no `Serialize` on purpose.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(Arc::from(value.into()))
    }

    /// The value itself. Every caller hands it to the engine or to a hash, and nowhere else.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// A text that a container wrote, which may repeat its secrets: these are replaced by a mask, and so is
/// each line of one that has several. Values of fewer than four bytes are let through: they would mask
/// half of our own words, and keep nothing.
pub fn mask<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let values = secrets.into_iter().filter_map(|secret| std::str::from_utf8(secret.reveal()).ok());
    let mut parts: Vec<&str> = values.flat_map(|value| value.lines().map(str::trim).chain([value])).collect();
    // The longest first: what is left of one by a shorter one within it would be shown.
    parts.sort_unstable_by_key(|part| std::cmp::Reverse(part.len()));
    let mut masked = text.to_owned();
    for part in parts.into_iter().filter(|part| part.len() >= 4) {
        if masked.contains(part) {
            masked = masked.replace(part, "<secret>");
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p15_a_text_is_masked_by_whole_secrets_and_by_their_lines() {
        let secrets =
            [Secret::new("pass"), Secret::new("password-1"), Secret::new("first line\nsecond line"), Secret::new("x")];
        let masked = mask("xx password-1, then second line; pass", &secrets);
        assert_eq!(masked, "xx <secret>, then <secret>; <secret>");
        assert_eq!(mask("nothing of it", &secrets), "nothing of it");
    }
}
