//! `${VAR}` in values, and the splitting of a command line into words.
//!
//! Replaced after parsing, in scalars only, so that a value cannot inject YAML and places survive.

use std::borrow::Cow;

/// Replaces `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `$$`.
///
/// A default may hold a further `${…}`. A lone `$` that begins neither stays as it is (a password, a
/// shell text: `$HOME`).
///
/// # Errors
/// Says which variable is not set or what is wrong with the form.
pub fn expand<'t>(text: &'t str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Cow<'t, str>, String> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    expand_at(text, lookup, 0).map(Cow::Owned)
}

fn expand_at(text: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: u32) -> Result<String, String> {
    if depth > 4 {
        return Err("variables are nested more than four deep".to_owned());
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = closing(after).ok_or_else(|| {
                format!("`${{{}` is not closed; write `${{NAME}}`, or `$$` for a dollar", head(after))
            })?;
            out.push_str(&variable(&after[..end], lookup, depth)?);
            rest = &after[end + 1..];
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn head(text: &str) -> &str {
    text.char_indices().nth(20).map_or(text, |(i, _)| &text[..i])
}

/// The brace that closes the one already read.
fn closing(text: &str) -> Option<usize> {
    let mut open = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' if text[..at].ends_with('$') => open += 1,
            '}' if open == 0 => return Some(at),
            '}' => open -= 1,
            _ => {}
        }
    }
    None
}

fn variable(inner: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: u32) -> Result<String, String> {
    let (name, rest) = match inner.find([':', '-', '?', '+']) {
        Some(at) => (&inner[..at], &inner[at..]),
        None => (inner, ""),
    };
    if !is_variable_name(name) {
        return Err(format!("`${{{}}}` does not name a variable; write `$$` for a dollar", head(inner)));
    }
    let value = lookup(name);
    // With a colon an empty value counts as not set, as in a shell.
    let filled = value.clone().filter(|v| !v.is_empty());
    match rest {
        "" => value.ok_or_else(|| format!("variable `{name}` is not set; set it, or write `${{{name}:-default}}`")),
        _ if rest.starts_with(":-") => filled.map_or_else(|| expand_at(&rest[2..], lookup, depth + 1), Ok),
        _ if rest.starts_with(":?") => filled.ok_or_else(|| {
            let why = rest[2..].trim();
            let why = if why.is_empty() { "it is required" } else { why };
            format!("variable `{name}` is not set: {why}")
        }),
        _ => Err(format!(
            "`${{{}}}` is not a form that is known; there are `${{{name}}}`, `${{{name}:-default}}` and `${{{name}:?message}}`",
            head(inner)
        )),
    }
}

/// A name that a shell can set.
pub fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Splits a command line as a shell would: blanks separate, quotes and `\` keep together. No shell
/// is run, so `|`, `&&`, `>` and the like are plain text.
///
/// # Errors
/// A quote that is not closed.
pub fn split_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(format!("the quote {c} is not closed")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => match chars.next() {
                            Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                            Some(next) => word.extend(['\\', next]),
                            None => return Err("a `\\` at the end".to_owned()),
                        },
                        Some(inner) => word.push(inner),
                    }
                }
            }
            '\\' => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("a `\\` at the end".to_owned()),
            },
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}
