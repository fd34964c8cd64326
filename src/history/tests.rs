use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::*;

/// Set by hand.
#[derive(Default)]
struct TestClock(AtomicU64);

impl TestClock {
    fn at(ms: u64) -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(ms)))
    }

    fn set(&self, ms: u64) {
        self.0.store(ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

const START: u64 = 1_700_000_000_000;

fn about(name: &str, message: impl Into<String>) -> Happening {
    Happening {
        subject: Some(ResourceKey::service(name)),
        reason: EventReason::Exited,
        message: message.into(),
        by: Actor::Docker,
    }
}

fn messages(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|e| e.message.clone()).collect()
}

/// One on disk, with its writer at work.
struct OnDisk {
    dir: TempDir,
    clock: Arc<TestClock>,
    history: History,
    stop: CancellationToken,
    writer: tokio::task::JoinSet<()>,
}

impl OnDisk {
    fn open(dir: TempDir, ms: u64) -> Self {
        let clock = TestClock::at(ms);
        let history = History::open(&dir.path().join("stack"), clock.clone()).unwrap();
        let (stop, mut writer) = (CancellationToken::new(), tokio::task::JoinSet::new());
        let (running, until) = (history.clone(), stop.clone());
        writer.spawn(async move { running.run(until).await });
        Self { dir, clock, history, stop, writer }
    }

    fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap(), START)
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("stack").join(disk::FILE)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.file()).unwrap_or_default()
    }

    /// Until a state is there; the clock is paused, so waiting costs nothing.
    async fn wait(&self, mut is_so: impl FnMut(&Self) -> bool) {
        let reached = async {
            while !is_so(self) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(10), reached).await.expect("it never came to be so");
    }

    async fn end(mut self) -> TempDir {
        self.stop.cancel();
        while let Some(ended) = self.writer.join_next().await {
            ended.unwrap();
        }
        self.dir
    }

    /// Ended and opened again, `ms` by the clock.
    async fn again(self, ms: u64) -> Self {
        Self::open(self.end().await, ms)
    }
}

#[test]
fn what_happens_again_is_counted_moves_to_the_end_and_keeps_its_first_time() {
    let clock = TestClock::at(START);
    let history = History::in_memory(clock.clone());
    history.set_revision("r1".into());
    let first = history.record(about("redis", "process ended with exit code 1"));
    history.record(about("redis", "another"));
    history.record(about("kafka", "process ended with exit code 1"));
    clock.set(START + 60_000);
    history.set_revision("r2".into());
    let again = history.record(about("redis", "process ended with exit code 1"));
    assert!(again > first);
    let all = history.list(&[], None);
    assert_eq!(
        all.iter().map(|e| (e.subject.as_ref().unwrap().name.to_string(), e.count)).collect::<Vec<_>>(),
        [("redis".to_owned(), 1), ("kafka".to_owned(), 1), ("redis".to_owned(), 2)]
    );
    let last = &all[2];
    assert_eq!((last.first, last.last, last.sequence), (Timestamp(START), Timestamp(START + 60_000), again));
    assert_eq!(&*last.revision, "r2");
}

#[test]
fn only_the_same_words_by_the_same_one_within_ten_minutes_are_a_repetition() {
    let clock = TestClock::at(START);
    let history = History::in_memory(clock.clone());
    history.record(about("redis", "a"));
    history.record(Happening { by: Actor::Outside, ..about("redis", "a") });
    history.record(Happening { reason: EventReason::Stalled, ..about("redis", "a") });
    history.record(Happening { subject: None, ..about("redis", "a") });
    assert_eq!(history.list(&[], None).len(), 4);
    let within = u64::try_from(REPEATS_WITHIN.as_millis()).unwrap();
    clock.set(START + within);
    history.record(about("redis", "a"));
    assert_eq!(history.list(&[], None).len(), 4, "the last moment counts");
    clock.set(START + 2 * within + 1);
    history.record(about("redis", "a"));
    assert_eq!(history.list(&[], None).len(), 5);
}

#[test]
fn a_repetition_is_looked_for_among_the_subject_s_last_sixteen_alone() {
    let history = History::in_memory(TestClock::at(START));
    history.record(about("redis", "a"));
    (1..REPEATS_AMONG).for_each(|n| _ = history.record(about("redis", format!("other {n}"))));
    // Of others, as many as they like.
    (0..50).for_each(|n| _ = history.record(about("kafka", format!("other {n}"))));
    history.record(about("redis", "a"));
    let redis = [ResourceKey::service("redis")];
    assert_eq!(history.list(&redis, None).len(), REPEATS_AMONG);
    // It is the newest now; sixteen later ones push it out of sight.
    (0..REPEATS_AMONG).for_each(|n| _ = history.record(about("redis", format!("more {n}"))));
    history.record(about("redis", "a"));
    assert_eq!(history.list(&redis, None).iter().filter(|e| e.message == "a").count(), 2);
}

