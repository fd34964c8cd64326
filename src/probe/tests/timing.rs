//! When what is asked, and what is reported: on the paused clock, with exec probes whose answers a
//! test gives (no sockets, so that time stands still while nothing is due).

use super::world::*;
use super::*;

#[tokio::test(start_paused = true)]
async fn the_first_try_happens_at_once_and_opens_the_gate() {
    let mut w = world();
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    assert_eq!(timeout(ms(1), w.edges.recv()).await.unwrap(), Some(key()));
    assert_eq!(w.script.times("ready"), [0]);
    let state = w.state("a");
    assert!(state.started && state.ready == Some(true), "{state:?}");
    assert_eq!(w.state("another"), ProbeState::default());
}

#[tokio::test(start_paused = true)]
async fn the_meter_is_told_of_every_try_that_counts() {
    let w = world();
    w.script.say("ready", Answer::Takes(ms(700)));
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(1_000)).await;
    w.script.say("ready", Answer::Code(1, "no"));
    w.pass(ms(5_000)).await;
    // The next ones end when they are not asked for any more: the probe is another, the container gone.
    w.script.say("ready", Answer::Takes(ms(700)));
    w.pass(ms(5_000)).await;
    w.prober.want(&key(), &[target("a")], &readiness(exec("other")));
    w.pass(ms(1_000)).await;
    assert_eq!(w.script.times("ready"), [0, 5700, 10_700]);
    w.script.say("other", Answer::Takes(ms(700)));
    w.pass(ms(4_900)).await;
    let other = w.script.times("other").len();
    w.prober.forget(&key());
    w.pass(ms(5_000)).await;
    assert_eq!((other, w.script.times("other").len()), (2, 2));
    let role = ProbeRole::Readiness;
    assert_eq!(*w.metered.lock().unwrap(), [(key(), role, true, 700), (key(), role, false, 0), (key(), role, true, 0)]);
}

