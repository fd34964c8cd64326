//! Files, volumes and limits.

use std::sync::Arc;
use std::time::Duration;

use env_manager::engine::archive::archive;
use env_manager::engine::{Engine, ErrorKind, ObjectFilter};
use env_manager::resource::container::ContainerCreate;
use env_manager::resource::desired::Service;
use env_manager::resource::hash::SaltedHash;
use env_manager::resource::limits::{Limits, MemoryLimit};
use env_manager::resource::observed::RunState;
use env_manager::resource::secret::Secret;
use env_manager::resource::spec::{
    ContainerSpec, FileOrigin, FileSpec, Mount, MountSource, Resources, Security, VolumeSpec,
};
use env_manager::resource::units::Bytes;

use crate::rig::{Behaves, Rig};
use crate::stack::engine::{eventually, service};

const GRACE: Duration = Duration::from_secs(5);
const MIB: u64 = 1 << 20;

scenarios![
    an_upload_is_proved_by_its_marker_running_or_not,
    a_read_only_root_takes_no_files,
    a_volume_that_is_there_keeps_its_labels,
    a_volume_in_use_is_not_removed_and_a_removed_container_leaves_it,
    an_anonymous_volume_is_listed_and_handed_on,
    limits_are_changed_in_place_in_every_state,
    memory_below_what_is_in_use_is_refused_and_changes_nothing,
    too_little_memory_is_refused_at_create,
];

fn with_file(rig: &impl Rig, content: &str) -> Service {
    let target = "/etc/web/web.conf".to_owned();
    let file =
        FileSpec { target: target.clone(), origin: FileOrigin::Inline, mode: 0o640, uid: 3, gid: 4, signal: None };
    let service = service(ContainerSpec { files: vec![file], ..rig.spec("a", Behaves::Sleeps) });
    Service::new("web", service.spec, service.secret_env, [(target, Secret::new(content))].into())
}

async fn an_upload_is_proved_by_its_marker_running_or_not(rig: &impl Rig) {
    let (one, two) = (with_file(rig, "one\n"), with_file(rig, "two\n"));
    let create = ContainerCreate { service: Arc::new(one.clone()), ..rig.creation(rig.spec("a", Behaves::Sleeps)) };
    let id = rig.engine().create_container(&create).await.unwrap();
    assert_eq!(rig.engine().files_marker(&id).await.unwrap(), None);
    let upload = async |service: &Service| {
        let marker = SaltedHash::of_files(service, "salt").unwrap();
        rig.engine().upload(&id, &archive(service, &marker)).await.unwrap();
        assert_eq!(rig.engine().files_marker(&id).await.unwrap(), Some(marker.to_string()));
        marker.to_string()
    };
    upload(&one).await;
    rig.engine().start(&id).await.unwrap();
    let marker = upload(&two).await;
    rig.engine().stop(&id, GRACE).await.unwrap();
    assert_eq!(rig.engine().files_marker(&id).await.unwrap(), Some(marker), "what ran keeps them");
    upload(&one).await;
}

