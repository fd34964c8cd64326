//! A stand-in for a service whose real program cannot be had: it answers on the same ports and
//! health paths, keeps data in the same volume, says in every answer that it is a stand-in, and
//! misbehaves on demand. One file on the standard library alone, so that `rustc` builds it without
//! a registry and it starts in a millisecond. What it understands stands in ../README.md.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::exit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU16, AtomicU64, Ordering::Relaxed};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

// The four calls of libc that the standard library does not offer.
extern "C" {
    fn signal(signum: i32, handler: usize) -> usize;
    fn shutdown(socket: i32, how: i32) -> i32;
    fn write(fd: i32, bytes: *const u8, count: usize) -> isize;
    fn _exit(code: i32) -> !;
}
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
const SIG_IGN: usize = 1;
const SHUT_RDWR: i32 = 2;

/// How often a listener that may have to close looks whether it is to.
const WATCH_EVERY: Duration = Duration::from_millis(20);
/// A health check must not hang longer than the engine's own default patience.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Bodies above this are refused: a stand-in is no store.
const MAX_BODY: usize = 16 << 20;

fn main() {
    let mut args: Vec<String> = std::env::args().collect();
    let program = args.remove(0);
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    match program.as_str() {
        "standin-check" => check(&args),
        "kafka-broker-api-versions" => kafka_api_versions(&args),
        "ollama" => serve("ollama", args),
        "meshd" => serve("infermesh-node", args),
        "mesh-router" => serve("infermesh-router", args),
        _ => {
            let role = if args.is_empty() {
                env("STANDIN_ROLE").unwrap_or_else(|| die("no role: give one or set STANDIN_ROLE"))
            } else {
                args.remove(0)
            };
            match role.as_str() {
                "check" => check(&args),
                "oneshot" => oneshot(&args),
                role => serve(role, args),
            }
        }
    }
}

// ---------------------------------------------------------------- environment and flags

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn env_flag(name: &str) -> bool {
    !matches!(env(name).as_deref(), None | Some("0" | "false" | "no"))
}

fn env_duration(name: &str) -> Option<Duration> {
    env(name).map(|text| {
        parse_duration(&text).unwrap_or_else(|| die(&format!("{name}={text}: not a duration (250ms, 3s, 1m)")))
    })
}

fn env_number<T: std::str::FromStr>(name: &str) -> Option<T> {
    env(name).map(|text| {
        text.parse()
            .unwrap_or_else(|_| die(&format!("{name}={text}: not a number")))
    })
}

/// `250ms`, `3s`, `1m`, or seconds without a unit.
fn parse_duration(text: &str) -> Option<Duration> {
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * scale).ok()
}

/// `64MiB`, `64M`, `1GiB`, or bytes.
fn parse_size(text: &str) -> Option<usize> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let shift = match text[at..].to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "ki" | "kib" => 10,
        "m" | "mi" | "mib" => 20,
        "g" | "gi" | "gib" => 30,
        _ => return None,
    };
    text[..at].parse::<usize>().ok()?.checked_mul(1 << shift)
}

/// The values of `--name VALUE` and `--name=VALUE`, in order.
fn flags<'a>(args: &'a [String], name: &str) -> Vec<&'a str> {
    let mut found = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        if arg == name {
            found.extend(rest.next().map(String::as_str));
        } else if let Some(value) = arg.strip_prefix(name).and_then(|tail| tail.strip_prefix('=')) {
            found.push(value);
        }
    }
    found
}

fn flag<'a>(args: &'a [String], name: &str) -> Option<&'a str> {
    flags(args, name).pop()
}

fn port_flag(args: &[String], name: &str, default: u16) -> u16 {
    flag(args, name).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| die(&format!("{name} {text}: not a port")))
    })
}

fn die(message: &str) -> ! {
    eprintln!("stand-in: {message}");
    exit(64)
}

fn log(line: &str) {
    // Not println!, which panics once nobody reads.
    let _ = writeln!(std::io::stdout(), "{line}");
}

// ---------------------------------------------------------------- signals

