//! What a container wrote and writes, line by line.
//!
//! The bytes are taken apart here and not by bollard, which waits for the end of a line however long
//! it becomes, and which asks only for whole seconds: its request for another body of bytes
//! (`export`) is pointed at the log.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use super::call::Call;
use super::version::{pointed_at, prepare};
use super::{Docker, time};
use crate::clock::Timestamp;
use crate::engine::{EngineError, LogLine, LogOptions, LogStream, Result};
use crate::resource::container::ContainerId;

/// What a line holds at most, in bytes. The engine cuts longer ones at the same length.
const PIECE: usize = 16 << 10;
/// The longest time that the engine writes before a line, with the space behind it.
const STAMP: usize = "2006-01-02T15:04:05.000000000+01:00 ".len();
/// Before each piece, where the container has no terminal: stream, three zeros, length.
const HEADER: usize = 8;

/// Path and query of the engine's `logs`.
fn request(id: &ContainerId, options: LogOptions) -> String {
    let LogOptions { follow, tail, since } = options;
    let tail = tail.map_or_else(|| "all".to_owned(), |n| n.to_string());
    let since = since.map(|at| format!("&since={}.{:03}", at.0 / 1000, at.0 % 1000)).unwrap_or_default();
    format!("/containers/{}/logs?stdout=true&stderr=true&timestamps=true&follow={follow}&tail={tail}{since}", id.0)
}

