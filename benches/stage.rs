//! What all contenders find: the same images, nothing of an earlier run, free names and ports. And the check
//! that all leave the same behind.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::docker::{Docker, Result, encode, error};
use crate::floor::{self, FLOOR};
use crate::frame;
use crate::services::{SERVICES, Service};

pub const STACK: &str = "em-bench";
pub const PROJECT: &str = "em-test-compose";
pub const STACK_LABEL: &str = "dev.env-manager.stack";
/// Of the volume by which a daemon owns its stack: one that was killed leaves it.
const LEASE_LABEL: &str = "dev.env-manager.lease";
const PROJECT_LABEL: &str = "com.docker.compose.project";
const CLEANING: Duration = Duration::from_mins(1);

/// One benchmark at a time, on a stage that is clean before and, whatever happens, after.
pub async fn on_stage(docker: &Docker, limit: Duration, work: impl Future<Output = Result<()>>) -> Result<ExitCode> {
    let _lock = frame::lock()?;
    let work = async {
        clean(docker, false).await?;
        work.await
    };
    let ended = frame::until_ended(limit, work).await;
    eprintln!("removing what the benchmark made");
    let cleaned = clean(docker, true).await;
    let code = ended?;
    cleaned.map(|()| code)
}

/// When, on which machine, with which engine.
pub async fn about(docker: &Docker) -> Result<Value> {
    let mut about = frame::about();
    about["engine"] = docker.get("/version").await?["Version"].take();
    Ok(about)
}

/// A copy of the manifests whose volumes have names of their own: `redis_data` may be somebody's data.
pub fn copy_manifests(from: &Path, to: &Path) -> Result<()> {
    let mut text_of_all = String::new();
    copy(from, to, &mut text_of_all).or_else(|e| error(format!("cannot copy {}: {e}", from.display())))?;
    for (volume, _) in SERVICES.iter().flat_map(|s| s.volumes) {
        let found = text_of_all.matches(&format!("{STACK}-{volume}:")).count();
        if found != 1 {
            return error(format!("{}: volume {volume} is mounted {found} times, not once", from.display()));
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path, text_of_all: &mut String) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target, text_of_all)?;
            continue;
        }
        let mut text = fs::read_to_string(entry.path())?;
        for (volume, _) in SERVICES.iter().flat_map(|s| s.volumes) {
            text = text.replace(&format!("{volume}:/"), &format!("{STACK}-{volume}:/"));
        }
        fs::write(target, &text)?;
        text_of_all.push_str(&text);
    }
    Ok(())
}

/// The images are there, and no name or port is taken by anybody else. Says all that is in the way.
pub async fn preflight(docker: &Docker) -> Result<()> {
    let mut in_the_way = Vec::new();
    for image in SERVICES.iter().map(|s| s.image).collect::<BTreeSet<_>>() {
        in_the_way.extend(image_is_there(docker, image).await.err().map(|e| e.0));
    }
    for container in docker.list("containers/json", &json!({})).await? {
        let name = container["Names"][0].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
        let service = name.split('.').next().unwrap_or_default();
        if SERVICES.iter().any(|s| s.name == service) {
            let stack = container["Labels"][STACK_LABEL].as_str();
            let of = stack.map(|s| format!(" of stack {s}: env-manager down --stack {s}")).unwrap_or_default();
            in_the_way.push(format!("there is a container {name}{of}"));
        }
    }
    if in_the_way.is_empty() {
        for (port, _) in SERVICES.iter().filter_map(|s| s.port) {
            if let Err(e) = TcpListener::bind(("127.0.0.1", port)) {
                in_the_way.push(format!("port {port} of this machine is taken ({e})"));
            }
        }
    }
    if in_the_way.is_empty() {
        return Ok(());
    }
    error(format!("the benchmark starts the nine services itself, and cannot:\n  {}", in_the_way.join("\n  ")))
}

pub async fn image_is_there(docker: &Docker, image: &str) -> Result<()> {
    if docker.get(&format!("/images/{image}/json")).await.is_err() {
        return error(format!("there is no image {image}: deploy/local-images/build makes it"));
    }
    Ok(())
}

/// Removes what a contender made: containers, networks, volumes. By label, so never anything else.
/// A call under way when its program was killed still ends, so it looks until nothing is left twice in a row.
pub async fn clean(docker: &Docker, thorough: bool) -> Result<()> {
    let deadline = Instant::now() + CLEANING;
    loop {
        let found = sweep(docker).await;
        match found {
            Ok(0) if !thorough => return Ok(()),
            Ok(0) => {
                sleep(Duration::from_millis(500)).await;
                if matches!(sweep(docker).await, Ok(0)) {
                    return Ok(());
                }
            }
            // The caller is going on with the next run: a refusal has to be seen to have gone.
            _ if Instant::now() < deadline => sleep(Duration::from_millis(50)).await,
            Ok(left) => return error(format!("{left} containers, networks and volumes could not be removed")),
            Err(e) => return Err(e),
        }
    }
}

