//! What the manifests say, as values that edits change, and their text.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::random::Random;

/// What a service's image does. Two services can share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Image {
    /// Becomes ready within seconds.
    Good(u8),
    /// Becomes ready, but takes as long as is allowed, or nearly.
    Slow,
    /// Runs, and never becomes ready.
    Bad,
    /// Ends with an error soon after each start.
    Crash,
    /// Becomes ready, ends now and then, and goes on after the next start.
    Frail,
    /// No registry has it.
    Missing,
    /// Ends with 0.
    Job(u8),
    /// Ends with 1.
    FailingJob,
}

impl Image {
    pub const ALL: &'static [Self] = &[
        Self::Good(1),
        Self::Good(2),
        Self::Good(3),
        Self::Slow,
        Self::Bad,
        Self::Crash,
        Self::Frail,
        Self::Missing,
        Self::Job(1),
        Self::Job(2),
        Self::FailingJob,
    ];

    pub fn reference(self) -> String {
        match self {
            Self::Good(n) => format!("sim/good:{n}"),
            Self::Slow => "sim/slow:1".to_owned(),
            Self::Bad => "sim/bad:1".to_owned(),
            Self::Crash => "sim/crash:1".to_owned(),
            Self::Frail => "sim/frail:1".to_owned(),
            Self::Missing => "sim/missing:1".to_owned(),
            Self::Job(n) => format!("sim/job:{n}"),
            Self::FailingJob => "sim/failing-job:1".to_owned(),
        }
    }

    pub fn of(reference: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|image| image.reference() == reference)
    }

    pub fn is_job(self) -> bool {
        matches!(self, Self::Job(_) | Self::FailingJob)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Restart {
    No,
    OnFailure,
    Always,
    UnlessStopped,
    Managed,
}

/// What is to become of a container of the service that is somebody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Adopt {
    Never,
    Observe,
    Replace,
    /// Of the project alone, whatever bears the service's name.
    ObserveProject,
    ReplaceProject,
}

impl Adopt {
    /// With how often each is drawn.
    pub const ALL: &'static [(u64, Self)] = &[
        (12, Self::Never),
        (3, Self::Observe),
        (4, Self::Replace),
        (1, Self::ObserveProject),
        (1, Self::ReplaceProject),
    ];

    fn text(self) -> String {
        let of_project = |policy: Self| format!("{{ policy: {policy:?}, composeProject: {PROJECT} }}");
        match self {
            Self::ObserveProject => of_project(Self::Observe),
            Self::ReplaceProject => of_project(Self::Replace),
            plain => format!("{plain:?}"),
        }
    }
}

/// How one container follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strategy {
    Auto,
    Recreate,
    /// Where the manifests may say so ([`Service::strategy`]).
    StartFirst,
}

impl Strategy {
    /// With how often each is drawn.
    pub const ALL: &'static [(u64, Self)] = &[(3, Self::Auto), (1, Self::Recreate), (3, Self::StartFirst)];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Started,
    Ready,
    Completed,
}

/// Where an exec probe is asked; all ask the program whether it is ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Probes {
    pub startup: bool,
    pub readiness: bool,
    pub liveness: bool,
}

/// How a document is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// No YAML at all.
    Syntax,
    /// A field that there is not.
    Field,
    /// A value that cannot be.
    Value,
    /// It needs a service that there is not.
    Dangling,
    /// Half of the file is missing.
    Torn,
    /// Empty: as an editor leaves it for a moment.
    Blank,
}

impl Break {
    pub const ALL: &'static [Self] = &[Self::Syntax, Self::Field, Self::Value, Self::Dangling, Self::Torn, Self::Blank];
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    /// Whom it may need: only those with a lower rank.
    pub rank: usize,
    pub container_name: Option<String>,
    pub image: Image,
    pub restart: Restart,
    pub needs: BTreeMap<String, Condition>,
    pub networks: BTreeSet<String>,
    pub volume: Option<String>,
    pub port: Option<u16>,
    pub env: u64,
    pub file: Option<u64>,
    pub memory: Option<u64>,
    pub probes: Probes,
    pub stopped: bool,
    pub suspended: bool,
    pub broken: Option<Break>,
    /// Of the startup probe; seconds.
    pub deadline: u64,
    /// After which a new revision is given up; seconds. Often shorter than the slow ones take.
    pub progress: u64,
    pub rollback: bool,
    pub strategy: Strategy,
    pub adopt: Adopt,
}

impl Service {
    pub fn container(&self) -> &str {
        self.container_name.as_deref().unwrap_or(&self.name)
    }

    pub fn is_one_shot(&self) -> bool {
        matches!(self.restart, Restart::No | Restart::OnFailure)
    }

