//! Every call with its deadline, and the wrapper that each one goes through.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::{Docker, error};
use crate::engine::{EngineError, ErrorKind, Result};

/// What is asked of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    Info,
    ListContainers,
    InspectContainer,
    FilesMarker,
    ListNetworks,
    ListVolumes,
    InspectImage,
    AskRegistry,
    Events,
    LogTail,
    Logs,
    CreateContainer,
    Connect,
    Disconnect,
    Upload,
    Start,
    Stop,
    Rename,
    SetRestartPolicy,
    UpdateLimits,
    RemoveContainer,
    CreateNetwork,
    RemoveNetwork,
    CreateVolume,
    RemoveVolume,
    Pull,
    Exec,
    ExecRunning,
}

/// One row of the table of deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub call: Call,
    /// As errors name it: `create container`.
    pub operation: &'static str,
    pub seconds: u64,
    /// What the number bounds, where that is not the whole call.
    pub note: &'static str,
}

const fn row(call: Call, operation: &'static str, seconds: u64, note: &'static str) -> Deadline {
    Deadline { call, operation, seconds, note }
}

/// No call is without one (P12). A call that ran out of time may have taken effect all the same.
/// `docs/engine.md` has the same table, and a test compares the two.
pub const DEADLINES: &[Deadline] = &[
    row(Call::Info, "connect to", 10, ""),
    row(Call::ListContainers, "list containers", 30, ""),
    row(Call::InspectContainer, "inspect container", 10, ""),
    row(Call::FilesMarker, "look for the files of container", 10, ""),
    row(Call::ListNetworks, "list networks", 10, ""),
    row(Call::ListVolumes, "list volumes", 30, ""),
    row(Call::InspectImage, "inspect image", 10, ""),
    row(Call::AskRegistry, "ask the registry about image", 60, ""),
    row(Call::Events, "follow events of", 10, "until the stream is open; it then lasts"),
    row(Call::LogTail, "read logs of container", 10, ""),
    row(Call::Logs, "follow the log of container", 10, "until the log is open; it then lasts"),
    row(Call::CreateContainer, "create container", 60, ""),
    row(Call::Connect, "connect container", 30, ""),
    row(Call::Disconnect, "disconnect container", 30, ""),
    row(Call::Upload, "upload files to container", 60, ""),
    row(Call::Start, "start container", 120, ""),
    row(Call::Stop, "stop container", 10, "beside the stop grace"),
    row(Call::Rename, "rename container", 30, ""),
    row(Call::SetRestartPolicy, "set restart policy of container", 30, ""),
    row(Call::UpdateLimits, "update limits of container", 30, ""),
    row(Call::RemoveContainer, "remove container", 120, "until its name is free"),
    row(Call::CreateNetwork, "create network", 30, ""),
    row(Call::RemoveNetwork, "remove network", 30, ""),
    row(Call::CreateVolume, "create volume", 60, ""),
    row(Call::RemoveVolume, "remove volume", 60, ""),
    row(Call::Pull, "pull image", 120, "without any sign of progress; no bound on the whole"),
    row(Call::Exec, "run a command in container", 10, "beside the probe's own timeout"),
    row(Call::ExecRunning, "inspect exec", 10, ""),
];

impl Call {
    fn row(self) -> &'static Deadline {
        DEADLINES.iter().find(|d| d.call == self).expect("a test walks the table")
    }

    /// As errors name it.
    pub fn operation(self) -> &'static str {
        self.row().operation
    }
}

/// How long each call may take.
#[derive(Clone, Debug)]
pub struct Deadlines(BTreeMap<Call, Duration>);

impl Default for Deadlines {
    fn default() -> Self {
        Self(DEADLINES.iter().map(|d| (d.call, Duration::from_secs(d.seconds))).collect())
    }
}

impl Deadlines {
    /// The same for every call.
    pub fn all(deadline: Duration) -> Self {
        Self(DEADLINES.iter().map(|d| (d.call, deadline)).collect())
    }

    pub fn of(&self, call: Call) -> Duration {
        self.0[&call]
    }
}

