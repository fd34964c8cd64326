//! The new container first: who asks by name is answered all through an update.

use std::fmt;

use serde_json::Value;

use crate::running::Daemon;
use crate::stack::{STAND_IN, Stack, docker, service, soon, text};

/// Asks by name, one connection for each request, until a file tells it to end; a lookup that fails is tried
/// once more a fifth of a second later. Perl is what Debian's smallest image has. The gap is that from one answer to the next one
/// after a failure.
const CLIENT: &str = r#"
use strict; use warnings; use IO::Socket::INET;
my ($name, $least, $patience, $stop) = @ARGV;
$SIG{PIPE} = 'IGNORE';
sub uptime { open my $f, '<', '/proc/uptime' or die; (split ' ', <$f>)[0] }
my ($asked, $failed, $again, $gap, $missing) = (0, 0, 0, 0, 0);
my ($answered_at, %by, %why) = (uptime());
until (-e $stop && $asked >= $least) {
    $asked++;
    my $address = gethostbyname($name);
    unless ($address) { $again++; select undef, undef, undef, 0.2; $address = gethostbyname($name) }
    my ($answer, $why) = ('', 'lookup');
    if ($address) {
        my $to = IO::Socket::INET->new(PeerAddr => inet_ntoa($address), PeerPort => 8080, Timeout => $patience);
        $why = $to ? 'no answer' : "$!";
        if ($to) { print $to "GET /standin HTTP/1.0\r\n\r\n"; local $/; $answer = <$to> // '' }
    }
    if ($answer =~ /X-Stand-In: (\S+)/i) {
        my $now = uptime();
        $gap = $now - $answered_at if $missing && $now - $answered_at > $gap;
        ($answered_at, $missing) = ($now, 0);
        open my $f, '>', "/tmp/answered.$1" unless $by{$1}++;
    } else { $failed++; $missing = 1; $why{$why}++ }
    select undef, undef, undef, 0.001;
}
my $object = sub { my %of = @_; '{' . join(',', map { "\"$_\":$of{$_}" } sort keys %of) . '}' };
print "{\"asked\":$asked,\"failed\":$failed,\"again\":$again,\"gap\":$gap,\"by\":", $object->(%by), ',"why":', $object->(%why), "}\n";
"#;

/// A stack whose containers bear their services' names, which clients then look up.
struct Site {
    stack: Stack,
}

/// What the client saw.
struct Seen {
    asked: u64,
    failed: u64,
    /// Lookups that failed, and were tried once more.
    again: u64,
    /// The longest time without an answer, in seconds. Its clock ticks a hundred times a second.
    gap: f64,
    report: Value,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, failed, again, gap, report } = self;
        write!(
            f,
            "{asked} requests, {failed} failed, {again} lookups tried once more, longest gap {gap:.2} s, answered by {}, why {}",
            report["by"], report["why"]
        )
    }
}

impl Site {
    fn new(test: &str) -> Self {
        let site = Self { stack: Stack::new(test) };
        site.stack.write(
            "stack.yaml",
            "apiVersion: env-manager.dev/v1\nkind: Stack\nmetadata: { name: stack }\nspec: { stop: { gracePeriod: 5s } }\n",
        );
        site
    }

    /// The service, which is its container's name.
    fn web(&self) -> String {
        self.stack.container("web")
    }

    /// Listens a moment after it was started, and says which revision it is.
    fn describe(&self, revision: &str, more: &str) {
        self.describe_slow(revision, "400ms", more);
    }

    fn describe_slow(&self, revision: &str, delay: &str, more: &str) {
        let probe = "probes: { readiness: { http: { port: 8080, path: /health }, interval: 100ms, timeout: 1s } }";
        let env = format!("env: {{ STANDIN_NAME: {revision}, STANDIN_START_DELAY: {delay} }}");
        self.stack.describe(&[service(&self.web(), &format!("command: standin http\n{env}\n{probe}\n{more}"))]);
    }

