use std::collections::BTreeMap;

use super::*;
use crate::clock::Timestamp;
use crate::plan::{Cause, Op, Step, Target};
use crate::resource::container::{ContainerCreate, ContainerId};
use crate::resource::image::ImageRef;
use crate::resource::labels;
use crate::resource::limits::Limits;
use crate::resource::spec::RestartPolicy;
use crate::resource::status::{About, ContainerSummary, Reason, Status, StatusDraft};
use crate::resource::units::Bytes;

fn line(happening: &Happening) -> String {
    let Happening { subject, reason, message, by } = happening;
    let subject = subject.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{subject} {reason} {message} [{by}]")
}

// ---- the engine's events -----------------------------------------------------------------------

/// Plays events of one container, `redis`, that runs unless it is said otherwise.
struct Engine {
    onlooker: Onlooker,
    time: u64,
    own: bool,
    removing: bool,
    completes: bool,
    running: bool,
    told: Vec<String>,
}

impl Engine {
    fn new() -> Self {
        let onlooker = Onlooker::new("default");
        Self { onlooker, time: 0, own: false, removing: false, completes: false, running: true, told: Vec::new() }
    }

    fn see(&mut self, thing: Thing, action: &str, more: &[(&str, &str)]) -> &mut Self {
        let mut attributes: BTreeMap<String, String> =
            more.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let about = match thing {
            Thing::Container => {
                attributes.insert(labels::STACK.to_owned(), "default".to_owned());
                attributes.insert(labels::SERVICE.to_owned(), "redis".to_owned());
                None
            }
            Thing::Network if action == "destroy" => Some(ResourceKey::network("env-manager")),
            Thing::Volume => Some(ResourceKey::volume("data")),
            Thing::Network | Thing::Image => Some(ResourceKey::service("redis")),
        };
        self.time += 10;
        let fact = EngineFact {
            thing,
            action,
            id: "c1",
            attributes: &attributes,
            time: Timestamp(self.time),
            own: self.own,
            about,
            running: self.running,
            completes: self.completes,
            memory: Some(Bytes(64 << 20)),
            removing: self.removing,
        };
        self.told.extend(self.onlooker.see(&fact).as_ref().map(line));
        self
    }

    fn container(&mut self, action: &str, more: &[(&str, &str)]) -> &mut Self {
        self.see(Thing::Container, action, more)
    }

    fn kill(&mut self, signal: &str) -> &mut Self {
        self.container("kill", &[("signal", signal)])
    }

    /// The process ends, and the engine takes it off its network.
    fn die(&mut self, code: &str) -> &mut Self {
        self.container("die", &[("exitCode", code)]).network("disconnect")
    }

    fn start(&mut self) -> &mut Self {
        self.network("connect").container("start", &[])
    }

    fn network(&mut self, action: &str) -> &mut Self {
        self.see(Thing::Network, action, &[("container", "c1"), ("name", "env-manager")])
    }

    fn tells(&mut self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut self.told), expected);
    }
}

#[test]
fn what_somebody_does_to_a_container_is_told_as_what_it_was() {
    let stopped = "redis ContainerStopped stopped outside env-manager (docker stop) [outside]";
    let killed = "redis ContainerKilled killed outside env-manager (SIGKILL) [outside]";
    let gone = "redis ContainerGone container removed outside env-manager (docker rm) [outside]";
    let started = "redis ContainerStarted started outside env-manager (docker start) [outside]";
    Engine::new().kill("15").die("0").tells(&[stopped]);
    Engine::new().kill("15").kill("9").die("137").tells(&[stopped]);
    Engine::new().kill("9").die("137").tells(&[killed]);
    Engine::new().kill("9").die("137").container("destroy", &[]).tells(&[killed, gone]);
    // docker restart
    Engine::new().kill("15").die("0").start().container("restart", &[]).tells(&[stopped, started]);
    let mut rm = Engine::new();
    rm.removing = true;
    rm.kill("9").die("137").container("destroy", &[]).tells(&[gone]);
    Engine::new().container("pause", &[]).container("unpause", &[]).tells(&[
        "redis ContainerPaused paused outside env-manager; it is left alone [outside]",
        "redis ContainerUnpaused unpaused outside env-manager [outside]",
    ]);
    Engine::new()
        .container("rename", &[("oldName", "/redis"), ("name", "redis-2")])
        .tells(&["redis ContainerRenamed renamed outside env-manager: redis → redis-2 [outside]"]);
    Engine::new().container("update", &[]).tells(&[
        "redis ContainerUpdated limits or restart policy changed outside env-manager (docker update) [outside]",
    ]);
}

