//! The floor: the create and start calls that the nine services need, and nothing else.
//!
//! No plan, no reading of what is there, no labels to compare, no events, no status. It makes the network and
//! the volumes, creates, uploads the files and starts as many at a time as is best, waits along the same chain
//! (redis → nodes → router, zookeeper → kafka) and probes at the containers' addresses without pause but for a
//! millisecond, which leaves the processors to what is being started.

use std::path::Path;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::docker::{Docker, Result, error};
use crate::services::{Probe, SERVICES, Service};

/// Network, stack label and prefix of volumes.
pub const FLOOR: &str = "em-bench-floor";
const PAUSE: Duration = Duration::from_millis(1);
const TRY: Duration = Duration::from_millis(200);
const EXEC_TRY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Creates and starts at a time.
    pub concurrency: usize,
    /// Creates everything while the network is being made and dependencies start; else as gates open.
    pub ahead: bool,
}

/// Milliseconds since the begin, per service: created (with its files), started, ready.
pub async fn run(docker: &Docker, manifests: &Path, options: Options) -> Result<Value> {
    let begin = Instant::now();
    let permits = Semaphore::new(options.concurrency);
    let (network_made, _) = watch::channel(false);
    let ready: Vec<_> = SERVICES.iter().map(|_| watch::channel(false).0).collect();
    let ready_of = |name: &str| SERVICES.iter().position(|s| s.name == name).map(|i| &ready[i]);

    let one = async |service: &Service, own: &watch::Sender<bool>| -> Result<Value> {
        let archive = service.file.map(|(target, source)| archive(target, &manifests.join(source))).transpose()?;
        let gates = async {
            opened(&network_made).await;
            for need in service.needs {
                if let Some(gate) = ready_of(need) {
                    opened(gate).await;
                }
            }
        };
        let create = async {
            let body = service.create_body(FLOOR, &format!("{FLOOR}-"), &labels());
            let path = format!("/containers/create?name={}", service.name);
            let made = docker.call("POST", &path, &body).await?;
            let id = made["Id"].as_str().unwrap_or_default().to_owned();
            if let Some(archive) = &archive {
                let path = format!("/containers/{id}/archive?path=/&noOverwriteDirNonDir=1");
                let (status, text) = docker.raw("PUT", &path, "application/x-tar", archive).await?;
                if status != 200 {
                    return error(format!("upload: {status} {}", String::from_utf8_lossy(&text)));
                }
            }
            Ok((id, begin.elapsed()))
        };
        let permit = async || permits.acquire().await.ok();
        let ((id, created), permit) = if options.ahead {
            let id = create.await?;
            gates.await;
            (id, permit().await)
        } else {
            gates.await;
            let permit = permit().await;
            (create.await?, permit)
        };
        docker.call("POST", &format!("/containers/{id}/start"), &Value::Null).await?;
        drop(permit);
        let started = begin.elapsed();
        wait_ready(docker, service, &id).await?;
        own.send_replace(true);
        Ok(json!({
            "service": service.name,
            "created_ms": ms(created), "started_ms": ms(started), "ready_ms": ms(begin.elapsed()),
        }))
    };
    let services = try_join_all(SERVICES.iter().zip(&ready).map(|(service, own)| one(service, own)));
    let surroundings = async {
        let volumes = SERVICES.iter().flat_map(|s| s.volumes).map(|(name, _)| async move {
            let body = json!({"Name": format!("{FLOOR}-{name}"), "Labels": labels()});
            docker.call("POST", "/volumes/create", &body).await
        });
        let network = json!({"Name": FLOOR, "Labels": labels()});
        try_join(docker.call("POST", "/networks/create", &network), try_join_all(volumes)).await?;
        network_made.send_replace(true);
        Ok(())
    };
    let (services, ()) = try_join(services, surroundings).await?;
    Ok(Value::Array(services))
}

async fn wait_ready(docker: &Docker, service: &Service, id: &str) -> Result<()> {
    let inspected = docker.get(&format!("/containers/{id}/json")).await?;
    for probe in service.probes {
        while !passes(docker, probe, id, address(&inspected)).await {
            sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Whether every probe passes at the first try.
pub async fn ready_now(docker: &Docker, service: &Service, id: &str, inspected: &Value) -> bool {
    for probe in service.probes {
        if !passes(docker, probe, id, address(inspected)).await {
            return false;
        }
    }
    true
}

fn address(inspected: &Value) -> &str {
    let networks = inspected["NetworkSettings"]["Networks"].as_object();
    networks.and_then(|n| n.values().next()).and_then(|n| n["IPAddress"].as_str()).unwrap_or_default()
}

async fn passes(docker: &Docker, probe: &Probe, id: &str, address: &str) -> bool {
    let ask = async |port: u16, send: &str, expect: &str| {
        let answer = timeout(TRY, async {
            let mut stream = TcpStream::connect((address, port)).await?;
            let mut answer = Vec::new();
            if !expect.is_empty() {
                stream.write_all(send.as_bytes()).await?;
                // Until the peer hangs up or has said enough; Redis does not hang up.
                let mut part = [0; 4096];
                while !String::from_utf8_lossy(&answer).contains(expect) {
                    match stream.read(&mut part).await? {
                        0 => break,
                        n => answer.extend_from_slice(&part[..n]),
                    }
                }
            }
            std::io::Result::Ok(answer)
        });
        matches!(answer.await, Ok(Ok(answer)) if String::from_utf8_lossy(&answer).contains(expect))
    };
    match probe {
        Probe::Http { port, path } => {
            ask(*port, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"), " 200 ").await
        }
        Probe::Tcp { port } => ask(*port, "", "").await,
        Probe::Redis { port } => ask(*port, "PING\r\n", "+PONG").await,
        Probe::Line { port, send, expect } => ask(*port, send, expect).await,
        Probe::Exec { command } => matches!(timeout(EXEC_TRY, exec(docker, id, command)).await, Ok(Ok(0))),
    }
}

/// The exit code.
async fn exec(docker: &Docker, id: &str, command: &[&str]) -> Result<i64> {
    let body = json!({"Cmd": command, "AttachStdout": true, "AttachStderr": true});
    let made = docker.call("POST", &format!("/containers/{id}/exec"), &body).await?;
    let exec = made["Id"].as_str().unwrap_or_default();
    // The answer ends when the command does.
    docker.call("POST", &format!("/exec/{exec}/start"), &json!({"Detach": false, "Tty": false})).await?;
    let ended = docker.get(&format!("/exec/{exec}/json")).await?;
    Ok(ended["ExitCode"].as_i64().unwrap_or(-1))
}

fn labels() -> Value {
    json!({crate::stage::STACK_LABEL: FLOOR})
}

/// One file and the marker that env-manager puts last.
fn archive(target: &str, source: &Path) -> Result<Vec<u8>> {
    let built = std::fs::read(source).and_then(|content| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, target.trim_start_matches('/'), content.as_slice())?;
        let mut marker = tar::Header::new_gnu();
        marker.set_entry_type(tar::EntryType::Symlink);
        marker.set_size(0);
        builder.append_link(&mut marker, ".env-manager", "v1:floor:0")?;
        builder.into_inner()
    });
    built.or_else(|e| error(format!("{}: {e}", source.display())))
}

async fn opened(gate: &watch::Sender<bool>) {
    // Fails only when the sender is gone, and here it is in hand.
    let _ = gate.subscribe().wait_for(|open| *open).await;
}

fn ms(d: Duration) -> f64 {
    (d.as_secs_f64() * 10_000.0).round() / 10.0
}