    /// The first revision serves.
    fn serving(&self) -> Daemon<'_> {
        self.describe("r0", "");
        let daemon = self.stack.daemon();
        daemon.converged();
        daemon
    }

    fn id(&self) -> String {
        self.stack.id("web")
    }

    /// Another one has taken its place, and nothing of the one before is left.
    fn updated(&self, daemon: &Daemon<'_>, before: &str) -> String {
        let after = daemon.replaced(&self.web(), before);
        daemon.converged();
        assert_eq!(self.stack.names().iter().filter(|n| n.starts_with("web")).count(), 1, "{:?}", self.stack.names());
        after
    }

    /// Begins to ask for the service by name. `patience`: how long it waits for a connection, in seconds.
    fn client(&self, least: u32, patience: &str) {
        let (client, network) = (self.stack.container("client"), self.stack.network());
        let least = least.to_string();
        let asks = ["perl", "-e", CLIENT, &self.web(), &least, patience, "/tmp/stop"];
        docker(&[&["run", "-d", "--name", &client, "--network", &network, STAND_IN][..], &asks].concat());
    }

    /// The client has had an answer from this revision.
    fn has_answered(&self, revision: &str) {
        let client = self.stack.container("client");
        let told = || docker(&["exec", &client, "sh", "-c", "echo /tmp/answered.*"]);
        soon("an answer", || told().split(' ').any(|f| f == format!("/tmp/answered.{revision}")).then_some(()));
    }

    /// Ends the client once it has asked often enough.
    fn seen(&self) -> Seen {
        let client = self.stack.container("client");
        docker(&["exec", &client, "touch", "/tmp/stop"]);
        docker(&["wait", &client]);
        let report = docker(&["logs", &client]);
        let report: Value = serde_json::from_str(&report).unwrap_or_else(|e| panic!("{e}: {report}"));
        let count = |name: &str| report[name].as_u64().unwrap_or_default();
        Seen {
            asked: count("asked"),
            failed: count("failed"),
            again: count("again"),
            gap: report["gap"].as_f64().unwrap_or_default(),
            report,
        }
    }
}

#[test]
fn p09_no_request_by_name_fails_while_five_updates_run() {
    let site = Site::new("first");
    let daemon = site.serving();
    site.client(2000, "1");
    site.has_answered("r0");
    let mut id = site.id();
    for revision in 1..=5 {
        site.describe(&format!("r{revision}"), "");
        id = site.updated(&daemon, &id);
        site.has_answered(&format!("r{revision}"));
    }
    let seen = site.seen();
    println!("{seen}");
    assert!(seen.asked >= 2000 && seen.failed == 0, "{seen}");
}

#[test]
fn p09_with_recreate_a_client_sees_a_gap_and_nothing_else() {
    let site = Site::new("recreate");
    let recreate = "update: { strategy: Recreate }";
    site.describe_slow("r0", "0s", recreate);
    let daemon = site.stack.daemon();
    daemon.converged();
    site.client(1, "0.1");
    site.has_answered("r0");
    let before = site.id();
    site.describe_slow("r1", "0s", recreate);
    site.updated(&daemon, &before);
    site.has_answered("r1");
    let seen = site.seen();
    println!("{seen}");
    assert!(seen.failed > 0 && seen.gap > 0.0, "nothing serves from the stop to the start: {seen}");
}

#[test]
fn p09_a_new_one_that_never_serves_is_given_up_and_nobody_notices() {
    let site = Site::new("firstbad");
    let daemon = site.serving();
    site.client(1, "1");
    site.has_answered("r0");
    let before = site.stack.inspect("web");
    site.describe_slow("r1", "1h", "update: { progressDeadline: 2s }");
    daemon.service_is(&site.web(), "it is rolled back", |s| s["phase"] == "RolledBack" && s["ready"] == true);
    // It is said as soon as it is decided; the one that is given up takes its time to stop.
    soon("the one that was given up to be kept", || site.stack.containers().get("web.failed").cloned());
    let after = site.stack.inspect("web");
    let run = |seen: &Value| (text(&seen["Id"]), text(&seen["State"]["StartedAt"]));
    assert_eq!(run(&after), run(&before), "the same run of the same container");
    assert_eq!(after["HostConfig"]["RestartPolicy"], before["HostConfig"]["RestartPolicy"]);
    assert_eq!(site.stack.inspect("web.failed")["State"]["Running"], false);
    assert!(!site.stack.names().iter().any(|n| n == "web.next"));
    let seen = site.seen();
    assert!(seen.failed == 0 && seen.report["by"]["r1"].is_null(), "{seen}");
}

#[test]
fn a_newer_revision_takes_the_place_of_one_that_is_on_its_way() {
    let site = Site::new("firstnew");
    let daemon = site.serving();
    let before = site.id();
    site.describe_slow("r1", "1h", "");
    let next = soon("the new one beside it", || site.stack.containers().get("web.next").cloned());
    assert_eq!(site.id(), before);
    site.describe("r2", "");
    let after = site.updated(&daemon, &before);
    assert_ne!(after, next, "it never listened where it is asked");
}