#[test]
fn what_happens_by_itself_is_told_as_docker_s() {
    let ended = "redis Exited process ended with exit code 1 [docker]";
    // Docker restarts it by its policy: that is no news.
    Engine::new().die("1").start().die("1").start().tells(&[ended, ended]);
    Engine::new().die("0").tells(&["redis Exited process ended with exit code 0 [docker]"]);
    let mut job = Engine::new();
    job.completes = true;
    job.die("0").tells(&[]);
    job.start().die("1").tells(&[ended]);
    let memory = "redis OutOfMemory killed by the kernel: out of memory (limit 64 MiB) [docker]";
    Engine::new().container("oom", &[]).container("oom", &[]).die("137").tells(&[memory]);
    Engine::new().container("oom", &[]).die("1").tells(&[memory, ended]);
}

#[test]
fn a_signal_that_is_news_to_the_program_is_not_how_it_ended() {
    let mut engine = Engine::new();
    engine.kill("1").tells(&[]);
    engine.time += 60_000;
    engine.die("1").tells(&["redis Exited process ended with exit code 1 [docker]"]);
    let stopped = ["redis ContainerStopped stopped outside env-manager (docker stop) [outside]"];
    // httpd stops on SIGWINCH.
    Engine::new().kill("28").die("0").tells(&stopped);
    engine.start().kill("1").time += 60_000;
    engine.kill("15").time += 60_000;
    engine.die("0").tells(&stopped);
    // A start forgets.
    engine.start().tells(&["redis ContainerStarted started outside env-manager (docker start) [outside]"]);
    engine.die("1").tells(&["redis Exited process ended with exit code 1 [docker]"]);
}

#[test]
fn what_env_manager_did_itself_is_not_told_again() {
    let mut engine = Engine::new();
    engine.own = true;
    engine.container("create", &[]).start().kill("15").die("0").container("rename", &[]).container("update", &[]);
    engine.container("pause", &[]).start().network("disconnect").network("connect").kill("9").die("137");
    engine.container("destroy", &[]).see(Thing::Network, "destroy", &[]).see(Thing::Volume, "destroy", &[]);
    engine.see(Thing::Image, "pull", &[]).tells(&[]);
    // What it started may end by itself.
    engine.start();
    engine.own = false;
    engine.die("1").tells(&["redis Exited process ended with exit code 1 [docker]"]);
}

#[test]
fn a_network_says_something_only_while_the_container_runs() {
    let off = "redis NetworkDisconnected taken off network env-manager outside env-manager (docker network disconnect) [outside]";
    let on = "redis NetworkConnected connected to network env-manager outside env-manager [outside]";
    // The engine tells it twice.
    let mut engine = Engine::new();
    engine.network("disconnect").network("disconnect").network("connect").tells(&[off, on]);
    engine.network("disconnect").tells(&[off]);
    let mut ended = Engine::new();
    ended.running = false;
    ended.network("connect").network("disconnect").tells(&[]);
    // What was seen since is known better.
    ended.start().network("disconnect").tells(&[off]);
    Engine::new()
        .see(Thing::Network, "destroy", &[("name", "env-manager")])
        .see(Thing::Volume, "destroy", &[])
        .see(Thing::Image, "tag", &[("name", "redis:7")])
        .see(Thing::Image, "untag", &[("name", "sha256:1")])
        .tells(&[
            "network env-manager NetworkGone network removed outside env-manager (docker network rm) [outside]",
            "volume data VolumeGone volume removed outside env-manager (docker volume rm); its data is gone [outside]",
            "redis ImageMoved image redis:7 was renewed outside env-manager (docker tag) [outside]",
        ]);
}

#[test]
fn other_stacks_and_strangers_are_nobody_s_business() {
    let mut onlooker = Onlooker::new("other");
    let labelled = BTreeMap::from([
        (labels::STACK.to_owned(), "default".to_owned()),
        (labels::SERVICE.to_owned(), "redis".to_owned()),
    ]);
    let of_container = BTreeMap::from([("container".to_owned(), "c1".to_owned())]);
    let nothing = BTreeMap::new();
    for (thing, action, attributes) in [
        (Thing::Container, "die", &labelled),
        (Thing::Container, "destroy", &labelled),
        (Thing::Container, "die", &nothing),
        (Thing::Network, "destroy", &nothing),
        (Thing::Network, "disconnect", &of_container),
        (Thing::Volume, "destroy", &nothing),
        (Thing::Image, "tag", &nothing),
    ] {
        let fact = EngineFact {
            thing,
            action,
            id: "c1",
            attributes,
            time: Timestamp(1),
            own: false,
            about: None,
            running: true,
            completes: false,
            memory: None,
            removing: false,
        };
        assert_eq!(onlooker.see(&fact), None, "{thing:?} {action}");
    }
}

