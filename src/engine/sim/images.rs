//! Images and their tags, registries, and what a prune takes.

use std::collections::BTreeMap;

use super::core::Core;
use super::program::{Program, RegistryAnswer, canonical};
use super::refusal::{Refusal, refusal};
use crate::engine::EventKind;
use crate::resource::container::ContainerId;
use crate::resource::image::{ImageId, ImageInfo};

#[derive(Clone, Debug)]
pub(super) struct Image {
    pub id: ImageId,
    pub program: Program,
    pub info: ImageInfo,
}

impl Core {
    /// The tag moves to it, if it was elsewhere.
    pub fn tag(&mut self, reference: &str, program: Program, action: &str) -> ImageId {
        let id = program.image_id();
        let info = program.info();
        self.images.entry(id.clone()).or_insert(Image { id: id.clone(), program, info });
        let reference = canonical(reference);
        self.tags.insert(reference.clone(), id.clone());
        let subject = if action == "pull" { reference.clone() } else { id.0.clone() };
        self.emit(EventKind::Image, action, &subject, BTreeMap::from([("name".to_owned(), reference)]));
        id
    }

    pub fn untag(&mut self, reference: &str) -> Result<(), Refusal> {
        let reference = canonical(reference);
        let Some(id) = self.tags.get(&reference).cloned() else {
            return Err(refusal(404, format!("No such image: {reference}")));
        };
        let last = self.tags.values().filter(|other| **other == id).count() == 1;
        if last && let Some(user) = self.containers.values().find(|u| u.image_id == id && u.runs()) {
            let text = format!(
                "conflict: unable to remove repository reference \"{reference}\" (must force) - container {} is using \
                 its referenced image {id}",
                user.id
            );
            return Err(refusal(409, text));
        }
        self.tags.remove(&reference);
        self.emit(EventKind::Image, "untag", &id.0, BTreeMap::from([("name".to_owned(), id.0.clone())]));
        self.prune_images();
        Ok(())
    }

    /// By reference or id.
    pub fn image(&self, reference: &str) -> Option<&Image> {
        if let Some(image) = self.images.get(&ImageId(reference.to_owned())) {
            return Some(image);
        }
        let (name, digest) = reference.split_once('@').map_or((reference, None), |(n, d)| (n, Some(d)));
        match digest {
            Some(digest) => self.images.get(&ImageId(digest.to_owned())),
            None => self.images.get(self.tags.get(&canonical(name))?),
        }
    }

    /// What the list of containers shows: an id where the tag has moved on.
    pub fn shown_image(&self, id: &ContainerId) -> String {
        let Some(unit) = self.containers.get(id) else { return String::new() };
        let asked = unit.config.image.clone().unwrap_or_default();
        match self.image(&asked) {
            Some(image) if image.id == unit.image_id => asked,
            _ => unit.image_id.0.clone(),
        }
    }

    /// The end of a pull.
    pub fn pulled(&mut self, reference: &str) -> Result<(), Refusal> {
        let program = self.in_registry(reference)?;
        self.tag(reference, program, "pull");
        Ok(())
    }

    /// What the registry has under a tag.
    pub fn in_registry(&self, reference: &str) -> Result<Program, Refusal> {
        match self.registry.get(&canonical(reference)).cloned().unwrap_or(RegistryAnswer::NotFound) {
            RegistryAnswer::Image(program) => Ok(*program),
            RegistryAnswer::NotFound => {
                Err(refusal(404, format!("manifest for {reference} not found: manifest unknown: manifest unknown")))
            }
            RegistryAnswer::Denied => {
                let text = format!(
                    "pull access denied for {reference}, repository does not exist or may require 'docker login': \
                     denied: requested access to the resource is denied"
                );
                Err(refusal(404, text))
            }
            RegistryAnswer::Throttled => Err(throttled()),
            RegistryAnswer::Down => Err(registry_down()),
        }
    }

    /// Images that no tag and no container refers to.
    pub fn prune_images(&mut self) {
        let used = |id: &ImageId| {
            self.tags.values().any(|tagged| tagged == id) || self.containers.values().any(|u| u.image_id == *id)
        };
        let dangling: Vec<_> = self.images.keys().filter(|id| !used(id)).cloned().collect();
        for id in dangling {
            self.images.remove(&id);
            self.emit(EventKind::Image, "delete", &id.0, BTreeMap::from([("name".to_owned(), id.0.clone())]));
        }
    }

    /// `docker container prune -f`: whatever does not run, without its volumes.
    pub fn prune_containers(&mut self) {
        let idle: Vec<_> = self.containers.values().filter(|u| !u.runs()).map(|u| u.id.clone()).collect();
        for id in idle {
            self.vanish(&id);
        }
    }

    /// `docker system prune -f`: also networks that nothing runs in, and images without a tag.
    pub fn prune_system(&mut self) {
        self.prune_containers();
        let idle: Vec<_> = self.networks.keys().filter(|id| !self.is_used(id)).cloned().collect();
        for id in idle {
            // The engine's own networks refuse.
            let _ = self.remove_network(&id);
        }
        self.prune_images();
    }
}

pub(super) fn throttled() -> Refusal {
    refusal(500, "toomanyrequests: retry-after: 30s, allowed: 44000/minute")
}

pub(super) fn registry_down() -> Refusal {
    refusal(500, "Get \"https://registry-1.docker.io/v2/\": dial tcp 10.0.0.1:443: connect: connection refused")
}

pub(super) fn broke_off() -> Refusal {
    refusal(500, "read tcp 10.0.0.2:4000->10.0.0.1:443: read: connection reset by peer")
}
