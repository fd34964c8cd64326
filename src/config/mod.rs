//! Configuration: flags over environment over file over defaults, with the origin of every value.
//!
//! | file | what |
//! |---|---|
//! | [`keys`] | the one table of keys: names, variables, flags, defaults, texts |
//! | [`types`] | [`Config`]: the result, in plain types |
//! | [`values`] | from what was written to what it means, key by key |
//! | [`file`] | the text of a TOML file to a layer of values, with spans |
//! | [`merge`] | layers to a [`Config`] and its [`Origins`]; pure, like all of the above |
//! | [`load`] | the shell: reads the file and the environment |
//! | [`show`] | what `config show` prints |
//! | [`problem`] | what is wrong, with the key and where it came from |

pub mod file;
pub mod keys;
pub mod load;
pub mod merge;
pub mod problem;
pub mod show;
pub mod types;
pub mod values;

#[cfg(test)]
mod tests;

pub use keys::Key;
pub use load::{Loaded, load};
pub use merge::{Layer, Origins};
pub use problem::{ConfigError, Origin, Problem};
pub use types::{Config, LogFormat, Overrides, Percent, Retry};