static TERM_CODE: AtomicI32 = AtomicI32::new(0);
static STOP_SLOWLY: AtomicBool = AtomicBool::new(false);
static STOPPING: AtomicBool = AtomicBool::new(false);
static RELOADS: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_stop(_: i32) {
    if STOP_SLOWLY.load(Relaxed) {
        STOPPING.store(true, Relaxed);
        return;
    }
    let line = b"stand-in: stopped by a signal\n";
    unsafe {
        write(1, line.as_ptr(), line.len());
        _exit(TERM_CODE.load(Relaxed))
    }
}

extern "C" fn on_reload(_: i32) {
    RELOADS.fetch_add(1, Relaxed);
}

/// PID 1 gets no signal that it has no handler for, so handlers come before anything else.
fn install_signals() -> Option<Duration> {
    TERM_CODE.store(env_number("STANDIN_TERM_CODE").unwrap_or(0), Relaxed);
    let stop_delay = env_duration("STANDIN_STOP_DELAY");
    STOP_SLOWLY.store(stop_delay.is_some(), Relaxed);
    let stop = if env_flag("STANDIN_IGNORE_SIGTERM") {
        SIG_IGN
    } else {
        on_stop as *const () as usize
    };
    unsafe {
        signal(SIGTERM, stop);
        signal(SIGINT, stop);
        signal(SIGHUP, on_reload as *const () as usize);
    }
    stop_delay
}

// ---------------------------------------------------------------- what a service is

#[derive(Clone, Copy, PartialEq)]
enum Protocol {
    Http,
    /// Kafka's binary protocol as far as ApiVersions; HTTP on the same port, for people.
    Kafka,
    Line,
    /// Accepts and keeps the connection: a port of the real thing that nobody checks.
    Silent,
}

struct Service {
    /// What it stands in for: the word in the header, in messages and in the image's label.
    name: String,
    instance: String,
    data: Option<PathBuf>,
    args: Vec<String>,
    started: Instant,
    boots: u64,
    unhealthy_after: Option<Duration>,
    unhealthy_for: Option<Duration>,
    health_status: Option<u16>,
    health_delay: Option<Duration>,
    /// Set over HTTP; 0 while the environment decides.
    forced_status: AtomicU16,
}

impl Service {
    fn message(&self) -> String {
        format!(
            "stand-in for {}: same port and health path, none of its function",
            self.name
        )
    }

    /// The status that a health check gets now.
    fn status(&self) -> u16 {
        let forced = self.forced_status.load(Relaxed);
        if forced != 0 {
            return forced;
        }
        let Some(after) = self.unhealthy_after else {
            return self.health_status.unwrap_or(200);
        };
        let up = self.started.elapsed();
        let over = self.unhealthy_for.is_some_and(|length| up >= after + length);
        if up < after || over {
            200
        } else {
            self.health_status.unwrap_or(503)
        }
    }

    fn healthy(&self) -> bool {
        (200..400).contains(&self.status())
    }

    fn health_json(&self, status: u16) -> String {
        let ok = (200..400).contains(&status);
        format!(
            "{{\"ok\":{ok},\"status\":{},\"service\":{},\"version\":\"stand-in\",\"stand_in\":true,\"message\":{}}}\n",
            json(if ok { "healthy" } else { "unhealthy" }),
            json(&self.name),
            json(&self.message())
        )
    }

    fn describe_json(&self) -> String {
        let config = flag(&self.args, "--config")
            .map(str::to_owned)
            .or_else(|| env("INFERMESH_CONFIG"))
            .map_or("null".to_owned(), |path| match fs::read(&path) {
                Ok(bytes) => format!("{{\"path\":{},\"bytes\":{}}}", json(&path), bytes.len()),
                Err(error) => format!("{{\"path\":{},\"error\":{}}}", json(&path), json(&error.to_string())),
            });
        let args: Vec<String> = self.args.iter().map(|arg| json(arg)).collect();
        format!(
            "{{\"stand_in\":{},\"instance\":{},\"boots\":{},\"uptime_ms\":{},\"reloads\":{},\"pid\":{},\"data\":{},\"args\":[{}],\"config\":{config},\"message\":{}}}\n",
            json(&self.name),
            json(&self.instance),
            self.boots,
            self.started.elapsed().as_millis(),
            RELOADS.load(Relaxed),
            std::process::id(),
            self.data
                .as_ref()
                .map_or("null".to_owned(), |dir| json(&dir.to_string_lossy())),
            args.join(","),
            json(&self.message())
        )
    }

