//! Fixtures; the tests themselves are beside this file.

use std::sync::Arc;
use std::time::Duration;

use super::exit::Exit;
use super::*;
use crate::clock::Timestamp;
use crate::report::{EngineView, SourceKind, SourceView, View};
use crate::resource::ResourceKey;
use crate::resource::container::ContainerId;
use crate::resource::image::ImageRef;
use crate::resource::spec::{Dependency, DependencyCondition, Port, Protocol};
use crate::resource::status::{About, ContainerSummary, Reason, Status, StatusDraft};

mod documents;
mod plans;
mod progress;
mod remote;
mod served;
mod tables;

pub use served::kept;

const NOW: Timestamp = Timestamp(1_795_000_000_000);

fn draft(reason: Reason, message: &str) -> StatusDraft {
    StatusDraft {
        ready: false,
        reason,
        message: message.to_owned(),
        reconciling: None,
        stalled: None,
        dependency_failing: None,
        settled: false,
        container: None,
    }
}

fn about(required: bool, depends_on: &[&str]) -> About {
    let dependency =
        |s: &&str| Dependency { service: (*s).to_owned(), condition: DependencyCondition::Ready, restart: false };
    About {
        required,
        generation: 1,
        image: ImageRef::parse("example/image:1").ok(),
        depends_on: depends_on.iter().map(dependency).collect(),
        revision: "3f2a91c".into(),
    }
}

fn running(image: &str, seconds: u64) -> ContainerSummary {
    ContainerSummary {
        id: ContainerId::new("4be1f0c2a97d".repeat(6)[..64].to_owned()),
        name: "x".to_owned(),
        image: ImageRef::parse(image).unwrap(),
        running: true,
        started_at: Some(Timestamp(NOW.0 - seconds * 1000)),
        restarts: 0,
        exit_code: None,
        revision: "3f2a91c".to_owned(),
        ports: vec![Port {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(6379),
            container_port: 6379,
            protocol: Protocol::Tcp,
        }],
        stand_in: None,
    }
}

fn ready(required: bool, message: &str) -> Status {
    let draft = StatusDraft {
        ready: true,
        settled: true,
        container: Some(running("redis:7", 41)),
        ..draft(Reason::ProbeSucceeded, message)
    };
    Status::from_draft(draft, about(required, &[]), None, NOW)
}

fn at(reason: Reason, message: &str) -> Status {
    Status::from_draft(draft(reason, message), about(false, &[]), None, NOW)
}

fn stalled(required: bool, reason: Reason, message: &str) -> Status {
    let draft = StatusDraft { stalled: Some((reason, message.to_owned())), ..draft(reason, message) };
    Status::from_draft(draft, about(required, &[]), None, NOW)
}

fn view(statuses: Vec<(ResourceKey, Status)>) -> View {
    View {
        engine: EngineView {
            reachable: true,
            address: "unix:///var/run/docker.sock".to_owned(),
            version: "20.10.24".to_owned(),
            message: String::new(),
            since: Timestamp(0),
        },
        observe_only: false,
        leaving: Some(0),
        findings: String::new(),
        stack: "default".to_owned(),
        source: SourceView {
            kind: SourceKind::Dir,
            location: "./manifests".to_owned(),
            revision: "sha256:3f2a91c0".to_owned(),
            short_revision: "3f2a91c".to_owned(),
            error: None,
        },
        statuses: statuses.into_iter().map(|(k, s)| (k, Arc::new(s))).collect(),
        invalid_manifests: 0,
        kept: Vec::new(),
        notes: Vec::new(),
        now: NOW,
        took: None,
    }
}

/// One of each kind of row.
fn troubled() -> View {
    let mut stand_in = ready(false, "HTTP 200 from /health (stand-in for kafka)");
    stand_in.container.as_mut().unwrap().restarts = 3;
    let router = StatusDraft {
        reconciling: Some((Reason::DependencyNotReady, "waits for infermesh-node-a to be Ready".to_owned())),
        ..draft(Reason::DependencyNotReady, "not created yet")
    };
    let long = "pull of dspy-lightweight:latest failed: not found in docker.io/library. Build it with `docker build -t \
                dspy-lightweight:latest docker/lightweight`, or set its image in [[service_overrides]]";
    view(vec![
        (
            ResourceKey::network("env-manager"),
            stalled(false, Reason::NetworkConflict, "a network of this name belongs to somebody else"),
        ),
        (ResourceKey::volume("redis_data"), ready(false, "exists")),
        (ResourceKey::service("redis"), ready(true, "PING answered in 0.3 ms")),
        (ResourceKey::service("reddb"), stalled(true, Reason::ImageNotFound, long)),
        (ResourceKey::service("kafka"), stand_in),
        (
            ResourceKey::service("infermesh-router"),
            Status::from_draft(router, about(false, &["infermesh-node-a"]), None, NOW),
        ),
        (
            ResourceKey::service("migrate"),
            stalled(false, Reason::ImageNotFound, "pull of migrate:1 failed:\n\u{1b}[31mnot found\u{1b}[0m"),
        ),
    ])
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}
