//! Redis is killed within the write of a script to its file: at each command of each script.
//!
//! The first start after it undoes the script, and leaves its head in the file; the second one carries the head out,
//! before what was written meanwhile. (Redis 7.0.15; where that is mended these tests show less.)

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;

use super::*;
use crate::tasks::store::ClassDepth;

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Submit,
    Lease,
    Complete,
    FailForNow,
    FailForLater,
    FailForEver,
    Release,
    CancelWaiting,
    CancelDelayed,
    CancelRunning,
    Requeue,
    SweepLapsed,
    SweepDue,
    SweepEnded,
    SweepDead,
}

/// What is done between the two starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    /// Something else.
    Other,
    /// The same again, as by a client that got no answer.
    Again,
    /// All that is there is worked on, as if nobody had asked for the act.
    Work,
}

fn long(text: &str) -> String {
    text.repeat(100)
}

/// With texts that do not fit into a record.
fn task(name: &str) -> NewTask {
    NewTask { workflow_id: long("w"), ..short(name) }
}

impl Act {
    /// Before it: `t` as the act needs it, and `u` which waits. `t`'s lease, where it has one.
    async fn prepare(self, rig: &Rig) -> Option<Lease> {
        rig.submit(&[task("t"), task("u")]).await;
        if matches!(self, Self::Submit | Self::Lease | Self::CancelWaiting) {
            return None;
        }
        let lease = rig.store.lease(&long("w"), &[(Class::CpuShort, 1)], HOUR).await.unwrap().remove(0);
        assert_eq!(lease.id, id("t"));
        let fail = async |retry| rig.store.fail(&lease.id, &lease.token, "", retry).await.unwrap();
        match self {
            Self::CancelDelayed => drop(fail(Retry::After(HOUR)).await),
            Self::SweepDue => {
                fail(Retry::After(Duration::from_millis(1))).await;
                // Its record says when; that moment has come.
                let key = rig.store.key("z:cpu_short");
                let member: Vec<String> = rig.redis.command(&["ZRANGE", &key, "0", "0"]).await.unwrap();
                let _: i64 = rig.redis.command(&["ZADD", &key, "XX", "0", &member[0]]).await.unwrap();
            }
            Self::Requeue | Self::SweepDead => drop(fail(Retry::Never).await),
            Self::SweepEnded => drop(rig.store.complete(&lease.id, &lease.token, &json("1")).await.unwrap()),
            Self::SweepLapsed => lapse(rig).await,
            _ => {}
        }
        Some(lease)
    }

    async fn act(self, rig: &Rig, lease: Option<&Lease>) {
        let fail = async |retry| {
            let lease = lease.unwrap();
            rig.store.fail(&lease.id, &lease.token, &long("e"), retry).await.unwrap();
        };
        match self {
            Self::Submit => drop(rig.store.submit(&[task("v"), task("w")]).await.unwrap()),
            Self::Lease => {
                rig.store.lease(&long("w"), &[(Class::CpuShort, 2)], HOUR).await.unwrap();
            }
            Self::Complete => {
                let lease = lease.unwrap();
                rig.store.complete(&lease.id, &lease.token, &json("\"first\"")).await.unwrap();
            }
            Self::FailForNow => fail(Retry::After(Duration::ZERO)).await,
            Self::FailForLater => fail(Retry::After(Duration::from_millis(1))).await,
            Self::FailForEver => fail(Retry::Never).await,
            Self::Release => drop(rig.store.release(&lease.unwrap().id, &lease.unwrap().token).await.unwrap()),
            Self::CancelWaiting | Self::CancelDelayed | Self::CancelRunning => {
                rig.store.cancel(&id("t"), &long("c")).await.unwrap();
            }
            Self::Requeue => drop(rig.store.requeue(&id("t")).await.unwrap()),
            Self::SweepLapsed | Self::SweepDue => drop(rig.store.sweep().await.unwrap()),
            // Of another daemon: it keeps nothing that has ended.
            Self::SweepEnded | Self::SweepDead => drop(sweeper(rig).sweep().await.unwrap()),
        }
    }

    /// States that `name` may have in the end; `None`: it may be unknown.
    fn ends(self, name: &str, then: Then) -> Vec<Option<State>> {
        let done = Some(State::Completed);
        let special = match (self, name) {
            (Self::CancelWaiting | Self::CancelDelayed | Self::CancelRunning, "t") => Some(State::Cancelled),
            (Self::FailForEver, "t") => Some(State::Failed),
            // Nobody else asks for it again.
            (Self::Requeue, "t") if then != Then::Again => return vec![Some(State::Failed), done],
            (Self::SweepEnded, "t") => return vec![None, done],
            (Self::SweepDead, "t") => return vec![None, Some(State::Failed)],
            _ => return vec![done],
        };
        if then == Then::Again { vec![special] } else { vec![special, done] }
    }
}

