//! The words of the system (layer 0): what is desired, what is observed, what is said about it.
//!
//! Types and pure functions only. Nothing here is async, does I/O or logs.
//!
//! | file | what |
//! |---|---|
//! | [`key`] | [`ResourceKey`]: what queue, store and plans are keyed by |
//! | [`spec`] | what a manifest asks for, with every default filled in |
//! | [`probe`] | health checks: what to ask, how often, and what was answered |
//! | [`image`] | image references, and what an image brings with it |
//! | [`desired`] | a spec with its generation, revision and secrets |
//! | [`adoption`] | what a container has taken over from one that was not ours |
//! | [`canonical`] | one spelling for what a spec can say in several |
//! | [`container`] | what the engine is asked to create |
//! | [`observed`] | what the engine runs |
//! | [`ending`] | how a container's last run ended, and what it wrote last |
//! | [`event`] | what happened: the words of the event history |
//! | [`hash`] | the versioned canonical hashes that labels carry |
//! | [`limits`] | the limits that can be changed in a container that is there |
//! | [`revision`] | which revision of a service has served, and which was refused |
//! | [`update`] | how a container is replaced, and what keeps two from running side by side |
//! | [`labels`] | the labels that mark what we own |
//! | [`status`] | phases, conditions and reasons: what people and programs are told |
//! | [`printable`] | text from outside, before it is printed |
//! | [`overall`] | the same of a stack as a whole |

pub mod adoption;
pub mod canonical;
pub mod container;
pub mod desired;
pub mod ending;
pub mod event;
pub mod hash;
pub mod image;
pub mod key;
pub mod labels;
pub mod limits;
pub mod observed;
pub mod overall;
pub mod printable;
pub mod probe;
pub mod revision;
pub mod secret;
pub mod spec;
pub mod status;
pub mod units;
pub mod update;

pub use key::{Kind, ResourceKey};
