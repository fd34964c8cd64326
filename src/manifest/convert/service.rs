//! A Service as a whole.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Convert;
use super::network::engine_name;
use crate::manifest::finding::Place;
use crate::manifest::form::MetadataForm;
use crate::manifest::form::service::{AdoptForm, DependencyForm, ServiceForm, StopForm, UpdateForm};
use crate::manifest::scalar::{AdoptWord, RestartWord, Scalar, StrategyWord};
use crate::manifest::span::{Span, Spanned};
use crate::manifest::union::ShortOr;
use crate::resource::desired::Service;
use crate::resource::labels;
use crate::resource::spec::{
    Adopt, ContainerSpec, Dependency, DependencyCondition, NamespaceMode, NetworkMode, Port, RestartPolicy,
    ServiceSpec, Whom,
};
use crate::resource::units::human_duration;
use crate::resource::update::{Update, UpdateStrategy};

/// The service is not looked at while its old container runs on.
const MAX_DRAIN: Duration = Duration::from_mins(1);

/// What a dependency has to be, and whether one is restarted with it.
type How = (DependencyCondition, bool);

/// A service, and where the parts stand that are checked against other services.
#[derive(Debug)]
pub(in crate::manifest) struct Converted {
    pub service: Service,
    pub places: Places,
}

#[derive(Debug, Default)]
pub(in crate::manifest) struct Places {
    pub name: Option<Place>,
    /// By the name of the service that is depended on.
    pub depends_on: BTreeMap<String, Option<Place>>,
    pub ports: Vec<(Port, Option<Place>)>,
    pub container_name: Option<Place>,
}

