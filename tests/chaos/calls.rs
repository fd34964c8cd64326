//! The calls of the daemon, as they pass by on their way to the engine.

/// A call that changes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `containers`, `networks`, `volumes`, `images`
    pub kind: String,
    /// `create`, `stop`, `remove`, …
    pub verb: String,
    /// Id or name; of a container that is created, the name.
    pub target: String,
    query: String,
}

impl Call {
    /// Of a request line. `None`: it changes nothing. A probe's exec does not.
    pub fn of(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let (method, url) = (words.next()?, words.next()?);
        if matches!(method, "GET" | "HEAD") {
            return None;
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let mut parts = path.trim_start_matches('/').split('/').peekable();
        parts.next_if(|part| part.starts_with("v1."));
        let kind = parts.next()?;
        let rest: Vec<_> = parts.collect();
        let (target, verb) = match rest[..] {
            ["create"] => ("", "create"),
            [target] if method == "DELETE" => (target, "remove"),
            [target, verb] => (target, verb),
            _ => ("", "call"),
        };
        if kind == "exec" || verb == "exec" {
            return None;
        }
        let mut call =
            Self { kind: kind.to_owned(), verb: verb.to_owned(), target: target.to_owned(), query: query.to_owned() };
        if verb == "create" {
            call.target = call.argument("name").unwrap_or_default().to_owned();
        }
        Some(call)
    }

    pub fn argument(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub fn is(&self, argument: &str) -> bool {
        matches!(self.argument(argument), Some("1" | "true"))
    }
}

#[test]
fn changing_calls_are_told_from_questions() {
    assert_eq!(Call::of("GET /v1.41/containers/json?all=1 HTTP/1.1"), None);
    assert_eq!(Call::of("POST /v1.41/containers/abc/exec HTTP/1.1"), None);
    assert_eq!(Call::of("POST /v1.41/exec/abc/start HTTP/1.1"), None);
    let of = |line| Call::of(line).map(|c| (c.kind.clone(), c.verb.clone(), c.target.clone(), c.is("v")));
    let is = |kind: &str, verb: &str, target: &str, v| Some((kind.to_owned(), verb.to_owned(), target.to_owned(), v));
    assert_eq!(of("DELETE /v1.41/containers/abc?force=true&v=true HTTP/1.1"), is("containers", "remove", "abc", true));
    assert_eq!(of("POST /containers/create?name=web.next HTTP/1.1"), is("containers", "create", "web.next", false));
    assert_eq!(of("POST /v1.41/containers/abc/stop?t=2 HTTP/1.1"), is("containers", "stop", "abc", false));
    assert_eq!(of("DELETE /v1.41/volumes/data HTTP/1.1"), is("volumes", "remove", "data", false));
}
