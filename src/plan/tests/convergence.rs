//! A run of the planner against the model of an engine, from any state that something or somebody may
//! have left the containers of a service in, until nothing is left to be done.

use super::case::{Case, attachment, describe, kafka, network};
use super::engine::{Engine, is_stray};
use crate::plan::types::Plan;
use crate::resource::adoption::adoptable;
use crate::resource::labels::{FAILED, NEXT};
use crate::resource::observed::{Container, RunState, ServiceObserved};
use crate::resource::probe::ProbeState;
use crate::resource::revision::Revisions;
use crate::resource::spec::RestartPolicy;
use crate::resource::status::Reason;
use crate::resource::update::UpdateStrategy;

pub const STATES: [RunState; 7] = [
    RunState::Created,
    RunState::Running,
    RunState::Paused,
    RunState::Restarting,
    RunState::Exited,
    RunState::Dead,
    RunState::Removing,
];
pub const PARTS: [&str; 5] = ["kafka", "kafka.next", "kafka.old", "kafka.failed", "astray"];
/// Far more than any sequence takes.
pub const ROUNDS: usize = 24;

/// One container of the service, in any state that something or somebody may have left it in.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub state: RunState,
    /// Made from the spec of now.
    pub fits: bool,
    pub uploaded: bool,
    /// Its restart policy is `no`, as after being stopped on purpose.
    pub hushed: bool,
    pub exit_code: i64,
}

pub fn world(policy: RestartPolicy) -> Case {
    let mut case = kafka().file("/etc/kafka.conf", "a=1").spec(|s| {
        s.container.restart = policy;
        s.container.networks.push(attachment("metrics"));
    });
    case.observed.networks.insert("metrics".to_owned(), vec![network("metrics", "net-2")]);
    case
}

/// The same, where the new one is started first.
pub fn starting_first(policy: RestartPolicy) -> Case {
    world(policy).spec(|s| s.update.strategy = UpdateStrategy::StartFirst)
}

/// The same world with these containers in it.
pub fn populate(world: &Case, parts: &[(usize, Part)]) -> Case {
    let older = world.clone();
    let mut case = world.clone().image_is("kafka:2");
    for (index, part) in parts {
        let from = if part.fits { &case } else { &older };
        let mut from = from.clone();
        from.observed.owned.clone_from(&case.observed.owned);
        let made = from.has(PARTS[*index], part.state).observed.owned.pop().unwrap();
        case.observed.owned.push(made);
        case = case.but(|c| {
            if !part.uploaded {
                c.files_marker = None;
            }
            if part.hushed {
                c.config.restart = RestartPolicy::No;
            }
            if c.state == RunState::Exited {
                c.exit_code = Some(part.exit_code);
            }
        });
    }
    case.remember_images();
    case
}

/// What the controller finds of those that are not ours: all that there is unless one of ours serves, and what
/// is being taken over in any case.
fn find_adoptees(observed: &mut ServiceObserved) {
    let begun: Vec<_> = observed.owned.iter().filter_map(|c| c.owner.adopted.clone()).collect();
    let begun: Vec<_> = begun.iter().map(AsRef::as_ref).collect();
    let serves = observed.owned.iter().any(|c| ![NEXT, FAILED].iter().any(|s| c.name.ends_with(s)));
    observed.adoptees.retain(|c| !serves || begun.iter().any(|b| b.from == c.id));
    observed.adoptees = observed.adoptees.drain(..).map(|c| adoptable(c, &begun)).collect();
}

/// A run of the planner and the model until nothing is left to be done.
pub struct Convergence {
    pub case: Case,
    pub engine: Engine,
    /// Die before this call, once. 0 is the first one.
    pub crash_before: Option<usize>,
    /// And the engine with us.
    pub engine_too: bool,
    /// Whether a container that is not what the spec asks for passes its probes.
    pub older_is_ready: bool,
    /// Whether one that is what the spec asks for does.
    pub newest_is_ready: bool,
    /// Whether the state directory survives a crash.
    pub remembers: bool,
    /// How it ended: what is asked for was refused, and what was before serves.
    pub rolled_back: bool,
}

impl Convergence {
    pub fn of(case: Case) -> Self {
        let mut engine = Engine::new(case.observed.clone(), case.now);
        engine.side_by_side = case.spec.update.strategy == UpdateStrategy::StartFirst;
        Self {
            case,
            engine,
            crash_before: None,
            engine_too: false,
            older_is_ready: true,
            newest_is_ready: true,
            remembers: true,
            rolled_back: false,
        }
    }