impl Docker {
    /// Makes one call: negotiates the API version if that has not been done yet, keeps the call's
    /// deadline, translates errors.
    // Boxed, since bollard's futures hold whole request bodies: what awaits them stays small.
    pub(super) fn call<'a, T: 'a>(
        &'a self,
        call: Call,
        subject: &'a str,
        work: impl Future<Output = std::result::Result<T, bollard::errors::Error>> + Send + 'a,
    ) -> impl Future<Output = Result<T>> + Send + 'a {
        let work = Box::pin(work);
        async move {
            self.api(call, subject).await?;
            self.within(call, self.deadlines.of(call), subject, work).await
        }
    }

    /// The part of [`Docker::call`] that keeps a deadline and translates errors.
    pub(super) async fn within<T>(
        &self,
        call: Call,
        deadline: Duration,
        subject: &str,
        work: impl Future<Output = std::result::Result<T, bollard::errors::Error>> + Send,
    ) -> Result<T> {
        self.metered(call, async {
            match tokio::time::timeout(deadline, work).await {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(error)) => Err(self.translate(call, subject, &error)),
                Err(_) => Err(timed_out(call, subject, deadline)),
            }
        })
        .await
    }

    /// Tells the meter how long it took. What is dropped before its end is told by nobody.
    pub(super) async fn metered<T>(&self, call: Call, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(meter) = &self.meter else { return work.await };
        let began = Instant::now();
        let answer = work.await;
        // That something is not there is an answer, and often the one that was hoped for.
        let ok = match &answer {
            Ok(_) => true,
            Err(e) => {
                e.kind == ErrorKind::NotFound || (call, &e.kind) == (Call::InspectImage, &ErrorKind::ImageNotFound)
            }
        };
        meter.called(call.operation(), ok, began.elapsed());
        answer
    }

    /// Several calls that together are one, and together keep its deadline.
    pub(super) async fn together<T>(
        &self,
        call: Call,
        subject: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let deadline = self.deadlines.of(call);
        if let Ok(answer) = tokio::time::timeout(deadline, work).await {
            return answer;
        }
        // The one within was dropped, and told nothing.
        if let Some(meter) = &self.meter {
            meter.called(call.operation(), false, deadline);
        }
        Err(timed_out(call, subject, deadline))
    }

    pub(super) fn translate(&self, call: Call, subject: &str, error: &bollard::errors::Error) -> EngineError {
        let error = error::translate(call, subject, &self.address, error);
        if error.kind == ErrorKind::Unreachable || error::speaks_another_version(&error) {
            // The engine was, or may have been, exchanged for another one: the next call negotiates anew.
            self.spoken.forget();
        }
        error
    }
}

pub(in crate::engine) fn timed_out(call: Call, subject: &str, deadline: Duration) -> EngineError {
    let text = format!("the engine did not answer within {}", humantime::format_duration(deadline));
    EngineError::new(call.operation(), subject, ErrorKind::Timeout, text)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::CallMeter;

    #[derive(Default)]
    struct Noted(Mutex<Vec<(&'static str, bool, Duration)>>);

    impl CallMeter for Noted {
        fn called(&self, operation: &'static str, ok: bool, took: Duration) {
            self.0.lock().unwrap().push((operation, ok, took));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_meter_is_told_of_every_call_with_its_outcome_and_duration() {
        let client = bollard::Docker::connect_with_http("tcp://127.0.0.1:9", 4, bollard::API_DEFAULT_VERSION).unwrap();
        let noted = Arc::new(Noted::default());
        let docker = Docker::new(client, "tcp://127.0.0.1:9", true)
            .with_deadlines(Deadlines::all(Duration::from_secs(30)))
            .with_meter(noted.clone());
        let answer = |code, after| async move {
            tokio::time::sleep(Duration::from_millis(after)).await;
            match code {
                200 => Ok(()),
                status_code => {
                    Err(bollard::errors::Error::DockerResponseServerError { status_code, message: "no".to_owned() })
                }
            }
        };
        let deadline = Duration::from_secs(10);
        docker.within(Call::Start, deadline, "redis", answer(200, 120)).await.unwrap();
        docker.within(Call::InspectContainer, deadline, "redis", answer(404, 3)).await.unwrap_err();
        docker.within(Call::Stop, deadline, "redis", answer(500, 7)).await.unwrap_err();
        docker.within(Call::Stop, deadline, "redis", answer(200, 11_000)).await.unwrap_err();
        let never = std::future::pending::<Result<()>>();
        docker.together(Call::RemoveContainer, "redis", never).await.unwrap_err();
        let ms = Duration::from_millis;
        let expected = [
            ("start container", true, ms(120)),
            // Not there is an answer too.
            ("inspect container", true, ms(3)),
            ("stop container", false, ms(7)),
            ("stop container", false, ms(10_000)),
            ("remove container", false, ms(30_000)),
        ];
        // The timer's resolution is a millisecond.
        let told = noted.0.lock().unwrap().clone();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for (told, expected) in told.iter().zip(expected) {
            assert_eq!((told.0, told.1, told.2.as_millis()), (expected.0, expected.1, expected.2.as_millis()));
        }
    }

    #[test]
    fn every_call_is_in_the_table_once_and_in_the_documentation() {
        let rows: BTreeMap<_, _> = DEADLINES.iter().map(|d| (d.call, d)).collect();
        assert_eq!(rows.len(), DEADLINES.len());
        // The enum has no holes, so its last discriminant tells how many there are.
        assert_eq!(rows.len(), Call::ExecRunning as usize + 1);
        let docs = include_str!("../../../docs/engine.md");
        for d in DEADLINES {
            let row = format!("| {} | {} s | {} |", d.operation, d.seconds, d.note);
            assert!(docs.contains(row.trim_end_matches("  |")), "docs/engine.md lacks `{row}`");
        }
    }
}
