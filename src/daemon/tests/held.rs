//! Suspended, stopped on purpose: hands off, whatever the manifests, the engine and the daemon do (P19).

use futures_util::StreamExt;

use super::*;
use crate::resource::observed::RunState;

fn user() -> Actor {
    Actor::Caller("uid 0".to_owned())
}

impl World {
    fn set(&self, name: &str, value: &str) {
        self.edit(|folder| drop(folder.services.insert(name.to_owned(), value.to_owned())));
    }

    fn forget(&self, name: &str) {
        self.edit(|folder| drop(folder.services.remove(name)));
    }

    /// Names and ids of what a service has on the engine.
    fn of(&self, name: &str) -> Vec<(String, String)> {
        let part = |other: &str| other == name || other.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let all = self.engine.all().into_iter().filter(|c| part(&c.name));
        all.map(|c| (c.name, c.id.0.to_string())).collect()
    }

    /// But for those of the lease.
    fn calls(&self) -> Vec<String> {
        self.engine.calls().into_iter().filter(|call| !call.contains("env-manager-lease")).collect()
    }

    fn runs(&self, container: &str) -> bool {
        self.engine.all().iter().any(|c| c.name == container && c.state == RunState::Running)
    }

    fn starts_by_itself(&self, container: &str) {
        self.engine.change_behind_our_back(container, "start", |c| c.state = RunState::Running);
    }

    fn ends_by_itself(&self, container: &str) {
        self.engine.change_behind_our_back(container, "die", |c| c.state = RunState::Exited);
    }
}

impl Running {
    async fn suspend(&self, name: &str) {
        assert_eq!(self.handle.suspend(vec![name.to_owned()], user()).await.unwrap(), [name]);
    }

    async fn resume(&self, name: &str) {
        assert_eq!(self.handle.resume(vec![name.to_owned()], user()).await.unwrap().0, [name]);
    }

    fn message(&self, name: &str) -> String {
        self.handle.view().statuses[&ResourceKey::service(name)].message.clone()
    }
}

/// Long enough for resyncs, prunes and backoffs.
async fn a_while() {
    tokio::time::sleep(Duration::from_mins(10)).await;
}

#[tokio::test(start_paused = true)]
async fn p19_suspended_at_any_step_of_a_rollout_it_stays_so_and_one_of_it_serves() {
    let mut calls_of_a_rollout = usize::MAX;
    let mut at = 0;
    while at <= calls_of_a_rollout {
        let world = World::new(&["app"]);
        let daemon = world.run().await;
        daemon.converged().await;
        world.engine.forget_calls();
        world.set("app", "2");
        if at == 0 {
            daemon.sync().await;
            daemon.converged().await;
            calls_of_a_rollout = world.calls().len();
            assert!(calls_of_a_rollout >= 6, "{:?}", world.calls());
            at += 1;
            daemon.end().await.unwrap();
            continue;
        }
        let (handle, mut told) = (daemon.handle.clone(), world.engine.events(None));
        let sync = async { handle.sync(Vec::new(), false, user()).await };
        let suspend = async {
            // One for each call.
            for _ in 0..at {
                told.next().await.unwrap().unwrap();
            }
            daemon.suspend("app").await;
        };
        let _ = tokio::join!(sync, suspend);
        let (left, calls) = (world.of("app"), world.calls());
        let story = format!("suspended at call {at}: {calls:?} left {left:?}");
        assert!(world.runs("app") || world.runs("app.old"), "nothing serves: {story}");
        assert_eq!(daemon.phase("app"), Phase::Suspended, "{story}");
        // New revisions, syncs, resyncs, and a new daemon.
        world.set("app", "3");
        daemon.sync().await;
        a_while().await;
        daemon.end().await.unwrap();
        let daemon = world.run().await;
        daemon.converged().await;
        a_while().await;
        assert_eq!((world.of("app"), world.calls()), (left, calls), "{story}");
        daemon.resume("app").await;
        daemon.converged().await;
        let value: Vec<_> = world.engine.all().into_iter().map(|c| c.config.env["VALUE"].clone()).collect();
        assert_eq!(world.running(), ["app"], "{story}");
        assert_eq!(value, ["3"], "{story}");
        daemon.end().await.unwrap();
        at += 1;
    }
}

