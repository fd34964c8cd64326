//! Files and volumes.

use std::sync::Arc;

use crate::common::{Scope, docker};
use env_manager::engine::archive::archive;
use env_manager::engine::{Engine, ErrorKind, ObjectFilter};
use env_manager::resource::container::{ContainerCreate, ContainerId};
use env_manager::resource::desired::Service;
use env_manager::resource::hash::SaltedHash;
use env_manager::resource::secret::Secret;
use env_manager::resource::spec::{ContainerSpec, FileOrigin, FileSpec, Mount, MountSource, Security, VolumeSpec};

fn service_with_file(scope: &Scope, target: &str, content: &str) -> Service {
    let file =
        FileSpec { target: target.to_owned(), origin: FileOrigin::Inline, mode: 0o640, uid: 3, gid: 4, signal: None };
    let service = crate::common::service(ContainerSpec { files: vec![file], ..scope.spec("a") });
    let files = [(target.to_owned(), Secret::new(content))].into();
    Service::new("web", service.spec, service.secret_env, files)
}

#[tokio::test]
async fn an_upload_is_proved_by_its_marker() {
    let scope = Scope::new("upload");
    let engine = &scope.engine;
    let service = service_with_file(&scope, "/etc/web/web.conf", "one\n");
    let create = ContainerCreate { service: Arc::new(service.clone()), ..scope.create_of(scope.spec("a")) };
    let id = engine.create_container(&create).await.unwrap();
    assert_eq!(engine.files_marker(&id).await.unwrap(), None);
    let marker = SaltedHash::of_files(&service, "salt").unwrap();
    engine.upload(&id, &archive(&service, &marker)).await.unwrap();
    assert_eq!(engine.files_marker(&id).await.unwrap(), Some(marker.to_string()));
    engine.start(&id).await.unwrap();
    let read =
        docker(&["exec", &id.0, "sh", "-c", "cat /etc/web/web.conf; stat -c '%a %u:%g' /etc/web/web.conf /etc/web"]);
    assert_eq!(read, "one\n640 3:4\n755 0:0");

    let changed = service_with_file(&scope, "/etc/web/web.conf", "two\n");
    let marker = SaltedHash::of_files(&changed, "salt").unwrap();
    engine.upload(&id, &archive(&changed, &marker)).await.unwrap();
    assert_eq!(engine.files_marker(&id).await.unwrap(), Some(marker.to_string()), "of a running container too");
    assert_eq!(docker(&["exec", &id.0, "cat", "/etc/web/web.conf"]), "two");

    // A file where a folder is: an error, and the folder stays.
    let over_a_folder = service_with_file(&scope, "/etc/web", "three\n");
    let other = SaltedHash::of_files(&over_a_folder, "salt").unwrap();
    engine.upload(&id, &archive(&over_a_folder, &other)).await.unwrap_err();
    assert_eq!(engine.files_marker(&id).await.unwrap(), Some(marker.to_string()), "the marker comes last");
    assert_eq!(docker(&["exec", &id.0, "cat", "/etc/web/web.conf"]), "two");
    assert_eq!(engine.files_marker(&ContainerId::new("em-test-nothing")).await.unwrap(), None);
}

#[tokio::test]
async fn a_read_only_root_takes_no_files() {
    let scope = Scope::new("readonly");
    let service = service_with_file(&scope, "/etc/web.conf", "one\n");
    let security = Security { read_only_root_filesystem: true, ..Security::default() };
    let id = scope.create(ContainerSpec { security: security.clone(), ..scope.spec("a") }).await;
    let marker = SaltedHash::of_files(&service, "salt").unwrap();
    let error = scope.engine.upload(&id, &archive(&service, &marker)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Refused, "{error}");
    // And the spec that would need it is refused before anything is created.
    let files = service.spec.container.files.clone();
    let create = scope.create_of(ContainerSpec { security, files, ..scope.spec("b") });
    let error = scope.engine.create_container(&create).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error}");
}

#[tokio::test]
async fn a_volume_that_was_there_keeps_its_owner() {
    let scope = Scope::new("volumes");
    let engine = &scope.engine;
    let volume = |part: &str| VolumeSpec { name: scope.name(part), ..VolumeSpec::default() };
    let ours = engine.create_volume(&volume("ours"), &scope.labels()).await.unwrap();
    assert_eq!((ours.stack.as_deref(), ours.driver.as_str()), (Some(&*scope.name), "local"));
    docker(&["volume", "create", &scope.name("theirs")]);
    let theirs = engine.create_volume(&volume("theirs"), &scope.labels()).await.unwrap();
    assert_eq!(theirs.stack, None);
    let names = [scope.name("ours"), scope.name("theirs"), scope.name("our")];
    let found = engine.list_volumes(&ObjectFilter::Names(names.to_vec())).await.unwrap();
    assert_eq!(found, [ours.clone(), theirs]);
    assert_eq!(engine.list_volumes(&ObjectFilter::Stack(scope.name.clone())).await.unwrap(), [ours]);

    let mount = Mount {
        target: "/data".to_owned(),
        source: MountSource::Volume { name: scope.name("ours"), subpath: None },
        read_only: false,
    };
    let id = scope.create(ContainerSpec { mounts: vec![mount], ..scope.spec("a") }).await;
    let error = engine.remove_volume(&scope.name("ours")).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InUse, "{error}");
    engine.remove_container(&id).await.unwrap();
    let left = engine.list_volumes(&ObjectFilter::Names(vec![scope.name("ours")])).await.unwrap();
    assert_eq!(left.len(), 1, "removing a container removes no volume");
    engine.remove_volume(&scope.name("ours")).await.unwrap();
    engine.remove_volume(&scope.name("ours")).await.expect("it is gone already");
}

#[tokio::test]
async fn a_replacement_inherits_anonymous_volumes() {
    let scope = Scope::new("inherit");
    let engine = &scope.engine;
    let anonymous = Mount { target: "/data".to_owned(), source: MountSource::Anonymous, read_only: false };
    let spec = ContainerSpec { mounts: vec![anonymous.clone()], ..scope.spec("a") };
    let old = scope.run(spec.clone()).await;
    docker(&["exec", &old.0, "sh", "-c", "echo kept > /data/x"]);
    let was = scope.owned(&old).await;
    assert_eq!(was.config.mounts, std::slice::from_ref(&anonymous));
    // And one that no manifest mounts, as an image's VOLUME makes it.
    let mut inherited = was.anonymous.clone();
    let volume = docker(&["volume", "create", "--label", &format!("dev.env-manager.stack={}", scope.name)]);
    inherited.insert("/image".to_owned(), volume.clone());
    let create = ContainerCreate { name: scope.name("b"), inherited, ..scope.create_of(spec) };
    let new = engine.create_container(&create).await.unwrap();
    engine.start(&new).await.unwrap();
    assert_eq!(docker(&["exec", &new.0, "cat", "/data/x"]), "kept");
    let is = scope.owned(&new).await;
    assert_eq!(is.anonymous["/data"], was.anonymous["/data"]);
    assert_eq!(is.anonymous["/image"], volume);
    let image = Mount { target: "/image".to_owned(), ..anonymous.clone() };
    assert_eq!(is.config.mounts, [anonymous, image], "named or not, they read the same");
    for id in [&old, &new] {
        engine.remove_container(id).await.unwrap();
    }
    engine.remove_volume(&was.anonymous["/data"]).await.unwrap();
}
