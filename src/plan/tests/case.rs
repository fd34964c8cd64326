//! A situation in a few words. What is said before [`Case::has`] was so when the container was made;
//! what is said after it is news.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::engine::{created, marker};
use crate::clock::Timestamp;
use crate::plan::restarts::Restarts;
use crate::plan::types::{Dep, DepFacts, Failure, Mode, Op, Plan, PlanContext, Policy, Retry};
use crate::resource::ResourceKey;
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::desired::Service;
use crate::resource::hash::SpecHash;
use crate::resource::image::{ImageId, ImageInfo, ImageRef, ImageState};
use crate::resource::labels::SourceId;
use crate::resource::observed::{Container, Foreign, Network, RunState, ServiceObserved};
use crate::resource::probe::{Check, Probe, ProbeState, Probes};
use crate::resource::revision::Revisions;
use crate::resource::secret::Secret;
use crate::resource::spec::{
    ContainerSpec, DependencyCondition, DesiredState, FileOrigin, FileSpec, NetworkAttachment, RestartPolicy,
    ServiceSpec,
};
use crate::resource::status::Reason;
use crate::resource::update::{Update, UpdateStrategy};

pub const NOW: Timestamp = Timestamp(1_800_000_000_000);

#[derive(Clone)]
pub struct Case {
    pub spec: ServiceSpec,
    /// No manifest asks for it, or it is broken and nobody remembers it.
    pub unknown: bool,
    pub files: BTreeMap<String, Secret>,
    pub secrets: BTreeMap<String, Secret>,
    pub observed: ServiceObserved,
    pub deps: Vec<Dep>,
    pub dependents: Vec<ResourceKey>,
    pub image: ImageState,
    pub probes: ProbeState,
    pub next_probes: ProbeState,
    pub retry: Retry,
    pub restarts: Restarts,
    /// By name.
    pub restart_asked: Option<String>,
    pub revisions: Revisions,
    pub retry_asked: bool,
    pub watched_since: Timestamp,
    pub mode: Mode,
    pub why: Option<String>,
    pub policy: Policy,
    pub now: Timestamp,
    /// Where somebody has set the system's clock.
    pub engine_now: Option<Timestamp>,
}

pub fn policy() -> Policy {
    Policy {
        stack: "default".to_owned(),
        source: SourceId("host:/m".to_owned()),
        revision: Arc::from("3f2a91c"),
        max_attempts: 3,
        salt: "salt".to_owned(),
        remove_volumes: false,
        all_sources: false,
        engine_local: true,
        files_dir: "/state/files".to_owned(),
    }
}

pub fn network(name: &str, id: &str) -> Network {
    Network {
        id: NetworkId(Arc::from(id)),
        name: name.to_owned(),
        driver: "bridge".to_owned(),
        stack: Some("default".to_owned()),
        source: SourceId("host:/m".to_owned()),
        spec_hash: SpecHash(String::new()),
        created_at: NOW,
    }
}

pub fn attachment(network: &str) -> NetworkAttachment {
    NetworkAttachment { network: network.to_owned(), aliases: BTreeSet::new(), ipv4_address: None, priority: None }
}

/// What an image reference resolves to: the id follows from the text.
pub fn image(reference: &str) -> Arc<ImageInfo> {
    let digits = crate::resource::hash::sha256_hex(reference.as_bytes());
    let env = BTreeMap::from([("PATH".to_owned(), "/bin".to_owned()), ("LANG".to_owned(), "C".to_owned())]);
    Arc::new(ImageInfo {
        id: ImageId(format!("sha256:{digits}")),
        env,
        command: vec!["serve".to_owned()],
        ..ImageInfo::default()
    })
}

