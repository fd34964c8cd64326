//! `impl Engine for SimEngine`: each call as the adapter of the real engine makes it, with the same
//! refusals taken for granted.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::BoxStream;

use super::SimEngine;
use super::core::Core;
use super::output::Follow;
use super::refusal::{Refusal, refusal};
use super::unit::Attached;
use super::world::Target;
use crate::engine::docker::call::Call;
use crate::engine::docker::{create, version};
use crate::engine::{
    Archive, ContainerFilter, Engine, EngineError, EngineEvent, EngineInfo, ErrorKind, ExecOutput, ExecResult,
    Inspected, LogLine, LogOptions, MARKER_PATH, ObjectFilter, Result,
};
use crate::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use crate::resource::image::{ImageInfo, ImageRef, PullProgress};
use crate::resource::labels;
use crate::resource::limits::Limits;
use crate::resource::observed::{ContainerRow, Network, Volume};
use crate::resource::spec::{NetworkAttachment, NetworkSpec, RestartPolicy, VolumeSpec};

impl SimEngine {
    pub(super) fn deadline(&self, call: Call) -> Duration {
        self.0.deadlines.of(call)
    }
}

impl Engine for SimEngine {
    fn known(&self) -> EngineInfo {
        EngineInfo { address: self.address(), local: true, ..EngineInfo::default() }
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.read(Call::Info, &self.address(), |_| Ok(())).await?;
        let (version, api_version) = ("20.10.24".to_owned(), version::Api::OLDEST.to_string());
        Ok(EngineInfo { version, api_version, ..self.known() })
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerRow>> {
        let ContainerFilter { stack, service } = filter.clone();
        let subject = stack.as_ref().map_or_else(String::new, |s| format!("of stack {s}"));
        self.read(Call::ListContainers, &subject, move |core| {
            let wanted = |label: &str, wanted: &Option<String>, unit: &super::unit::Unit| {
                wanted.is_none() || unit.label(label) == wanted.as_deref()
            };
            let units = core
                .containers
                .values()
                .filter(|u| wanted(labels::STACK, &stack, u) && wanted(labels::SERVICE, &service, u));
            let mut rows: Vec<_> = units.map(|u| u.row(core.shown_image(&u.id))).collect();
            rows.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
            Ok(rows)
        })
        .await
    }

    async fn inspect_container(&self, id_or_name: &str) -> Result<Option<Inspected>> {
        let wanted = id_or_name.to_owned();
        self.read(Call::InspectContainer, id_or_name, move |core| {
            let found = core.find(&wanted).and_then(|id| core.containers.get(&id));
            let exact = found.filter(|u| *u.id.0 == *wanted || u.name == wanted);
            Ok(exact.map(super::unit::Unit::inspected))
        })
        .await
    }

    async fn files_marker(&self, id: &ContainerId) -> Result<Option<String>> {
        let wanted = id.clone();
        let found = move |core: &mut Core| Ok(core.containers.get(&wanted).and_then(|u| u.marker.clone()));
        self.read(Call::FilesMarker, &id.to_string(), found).await
    }

    async fn list_networks(&self, filter: &ObjectFilter) -> Result<Vec<Network>> {
        let filter = filter.clone();
        self.read(Call::ListNetworks, "networks", move |core| {
            let all = core.networks.values().map(super::networks::Net::observed);
            let mut networks: Vec<_> = all.filter(|n| matches(&filter, &n.name, n.stack.as_deref())).collect();
            networks.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
            Ok(networks)
        })
        .await
    }

    async fn list_volumes(&self, filter: &ObjectFilter) -> Result<Vec<Volume>> {
        let filter = filter.clone();
        self.read(Call::ListVolumes, "volumes", move |core| {
            let all = core.volumes.values().map(super::networks::Vol::observed);
            Ok(all.filter(|v| matches(&filter, &v.name, v.stack.as_deref())).collect())
        })
        .await
    }

    async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        let wanted = reference.to_owned();
        self.read(Call::InspectImage, reference, move |core| Ok(core.image(&wanted).map(|i| i.info.clone()))).await
    }

    async fn registry_digest(&self, image: &ImageRef) -> Result<String> {
        let wanted = image.as_str().to_owned();
        self.read(Call::AskRegistry, image.as_str(), move |core| core.in_registry(&wanted).map(|p| p.image_id().0))
            .await
    }