// ---- statuses ----------------------------------------------------------------------------------

/// Seconds.
const fn at(s: u64) -> Timestamp {
    Timestamp(s * 1_000)
}

#[derive(Clone)]
struct Draft(StatusDraft);

fn draft(ready: bool, reason: Reason, message: &str, started_at: Option<Timestamp>) -> Draft {
    Draft(StatusDraft {
        ready,
        reason,
        message: message.to_owned(),
        reconciling: None,
        stalled: None,
        dependency_failing: None,
        settled: true,
        container: started_at.map(|started_at| ContainerSummary {
            id: ContainerId::new("c1"),
            name: "kafka".to_owned(),
            image: ImageRef::parse("kafka:7").unwrap(),
            running: true,
            started_at: Some(started_at),
            restarts: 0,
            exit_code: None,
            revision: String::new(),
            ports: Vec::new(),
            stand_in: None,
        }),
    })
}

impl Draft {
    fn stalled(mut self, reason: Reason, message: &str) -> Self {
        self.0.stalled = Some((reason, message.to_owned()));
        self
    }

    fn reconciling(mut self, reason: Reason, message: &str) -> Self {
        self.0.reconciling = Some((reason, message.to_owned()));
        self
    }

    fn failing(mut self, message: &str) -> Self {
        self.0.dependency_failing = Some(message.to_owned());
        self
    }
}

fn pending() -> Draft {
    draft(false, Reason::Pending, "nothing runs yet", None)
}

fn starting(started_at: Timestamp) -> Draft {
    draft(false, Reason::Starting, "started; waiting for its probe", Some(started_at))
}

fn ready(started_at: Timestamp) -> Draft {
    draft(true, Reason::ProbeSucceeded, "HTTP 200 from /health", Some(started_at))
}

fn not_ready(started_at: Timestamp, message: &str) -> Draft {
    draft(false, Reason::ProbeFailed, message, Some(started_at))
}

/// Publishes statuses of `kafka` one after another, and gathers what is told.
#[derive(Default)]
struct Story {
    status: Option<Status>,
    ended: Option<&'static str>,
}

impl Story {
    fn tells(&mut self, now: Timestamp, draft: Draft, expected: &[&str]) -> &mut Self {
        let about = About {
            required: true,
            generation: 1,
            image: Some(ImageRef::parse("kafka:7").unwrap()),
            depends_on: Vec::new(),
            revision: "".into(),
        };
        let after = Status::from_draft(draft.0, about, self.status.as_ref(), now);
        let told = status_change(&ResourceKey::service("kafka"), self.status.as_ref(), Some(&after), self.ended, now);
        assert_eq!(told.iter().map(line).collect::<Vec<_>>(), expected, "at {now}");
        self.status = Some(after);
        self
    }
}

#[test]
fn a_service_that_comes_up_is_told_once_with_the_time_since_its_start() {
    let now = Timestamp(10_900);
    Story::default()
        .tells(at(5), pending(), &[])
        .tells(at(9), pending().reconciling(Reason::Creating, "creating the container"), &[])
        .tells(at(10), starting(at(10)), &[])
        .tells(now, ready(at(10)), &["kafka Ready after 0.9 s [env-manager]"])
        .tells(at(20), draft(true, Reason::ProbeSucceeded, "HTTP 204 from /health", Some(at(10))), &[]);
}

#[test]
fn a_first_look_tells_of_trouble_alone() {
    Story::default().tells(at(100), ready(at(1)), &[]);
    Story::default().tells(at(100), starting(at(1)), &[]).tells(at(101), ready(at(1)), &[]);
    Story::default().tells(at(100), draft(true, Reason::Completed, "completed with exit code 0", None), &[]);
    Story::default().tells(at(100), not_ready(at(1), "HTTP 503"), &["kafka NotReady HTTP 503 [env-manager]"]).tells(
        at(112),
        ready(at(1)),
        &["kafka Ready again after 12 s [env-manager]"],
    );
    let paused = draft(false, Reason::Paused, "paused; left alone", Some(at(1)));
    Story::default().tells(
        at(100),
        paused.stalled(Reason::Paused, "paused; left alone"),
        &["kafka NotReady paused; left alone [env-manager]"],
    );
}

