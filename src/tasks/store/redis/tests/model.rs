//! Random calls, compared with a model that is a list.

use std::collections::BTreeSet;

use super::*;
use crate::backoff::{Backoff, Noise};
use crate::tasks::store::ClassDepth;

/// One task of the model.
#[derive(Clone, Debug)]
struct Known {
    task: NewTask,
    /// From its submission or requeue.
    number: u64,
    state: State,
    delayed: bool,
    attempts: u32,
    tokens: Vec<Token>,
    result: Option<Content>,
}

struct Model {
    tasks: Vec<Known>,
    numbers: u64,
    concurrency: u32,
    max_attempts: u32,
    max_backlog: usize,
}

impl Model {
    fn find(&mut self, id: &TaskId) -> Option<&mut Known> {
        self.tasks.iter_mut().find(|known| known.task.id == *id)
    }

    fn backlog(&self) -> usize {
        self.tasks.iter().filter(|known| known.state == State::Pending).count()
    }

    fn running(&self, class: Class) -> usize {
        self.tasks.iter().filter(|known| known.task.class == class && known.state == State::Running).count()
    }

    /// Ids of those that wait, next first.
    fn waiting(&self, class: Class) -> Vec<TaskId> {
        let mut waiting: Vec<_> = self
            .tasks
            .iter()
            .filter(|known| known.task.class == class && known.state == State::Pending && !known.delayed)
            .collect();
        waiting.sort_by_key(|known| (-known.task.priority, known.number));
        waiting.into_iter().map(|known| known.task.id.clone()).collect()
    }

    fn submit(&mut self, task: &NewTask) -> Submitted {
        let full = self.backlog() >= self.max_backlog;
        match self.find(&task.id) {
            Some(known) if known.task == *task => Submitted::Same,
            Some(_) => Submitted::Conflict,
            None if full => Submitted::Full,
            None => {
                self.numbers += 1;
                self.tasks.push(Known {
                    task: task.clone(),
                    number: self.numbers,
                    state: State::Pending,
                    delayed: false,
                    attempts: 0,
                    tokens: Vec::new(),
                    result: None,
                });
                Submitted::New
            }
        }
    }

    /// Of one class.
    fn lease(&mut self, class: Class, wanted: u32) -> Vec<TaskId> {
        let room = (self.concurrency as usize).saturating_sub(self.running(class)).min(wanted as usize);
        let mut next = self.waiting(class);
        next.truncate(room);
        next
    }

    /// The one that runs under this token.
    fn current(&mut self, id: &TaskId, token: &Token) -> Option<&mut Known> {
        self.find(id).filter(|known| known.state == State::Running && known.tokens.last() == Some(token))
    }

    fn failed(&mut self, id: &TaskId, retry: bool, delayed: bool) -> bool {
        let max = self.max_attempts;
        let known = self.find(id).expect("it runs");
        let dead = !retry || known.attempts >= max;
        (known.state, known.delayed) = if dead { (State::Failed, false) } else { (State::Pending, delayed) };
        dead
    }
}

/// One in so many.
fn chance(noise: &mut Noise, of: u64) -> bool {
    noise.next_u64().is_multiple_of(of)
}

fn pick<T: Clone>(noise: &mut Noise, of: &[T]) -> Option<T> {
    let index = noise.next_u64().checked_rem(of.len() as u64)?;
    of.get(usize::try_from(index).unwrap()).cloned()
}

/// A token of a task: the last one, mostly.
fn some_token(noise: &mut Noise, model: &Model) -> Option<(TaskId, Token)> {
    let running = !chance(noise, 5);
    let of: Vec<_> =
        model.tasks.iter().filter(|k| !k.tokens.is_empty() && (!running || k.state == State::Running)).collect();
    let known = pick(noise, &of)?;
    let token = if chance(noise, 8) { pick(noise, &known.tokens)? } else { known.tokens.last()?.clone() };
    Some((known.task.id.clone(), token))
}