#[tokio::test(start_paused = true)]
async fn an_interval_counts_from_the_end_of_the_last_try() {
    let w = world();
    w.script.say("ready", Answer::Takes(ms(700)));
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(13_000)).await;
    assert_eq!(w.script.times("ready"), [0, 5700, 11_400]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_asked_every_fifty_milliseconds() {
    let w = world();
    w.prober.want(&key(), &[target("a")], &readiness(probe(Check::Docker)));
    w.pass(ms(260)).await;
    assert_eq!(w.script.times("inspect"), [0, 50, 100, 150, 200, 250]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_asks_execs_every_half_second_and_then_at_their_interval() {
    let w = world();
    w.script.say("up", Answer::Code(1, ""));
    let probes = Probes { startup: Some(Probe { interval: ms(50), ..exec("up") }), ..readiness(exec("ready")) };
    w.prober.want(&key(), &[target("a")], &probes);
    w.pass(ms(1200)).await;
    assert_eq!(w.script.times("up"), [0, 500, 1000]);
    assert!(w.script.times("ready").is_empty(), "readiness waits for the gate");
    w.script.say("up", Answer::Code(0, ""));
    w.pass(ms(5000)).await;
    assert_eq!(w.script.times("up"), [0, 500, 1000, 1500]);
    assert_eq!(w.script.times("ready"), [1500], "and is asked as soon as it opens");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_passed_its_gate_before_is_asked_for_readiness_at_once() {
    let w = world();
    w.script.say("up", Answer::Code(1, ""));
    let target = target("a").passed_before(true);
    let probes = Probes { startup: Some(exec("up")), ..readiness(exec("ready")) };
    w.prober.want(&key(), std::slice::from_ref(&target), &probes);
    w.pass(ms(10)).await;
    assert_eq!((w.script.times("up"), w.script.times("ready")), (vec![], vec![0]));
    assert_eq!(w.state("a").ready, Some(true));
    // With nothing else to ask, the gate is asked all the same.
    w.prober.want(
        &ResourceKey::service("other"),
        std::slice::from_ref(&target),
        &Probes { startup: Some(exec("up")), ..Probes::default() },
    );
    w.pass(ms(10)).await;
    assert_eq!(w.script.times("up"), [10]);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_startup_has_just_answered_is_not_asked_again_for_readiness() {
    let w = world();
    let probes = Probes { startup: Some(exec("up")), ..readiness(exec("up")) };
    w.prober.want(&key(), &[target("a")], &probes);
    w.pass(ms(11_000)).await;
    assert_eq!(w.script.times("up"), [0, 5000, 10_000]);
    assert_eq!(w.state("a").ready, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_readiness_probe_without_startup_probe_is_asked_at_the_gates_pace_until_it_passes() {
    let w = world();
    w.script.say("ready", Answer::Code(1, "not yet"));
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(1900)).await;
    assert_eq!(w.script.times("ready"), [0, 500, 1000, 1500]);
    let state = w.state("a");
    assert_eq!((state.started, state.ready), (false, None), "while it starts there are no verdicts");
    assert_eq!(state.message, "exit code 1: not yet");
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_stays_shut_is_asked_once_a_second_after_its_deadline() {
    let w = world();
    w.script.say("up", Answer::Code(1, ""));
    let deadline = Some(crate::resource::probe::DeadlineText(ms(2000)));
    let probes = Probes { startup: Some(Probe { interval: ms(50), deadline, ..exec("up") }), ..Probes::default() };
    w.prober.want(&key(), &[target("a")], &probes);
    w.pass(ms(5100)).await;
    assert_eq!(w.script.times("up"), [0, 500, 1000, 1500, 2000, 3000, 4000, 5000]);
}

#[tokio::test(start_paused = true)]
async fn only_edges_are_reported() {
    let mut w = world();
    w.prober.want(&key(), &[target("a")], &readiness(Probe { interval: ms(1000), ..exec("ready") }));
    w.pass(ms(20_500)).await;
    assert_eq!((w.script.times("ready").len(), w.edge_count()), (21, 1), "twenty more passes are no news");

    w.script.say("ready", Answer::Code(1, "down"));
    w.pass(ms(2000)).await;
    assert_eq!((w.state("a").ready, w.edge_count()), (Some(true), 0), "two failures are below the threshold");
    w.pass(ms(1000)).await;
    assert_eq!((w.state("a").ready, w.edge_count()), (Some(false), 1), "the third is not");

    w.pass(ms(10_000)).await;
    assert_eq!(w.edge_count(), 0, "failing on is no news");
    w.script.say("ready", Answer::Code(2, "in another way"));
    w.pass(ms(1000)).await;
    assert_eq!((w.state("a").message.as_str(), w.edge_count()), ("exit code 2: in another way", 1));

    w.script.say("ready", Answer::Code(0, ""));
    w.pass(ms(1000)).await;
    assert_eq!((w.state("a").ready, w.edge_count()), (Some(true), 1));
}

#[tokio::test(start_paused = true)]
async fn a_success_threshold_asks_for_as_many_in_a_row() {
    let w = world();
    let picky = Probe { success_threshold: 3, interval: ms(1000), ..exec("ready") };
    w.prober.want(&key(), &[target("a")], &readiness(picky));
    w.pass(ms(600)).await;
    assert!(!w.state("a").started, "two are not three");
    w.pass(ms(500)).await;
    assert_eq!(w.state("a").ready, Some(true));
}

#[tokio::test(start_paused = true)]
async fn liveness_is_asked_only_once_started_and_fails_past_its_threshold() {
    let mut w = world();
    w.script.say("up", Answer::Code(1, ""));
    w.script.say("alive", Answer::Code(1, "dead"));
    let alive = Probe { interval: ms(2000), failure_threshold: 2, ..exec("alive") };
    let probes = Probes { startup: Some(exec("up")), liveness: Some(alive), readiness: None };
    w.prober.want(&key(), &[target("a")], &probes);
    w.pass(ms(5000)).await;
    assert!(w.script.times("alive").is_empty());
    w.script.say("up", Answer::Code(0, ""));
    w.pass(ms(5001)).await;
    let state = w.state("a");
    assert!(state.started && state.ready == Some(true) && state.live.is_some(), "{state:?}");
    w.pass(ms(4000)).await;
    assert_eq!(w.state("a").live, Some(false));
    assert!(w.edge_count() >= 3);
}

#[tokio::test(start_paused = true)]
async fn p12_what_the_engine_could_not_ask_says_nothing_of_liveness() {
    let w = world();
    let alive = Probe { interval: ms(2000), failure_threshold: 2, ..exec("alive") };
    w.prober.want(&key(), &[target("a")], &Probes { liveness: Some(alive), ..Probes::default() });
    w.pass(ms(10)).await;
    assert_eq!(w.state("a").live, Some(true));
    for kind in [ErrorKind::Unreachable, ErrorKind::Timeout, ErrorKind::Other] {
        w.script.say("alive", Answer::Fails(kind));
        w.pass(ms(10_000)).await;
        assert_eq!(w.state("a").live, Some(true));
    }
    // What is said of the command itself counts.
    w.script.say("alive", Answer::Fails(ErrorKind::Refused));
    w.pass(ms(5_000)).await;
    assert_eq!(w.state("a").live, Some(false));
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_run_answered_does_not_speak_for_the_next() {
    let w = world();
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(10)).await;
    let of_run = |at| w.prober.state(&key(), &ContainerId::new("a"), at);
    assert!(of_run(target("a").started_at).started);
    assert_eq!(of_run(Some(Timestamp(2))), ProbeState::default());
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_everything() {
    let w = world();
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(10)).await;
    assert!(w.state("a").started);
    w.script.say("ready", Answer::Code(1, ""));
    let again = Target { started_at: Some(Timestamp(2)), ..target("a") };
    w.prober.want(&key(), std::slice::from_ref(&again), &readiness(exec("ready")));
    w.pass(ms(10)).await;
    let state = w.prober.state(&key(), &again.container, again.started_at);
    assert_eq!((state.started, state.ready), (false, None));
}

#[tokio::test(start_paused = true)]
async fn results_of_another_container_are_dropped() {
    let w = world();
    w.script.say("ready", Answer::Takes(ms(1000)));
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(500)).await;
    w.script.say("ready", Answer::Code(1, "new"));
    w.prober.want(&key(), &[target("b")], &readiness(exec("ready")));
    w.pass(ms(700)).await;
    assert_eq!((w.state("b").started, w.state("b").message.as_str()), (false, "exit code 1: new"));
    assert_eq!(w.state("a"), ProbeState::default());
}

#[tokio::test(start_paused = true)]
async fn what_is_forgotten_is_asked_no_more() {
    let mut w = world();
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(10)).await;
    w.prober.forget(&key());
    let before = (w.script.times("ready").len(), w.edge_count());
    w.pass(ms(20_000)).await;
    assert_eq!((w.script.times("ready").len(), w.edge_count()), (before.0, 0));
}

#[tokio::test(start_paused = true)]
async fn wanting_the_same_again_changes_nothing() {
    let mut w = world();
    for _ in 0..20 {
        w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
        w.pass(ms(500)).await;
    }
    assert_eq!((w.script.times("ready"), w.edge_count()), (vec![0, 5000], 1));
}

#[tokio::test(start_paused = true)]
async fn a_changed_probe_is_asked_at_once_and_keeps_the_gate_open() {
    let w = world();
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(1000)).await;
    w.script.say("other", Answer::Code(1, ""));
    w.prober.want(&key(), &[target("a")], &readiness(exec("other")));
    w.pass(ms(2)).await;
    let state = w.state("a");
    assert_eq!((state.started, state.ready), (true, None), "it is not yet known by the new one");
    assert_eq!(w.script.times("other").len(), 1);
    w.pass(ms(20_000)).await;
    assert_eq!(w.state("a").ready, Some(false), "three intervals later it is");
}

#[tokio::test(start_paused = true)]
async fn an_exec_is_never_started_while_the_last_one_runs() {
    let w = world();
    w.script.say("ready", Answer::Hangs);
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(10_000)).await;
    assert_eq!(w.script.times("ready"), [0], "it timed out after 2 s and runs on");
    assert!(w.script.asked_whether_running.load(Ordering::SeqCst) > 10);
    assert_eq!(w.state("a").message, "the command still runs, long after its timeout of 2.0 s");
    w.script.say("ready", Answer::Code(0, ""));
    w.script.hanging.store(0, Ordering::SeqCst);
    w.pass(ms(501)).await;
    assert_eq!(w.state("a").ready, Some(true));
}

#[tokio::test(start_paused = true)]
async fn a_probe_changed_in_mid_try_does_not_overlap_it() {
    let w = world();
    w.script.say("ready", Answer::Takes(ms(1000)));
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(500)).await;
    w.prober.want(&key(), &[target("a")], &readiness(exec("other")));
    w.pass(ms(400)).await;
    assert!(w.script.times("other").is_empty(), "one try in flight per probe");
    w.pass(ms(200)).await;
    assert_eq!(w.script.times("other"), [1000], "and the old one's answer counts for nothing but its end");
    assert_eq!(w.script.most_in_flight.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn at_most_eight_execs_are_in_flight() {
    let w = world();
    w.script.say("ready", Answer::Takes(ms(100)));
    for i in 0..100 {
        w.prober.want(&ResourceKey::service(format!("s{i}")), &[target("a")], &readiness(exec("ready")));
    }
    w.pass(ms(1400)).await;
    assert_eq!(w.script.most_in_flight.load(Ordering::SeqCst), 8);
    assert_eq!(w.script.times("ready").len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_paused_container_is_not_ready_and_not_asked() {
    let w = world();
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    w.pass(ms(10)).await;
    w.prober.want(&key(), &[Target { paused: true, ..target("a") }], &readiness(exec("ready")));
    let state = w.state("a");
    assert_eq!((state.ready, state.message.as_str()), (Some(false), "the container is paused"));
    w.pass(ms(20_000)).await;
    assert_eq!(w.script.times("ready").len(), 1);
    w.script.say("ready", Answer::Takes(ms(100)));
    w.prober.want(&key(), &[target("a")], &readiness(exec("ready")));
    assert_eq!(w.state("a").ready, None, "what held before the pause is not known to hold now");
    w.pass(ms(200)).await;
    assert_eq!(w.state("a").ready, Some(true));
}

#[tokio::test(start_paused = true)]
async fn without_a_route_it_is_never_ready_and_says_so() {
    let mut w = world();
    w.prober.want(&key(), &[target("a")], &readiness(probe(Check::Tcp { port: 80 })));
    assert_eq!(w.edge_count(), 1);
    w.pass(ms(60_000)).await;
    let state = w.state("a");
    assert!(state.unreachable && state.ready.is_none() && !state.started, "{state:?}");
    assert_eq!(state.message, "port 80 cannot be reached: the container has no address, and does not publish it");
    assert_eq!(w.edge_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_service_with_liveness_alone_is_ready_from_the_start() {
    let w = world();
    let probes = Probes { liveness: Some(exec("alive")), ..Probes::default() };
    w.prober.want(&key(), &[target("a")], &probes);
    let state = w.state("a");
    assert!(state.started && state.ready == Some(true) && state.live.is_none(), "{state:?}");
    w.pass(ms(2)).await;
    assert_eq!(w.state("a").live, Some(true));
}

#[tokio::test(start_paused = true)]
async fn the_last_try_of_each_probe_is_kept() {
    let w = world();
    w.script.say("ready", Answer::Code(3, "a\nlast line\n"));
    let probes = Probes { startup: Some(exec("up")), ..readiness(exec("ready")) };
    w.prober.want(&key(), &[target("a")], &probes);
    w.pass(ms(2)).await;
    let last = w.prober.last(&key(), &ContainerId::new("a"));
    assert_eq!(
        last.iter().map(|l| (l.role, l.passed)).collect::<Vec<_>>(),
        [(ProbeRole::Startup, true), (ProbeRole::Readiness, false)]
    );
    assert_eq!(
        (last[1].route.as_str(), last[1].kind, last[1].message.as_str()),
        ("exec", "exec", "exit code 3: last line")
    );
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_probes_cost_one_timer_heap() {
    let w = world();
    for i in 0..10_000 {
        w.prober.want(&ResourceKey::service(format!("s{i}")), &[target("a")], &readiness(exec("ready")));
    }
    w.pass(ms(10_500)).await;
    assert_eq!(w.script.times("ready").len(), 30_000, "at 0, 5 and 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_status_without_daemon_asks_each_probe_once() {
    let w = world();
    w.script.say("up", Answer::Code(1, "starting"));
    let engine = &w.prober.engine_for_tests();
    let probes = Probes { startup: Some(exec("up")), ..readiness(exec("ready")) };
    let state = probe_once(&**engine, &target("a"), &probes).await;
    assert_eq!((state.started, state.ready, state.message.as_str()), (false, Some(false), "exit code 1: starting"));
    w.script.say("up", Answer::Code(0, ""));
    let state = probe_once(&**engine, &target("a"), &probes).await;
    assert_eq!((state.started, state.ready), (true, Some(true)));
    assert_eq!((w.script.times("up").len(), w.script.times("ready").len()), (2, 2));
}