#[test]
fn a_probe_that_fails_is_told_once_whatever_its_words_and_again_when_it_is_well() {
    Story::default()
        .tells(at(1), ready(at(0)), &[])
        .tells(
            at(20),
            not_ready(at(0), "HTTP 503 from /health"),
            &["kafka NotReady HTTP 503 from /health [env-manager]"],
        )
        .tells(at(25), not_ready(at(0), "HTTP 500 from /health"), &[])
        .tells(at(32), ready(at(0)), &["kafka Ready again after 12 s [env-manager]"])
        .tells(
            at(40),
            not_ready(at(0), "HTTP 503 from /health"),
            &["kafka NotReady HTTP 503 from /health [env-manager]"],
        );
}

#[test]
fn a_restart_that_nobody_saw_begin_is_told_when_it_is_up() {
    Story::default()
        .tells(at(1), ready(at(0)), &[])
        // By Docker, faster than anybody looks: not ready is noticed after the new start.
        .tells(at(51), starting(at(50)), &[])
        .tells(at(53), ready(at(50)), &["kafka Ready after 3.0 s [env-manager]"]);
}

#[test]
fn a_crash_loop_is_the_same_event_each_time() {
    let looping = |text: &str| draft(false, Reason::CrashLoop, text, None).reconciling(Reason::CrashLoop, text);
    let told =
        "kafka BackOff its process keeps ending (exited with code 1); it is started again after a pause [env-manager]";
    Story { ended: Some("exited with code 1"), ..Story::default() }
        .tells(at(1), ready(at(0)), &[])
        .tells(at(2), looping("exited with code 1; Docker has restarted it once"), &[told])
        .tells(at(3), looping("exited with code 1; Docker has restarted it 2 times"), &[])
        .tells(at(4), starting(at(4)), &[])
        .tells(at(5), looping("exited with code 1; Docker has restarted it 3 times"), &[told])
        .tells(at(6), looping("x").stalled(Reason::CrashLoop, "x"), &[])
        .tells(at(30), ready(at(20)), &["kafka Ready after 10 s [env-manager]"]);
}

#[test]
fn pulls_are_told_when_they_begin_and_when_they_fail() {
    let pull = |text: &str| pending().reconciling(Reason::Pulling, text);
    Story::default()
        .tells(at(1), pull("needs image kafka:7"), &[])
        .tells(at(2), pull("pulling kafka:7"), &["kafka Pulling pulling kafka:7 [env-manager]"])
        .tells(at(3), pull("pulling kafka:7: 3 of 90 MB"), &[])
        .tells(
            at(4),
            pull("the registry does not answer; next try in 2 s"),
            &["kafka PullFailed the registry does not answer; next try in 2 s [env-manager]"],
        )
        .tells(at(5), pull("the registry does not answer; next try in 1 s"), &[])
        .tells(at(6), pull("pulling kafka:7"), &["kafka Pulling pulling kafka:7 [env-manager]"])
        .tells(
            at(7),
            pending().stalled(Reason::ImageNotFound, "no such image"),
            &["kafka PullFailed no such image [env-manager]"],
        );
}

#[test]
fn what_is_stuck_is_told_by_its_kind_and_what_others_tell_is_not() {
    for (reason, expected) in [
        (Reason::PortConflict, Some("kafka Conflict why [env-manager]")),
        (Reason::StartupDeadlineExceeded, Some("kafka Stalled why [env-manager]")),
        (Reason::ExitedWithError, Some("kafka Stalled why [env-manager]")),
        (Reason::DependencyStalled, Some("kafka DependencyNotReady why [env-manager]")),
        (Reason::ManifestInvalid, None),
        (Reason::PruneRefused, None),
    ] {
        let stuck = pending().stalled(reason, "why");
        let expected: Vec<_> = expected.into_iter().collect();
        Story::default().tells(at(1), pending(), &[]).tells(at(2), stuck.clone(), &expected).tells(at(3), stuck, &[]);
    }
    // The step that failed has told.
    let retrying = pending().reconciling(Reason::RetryBackoff, "attempt 1 of 3 failed: no space");
    Story::default().tells(at(1), retrying, &[]);
    let done = draft(true, Reason::Completed, "completed with exit code 0", None);
    Story::default()
        .tells(at(1), pending(), &[])
        .tells(at(2), done.clone(), &["kafka Completed ran to its end with exit code 0 [env-manager]"])
        .tells(at(3), done, &[]);
}