    /// The file for a name in the data directory; only plain names, nothing hidden.
    fn file(&self, name: &str) -> Option<PathBuf> {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        let dir = self.data.as_ref()?;
        (plain && !name.is_empty() && !name.starts_with('.')).then(|| dir.join(name))
    }

    /// Written beside and renamed, so that a kill never leaves half a value.
    fn store(&self, name: &str, value: &[u8]) -> std::io::Result<()> {
        let path = self.file(name).ok_or(ErrorKind::InvalidInput)?;
        let beside = path.with_file_name(format!(".{name}.new"));
        let mut file = fs::File::create(&beside)?;
        file.write_all(value)?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    }
}

/// Counts the starts that this data directory has seen.
fn count_boot(data: Option<&PathBuf>) -> u64 {
    let Some(dir) = data else { return 1 };
    let path = dir.join(".standin-boots");
    let boots = fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok())
        .unwrap_or(0)
        + 1;
    if let Err(error) = fs::create_dir_all(dir).and_then(|()| fs::write(&path, format!("{boots}\n"))) {
        log(&format!("stand-in: cannot write {}: {error}", path.display()));
    }
    boots
}

/// `HOST:PORT`, `HOST` or `:PORT`, as OLLAMA_HOST takes it.
fn host_port(text: &str, port: u16) -> (String, u16) {
    let text = text.split("://").last().unwrap_or_default();
    match text.rsplit_once(':') {
        Some((host, tail)) => match tail.parse() {
            Ok(port) => (host.to_owned(), port),
            Err(_) => die(&format!("{text}: not HOST:PORT")),
        },
        None => (text.to_owned(), port),
    }
}

fn serve(role: &str, args: Vec<String>) {
    let stop_delay = install_signals();
    let started = Instant::now();
    let any = || "0.0.0.0".to_owned();
    let (name, data, mut listen): (&str, Option<&str>, Vec<(String, u16, Protocol)>) = match role {
        "reddb" => {
            let host = env("REDDB_HOST").unwrap_or_else(any);
            let port = env_number("REDDB_PORT").unwrap_or(8080);
            (role, Some("/data"), vec![(host, port, Protocol::Http)])
        }
        "kafka" => {
            let listeners = env("KAFKA_LISTENERS").unwrap_or_else(|| "A://0.0.0.0:9092,B://0.0.0.0:29092".to_owned());
            let listen = listeners
                .split(',')
                .map(|one| host_port(one.trim(), 9092))
                .map(|(host, port)| (if host.is_empty() { any() } else { host }, port, Protocol::Kafka));
            (role, Some("/var/lib/kafka/data"), listen.collect())
        }
        "ollama" => {
            let (host, port) = host_port(&env("OLLAMA_HOST").unwrap_or_else(any), 11434);
            (role, Some("/root/.ollama"), vec![(host, port, Protocol::Http)])
        }
        "infermesh-node" => (
            "infermesh",
            Some("/cache"),
            vec![(any(), 9090, Protocol::Http), (any(), 50051, Protocol::Silent)],
        ),
        "infermesh-router" => {
            let host = flag(&args, "--bind").map_or_else(any, str::to_owned);
            let http = port_flag(&args, "--http-port", 9000);
            let grpc = port_flag(&args, "--grpc-port", 9100);
            (
                "infermesh",
                None,
                vec![(host.clone(), http, Protocol::Http), (host, grpc, Protocol::Silent)],
            )
        }
        "http" => (
            role,
            Some("/data"),
            vec![(any(), port_flag(&args, "--port", 8080), Protocol::Http)],
        ),
        "line" => (
            role,
            Some("/data"),
            vec![(any(), port_flag(&args, "--port", 7000), Protocol::Line)],
        ),
        "tcp" => (
            role,
            None,
            vec![(any(), port_flag(&args, "--port", 7000), Protocol::Silent)],
        ),
        other => die(&format!(
            "unknown role {other:?}: one of reddb, kafka, ollama, infermesh-node, infermesh-router, http, line, tcp, oneshot, check"
        )),
    };
    if let Some(host) = env("STANDIN_BIND") {
        listen.iter_mut().for_each(|entry| entry.0.clone_from(&host));
    }
    let reddb_dir = (role == "reddb").then(|| env("REDDB_DATA_DIR")).flatten();
    let data = env("STANDIN_DATA_DIR")
        .or(reddb_dir)
        .or(data.map(str::to_owned))
        .map(PathBuf::from);
    let service = Arc::new(Service {
        name: env("STANDIN_NAME").unwrap_or_else(|| name.to_owned()),
        instance: env("NODE_ID").unwrap_or_else(|| role.to_owned()),
        boots: count_boot(data.as_ref()),
        data,
        args,
        started,
        unhealthy_after: env_duration("STANDIN_UNHEALTHY_AFTER"),
        unhealthy_for: env_duration("STANDIN_UNHEALTHY_FOR"),
        health_status: env_number("STANDIN_HEALTH_STATUS"),
        health_delay: env_duration("STANDIN_HEALTH_DELAY"),
        forced_status: AtomicU16::new(0),
    });
    log(&format!(
        "stand-in for {} ({}), boot {}",
        service.name, service.instance, service.boots
    ));
    misbehave(&service);

    if let Some(delay) = env_duration("STANDIN_START_DELAY") {
        log(&format!("stand-in: waits {delay:?} before it listens"));
        wait(delay, stop_delay);
    }
    if env_flag("STANDIN_NEVER_LISTEN") {
        log("stand-in: never listens");
    } else {
        for (host, port, protocol) in listen {
            let ip: IpAddr = host
                .parse()
                .unwrap_or_else(|_| die(&format!("cannot listen on {host:?}: not an address")));
            listen_on(&service, SocketAddr::new(ip, port), protocol);
        }
    }
    wait(Duration::MAX, stop_delay);
}

