use super::*;
use crate::clock::Timestamp;
use crate::engine::fake::FakeEngine;

const STACK: &str = "shop";

fn holder(what: &str) -> Holder {
    Holder::current(what, Timestamp(1_767_268_800_000))
}

/// One that was here and has ended.
fn gone() -> Holder {
    let text = holder("env-manager run").to_text();
    Holder::from_text(&text.replace(&format!("\"pid\":{}", std::process::id()), "\"pid\":4294967295"))
}

/// One that nobody here can see.
fn elsewhere() -> Holder {
    let text = r#"{"host":"far","boot":"b","pid_namespace":"pid:[1]","pid":7,"started":1,"what":"env-manager run"}"#;
    Holder::from_text(text)
}

#[tokio::test(start_paused = true)]
async fn p02_a_stack_has_one_owner_at_a_time() {
    let engine = FakeEngine::new(&[]);
    let (first, second) = (holder("env-manager run"), holder("env-manager apply"));
    assert_eq!(look(&engine, STACK).await.unwrap(), None);
    assert_eq!(take(&engine, STACK, &first, false).await.unwrap(), Taken { from: None });
    assert_eq!(take(&engine, STACK, &first, false).await.unwrap(), Taken { from: None }, "it is ours already");
    assert_eq!(look(&engine, STACK).await.unwrap().as_ref(), Some(&first));

    let refused = take(&engine, STACK, &second, false).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "another env-manager works on this stack: {first}. Stop it; if it is surely gone: \
             `docker volume rm env-manager-lease-shop`"
        )
    );
    // Who does not own it gives nothing back.
    release(&engine, STACK, &second).await.unwrap();
    assert_eq!(engine.volumes(), ["env-manager-lease-shop"]);
    take(&engine, "another", &second, false).await.unwrap();

    release(&engine, STACK, &first).await.unwrap();
    assert_eq!(engine.volumes(), ["env-manager-lease-another"]);
    take(&engine, STACK, &second, false).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_is_surely_gone_is_taken_over_from_and_who_may_be_there_is_not() {
    let engine = FakeEngine::new(&[]);
    let me = holder("env-manager run");
    take(&engine, STACK, &gone(), false).await.unwrap();
    assert_eq!(take(&engine, STACK, &me, false).await.unwrap(), Taken { from: Some(gone()) });
    assert_eq!(engine.volumes(), ["env-manager-lease-shop"], "nothing is left of the takeover");
    release(&engine, STACK, &me).await.unwrap();

    take(&engine, STACK, &elsewhere(), false).await.unwrap();
    assert!(matches!(take(&engine, STACK, &me, false).await, Err(LeaseError::Held { .. })));
    assert_eq!(take(&engine, STACK, &me, true).await.unwrap(), Taken { from: Some(elsewhere()) });
    assert_eq!(look(&engine, STACK).await.unwrap(), Some(me));
}

#[tokio::test(start_paused = true)]
async fn what_one_who_died_in_a_takeover_has_left_is_cleared() {
    let engine = FakeEngine::new(&[]);
    // Of another host, it may be at it yet.
    for (other, is_left) in [(gone(), false), (elsewhere(), true)] {
        mark(&engine, STACK, &takeover_name(STACK), &other).await.unwrap();
        let me = holder("env-manager run");
        take(&engine, STACK, &me, false).await.unwrap();
        assert_eq!(engine.volumes().contains(&takeover_name(STACK)), is_left);
        release(&engine, STACK, &me).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_who_take_at_once_exactly_one_gets_it() {
    // From nothing, from one who is gone, and from one who died in the middle of a takeover.
    for (lease, takeover) in [(false, false), (true, false), (true, true)] {
        let engine = FakeEngine::new(&[]);
        if lease {
            take(&engine, STACK, &gone(), false).await.unwrap();
        }
        if takeover {
            mark(&engine, STACK, &takeover_name(STACK), &gone()).await.unwrap();
        }
        let takers: Vec<_> = (0..5).map(|n| holder(&format!("taker {n}"))).collect();
        let all = takers.iter().map(|me| take(&engine, STACK, me, false));
        let taken = futures_util::future::join_all(all).await;
        let owners: Vec<_> = takers.iter().zip(&taken).filter(|(_, t)| t.is_ok()).map(|(me, _)| me).collect();
        let owner = look(&engine, STACK).await.unwrap().unwrap();
        assert_eq!(owners, [&owner], "{lease} {takeover}: {taken:?}");
        assert_eq!(engine.volumes(), ["env-manager-lease-shop"], "{lease} {takeover}");
    }
}

#[tokio::test(start_paused = true)]
async fn while_one_takes_over_another_keeps_its_hands_off() {
    let engine = FakeEngine::new(&[]);
    let (first, second) = (holder("first"), holder("second"));
    take(&engine, STACK, &gone(), false).await.unwrap();
    mark(&engine, STACK, &takeover_name(STACK), &first).await.unwrap();
    for take_over in [false, true] {
        let refused = take(&engine, STACK, &second, take_over).await.unwrap_err();
        assert!(refused.to_string().contains("`docker volume rm env-manager-lease-shop.takeover`"), "{refused}");
        assert_eq!(look(&engine, STACK).await.unwrap(), Some(gone()));
    }
    // Whoever began goes on, as after an engine that did not answer in the middle of it.
    assert_eq!(take(&engine, STACK, &first, false).await.unwrap(), Taken { from: Some(gone()) });
    assert_eq!(engine.volumes(), ["env-manager-lease-shop"]);
}

#[tokio::test(start_paused = true)]
async fn a_volume_of_somebody_else_is_neither_taken_nor_removed() {
    let engine = FakeEngine::new(&[]);
    let spec = VolumeSpec {
        name: "env-manager-lease-shop".to_owned(),
        external: false,
        driver: None,
        driver_opts: BTreeMap::new(),
    };
    engine.create_volume(&spec, &BTreeMap::new()).await.unwrap();
    let me = holder("env-manager run");
    for take_over in [false, true] {
        let refused = take(&engine, STACK, &me, take_over).await.unwrap_err();
        assert!(refused.to_string().contains("was not made by env-manager"), "{refused}");
    }
    release(&engine, STACK, &me).await.unwrap();
    assert_eq!(engine.volumes(), ["env-manager-lease-shop"]);
}