#[test]
fn a_dependency_that_fails_and_is_well_again_is_told_of_what_needs_it() {
    Story::default()
        .tells(at(1), ready(at(0)), &[])
        .tells(
            at(2),
            ready(at(0)).failing("zookeeper is starting"),
            &["kafka DependencyNotReady zookeeper is starting; kafka is left running [env-manager]"],
        )
        .tells(at(3), ready(at(0)).failing("zookeeper is not ready"), &[])
        .tells(at(4), ready(at(0)), &["kafka DependencyReady everything that it needs is well again [env-manager]"]);
    assert!(status_change(&ResourceKey::service("kafka"), None, None, None, at(1)).is_empty());
}

// ---- steps -------------------------------------------------------------------------------------

fn create(name: &str) -> Op {
    Op::CreateContainer(Box::new(ContainerCreate::plain(name, "cp-kafka:7.9.1")))
}

#[test]
fn drift_is_told_field_by_field_and_not_without_end() {
    use crate::plan::FieldChange;
    use crate::plan::types::ClosedBy;
    let change = |field: &str, closed_by, cause| FieldChange {
        field: field.to_owned(),
        old: Some("48MiB".to_owned()),
        new: None,
        closed_by,
        cause,
    };
    let key = ResourceKey::service("kafka");
    let changes = [
        change("resources.memory", ClosedBy::Replace, Cause::ChangedOutside),
        change("resources.pids", ClosedBy::InPlace, Cause::SpecChanged),
    ];
    let told: Vec<_> = drift(&key, &changes).iter().map(line).collect();
    assert_eq!(
        told,
        [
            "kafka DriftFound resources.memory: 48MiB → (unset) (changed outside env-manager); takes another container \
             [outside]",
            "kafka DriftFound resources.pids: 48MiB → (unset) (spec differs); changed in place [outside]",
        ]
    );
    let many: Vec<_> = (0..50).map(|n| change(&format!("env.{n}"), ClosedBy::Replace, Cause::SpecChanged)).collect();
    let told = drift(&key, &many);
    assert_eq!((told.len(), told[20].message.as_str()), (21, "and 30 fields more"));
}

#[test]
fn steps_read_well() {
    let target = |name: &str| Target::Existing { id: ContainerId::new("c1"), name: name.to_owned() };
    let rename = |from: &str, to: &str| Op::Rename { target: target(from), to: to.to_owned() };
    let limits = Limits { pids: Some(9), ..Limits::default() };
    let limits = Op::UpdateLimits { target: target("kafka"), limits };
    let policy = Op::SetRestartPolicy { target: target("kafka"), policy: RestartPolicy::No };
    for (op, cause, expected) in [
        (create("kafka"), Cause::Missing, "Created from image cp-kafka:7.9.1, generation 2"),
        (
            create("kafka.next"),
            Cause::SpecChanged,
            "Created kafka.next, the replacement, from image cp-kafka:7.9.1, generation 2 (spec differs)",
        ),
        (Op::Start(target("kafka")), Cause::Missing, "Started container kafka"),
        (Op::Start(target("kafka")), Cause::NotRunning, "Started container kafka (not running)"),
        (Op::Start(target("kafka")), Cause::LivenessFailed, "Restarted container kafka (liveness probe failed)"),
        (limits, Cause::ChangedOutside, "Updated limits of kafka set to pids 9 (changed outside env-manager)"),
        (policy, Cause::SpecChanged, "Updated restart policy of kafka set to no (spec differs)"),
        (
            rename("kafka", "kafka.old"),
            Cause::SpecChanged,
            "Renamed kafka → kafka.old: it makes way for its replacement (spec differs)",
        ),
        (rename("kafka.next", "kafka"), Cause::Missing, "Renamed kafka.next → kafka: the replacement takes its place"),
        (rename("kafka.old", "kafka"), Cause::Missing, "Renamed kafka.old → kafka: taken back"),
        (rename("kafka-2", "kafka"), Cause::ChangedOutside, "Renamed kafka-2 → kafka (changed outside env-manager)"),
        (
            Op::RemoveContainer(target("kafka.old")),
            Cause::Superseded,
            "Removed container kafka.old (the replacement is ready)",
        ),
        (Op::RemoveVolume { name: "data".to_owned() }, Cause::Down, "Removed volume data and the data in it (down)"),
    ] {
        let told = step(&ResourceKey::service("kafka"), &Step { op, cause }, 2, Ok(())).unwrap();
        assert_eq!(line(&told), format!("kafka {expected} [env-manager]"));
    }
    let failed = Step { op: Op::Start(target("kafka")), cause: Cause::Missing };
    let told = step(&ResourceKey::service("kafka"), &failed, 2, Err("port is already allocated")).unwrap();
    let expected = "kafka ActionFailed start container kafka: port is already allocated [env-manager]";
    assert_eq!(line(&told), expected);
}