impl Docker {
    pub(super) fn log_lines(&self, id: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogLine>> {
        let docker = self.clone();
        let id = id.clone();
        let opened = async move {
            let subject = id.to_string();
            docker.api(Call::Logs, &subject).await?;
            let (spoken, at) = (docker.spoken.clone(), request(&id, options));
            let client = docker.client.clone();
            // bollard's own timeout ends with the headers, which is what is wanted here.
            let client = client
                .with_timeout(docker.deadlines.of(Call::Logs))
                .with_request_modifier(move |request| prepare(&spoken, pointed_at(request, &at)));
            let body = client
                .export_container(&id.0)
                .map(move |part| part.map_err(|error| docker.translate(Call::Logs, &subject, &error)));
            Ok::<_, EngineError>(lines(body.boxed(), id))
        };
        stream::once(opened).try_flatten().boxed()
    }
}

/// Nothing after the first error.
fn lines(body: BoxStream<'static, Result<Bytes>>, container: ContainerId) -> BoxStream<'static, Result<LogLine>> {
    let apart = Apart::new(container);
    stream::unfold((Some(body), apart), |(mut body, mut apart)| async move {
        loop {
            if let Some(line) = apart.ready.pop_front() {
                return Some((Ok(line), (body, apart)));
            }
            match body.as_mut()?.next().await {
                Some(Ok(part)) => apart.take(&part),
                Some(Err(error)) => return Some((Err(error), (None, apart))),
                None => {
                    body = None;
                    apart.end_piece();
                }
            }
        }
    })
    .boxed()
}

/// Takes the engine's bytes apart. Holds one piece at most, beside the lines of the last bytes.
struct Apart {
    container: ContainerId,
    ready: VecDeque<LogLine>,
    form: Option<Form>,
    stream: LogStream,
    /// Time and text of the piece that has begun.
    piece: Vec<u8>,
    /// Of the last piece that had one.
    time: Timestamp,
}

enum Form {
    /// Of a terminal: nothing but the text.
    Raw,
    Framed {
        header: Vec<u8>,
        /// Of the frame that has begun.
        left: usize,
    },
}

impl Apart {
    fn new(container: ContainerId) -> Self {
        Self {
            container,
            ready: VecDeque::new(),
            form: None,
            stream: LogStream::Stdout,
            piece: Vec::new(),
            time: Timestamp::default(),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.first() {
            // A raw log begins with a time, a framed one with the number of a stream.
            let form = self.form.get_or_insert_with(|| match first {
                0..=2 => Form::Framed { header: Vec::new(), left: 0 },
                _ => Form::Raw,
            });
            match form {
                Form::Raw => {
                    self.text(bytes);
                    return;
                }
                Form::Framed { header, left: 0 } => {
                    let (head, rest) = bytes.split_at(bytes.len().min(HEADER - header.len()));
                    header.extend_from_slice(head);
                    bytes = rest;
                    if let [stream, _, _, _, length @ ..] = &header[..]
                        && let Ok(length) = <[u8; 4]>::try_from(length)
                    {
                        self.stream = if *stream == 2 { LogStream::Stderr } else { LogStream::Stdout };
                        let left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                        self.form = Some(Form::Framed { header: Vec::new(), left });
                    }
                }
                Form::Framed { left, .. } => {
                    let (text, rest) = bytes.split_at(bytes.len().min(*left));
                    *left -= text.len();
                    let ends = *left == 0;
                    bytes = rest;
                    self.text(text);
                    if ends {
                        self.end_piece();
                    }
                }
            }
        }
    }

    fn text(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            // First as much as tells how long the time is.
            let limit = if self.piece.len() < STAMP { STAMP } else { PIECE + self.stamp_len().unwrap_or(0) };
            let room = &bytes[..bytes.len().min(limit.saturating_sub(self.piece.len()))];
            let line_end = room.iter().position(|b| *b == b'\n').map(|i| i + 1);
            let (taken, rest) = bytes.split_at(line_end.unwrap_or(room.len()));
            self.piece.extend_from_slice(taken);
            bytes = rest;
            let full = self.piece.len() >= STAMP && self.piece.len() >= PIECE + self.stamp_len().unwrap_or(0);
            if line_end.is_some() || full {
                self.end_piece();
            }
        }
    }

    fn stamp_len(&self) -> Option<usize> {
        self.piece.iter().take(STAMP).position(|b| *b == b' ').map(|i| i + 1)
    }

    fn end_piece(&mut self) {
        if self.piece.is_empty() {
            return;
        }
        let stamp = self.stamp_len().and_then(|n| {
            let text = std::str::from_utf8(&self.piece[..n]).ok()?;
            Some((n, time::parse(text.trim_end())?))
        });
        let text = &self.piece[stamp.map_or(0, |(n, _)| n)..];
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        self.time = stamp.map_or(self.time, |(_, at)| at);
        self.ready.push_back(LogLine {
            container: self.container.clone(),
            stream: self.stream,
            time: self.time,
            line: String::from_utf8_lossy(text).into_owned(),
        });
        self.piece.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ErrorKind;

    const AT: &str = "2026-01-01T12:00:00.000000000Z";

    fn apart(bytes: &[u8], chunk: usize) -> Vec<(LogStream, u64, String)> {
        let mut apart = Apart::new(ContainerId::new("c"));
        for part in bytes.chunks(chunk) {
            apart.take(part);
        }
        apart.end_piece();
        apart.ready.into_iter().map(|l| (l.stream, l.time.0, l.line)).collect()
    }

    fn frame(stream: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
        bytes
    }

    #[test]
    fn frames_are_told_apart_wherever_the_connection_cuts_them() {
        let bytes = [
            frame(1, &format!("{AT} one\n")),
            frame(2, &format!("{AT} err two\n")),
            frame(1, &format!("{AT} \n")),
            frame(1, ""),
            frame(1, "no time\n"),
            frame(1, &format!("{AT} without end")),
        ]
        .concat();
        let noon = 1_767_268_800_000;
        let wanted = [
            (LogStream::Stdout, noon, "one"),
            (LogStream::Stderr, noon, "err two"),
            (LogStream::Stdout, noon, ""),
            (LogStream::Stdout, noon, "no time"),
            (LogStream::Stdout, noon, "without end"),
        ]
        .map(|(s, t, l)| (s, t, l.to_owned()));
        for chunk in [1, 3, 7, 8, 9, 64, 4096] {
            assert_eq!(apart(&bytes, chunk), wanted, "{chunk} bytes at a time");
        }
    }

    #[test]
    fn a_terminals_lines_lose_their_carriage_return() {
        let offset = "2026-01-01T13:00:00.000000000+01:00";
        let text = format!("{AT} one\r\n{offset} two three\r\n{AT} prompt> ");
        for chunk in [1, 5, 1000] {
            let lines = apart(text.as_bytes(), chunk);
            let lines: Vec<_> = lines.iter().map(|(_, t, l)| (*t, l.as_str())).collect();
            let noon = 1_767_268_800_000;
            assert_eq!(lines, [(noon, "one"), (noon, "two three"), (noon, "prompt> ")], "{chunk}");
        }
    }

    #[test]
    fn a_line_without_end_comes_in_pieces_and_is_never_held_whole() {
        // As the engine writes it for a terminal: a time before each of its own pieces.
        let (a, b) = ("a".repeat(PIECE), "b".repeat(PIECE));
        let lines = apart(format!("{AT} {a}{AT} {b}{AT} c\r\n").as_bytes(), 1000);
        assert_eq!(lines.iter().map(|l| l.2.as_str()).collect::<Vec<_>>(), [&a, &b, "c"]);
        // And without any time.
        let mut apart = Apart::new(ContainerId::new("c"));
        for _ in 0..100 {
            apart.take("x".repeat(1000).as_bytes());
            assert!(apart.piece.capacity() <= 4 * PIECE, "{}", apart.piece.capacity());
        }
        assert!(apart.ready.iter().all(|l| l.line.len() <= PIECE), "at most 16 KiB");
        assert_eq!(apart.ready.len(), 100_000 / PIECE);
    }

    #[tokio::test]
    async fn an_error_ends_the_stream_after_what_came_before_it() {
        let error = EngineError::new("follow the log of container", "c", ErrorKind::Unreachable, "gone");
        let parts =
            [Ok(Bytes::from(frame(1, &format!("{AT} one\n")))), Err(error), Ok(Bytes::from(frame(1, "never\n")))];
        let all: Vec<_> = lines(stream::iter(parts).boxed(), ContainerId::new("c")).collect().await;
        assert!(matches!(&all[..], [Ok(line), Err(_)] if line.line == "one"), "{all:?}");
    }

    #[test]
    fn what_is_asked_for_is_said_to_the_millisecond() {
        let since = Some(Timestamp(1_767_268_800_007));
        let asked = request(&ContainerId::new("c"), LogOptions { follow: true, tail: Some(5), since });
        assert_eq!(
            asked,
            "/containers/c/logs?stdout=true&stderr=true&timestamps=true&follow=true&tail=5&since=1767268800.007"
        );
        let all = request(&ContainerId::new("c"), LogOptions::default());
        assert!(all.ends_with("&follow=false&tail=all"), "{all}");
    }
}