/// Sleeps, and stops the program late where it was asked to stop late.
fn wait(length: Duration, stop_delay: Option<Duration>) {
    let Some(stop_delay) = stop_delay else {
        return sleep(length);
    };
    let begun = Instant::now();
    while begun.elapsed() < length {
        if STOPPING.load(Relaxed) {
            log(&format!("stand-in: asked to stop, takes {stop_delay:?} over it"));
            sleep(stop_delay);
            exit(TERM_CODE.load(Relaxed));
        }
        sleep(WATCH_EVERY);
    }
}

/// Starts what the environment asks for beside serving.
fn misbehave(service: &Arc<Service>) {
    if let Some(after) = env_duration("STANDIN_EXIT_AFTER") {
        let code = env_number("STANDIN_EXIT_CODE").unwrap_or(1);
        let boots = env_number("STANDIN_EXIT_BOOTS").unwrap_or(u64::MAX);
        let left = after.saturating_sub(service.started.elapsed());
        if service.boots <= boots {
            spawn(move || {
                sleep(left);
                eprintln!("stand-in: exits {code} after {after:?}, as asked");
                exit(code);
            });
        }
    }
    if let Some(text) = env("STANDIN_MEMORY") {
        let size = parse_size(&text).unwrap_or_else(|| die(&format!("STANDIN_MEMORY={text}: not a size")));
        // Ones, not zeroes: zeroed pages are not really there.
        std::mem::forget(vec![1_u8; size]);
        log(&format!("stand-in: holds {size} bytes"));
    }
    if let Some(every) = env_duration("STANDIN_LOG_EVERY") {
        spawn(move || {
            for line in 1_u64.. {
                sleep(every);
                log(&format!("stand-in: line {line}"));
            }
        });
    }
}

// ---------------------------------------------------------------- serving

/// Listens before it returns. A port without health paths shows ill health by closing.
fn listen_on(service: &Arc<Service>, address: SocketAddr, protocol: Protocol) {
    let bind =
        move || TcpListener::bind(address).unwrap_or_else(|error| die(&format!("cannot listen on {address}: {error}")));
    let listener = bind();
    log(&format!("stand-in: listens on {address}"));
    let service = service.clone();
    spawn(move || {
        if protocol == Protocol::Http {
            return accept(&service, &listener, protocol);
        }
        let mut listener = listener;
        loop {
            let fd = listener.as_raw_fd();
            std::thread::scope(|scope| {
                scope.spawn(|| accept(&service, &listener, protocol));
                while service.healthy() {
                    sleep(WATCH_EVERY);
                }
                unsafe { shutdown(fd, SHUT_RDWR) };
            });
            drop(listener);
            log(&format!("stand-in: closed {address}, unhealthy as asked"));
            while !service.healthy() {
                sleep(WATCH_EVERY);
            }
            listener = bind();
        }
    });
}

