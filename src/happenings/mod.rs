//! What is worth telling: observations in, [`Happening`]s out. Pure; who sees something hands it in.
//!
//! | file | what | told by |
//! |---|---|---|
//! | [`step`](mod@step) | what env-manager did | the executor, after each step |
//! | [`onlooker`] | what others did on the engine, or what happened by itself | the event stream |
//! | [`drift`](mod@drift) | what is not as its manifest says | whoever has looked |
//! | [`change`] | how resources are | whoever publishes a status |
//!
//! Each thing is told once: what a container's process did comes from events alone, what it means for
//! its service from statuses alone, and a step that failed from the step alone.

pub mod change;
pub mod drift;
pub mod onlooker;
pub mod step;
#[cfg(test)]
mod tests;

pub use change::status_change;
pub use drift::drift;
pub use onlooker::{EngineFact, Onlooker, Thing};
pub use step::step;

use crate::resource::ResourceKey;
use crate::resource::event::{Actor, EventReason, Happening};

fn happening(subject: &ResourceKey, reason: EventReason, message: impl Into<String>, by: Actor) -> Happening {
    Happening { subject: Some(subject.clone()), reason, message: message.into(), by }
}
