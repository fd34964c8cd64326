use tokio::task::JoinSet;

use super::*;
use crate::tasks::played::{Played, new_task};
use crate::tasks::task::Content;

/// What works, for as long as it is kept.
fn start(store: &Played) -> (Submitter, JoinSet<()>) {
    let (submitter, inbox) = channel();
    let mut works = JoinSet::new();
    works.spawn(run(store.clone(), inbox, |_, _| {}));
    (submitter, works)
}

async fn until(is: impl Fn() -> bool) {
    while !is() {
        tokio::task::yield_now().await;
    }
}

fn named(names: &[&str]) -> Vec<NewTask> {
    names.iter().map(|name| new_task(name)).collect()
}

fn sizes(store: &Played) -> Vec<usize> {
    store.submitted().iter().map(Vec::len).collect()
}

#[tokio::test]
async fn what_arrives_while_a_call_is_in_flight_goes_with_the_next_one() {
    let store = Played::default();
    let gate = store.hold_submissions();
    let (submitter, _works) = start(&store);
    let mut callers = JoinSet::new();
    let mut call = |name: String| {
        let submitter = submitter.clone();
        callers.spawn(async move { submitter.submit(vec![new_task(&name)]).await.unwrap() });
    };
    call("first".to_owned());
    until(|| store.submitted().len() == 1).await;
    for n in 0..450 {
        call(format!("t{n}"));
    }
    until(|| submitter.0.capacity() == WAITING - 450).await;
    gate.add_permits(10);
    while let Some(outcome) = callers.join_next().await {
        assert_eq!(outcome.unwrap(), [Submitted::New]);
    }
    assert_eq!(sizes(&store), [1, 200, 200, 50]);
}

#[tokio::test]
async fn who_goes_away_undoes_nothing_of_others() {
    let store = Played::default();
    let gate = store.hold_submissions();
    let (submitter, _works) = start(&store);
    let mut callers = JoinSet::new();
    let mut call = |name: &'static str| {
        let submitter = submitter.clone();
        callers.spawn(async move { submitter.submit(vec![new_task(name)]).await.map(|_| name) })
    };
    call("first");
    until(|| store.submitted().len() == 1).await;
    let gone = call("gone");
    call("stays");
    until(|| submitter.0.capacity() == WAITING - 2).await;
    gone.abort();
    until(|| gone.is_finished()).await;
    gate.add_permits(10);
    let mut told = Vec::new();
    while let Some(outcome) = callers.join_next().await {
        told.extend(outcome.ok().map(Result::unwrap));
    }
    told.sort_unstable();
    assert_eq!((told, store.submitted()), (vec!["first", "stays"], vec![vec!["first".into()], vec!["stays".into()]]));
}

#[tokio::test]
async fn an_id_is_never_twice_in_one_call() {
    let store = Played::default();
    let (submitter, _works) = start(&store);
    let outcomes = submitter.submit(named(&["a", "b", "a", "c", "c"])).await.unwrap();
    assert_eq!(outcomes.len(), 5);
    assert_eq!(store.submitted(), [vec!["a", "b"], vec!["a", "c"], vec!["c"]]);

    let gate = store.hold_submissions();
    let mut callers = JoinSet::new();
    for name in ["first", "same", "same", "other"] {
        let submitter = submitter.clone();
        callers.spawn(async move { submitter.submit(vec![new_task(name)]).await.unwrap() });
        until(|| store.submitted().len() == 4).await;
    }
    until(|| submitter.0.capacity() == WAITING - 3).await;
    gate.add_permits(10);
    callers.join_all().await;
    assert_eq!(store.submitted()[4..], [vec!["same"], vec!["same", "other"]]);
}

#[tokio::test]
async fn large_payloads_are_spread_over_calls() {
    let store = Played::default();
    let (submitter, _works) = start(&store);
    let large = |n: usize| NewTask { payload: Content::Bytes(vec![0; 1 << 20].into()), ..new_task(&format!("t{n}")) };
    submitter.submit((0..10).map(large).collect()).await.unwrap();
    assert_eq!(sizes(&store), [4, 4, 2]);
}

#[tokio::test]
async fn while_the_store_is_away_all_that_wait_are_told_at_once() {
    let store = Played::default();
    let gate = store.hold_submissions();
    store.set_away(true);
    let (submitter, mut works) = start(&store);
    let mut callers = JoinSet::new();
    let mut call = |name: String| {
        let submitter = submitter.clone();
        callers.spawn(async move { submitter.submit(vec![new_task(&name)]).await.unwrap_err() });
    };
    call("first".to_owned());
    until(|| store.submitted().len() == 1).await;
    for n in 0..300 {
        call(format!("t{n}"));
    }
    until(|| submitter.0.capacity() == WAITING - 300).await;
    gate.add_permits(1);
    while let Some(error) = callers.join_next().await {
        assert!(matches!(*error.unwrap(), StoreError::NotReady(_)));
    }
    assert_eq!(store.submitted().len(), 1, "nobody has waited for an answer of their own");
    store.set_away(false);
    gate.add_permits(1);
    assert_eq!(submitter.submit(named(&["after"])).await.unwrap(), [Submitted::New]);
    drop(submitter);
    works.join_next().await.unwrap().unwrap();
}
