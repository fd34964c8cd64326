//! `impl Engine for Docker`.

use std::collections::BTreeMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, ContainerUpdateBody, NetworkConnectRequest, NetworkDisconnectRequest};
use bollard::query_parameters::{
    ContainerArchiveInfoOptions, CreateContainerOptions, InspectContainerOptions, ListContainersOptions,
    RemoveContainerOptions, RenameContainerOptions, StartContainerOptions, StopContainerOptions,
    UploadToContainerOptions,
};
use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::call::Call;
use super::objects::gone_is_fine;
use super::version::prepare;
use super::{Docker, create, endpoints, inspect};
use crate::engine::{
    Archive, ContainerFilter, Engine, EngineError, EngineEvent, EngineInfo, ErrorKind, ExecResult, Inspected, LogLine,
    LogOptions, MARKER_PATH, ObjectFilter, Result,
};
use crate::resource::container::{ContainerCreate, ContainerId, Endpoint, NetworkId};
use crate::resource::image::{ImageInfo, ImageRef, PullProgress};
use crate::resource::labels;
use crate::resource::limits::Limits;
use crate::resource::observed::{ContainerRow, Network, RunState, Volume};
use crate::resource::spec::{NetworkSpec, RestartPolicy, VolumeSpec};

/// Between two looks at something that ends in a moment (a removal: about 100 ms).
const MOMENT: Duration = Duration::from_millis(20);

