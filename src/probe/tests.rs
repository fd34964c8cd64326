//! Prober on the paused clock, checks against small servers on loopback.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::check::{Tried, attempt};
use super::*;
use crate::clock::{Clock, Timestamp};
use crate::engine::scripted::ScriptedEngine;
use crate::engine::{EngineError, ErrorKind, ExecOutput, ExecResult};
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::probe::{Check, StatusRanges};
use crate::resource::secret::Secret;

mod checks;
mod timing;
mod world;

struct Zero;

impl Clock for Zero {
    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn probe(check: Check) -> Probe {
    Probe {
        check,
        interval: Probe::DEFAULT_INTERVAL,
        timeout: Probe::DEFAULT_TIMEOUT,
        deadline: None,
        failure_threshold: 3,
        success_threshold: 1,
    }
}

fn exec(word: &str) -> Probe {
    probe(Check::Exec { command: vec![word.to_owned()] })
}

fn target(id: &str) -> Target {
    Target { container: ContainerId::new(id), engine_local: true, started_at: Some(Timestamp(1)), ..Target::default() }
}

fn ended(code: i64, output: &str) -> ExecResult {
    ExecResult::Ended(ExecOutput { exit_code: code, output: output.to_owned() })
}
