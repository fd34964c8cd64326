//! P16: whatever comes in at the ports ends in an error or an end of the connection, and in little memory.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::running::Daemon;
use crate::stack::{Stack, idle, soon, text};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What the process may grow by while it is treated so, in KiB.
const GROWTH: u64 = 64 << 10;

/// Numbers that are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // Knuth's MMIX.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        (0..self.next() % most).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// What a connection may begin with, and go wrong after.
fn beginnings() -> Vec<Vec<u8>> {
    let settings = [0_u8, 0, 0, 4, 0, 0, 0, 0, 0];
    // HEADERS of stream 1, and of which nothing can be made.
    let headers = [0_u8, 0, 3, 1, 4, 0, 0, 0, 1, 0x82, 0x86, 0x84];
    vec![
        Vec::new(),
        PREFACE.to_vec(),
        [PREFACE, &settings].concat(),
        [PREFACE, &settings, &headers].concat(),
        b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\n".to_vec(),
        b"GET /".to_vec(),
        b"POST /api/v1/status HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(),
        // The first bytes of TLS.
        vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03],
    ]
}

fn resident_kib(daemon: &Daemon<'_>) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).expect("Linux says it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn open(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it accepts");
    stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a socket");
    stream
}

/// Sends, says that there is no more, and reads to the end.
fn send(address: &str, bytes: &[u8]) {
    let mut stream = open(address);
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    // It may hang up before all is sent.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    match stream.read_to_end(&mut Vec::new()) {
        Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => panic!("it hangs on {bytes:?}"),
        _ => {}
    }
}

#[test]
fn p16_garbage_floods_and_half_open_connections_end_in_errors_and_little_memory() {
    let stack = Stack::new("hostile");
    stack.describe(&[idle("web", "")]);
    let daemon = stack.daemon();
    daemon.converged();
    let file = stack.daemon_file().expect("it runs");
    let ports = [text(&file["grpc"]), text(&file["http"])];
    let before = resident_kib(&daemon);
    let answers = || {
        assert!(daemon.ask("/livez").is_some_and(|body| body.contains("ok")), "{}", daemon.log());
        // By gRPC.
        assert_eq!(stack.status().exits(0).json()["source"]["kind"], "dir");
    };

    // Garbage, alone and after a good beginning.
    let mut numbers = Numbers(4);
    for _ in 0..40 {
        for port in &ports {
            for beginning in beginnings() {
                let tail = numbers.bytes(600);
                send(port, &[beginning, tail].concat());
            }
        }
    }
    answers();

    // Endless heads, frames and bodies.
    let endless_line = [b"GET /".to_vec(), vec![b'a'; 4 << 20]].concat();
    let endless_head = [b"GET / HTTP/1.1\r\n".to_vec(), b"X: y\r\n".repeat(500_000)].concat();
    let frame = [&[0, 0x40, 0, 0, 0, 0, 0, 0, 1][..], &[0; 16_384]].concat();
    let endless_data = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &frame.repeat(200)].concat();
    let pings =
        [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(100_000)]
            .concat();
    let resets: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| {
            let id = (2 * n + 1).to_be_bytes();
            let open = [&[0, 0, 3, 1, 4][..], &id, &[0x82, 0x86, 0x84]].concat();
            [open, [&[0, 0, 4, 3, 0][..], &id, &[0, 0, 0, 8]].concat()].concat()
        })
        .collect();
    let resets = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0], &resets].concat();
    for flood in [endless_line, endless_head, endless_data, pings, resets] {
        for port in &ports {
            send(port, &flood);
        }
    }
    answers();

    // As many as there are places, and each says little or nothing.
    let mut held = Vec::new();
    for _ in 0..300 {
        for (port, words) in ports.iter().zip([&PREFACE[..10], b"GET /"]) {
            let mut stream = open(port);
            let _ = stream.write_all(words);
            held.push(stream);
        }
    }
    // HTTP has 256 places: it answers again once they were hung up on.
    soon("an answer beside half-open connections", || daemon.ask("/livez"));
    answers();
    drop(held);
    let grown = resident_kib(&daemon).saturating_sub(before);
    println!("{grown} KiB above {before} KiB");
    assert!(grown < GROWTH, "{grown} KiB more than {before} KiB");
    daemon.converged();
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
    assert_eq!(daemon.stop(), 0);
}
