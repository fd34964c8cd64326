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
    for row in meant(&rows, whom, service, subject) {
        // Gone since it was listed: as if it had never been there.
        found.extend(unowned(engine, &row.id).await?.map(|c| adoptable(c, &[])));
    }
    Ok(found)
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