#[test]
fn a_crash_loop_pushes_out_nothing() {
    let clock = TestClock::at(START);
    let history = History::in_memory(clock.clone());
    history.record(about("redis", "Created"));
    for n in 1..5_000 {
        clock.set(START + n * 30_000);
        history.record(about("redis", "process ended with exit code 1"));
        history.record(about("redis", "not ready"));
    }
    let all = history.list(&[], None);
    assert_eq!(all.iter().map(|e| e.count).collect::<Vec<_>>(), [1, 4_999, 4_999]);
}

#[test]
fn the_oldest_of_a_subject_go_at_its_bound_and_the_oldest_of_all_at_theirs() {
    let history = History::in_memory(TestClock::at(START));
    history.record(about("quiet", "kept"));
    (0..MAX_ENTRIES_A_SUBJECT + 50).for_each(|n| _ = history.record(about("loud", n.to_string())));
    let loud = history.list(&[ResourceKey::service("loud")], None);
    assert_eq!((loud.len(), &*loud[0].message), (MAX_ENTRIES_A_SUBJECT, "50"));
    assert_eq!(history.list(&[], Some(MAX_ENTRIES)).len(), MAX_ENTRIES_A_SUBJECT + 1, "the quiet one keeps its past");
    for n in 0..MAX_ENTRIES {
        history.record(about(&format!("service-{}", n % 100), n.to_string()));
    }
    let all = history.list(&[], None);
    assert_eq!((all.len(), &*all[0].message), (MAX_ENTRIES, "0"));
}

#[test]
fn the_newest_of_a_list_are_given_oldest_first() {
    let history = History::in_memory(TestClock::at(START));
    (0..10).for_each(|n| _ = history.record(about(if n % 2 == 0 { "even" } else { "odd" }, n.to_string())));
    let even = [ResourceKey::service("even")];
    assert_eq!(messages(&history.list(&even, Some(2))), ["6", "8"]);
    assert_eq!(messages(&history.list(&[], Some(3))), ["7", "8", "9"]);
    assert!(history.list(&[ResourceKey::network("even")], None).is_empty());
}

#[test]
fn a_reader_gets_the_whole_then_changes_and_is_told_what_it_missed() {
    let history = History::in_memory(TestClock::at(START));
    let watch = history.subscribe();
    history.record(about("a", "1"));
    history.record(about("b", "2"));
    assert!(watch.has_changed().unwrap());
    let (seen, entries, missed) = history.since(0);
    assert_eq!((messages(&entries), missed), (vec!["1".to_owned(), "2".to_owned()], 0));
    assert_eq!(history.since(seen), (seen, vec![], 0));
    // Again and again is one change to a reader who was away.
    (0..500).for_each(|_| _ = history.record(about("a", "1")));
    let (seen, entries, missed) = history.since(seen);
    assert_eq!((entries.len(), entries[0].count, missed), (1, 501, 0));
    (0..MAX_ENTRIES_A_SUBJECT + 30).for_each(|n| _ = history.record(about("a", format!("new {n}"))));
    let (newest, entries, missed) = history.since(seen);
    assert_eq!((entries.len(), missed), (MAX_ENTRIES_A_SUBJECT, 30));
    assert_eq!(*watch.borrow(), newest);
    assert_eq!(history.since(newest).2, 0);
    assert_eq!(history.since(0).2, 0, "who begins has missed nothing");
}

#[test]
fn a_reader_far_behind_costs_no_memory_and_is_told_of_all_it_missed() {
    let history = History::in_memory(TestClock::at(START));
    let (seen, ..) = history.since(0);
    (0..40_000).for_each(|n| _ = history.record(about("a", n.to_string())));
    assert_eq!(history.since(seen).2, 40_000 - MAX_ENTRIES_A_SUBJECT as u64);
}

#[test]
fn a_clock_that_is_put_back_changes_no_order() {
    let clock = TestClock::at(START);
    let history = History::in_memory(clock.clone());
    history.record(about("a", "again"));
    let before = history.record(about("a", "before"));
    clock.set(START - 86_400_000);
    let after = history.record(about("a", "after"));
    assert!(after > before);
    history.record(about("a", "again"));
    let all = history.list(&[], None);
    assert_eq!(messages(&all), ["before", "after", "again"]);
    assert!(all[2].first <= all[2].last && all[2].count == 2);
}