    /// What is asked for, as far as it is no error: one port, one name and one end are for one container.
    fn strategy(&self) -> Strategy {
        let alone = self.is_one_shot() || self.port.is_some() || self.container_name.is_some();
        if self.strategy == Strategy::StartFirst && alone { Strategy::Auto } else { self.strategy }
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let Self { name, .. } = self;
        let _ = writeln!(out, "apiVersion: env-manager.dev/v1\nkind: Service\nmetadata: {{ name: {name} }}\nspec:");
        let _ = writeln!(out, "  image: {}", self.image.reference());
        if let Some(container) = &self.container_name {
            let _ = writeln!(out, "  containerName: {container}");
        }
        let _ = writeln!(out, "  restart: {:?}", self.restart);
        if self.restart == Restart::OnFailure {
            let _ = writeln!(out, "  restartMaxRetries: 2");
        }
        if !self.needs.is_empty() {
            // Every other one, so that no history has less of anything else.
            let with = |c: &Condition| self.rank % 2 == 1 && *c != Condition::Completed;
            let need = |(name, c): (&String, &Condition)| {
                format!("{{ service: {name}, condition: {c:?}, restart: {} }}", with(c))
            };
            let needs: Vec<_> = self.needs.iter().map(need).collect();
            let _ = writeln!(out, "  dependsOn: [{}]", needs.join(", "));
        }
        if !self.networks.is_empty() {
            let _ = writeln!(out, "  networks: [{}]", self.networks.iter().cloned().collect::<Vec<_>>().join(", "));
        }
        if let Some(volume) = &self.volume {
            let _ = writeln!(out, "  volumes: [\"{volume}:/data\"]");
        }
        if let Some(port) = self.port {
            let _ = writeln!(out, "  ports: [\"{port}:80\"]");
        }
        let _ = writeln!(out, "  env: {{ VERSION: \"{}\" }}", self.env);
        if let Some(version) = self.file {
            let _ = writeln!(out, "  files: [{{ target: /etc/app.conf, content: \"version {version}\" }}]");
        }
        if let Some(memory) = self.memory {
            let _ = writeln!(out, "  resources: {{ memory: {memory}MiB }}");
        }
        let exec = "exec: { command: [ready] }";
        let Probes { startup, readiness, liveness } = self.probes;
        if startup || readiness || liveness {
            let _ = writeln!(out, "  probes:");
        }
        if startup {
            let _ = writeln!(out, "    startup: {{ {exec}, interval: 1s, deadline: {}s }}", self.deadline);
        }
        if readiness {
            let _ = writeln!(out, "    readiness: {{ {exec}, interval: 5s, failureThreshold: 2 }}");
        }
        if liveness {
            let _ =
                writeln!(out, "    liveness: {{ exec: {{ command: [live] }}, interval: 10s, failureThreshold: 3 }}");
        }
        let (progress, rollback, strategy) = (self.progress, self.rollback, self.strategy());
        let _ = writeln!(
            out,
            "  update: {{ progressDeadline: {progress}s, rollback: {rollback}, strategy: {strategy:?} }}"
        );
        if self.adopt != Adopt::Never {
            let _ = writeln!(out, "  adopt: {}", self.adopt.text());
        }
        let _ = writeln!(out, "  stop: {{ gracePeriod: 3s }}");
        if self.stopped {
            let _ = writeln!(out, "  state: Stopped");
        }
        if self.suspended {
            let _ = writeln!(out, "  suspend: true");
        }
        match self.broken {
            None => out,
            Some(Break::Syntax) => out + "  : [unclosed\n",
            Some(Break::Field) => out + "  imagge: nothing\n",
            Some(Break::Value) => out + "  init: perhaps\n",
            Some(Break::Dangling) => out.replacen("\n  restart:", "\n  networkMode: service:nobody\n  restart:", 1),
            Some(Break::Torn) => out[..out.len() / 2].to_owned(),
            Some(Break::Blank) => String::new(),
        }
    }
}

/// The whole source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stack {
    pub services: BTreeMap<String, Service>,
    /// Networks with a document of their own: whether they are `internal`.
    pub networks: BTreeMap<String, bool>,
    /// An error in the `Stack` document, from which all take their defaults.
    pub broken: bool,
    /// Nothing is in the folder for now.
    pub empty: bool,
    /// The folder is away for now.
    pub missing: bool,
}

pub const NETWORKS: &[&str] = &["default", "front", "back"];
pub const PORTS: &[u16] = &[8080, 8081, 8082];
/// Of Compose.
pub const PROJECT: &str = "shop";
const NAMES: &[&str] = &["db", "cache", "queue", "api", "web", "job", "mail", "proxy"];

impl Stack {
    /// File names and texts.
    pub fn files(&self) -> BTreeMap<String, String> {
        if self.empty {
            return BTreeMap::new();
        }
        let mut files: BTreeMap<_, _> =
            self.services.values().map(|s| (format!("{}.yaml", s.name), s.text())).collect();
        let mut infra = String::new();
        for (name, internal) in &self.networks {
            let _ = writeln!(
                infra,
                "apiVersion: env-manager.dev/v1\nkind: Network\nmetadata: {{ name: {name} }}\nspec: {{ internal: {internal} }}\n---"
            );
        }
        if self.broken {
            infra.push_str("apiVersion: env-manager.dev/v1\nkind: Stack\nspec: { stop: { gracePeriod: soon } }\n");
        }
        if !infra.is_empty() {
            files.insert("infra.yaml".to_owned(), infra);
        }
        files
    }

