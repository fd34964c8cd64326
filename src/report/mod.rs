//! What is said of a stack as a whole: one document for people, programs, HTTP and gRPC.
//!
//! | file | what |
//! |---|---|
//! | [`view`] | a moment, in our own types: sources, engine, statuses |
//! | [`status`] | the same as a document: what `-o json`, `/api/v1/status` and gRPC give |
//! | `texts` | the document without what callers elsewhere do not get |
//! | [`advice`](mod@advice) | what every reason means and what to do about it |

pub mod advice;
pub mod status;
mod texts;
pub mod view;

pub use advice::{Advice, advice};
pub use status::{KeptReport, ResourceReport, ServiceReport, SourceReport, StatusReport};
pub use view::{EngineView, SourceKind, SourceView, View, serves};