async fn step(rig: &Rig, model: &mut Model, noise: &mut Noise) {
    match noise.next_u64() % 20 {
        0..=4 => {
            let mut tasks: Vec<NewTask> = Vec::new();
            for _ in 0..=noise.next_u64() % 4 {
                let name = format!("t{}", noise.next_u64() % 120);
                if tasks.iter().all(|task| task.id.as_str() != name) {
                    let priority = i32::try_from(noise.next_u64() % 3).unwrap() - 1;
                    tasks.push(new(&name, pick(noise, &Class::ALL).unwrap(), priority));
                }
            }
            let expected: Vec<_> = tasks.iter().map(|task| model.submit(task)).collect();
            assert_eq!(rig.store.submit(&tasks).await.unwrap(), expected);
        }
        5..=9 => {
            let wanted = Class::ALL.map(|class| (class, u32::try_from(noise.next_u64() % 4).unwrap()));
            let leases = rig.store.lease("w", &wanted, HOUR).await.unwrap();
            for (class, wanted) in wanted {
                let of: Vec<_> = leases.iter().filter(|lease| lease.class == class).collect();
                let expected = model.lease(class, wanted);
                assert_eq!(of.iter().map(|lease| lease.id.clone()).collect::<Vec<_>>(), expected);
                for lease in of {
                    let known = model.find(&lease.id).unwrap();
                    known.attempts += 1;
                    known.state = State::Running;
                    known.tokens.push(lease.token.clone());
                    assert_eq!((lease.attempt, &lease.payload), (known.attempts, &known.task.payload));
                }
            }
        }
        10 => {
            let Some(known) = pick(noise, &model.tasks) else { return };
            let came = rig.store.cancel(&known.task.id, "no").await.unwrap();
            assert_eq!(came, Changed::From(known.state));
            if !known.state.has_ended() {
                let known = model.find(&known.task.id).unwrap();
                (known.state, known.delayed) = (State::Cancelled, false);
            }
        }
        11 => {
            let Some(known) = pick(noise, &model.tasks) else { return };
            assert_eq!(rig.store.requeue(&known.task.id).await.unwrap(), Changed::From(known.state));
            if known.state == State::Failed {
                model.numbers += 1;
                let number = model.numbers;
                let known = model.find(&known.task.id).unwrap();
                (known.state, known.attempts, known.number) = (State::Pending, 0, number);
            }
        }
        _ => answer(rig, model, noise).await,
    }
}

async fn answer(rig: &Rig, model: &mut Model, noise: &mut Noise) {
    let Some((id, token)) = some_token(noise, model) else { return };
    match noise.next_u64() % 9 {
        0..=2 => {
            let result = json(&noise.next_u64().to_string());
            let came = rig.store.complete(&id, &token, &result).await.unwrap();
            if let Some(known) = model.current(&id, &token) {
                assert_eq!(came, Answer::Ok);
                (known.state, known.result) = (State::Completed, Some(result));
            } else {
                let known = model.find(&id).unwrap();
                let again = known.state == State::Completed && known.tokens.last() == Some(&token);
                assert_eq!(came, if again { Answer::Ok } else { Answer::Stale });
            }
        }
        3 | 4 => {
            let retry = pick(noise, &[Retry::Never, Retry::Backoff, Retry::After(Duration::ZERO)]).unwrap();
            let came = rig.store.fail(&id, &token, "no", retry).await.unwrap();
            if model.current(&id, &token).is_some() {
                let dead = model.failed(&id, retry != Retry::Never, retry == Retry::Backoff);
                assert_eq!(came == Failed::Dead, dead, "{came:?}");
                assert_ne!(came, Failed::Stale);
            } else {
                // A repeat has an outcome, and no effect; which one is in `answers`.
                assert!(came == Failed::Stale || model.find(&id).unwrap().tokens.last() == Some(&token), "{came:?}");
            }
        }
        5 => {
            let came = rig.store.release(&id, &token).await.unwrap();
            if let Some(known) = model.current(&id, &token) {
                assert_eq!(came, Answer::Ok);
                (known.state, known.attempts) = (State::Pending, known.attempts - 1);
            }
        }
        6 => {
            // One is not heard of any more: its lease ends now.
            let came = rig.store.extend(&[(id.clone(), token.clone())], Duration::ZERO).await.unwrap();
            let swept = rig.store.sweep().await.unwrap();
            if model.current(&id, &token).is_some() {
                assert_eq!((came[0], swept.lapsed), (Extension::Ok, 1));
                let dead = model.failed(&id, true, true);
                assert_eq!(swept.died, u64::from(dead));
            } else {
                assert_ne!(came[0], Extension::Ok);
                assert_eq!(swept.lapsed, 0);
            }
        }
        _ => {
            let came = rig.store.extend(&[(id.clone(), token.clone())], HOUR).await.unwrap();
            assert_eq!(came[0] == Extension::Ok, model.current(&id, &token).is_some());
        }
    }
}

