//! What has become of the tasks.

use std::collections::BTreeSet;

use env_manager::tasks::store::TaskStore;
use env_manager::tasks::task::{Content, TaskId};
use serde_json::Value;

use crate::life::{Life, until};
use crate::submit::{Ledger, fails, id, listed};

/// All is over, and everybody is there.
pub async fn give(life: &mut Life, ledger: &Ledger) {
    let client = life.client.clone();
    let all = ["pending", "running", "completed", "failed", "cancelled"];
    let tasks = until("the lists are read", async || listed(&client, &all).await.ok()).await;
    let of = |status| tasks.iter().filter(move |(_, (is, _))| is == status).map(|(number, _)| *number);
    let (completed, dead): (BTreeSet<_>, BTreeSet<_>) = (of("completed").collect(), of("failed").collect());
    life.runs.read_on();
    let runs = &life.runs;
    let begun: BTreeSet<_> = runs.begun.iter().map(|(number, ..)| *number).collect();
    let done: BTreeSet<_> = runs.done.iter().map(|(number, _)| *number).collect();
    let acknowledged = ledger.books().acknowledged.clone();
    let lost: Vec<_> = acknowledged.iter().filter(|n| !completed.contains(n) && !dead.contains(n)).collect();
    let unlucky = dead.iter().filter(|number| matches!(fails(**number), "never" | "once")).count();
    let in_python = runs.begun.iter().filter(|(.., worker)| worker.starts_with("python")).count();
    println!("{}", ledger.said());
    println!(
        "lost {}; completed {}, dead {} ({unlucky} of them because whoever had them was killed); {} attempts begun ({in_python} in Python), {} duplicate runs",
        lost.len(),
        completed.len(),
        dead.len(),
        runs.begun.len(),
        runs.ended - done.len() as u64,
    );

    assert!(ledger.books().wrong.is_empty(), "answers without excuse: {:?}\n{}", ledger.books().wrong, life.logs());
    assert!(lost.is_empty(), "lost: {lost:?}\n{}", life.logs());
    let unknown: Vec<_> = tasks.keys().filter(|number| !acknowledged.contains(number)).collect();
    assert!(unknown.is_empty(), "nobody submitted {unknown:?}");
    let undone: Vec<_> = completed.difference(&done).collect();
    assert!(undone.is_empty(), "completed, and no handler has done it: {undone:?}");
    for (number, (status, error)) in &tasks {
        assert!(begun.contains(number), "t{number} is {status}, and was never begun");
        let fails = fails(*number);
        assert!(fails == "never" || fails == "once" || status == "failed", "t{number} fails {fails} and is {status}");
        let has_reason = error.contains("on purpose") || error.contains("was not heard of any more");
        assert!(status != "failed" || has_reason, "t{number} is dead without a reason: {error}");
    }
    let dead_on_purpose = dead.iter().filter(|number| fails(**number) != "never").count();
    assert!(dead_on_purpose > 0, "some were to die");

    // Each result is of an attempt that a handler has done.
    let completed: Vec<_> = completed.into_iter().collect();
    for part in completed.chunks(200) {
        let ids: Vec<_> = part.iter().map(|number| TaskId::parse(id(*number)).expect("an id")).collect();
        let found = until("results are read", async || life.store.get(&ids, true).await.ok()).await;
        for (number, task) in part.iter().zip(found) {
            let result = task.and_then(|task| task.result);
            let Some(Content::Json(result)) = result else { panic!("t{number} has no result: {result:?}") };
            let result: Value = serde_json::from_slice(&result).expect("JSON");
            let attempt = result["attempt"].as_u64().and_then(|attempt| u32::try_from(attempt).ok());
            let is_done = attempt.is_some_and(|attempt| runs.done.contains(&(*number, attempt)));
            assert!(result["of"] == id(*number) && is_done, "t{number}: {result}");
        }
    }
}
