//! `sync`, `restart`, `suspend`, `resume`, `retry`: what a daemon is asked to do.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use tokio::time::Instant;

use super::Session;
use crate::cli::args::duration;
use crate::cli::exit::{Exit, Failure};
use crate::cli::follow::until_converged;
use crate::cli::layout::clean;
use crate::cli::remote::Remote;
use crate::cli::table::{self, Show};
use crate::config::Loaded;
use crate::controller::converge::Ending;
use crate::proto::env_manager::v1;
use crate::report::StatusReport;

/// `--wait`
#[derive(Clone, Copy, Debug, Args)]
struct Wait {
    /// Follow until everything is converged, for at most so long (then exit code 3) [default: 2m]
    #[arg(
        long,
        value_name = "DURATION",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2m",
        value_parser = duration
    )]
    wait: Option<Duration>,
}

/// Have the daemon read the manifests and look at the engine now
///
/// Returns when both have been done once; with --wait, when everything is converged.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  env-manager sync\n  env-manager sync redis --wait\n  env-manager sync --allow-prune --wait=5m"
)]
pub struct Sync {
    /// Only these services are looked at; the manifests are read whole in any case
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Remove what is no longer described even beyond `prune_limit`, for this revision of the manifests
    #[arg(long)]
    allow_prune: bool,
    #[command(flatten)]
    wait: Wait,
}

/// Have the daemon stop and start services, in place
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  env-manager restart redis\n  env-manager restart redis kafka --wait")]
pub struct Restart {
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    wait: Wait,
}

/// Have the daemon keep its hands off services, until `resume`
///
/// Containers are left as they are; nothing starts, stops or replaces them, whatever their manifests say. It
/// outlives restarts of the daemon.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  env-manager suspend redis")]
pub struct Suspend {
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Have the daemon keep services again
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  env-manager resume redis")]
pub struct Resume {
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Have the daemon try again at once
///
/// Backoff, failed pulls and refused revisions are forgotten.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  env-manager retry\n  env-manager retry kafka")]
pub struct Retry {
    /// Only these services [default: all that have failed]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

pub async fn sync(session: &Session, arguments: &Sync) -> Result<Exit, Failure> {
    let configuration = session.load(arguments.wait.wait.is_some())?;
    let remote = Remote::require(session, &configuration).await?;
    let began = Instant::now();
    let request = v1::SyncRequest { service_names: arguments.names.clone(), allow_prune: arguments.allow_prune };
    let v1::SyncResponse { revision, services, message } = remote.ask(remote.client.clone().sync(request)).await?;
    let revision = crate::source::short_revision(&revision);
    let looked = if message.is_empty() { ", and looked at the engine" } else { "" };
    say(session, &format!("read {services} {} at {revision}{looked}", plural(services, "service")));
    if !message.is_empty() {
        session.terminal.err.print(&format!("note: {}\n", clean(&message)));
    }
    wait(session, &configuration, remote, arguments.wait, began, |_| true).await
}

pub async fn restart(session: &Session, arguments: &Restart) -> Result<Exit, Failure> {
    let configuration = session.load(arguments.wait.wait.is_some())?;
    let remote = Remote::require(session, &configuration).await?;
    let began = Instant::now();
    let before = runs(&remote.report().await?);
    let request = v1::RestartRequest { service_names: arguments.names.clone() };
    let restarting = remote.ask(remote.client.clone().restart(request)).await?.restarting;
    say(session, &format!("restarting {}", restarting.join(", ")));
    // The first status may still be the one from before.
    let done = |report: &StatusReport| {
        let now = runs(report);
        restarting.iter().all(|name| now.get(name) != before.get(name))
    };
    wait(session, &configuration, remote, arguments.wait, began, done).await
}

pub async fn suspend(session: &Session, arguments: &Suspend) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let remote = Remote::require(session, &configuration).await?;
    let request = v1::SuspendRequest { service_names: arguments.names.clone() };
    let changed = remote.ask(remote.client.clone().suspend(request)).await?.changed;
    if !changed.is_empty() {
        let names = changed.join(" ");
        say(session, &format!("suspended {}: hands off until `env-manager resume {names}`", changed.join(", ")));
    }
    others(session, &arguments.names, &changed, "suspended already");
    Ok(Exit::Done)
}

pub async fn resume(session: &Session, arguments: &Resume) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let remote = Remote::require(session, &configuration).await?;
    let request = v1::ResumeRequest { service_names: arguments.names.clone() };
    let v1::ResumeResponse { changed, still_suspended } = remote.ask(remote.client.clone().resume(request)).await?;
    let resumed: Vec<_> = changed.iter().filter(|name| !still_suspended.contains(name)).cloned().collect();
    if !resumed.is_empty() {
        say(session, &format!("resumed {}", resumed.join(", ")));
    }
    for name in &still_suspended {
        say(session, &format!("{name} goes on being suspended: its manifest says `suspend: true`"));
    }
    others(session, &arguments.names, &[changed, still_suspended].concat(), "not suspended");
    Ok(Exit::Done)
}

pub async fn retry(session: &Session, arguments: &Retry) -> Result<Exit, Failure> {
    let configuration = session.load(false)?;
    let remote = Remote::require(session, &configuration).await?;
    let request = v1::RetryRequest { service_names: arguments.names.clone() };
    let retried = remote.ask(remote.client.clone().retry(request)).await?.retried;
    match (retried.is_empty(), arguments.names.is_empty()) {
        (true, true) => say(session, "nothing to try again: no service has failed"),
        (true, false) => {}
        (false, _) => say(session, &format!("trying again: {}", retried.join(", "))),
    }
    others(session, &arguments.names, &retried, "has not failed: nothing to try again");
    Ok(Exit::Done)
}

fn say(session: &Session, text: &str) {
    session.terminal.out.print(&format!("{text}\n"));
}

/// Those that were named and are not among `changed`.
fn others(session: &Session, names: &[String], changed: &[String], why: &str) {
    for name in names.iter().filter(|name| !changed.contains(name)) {
        say(session, &format!("{name}: {why}"));
    }
}

fn plural(n: u32, word: &str) -> String {
    if n == 1 { word.to_owned() } else { format!("{word}s") }
}

/// Which run of which container each service is in.
fn runs(report: &StatusReport) -> BTreeMap<String, (Option<String>, Option<String>)> {
    report.services.iter().map(|s| (s.name.clone(), (s.container_id.clone(), s.started_at.clone()))).collect()
}

/// Follows, where that was asked for.
async fn wait(
    session: &Session,
    configuration: &Loaded,
    remote: Remote,
    wait: Wait,
    began: Instant,
    done: impl Fn(&StatusReport) -> bool,
) -> Result<Exit, Failure> {
    let Some(limit) = wait.wait else { return Ok(Exit::Done) };
    let followed = until_converged(session, configuration, remote, began + limit, done).await?;
    let show = Show { took: Some(began.elapsed()), ..session.show() };
    session.terminal.out.print(&table::render(&followed.report, show));
    Ok(followed.exit().and(match followed.ending {
        // Restarted, and not everything else is well: the verb did what it was asked for.
        Ending::Reached => Exit::Done,
        _ => Exit::of(&followed.report),
    }))
}