#[tokio::test(start_paused = true)]
async fn p19_what_is_suspended_and_no_longer_described_is_kept_until_it_is_resumed() {
    let world = World::new(&["app", "db", "web"]);
    let daemon = world.run().await;
    daemon.converged().await;
    daemon.suspend("web").await;
    let before = world.of("web");
    world.engine.forget_calls();
    world.forget("web");
    daemon.sync().await;
    daemon.handle.sync(Vec::new(), true, user()).await.unwrap();
    a_while().await;
    daemon.converged().await;
    assert_eq!(daemon.phase("web"), Phase::Suspended);
    assert!(daemon.message("web").contains("no good manifest describes it"), "{}", daemon.message("web"));
    let notes = daemon.handle.view().notes;
    assert!(
        matches!(&notes[..], [note] if note.contains("web") && note.contains("it is suspended by caller uid 0")),
        "{notes:?}"
    );
    daemon.end().await.unwrap();

    let daemon = world.run().await;
    daemon.converged().await;
    assert_eq!(daemon.phase("web"), Phase::Suspended);
    a_while().await;
    assert_eq!((world.of("web"), world.calls()), (before, Vec::new()));
    assert_eq!(daemon.sync().await.services, 2, "that a manifest describes");
    daemon.resume("web").await;
    assert!(!daemon.handle.view().is_converged(), "it is about to go");
    daemon.until("it is gone", |_| world.running() == ["app", "db"]).await;
    daemon.until("nothing is noted any more", |view| view.notes.is_empty() && view.is_converged()).await;
    assert!(!daemon.handle.view().statuses.contains_key(&ResourceKey::service("web")));
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p19_a_manifest_that_is_broken_or_comes_back_changes_nothing_of_what_is_suspended() {
    let world = World::new(&["app", "db", "web"]);
    world.set("db", "1 suspended");
    let daemon = world.run().await;
    // It was suspended before it was ever made.
    daemon.converged().await;
    assert_eq!(world.running(), ["app", "web"]);
    world.set("db", "1");
    daemon.sync().await;
    daemon.converged().await;
    world.set("db", "1 suspended");
    daemon.sync().await;
    daemon.suspend("app").await;
    let before = (world.of("app"), world.of("db"));
    for name in ["app", "db"] {
        world.edit(|folder| drop(folder.broken.insert(name.to_owned(), "unknown field `imagge`".to_owned())));
        daemon.sync().await;
        assert_eq!(daemon.phase(name), Phase::Suspended);
    }
    world.engine.forget_calls();
    world.ends_by_itself("app");
    world.ends_by_itself("db");
    a_while().await;
    daemon.end().await.unwrap();
    // It does not know the last good specs any more.
    let daemon = world.run().await;
    let are_suspended = |_: &View| ["app", "db"].iter().all(|name| daemon.phase(name) == Phase::Suspended);
    daemon.until("both are suspended", are_suspended).await;
    a_while().await;
    assert_eq!(((world.of("app"), world.of("db")), world.calls()), (before, Vec::new()));
    assert!(!daemon.handle.view().is_converged(), "two manifests are broken");

    // Resumed, it is what a broken manifest makes of it: kept running as it was.
    daemon.resume("app").await;
    daemon.until("it runs again", |_| world.runs("app")).await;
    assert!(!world.runs("db"));
    world.edit(|folder| folder.broken.clear());
    daemon.sync().await;
    daemon.converged().await;
    assert!(!world.runs("db"), "its manifest says `suspend: true`");
    world.set("db", "1");
    daemon.sync().await;
    daemon.converged().await;
    assert!(world.runs("db"));
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p19_what_is_suspended_is_not_restarted_and_the_refusal_says_how_to_go_on() {
    let world = World::new(&["app"]);
    let daemon = world.run().await;
    daemon.converged().await;
    daemon.suspend("app").await;
    world.engine.forget_calls();
    let refused = daemon.handle.restart(vec!["app".to_owned()], user()).await.unwrap_err().to_string();
    assert_eq!(refused, "app is suspended: `env-manager resume app` first");
    daemon.handle.retry(vec!["app".to_owned()], user()).await.unwrap();
    a_while().await;
    assert_eq!(world.calls(), [""; 0]);
    // One that was asked for before is not made up for afterwards.
    daemon.resume("app").await;
    a_while().await;
    assert_eq!(world.calls(), [""; 0]);
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p19_who_is_suspended_stays_on_a_network_that_is_to_be_replaced() {
    let world = World::new(&["app", "db"]);
    let daemon = world.run().await;
    daemon.converged().await;
    daemon.suspend("app").await;
    world.engine.forget_calls();
    world.edit(|folder| folder.internal = true);
    daemon.sync().await;
    let waits = |view: &View| view.statuses[&ResourceKey::network("net")].message.contains("app is attached to it");
    daemon.until("the network waits", waits).await;
    a_while().await;
    assert_eq!(world.calls(), [""; 0]);
    daemon.resume("app").await;
    daemon.until("it is replaced", |view| !world.calls().is_empty() && view.is_converged()).await;
    assert_eq!(world.running(), ["app", "db"]);
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p19_what_its_manifest_stops_stays_stopped_and_is_kept() {
    let world = World::new(&["app"]);
    let daemon = world.run().await;
    daemon.converged().await;
    let before = world.of("app");
    world.set("app", "1 stopped");
    daemon.sync().await;
    daemon.converged().await;
    assert_eq!((daemon.phase("app"), world.runs("app")), (Phase::Stopped, false));
    world.set("app", "2 stopped");
    daemon.sync().await;
    a_while().await;
    daemon.end().await.unwrap();
    let daemon = world.run().await;
    daemon.converged().await;
    a_while().await;
    assert_eq!((world.of("app"), world.runs("app")), (before.clone(), false));
    // Somebody starts it: it is stopped again.
    world.starts_by_itself("app");
    daemon.until("it is stopped again", |view| view.is_converged() && !world.runs("app")).await;
    world.set("app", "2");
    daemon.sync().await;
    daemon.converged().await;
    assert!(world.runs("app") && world.of("app") != before, "it takes what changed meanwhile");
    daemon.end().await.unwrap();
}