    fn events(&self, cursor: Option<&str>) -> BoxStream<'static, Result<EngineEvent>> {
        self.event_stream(cursor)
    }

    async fn log_tail(&self, id: &ContainerId, lines: u32) -> Result<Vec<String>> {
        let wanted = id.clone();
        self.read(Call::LogTail, &id.to_string(), move |core| {
            let logs = &core.unit(&wanted)?.logs;
            let skip = logs.len().saturating_sub(usize::try_from(lines).unwrap_or(usize::MAX));
            Ok(logs[skip..].iter().map(|line| line.line.clone()).collect())
        })
        .await
    }

    fn logs(&self, id: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogLine>> {
        Box::pin(Follow::new(self.clone(), id.clone(), options).lines())
    }

    async fn create_container(&self, create: &ContainerCreate) -> Result<ContainerId> {
        let name = create.name.clone();
        let refused = |(kind, text)| EngineError::new(Call::CreateContainer.operation(), &name, kind, text);
        let config = create::body(create, version::Api::OLDEST).map_err(refused)?.config;
        let called = name.clone();
        self.change(Call::CreateContainer, &name, move |core| {
            let target = |id: Option<&ContainerId>| Target::Container(id.cloned().unwrap_or_default());
            core.creation(Call::CreateContainer.operation(), target, |core| core.create(&called, config))
        })
        .await
    }

    async fn connect(&self, id: &ContainerId, endpoint: &Endpoint) -> Result<()> {
        let subject = format!("{id} to network {}", endpoint.attachment.network);
        let Endpoint { attachment, id: network, aliases } = endpoint.clone();
        let NetworkAttachment { network: _, aliases: own, ipv4_address, priority: _ } = attachment;
        let aliases: std::collections::BTreeSet<_> = own.into_iter().chain(aliases).collect();
        let attached =
            Attached { aliases: aliases.into_iter().collect(), ipv4_address, network_id: None, address: None };
        let (whom, which) = (id.clone(), network.clone());
        let answer = self
            .change(Call::Connect, &subject, move |core| {
                core.on_container(Call::Connect, &whom, |core| core.connect(&whom, &which.0, attached))
            })
            .await;
        match answer {
            Err(error) if error.message.contains("already exists") => {
                let there = match self.inspect_container(&id.0).await? {
                    Some(Inspected::Owned(c)) => c.endpoints.values().any(|e| e.network_id == network),
                    _ => false,
                };
                if there { Ok(()) } else { Err(error) }
            }
            answer => answer,
        }
    }

    async fn disconnect(&self, container: &str, network: &str, force: bool) -> Result<()> {
        let short = container.get(..12).unwrap_or(container);
        let subject = format!("{short} from network {network}");
        let (whom, which) = (container.to_owned(), network.to_owned());
        let answer = self.change(Call::Disconnect, &subject, move |core| {
            let id = core.find(&whom).unwrap_or_else(|| ContainerId::new(whom.as_str()));
            core.on_container(Call::Disconnect, &id, |core| core.disconnect(&whom, &which, force))
        });
        match answer.await {
            Err(error) if error.message.contains("is not connected to") => Ok(()),
            Err(error) if error.message.starts_with("endpoint ") && error.message.ends_with(" not found") => Ok(()),
            answer => answer,
        }
    }

    async fn upload(&self, id: &ContainerId, archive: &Archive) -> Result<()> {
        let (whom, marker) = (id.clone(), marker(archive));
        self.change(Call::Upload, &id.to_string(), move |core| {
            core.on_container(Call::Upload, &whom, |core| {
                let unit = core.unit(&whom)?;
                if unit.host.readonly_rootfs.unwrap_or_default() {
                    return Err(refusal(500, "container rootfs is marked read-only"));
                }
                unit.marker = marker;
                Ok(())
            })
        })
        .await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let whom = id.clone();
        self.change(Call::Start, &id.to_string(), move |core| {
            core.on_container(Call::Start, &whom, |core| core.start(&whom))
        })
        .await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        // Docker counts in seconds.
        let seconds = u64::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        let deadline = grace.saturating_add(self.deadline(Call::Stop));
        let whom = id.clone();
        self.change_within(Call::Stop, deadline, &id.to_string(), move |core, to| {
            // The answer comes later; that it began is told now.
            let _ = core.on_container(Call::Stop, &whom, |core| {
                core.stop(&whom, Duration::from_secs(seconds), to);
                Ok(())
            });
        })
        .await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        let (whom, called) = (id.clone(), name.to_owned());
        let subject = format!("{id} to {name}");
        let answer = self.change(Call::Rename, &subject, move |core| {
            core.on_container(Call::Rename, &whom, |core| core.rename(&whom, &called))
        });
        match answer.await {
            Err(error) if error.message.contains("same name as its current name") => Ok(()),
            answer => answer,
        }
    }

    async fn set_restart_policy(&self, id: &ContainerId, policy: RestartPolicy) -> Result<()> {
        let whom = id.clone();
        self.change(Call::SetRestartPolicy, &id.to_string(), move |core| {
            core.on_container(Call::SetRestartPolicy, &whom, |core| core.set_policy(&whom, policy))
        })
        .await
    }

    async fn update_limits(&self, id: &ContainerId, limits: &Limits) -> Result<()> {
        let (whom, wanted) = (id.clone(), limits.clone());
        self.change(Call::UpdateLimits, &id.to_string(), move |core| {
            core.on_container(Call::UpdateLimits, &whom, |core| core.update_limits(&whom, &wanted))
        })
        .await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        let whom = id.clone();
        let deadline = self.deadline(Call::RemoveContainer);
        let subject = id.to_string();
        let answer = self.change_within(Call::RemoveContainer, deadline, &subject, move |core, to| {
            let _ = core.on_container(Call::RemoveContainer, &whom, |core| {
                core.remove(&whom, to);
                Ok(())
            });
        });
        gone_is_fine(answer.await)
    }

    async fn create_network(&self, spec: &NetworkSpec, labels: &BTreeMap<String, String>) -> Result<NetworkId> {
        let (wanted, labels) = (spec.clone(), labels.clone());
        self.change(Call::CreateNetwork, &spec.name, move |core| {
            let target = |id: Option<&NetworkId>| Target::Network(id.cloned().unwrap_or_default());
            core.creation(Call::CreateNetwork.operation(), target, |core| core.create_network(&wanted, &labels))
        })
        .await
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<()> {
        let which = id.clone();
        let subject = id.to_string();
        let answer = self.change(Call::RemoveNetwork, &subject, move |core| {
            let target = Target::Network(which.clone());
            core.change(Call::RemoveNetwork.operation(), target, |core| core.remove_network(&which))
        });
        gone_is_fine(answer.await)
    }

    async fn create_volume(&self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Result<Volume> {
        let (wanted, labels) = (spec.clone(), labels.clone());
        self.change(Call::CreateVolume, &spec.name, move |core| {
            let target = Target::Volume(wanted.name.clone());
            core.change(Call::CreateVolume.operation(), target, |core| Ok(core.create_volume(&wanted, &labels)))
        })
        .await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        let which = name.to_owned();
        let answer = self.change(Call::RemoveVolume, name, move |core| {
            let target = Target::Volume(which.clone());
            core.change(Call::RemoveVolume.operation(), target, |core| core.remove_volume(&which))
        });
        gone_is_fine(answer.await)
    }

    async fn pull(
        &self,
        image: &ImageRef,
        _: Option<&str>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<()> {
        const TOTAL: u64 = 10 << 20;
        let reference = image.as_str().to_owned();
        progress(PullProgress { current: 0, total: TOTAL });
        self.change(Call::Pull, image.as_str(), move |core| {
            let target = Target::Image(super::program::canonical(&reference));
            core.change(Call::Pull.operation(), target, |core| core.pulled(&reference))
        })
        .await?;
        progress(PullProgress { current: TOTAL, total: TOTAL });
        Ok(())
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        _env: &[String],
        timeout: Duration,
    ) -> Result<ExecResult> {
        let subject = id.to_string();
        let (whom, fails) = (id.clone(), command.first().is_some_and(|word| word == "false"));
        let (exec_id, takes) = self.read(Call::Exec, &subject, move |core| core.begin_exec(&whom)).await?;
        if takes > timeout {
            tokio::time::sleep(timeout).await;
            return Ok(ExecResult::TimedOut { exec_id });
        }
        tokio::time::sleep(takes).await;
        let whom = id.clone();
        let well = self.read(Call::Exec, &subject, move |core| {
            let at = core.at;
            Ok(core.containers.get(&whom).is_some_and(|u| u.is_ready(at)))
        });
        let well = well.await? && !fails;
        let output = if well { "well\n" } else { "not well\n" }.to_owned();
        Ok(ExecResult::Ended(ExecOutput { exit_code: i64::from(!well), output }))
    }

    async fn exec_running(&self, exec_id: &str) -> Result<bool> {
        let subject = exec_id.get(..12).unwrap_or(exec_id);
        let wanted = exec_id.to_owned();
        self.read(Call::ExecRunning, subject, move |core| {
            let at = core.at;
            // One that is not known is over.
            let running = core
                .execs
                .get(&wanted)
                .filter(|(id, ends)| *ends > at && core.containers.get(id).is_some_and(super::unit::Unit::lives));
            Ok(running.is_some())
        })
        .await
    }
}

impl Core {
    fn on_container<T>(
        &mut self,
        call: Call,
        id: &ContainerId,
        change: impl FnOnce(&mut Self) -> std::result::Result<T, Refusal>,
    ) -> std::result::Result<T, Refusal> {
        self.change(call.operation(), Target::Container(id.clone()), change)
    }
}

fn matches(filter: &ObjectFilter, name: &str, stack: Option<&str>) -> bool {
    match filter {
        ObjectFilter::Names(names) => names.iter().any(|n| n == name),
        ObjectFilter::Stack(wanted) => stack == Some(wanted),
    }
}

/// The target of the link that ends an archive.
fn marker(archive: &Archive) -> Option<String> {
    let mut tar = tar::Archive::new(&archive.0[..]);
    let path = MARKER_PATH.trim_start_matches('/');
    let mut entries = tar.entries().ok()?.flatten();
    let entry = entries.find(|e| e.path().is_ok_and(|p| p == std::path::Path::new(path)))?;
    Some(entry.link_name().ok()??.to_string_lossy().into_owned())
}

fn gone_is_fine(answer: Result<()>) -> Result<()> {
    match answer {
        Err(EngineError { kind: ErrorKind::NotFound, .. }) => Ok(()),
        other => other,
    }
}
