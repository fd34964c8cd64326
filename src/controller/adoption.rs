//! Finds the containers that are not ours and that a manifest's `adopt` means (`docs/adoption.md`).

use std::collections::BTreeSet;

use super::observe::Subject;
use crate::engine::{ContainerFilter, Engine, EngineError, Inspected};
use crate::resource::adoption::{Adopted, COMPOSE_ONE_OFF, COMPOSE_PROJECT, COMPOSE_SERVICE, adoptable};
use crate::resource::container::ContainerId;
use crate::resource::desired::Service;
use crate::resource::labels::{FAILED, NEXT};
use crate::resource::observed::{Container, ContainerRow, Foreign};
use crate::resource::spec::{Adopt, Whom};

/// Nothing where a container of ours serves: `adopt` is about what stands in its place.
///
/// # Errors
/// The first call that failed.
pub(super) async fn adoptees<E: Engine>(
    engine: &E,
    subject: Subject<'_>,
    service: &Service,
    owned: &[Container],
    itself: Option<&ContainerId>,
) -> Result<Vec<Container>, EngineError> {
    let adopt = &service.spec.adopt;
    let Some(whom) = adopt.whom() else { return Ok(Vec::new()) };
    // One whose takeover has begun is told by what was made to take its place: it may bear any name by now.
    let replaces = matches!(adopt, Adopt::Replace(_));
    let begun: Vec<&Adopted> = owned.iter().filter(|_| replaces).filter_map(|c| c.owner.adopted.as_deref()).collect();
    for from in begun.iter().map(|a| &a.from).collect::<BTreeSet<_>>() {
        if let Some(container) = unowned(engine, from).await? {
            return Ok(vec![adoptable(container, &begun)]);
        }
    }
    let is_beside = |c: &Container| c.name.ends_with(FAILED) || (replaces && c.name.ends_with(NEXT));
    if !owned.iter().all(is_beside) {
        return Ok(Vec::new());
    }
    let rows = engine.list_containers(&ContainerFilter::default()).await?;
    let mut found = Vec::new();
    for row in meant(&rows, whom, service, subject).into_iter().filter(|row| Some(&row.id) != itself) {
        // Gone since it was listed: as if it had never been there.
        found.extend(unowned(engine, &row.id).await?.map(|c| adoptable(c, &[])));
    }
    Ok(found)
}

/// The container that env-manager itself runs in, which it never adopts (rules 7): the engine mounts some files
/// of every container from a folder that bears the id.
pub(super) fn itself() -> Option<ContainerId> {
    container_of(&std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

fn container_of(mounts: &str) -> Option<ContainerId> {
    let ids = mounts.split("/containers/").skip(1).map(|rest| rest.split('/').next().unwrap_or_default());
    let is_id = |text: &&str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    ids.into_iter().find(is_id).map(ContainerId::new)
}

/// By its name, else by Compose's labels.
fn meant<'r>(rows: &'r [ContainerRow], whom: &Whom, service: &Service, subject: Subject<'_>) -> Vec<&'r ContainerRow> {
    let Whom { project, service: compose_service } = whom;
    let unowned = || rows.iter().filter(|row| row.owner.is_none());
    if project.is_none() && compose_service.is_none() {
        let named: Vec<_> = unowned().filter(|row| row.name == service.spec.container.name).collect();
        if !named.is_empty() {
            return named;
        }
    }
    let wanted = compose_service.as_deref().unwrap_or(&subject.key.name);
    let label = |row: &'r ContainerRow, name: &str| row.labels.get(name).map(String::as_str);
    let of_service = unowned().filter(|row| label(row, COMPOSE_SERVICE) == Some(wanted));
    of_service
        .filter(|row| label(row, COMPOSE_ONE_OFF) != Some("True"))
        .filter(|row| match project {
            Some(project) => label(row, COMPOSE_PROJECT) == Some(project),
            None => label(row, COMPOSE_PROJECT).is_some(),
        })
        .collect()
}

async fn unowned<E: Engine>(engine: &E, id: &ContainerId) -> Result<Option<Container>, EngineError> {
    Ok(match engine.inspect_container(&id.0).await? {
        Some(Inspected::Foreign(foreign)) => {
            let Foreign { container, .. } = *foreign;
            container.map(|c| *c)
        }
        Some(Inspected::Owned(_)) | None => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_container_is_told_from_what_the_engine_mounts_into_it() {
        let id = "0123456789abcdef".repeat(4);
        let inside = format!(
            "1 2 0:1 / / rw - overlay overlay rw\n\
             3 1 8:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw,relatime - ext4 /dev/sda1 rw\n"
        );
        assert_eq!(container_of(&inside), Some(ContainerId::new(id)));
        let outside =
            "1 2 8:1 / / rw - ext4 /dev/sda1 rw\n3 1 8:2 /var/lib/containers/storage /x rw - ext4 /dev/sda2 rw\n";
        assert_eq!(container_of(outside), None);
    }
}
