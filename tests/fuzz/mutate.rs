//! Changes to a text: of bytes, of lines, of words. Knows no format.

use super::rng::Rng;

/// An input is cut to this many bytes: growth by doubling would soon test nothing else.
pub const MAX_INPUT: usize = 64 << 10;

/// What parsers stumble over.
const WORDS: &[&str] = &[
    "",
    " ",
    "\n",
    "\t",
    "\r\n",
    "\r",
    "\0",
    "\u{feff}",
    "\u{1b}[31m",
    "\u{1b}]0;t\u{7}",
    "\u{7f}",
    "\u{85}",
    "\u{2028}",
    "\u{202e}",
    "\u{2066}",
    "\u{200b}",
    "\u{ffff}",
    "\u{10ffff}",
    "é",
    "日本",
    "🦀",
    "-",
    "- ",
    "- - - ",
    "---\n",
    "--- ",
    "...\n",
    "?",
    "? ",
    ": ",
    ":",
    "::",
    "#",
    " #",
    "[",
    "]",
    "{",
    "}",
    "[[",
    "]]",
    "{{",
    "}}",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{a: {a: {a: {a: ",
    ",",
    "&a ",
    "*a",
    "&a [*a]",
    "<<: *a",
    "<<: {}",
    "!",
    "!!",
    "!!binary ",
    "!!str ",
    "!!float ",
    "!x ",
    "%YAML 1.1\n",
    "%TAG ! x:\n",
    "|",
    "|2\n",
    "|+\n",
    ">-\n",
    "\"",
    "'",
    "\"\\",
    "\\x41",
    "\\u0000",
    "\\U00110000",
    "\"\"\"",
    "'''",
    "`",
    "@",
    "~",
    "null",
    "true",
    "false",
    "yes",
    "0",
    "-0",
    "-1",
    "1",
    "0x",
    "0o",
    "0o777",
    "007",
    "08",
    "1e9",
    "1e999",
    "-1e999",
    ".inf",
    ".nan",
    "nan",
    "1_000",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "99999999999999999999999999999999999999999999",
    "0.1",
    "0.0000000001",
    "1.5.5",
    "$",
    "$$",
    "${",
    "${}",
    "${A}",
    "${A:-}",
    "${A:-${B:-${C:-${D:-${E:-${F}}}}}}",
    "${A:?why}",
    "${A:+x}",
    "${A:-}}",
    "${é}",
    "1KiB",
    "1EiB",
    "16777216TiB",
    "999999999999GiB",
    "1ms",
    "0s",
    "1ns",
    "99999999999999999999s",
    "366d",
    "1y 1y",
    "127.0.0.1:80:80/tcp",
    "[::1]:80:80",
    "80-90:80-91",
    "1-65535",
    "65535-1",
    "1-65535:1-65535",
    "0:0",
    ":::",
    "::1",
    "/",
    "//",
    "..",
    "../..",
    "./",
    "~",
    "~/x",
    "~root/x",
    "/etc/passwd",
    "/dev/zero",
    "a:b:c:d:e",
    "busybox",
    "a@sha256:",
    "a:5000/b:c@sha256:0000",
    "localhost:99999/x",
    "service:",
    "service:web",
    "container:x",
    "host",
    "none",
    "default",
    "env-manager.dev/v1",
    "env-manager.dev/v2",
    "apiVersion: env-manager.dev/v1\n",
    "kind: Service\n",
    "kind: Network\n",
    "kind: Volume\n",
    "kind: Stack\n",
    "metadata: { name: web }\n",
    "spec:\n",
    "spec: {}\n",
    "name: ",
    "[[service_overrides]]\n",
    "[retry]\n",
    "[git]\n",
    "name = \"web\"\n",
    " = ",
    "1979-05-27T07:32:00Z",
    "0001-01-01",
    "inf",
];

/// One to eight changes of `input`; `other` is something to take pieces of.
pub fn mutate(rng: &mut Rng, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    // Most often one: what is wrong in one place only goes deepest.
    let changes = if rng.one_in(2) { 1 } else { 1 + rng.below(8) };
    for _ in 0..changes {
        change(rng, &mut bytes, other);
        bytes.truncate(MAX_INPUT);
    }
    bytes
}

fn change(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    match rng.below(16) {
        0 if !bytes.is_empty() => {
            let at = rng.below(bytes.len());
            bytes[at] ^= 1 << rng.below(8);
        }
        1 if !bytes.is_empty() => {
            let at = rng.below(bytes.len());
            bytes[at] = rng.byte();
        }
        2 => insert(rng, bytes, |rng| vec![rng.byte()]),
        3 => {
            let range = range(rng, bytes.len(), 40);
            bytes.drain(range);
        }
        4 => {
            let piece = other[range(rng, other.len(), 200)].to_vec();
            insert(rng, bytes, |_| piece);
        }
        5 => {
            let piece = bytes[range(rng, bytes.len(), 200)].to_vec();
            insert(rng, bytes, |_| piece);
        }
        6 => insert(rng, bytes, |rng| {
            let times = 1 << rng.below(12);
            rng.pick(WORDS).repeat(times).into_bytes()
        }),
        7 | 8 => insert(rng, bytes, |rng| rng.pick(WORDS).as_bytes().to_vec()),
        9..=11 => words(rng, bytes),
        _ => lines(rng, bytes, other),
    }
}

fn range(rng: &mut Rng, length: usize, longest: usize) -> std::ops::Range<usize> {
    let start = rng.below(length + 1);
    start..(start + rng.below(longest + 1)).min(length)
}

fn insert(rng: &mut Rng, bytes: &mut Vec<u8>, what: impl FnOnce(&mut Rng) -> Vec<u8>) {
    let at = rng.below(bytes.len() + 1);
    let piece = what(rng);
    bytes.splice(at..at, piece);
}

/// A word (what stands between blanks and punctuation) becomes another one.
fn words(rng: &mut Rng, bytes: &mut Vec<u8>) {
    let is_edge = |b: u8| b.is_ascii_whitespace() || b"[]{},:\"'=/".contains(&b);
    if bytes.is_empty() {
        return;
    }
    let at = rng.below(bytes.len());
    let start = bytes[..at].iter().rposition(|b| is_edge(*b)).map_or(0, |i| i + 1);
    let end = bytes[at..].iter().position(|b| is_edge(*b)).map_or(bytes.len(), |i| at + i).max(start);
    let word = rng.pick(WORDS).as_bytes().to_vec();
    bytes.splice(start..end, word);
}

/// Lines are taken out, doubled, moved, indented, or come from elsewhere.
fn lines(rng: &mut Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let mut lines: Vec<Vec<u8>> = bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    if lines.is_empty() {
        return;
    }
    let at = rng.below(lines.len());
    match rng.below(7) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(rng.below(lines.len() + 1), lines[at].clone()),
        2 => {
            let to = rng.below(lines.len());
            lines.swap(at, to);
        }
        3 => drop(lines[at].splice(0..0, *b"  ")),
        4 => {
            let blanks = lines[at].iter().take_while(|b| **b == b' ').count();
            lines[at].drain(..blanks.min(1 + rng.below(4)));
        }
        5 => {
            let theirs: Vec<&[u8]> = other.split_inclusive(|b| *b == b'\n').collect();
            if let Some(line) = theirs.get(rng.below(theirs.len())) {
                lines.insert(at, line.to_vec());
            }
        }
        // From here on something else.
        _ => {
            lines.truncate(at);
            let from = rng.below(other.len() + 1);
            lines.push(other[from..].to_vec());
        }
    }
    *bytes = lines.concat();
}