fn accept(service: &Arc<Service>, listener: &TcpListener, protocol: Protocol) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let service = service.clone();
                spawn(move || {
                    let _ = stream.set_nodelay(true);
                    // A client that goes away is the client's business.
                    let _ = match protocol {
                        Protocol::Http => http(&service, stream),
                        Protocol::Kafka => kafka(&service, stream),
                        Protocol::Line => line(&service, stream),
                        Protocol::Silent => swallow(stream),
                    };
                });
            }
            // EINVAL: shut down by listen_on.
            Err(error) if error.kind() == ErrorKind::InvalidInput => return,
            Err(_) => sleep(WATCH_EVERY),
        }
    }
}

fn swallow(mut stream: TcpStream) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    while stream.read(&mut bytes)? > 0 {}
    Ok(())
}

fn http(service: &Service, stream: TcpStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.by_ref().take(8192).read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut words = request.split_whitespace();
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let old = words.next() == Some("HTTP/1.0");
        let (mut length, mut close) = (0_usize, old);
        loop {
            let mut header = String::new();
            if reader.by_ref().take(8192).read_line(&mut header)? == 0 {
                return Ok(());
            }
            let Some((name, value)) = header.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap_or(usize::MAX);
            } else if name.eq_ignore_ascii_case("connection") {
                close = !value.trim().eq_ignore_ascii_case("keep-alive")
                    && (old || value.trim().eq_ignore_ascii_case("close"));
            }
        }
        let (status, body) = if length > MAX_BODY {
            close = true;
            (413, b"too large\n".to_vec())
        } else {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            answer(service, method, target.split('?').next().unwrap_or_default(), &body)
        };
        let kind = if body.first() == Some(&b'{') {
            "application/json"
        } else {
            "text/plain"
        };
        let head = format!(
            "HTTP/1.1 {status} {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nX-Stand-In: {}\r\nConnection: {}\r\n\r\n",
            reason(status),
            body.len(),
            service.name,
            if close { "close" } else { "keep-alive" }
        );
        let mut all = head.into_bytes();
        if method != "HEAD" {
            all.extend_from_slice(&body);
        }
        stream.write_all(&all)?;
        if close {
            return Ok(());
        }
    }
}

fn answer(service: &Service, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
    let text = |status: u16, text: String| (status, text.into_bytes());
    if let Some(name) = path.strip_prefix("/data/") {
        let Some(file) = service.file(name) else {
            return text(400, "no such data name\n".to_owned());
        };
        let done = match method {
            "GET" | "HEAD" => fs::read(&file).map(|bytes| (200, bytes)),
            "PUT" | "POST" => service.store(name, body).map(|()| (200, b"stored\n".to_vec())),
            "DELETE" => fs::remove_file(&file).map(|()| (200, b"deleted\n".to_vec())),
            _ => return text(405, "GET, PUT or DELETE\n".to_owned()),
        };
        return done.unwrap_or_else(|error| {
            let status = if error.kind() == ErrorKind::NotFound { 404 } else { 500 };
            text(status, format!("{error}\n"))
        });
    }
    if method == "POST" {
        if let Some(status) = path.strip_prefix("/standin/health/").and_then(|tail| tail.parse().ok()) {
            service.forced_status.store(status, Relaxed);
            return text(200, service.describe_json());
        }
        if let Some(code) = path.strip_prefix("/standin/exit/").and_then(|tail| tail.parse().ok()) {
            eprintln!("stand-in: exits {code}, as asked over HTTP");
            exit(code);
        }
    }
    let health = |body: Option<&str>| {
        if let Some(delay) = service.health_delay {
            sleep(delay);
        }
        let status = service.status();
        let body = body.filter(|_| (200..400).contains(&status));
        text(status, body.map_or_else(|| service.health_json(status), str::to_owned))
    };
    match (path, service.name.as_str()) {
        ("/standin", _) => text(200, service.describe_json()),
        ("/api/tags", "ollama") => health(Some(&format!(
            "{{\"models\":[],\"message\":{}}}\n",
            json(&service.message())
        ))),
        ("/api/version", "ollama") => text(
            200,
            format!(
                "{{\"version\":\"0.0.0-stand-in\",\"message\":{}}}\n",
                json(&service.message())
            ),
        ),
        ("/", "ollama") => text(200, "Ollama is running (stand-in)\n".to_owned()),
        ("/metrics", _) => text(
            200,
            format!("# {}\nstandin_boots {}\n", service.message(), service.boots),
        ),
        ("/health" | "/healthz" | "/-/ready" | "/", _) => health(None),
        _ => text(
            404,
            format!("{{\"error\":\"not found\",\"message\":{}}}\n", json(&service.message())),
        ),
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "As Asked",
    }
}

