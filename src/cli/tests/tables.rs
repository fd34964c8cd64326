use super::super::json::{to_json, to_yaml};
use super::super::layout::{clean, cut, wrap};
use super::super::table::Show;
use super::*;
use crate::report::StatusReport;

fn render(view: &View, wide: bool, names: &[String], width: Option<usize>) -> String {
    table::render(&report(view), Show { wide, names, width, ..Show::default() })
}

fn report(view: &View) -> StatusReport {
    StatusReport::new(view, &[])
}

#[test]
fn a_converged_stack_reads_as_the_first_ten_minutes_promise() {
    let view = view(vec![
        (ResourceKey::service("redis"), ready(true, "PING answered in 0.3 ms")),
        (ResourceKey::service("zookeeper"), ready(false, "Mode: standalone")),
        (ResourceKey::network("env-manager"), ready(false, "exists")),
    ]);
    let show = Show { took: Some(Duration::from_millis(1800)), ..Show::default() };
    insta::assert_snapshot!(plain(&table::render(&report(&view), show)), @r"
    NAME       READY  STATUS  RESTARTS  AGE  REVISION  MESSAGE
    redis      yes    Ready   0         41s  3f2a91c   PING answered in 0.3 ms
    zookeeper  yes    Ready   0         41s  3f2a91c   Mode: standalone
    converged · healthy · 2 of 2 ready (1 required) · ./manifests @ 3f2a91c · took 1.8 s
    ");
}

#[test]
fn tables_in_pipes_are_neither_wrapped_nor_cut() {
    insta::assert_snapshot!(plain(&render(&troubled(), false, &[], None)));
}

#[test]
fn tables_fit_a_wide_terminal() {
    let text = plain(&render(&troubled(), false, &[], Some(120)));
    assert!(text.lines().take(12).all(|l| l.chars().count() <= 120), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn tables_fit_a_usual_terminal() {
    insta::assert_snapshot!(plain(&render(&troubled(), false, &[], Some(80))));
}

#[test]
fn on_a_narrow_terminal_messages_go_below_their_rows() {
    insta::assert_snapshot!(plain(&render(&troubled(), false, &[], Some(50))));
}

#[test]
fn wide_tables_add_image_container_and_dependencies() {
    insta::assert_snapshot!(plain(&render(&troubled(), true, &[], None)));
}

#[test]
fn a_narrow_table_shows_revisions_that_differ() {
    let mut other = ready(false, "");
    other.revision = "9c1d2e3".into();
    let rows = |second| vec![(ResourceKey::service("a"), ready(false, "")), (ResourceKey::service("b"), second)];
    assert!(render(&view(rows(other)), false, &[], Some(80)).contains("REVISION"));
    assert!(!render(&view(rows(ready(false, ""))), false, &[], Some(80)).contains("REVISION"));
}

#[test]
fn styles_are_put_on_without_moving_columns() {
    let styled = render(&troubled(), false, &[], Some(80));
    assert!(styled.contains("\u{1b}[32mReady\u{1b}[0m"), "{styled:?}");
    // What the engine or a container said cannot steer the terminal.
    assert!(!styled.contains("\u{1b}[31mnot found"), "{styled:?}");
}

#[test]
fn names_limit_rows_but_not_the_overall_line() {
    let text = plain(&render(&troubled(), false, &["redis".to_owned()], None));
    assert!(text.lines().count() == 3 && !text.contains("next:") && text.contains("2 of 5 ready"), "{text}");
}

#[test]
fn the_overall_line_tells_every_way_of_not_being_there() {
    let line = |v: &View| plain(&table::overall(&report(v), Show::default()));
    let mut v = view(vec![(ResourceKey::service("redis"), ready(true, ""))]);
    v.invalid_manifests = 1;
    assert_eq!(
        line(&v),
        "not converged · healthy · 1 of 1 ready (1 required) · 1 invalid manifest · ./manifests @ 3f2a91c"
    );
    v.invalid_manifests = 0;
    v.source.kind = SourceKind::Engine;
    v.source.location.clear();
    assert_eq!(line(&v), "converged · healthy · 1 of 1 ready (1 required) · no daemon: read from the engine");
    let v = view(vec![(ResourceKey::service("redis"), stalled(true, Reason::CrashLoop, "ended"))]);
    assert_eq!(line(&v), "not converged · unhealthy · 0 of 1 ready (1 required) · ./manifests @ 3f2a91c");
    assert_eq!(line(&view(vec![])), "converged · healthy · no services · ./manifests @ 3f2a91c");
}

#[test]
fn an_engine_that_is_away_and_a_daemon_that_only_looks_are_said() {
    let mut v = view(vec![(ResourceKey::service("redis"), ready(true, ""))]);
    v.engine.reachable = false;
    v.engine.message = "connection refused".to_owned();
    v.engine.since = Timestamp(NOW.0 - 41_000);
    v.observe_only = true;
    v.source.location = "/home/me/project/manifests".to_owned();
    let line = |here: &str| {
        plain(&table::overall(&report(&v), Show { here: Some(std::path::Path::new(here)), ..Show::default() }))
    };
    assert_eq!(
        line("/home/me/project"),
        "not converged · unhealthy · 1 of 1 ready (1 required) · engine away for 41s: connection refused · observe only · ./manifests @ 3f2a91c"
    );
    assert!(line("/home/me/project/manifests").ends_with(" · . @ 3f2a91c"));
    assert!(line("/srv").ends_with(" · /home/me/project/manifests @ 3f2a91c"));
}

#[test]
fn an_engine_that_is_away_is_not_said_of_each_service() {
    let away = || at(Reason::EngineUnreachable, "the engine cannot be reached");
    let mut v = view(vec![
        (ResourceKey::network("n"), away()),
        (ResourceKey::service("kafka"), away()),
        (ResourceKey::service("redis"), away()),
    ]);
    (v.engine.reachable, v.engine.message) = (false, "connection refused".to_owned());
    insta::assert_snapshot!(plain(&render(&v, false, &[], Some(60))), @r"
    NAME   READY  STATUS    RESTARTS  AGE  MESSAGE
    kafka  no     NotReady  0         -    the engine cannot be…
    redis  no     NotReady  0         -    the engine cannot be…

    next: the engine: start it, or correct `docker_host`; it
          goes on by itself
    not converged · unhealthy · 0 of 2 ready (0 required)
      engine away: connection refused · ./manifests @ 3f2a91c
    ");
}

#[test]
fn findings_stand_between_the_table_and_the_overall_line() {
    let mut v = view(vec![(ResourceKey::service("redis"), ready(true, "PONG"))]);
    v.invalid_manifests = 1;
    v.findings = "error: unknown field `imagge`, did you mean `image`?\n --> manifests/kafka.yaml:9:3\n  |\n9 |   imagge: \u{1b}[2Jx\n  |   ^^^^^^\n".to_owned();
    insta::assert_snapshot!(plain(&render(&v, false, &[], None)), @r"
    NAME   READY  STATUS  RESTARTS  AGE  REVISION  MESSAGE
    redis  yes    Ready   0         41s  3f2a91c   PONG

    error: unknown field `imagge`, did you mean `image`?
     --> manifests/kafka.yaml:9:3
      |
    9 |   imagge: x
      |   ^^^^^^

    not converged · healthy · 1 of 1 ready (1 required) · 1 invalid manifest · ./manifests @ 3f2a91c
    ");
    assert!(render(&v, false, &[], None).contains("\u{1b}[1m\u{1b}[91merror\u{1b}[0m: unknown"));
}

#[test]
fn what_a_newer_daemon_says_is_shown_in_its_own_words() {
    let mut report = report(&view(vec![(ResourceKey::service("redis"), ready(true, ""))]));
    report.services[0].phase = "Dreaming".to_owned();
    report.services[0].reason = "Asleep".to_owned();
    report.services[0].next = Some("wake it".to_owned());
    let text = plain(&table::render(&report, Show::default()));
    assert!(text.contains("Dreaming") && text.contains("next: redis: wake it\n"), "{text}");
}

#[test]
fn views_weigh_into_exit_codes() {
    let mut v = view(vec![(ResourceKey::service("redis"), ready(true, ""))]);
    assert_eq!(Exit::of(&report(&v)), Exit::Done);
    v.source.error = Some("cannot be read".to_owned());
    assert_eq!(Exit::of(&report(&v)), Exit::Invalid);
    assert_eq!(Exit::of(&report(&troubled())), Exit::NotConverged);
}

#[test]
fn ages_have_one_unit() {
    let ages: Vec<_> = [0, 59, 60, 3599, 3600, 172_799, 172_800].map(|s| table::age(Duration::from_secs(s))).into();
    assert_eq!(ages, ["0s", "59s", "1m", "59m", "1h", "47h", "2d"]);
}

#[test]
fn words_are_wrapped_and_long_ones_broken() {
    assert_eq!(wrap("one two three", 7), ["one two", "three"]);
    assert_eq!(wrap("abcdefgh ij", 3), ["abc", "def", "gh", "ij"]);
    assert_eq!(wrap("", 5), [""]);
    assert_eq!(wrap("→→→→", 2), ["→→", "→→"]);
    assert_eq!(wrap("漢字漢字", 3), ["漢", "字", "漢", "字"]);
    assert_eq!(wrap("漢", 1), ["漢"]);
    assert_eq!(cut("abcdef", 4), "abc…");
    assert_eq!(cut("漢字", 3), "漢…");
    assert_eq!(clean("  a\r\n\tb\u{1b}[2Jc\u{7} "), "a bc");
}

#[test]
fn status_json_is_the_contract_s() {
    let json = to_json(&StatusReport::new(&troubled(), &["redis".to_owned()]));
    insta::assert_snapshot!(json);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    for (pointer, keys) in [
        ("", "converged healthy stack source services"),
        ("/source", "kind revision error"),
        (
            "/services/0",
            "name required ready phase reason message generation observedGeneration containerId image restarts dependsOn conditions",
        ),
    ] {
        for key in keys.split(' ') {
            assert!(value.pointer(&format!("{pointer}/{key}")).is_some(), "{pointer}/{key}");
        }
    }
    let yaml: serde_json::Value =
        serde_yaml::from_str(&to_yaml(&StatusReport::new(&troubled(), &["redis".to_owned()]))).unwrap();
    assert_eq!(yaml, value, "yaml says the same");
}
