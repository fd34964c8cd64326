use std::sync::Mutex;

use super::super::progress::{Change, LogLines, Progress, Seen, Tally};
use super::*;

/// What a run of `apply` is told: redis comes up, reddb's image is not there, kafka was well before.
fn a_run() -> Vec<(ResourceKey, Status)> {
    let service = |name: &str| ResourceKey::service(name);
    vec![
        (ResourceKey::network("env-manager"), at(Reason::Creating, "creating")),
        (service("kafka"), at(Reason::Pending, "not looked at yet")),
        (service("kafka"), ready(false, "HTTP 200 from /health")),
        (service("redis"), at(Reason::Pulling, "3 MiB of 12 MiB")),
        (service("redis"), at(Reason::Pulling, "12 MiB of 12 MiB")),
        (service("redis"), at(Reason::Creating, "creating container redis")),
        (service("redis"), at(Reason::Starting, "started 3 ms ago")),
        (service("reddb"), at(Reason::Pulling, "0 B of 1 GiB")),
        (service("reddb"), stalled(true, Reason::ImageNotFound, "not found in docker.io/library")),
        (service("reddb"), stalled(true, Reason::ImageNotFound, "still not found")),
        (service("redis"), ready(true, "PING answered in 0.3 ms")),
        (service("redis"), ready(true, "PING answered in 0.2 ms")),
        (ResourceKey::network("env-manager"), stalled(false, Reason::NetworkConflict, "taken")),
    ]
}

#[test]
fn a_tally_counts_who_came_up_and_who_did_not() {
    use Change::{Begun, None, Phase, Started};

    let mut tally = Tally::default();
    let changes: Vec<_> = a_run().iter().map(|(k, s)| tally.note(&Seen::of(k, s))).collect();
    assert_eq!(changes, [None, None, None, Phase, None, Begun(1), None, Phase, Phase, None, Started, None, Phase]);
    assert_eq!(tally.started(), ["redis"]);
    assert_eq!(tally.failed().collect::<Vec<_>>(), ["reddb"]);
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs something with a log of its own, and returns what was written.
fn logged(format: crate::config::LogFormat, run: impl FnOnce()) -> String {
    let buffer = Buffer::default();
    let writer = buffer.clone();
    let subscriber = logging::subscriber(format, "trace", false, move || writer.clone());
    tracing::subscriber::with_default(subscriber, run);
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

fn log_a_run() {
    let mut lines = LogLines::new(9);
    for (key, status) in a_run() {
        lines.update(&Seen::of(&key, &status));
    }
    lines.finish();
}

#[test]
fn the_pretty_log_carries_the_lines_of_the_system_before_this_one() {
    let text = logged(crate::config::LogFormat::Pretty, || {
        let config = crate::config::Config::default();
        logging::announce(&config, true);
        logging::connecting(&config);
        tracing::info!("✓ Docker connection successful");
        log_a_run();
        tracing::warn!(service = "redis", "something is odd");
        tracing::debug!(n = 1, "detail");
    });
    insta::assert_snapshot!(text);
}

#[test]
fn a_run_without_trouble_ends_with_the_seed_s_last_line() {
    let text = logged(crate::config::LogFormat::Pretty, || {
        let mut lines = LogLines::new(1);
        lines.update(&Seen::of(&ResourceKey::service("redis"), &at(Reason::Starting, "")));
        lines.update(&Seen::of(&ResourceKey::service("redis"), &ready(true, "")));
        lines.finish();
        LogLines::new(1).finish();
    });
    assert_eq!(
        text,
        "[1/1] Starting service: redis\n✓ redis started successfully\n🎉 Startup complete: 1 started, 0 failed\n✓ Nothing to start\n"
    );
}

#[test]
fn the_json_log_has_fields_for_machines() {
    let text = logged(crate::config::LogFormat::Json, log_a_run);
    let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let failed = lines.iter().find(|l| l["reason"] == "ImageNotFound").unwrap();
    assert_eq!(
        (&failed["service"], &failed["level"], &failed["phase"]),
        (&"reddb".into(), &"WARN".into(), &"Failed".into())
    );
}

#[test]
fn rows_on_a_terminal_silence_the_log_unless_asked() {
    let options =
        |verbosity, rows| logging::Options { format: crate::config::LogFormat::Pretty, verbosity, rows }.directives();
    assert_eq!(options(0, true), "warn,env_manager::progress=off");
    assert_eq!(options(0, false), "warn,env_manager=info");
    assert_eq!(options(1, true), "warn,env_manager=debug");
    assert_eq!(options(2, false), "info,env_manager=trace");
}