    /// Two to six services that need each other.
    pub fn draw(random: &mut Random) -> Self {
        let mut stack = Self::default();
        let count = random.range(2, 7);
        for _ in 0..count {
            stack.add(random);
        }
        if random.one_in(3) {
            stack.networks.insert("front".to_owned(), random.one_in(2));
        }
        stack
    }

    pub fn free_names(&self) -> Vec<&'static str> {
        NAMES.iter().copied().filter(|n| !self.services.contains_key(*n)).collect()
    }

    /// A new service, or nothing where all names are taken.
    pub fn add(&mut self, random: &mut Random) -> Option<String> {
        let free = self.free_names();
        let name = (*random.pick(&free)?).to_owned();
        let rank = self.services.values().map(|s| s.rank + 1).max().unwrap_or(0);
        let one_shot = random.one_in(5);
        let restart = match (one_shot, random.range(0, 4)) {
            (true, 0) => Restart::No,
            (true, _) => Restart::OnFailure,
            (false, 0) => Restart::Always,
            (false, 1) => Restart::Managed,
            (false, _) => Restart::UnlessStopped,
        };
        let mut service = Service {
            name: name.clone(),
            rank,
            container_name: random.one_in(8).then(|| format!("the-{name}")),
            image: Image::Good(1),
            restart,
            needs: BTreeMap::new(),
            networks: BTreeSet::new(),
            volume: random.one_in(3).then(|| format!("{name}-data")),
            port: None,
            env: 1,
            file: random.one_in(3).then_some(1),
            memory: random.one_in(3).then_some(64),
            probes: Probes::default(),
            stopped: false,
            suspended: false,
            broken: None,
            deadline: random.range(20, 60),
            progress: progress(random),
            rollback: !random.one_in(6),
            strategy: random.weighed(Strategy::ALL).unwrap_or(Strategy::Auto),
            adopt: random.weighed(Adopt::ALL).unwrap_or(Adopt::Never),
        };
        service.image = image(random, one_shot, 12);
        if !one_shot && !random.one_in(4) {
            service.probes = Probes { startup: random.one_in(2), readiness: true, liveness: random.one_in(3) };
        }
        for network in NETWORKS {
            if random.one_in(4) {
                service.networks.insert((*network).to_owned());
            }
        }
        if !one_shot && random.one_in(3) {
            let taken: Vec<_> = self.services.values().filter_map(|s| s.port).collect();
            let free: Vec<_> = PORTS.iter().copied().filter(|p| !taken.contains(p)).collect();
            service.port = random.pick(&free).copied();
        }
        self.services.insert(name.clone(), service);
        for _ in 0..2 {
            if random.one_in(2) {
                self.need(random, &name);
            }
        }
        Some(name)
    }

    /// It needs one more of those that came before it.
    pub fn need(&mut self, random: &mut Random, name: &str) {
        let Some(service) = self.services.get(name) else { return };
        let before: Vec<_> = self
            .services
            .values()
            .filter(|s| s.rank < service.rank)
            .map(|s| (s.name.clone(), s.is_one_shot()))
            .collect();
        let Some((needed, one_shot)) = random.pick(&before).cloned() else { return };
        let condition = match (one_shot, random.range(0, 3)) {
            (true, _) => Condition::Completed,
            (false, 0) => Condition::Started,
            (false, _) => Condition::Ready,
        };
        if let Some(service) = self.services.get_mut(name) {
            service.needs.insert(needed, condition);
        }
    }

    /// Nobody needs it any more.
    pub fn forget(&mut self, name: &str) {
        for service in self.services.values_mut() {
            service.needs.remove(name);
        }
    }
}

/// Seconds.
pub fn progress(random: &mut Random) -> u64 {
    if random.one_in(3) { random.range(1, 12) } else { random.range(20, 60) }
}

/// One in `bad` is one that does not serve.
pub fn image(random: &mut Random, one_shot: bool, bad: u64) -> Image {
    let is_bad = random.one_in(bad);
    let from: &[(u64, Image)] = match (one_shot, is_bad) {
        (true, false) => &[(1, Image::Job(1)), (1, Image::Job(2))],
        (true, true) => &[(2, Image::FailingJob), (1, Image::Missing)],
        (false, false) => {
            &[(4, Image::Good(1)), (4, Image::Good(2)), (4, Image::Good(3)), (1, Image::Slow), (1, Image::Frail)]
        }
        (false, true) => &[(3, Image::Bad), (3, Image::Crash), (2, Image::Missing)],
    };
    random.weighed(from).unwrap_or(Image::Good(1))
}

impl Stack {
    /// What is broken is in order again; what was edited otherwise stays so.
    pub fn repair(&mut self) {
        self.broken = false;
        for service in self.services.values_mut() {
            service.broken = None;
        }
    }
}
