//! Tests of the planner. Situations are whole-plan snapshots; promises are properties over a model
//! of an engine.
//!
//! | file | what |
//! |---|---|
//! | [`case`] | a situation in a few words |
//! | [`engine`] | what Docker does to containers, as far as plans depend on it |
//! | [`convergence`] | planning and carrying out until nothing is left to be done |
//! | [`services`], [`changes`], [`crashes`], [`rollback`], [`resources`] | situations |
//! | [`promises`] | P3, P4, P5, P7, P8, P9, P11 |
//! | [`adoption`] | what is not ours, and is observed or taken over |
//! | [`dependents`] | what is restarted with a service that it needs |
//! | [`drift`] | every field of a spec |
//! | [`limits`], [`reload`] | limits and files that are changed in place |

mod adoption;
mod case;
mod changes;
mod convergence;
mod crashes;
mod dependents;
mod drift;
mod engine;
mod limits;
mod promises;
mod reload;
mod resources;
mod rollback;
mod services;
mod start_first;
