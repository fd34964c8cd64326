//! Situations of networks, volumes and prune; and what never happens to volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;

use proptest::prelude::*;

use super::case::{NOW, describe, network, policy, shows};
use crate::plan::prune::{OwnedResource, PruneGuards, prune};
use crate::plan::restarts::Restarts;
use crate::plan::types::{Mode, Op, Plan, PlanContext, Policy, Retry};
use crate::resource::ResourceKey;
use crate::resource::container::{ContainerId, NetworkId};
use crate::resource::desired::{Desired, DesiredSpec};
use crate::resource::hash::hash_of;
use crate::resource::image::ImageState;
use crate::resource::labels::SourceId;
use crate::resource::observed::{Network, NetworkObserved, NetworkUser, Observed, Volume, VolumeObserved};
use crate::resource::probe::ProbeState;
use crate::resource::revision::Revisions;
use crate::resource::spec::{NetworkSpec, VolumeSpec};

/// A network or a volume, and what is known of it.
#[derive(Clone)]
struct Case {
    key: ResourceKey,
    spec: Option<DesiredSpec>,
    observed: Observed,
    mode: Mode,
    policy: Policy,
    dependents: Vec<ResourceKey>,
}

impl Case {
    fn plan(&self) -> Plan {
        let cx = PlanContext {
            now: NOW,
            engine_now: NOW,
            deps: &[],
            dependents: &self.dependents,
            image: &ImageState::Unknown,
            probes: &ProbeState::default(),
            next_probes: &ProbeState::default(),
            retry: &Retry::default(),
            restarts: &Restarts::default(),
            restart_asked: None,
            revisions: &Revisions::default(),
            retry_asked: false,
            watched_since: NOW,
            why: None,
            mode: self.mode,
            policy: &self.policy,
        };
        let desired = self.spec.clone().map(|spec| Desired { generation: 1, revision: Arc::from("3f2a91c"), spec });
        crate::plan::plan(&self.key, desired.as_ref(), &self.observed, &cx)
    }

    fn text(&self) -> String {
        describe(&self.plan(), NOW)
    }

    fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    fn unknown(mut self) -> Self {
        self.spec = None;
        self
    }
}

fn net_spec() -> NetworkSpec {
    NetworkSpec { name: "env-manager".to_owned(), ..NetworkSpec::default() }
}

fn net(spec: NetworkSpec, networks: Vec<Network>) -> Case {
    Case {
        key: ResourceKey::network("env-manager"),
        spec: Some(DesiredSpec::Network(Arc::new(spec))),
        observed: Observed::Network(NetworkObserved { networks, users: BTreeMap::new() }),
        mode: Mode::Normal,
        policy: policy(),
        dependents: Vec::new(),
    }
}

fn made_from(spec: &NetworkSpec, id: &str) -> Network {
    Network { spec_hash: hash_of(spec), ..network("env-manager", id) }
}

fn used_by(mut case: Case, id: &str, users: &[(&str, bool)]) -> Case {
    let Observed::Network(observed) = &mut case.observed else { panic!("not a network") };
    let users = users.iter().map(|(name, owned)| NetworkUser {
        name: (*name).to_owned(),
        id: ContainerId::new(format!("{name:0>64}")),
        owner: owned.then(|| super::case::policy().source),
        service: if *owned { (*name).to_owned() } else { String::new() },
    });
    observed.users.insert(NetworkId(Arc::from(id)), users.collect());
    case
}

#[test]
fn a_missing_network_is_created_with_its_owner_and_hash() {
    let case = net(net_spec(), Vec::new());
    let plan = case.plan();
    let Op::CreateNetwork { labels, .. } = &plan.stages[0].steps[0].op else { panic!("{plan}") };
    assert_eq!(labels.len(), 3);
    shows!(case.text());
}

#[test]
fn a_network_as_it_should_be_plans_to_nothing() {
    shows!(net(net_spec(), vec![made_from(&net_spec(), "net-1")]).text());
}

#[test]
fn an_external_network_is_used_as_it_is() {
    let spec = NetworkSpec { external: true, ..net_spec() };
    let theirs = Network { stack: None, ..network("env-manager", "net-1") };
    shows!(net(spec, vec![theirs]).text());
}

#[test]
fn an_external_network_that_is_not_there_stalls() {
    shows!(net(NetworkSpec { external: true, ..net_spec() }, Vec::new()).text());
}

#[test]
fn a_foreign_network_of_the_name_is_a_conflict() {
    let theirs = Network { stack: None, ..network("env-manager", "net-1") };
    shows!(net(net_spec(), vec![theirs]).text());
}

#[test]
fn surplus_networks_of_ours_go_unless_somebody_is_on_them() {
    let all = ["net-1", "net-2", "net-3"].map(|id| made_from(&net_spec(), id)).to_vec();
    shows!(used_by(net(net_spec(), all), "net-3", &[("kafka", true)]).text());
}

