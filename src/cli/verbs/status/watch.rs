//! `status --watch`: on a terminal the table is drawn again and again; elsewhere each change is printed.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use super::{Arguments, Session, check_names, only};
use crate::cli::args::{Output, OutputArg};
use crate::cli::exit::{Exit, Failure};
use crate::cli::follow::{self, News, Whole};
use crate::cli::remote::Remote;
use crate::cli::screen::{Screen, Size};
use crate::cli::table::{self, Show};
use crate::cli::terminal::{WARN, paint};
use crate::cli::{interrupted, json};
use crate::clock::Timestamp;
use crate::config::Loaded;
use crate::report::StatusReport;

/// Ages go on while nothing happens.
const TICK: Duration = Duration::from_secs(1);

pub async fn run(
    session: &Session,
    configuration: &Loaded,
    arguments: &Arguments,
    remote: Remote,
) -> Result<Exit, Failure> {
    let live = session.terminal.out.live && arguments.output.is_text();
    let mut news = follow::convergence(session, configuration, remote);
    let mut whole = Whole::default();
    let mut face = Face::new(session, arguments, live);
    let mut tick = tokio::time::interval(TICK);
    let mut resized = signal(SignalKind::window_change()).map_err(|e| Failure::from_error(Exit::Error, &e))?;
    let interrupt = interrupted();
    tokio::pin!(interrupt);
    loop {
        // Cancel-safe: the stream keeps where it is, and so do the others.
        tokio::select! {
            biased;
            () = &mut interrupt => {
                face.leave();
                return Ok(Exit::Interrupted);
            }
            next = news.next() => match next {
                None => return Err(Failure::new(Exit::Unreachable, "the daemon ended its answer")),
                Some(Err(failure)) => return Err(failure),
                Some(Ok(News::Away(why))) => face.away(&follow::sentence(&why)),
                Some(Ok(News::Back)) => face.back(),
                Some(Ok(News::Came(message))) => if let Some((report, _)) = whole.take_in(message) {
                    if face.report.is_none() {
                        check_names(&arguments.names, report)?;
                    }
                    if !face.show(report) {
                        return Ok(Exit::Done);
                    }
                }
            },
            _ = tick.tick(), if live => face.draw(),
            _ = resized.recv(), if live => face.draw(),
        }
    }
}

/// What the user sees.
struct Face<'a> {
    session: &'a Session,
    names: &'a [String],
    output: OutputArg,
    /// `None`: what is printed stays printed.
    screen: Option<Screen>,
    /// The newest, and when it came.
    report: Option<(StatusReport, Instant)>,
    away: Option<String>,
}

impl<'a> Face<'a> {
    fn new(session: &'a Session, arguments: &'a Arguments, live: bool) -> Self {
        let screen = live.then(|| Screen::new(session.terminal.out.color));
        Self { session, names: &arguments.names, output: arguments.output, screen, report: None, away: None }
    }

    /// `false`: the reader has gone away.
    fn show(&mut self, report: &StatusReport) -> bool {
        let shown = only(report.clone(), self.names, self.output);
        let news = self.report.as_ref().is_none_or(|(before, _)| differ(before, &shown));
        let first = self.report.replace((shown, Instant::now())).is_none();
        if self.screen.is_some() {
            self.draw();
            return true;
        }
        !news || self.print(first)
    }

    /// One document a change: JSON a line each, YAML and tables with something between.
    fn print(&self, first: bool) -> bool {
        let Some((report, _)) = &self.report else { return true };
        let between = |line: &str| if first { String::new() } else { line.to_owned() };
        self.session.terminal.out.print(&match self.output.output {
            Output::Json => json::to_line(report),
            Output::Yaml => format!("{}{}", between("---\n"), json::to_yaml(report)),
            Output::Table | Output::Wide => format!("{}{}", between("\n"), self.text(report)),
        })
    }

    fn text(&self, report: &StatusReport) -> String {
        let wide = self.output.output == Output::Wide;
        let width = self.screen.as_ref().map(|_| Size::of_stdout().width);
        table::render(report, Show { wide, names: self.names, width, ..self.session.show() })
    }

    /// As things are now: with ages that go on.
    fn now(&self) -> Option<String> {
        let (report, came) = self.report.as_ref()?;
        let mut report = report.clone();
        if let Some(time) = Timestamp::parse(&report.time) {
            report.time = time.plus(came.elapsed()).to_string();
        }
        let mut text = self.text(&report);
        if let Some(why) = &self.away {
            text.push_str(&format!("{}\n", paint(WARN, &format!("{why}; waiting for it to come back"))));
        }
        Some(text)
    }

    fn draw(&mut self) {
        let text = self.now();
        if let Some((text, screen)) = text.zip(self.screen.as_mut()) {
            screen.draw(&text, Size::of_stdout());
        }
    }

    fn away(&mut self, why: &str) {
        if self.screen.is_none() {
            self.session.terminal.err.print(&format!("{why}; waiting for it to come back\n"));
        }
        self.away = Some(why.to_owned());
        self.draw();
    }

    fn back(&mut self) {
        if self.screen.is_none() {
            self.session.terminal.err.print("there is a daemon again\n");
        }
        self.away = None;
    }

    /// What was shown last stays.
    fn leave(mut self) {
        let text = self.now().unwrap_or_default();
        if let Some(screen) = self.screen.take() {
            screen.leave(&text);
        }
    }
}

/// In anything but the time.
fn differ(a: &StatusReport, b: &StatusReport) -> bool {
    let timeless = |report: &StatusReport| StatusReport { time: String::new(), ..report.clone() };
    timeless(a) != timeless(b)
}
