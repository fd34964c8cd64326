//! The scripts, and calls of them.

use ::redis::{Cmd, Script, ToRedisArgs};

const COMMON: &str = include_str!("scripts/common.lua");
const RECORD: &str = include_str!("scripts/record.lua");

pub struct Scripts(Vec<(&'static str, Script)>);

impl Scripts {
    pub fn new() -> Self {
        let writing = [
            ("submit", include_str!("scripts/submit.lua")),
            ("lease", include_str!("scripts/lease.lua")),
            ("extend", include_str!("scripts/extend.lua")),
            ("complete", include_str!("scripts/complete.lua")),
            ("fail", include_str!("scripts/fail.lua")),
            ("release", include_str!("scripts/release.lua")),
            ("cancel", include_str!("scripts/cancel.lua")),
            ("requeue", include_str!("scripts/requeue.lua")),
            ("sweep", include_str!("scripts/sweep.lua")),
            ("depths", include_str!("scripts/depths.lua")),
        ];
        let reading = [("get", include_str!("scripts/get.lua")), ("list", include_str!("scripts/list.lua"))];
        let writing = writing.map(|(name, text)| (name, Script::new(&[COMMON, text].concat())));
        let reading = reading.map(|(name, text)| (name, Script::new(&[COMMON, RECORD, text].concat())));
        Self(writing.into_iter().chain(reading).collect())
    }

    /// # Panics
    /// If there is no such script.
    pub fn call(&self, name: &'static str, prefix: &str) -> Call<'_> {
        let (_, script) = self.0.iter().find(|(n, _)| *n == name).expect("one of the scripts");
        let mut evalsha = Cmd::new();
        evalsha.arg("EVALSHA").arg(script.get_hash()).arg(1).arg(prefix);
        Call { script, evalsha }
    }
}

/// A script with its arguments.
pub struct Call<'a> {
    pub script: &'a Script,
    pub evalsha: Cmd,
}

impl Call<'_> {
    #[must_use]
    pub fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.evalsha.arg(arg);
        self
    }
}