fn json(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

const API_VERSIONS: u16 = 18;
const UNSUPPORTED_VERSION: u16 = 35;

/// Answers ApiVersions, version 0, and hangs up on the rest; HTTP is told by its first letter.
fn kafka(service: &Service, mut stream: TcpStream) -> std::io::Result<()> {
    let mut first = [0; 1];
    if stream.peek(&mut first)? == 1 && first[0].is_ascii_uppercase() {
        return http(service, stream);
    }
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let mut request = vec![0; (u32::from_be_bytes(length) as usize).min(MAX_BODY)];
        stream.read_exact(&mut request)?;
        let [key_high, key_low, version_high, version_low, id @ ..] = request.as_slice() else {
            return Ok(());
        };
        if u16::from_be_bytes([*key_high, *key_low]) != API_VERSIONS || id.len() < 4 {
            return Ok(());
        }
        let error = if [*version_high, *version_low] == [0, 0] {
            0
        } else {
            UNSUPPORTED_VERSION
        };
        let mut answer = vec![0, 0, 0, 16];
        answer.extend_from_slice(&id[..4]);
        answer.extend_from_slice(&error.to_be_bytes());
        answer.extend_from_slice(&[0, 0, 0, 1]); // one API:
        answer.extend_from_slice(&API_VERSIONS.to_be_bytes()); // this one,
        answer.extend_from_slice(&[0, 0, 0, 0]); // versions 0 to 0
        stream.write_all(&answer)?;
    }
}

/// One line in, one line out.
fn line(service: &Service, mut stream: TcpStream) -> std::io::Result<()> {
    if let Some(greeting) = flag(&service.args, "--greeting") {
        writeln!(stream, "{greeting}")?;
    }
    let reader = BufReader::new(stream.try_clone()?);
    for request in reader.lines() {
        let request = request?;
        let (word, rest) = request.trim().split_once(' ').unwrap_or((request.trim(), ""));
        let reply = match (word, flag(&service.args, "--answer")) {
            (_, Some(answer)) => answer.to_owned(),
            ("ping", None) => "pong".to_owned(),
            ("echo", None) => rest.to_owned(),
            ("health", None) => format!("ok {}", service.message()),
            ("boots", None) => service.boots.to_string(),
            ("get", None) => match service.file(rest).map(fs::read_to_string) {
                Some(Ok(value)) => value,
                _ => "error no such name".to_owned(),
            },
            ("set", None) => match rest
                .split_once(' ')
                .map(|(name, value)| service.store(name, value.as_bytes()))
            {
                Some(Ok(())) => "stored".to_owned(),
                _ => "error not stored".to_owned(),
            },
            ("quit", None) => return Ok(()),
            _ => "error ping, echo TEXT, health, boots, set NAME TEXT, get NAME or quit".to_owned(),
        };
        writeln!(stream, "{reply}")?;
    }
    Ok(())
}

// ---------------------------------------------------------------- one-shots and checks

fn oneshot(args: &[String]) {
    install_signals();
    let after =
        flag(args, "--after").map(|text| parse_duration(text).unwrap_or_else(|| die("--after: not a duration")));
    let code = flag(args, "--exit").map(|text| text.parse().unwrap_or_else(|_| die("--exit: not a number")));
    let fail_runs: u64 = flag(args, "--fail-runs").map_or(0, |text| {
        text.parse().unwrap_or_else(|_| die("--fail-runs: not a number"))
    });
    let data = PathBuf::from(env("STANDIN_DATA_DIR").unwrap_or_else(|| "/data".to_owned()));
    let run = count_boot(Some(&data));
    log(&format!("stand-in: one-shot, run {run}"));
    sleep(after.or(env_duration("STANDIN_EXIT_AFTER")).unwrap_or_default());
    if let Some(text) = flag(args, "--print") {
        log(text);
    }
    if run <= fail_runs {
        exit(1);
    }
    exit(code.or(env_number("STANDIN_EXIT_CODE")).unwrap_or(0));
}