fn sweeper(rig: &Rig) -> RedisStore {
    let settings = TaskSettings { result_ttl: Duration::ZERO, max_dead: 0, ..rig.settings.clone() };
    RedisStore::connect(&settings, "test").unwrap()
}

/// All leases are over, and all pauses.
async fn lapse(rig: &Rig) {
    for set in ["l:cpu_short", "z:cpu_short"] {
        let key = rig.store.key(set);
        let members: Vec<String> = rig.redis.command(&["ZRANGE", &key, "0", "-1"]).await.unwrap();
        for member in members {
            let _: i64 = rig.redis.command(&["ZADD", &key, "XX", "0", &member]).await.unwrap();
            let _: i64 =
                rig.redis.command(&["HDEL", &rig.store.key(&format!("t:{}", &member[17..])), "due"]).await.unwrap();
        }
    }
}

/// Until nothing waits or runs any more. How often each ran.
async fn work(rig: &Rig) -> BTreeMap<String, usize> {
    let mut runs = BTreeMap::new();
    for _ in 0..20 {
        lapse(rig).await;
        rig.store.sweep().await.unwrap();
        for lease in rig.lease(Class::CpuShort, 20).await {
            assert_eq!(lease.payload, short(lease.id.as_str()).payload, "{}", lease.id);
            assert_eq!(lease.workflow_id, long("w"), "{}", lease.id);
            let result = json("\"then\"");
            assert_eq!(rig.store.complete(&lease.id, &lease.token, &result).await.unwrap(), Answer::Ok);
            *runs.entry(lease.id.as_str().to_owned()).or_default() += 1;
        }
        if *rig.store.depths().await.unwrap().by_class.of(Class::CpuShort) == ClassDepth::default() {
            return runs;
        }
    }
    panic!("there is no end: {:?}", rig.store.depths().await);
}

/// The file that Redis writes to.
fn file(rig: &Rig) -> PathBuf {
    let mut files = std::fs::read_dir(rig.redis.folder.path().join("appendonlydir")).unwrap();
    let name = |f: &std::fs::DirEntry| f.file_name().to_string_lossy().ends_with(".incr.aof");
    files.find_map(|f| f.ok().filter(name)).expect("an append-only file").path()
}

/// Where each command of a part of the file begins; commands are arrays of texts.
fn commands(bytes: &[u8], part: Range<usize>) -> Vec<usize> {
    let number = |at: usize| {
        let end = at + bytes[at..].iter().position(|b| *b == b'\r').unwrap();
        (std::str::from_utf8(&bytes[at + 1..end]).unwrap().parse::<usize>().unwrap(), end + 2)
    };
    let (mut at, mut begins) = (part.start, Vec::new());
    while at < part.end {
        begins.push(at);
        let (words, mut next) = number(at);
        for _ in 0..words {
            let (length, text) = number(next);
            next = text + length + 2;
        }
        at = next;
    }
    begins
}

/// With this as its file.
async fn start_with(rig: &mut Rig, path: &PathBuf, bytes: &[u8]) {
    rig.redis.kill();
    std::fs::write(path, bytes).unwrap();
    rig.redis.start_again().await;
    until("it answers", async || rig.store.depths().await.ok()).await;
}

