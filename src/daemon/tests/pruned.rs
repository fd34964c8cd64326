//! What no manifest describes any more: when it goes, why it stays, and how that is told (P5, P6; rules 1–3).

use super::*;
use crate::resource::key::Kind;

const SERVICES: [&str; 4] = ["app", "db", "redis", "web"];

impl World {
    fn describe(&self, services: &[&str]) {
        let services = services.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        self.edit(|folder| folder.services = services);
    }
}

impl Running {
    async fn sync_allowing(&self) {
        self.handle.sync(Vec::new(), true, Actor::Caller("test".to_owned())).await.unwrap();
    }

    /// Name and reason of the services that are kept.
    fn kept(&self) -> Vec<(String, &'static str)> {
        let kept = self.handle.view().kept;
        let services = kept.iter().filter(|kept| kept.key.kind == Kind::Service);
        services.map(|kept| (kept.key.name.to_string(), kept.reason)).collect()
    }

    /// What refusals were told of a service, and how often in all.
    fn told(&self, service: &str) -> (usize, u64) {
        let all = self.handle.history().list(&[ResourceKey::service(service)], None);
        let refusals: Vec<_> = all.into_iter().filter(|e| e.reason == EventReason::PruneRefused).collect();
        (refusals.len(), refusals.iter().map(|e| e.count).sum())
    }
}

#[tokio::test(start_paused = true)]
async fn p06_what_is_kept_is_listed_with_its_reason_and_told_once() {
    let world = World::new(&SERVICES);
    let daemon = world.run().await;
    daemon.converged().await;
    world.describe(&["app"]);
    daemon.sync().await;
    let expected = ["db", "redis", "web"].map(|name| (name.to_owned(), "TooMany"));
    daemon.until("it is listed", |_| daemon.kept() == expected).await;
    let view = daemon.handle.view();
    assert_eq!((view.notes.len(), view.kept.len()), (3, 3), "a note each");
    assert!(view.kept[0].message.contains("3 of 4 services") && view.kept[0].message.contains("--allow-prune"));
    // Syncs and resyncs tell nothing new.
    for _ in 0..3 {
        daemon.sync().await;
        tokio::time::sleep(Duration::from_mins(5)).await;
    }
    assert_eq!(["app", "db", "redis", "web"].map(|name| daemon.told(name)), [(0, 0), (1, 1), (1, 1), (1, 1)]);
    // One comes back: what is kept now is kept no longer for this reason.
    world.describe(&["app", "db", "redis"]);
    daemon.sync().await;
    daemon.converged().await;
    assert_eq!((world.running(), daemon.kept()), (vec!["app".to_owned(), "db".to_owned(), "redis".to_owned()], vec![]));
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p06_an_allowance_holds_for_one_revision_of_the_manifests() {
    let world = World::new(&SERVICES);
    let daemon = world.run().await;
    daemon.converged().await;
    // Allowed while nothing is to go: not for what the next revision takes out.
    daemon.sync_allowing().await;
    world.describe(&["app"]);
    daemon.sync().await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(world.running(), SERVICES);
    // Allowed, and edited before the wait is over.
    daemon.sync_allowing().await;
    world.edit(|folder| drop(folder.services.insert("app".to_owned(), "2".to_owned())));
    daemon.sync().await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(world.running(), SERVICES);
    // A daemon that begins anew knows of no allowance.
    daemon.sync_allowing().await;
    daemon.end().await.unwrap();
    let daemon = world.run().await;
    daemon.until("it is refused", |_| daemon.kept().len() == 3).await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(world.running(), SERVICES);
    daemon.sync_allowing().await;
    daemon.until("they are gone", |view| world.running() == ["app"] && view.is_converged()).await;
    assert_eq!(daemon.kept(), []);
    daemon.end().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn p06_a_source_that_is_away_or_broken_when_the_daemon_begins_prunes_nothing_allowed_or_not() {
    for broken in [false, true] {
        let world = World::new(&SERVICES);
        let daemon = world.run().await;
        daemon.converged().await;
        daemon.end().await.unwrap();
        world.describe(&["app", "db", "redis"]);
        world.edit(|folder| {
            folder.missing = !broken;
            if broken {
                folder.broken.insert("redis".to_owned(), "unknown field `imagge`".to_owned());
            }
        });
        let daemon = world.run().await;
        let expected = if broken { vec!["web"] } else { SERVICES.to_vec() };
        let expected: Vec<_> = expected.into_iter().map(|name| (name.to_owned(), "SourceNotWhole")).collect();
        daemon.until("it is said", |_| daemon.kept() == expected).await;
        daemon.sync_allowing().await;
        tokio::time::sleep(Duration::from_mins(5)).await;
        assert_eq!((world.running(), daemon.kept()), (SERVICES.map(str::to_owned).to_vec(), expected));
        assert_eq!(daemon.told("web"), (1, 1));
        assert!(!daemon.handle.view().is_converged());
        world.edit(|folder| (folder.missing, folder.broken) = (false, BTreeMap::new()));
        daemon.sync().await;
        daemon.until("web is gone", |view| world.running() == ["app", "db", "redis"] && view.is_converged()).await;
        daemon.end().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn p06_every_change_begins_the_wait_of_two_seconds_anew() {
    let world = World::new(&SERVICES);
    let daemon = world.run().await;
    daemon.converged().await;
    world.describe(&["app", "db", "redis"]);
    for edit in 2..6 {
        world.edit(|folder| drop(folder.services.insert("app".to_owned(), edit.to_string())));
        daemon.sync().await;
        tokio::time::sleep(Duration::from_millis(1_900)).await;
        assert!(world.running().contains(&"web".to_owned()), "1.9 s after edit {edit}");
    }
    // It is described again in time.
    world.describe(&SERVICES);
    daemon.sync().await;
    daemon.converged().await;
    tokio::time::sleep(Duration::from_mins(5)).await;
    assert_eq!(world.running(), SERVICES);
    world.describe(&["app", "db", "redis"]);
    daemon.sync().await;
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    daemon.until("it is gone", |_| world.running() == ["app", "db", "redis"]).await;
    daemon.end().await.unwrap();
}