    pub fn observe(&mut self) -> Plan {
        self.case.observed.clone_from(&self.engine.observed);
        self.case.now = self.engine.now;
        let newest = self.case.observed.spec_image.as_ref().map(|i| i.id.clone());
        find_adoptees(&mut self.case.observed);
        let up = |container: Option<&Container>| {
            container.is_some_and(|c| {
                let is_newest = Some(&c.image_id) == newest.as_ref();
                c.state == RunState::Running && if is_newest { self.newest_is_ready } else { self.older_is_ready }
            })
        };
        let current = self.case.observed.named("kafka").or_else(|| self.case.observed.adoptees.first());
        let next = self.case.observed.named("kafka.next");
        let asked =
            |up| ProbeState { started: up, ready: Some(up), message: "asked".to_owned(), ..ProbeState::default() };
        let (probes, next_probes) = (asked(up(current)), asked(up(next)));
        self.engine.ready = next.filter(|n| up(Some(n))).map(|n| n.id.clone()).into_iter().collect();
        (self.case.probes, self.case.next_probes) = (probes, next_probes);
        let plan = self.case.plan();
        if let Some(refusal) = &plan.refuses {
            self.case.revisions.refused = Some(refusal.clone());
        }
        plan
    }

    fn crash(&mut self) {
        self.crash_before = None;
        self.case.watched_since = self.engine.now;
        if !self.remembers {
            self.case.revisions = Revisions::default();
        }
        if self.engine_too {
            self.engine.restart();
        }
    }

    /// # Panics
    /// Where it does not converge, or breaks a promise on the way.
    pub fn run(&mut self) -> Plan {
        for _ in 0..ROUNDS {
            let plan = self.observe();
            let Some(stage) = plan.executable() else {
                self.rolled_back = plan.status.stalled.as_ref().is_some_and(|(r, _)| *r == Reason::RolledBack);
                // Where what was before is not well either, there is nothing left to do.
                let given_up = self.rolled_back && plan.wake_at.is_none();
                if plan.is_empty() && (given_up || (plan.status.ready && plan.status.settled)) {
                    return plan;
                }
                self.engine.settle();
                continue;
            };
            self.engine.begin_stage();
            for step in &stage.steps {
                if self.crash_before == Some(self.engine.trace.len()) {
                    self.crash();
                    break;
                }
                if let Err(refused) = self.engine.apply(step, "kafka") {
                    self.engine.trace.push(format!("  refused: {refused}"));
                    self.engine.settle();
                    break;
                }
            }
        }
        let plan = self.observe();
        panic!("does not converge\n{}\n{}", self.engine.trace.join("\n"), describe(&plan, self.engine.now));
    }

    pub fn names(&self) -> Vec<&str> {
        self.engine.observed.owned.iter().map(|c| c.name.as_str()).collect()
    }

    /// Nothing is left over: one container, of the spec, running; refused ones are kept, quiet.
    pub fn check(&self) {
        let trace = || format!("{:?}\n{}", self.names(), self.engine.trace.join("\n"));
        let current =
            self.engine.observed.named("kafka").unwrap_or_else(|| panic!("nothing bears the name\n{}", trace()));
        let is_newest = current.image_id == self.case.observed.spec_image.as_ref().unwrap().id;
        let whole = current.files_marker.is_some() && current.endpoints.len() == 2;
        // One that lacks something is not what was refused, but was there before, and was to be replaced for that.
        assert!(is_newest != self.rolled_back || !whole, "{}", trace());
        assert!(whole || self.rolled_back, "not whole\n{}", trace());
        assert_eq!(current.config.restart, self.case.spec.container.restart.on_engine(), "{}", trace());
        for other in self.engine.observed.owned.iter().filter(|c| c.name != "kafka") {
            let failed = other.name.ends_with(FAILED);
            assert!(failed || is_stray(other, "kafka"), "{} is left over\n{}", other.name, trace());
            assert!(!failed || !other.is_running(), "{} runs\n{}", other.name, trace());
            assert!(!failed || other.config.restart == RestartPolicy::No || self.is_one_shot(), "{}", trace());
        }
    }

    pub fn is_one_shot(&self) -> bool {
        self.case.spec.container.restart.is_one_shot()
    }
}