async fn compare(rig: &Rig, model: &Model) {
    let ids: Vec<_> = model.tasks.iter().map(|known| known.task.id.clone()).collect();
    let found = rig.store.get(&ids, true).await.unwrap();
    for (known, found) in model.tasks.iter().zip(found) {
        let found = found.expect("what was taken is known");
        assert_eq!((found.state, found.attempts), (known.state, known.attempts), "{known:?}");
        assert_eq!((found.retry_in.is_some(), &found.result), (known.delayed, &known.result), "{known:?}");
        assert_eq!((found.class, found.priority), (known.task.class, known.task.priority));
        assert_eq!(found.ended_at.is_some(), known.state.has_ended(), "{known:?}");
    }
    let depths = rig.store.depths().await.unwrap();
    for (class, depth) in depths.by_class.iter() {
        let waiting = model.waiting(class);
        let page = rig.store.list(&[State::Pending], Some(class), None, 200).await.unwrap();
        let listed: Vec<_> = page.tasks.into_iter().filter(|t| t.retry_in.is_none()).map(|task| task.id).collect();
        assert_eq!(listed, waiting);
        let delayed = model.tasks.iter().filter(|known| known.task.class == class && known.delayed).count() as u64;
        let running = model.running(class) as u64;
        assert_eq!(*depth, ClassDepth { waiting: waiting.len() as u64, delayed, running, oldest: depth.oldest });
    }
    let ended = |wanted: &[State]| model.tasks.iter().filter(|known| wanted.contains(&known.state)).count() as u64;
    assert_eq!(depths.dead, ended(&[State::Failed]));
    assert_eq!(depths.done, ended(&[State::Completed, State::Cancelled]));
}

#[tokio::test]
async fn random_calls_leave_what_the_model_has() {
    let mut reached = BTreeSet::new();
    for seed in 0..8 {
        let Some(rig) = Rig::with(|s| {
            for class in Class::ALL {
                *s.classes.of_mut(class) =
                    crate::tasks::settings::ClassSettings { max_attempts: 3, concurrency: 4, ..*s.classes.of(class) };
            }
            s.max_backlog = 40;
            s.backoff = Backoff { initial: HOUR, max: HOUR };
        })
        .await
        else {
            return;
        };
        let mut noise = Noise::new(seed);
        let mut model = Model { tasks: Vec::new(), numbers: 0, concurrency: 4, max_attempts: 3, max_backlog: 40 };
        for number in 0..600 {
            step(&rig, &mut model, &mut noise).await;
            if number % 20 == 0 {
                compare(&rig, &model).await;
                reached.extend(model.tasks.iter().map(|known| (known.state, known.delayed)));
            }
        }
        compare(&rig, &model).await;
    }
    assert_eq!(reached.len(), State::ALL.len() + 1, "{reached:?}");
}
