//! One owner for a stack, across the state directories and hosts that share an engine.
//!
//! A state directory's lock keeps two processes of one directory apart; nothing but the engine is
//! common to all. So the owner is written on the engine: the labels of a volume, which has never any
//! data in it. Creating a volume answers with the one that is there, so that of two who create it at
//! once both read the same holder.
//!
//! The volume does not bear the stack's label: it is no part of the stack, and neither prune nor
//! `down` sees it. Where somebody removed it (`docker volume prune` does), [`take`] makes it again;
//! so it is worth being called from time to time.
//!
//! A holder that is surely gone is taken over from. Removing its volume is the only step that two
//! could take at once with harm (the second would remove the first one's new volume), so it is done
//! under a second volume of the same kind.

mod holder;

use std::collections::BTreeMap;

pub use holder::{Holder, host};

use crate::engine::{Engine, EngineError, ObjectFilter};
use crate::resource::labels;
use crate::resource::observed::Volume;
use crate::resource::spec::VolumeSpec;

/// A takeover that met another one is begun once more, and not for ever.
const ROUNDS: usize = 3;

/// The stack is this process's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Who held it before, where it was taken over.
    pub from: Option<Holder>,
}

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error(
        "another env-manager works on this stack: {holder}. Stop it; if it is surely gone: `docker volume rm {volume}`"
    )]
    Held { holder: Box<Holder>, volume: String },
    #[error("the volume {volume} was not made by env-manager, which needs that name; remove or rename it")]
    Foreign { volume: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The volume that says who owns a stack.
pub fn volume_name(stack: &str) -> String {
    format!("env-manager-lease-{stack}")
}

/// The volume that is held while another one's is removed.
fn takeover_name(stack: &str) -> String {
    format!("{}.takeover", volume_name(stack))
}

/// Makes the stack this process's own. Taking what is already ours changes nothing.
///
/// `take_over`: whoever holds it.
///
/// # Errors
/// [`LeaseError::Held`] where another holds it that is alive, or that nobody here can know to be gone.
pub async fn take<E: Engine>(engine: &E, stack: &str, me: &Holder, take_over: bool) -> Result<Taken, LeaseError> {
    let (lease, guard) = (volume_name(stack), takeover_name(stack));
    let mut at_it = None;
    for _ in 0..ROUNDS {
        let holder = mark(engine, stack, &lease, me).await?;
        if holder == *me {
            // Somebody may have died in a takeover, between removing the one and making the other.
            if look_at(engine, stack, &guard).await?.is_some_and(|other| other.is_gone(me)) {
                engine.remove_volume(&guard).await?;
            }
            return Ok(Taken { from: None });
        }
        if !take_over && !holder.is_gone(me) {
            return Err(held(holder, lease));
        }
        let other = mark(engine, stack, &guard, me).await?;
        if other == *me {
            let now = replace(engine, stack, &lease, &holder, me).await;
            engine.remove_volume(&guard).await?;
            let now = now?;
            return if now == *me { Ok(Taken { from: Some(holder) }) } else { Err(held(now, lease)) };
        }
        // Somebody is at it. Where that one died over it, its mark goes, and it is all begun again.
        if other.is_gone(me) {
            engine.remove_volume(&guard).await?;
        }
        at_it = Some(other);
    }
    Err(held(at_it.unwrap_or_default(), guard))
}

/// Gives the stack back, where it is ours.
///
/// # Errors
/// Those of the engine.
pub async fn release<E: Engine>(engine: &E, stack: &str, me: &Holder) -> Result<(), LeaseError> {
    match look(engine, stack).await {
        Ok(Some(holder)) if holder == *me => Ok(engine.remove_volume(&volume_name(stack)).await?),
        Ok(_) | Err(LeaseError::Foreign { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Who owns the stack. Changes nothing.
///
/// # Errors
/// Where somebody else's volume has the name, and those of the engine.
pub async fn look<E: Engine>(engine: &E, stack: &str) -> Result<Option<Holder>, LeaseError> {
    look_at(engine, stack, &volume_name(stack)).await
}

async fn look_at<E: Engine>(engine: &E, stack: &str, volume: &str) -> Result<Option<Holder>, LeaseError> {
    let found = engine.list_volumes(&ObjectFilter::Names(vec![volume.to_owned()])).await?;
    found.iter().find(|v| v.name == volume).map(|v| read(v, stack)).transpose()
}

/// Refuses where somebody else owns the stack who is alive, or of whom nobody here can know. Changes
/// nothing: for who only works on it for a moment, under the lock.
///
/// # Errors
/// As [`take`].
pub async fn is_free<E: Engine>(engine: &E, stack: &str, me: &Holder) -> Result<(), LeaseError> {
    match look(engine, stack).await? {
        Some(holder) if holder != *me && !holder.is_gone(me) => Err(held(holder, volume_name(stack))),
        _ => Ok(()),
    }
}

/// Makes a mark, and says whose it is.
async fn mark<E: Engine>(engine: &E, stack: &str, name: &str, me: &Holder) -> Result<Holder, LeaseError> {
    let spec = VolumeSpec { name: name.to_owned(), external: false, driver: None, driver_opts: BTreeMap::new() };
    let labels =
        [(labels::LEASE, stack.to_owned()), (labels::LEASE_HOLDER, me.to_text())].map(|(k, v)| (k.to_owned(), v));
    let volume = engine.create_volume(&spec, &labels.into()).await?;
    read(&volume, stack)
}

/// In a takeover: one's own mark instead of that of a holder who is gone, if it is still there.
async fn replace<E: Engine>(
    engine: &E,
    stack: &str,
    lease: &str,
    gone: &Holder,
    me: &Holder,
) -> Result<Holder, LeaseError> {
    if look(engine, stack).await?.as_ref() == Some(gone) {
        engine.remove_volume(lease).await?;
    }
    mark(engine, stack, lease, me).await
}

fn read(volume: &Volume, stack: &str) -> Result<Holder, LeaseError> {
    let foreign = || LeaseError::Foreign { volume: volume.name.clone() };
    if volume.labels.get(labels::LEASE).map(String::as_str) != Some(stack) {
        return Err(foreign());
    }
    volume.labels.get(labels::LEASE_HOLDER).map(|text| Holder::from_text(text)).ok_or_else(foreign)
}

fn held(holder: Holder, volume: String) -> LeaseError {
    LeaseError::Held { holder: Box::new(holder), volume }
}

#[cfg(test)]
mod tests;