/// Kafka, with a network, a readiness probe, and its image there. Nothing runs.
pub fn kafka() -> Case {
    let probe = Probe {
        check: Check::Tcp { port: 9092 },
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(2),
        deadline: None,
        failure_threshold: 3,
        success_threshold: 1,
    };
    let container = ContainerSpec {
        init: true,
        networks: vec![attachment("env-manager")],
        ..ContainerSpec::plain("kafka", "kafka:1")
    };
    let spec = ServiceSpec {
        probes: Probes { readiness: Some(probe), ..Probes::default() },
        update: Update { strategy: UpdateStrategy::Recreate, ..Update::default() },
        ..ServiceSpec::plain(container)
    };
    let networks = BTreeMap::from([("env-manager".to_owned(), vec![network("env-manager", "net-1")])]);
    let observed = ServiceObserved { networks, spec_image: Some(image("kafka:1")), ..ServiceObserved::default() };
    Case {
        spec,
        unknown: false,
        files: BTreeMap::new(),
        secrets: BTreeMap::new(),
        observed,
        deps: Vec::new(),
        dependents: Vec::new(),
        image: ImageState::Unknown,
        probes: ProbeState {
            started: true,
            ready: Some(true),
            live: None,
            message: "port 9092 answered".to_owned(),
            unreachable: false,
        },
        next_probes: ProbeState::default(),
        retry: Retry::default(),
        restarts: Restarts::default(),
        restart_asked: None,
        revisions: Revisions::default(),
        retry_asked: false,
        watched_since: Timestamp(0),
        mode: Mode::Normal,
        why: None,
        policy: policy(),
        now: NOW,
        engine_now: None,
    }
}

impl Case {
    pub fn service(&self) -> Arc<Service> {
        Arc::new(Service::new("kafka", self.spec.clone(), self.secrets.clone(), self.files.clone()))
    }

    pub fn plan(&self) -> Plan {
        let service = (!self.unknown).then(|| self.service());
        let asked = self.observed.owned.iter().find(|c| Some(&c.name) == self.restart_asked.as_ref()).map(|c| &c.id);
        let cx = PlanContext {
            now: self.now,
            engine_now: self.engine_now.unwrap_or(self.now),
            deps: &self.deps,
            dependents: &self.dependents,
            image: &self.image,
            probes: &self.probes,
            next_probes: &self.next_probes,
            retry: &self.retry,
            restarts: &self.restarts,
            restart_asked: asked,
            revisions: &self.revisions,
            retry_asked: self.retry_asked,
            watched_since: self.watched_since,
            mode: self.mode,
            why: self.why.as_deref(),
            policy: &self.policy,
        };
        crate::plan::service::plan(&ResourceKey::service("kafka"), 7, service.as_ref(), &self.observed, &cx)
    }

    pub fn spec(mut self, edit: impl FnOnce(&mut ServiceSpec)) -> Self {
        edit(&mut self.spec);
        self
    }

    /// The manifest names another image, and the engine has it.
    pub fn image_is(mut self, reference: &str) -> Self {
        self.spec.container.image = ImageRef::parse(reference).unwrap();
        self.observed.spec_image = Some(image(reference));
        self
    }

    pub fn image_absent(mut self, state: ImageState) -> Self {
        self.observed.spec_image = None;
        self.image = state;
        self
    }

    pub fn file(mut self, target: &str, content: &str) -> Self {
        self.spec.container.files.retain(|f| f.target != target);
        self.spec.container.files.push(FileSpec {
            target: target.to_owned(),
            origin: FileOrigin::Inline,
            mode: 0o644,
            uid: 0,
            gid: 0,
            signal: None,
        });
        self.files.insert(target.to_owned(), Secret::new(content));
        self
    }

    /// A container made from the spec as it is so far, whole.
    pub fn has(mut self, name: &str, state: RunState) -> Self {
        let mut container = self.made(name);
        let long_ago = Timestamp(NOW.0 - 3_600_000);
        container.created_at = long_ago;
        container.state = state;
        if !matches!(state, RunState::Created | RunState::Dead) {
            container.started_at = Some(long_ago);
        }
        if matches!(state, RunState::Exited | RunState::Restarting) {
            container.exit_code = Some(if name.contains('.') { 143 } else { 1 });
            container.finished_at = Some(NOW);
        }
        if state == RunState::Exited && name.contains('.') {
            // A replace has stopped it.
            container.config.restart = RestartPolicy::No;
        }
        self.observed.owned.push(container);
        self
    }

    /// As our own plan would have created it.
    pub fn made(&self, name: &str) -> Container {
        let empty =
            ServiceObserved { owned: Vec::new(), foreign: Vec::new(), adoptees: Vec::new(), ..self.observed.clone() };
        let fresh = Self { observed: empty, mode: Mode::Normal, unknown: false, ..kafka().with_spec_of(self) };
        let plan = fresh.spec(|s| s.state = DesiredState::Running).plan();
        let steps = plan.stages.iter().flat_map(|s| &s.steps);
        let mut container = None;
        let digits = crate::resource::hash::sha256_hex(name.as_bytes());
        for step in steps {
            match &step.op {
                Op::CreateContainer(create) => {
                    let create =
                        crate::resource::container::ContainerCreate { name: name.to_owned(), ..*create.clone() };
                    let image = image(self.spec.container.image.as_str());
                    container = Some(created(&create, ContainerId::new(digits.clone()), &image, NOW));
                }
                Op::Connect { endpoint, .. } => {
                    let container = container.as_mut().unwrap();
                    super::engine::attach(container, endpoint);
                }
                _ => {}
            }
        }
        let mut container = container.unwrap();
        container.files_marker = marker(&self.service());
        container
    }