#[test]
fn a_changed_network_is_made_again_and_its_containers_are_taken_off() {
    let case = net(NetworkSpec { internal: true, ..net_spec() }, vec![made_from(&net_spec(), "net-1")]);
    shows!(used_by(case, "net-1", &[("kafka", true), ("zookeeper", true)]).text());
}

#[test]
fn a_changed_network_with_a_foreign_container_on_it_is_left() {
    let case = net(NetworkSpec { internal: true, ..net_spec() }, vec![made_from(&net_spec(), "net-1")]);
    shows!(used_by(case, "net-1", &[("kafka", true), ("theirs", false)]).text());
}

#[test]
fn p19_a_changed_network_waits_for_who_is_on_it_and_suspended() {
    let mut case = net(NetworkSpec { internal: true, ..net_spec() }, vec![made_from(&net_spec(), "net-1")]);
    case.dependents = vec![ResourceKey::service("kafka"), ResourceKey::service("elsewhere")];
    shows!(used_by(case, "net-1", &[("kafka", true), ("zookeeper", true)]).text());
}

#[test]
fn a_network_that_another_folder_made_is_neither_changed_nor_removed() {
    let theirs = Network { source: SourceId("host:/other".to_owned()), ..made_from(&net_spec(), "net-1") };
    let case = net(NetworkSpec { internal: true, ..net_spec() }, vec![theirs]);
    shows!(format!("{}{}", case.text(), case.clone().mode(Mode::Removing).text()));
}

#[test]
fn down_removes_a_network_once_its_services_are_gone() {
    let mut case = net(net_spec(), vec![made_from(&net_spec(), "net-1")]).mode(Mode::Removing);
    let alone = case.text();
    case.dependents.push(ResourceKey::service("kafka"));
    shows!(format!("{alone}{}", case.text()));
}

#[test]
fn a_network_with_a_foreign_container_on_it_is_kept() {
    let case = net(net_spec(), vec![made_from(&net_spec(), "net-1")]).mode(Mode::Removing);
    shows!(used_by(case, "net-1", &[("theirs", false)]).text());
}

#[test]
fn p05_a_network_whose_manifest_is_broken_is_left() {
    shows!(net(net_spec(), vec![made_from(&net_spec(), "net-1")]).unknown().mode(Mode::Frozen).text());
}

#[test]
fn p05_a_network_is_not_made_again_while_its_manifest_is_broken() {
    let case = net(NetworkSpec { internal: true, ..net_spec() }, vec![made_from(&net_spec(), "net-1")]);
    assert!(case.plan().executable().is_some());
    assert!(case.clone().mode(Mode::Frozen).plan().is_empty());
    // One that is gone is made.
    let gone = net(net_spec(), Vec::new()).mode(Mode::Frozen).plan();
    assert!(gone.executable().is_some());
}

fn vol(volume: Option<Volume>) -> Case {
    let spec = VolumeSpec { name: "kafka_data".to_owned(), ..VolumeSpec::default() };
    Case {
        key: ResourceKey::volume("kafka_data"),
        spec: Some(DesiredSpec::Volume(Arc::new(spec))),
        observed: Observed::Volume(VolumeObserved { volume }),
        ..net(net_spec(), Vec::new())
    }
}

fn kafka_data() -> Volume {
    Volume {
        name: "kafka_data".to_owned(),
        driver: "local".to_owned(),
        stack: Some("default".to_owned()),
        source: SourceId("host:/m".to_owned()),
        labels: BTreeMap::new(),
    }
}

#[test]
fn a_missing_volume_is_created() {
    shows!(vol(None).text());
}

#[test]
fn a_volume_that_is_there_is_used_whoever_made_it() {
    let theirs = Volume { stack: None, ..kafka_data() };
    shows!(format!("{}{}", vol(Some(kafka_data())).text(), vol(Some(theirs)).text()));
}

#[test]
fn an_external_volume_that_is_not_there_stalls() {
    let mut case = vol(None);
    let spec = VolumeSpec { name: "kafka_data".to_owned(), external: true, ..VolumeSpec::default() };
    case.spec = Some(DesiredSpec::Volume(Arc::new(spec)));
    shows!(case.text());
}

#[test]
fn p07_down_keeps_volumes_and_removes_them_when_told_to() {
    let mut case = vol(Some(kafka_data())).mode(Mode::Removing);
    let kept = case.text();
    case.policy.remove_volumes = true;
    case.dependents.push(ResourceKey::service("kafka"));
    shows!(format!("{kept}{}", case.text()));
}