async fn is_harmless(act: Act) {
    let Some(mut rig) = Rig::with(|s| s.backoff = crate::backoff::Backoff::default()).await else { return };
    let lease = act.prepare(&rig).await;
    let path = file(&rig);
    let before = std::fs::read(&path).unwrap().len();
    act.act(&rig, lease.as_ref()).await;
    let bytes = std::fs::read(&path).unwrap();
    let commands = commands(&bytes, before..bytes.len());
    assert!(commands.len() > 3, "{act:?} is a transaction");
    for then in [Then::Other, Then::Again, Then::Work] {
        // Within each of its commands; within the last one, EXEC, all the others are there.
        for (number, begins) in commands.iter().enumerate() {
            let context = format!("{act:?} cut at command {number} of {}, then {then:?}", commands.len());
            start_with(&mut rig, &path, &bytes[..begins + 3]).await;
            match then {
                Then::Other => rig.submit(&[task("other")]).await,
                Then::Again => act.act(&rig, lease.as_ref()).await,
                Then::Work => drop(work(&rig).await),
            }
            let meanwhile = std::fs::read(&path).unwrap();
            start_with(&mut rig, &path, &meanwhile).await;
            // Again, since nobody was answered.
            if act == Act::Submit {
                act.act(&rig, None).await;
            }
            let runs = work(&rig).await;
            if then == Then::Work && act != Act::Submit {
                assert!(runs.values().all(|n| *n == 1), "{context}: {runs:?}");
            }
            let names = match (act, then) {
                (Act::Submit, _) => &["t", "u", "v", "w"][..],
                (_, Then::Other) => &["t", "u", "other"],
                _ => &["t", "u"],
            };
            for name in names {
                let found = rig.store.get(&ids(&[name]), true).await.unwrap().remove(0);
                let may = act.ends(name, then);
                assert!(may.contains(&found.as_ref().map(|t| t.state)), "{context}: {name}: {found:?}, {may:?}");
            }
            let listed = rig.store.list(&[State::Pending, State::Running], None, None, 10).await.unwrap();
            assert!(listed.tasks.is_empty(), "{context}: {listed:?}");
        }
    }
}

/// As after a submission that was cut off, and came again with another class.
#[tokio::test]
async fn p20_a_task_is_leased_as_one_of_its_records_class_alone() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[task("t")]).await;
    let keys = [Class::CpuShort, Class::CpuLong].map(|class| rig.store.key(&format!("w:{}", class.name())));
    let member: Vec<String> = rig.redis.command(&["ZRANGE", &keys[0], "0", "0"]).await.unwrap();
    let _: i64 = rig.redis.command(&["ZADD", &keys[1], "0", &member[0]]).await.unwrap();
    assert!(rig.lease(Class::CpuLong, 1).await.is_empty());
    assert_eq!(names(&rig.lease(Class::CpuShort, 1).await), ["t"]);
    assert_eq!(*rig.store.depths().await.unwrap().by_class.of(Class::CpuLong), ClassDepth::default());
}

#[tokio::test]
async fn p20_a_submission_that_was_cut_off_is_harmless() {
    is_harmless(Act::Submit).await;
}

#[tokio::test]
async fn p20_a_lease_that_was_cut_off_is_harmless() {
    is_harmless(Act::Lease).await;
}

#[tokio::test]
async fn p20_a_completion_that_was_cut_off_is_harmless() {
    is_harmless(Act::Complete).await;
}

#[tokio::test]
async fn p20_a_failure_that_was_cut_off_is_harmless() {
    is_harmless(Act::FailForNow).await;
}

#[tokio::test]
async fn p20_a_failure_with_a_pause_that_was_cut_off_is_harmless() {
    is_harmless(Act::FailForLater).await;
}

#[tokio::test]
async fn p20_a_last_failure_that_was_cut_off_is_harmless() {
    is_harmless(Act::FailForEver).await;
}

#[tokio::test]
async fn p20_a_release_that_was_cut_off_is_harmless() {
    is_harmless(Act::Release).await;
}

#[tokio::test]
async fn p20_a_cancellation_that_was_cut_off_is_harmless() {
    is_harmless(Act::CancelWaiting).await;
}

#[tokio::test]
async fn p20_a_cancellation_of_a_delayed_one_that_was_cut_off_is_harmless() {
    is_harmless(Act::CancelDelayed).await;
}

#[tokio::test]
async fn p20_a_cancellation_of_a_running_one_that_was_cut_off_is_harmless() {
    is_harmless(Act::CancelRunning).await;
}

#[tokio::test]
async fn p20_a_requeue_that_was_cut_off_is_harmless() {
    is_harmless(Act::Requeue).await;
}

#[tokio::test]
async fn p20_a_sweep_of_lapsed_leases_that_was_cut_off_is_harmless() {
    is_harmless(Act::SweepLapsed).await;
}

#[tokio::test]
async fn p20_a_sweep_of_pauses_that_was_cut_off_is_harmless() {
    is_harmless(Act::SweepDue).await;
}

#[tokio::test]
async fn p20_a_sweep_of_results_that_was_cut_off_is_harmless() {
    is_harmless(Act::SweepEnded).await;
}

#[tokio::test]
async fn p20_a_sweep_of_dead_ones_that_was_cut_off_is_harmless() {
    is_harmless(Act::SweepDead).await;
}