fn connect(host: &str, port: u16) -> TcpStream {
    // The usual names without a resolver, which a static program may not have.
    let ip = if host == "localhost" {
        Ok(IpAddr::from([127, 0, 0, 1]))
    } else {
        host.parse()
    };
    let address = match ip {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => (host, port)
            .to_socket_addrs()
            .ok()
            .and_then(|mut all| all.next())
            .unwrap_or_else(|| failed(&format!("{host}: name not found"))),
    };
    let stream = TcpStream::connect_timeout(&address, CHECK_TIMEOUT)
        .unwrap_or_else(|error| failed(&format!("{address}: {error}")));
    let _ = stream.set_read_timeout(Some(CHECK_TIMEOUT));
    let _ = stream.set_nodelay(true);
    stream
}

fn failed(message: &str) -> ! {
    eprintln!("{message}");
    exit(1)
}

/// Sends, then reads one line.
fn ask(port: u16, request: &str) -> String {
    let mut stream = connect("127.0.0.1", port);
    let mut reply = String::new();
    stream
        .write_all(request.as_bytes())
        .unwrap_or_else(|error| failed(&error.to_string()));
    BufReader::new(stream)
        .read_line(&mut reply)
        .unwrap_or_else(|error| failed(&error.to_string()));
    reply.trim_end().to_owned()
}

const CHECK_USAGE: &str = "check http PORT PATH | tcp PORT | redis PORT | line PORT SEND EXPECT";

/// For health checks that run inside a container, where there is no curl.
fn check(args: &[String]) {
    let arg = |at: usize| args.get(at).map_or_else(|| die(CHECK_USAGE), String::as_str);
    let port = arg(1).parse().unwrap_or_else(|_| die("not a port"));
    let (reply, good) = match arg(0) {
        "http" => {
            let reply = ask(
                port,
                &format!(
                    "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                    arg(2)
                ),
            );
            let good = reply.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
            (reply, good)
        }
        "tcp" => {
            connect("127.0.0.1", port);
            ("accepted".to_owned(), true)
        }
        "redis" => {
            let reply = ask(port, "PING\r\n");
            let good = reply == "+PONG";
            (reply, good)
        }
        "line" => {
            // Not only the first line: `srvr` answers `Mode:` in a later one and then hangs up.
            let mut stream = connect("127.0.0.1", port);
            stream
                .write_all(format!("{}\n", arg(2)).as_bytes())
                .unwrap_or_else(|error| failed(&error.to_string()));
            let found = BufReader::new(stream)
                .lines()
                .map_while(Result::ok)
                .find(|line| line.contains(arg(3)));
            (
                found.clone().unwrap_or_else(|| format!("no line has {:?}", arg(3))),
                found.is_some(),
            )
        }
        other => die(&format!("unknown check {other:?}: {CHECK_USAGE}")),
    };
    log(&reply);
    exit(i32::from(!good));
}

/// As Kafka's own command of this name, so that the same exec probe serves both.
fn kafka_api_versions(args: &[String]) {
    let server = flag(args, "--bootstrap-server").unwrap_or("localhost:9092");
    let (host, port) = host_port(server, 9092);
    let mut stream = connect(&host, port);
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff]; // ApiVersions 0, id 1, no client name
    let mut reply = [0; 20];
    stream
        .write_all(&request)
        .and_then(|()| stream.read_exact(&mut reply))
        .unwrap_or_else(|error| failed(&format!("{server}: {error}")));
    if reply[8..10] != [0, 0] {
        failed(&format!("{server}: error {}", u16::from_be_bytes([reply[8], reply[9]])));
    }
    log(&format!(
        "{server} (id: 1 rack: null) -> (\n\tApiVersions(18): 0 [usable: 0] (stand-in for kafka)\n)"
    ));
}