async fn a_read_only_root_takes_no_files(rig: &impl Rig) {
    let service = with_file(rig, "one\n");
    let security = Security { read_only_root_filesystem: true, ..Security::default() };
    let spec = |part| ContainerSpec { security: security.clone(), ..rig.spec(part, Behaves::Sleeps) };
    let id = rig.create(spec("a")).await;
    let marker = SaltedHash::of_files(&service, "salt").unwrap();
    let error = rig.engine().upload(&id, &archive(&service, &marker)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    assert_eq!(rig.engine().files_marker(&id).await.unwrap(), None);
    // And the spec that would need it is refused before anything is created.
    let files = service.spec.container.files.clone();
    let create = rig.creation(ContainerSpec { files, ..spec("b") });
    let error = rig.engine().create_container(&create).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

fn mounting(rig: &impl Rig, part: &str, behaves: Behaves, source: MountSource) -> ContainerSpec {
    let mounts = vec![Mount { target: "/data".to_owned(), source, read_only: false }];
    ContainerSpec { mounts, ..rig.spec(part, behaves) }
}

async fn a_volume_that_is_there_keeps_its_labels(rig: &impl Rig) {
    let spec = VolumeSpec { name: rig.name("v"), ..VolumeSpec::default() };
    let first = rig.engine().create_volume(&spec, &rig.labels()).await.unwrap();
    assert_eq!((&first.labels, first.stack.as_deref()), (&rig.labels(), Some(rig.scope())));
    let again = rig.engine().create_volume(&spec, &[("other".to_owned(), "x".to_owned())].into()).await.unwrap();
    assert_eq!(again, first);
    // One that a container named first is nobody's, and stays so.
    let source = MountSource::Volume { name: rig.name("w"), subpath: None };
    rig.create(mounting(rig, "a", Behaves::Sleeps, source)).await;
    let spec = VolumeSpec { name: rig.name("w"), ..VolumeSpec::default() };
    let theirs = rig.engine().create_volume(&spec, &rig.labels()).await.unwrap();
    assert_eq!((theirs.stack, theirs.labels.len()), (None, 0));
    let by_stack = rig.engine().list_volumes(&ObjectFilter::Stack(rig.scope().to_owned())).await.unwrap();
    assert_eq!(by_stack, [first]);
}

async fn a_volume_in_use_is_not_removed_and_a_removed_container_leaves_it(rig: &impl Rig) {
    let spec = VolumeSpec { name: rig.name("v"), ..VolumeSpec::default() };
    rig.engine().create_volume(&spec, &rig.labels()).await.unwrap();
    let source = MountSource::Volume { name: spec.name.clone(), subpath: None };
    let id = rig.create(mounting(rig, "a", Behaves::Sleeps, source)).await;
    let error = rig.engine().remove_volume(&spec.name).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InUse, "created is enough: {error}");
    rig.engine().remove_container(&id).await.unwrap();
    let there = rig.engine().list_volumes(&ObjectFilter::Names(vec![spec.name.clone()])).await.unwrap();
    assert_eq!(there.len(), 1);
    rig.engine().remove_volume(&spec.name).await.unwrap();
    rig.engine().remove_volume(&spec.name).await.expect("it is gone");
}

async fn an_anonymous_volume_is_listed_and_handed_on(rig: &impl Rig) {
    let id = rig.create(mounting(rig, "a", Behaves::HasVolume, MountSource::Anonymous)).await;
    let seen = rig.owned(&id).await;
    assert_eq!(seen.anonymous.keys().collect::<Vec<_>>(), ["/data", "/v"]);
    assert!(seen.config.mounts.iter().all(|m| m.source == MountSource::Anonymous), "{:?}", seen.config.mounts);
    let spec = mounting(rig, "a.next", Behaves::HasVolume, MountSource::Anonymous);
    let create = ContainerCreate { inherited: seen.anonymous.clone(), ..rig.creation(spec) };
    let next = rig.engine().create_container(&create).await.unwrap();
    let heir = rig.owned(&next).await;
    assert_eq!((&heir.anonymous, &heir.config.mounts), (&seen.anonymous, &seen.config.mounts));
    rig.engine().remove_container(&id).await.unwrap();
    rig.engine().remove_container(&next).await.unwrap();
    let names: Vec<_> = seen.anonymous.into_values().collect();
    let there = rig.engine().list_volumes(&ObjectFilter::Names(names.clone())).await.unwrap();
    assert_eq!(there.len(), 2, "containers are removed without their volumes");
    for name in names {
        rig.engine().remove_volume(&name).await.unwrap();
    }
}

fn memory(mib: u64) -> Limits {
    let memory = Some(MemoryLimit { memory: Bytes(mib * MIB), swap: None });
    Limits { memory, ..Limits::default() }
}

async fn limits_are_changed_in_place_in_every_state(rig: &impl Rig) {
    let id = rig.create(rig.spec("a", Behaves::Sleeps)).await;
    let limits = async || rig.owned(&id).await.config.resources;
    for (state, mib) in [(RunState::Created, 64), (RunState::Running, 128), (RunState::Exited, 96)] {
        match state {
            RunState::Running => rig.engine().start(&id).await.unwrap(),
            RunState::Exited => rig.engine().stop(&id, GRACE).await.unwrap(),
            _ => {}
        }
        rig.engine().update_limits(&id, &memory(mib)).await.unwrap();
        rig.engine().update_limits(&id, &Limits { pids: Some(99), ..Limits::default() }).await.unwrap();
        let seen = limits().await;
        assert_eq!((seen.memory, seen.swap, seen.pids), (Some(Bytes(mib * MIB)), Some(Bytes(mib * MIB)), Some(99)));
        rig.engine().update_limits(&id, &Limits { pids: Some(0), ..Limits::default() }).await.unwrap();
        assert_eq!(limits().await.pids, None, "{state:?}");
        assert_eq!(rig.state(&id).await, state);
    }
    let beyond = Limits { cpuset: Some("0-999".to_owned()), ..Limits::default() };
    let error = rig.engine().update_limits(&id, &beyond).await.unwrap_err();
    assert_eq!((error.kind, limits().await.cpuset), (ErrorKind::Refused, None));
}

async fn memory_below_what_is_in_use_is_refused_and_changes_nothing(rig: &impl Rig) {
    let resources = Resources { memory: Some(Bytes(256 * MIB)), swap: Some(Bytes(0)), ..Resources::default() };
    let id = rig.run(ContainerSpec { resources, ..rig.spec("a", Behaves::EatsMemory) }).await;
    let full = eventually(async || {
        let lines = rig.engine().log_tail(&id, 1).await.unwrap();
        lines.iter().any(|l| l.contains("full")).then_some(())
    });
    tokio::time::timeout(Duration::from_mins(1), full).await.expect("it eats 16 MiB");
    let before = rig.owned(&id).await;
    let less = MemoryLimit { memory: Bytes(8 * MIB), swap: Some(Bytes(0)) };
    let error = rig.engine().update_limits(&id, &Limits { memory: Some(less), ..Limits::default() }).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Other, "{error}");
    let after = rig.owned(&id).await;
    assert_eq!((after.config.resources, after.state), (before.config.resources, RunState::Running));
}

async fn too_little_memory_is_refused_at_create(rig: &impl Rig) {
    let resources = Resources { memory: Some(Bytes(MIB)), ..Resources::default() };
    let create = rig.creation(ContainerSpec { resources, ..rig.spec("a", Behaves::Sleeps) });
    let error = rig.engine().create_container(&create).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    assert_eq!(rig.engine().inspect_container(&rig.name("a")).await.unwrap(), None);
}