#[test]
fn messages_are_one_short_harmless_line() {
    let history = History::in_memory(TestClock::at(START));
    history.record(about("a", "\u{1b}[31mred\u{7}\nnext\tline\u{202e}\r\n"));
    let by = Actor::Caller("uid 0\u{1b}[2J".to_owned());
    history.record(Happening { by, ..about("a", "é".repeat(4_000)) });
    let all = history.list(&[], None);
    assert_eq!(all[0].message, "�[31mred� next line�");
    assert!(all[1].message.len() <= MAX_MESSAGE && all[1].message.ends_with("é…"), "{}", all[1].message);
    assert_eq!(all[1].by, Actor::Caller("uid 0�[2J".to_owned()));
    assert_eq!(printable(&"x".repeat(MAX_MESSAGE), MAX_MESSAGE).len(), MAX_MESSAGE);
}

#[test]
fn recorders_on_many_threads_lose_nothing() {
    let history = History::in_memory(TestClock::at(START));
    let (begin, ..) = history.since(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let history = history.clone();
            scope.spawn(move || {
                for n in 0..100 {
                    history.record(about(&format!("service-{thread}"), n.to_string()));
                    history.record(about("shared", "the same"));
                }
            });
        }
    });
    let all = history.list(&[], None);
    assert_eq!(all.len(), 801);
    assert_eq!(all.iter().map(|e| e.count).sum::<u64>(), 1_600);
    assert!(all.is_sorted_by(|a, b| a.sequence < b.sequence));
    assert_eq!(*history.subscribe().borrow(), begin + 1_600);
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_what_happened_and_goes_on_counting() {
    let it = OnDisk::new();
    it.history.set_revision("3f2a91c+edits".into());
    for reason in EventReason::ALL {
        it.history.record(Happening { reason: *reason, ..about("redis", "quoted \"so\" \\ and ü") });
    }
    for subject in [None, Some(ResourceKey::network("env-manager")), Some(ResourceKey::volume("data"))] {
        for by in [Actor::EnvManager, Actor::Docker, Actor::Outside, Actor::Caller("uid 0".to_owned())] {
            it.history.record(Happening { subject: subject.clone(), by, ..about("", "m") });
        }
    }
    it.history.record(about("redis", "again"));
    it.history.record(about("redis", "again"));
    let before = it.history.list(&[], None);
    let it = it.again(START + 5_000).await;
    assert_eq!(it.history.list(&[], None), before);
    assert_eq!(fs::metadata(it.file()).unwrap().permissions().mode() & 0o777, 0o600);
    // What was begun before is counted on, on disk too.
    let last = it.history.record(about("redis", "again"));
    assert!(last > before.last().unwrap().sequence);
    let it = it.again(START + 9_000).await;
    let all = it.history.list(&[], None);
    assert_eq!((all.len(), all.last().unwrap().count), (before.len(), 3));
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn it_is_written_while_it_runs_many_at_once_and_each_entry_once() {
    let it = OnDisk::new();
    (0..100).for_each(|_| _ = it.history.record(about("redis", "again")));
    it.wait(|it| !it.text().is_empty()).await;
    assert_eq!(it.text().lines().count(), 1);
    assert!(it.text().contains("\"count\":100"), "{}", it.text());
    it.history.record(about("redis", "another"));
    it.wait(|it| it.text().lines().count() == 2).await;
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_while_nothing_happens() {
    let dir = tempfile::tempdir().unwrap();
    let history = History::open(dir.path(), TestClock::at(START)).unwrap();
    let (stop, polls) = (CancellationToken::new(), Arc::new(AtomicU64::new(0)));
    let mut running = Box::pin({
        let (history, stop) = (history.clone(), stop.clone());
        async move { history.run(stop).await }
    });
    let mut writer = tokio::task::JoinSet::new();
    let count = polls.clone();
    writer.spawn(std::future::poll_fn(move |cx| {
        count.fetch_add(1, Ordering::SeqCst);
        running.as_mut().poll(cx)
    }));
    history.record(about("redis", "one"));
    sleep(Duration::from_secs(10)).await;
    assert!(dir.path().join(disk::FILE).exists());
    let before = polls.load(Ordering::SeqCst);
    sleep(Duration::from_hours(1)).await;
    assert_eq!(polls.load(Ordering::SeqCst), before, "it woke while nothing happened");
    stop.cancel();
    writer.join_next().await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn looking_makes_nothing() {
    let it = OnDisk::new();
    let dir = it.end().await;
    assert!(!dir.path().join("stack").exists());
}

#[tokio::test(start_paused = true)]
async fn a_torn_last_line_loses_only_itself() {
    let it = OnDisk::new();
    it.history.record(about("redis", "one"));
    it.history.record(about("redis", "two"));
    let file = it.file();
    let dir = it.end().await;
    let text = fs::read(&file).unwrap();
    fs::write(&file, &text[..text.len() - 20]).unwrap();
    let it = OnDisk::open(dir, START + 1_000);
    assert_eq!(messages(&it.history.list(&[], None)), ["one"]);
    it.history.record(about("redis", "three"));
    let it = it.again(START + 2_000).await;
    assert_eq!(messages(&it.history.list(&[], None)), ["one", "three"]);
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn spoilt_lines_and_those_of_a_newer_version_are_skipped() {
    let it = OnDisk::new();
    it.history.record(about("redis", "one"));
    it.history.record(about("redis", "two"));
    let file = it.file();
    let dir = it.end().await;
    let text = fs::read_to_string(&file).unwrap();
    let (one, two) = text.split_once('\n').unwrap();
    let lines = [
        one.as_bytes().to_vec(),
        vec![0, 159, 146, 150, 255],
        one.replace("Exited", "Teleported").into_bytes(),
        one.replace("\"v\":1", "\"v\":2").into_bytes(),
        b"{\"v\":7,\"what\":\"else\"}".to_vec(),
        one.replace("service/", "pod/").into_bytes(),
        one.replace(&START.to_string()[..4], "9999999999999999").into_bytes(),
        two.trim().as_bytes().to_vec(),
    ];
    fs::write(&file, lines.join(&b'\n')).unwrap();
    let it = OnDisk::open(dir, START + 1_000);
    assert_eq!(messages(&it.history.list(&[], None)), ["one", "two"]);
    let next = it.history.record(about("redis", "three"));
    assert!(next < START + 100_000, "a spoilt number is not gone on from");
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_of_rubbish_loses_the_past_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("stack")).unwrap();
    fs::write(dir.path().join("stack").join(disk::FILE), vec![0xfe; 100_000]).unwrap();
    let it = OnDisk::open(dir, START);
    assert!(it.history.list(&[], None).is_empty());
    it.history.record(about("redis", "one"));
    let it = it.again(START + 1_000).await;
    assert_eq!(messages(&it.history.list(&[], None)), ["one"]);
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn numbers_go_on_growing_where_the_file_was_deleted_or_the_clock_put_back() {
    let it = OnDisk::new();
    let first = it.history.record(about("redis", "one"));
    let it = it.again(START - 1_000_000).await;
    let second = it.history.record(about("redis", "two"));
    assert!(second > first, "the file knows better than the clock");
    let file = it.file();
    let dir = it.end().await;
    fs::remove_file(file).unwrap();
    let it = OnDisk::open(dir, START + 10_000);
    assert!(it.history.since(0).0 > second, "the clock knows better than nothing");
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_deleted_meanwhile_is_written_again_whole() {
    let it = OnDisk::new();
    it.history.record(about("redis", "one"));
    it.wait(|it| !it.text().is_empty()).await;
    fs::remove_dir_all(it.file().parent().unwrap()).unwrap();
    it.history.record(about("redis", "two"));
    let it = it.again(START + 1_000).await;
    assert_eq!(messages(&it.history.list(&[], None)), ["one", "two"]);
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_of_twice_what_is_kept_is_written_anew() {
    let it = OnDisk::new();
    it.history.record(about("redis", "once"));
    let mut most = 0;
    for n in 1..=1_000 {
        let sequence = it.history.record(about("kafka", "again"));
        it.wait(|it| it.text().contains(&format!("\"sequence\":{sequence},"))).await;
        most = most.max(it.text().lines().count());
        assert_eq!(it.history.list(&[], None).last().unwrap().count, n);
    }
    assert!((100..=300).contains(&most), "{most} lines");
    let it = it.again(START + 1_000).await;
    assert_eq!(it.history.list(&[], None).iter().map(|e| e.count).collect::<Vec<_>>(), [1, 1_000]);
    assert!(!it.file().with_file_name("events.jsonl.partial").exists());
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_costs_nothing_once_it_takes_again() {
    let it = OnDisk::new();
    let folder = it.file().parent().unwrap().to_owned();
    // Nobody can make a folder here, root neither.
    fs::write(&folder, "in the way").unwrap();
    it.history.record(about("redis", "one"));
    sleep(Duration::from_mins(5)).await;
    it.clock.set(START + 300_000);
    it.history.record(about("redis", "two"));
    assert_eq!(it.history.list(&[], None).len(), 2, "it is kept in memory");
    fs::remove_file(&folder).unwrap();
    it.wait(|it| it.text().lines().count() == 2).await;
    it.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_history_in_memory_runs_until_it_is_told_to_end() {
    let history = History::in_memory(TestClock::at(START));
    let stop = CancellationToken::new();
    let mut run = tokio::task::JoinSet::new();
    let (running, until) = (history.clone(), stop.clone());
    run.spawn(async move { running.run(until).await });
    history.record(about("redis", "one"));
    sleep(Duration::from_mins(1)).await;
    assert!(run.try_join_next().is_none());
    stop.cancel();
    run.join_next().await.unwrap().unwrap();
}