impl Convert<'_> {
    /// Whole even if something is wrong, so that it can be checked against others; what is wrong is reported.
    #[expect(clippy::too_many_lines, reason = "one line a field; parts of it would hide whether all are read")]
    pub fn service(&mut self, name: &str, metadata: &MetadataForm, form: &ServiceForm, start: Span) -> Converted {
        // Destructured, so that a new field does not compile until it is read here.
        let MetadataForm { name: name_scalar, labels: label_entries, annotations } = metadata;
        let ServiceForm {
            image,
            pull_policy,
            required,
            state,
            suspend,
            depends_on,
            command,
            entrypoint,
            working_dir,
            user,
            group_add,
            hostname,
            init,
            tty,
            stdin,
            env,
            env_from,
            secret_env,
            secret_files,
            ports,
            volumes,
            tmpfs,
            files,
            devices,
            device_requests,
            networks,
            network_aliases,
            network_mode,
            container_name,
            mac_address,
            extra_hosts,
            dns,
            resources,
            security,
            sysctls,
            ulimits,
            pid_mode,
            ipc_mode,
            userns_mode,
            cgroup_parent,
            runtime,
            platform,
            logging,
            restart,
            restart_max_retries,
            probes,
            update,
            stop,
            adopt,
        } = form;
        let name_span = name_scalar.as_ref().map_or(start, |n| n.span);
        if image.is_none() {
            self.error_help(name_span, format!("service `{name}` has no image"), "add `image: NAME:TAG` to `spec`");
        }
        let image = self.get(image.as_ref());
        for (key, _) in label_entries.iter().flat_map(|l| &l.0) {
            if key.text.starts_with(labels::PREFIX) {
                self.error_help(
                    key.span,
                    format!("labels that begin with `{}` are env-manager's own", labels::PREFIX),
                    "choose another prefix",
                );
            }
        }
        let container_labels = self.map_with_gaps(label_entries.as_ref());
        let annotations = self.map_with_gaps(annotations.as_ref());

        let aliases = self.list(network_aliases.as_ref());
        let mode = self.network_mode(network_mode.as_ref());
        let port_places = self.ports(ports.as_ref());
        let attachments = if network_mode.is_some() { Vec::new() } else { self.networks(networks.as_ref(), &aliases) };
        if let Some(mode_scalar) = network_mode {
            self.check_network_mode(mode_scalar, mode.as_ref(), form);
        }

        let mounts = self.mounts(volumes.as_ref(), tmpfs.as_ref());
        let (file_specs, contents) = self.files(files.as_ref(), secret_files.as_ref(), &mounts);
        let env = self.env(env_from.as_ref(), env.as_ref());
        let (secret_sources, secret_values) = self.secret_env(secret_env.as_ref());
        for (secret, _) in secret_env.iter().flat_map(|s| &s.0) {
            if env.contains_key(&secret.text) {
                self.error(
                    secret.span,
                    format!("`{}` is set in `env` and in `secretEnv`; keep one of them", secret.text),
                );
            }
        }
        let probes = self.probes(probes.as_ref());
        let (stop_signal, stop_grace) = self.stop(stop.as_ref());
        let pid_mode = self.namespace("pidMode", pid_mode.as_ref(), &["host"]);
        let ipc_mode = self.namespace("ipcMode", ipc_mode.as_ref(), &["none", "private", "shareable", "host"]);
        let read_only_root = security.as_ref().and_then(|s| self.get(s.read_only_root_filesystem.as_ref()));
        self.check_signals(files.as_ref(), &file_specs, read_only_root == Some(true), pid_mode.as_ref());
        let restart = self.restart(restart.as_ref(), restart_max_retries.as_ref());
        let (depends_on, mut depends_places) = self.depends_on(depends_on.as_ref());
        let depends_on =
            self.with_shared_namespaces(depends_on, &mut depends_places, form, mode.as_ref(), [&pid_mode, &ipc_mode]);

        let mut group_add = self.list(group_add.as_ref());
        group_add.sort();
        let container = ContainerSpec {
            name: self.container_name(name, container_name.as_ref()),
            image: image.unwrap_or_default(),
            platform: self.platform(platform.as_ref()),
            labels: container_labels,
            restarted_at: annotations.get(labels::RESTARTED_AT_ANNOTATION).cloned(),
            entrypoint: self.command(entrypoint.as_ref()),
            command: self.command(command.as_ref()),
            working_dir: self.absolute(working_dir.as_ref(), "workingDir"),
            user: self.filled(user.as_ref()),
            group_add,
            hostname: self.hostname(hostname.as_ref()),
            init: self.get(init.as_ref()).unwrap_or(true),
            tty: self.get(tty.as_ref()).unwrap_or(false),
            stdin: self.get(stdin.as_ref()).unwrap_or(false),
            env,
            secret_env: secret_sources,
            stop_signal,
            image_healthcheck: probes.uses_docker_health(),
            mounts,
            files: file_specs,
            devices: self.devices(devices.as_ref()),
            device_requests: self.device_requests(device_requests.as_ref()),
            ports: port_places.iter().map(|(port, _)| port.clone()).collect(),
            networks: attachments,
            network_mode: mode,
            mac_address: self.mac_address(mac_address.as_ref()),
            extra_hosts: self.extra_hosts(extra_hosts.as_ref()),
            dns: self.dns(dns.as_ref()),
            resources: self.resources(resources.as_ref()),
            security: self.security(security.as_ref()),
            sysctls: self.map(sysctls.as_ref()),
            ulimits: self.ulimits(ulimits.as_ref()),
            pid_mode,
            ipc_mode,
            userns_mode: self.filled(userns_mode.as_ref()),
            cgroup_parent: self.filled(cgroup_parent.as_ref()),
            runtime: self.filled(runtime.as_ref()),
            logging: self.logging(logging.as_ref(), name_span),
            restart,
        };
        let spec = ServiceSpec {
            container,
            pull_policy: self.get(pull_policy.as_ref()).unwrap_or_default(),
            required: self.get(required.as_ref()).unwrap_or(true),
            state: self.get(state.as_ref()).unwrap_or_default(),
            suspend: self.get(suspend.as_ref()).unwrap_or(false),
            depends_on,
            probes,
            update: self.update(update.as_ref()),
            stop_grace,
            adopt: self.adopt(adopt.as_ref()),
            annotations,
        };
        self.check_strategy(update.as_ref(), name, &spec);
        let places = Places {
            name: self.place(name_span),
            depends_on: depends_places,
            ports: port_places,
            container_name: container_name.as_ref().and_then(|c| self.place(c.span)),
        };
        Converted { service: Service::new(name, spec, secret_values, contents), places }
    }

    /// Sorted by name, since their order means nothing.
    fn depends_on(
        &mut self,
        forms: Option<&Vec<Spanned<ShortOr<DependencyForm>>>>,
    ) -> (BTreeMap<String, How>, BTreeMap<String, Option<Place>>) {
        let mut all = BTreeMap::new();
        let mut places = BTreeMap::new();
        for form in forms.into_iter().flatten() {
            let (name, span, how) = match &form.value {
                ShortOr::Short(name) => {
                    let name = self.expand(name, form.span).map(std::borrow::Cow::into_owned);
                    (name, form.span, (DependencyCondition::default(), false))
                }
                ShortOr::Long(long) => {
                    let DependencyForm { service, condition, restart } = &**long;
                    let condition = self.get(condition.as_ref()).unwrap_or_default();
                    let restarts = self.get(restart.as_ref()).unwrap_or_default();
                    if restarts && condition == DependencyCondition::Completed {
                        let help = "wait for `Ready` or `Started`; a one-shot that has completed runs no more";
                        let span = restart.as_ref().map_or(form.span, |r| r.span);
                        self.error_help(span, "`restart` means nothing with `condition: Completed`", help);
                    }
                    if service.is_none() {
                        self.error(form.span, "a dependency without `service`");
                    }
                    let span = service.as_ref().map_or(form.span, |s| s.span);
                    (self.filled(service.as_ref()), span, (condition, restarts))
                }
            };
            let Some(name) = name else { continue };
            if all.insert(name.clone(), how).is_some() {
                self.error(span, format!("dependency `{name}` is written twice"));
            }
            places.insert(name, self.place(span));
        }
        (all, places)
    }

    /// A container whose namespace is shared must run first.
    fn with_shared_namespaces(
        &mut self,
        mut all: BTreeMap<String, How>,
        places: &mut BTreeMap<String, Option<Place>>,
        form: &ServiceForm,
        mode: Option<&NetworkMode>,
        others: [&Option<NamespaceMode>; 2],
    ) -> Vec<Dependency> {
        let network = match mode {
            Some(NetworkMode::Service(name)) => Some(name),
            _ => None,
        };
        let others = others.map(|m| match m {
            Some(NamespaceMode::Service(name)) => Some(name),
            _ => None,
        });
        let spans = [&form.network_mode, &form.pid_mode, &form.ipc_mode].map(|s| s.as_ref().map(|s| s.span));
        for (name, span) in [network, others[0], others[1]].into_iter().zip(spans) {
            let Some(name) = name else { continue };
            all.entry(name.clone()).or_insert((DependencyCondition::Started, false));
            let place = span.and_then(|s| self.place(s));
            places.entry(name.clone()).or_insert(place);
        }
        all.into_iter().map(|(service, (condition, restart))| Dependency { service, condition, restart }).collect()
    }

    fn check_network_mode(&mut self, scalar: &Scalar<String>, mode: Option<&NetworkMode>, form: &ServiceForm) {
        let clashes = [
            ("networks", form.networks.as_ref().is_some_and(|n| !n.is_empty())),
            ("networkAliases", form.network_aliases.as_ref().is_some_and(|n| !n.is_empty())),
            ("ports", form.ports.as_ref().is_some_and(|p| !p.is_empty()) && mode != Some(&NetworkMode::Bridge)),
        ];
        for (field, is_set) in clashes {
            if is_set {
                self.error(scalar.span, format!("`{field}` means nothing with `networkMode: {}`", scalar.text));
            }
        }
    }

    fn container_name(&mut self, service: &str, scalar: Option<&Scalar<String>>) -> String {
        let Some(scalar) = scalar else { return self.shared.container_name.replace("{service}", service) };
        let name = self.filled(Some(scalar)).unwrap_or_else(|| service.to_owned());
        if let Err(why) = engine_name(&name) {
            self.error(scalar.span, format!("`{name}` is not a name of a container: {why}"));
        }
        for suffix in [labels::NEXT, labels::OLD, labels::FAILED] {
            if name.ends_with(suffix) {
                let help = "such names are used while a container is replaced";
                self.error_help(scalar.span, format!("a container's name may not end in `{suffix}`"), help);
            }
        }
        name
    }

    fn restart(&mut self, word: Option<&Scalar<RestartWord>>, retries: Option<&Scalar<u32>>) -> RestartPolicy {
        let max_retries = self.get(retries).unwrap_or(0);
        let policy = match self.get(word) {
            None | Some(RestartWord::UnlessStopped) => RestartPolicy::UnlessStopped,
            Some(RestartWord::Always) => RestartPolicy::Always,
            Some(RestartWord::No) => RestartPolicy::No,
            Some(RestartWord::OnFailure) => RestartPolicy::OnFailure { max_retries },
            Some(RestartWord::Managed) => RestartPolicy::Managed,
        };
        if let Some(retries) = retries.filter(|_| !matches!(policy, RestartPolicy::OnFailure { .. })) {
            self.error(retries.span, "`restartMaxRetries` means something only with `restart: OnFailure`");
        }
        policy
    }

    /// What it does not say is as the stack says.
    pub fn update(&mut self, form: Option<&UpdateForm>) -> Update {
        let default = UpdateForm::default();
        let UpdateForm { strategy, progress_deadline, rollback, drain } = form.unwrap_or(&default);
        let stack = self.shared.update.clone();
        let update = Update {
            strategy: match self.get(strategy.as_ref()) {
                None => stack.strategy,
                Some(StrategyWord::Auto) => UpdateStrategy::Auto,
                Some(StrategyWord::Recreate) => UpdateStrategy::Recreate,
                Some(StrategyWord::StartFirst) => UpdateStrategy::StartFirst,
            },
            progress_deadline: self.get(progress_deadline.as_ref()).unwrap_or(stack.progress_deadline),
            rollback: self.get(rollback.as_ref()).unwrap_or(stack.rollback),
            drain: self.get(drain.as_ref()).unwrap_or(stack.drain),
        };
        if let Some(scalar) = progress_deadline.as_ref().filter(|_| update.progress_deadline.is_zero()) {
            self.error(scalar.span, "a new container needs some time to become Ready");
        }
        if let Some(scalar) = drain.as_ref().filter(|_| update.drain > MAX_DRAIN) {
            let help = "what takes longer to end belongs into `stop.gracePeriod`";
            self.error_help(scalar.span, format!("at most {}", human_duration(MAX_DRAIN)), help);
        }
        update
    }

    /// Where it asks in so many words for what cannot be.
    fn check_strategy(&mut self, form: Option<&UpdateForm>, name: &str, spec: &ServiceSpec) {
        let strategy = form.and_then(|f| f.strategy.as_ref());
        let Some(scalar) = strategy.filter(|_| spec.update.strategy == UpdateStrategy::StartFirst) else { return };
        if let Some(obstacle) = spec.start_first_obstacle(name) {
            let help =
                "write `strategy: Recreate`, or take it out: by default it is `StartFirst` where that is possible";
            self.error_help(scalar.span, format!("`StartFirst` is not possible here: {obstacle}"), help);
        }
    }

    fn stop(&mut self, form: Option<&StopForm>) -> (Option<String>, std::time::Duration) {
        let shared = self.shared;
        let default = StopForm::default();
        let StopForm { signal, grace_period } = form.unwrap_or(&default);
        let signal = self.signal(signal.as_ref()).or_else(|| shared.stop_signal.clone());
        let grace = self.get(grace_period.as_ref()).unwrap_or(shared.defaults.stop_grace);
        if let Some(scalar) = grace_period.as_ref().filter(|_| grace.as_secs() == 0) {
            self.warning(
                scalar.span,
                "the process is killed at once",
                "the engine counts whole seconds; write `1s` or more",
            );
        }
        (signal, grace)
    }

    fn adopt(&mut self, form: Option<&Spanned<ShortOr<AdoptForm>>>) -> Adopt {
        let Some(form) = form else { return Adopt::Never };
        let (policy, whom) = match &form.value {
            ShortOr::Short(text) => (self.word::<AdoptWord>(text, form.span), Whom::default()),
            ShortOr::Long(long) => {
                let AdoptForm { policy, compose_project, compose_service } = &**long;
                if policy.is_none() {
                    self.error_help(
                        form.span,
                        "an `adopt` without `policy`",
                        "write `policy: Observe` or `policy: Replace`",
                    );
                }
                let project = self.filled(compose_project.as_ref());
                (self.get(policy.as_ref()), Whom { project, service: self.filled(compose_service.as_ref()) })
            }
        };
        match policy {
            None => Adopt::Never,
            Some(AdoptWord::Never) => {
                if whom != Whom::default() {
                    self.error(form.span, "`composeProject` and `composeService` mean nothing with `policy: Never`");
                }
                Adopt::Never
            }
            Some(AdoptWord::Observe) => Adopt::Observe(whom),
            Some(AdoptWord::Replace) => Adopt::Replace(whom),
        }
    }
}
