//! Redis is set so that it would lose what it acknowledges, or does not tell.

use super::*;
use crate::tasks::settings::Durability;
use crate::tasks::store::NotDurable;

async fn with(options: &[&str], durability: Durability) -> Option<Rig> {
    Some(Rig::on(RedisServer::start(options).await?, |s| s.durability = durability))
}

/// Refused, and nothing done.
async fn refuses(rig: &Rig, setting: &str, found: &str, wanted: &str) {
    let expected = NotDurable { setting: setting.into(), found: found.into(), wanted: wanted.into() };
    let came = rig.store.submit(&[short("refused")]).await;
    assert!(matches!(&came, Err(StoreError::NotDurable(told)) if *told == expected), "{came:?}");
    let came = rig.store.ready().await;
    assert!(matches!(&came, Err(StoreError::NotDurable(told)) if *told == expected), "{came:?}");
    assert_eq!(rig.store.get(&ids(&["refused"]), false).await.unwrap(), [None]);
}

const CASES: [(&[&str], &str, &str, &str); 6] = [
    (&["--appendonly", "no"], "appendonly", "no", "yes"),
    (&["--appendfsync", "everysec"], "appendfsync", "everysec", "always"),
    (&["--appendfsync", "no"], "appendfsync", "no", "always"),
    (&["--no-appendfsync-on-rewrite", "yes"], "no-appendfsync-on-rewrite", "yes", "no"),
    (&["--maxmemory-policy", "allkeys-lru"], "maxmemory-policy", "allkeys-lru", "noeviction"),
    (&["--rename-command", "CONFIG", "HIDDEN"], "appendfsync", "not told by this Redis", "always"),
];

#[tokio::test]
async fn p20_what_could_lose_tasks_is_refused_with_the_setting_named() {
    for (options, setting, found, wanted) in CASES {
        let Some(rig) = with(options, Durability::Strict).await else { return };
        refuses(&rig, setting, found, wanted).await;
        let said = rig.store.ready().await.unwrap_err().to_string();
        assert!(said.contains(&format!("{setting} is {found}, {wanted} is needed")), "{said}");
    }
}

#[tokio::test]
async fn relaxed_takes_tasks_whatever_the_settings() {
    for (options, ..) in CASES {
        let Some(rig) = with(options, Durability::Relaxed).await else { return };
        rig.store.ready().await.unwrap();
        rig.submit(&[short("t")]).await;
    }
}

#[tokio::test]
async fn a_user_who_may_not_read_the_settings_is_told_so() {
    let Some(redis) = RedisServer::start(&[]).await else { return };
    let user = ["ACL", "SETUSER", "tasks", "on", ">secret", "~*", "+@all", "-config"];
    let _: () = redis.command(&user).await.unwrap();
    let url = format!("redis://tasks:secret@127.0.0.1:{}", redis.port());
    let rig = Rig::on(redis, |s| s.redis = url);
    refuses(&rig, "appendfsync", "not told by this Redis", "always").await;
}

#[tokio::test]
async fn p20_what_somebody_sets_meanwhile_counts_at_once() {
    let Some(rig) = Rig::new().await else { return };
    rig.submit(&[short("before")]).await;
    let set = async |setting: &str, value: &str| {
        let _: () = rig.redis.command(&["CONFIG", "SET", setting, value]).await.unwrap();
    };
    for (setting, bad, good) in
        [("appendfsync", "everysec", "always"), ("maxmemory-policy", "volatile-ttl", "noeviction")]
    {
        set(setting, bad).await;
        // It was all well a moment ago, so this one is done; but it is not acknowledged.
        let first = rig.store.submit(&[short(setting)]).await;
        assert!(matches!(&first, Err(StoreError::NotDurable(told)) if told.setting == setting), "{first:?}");
        refuses(&rig, setting, bad, good).await;
        set(setting, good).await;
        assert_eq!(rig.store.submit(&[short(setting)]).await.unwrap(), [Submitted::Same]);
    }
}

#[tokio::test]
async fn p20_a_redis_that_comes_back_with_other_settings_takes_nothing() {
    let Some(mut rig) = Rig::new().await else { return };
    rig.submit(&[short("before")]).await;
    rig.redis.kill();
    rig.redis.set("appendfsync", "everysec");
    rig.redis.start_again().await;
    // The first call finds that the connection is gone.
    let first = rig.store.submit(&[short("refused")]).await;
    assert!(matches!(first, Err(StoreError::NotReady(_) | StoreError::NotDurable(_))), "{first:?}");
    refuses(&rig, "appendfsync", "everysec", "always").await;
    assert_eq!(rig.state("before").await, State::Pending);
}

#[tokio::test]
async fn p20_nothing_is_acknowledged_before_the_first_file_of_an_appendonly_that_was_switched_on_is_whole() {
    let Some(rig) = with(&["--appendonly", "no", "--rdb-key-save-delay", "2000"], Durability::Strict).await else {
        return;
    };
    // Some keys, so that the file takes a while.
    for i in 0..200 {
        let _: () = rig.redis.command(&["SET", &format!("k{i}"), "1"]).await.unwrap();
    }
    let _: () = rig.redis.command(&["CONFIG", "SET", "appendonly", "yes"]).await.unwrap();
    let came = rig.store.submit(&[short("t")]).await;
    assert!(matches!(&came, Err(StoreError::NotReady(why)) if why.contains("first time")), "{came:?}");
    until("it is whole", async || rig.store.submit(&[short("t")]).await.ok()).await;
}

#[tokio::test]
async fn while_a_file_that_was_there_is_written_anew_tasks_are_taken() {
    let Some(rig) = with(&["--rdb-key-save-delay", "2000"], Durability::Strict).await else { return };
    for i in 0..200 {
        rig.submit(&[short(&format!("t{i}"))]).await;
    }
    let _: () = rig.redis.command(&["BGREWRITEAOF"]).await.unwrap();
    rig.submit(&[short("t")]).await;
    let info: String = rig.redis.command(&["INFO", "persistence"]).await.unwrap();
    assert!(info.contains("aof_rewrite_in_progress:1") && info.contains("aof_base_size:0"), "{info}");
}