impl Engine for Docker {
    fn known(&self) -> EngineInfo {
        EngineInfo { address: self.address.to_string(), local: self.local, ..EngineInfo::default() }
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.negotiate().await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<ContainerRow>> {
        let ContainerFilter { stack, service } = filter;
        let wanted = [(labels::STACK, stack), (labels::SERVICE, service)];
        let wanted: Vec<_> = wanted.iter().filter_map(|(k, v)| Some(format!("{k}={}", v.as_ref()?))).collect();
        let filters: BTreeMap<_, _> = [("label".to_owned(), wanted)].into();
        let options = ListContainersOptions {
            all: true,
            filters: Some(filters.into_iter().filter(|(_, v)| !v.is_empty()).collect()),
            ..ListContainersOptions::default()
        };
        let subject = stack.as_ref().map_or_else(String::new, |s| format!("of stack {s}"));
        let rows = self.call(Call::ListContainers, &subject, self.client.list_containers(Some(options))).await?;
        let mut rows: Vec<_> = rows.into_iter().map(inspect::row).collect();
        rows.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(rows)
    }

    async fn inspect_container(&self, id_or_name: &str) -> Result<Option<Inspected>> {
        let answer = self.client.inspect_container(id_or_name, None::<InspectContainerOptions>);
        let inspected = match self.call(Call::InspectContainer, id_or_name, answer).await {
            Ok(answer) => inspect::container(answer),
            Err(EngineError { kind: ErrorKind::NotFound, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (id, name) = match &inspected {
            Inspected::Owned(c) => (&c.id, &c.name),
            Inspected::Foreign(f) => (&f.id, &f.name),
        };
        // The engine takes the beginning of an id as well: service `cafe` must not find `cafe12…`.
        Ok((*id_or_name == *id.0 || id_or_name == name).then_some(inspected))
    }

    async fn files_marker(&self, id: &ContainerId) -> Result<Option<String>> {
        let options = ContainerArchiveInfoOptions { path: MARKER_PATH.to_owned() };
        let answer = self.client.get_container_archive_info(&id.0, Some(options));
        match self.call(Call::FilesMarker, &id.to_string(), answer).await {
            // The engine resolves a link within the container's root, so that its target begins with `/`.
            Ok(stat) => Ok(Some(stat.link_target.trim_start_matches('/').to_owned()).filter(|t| !t.is_empty())),
            // A HEAD has no body that would tell "no such path" from "no such container".
            Err(EngineError { kind: ErrorKind::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list_networks(&self, filter: &ObjectFilter) -> Result<Vec<Network>> {
        self.networks(filter).await
    }

    async fn list_volumes(&self, filter: &ObjectFilter) -> Result<Vec<Volume>> {
        self.volumes(filter).await
    }

    async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        self.image(reference).await
    }

    async fn registry_digest(&self, image: &ImageRef) -> Result<String> {
        self.ask_registry(image).await
    }

    fn events(&self, cursor: Option<&str>) -> BoxStream<'static, Result<EngineEvent>> {
        self.event_stream(cursor)
    }

    async fn log_tail(&self, id: &ContainerId, lines: u32) -> Result<Vec<String>> {
        self.last_lines(id, lines).await
    }

    fn logs(&self, id: &ContainerId, options: LogOptions) -> BoxStream<'static, Result<LogLine>> {
        self.log_lines(id, options)
    }

    async fn create_container(&self, create: &ContainerCreate) -> Result<ContainerId> {
        let name = &create.name;
        let api = self.api(Call::CreateContainer, name).await?;
        let refused = |(kind, text)| EngineError::new(Call::CreateContainer.operation(), name, kind, text);
        let create::Body { config, platform, mac_address } = create::body(create, api).map_err(refused)?;
        let client = match mac_address {
            Some(mac) => self.with_mac_address(&config, &mac),
            None => self.client.clone(),
        };
        let options = CreateContainerOptions { name: Some(name.clone()), platform };
        let answer = self.call(Call::CreateContainer, name, client.create_container(Some(options), config)).await?;
        for warning in &answer.warnings {
            tracing::warn!(container = %name, "the engine created it, but: {warning}");
        }
        Ok(ContainerId::new(answer.id))
    }

    async fn connect(&self, id: &ContainerId, endpoint: &Endpoint) -> Result<()> {
        let subject = format!("{id} to network {}", endpoint.attachment.network);
        let api = self.api(Call::Connect, &subject).await?;
        let request = NetworkConnectRequest {
            container: id.0.to_string(),
            endpoint_config: Some(endpoints::to_api(endpoint, None, api)),
        };
        let answer = self.call(Call::Connect, &subject, self.client.connect_network(&endpoint.id.0, request)).await;
        match answer {
            // 403 "endpoint with name … already exists": ours, or another container's of the same name.
            Err(error) if error.message.contains("already exists") && self.is_connected(id, &endpoint.id).await? => {
                Ok(())
            }
            answer => answer,
        }
    }

    async fn disconnect(&self, container: &str, network: &str, force: bool) -> Result<()> {
        let short = container.get(..12).unwrap_or(container);
        let subject = format!("{short} from network {network}");
        let request = NetworkDisconnectRequest { container: container.to_owned(), force: Some(force) };
        match self.call(Call::Disconnect, &subject, self.client.disconnect_network(network, request)).await {
            Err(error) if error.message.contains("is not connected to") => Ok(()),
            // By force, of a container that is gone: 404 `endpoint NAME not found`.
            Err(error) if error.message.starts_with("endpoint ") && error.message.ends_with(" not found") => Ok(()),
            answer => answer,
        }
    }

    async fn upload(&self, id: &ContainerId, archive: &Archive) -> Result<()> {
        let options = UploadToContainerOptions {
            path: "/".to_owned(),
            // A folder where a file should go, or the reverse, is an error and no loss.
            no_overwrite_dir_non_dir: Some("1".to_owned()),
            copy_uidgid: None,
        };
        let body = bollard::body_full(archive.0.clone());
        let answer = self.client.upload_to_container(&id.0, Some(options), body);
        self.call(Call::Upload, &id.to_string(), answer).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        // 304 for one that runs already.
        let answer = self.client.start_container(&id.0, None::<StartContainerOptions>);
        self.call(Call::Start, &id.to_string(), answer).await
    }

    async fn stop(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let subject = id.to_string();
        self.api(Call::Stop, &subject).await?;
        let seconds = i32::try_from(grace.as_millis().div_ceil(1000)).unwrap_or(i32::MAX);
        // No signal: it is the container's own; and 304 for one that does not run.
        let options = StopContainerOptions { t: Some(seconds), signal: None };
        let deadline = grace.saturating_add(self.deadlines.of(Call::Stop));
        self.within(Call::Stop, deadline, &subject, self.client.stop_container(&id.0, Some(options))).await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        let options = RenameContainerOptions { name: name.to_owned() };
        let subject = format!("{id} to {name}");
        match self.call(Call::Rename, &subject, self.client.rename_container(&id.0, options)).await {
            Err(error) if error.message.contains("same name as its current name") => Ok(()),
            answer => answer,
        }
    }

    async fn set_restart_policy(&self, id: &ContainerId, policy: RestartPolicy) -> Result<()> {
        self.together(Call::SetRestartPolicy, &id.to_string(), async {
            let restart_policy = Some(create::restart_policy(policy));
            let body = ContainerUpdateBody { restart_policy, ..ContainerUpdateBody::default() };
            self.update_until_done(Call::SetRestartPolicy, id, &body).await
        })
        .await
    }

    async fn update_limits(&self, id: &ContainerId, limits: &Limits) -> Result<()> {
        self.together(Call::UpdateLimits, &id.to_string(), self.change_limits(id, limits)).await
    }

    async fn remove_container(&self, id: &ContainerId) -> Result<()> {
        self.together(Call::RemoveContainer, &id.to_string(), self.remove_until_gone(id)).await
    }

    async fn create_network(&self, spec: &NetworkSpec, labels: &BTreeMap<String, String>) -> Result<NetworkId> {
        self.make_network(spec, labels).await
    }

    async fn remove_network(&self, id: &NetworkId) -> Result<()> {
        self.drop_network(id).await
    }

    async fn create_volume(&self, spec: &VolumeSpec, labels: &BTreeMap<String, String>) -> Result<Volume> {
        self.make_volume(spec, labels).await
    }

    async fn remove_volume(&self, name: &str) -> Result<()> {
        self.drop_volume(name).await
    }

    async fn pull(
        &self,
        image: &ImageRef,
        platform: Option<&str>,
        progress: &(dyn Fn(PullProgress) + Send + Sync),
    ) -> Result<()> {
        self.metered(Call::Pull, self.pull_image(image, platform, progress)).await
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        env: &[String],
        timeout: Duration,
    ) -> Result<ExecResult> {
        self.run_exec(id, command, env, timeout).await
    }

    async fn exec_running(&self, exec_id: &str) -> Result<bool> {
        self.is_exec_running(exec_id).await
    }
}

impl Docker {
    /// A client whose next request carries `Config.MacAddress`. The field was taken out of bollard's
    /// type when it moved to endpoints, and engines before API 1.44 read it nowhere else.
    fn with_mac_address(&self, body: &ContainerCreateBody, mac: &str) -> bollard::Docker {
        let mut json = serde_json::to_value(body).unwrap_or_default();
        json["MacAddress"] = mac.into();
        let json = Bytes::from(json.to_string());
        let spoken = self.spoken.clone();
        self.client
            .clone()
            .with_request_modifier(move |request| prepare(&spoken, request.map(|_| bollard::body_full(json.clone()))))
    }

    async fn is_connected(&self, id: &ContainerId, network: &NetworkId) -> Result<bool> {
        Ok(match self.inspect_container(&id.0).await? {
            Some(Inspected::Owned(c)) => c.endpoints.values().any(|e| e.network_id == *network),
            _ => false,
        })
    }

    /// A container that ends in the very moment of the call (a restarting one does so all the time)
    /// makes the engine fail and put the old policy back.
    async fn update_until_done(&self, call: Call, id: &ContainerId, body: &ContainerUpdateBody) -> Result<()> {
        let subject = id.to_string();
        loop {
            match self.call(call, &subject, self.client.update_container(&id.0, body.clone())).await {
                Err(error) if error.message.contains("cannot update a stopped container") => {
                    tokio::time::sleep(MOMENT).await;
                }
                answer => return answer,
            }
        }
    }

    /// An update with what the engine cannot change is 200 and ignored, so what has become of it is read.
    async fn change_limits(&self, id: &ContainerId, limits: &Limits) -> Result<()> {
        self.update_until_done(Call::UpdateLimits, id, &create::update(limits)).await?;
        let held = match self.inspect_container(&id.0).await? {
            Some(Inspected::Owned(container)) => limits.hold(&container.config.resources),
            // Gone meanwhile: the next look will tell.
            _ => true,
        };
        if held {
            return Ok(());
        }
        let text = format!("the engine took the update and did not carry it out ({limits})");
        Err(EngineError::new(Call::UpdateLimits.operation(), id.to_string(), ErrorKind::Refused, text))
    }

    /// Until nothing bears the id any more, and so its name is free.
    async fn remove_until_gone(&self, id: &ContainerId) -> Result<()> {
        let subject = id.to_string();
        loop {
            let options = RemoveContainerOptions { force: true, v: false, link: false };
            let answer = self.call(Call::RemoveContainer, &subject, self.client.remove_container(&id.0, Some(options)));
            match answer.await {
                Err(error) if error.kind != ErrorKind::RemovalInProgress => return gone_is_fine(Err(error)),
                _ => {}
            }
            loop {
                match self.inspect_container(&id.0).await? {
                    None => return Ok(()),
                    // Half removed: it stays so until it is removed once more.
                    Some(Inspected::Owned(c)) if c.state != RunState::Removing => break,
                    Some(_) => tokio::time::sleep(MOMENT).await,
                }
            }
            tokio::time::sleep(MOMENT).await;
        }
    }
}
