//! Manifests: parsing, validation, and the JSON Schema, from the same structs. Pure: what manifests
//! refer to outside themselves comes through [`Outside`].
//!
//! ```text
//!  text ── file: documents ──▶ parse: forms ──▶ convert: specs ──▶ validate: against each other ──▶ set
//!                                  └──────────── findings, each with its place ────────────┘
//! ```
//!
//! | file | what |
//! |---|---|
//! | [`set`] | the way as a whole |
//! | [`file`] | a file's text, lines and documents; size and encoding |
//! | [`form`] | manifests as they are written: serde structs |
//! | [`span`], [`scalar`], [`union`] | what forms are made of: places, typed texts, short-or-long fields |
//! | [`parse`] | from text to forms; the parser's errors in our words |
//! | [`expand`] | `${VAR}`, and words of a command line |
//! | [`convert`] | from forms to specs |
//! | [`validate`] | names, dependencies, cycles, ports |
//! | [`overrides`] | `[[service_overrides]]` of the configuration |
//! | [`finding`], [`render`] | what is wrong, where; as people read it |
//! | [`schema`] | the JSON Schema |

mod convert;
mod expand;
mod file;
mod finding;
mod form;
mod outside;
mod overrides;
mod parse;
mod render;
mod scalar;
mod schema;
mod set;
mod span;
mod union;
mod validate;

pub use convert::{Defaults, default_network};
pub use file::{MAX_FILE_BYTES, SourceFile, too_large};
pub use finding::{Finding, Place, Related, Severity, did_you_mean, suggestion};
pub use outside::{Content, Outside, ReadError};
pub use overrides::Override;
pub use render::render;
pub use schema::{schema, schema_text};
pub use set::{Set, build};

#[cfg(test)]
mod tests;
