//! Images and their tags; commands in containers; what containers wrote.

use std::time::Duration;

use env_manager::engine::{ContainerFilter, Engine, ErrorKind, ExecResult, LogOptions};
use env_manager::resource::container::ContainerId;
use env_manager::resource::image::ImageRef;
use env_manager::resource::observed::RunState;
use env_manager::resource::spec::ContainerSpec;
use futures_util::StreamExt;

use crate::rig::{Behaves, Rig};

const GRACE: Duration = Duration::from_secs(5);

scenarios![
    a_missing_image_is_refused_before_a_taken_name,
    a_tag_that_moved_shows_in_the_list_and_not_in_the_container,
    what_the_image_says_is_merged_in,
    a_command_runs_in_what_runs_and_nowhere_else,
    what_has_ended_can_still_be_read,
];

async fn a_missing_image_is_refused_before_a_taken_name(rig: &impl Rig) {
    let id = rig.create(rig.spec("a", Behaves::Sleeps)).await;
    let image = ImageRef::parse("em-test/there-is-no-such-image:1").unwrap();
    let create = rig.creation(ContainerSpec { image, ..rig.spec("a", Behaves::Sleeps) });
    let error = rig.engine().create_container(&create).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::ImageNotFound, "{error}");
    assert_eq!(rig.engine().inspect_image("em-test/there-is-no-such-image:1").await.unwrap(), None);
    assert_eq!(rig.state(&id).await, RunState::Created);
}

async fn a_tag_that_moved_shows_in_the_list_and_not_in_the_container(rig: &impl Rig) {
    let image = rig.tag("img", Behaves::Sleeps);
    let old = rig.engine().inspect_image(image.as_str()).await.unwrap().unwrap();
    let id = rig.create(ContainerSpec { image: image.clone(), ..rig.spec("a", Behaves::Sleeps) }).await;
    let filter = ContainerFilter { stack: Some(rig.scope().to_owned()), service: None };
    let listed = async || rig.engine().list_containers(&filter).await.unwrap()[0].image.to_string();
    assert_eq!(listed().await, image.to_string());
    rig.tag("img", Behaves::SleepsToo);
    let new = rig.engine().inspect_image(image.as_str()).await.unwrap().unwrap();
    assert_ne!(old.id, new.id);
    let seen = rig.owned(&id).await;
    assert_eq!((&seen.image_id, &seen.config.image), (&old.id, &image));
    assert_eq!(listed().await, old.id.0);
    let by_id = rig.engine().inspect_image(&old.id.0).await.unwrap().expect("the old one is there");
    assert_eq!(by_id.id, old.id);
    rig.engine().start(&id).await.expect("it has its own image");
    let next = rig.create(ContainerSpec { image, ..rig.spec("a.next", Behaves::Sleeps) }).await;
    assert_eq!(rig.owned(&next).await.image_id, new.id);
}

async fn what_the_image_says_is_merged_in(rig: &impl Rig) {
    let env = [("MINE".to_owned(), "1".to_owned())].into();
    let id = rig.create(ContainerSpec { env, ..rig.spec("a", Behaves::HasVolume) }).await;
    let seen = rig.owned(&id).await;
    let image = rig.engine().inspect_image(&seen.image_id.0).await.unwrap().unwrap();
    assert_eq!(image.volumes, ["/v".to_owned()].into());
    assert_eq!(seen.config.command.as_ref(), Some(&image.command));
    assert_eq!(seen.config.env["MINE"], "1");
    assert!(image.env.iter().all(|(name, value)| seen.config.env.get(name) == Some(value)), "{image:?}");
    assert!(image.labels.iter().all(|(name, value)| seen.config.labels.get(name) == Some(value)), "{image:?}");
    let own = ["mine".to_owned()].to_vec();
    let spec = ContainerSpec { entrypoint: Some(own.clone()), ..rig.spec("b", Behaves::Sleeps) };
    let seen = rig.create(spec).await;
    let seen = rig.owned(&seen).await;
    assert_eq!((seen.config.entrypoint, seen.config.command), (Some(own), None), "the image's command is dropped");
}

async fn a_command_runs_in_what_runs_and_nowhere_else(rig: &impl Rig) {
    let id = rig.create(rig.spec("a", Behaves::Sleeps)).await;
    let exec = async |id: &ContainerId, word: &str| rig.engine().exec(id, &[word.to_owned()], &[], GRACE).await;
    let refused = async |why: &str| {
        let error = exec(&id, "true").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Other, "{why}: {error}");
        assert!(error.message.contains(why), "{why}: {error}");
    };
    refused("is not running").await;
    rig.engine().start(&id).await.unwrap();
    for (word, well) in [("true", true), ("false", false)] {
        let ended = exec(&id, word).await.unwrap();
        assert!(matches!(&ended, ExecResult::Ended(e) if (e.exit_code == 0) == well), "{word}: {ended:?}");
    }
    rig.pause(&id);
    refused("is paused").await;
    rig.engine().stop(&id, GRACE).await.unwrap();
    refused("is not running").await;
    assert!(!rig.engine().exec_running(&"0".repeat(64)).await.unwrap(), "one that nobody knows");
}

async fn what_has_ended_can_still_be_read(rig: &impl Rig) {
    let id = rig.run(rig.spec("a", Behaves::Writes)).await;
    rig.wait(&id, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!(rig.engine().log_tail(&id, 10).await.unwrap(), ["one", "two"]);
    assert_eq!(rig.engine().log_tail(&id, 1).await.unwrap(), ["two"]);
    let followed = async |tail| {
        let options = LogOptions { follow: true, tail, since: None };
        rig.engine().logs(&id, options).map(|line| line.unwrap().line).collect::<Vec<_>>().await
    };
    assert_eq!(followed(None).await, ["one", "two"], "and ends, since nothing more comes");
    assert_eq!(followed(Some(1)).await, ["two"]);
    rig.engine().start(&id).await.unwrap();
    rig.wait(&id, "exited", |c| c.state == RunState::Exited).await;
    assert_eq!(rig.engine().log_tail(&id, 10).await.unwrap(), ["one", "two", "one", "two"]);
}
