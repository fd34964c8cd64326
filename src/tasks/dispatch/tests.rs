use std::time::Duration;

use tokio::task::JoinSet;

use super::*;
use crate::clock::Timestamp;
use crate::tasks::metrics::TaskMetrics;
use crate::tasks::played::{Played, id, lease};
use crate::tasks::task::{EventType, Position};

const LEASE: Duration = Duration::from_secs(30);

struct Rig {
    store: Played,
    dispatcher: Dispatcher,
    works: JoinSet<()>,
}

impl Rig {
    fn new() -> Self {
        let (store, dispatcher) = (Played::default(), Dispatcher::new(&TaskSettings::default()));
        let mut works = JoinSet::new();
        works.spawn(run::run(dispatcher.clone(), store.clone(), TaskMetrics::default()));
        Self { store, dispatcher, works }
    }

    fn add(&self, names: &[&str]) {
        for name in names {
            self.store.add(lease(name, Class::CpuShort));
        }
        self.dispatcher.arrived([Class::CpuShort]);
    }

    fn enter(&self, name: &str, credit: u32) -> Seat {
        let seat = self.dispatcher.enter(name, LEASE);
        seat.credit(Class::CpuShort, credit).unwrap();
        seat
    }

    fn event(&self, what: EventType, name: &str) {
        self.dispatcher.event(&TaskEvent {
            position: Position { at: Timestamp(1), number: 0 },
            what,
            id: id(name),
            class: Class::CpuShort,
            attempt: 1,
            worker: String::new(),
            token: format!("token of {name}"),
            error: "why".to_owned(),
        });
    }
}

/// All that can be done has been.
async fn settled() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn leased(taken: Taken) -> String {
    match taken {
        Taken::Out(Out::Lease(lease)) => lease.id.to_string(),
        other => panic!("no lease: {other:?}"),
    }
}

/// As a stream does that has room.
async fn next(seat: &Seat) -> Taken {
    assert_eq!(seat.take(), Taken::Nothing);
    settled().await;
    seat.take()
}

#[tokio::test(start_paused = true)]
async fn leases_are_asked_for_only_with_credit_and_room() {
    let rig = Rig::new();
    rig.add(&["a", "b", "c"]);
    let seat = rig.enter("w", 2);
    settled().await;
    assert!(rig.store.lease_calls().is_empty(), "its stream has not asked for anything");
    assert_eq!(leased(next(&seat).await), "a");
    assert_eq!(rig.store.lease_calls(), [("w".to_owned(), vec![(Class::CpuShort, 2)])]);
    assert_eq!(leased(seat.take()), "b");
    assert_eq!(next(&seat).await, Taken::Nothing, "its credit is used up");
    seat.credit(Class::CpuShort, 1).unwrap();
    settled().await;
    assert_eq!(leased(seat.take()), "c");
    assert!(seat.credit(Class::CpuShort, MAX_CREDIT + 1).is_err());
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_for_nothing_ask_for_nothing() {
    let rig = Rig::new();
    let seats: Vec<_> = (0..20).map(|n| rig.enter(&format!("w{n}"), 5)).collect();
    for seat in &seats {
        assert_eq!(seat.take(), Taken::Nothing);
    }
    settled().await;
    let before = rig.store.lease_calls().len();
    assert!(before <= CALLS, "{before} calls to learn that there is nothing");
    rig.add(&["a"]);
    settled().await;
    let more = rig.store.lease_calls().len() - before;
    assert!(more <= CALLS + 1, "{more} calls for one task");
    let with: Vec<_> = seats.iter().map(Seat::take).filter(|taken| *taken != Taken::Nothing).collect();
    assert_eq!(with.len(), 1, "{with:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_to_somebody_who_goes_is_given_back() {
    let rig = Rig::new();
    rig.add(&["a", "b", "c"]);
    let seat = rig.enter("w", 3);
    assert_eq!(leased(next(&seat).await), "a");
    drop(seat);
    settled().await;
    assert_eq!(rig.store.released(), [id("b"), id("c")]);
    // Gone while the call is in flight.
    rig.add(&["d"]);
    let seat = rig.enter("w", 1);
    assert_eq!(seat.take(), Taken::Nothing);
    drop(seat);
    settled().await;
    assert!(rig.store.lease_calls().len() == 1 || rig.store.released().contains(&id("d")));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_goes_back_with_its_credit() {
    let rig = Rig::new();
    rig.add(&["a", "b"]);
    let seat = rig.enter("w", 2);
    assert_eq!(leased(next(&seat).await), "a");
    tokio::time::advance(UNTAKEN).await;
    rig.dispatcher.tick();
    settled().await;
    assert_eq!(rig.store.released(), [id("b")]);
    rig.add(&["c"]);
    settled().await;
    assert_eq!(rig.store.lease_calls().len(), 1, "its stream is stuck");
    assert_eq!(leased(next(&seat).await), "c");
    assert_eq!(next(&seat).await, Taken::Nothing);
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_costs_no_credit_and_is_made_again() {
    let rig = Rig::new();
    rig.store.set_away(true);
    rig.add(&["a"]);
    let seat = rig.enter("w", 1);
    assert_eq!(next(&seat).await, Taken::Nothing);
    rig.store.set_away(false);
    tokio::time::advance(Duration::from_secs(1)).await;
    settled().await;
    assert_eq!(leased(seat.take()), "a");
}

#[tokio::test(start_paused = true)]
async fn a_cancellation_is_told_to_who_has_it_even_before_the_lease() {
    let rig = Rig::new();
    rig.add(&["a", "b", "c"]);
    let seat = rig.enter("w", 2);
    assert_eq!(leased(next(&seat).await), "a");
    // Delivered: told. On its way: taken off, and the credit is another lease.
    rig.event(EventType::Cancelled, "a");
    rig.event(EventType::Cancelled, "b");
    let Taken::Out(Out::Cancel { id: of, reason, .. }) = seat.take() else { panic!("no cancellation") };
    assert_eq!((of, reason.as_str()), (id("a"), "why"));
    assert_eq!(leased(next(&seat).await), "c");
    // Before it is known here that there is a lease.
    rig.event(EventType::Cancelled, "d");
    rig.add(&["d", "e"]);
    seat.credit(Class::CpuShort, 1).unwrap();
    assert_eq!(next(&seat).await, Taken::Nothing);
    assert_eq!(leased(next(&seat).await), "e");
}

#[tokio::test(start_paused = true)]
async fn at_the_end_workers_are_told_and_nothing_is_kept() {
    let mut rig = Rig::new();
    rig.add(&["a", "b"]);
    let seat = rig.enter("w", 2);
    assert_eq!(leased(next(&seat).await), "a");
    rig.dispatcher.close(LEASE);
    assert!(matches!(seat.take(), Taken::Out(Out::Drain { grace: LEASE, .. })));
    assert_eq!(seat.take(), Taken::End);
    rig.works.join_next().await.unwrap().unwrap();
    assert_eq!(rig.store.released(), [id("b")]);
    let late = rig.dispatcher.enter("late", LEASE);
    assert!(matches!(late.take(), Taken::Out(Out::Drain { .. })));
}

#[test]
fn an_answer_counts_once_and_its_time_is_known() {
    let dispatcher = Dispatcher::new(&TaskSettings::default());
    let token = Token("t".to_owned());
    assert!(dispatcher.attempt(&id("a"), &token).is_none(), "leased elsewhere");
    assert!(dispatcher.answered(&id("a"), &token));
    assert!(!dispatcher.answered(&id("a"), &token), "repeated");
}