fn any_mode() -> impl Strategy<Value = Mode> {
    proptest::sample::select(vec![Mode::Normal, Mode::Suspended, Mode::Frozen, Mode::Removing])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p07_no_volume_is_removed_without_the_flag_or_if_it_is_not_ours(
        mode in any_mode(), known: bool, external: bool, flag: bool, stack in proptest::option::of("default|other"),
        source in "host:/m|host:/other",
    ) {
        let ours = stack.as_deref() == Some("default") && source == "host:/m";
        let volume = Volume { stack, source: SourceId(source), ..kafka_data() };
        let mut case = vol(Some(volume)).mode(mode);
        case.policy.remove_volumes = flag;
        let spec = VolumeSpec { name: "kafka_data".to_owned(), external, ..VolumeSpec::default() };
        case.spec = known.then(|| DesiredSpec::Volume(Arc::new(spec)));
        let plan = case.plan();
        let removes = plan.stages.iter().flat_map(|s| &s.steps).any(|s| matches!(s.op, Op::RemoveVolume { .. }));
        prop_assert!(!removes || (flag && ours && mode == Mode::Removing && !(known && external)), "{plan}");
    }

    #[test]
    fn p04_no_network_of_others_is_changed_or_removed(
        mode in any_mode(), known: bool, external: bool, internal: bool,
        owners in proptest::collection::vec((proptest::option::of("default|other"), "host:/m|host:/other"), 0..4),
        users in proptest::collection::btree_set("[a-c]", 0..3),
    ) {
        let networks: Vec<_> = owners
            .into_iter()
            .enumerate()
            .map(|(i, (stack, source))| Network {
                stack,
                source: SourceId(source),
                ..made_from(&net_spec(), &format!("net-{i}"))
            })
            .collect();
        let ours: BTreeSet<_> = networks
            .iter()
            .filter(|n| n.stack.as_deref() == Some("default") && n.source.0 == "host:/m")
            .map(|n| n.id.clone())
            .collect();
        let mut case = net(NetworkSpec { external, internal, ..net_spec() }, networks).mode(mode);
        if !known {
            case = case.unknown();
        }
        let users: Vec<_> = users.iter().map(|n| (n.as_str(), n != "c")).collect();
        let plan = used_by(case, "net-0", &users).plan();
        for step in plan.stages.iter().flat_map(|s| &s.steps) {
            if let Op::RemoveNetwork { id, .. } | Op::Disconnect { id, .. } = &step.op {
                prop_assert!(ours.contains(id) && !(known && external), "{plan}");
            }
        }
        for step in plan.executable().into_iter().flat_map(|s| &s.steps) {
            if let Op::Disconnect { target, .. } = &step.op {
                prop_assert!(target.name() != "c", "touches a foreign container: {plan}");
            }
        }
        // P5: what is not known is not removed.
        prop_assert!(known || mode == Mode::Removing || plan.is_empty(), "{plan}");
    }
}

fn pruned(owned: &[(&str, &str)], desired: &[&str], guards: PruneGuards) -> String {
    let owned: Vec<_> = owned
        .iter()
        .map(|(name, source)| OwnedResource {
            key: ResourceKey::service(*name),
            source: SourceId((*source).to_owned()),
        })
        .collect();
    let judged = prune(&owned, |key| desired.contains(&&*key.name), &SourceId("host:/m".to_owned()), guards);
    let mut text = String::new();
    for key in &judged.remove {
        let _ = writeln!(text, "remove {key}");
    }
    for refused in &judged.refused {
        let _ = writeln!(text, "keep {}: {}", refused.key, refused.why);
    }
    text
}

const GUARDS: PruneGuards = PruneGuards { enabled: true, limit_percent: 50, source_is_whole: true, allowed: false };

#[test]
fn prune_says_of_each_why_it_goes_or_stays() {
    let here: Vec<_> = ["a", "b", "c", "d"].iter().map(|n| (*n, "host:/m")).collect();
    let mut text = String::new();
    for (title, owned, desired, guards) in [
        ("one of four", here.clone(), vec!["a", "b", "c"], GUARDS),
        ("half of them", here.clone(), vec!["a", "b"], GUARDS),
        ("more than half", here.clone(), vec!["a"], GUARDS),
        ("more than half, allowed", here.clone(), vec!["a"], PruneGuards { allowed: true, ..GUARDS }),
        ("an emptied source", here.clone(), vec![], PruneGuards { source_is_whole: false, allowed: true, ..GUARDS }),
        ("switched off", here.clone(), vec!["a", "b", "c"], PruneGuards { enabled: false, ..GUARDS }),
        ("another folder's", vec![("a", "host:/m"), ("b", "host:/other")], vec!["a"], GUARDS),
        ("both folders'", vec![("a", "host:/m"), ("b", "host:/m"), ("b", "host:/other")], vec!["a"], GUARDS),
    ] {
        let _ = writeln!(text, "{title}:\n{}", pruned(&owned, &desired, guards));
    }
    shows!(text);
}