/// How many there were.
async fn sweep(docker: &Docker) -> Result<usize> {
    let owners = [(STACK_LABEL, STACK), (LEASE_LABEL, STACK), (STACK_LABEL, FLOOR), (PROJECT_LABEL, PROJECT)];
    let filters = owners.map(|(label, value)| json!({"label": [format!("{label}={value}")]}));
    let mut count = 0;
    for (what, path, field, query) in [
        ("containers/json", "containers", "Id", "?force=1&v=1"),
        ("networks", "networks", "Id", ""),
        ("volumes", "volumes", "Name", ""),
    ] {
        let lists = try_join_all(filters.iter().map(|filter| docker.list(what, filter))).await?;
        let items: Vec<_> = lists.iter().flatten().filter_map(|item| item[field].as_str()).collect();
        count += items.len();
        // "Removal in progress" and "in use" pass; the next sweep looks again.
        let removals = items.iter().map(|id| async move {
            let path = format!("/{path}/{}{query}", encode(id));
            docker.raw("DELETE", &path, "application/json", &[]).await
        });
        join_all(removals).await;
    }
    Ok(count)
}

/// What one run left behind: when each container was created and started, and what is not as it should be.
#[derive(Debug, Default)]
pub struct Left {
    pub timeline: Vec<Value>,
    pub wrong: Vec<String>,
}

/// Compares the nine with the table and asks each once whether it is ready. `health`: with the engine's own checks.
pub async fn check(docker: &Docker, begin: SystemTime, health: bool) -> Result<Left> {
    let mut left = Left::default();
    for service in &SERVICES {
        // Compose's own way of naming, else the service's name.
        let name = if health { format!("{PROJECT}_{}_1", service.name) } else { service.name.to_owned() };
        let found = docker.get(&format!("/containers/{name}/json")).await?;
        left.wrong.extend(differences(service, &found, health).into_iter().map(|d| format!("{}: {d}", service.name)));
        let id = found["Id"].as_str().unwrap_or_default();
        if let Some((target, _)) = service.file {
            let (status, _) = docker.raw("HEAD", &format!("/containers/{id}/archive?path={target}"), "", &[]).await?;
            if status != 200 {
                left.wrong.push(format!("{}: there is no {target}", service.name));
            }
        }
        if !floor::ready_now(docker, service, id, &found).await {
            left.wrong.push(format!("{}: not ready", service.name));
        }
        let offset = |time: &Value| {
            let time = humantime::parse_rfc3339(time.as_str()?).ok()?;
            Some((time.duration_since(begin).ok()?.as_secs_f64() * 10_000.0).round() / 10.0)
        };
        let first_pass = found["State"]["Health"]["Log"].as_array().into_iter().flatten().find(|l| l["ExitCode"] == 0);
        left.timeline.push(json!({
            "service": service.name,
            "created_ms": offset(&found["Created"]),
            "started_ms": offset(&found["State"]["StartedAt"]),
            "ready_ms": first_pass.and_then(|l| offset(&l["End"])),
        }));
    }
    Ok(left)
}

fn differences(service: &Service, found: &Value, health: bool) -> Vec<String> {
    let (config, host) = (&found["Config"], &found["HostConfig"]);
    let body = service.create_body("", "", &json!({}));
    let list = |value: &Value| -> BTreeSet<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let environment: BTreeSet<_> = list(&config["Env"]).into_iter().filter(|e| !e.starts_with("PATH=")).collect();
    let mounted: BTreeSet<_> = found["Mounts"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|m| m["Type"] == "volume")
        .filter_map(|m| m["Destination"].as_str().map(str::to_owned))
        .collect();
    let volumes: BTreeSet<_> = service.volumes.iter().map(|(_, target)| (*target).to_owned()).collect();
    let none = json!({});
    let or_none = |value: &Value| if value.is_null() { none.clone() } else { value.clone() };
    let checks = (&config["Healthcheck"]["Test"][0] == "NONE", &config["Healthcheck"]["Interval"]);

    let pairs = [
        ("image", config["Image"].clone(), json!(service.image)),
        ("environment", json!(environment), json!(list(&body["Env"]))),
        ("volumes", json!(mounted), json!(volumes)),
        ("ports", or_none(&host["PortBindings"]), or_none(&body["HostConfig"]["PortBindings"])),
        ("memory", host["Memory"].clone(), body["HostConfig"]["Memory"].clone()),
        ("init", host["Init"].clone(), json!(true)),
        ("restart policy", host["RestartPolicy"]["Name"].clone(), json!("unless-stopped")),
        ("extra hosts", json!(list(&host["ExtraHosts"])), json!(list(&body["HostConfig"]["ExtraHosts"]))),
        ("stop timeout", config["StopTimeout"].clone(), json!(service.grace_seconds)),
        ("running", found["State"]["Running"].clone(), json!(true)),
        ("networks", json!(found["NetworkSettings"]["Networks"].as_object().map(serde_json::Map::len)), json!(1)),
        (
            "health check",
            json!(checks),
            if health { json!((false, 1_000_000_000)) } else { json!((true, Value::Null)) },
        ),
    ];
    let mut differ: Vec<_> = pairs
        .into_iter()
        .filter(|(_, found, expected)| found != expected)
        .map(|(field, found, expected)| format!("{field} is {found} and should be {expected}"))
        .collect();
    if !service.command.is_empty() && config["Cmd"] != body["Cmd"] {
        differ.push(format!("command is {}", config["Cmd"]));
    }
    differ
}

/// Until the engine has seen all nine pass their health check. What Compose's own `up -d` does not wait for.
pub async fn all_healthy(docker: &Docker) -> Result<()> {
    let filter = json!({"label": [format!("{PROJECT_LABEL}={PROJECT}")], "health": ["healthy"]});
    while docker.list("containers/json", &filter).await?.len() < SERVICES.len() {
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}
