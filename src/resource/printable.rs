//! Text from outside that is printed: manifests, containers, registries and callers must not steer a terminal.

/// Whether a terminal obeys it instead of showing it, or shows what follows in another order.
pub fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One character for one: blanks of any kind become spaces, what cannot be printed `�`.
pub fn printable_char(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
        c if is_printable(c) => c,
        _ => char::REPLACEMENT_CHARACTER,
    }
}

/// One line that does nothing to a terminal: [`printable_char`] throughout, without blanks at its ends. At most
/// `limit` bytes, with `…` where it was cut.
pub fn printable(text: &str, limit: usize) -> String {
    // A character has at least one byte, so what is beyond would be cut anyway.
    let mut clean: String = text.trim().chars().take(limit + 1).map(printable_char).collect();
    if clean.len() > limit {
        let mark = '…';
        clean.truncate(clean.floor_char_boundary(limit - mark.len_utf8()));
        clean.push(mark);
    }
    clean
}