    fn with_spec_of(mut self, other: &Self) -> Self {
        self.spec = other.spec.clone();
        self.files = other.files.clone();
        self.secrets = other.secrets.clone();
        self
    }

    /// Edits the container that was added last.
    pub fn but(mut self, edit: impl FnOnce(&mut Container)) -> Self {
        edit(self.observed.owned.last_mut().unwrap());
        self.remember_images();
        self
    }

    pub fn remember_images(&mut self) {
        for reference in ["kafka:1", "kafka:2", "kafka:3"] {
            let image = image(reference);
            self.observed.images.insert(image.id.clone(), image);
        }
    }

    pub fn foreign(mut self, name: &str) -> Self {
        self.observed.foreign.push(Foreign {
            id: ContainerId::new("f".repeat(64)),
            name: name.to_owned(),
            image: ImageRef::parse("somebody/kafka:9").unwrap(),
            owner: None,
            container: None,
        });
        self
    }

    pub fn dep(mut self, name: &str, condition: DependencyCondition, facts: DepFacts) -> Self {
        self.deps.push(Dep { key: ResourceKey::service(name), condition, restarts: false, facts });
        self
    }

    pub fn probes(mut self, started: bool, ready: Option<bool>, message: &str) -> Self {
        self.probes = ProbeState { started, ready, message: message.to_owned(), ..ProbeState::default() };
        self
    }

    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Started again by us so often, the last time so long ago.
    pub fn restarted(mut self, times: u64, ago: Duration) -> Self {
        let last = Timestamp(self.now.0 - u64::try_from(ago.as_millis()).unwrap());
        for n in (0..times).rev() {
            self.restarts.started(Timestamp(last.0 - n * 20_000));
        }
        self
    }

    pub fn restart_asked(self) -> Self {
        self.restart_asked_of("kafka")
    }

    pub fn restart_asked_of(mut self, name: &str) -> Self {
        self.restart_asked = Some(name.to_owned());
        self
    }

    pub fn because(mut self, why: &str) -> Self {
        self.why = Some(why.to_owned());
        self
    }

    pub fn failed(mut self, attempts: u32, reason: Reason, message: &str, wait: Option<Duration>) -> Self {
        self.retry = Retry {
            attempts,
            failure: Some(Failure { reason, terminal: false, message: message.to_owned() }),
            next_at: wait.map(|w| self.now.plus(w)),
        };
        self
    }

    /// Plan, status and wishes as text.
    pub fn text(&self) -> String {
        let mut case = self.clone();
        case.remember_images();
        describe(&case.plan(), case.now)
    }
}

pub fn describe(plan: &Plan, now: Timestamp) -> String {
    let mut text = plan.to_string();
    let status = &plan.status;
    let word = if status.ready { "ready" } else { "not ready" };
    let _ = writeln!(text, "{word}: {}: {}", status.reason, status.message);
    for (word, said) in [("reconciling", &status.reconciling), ("stalled", &status.stalled)] {
        if let Some((reason, message)) = said {
            let _ = writeln!(text, "{word}: {reason}: {message}");
        }
    }
    if let Some(failing) = &status.dependency_failing {
        let _ = writeln!(text, "dependencies: {failing}");
    }
    if let Some(want) = &plan.wants.image {
        let _ = writeln!(text, "wants image {}", want.image);
    }
    for id in &plan.wants.probes {
        let _ = writeln!(text, "probes {id}");
    }
    if let Some(at) = plan.wake_at {
        let _ = writeln!(text, "looks again in {}", humantime::format_duration(at.since(now)));
    }
    if status.settled {
        text.push_str("settled\n");
    }
    text
}

/// Compares with the snapshot that bears the test's name.
macro_rules! shows {
    ($case:expr) => {
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!($case)
        })
    };
}
pub(crate) use shows;
