use super::*;
use crate::clock::Timestamp;
use crate::tasks::played::id;
use crate::tasks::settings::Class;

fn at(n: u64) -> Position {
    Position { at: Timestamp(n), number: 0 }
}

fn event(n: u64, what: EventType, name: &str) -> TaskEvent {
    let (worker, token, error) = (String::new(), String::new(), String::new());
    TaskEvent { position: at(n), what, id: id(name), class: Class::CpuShort, attempt: 0, worker, token, error }
}

fn positions(after: After) -> Vec<u64> {
    match after {
        After::Events(events) => events.iter().map(|event| event.position.at.0).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn each_reader_goes_on_from_its_own_position() {
    let hub = Hub::default();
    assert_eq!(hub.after(at(5), 10), After::Gone, "nothing has been read yet");
    lock(&hub.ring).from = Some(at(5));
    assert_eq!((hub.after(at(5), 10), hub.after(at(4), 10)), (After::Nothing, After::Gone));
    hub.tell((6..=9).map(|n| event(n, EventType::Submitted, "a")).collect());
    assert_eq!(positions(hub.after(at(5), 10)), [6, 7, 8, 9]);
    assert_eq!(positions(hub.after(at(7), 1)), [8]);
    assert_eq!((hub.after(at(9), 10), hub.newest()), (After::Nothing, Some(at(9))));
    let many = KEPT as u64;
    hub.tell((10..10 + many).map(|n| event(n, EventType::Submitted, "a")).collect());
    assert_eq!(hub.after(at(8), 10), After::Gone);
    assert_eq!(positions(hub.after(at(9), 2)), [10, 11]);
}

#[tokio::test]
async fn an_end_is_told_to_those_who_wait_for_that_task_and_to_nobody_else() {
    let hub = Arc::new(Hub::default());
    let (a, both) = (hub.wait_for([id("a")]), hub.wait_for([id("a"), id("b")]));
    hub.tell(vec![event(1, EventType::Started, "a"), event(2, EventType::Failed, "a")]);
    hub.tell(vec![event(3, EventType::Cancelled, "b"), event(4, EventType::Completed, "c")]);
    both.told().await;
    assert_eq!((both.take(), both.take(), both.take()), (Some(id("a")), Some(id("b")), None));
    a.told().await;
    assert_eq!((a.take(), a.take()), (Some(id("a")), None));
    drop((a, both));
    assert!(lock(&hub.waiters).by_task.is_empty(), "nobody is left");
}
