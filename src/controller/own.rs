//! Which of Docker's events are of our own making. Docker does not say who did something; we know what
//! we have just done.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::lock;
use crate::plan::{Op, Target};

/// Events come a little after the call that made them has returned.
const LATE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub struct OwnActs {
    /// By subject (a container's id or name, a network's id, a volume's name) and event: until when it
    /// counts as ours; `None`: the call is under way.
    acts: Mutex<BTreeMap<(String, &'static str), Option<Instant>>>,
}

impl OwnActs {
    /// The call is about to be made.
    pub fn begins(&self, op: &Op) {
        let mut acts = lock(&self.acts);
        let now = Instant::now();
        acts.retain(|_, until| until.is_none_or(|at| at > now));
        acts.extend(marks(op).into_iter().map(|mark| (mark, None)));
    }

    pub fn ended(&self, op: &Op) {
        let until = Some(Instant::now() + LATE);
        lock(&self.acts).extend(marks(op).into_iter().map(|mark| (mark, until)));
    }

    /// `subjects`: everything that the event names.
    pub fn is_own<'a>(&self, action: &str, subjects: impl IntoIterator<Item = &'a str>) -> bool {
        let acts = lock(&self.acts);
        let now = Instant::now();
        let ours = |subject: &str| {
            let mut events = acts.iter().filter(|((s, a), _)| s == subject && *a == action);
            events.any(|(_, until)| until.is_none_or(|at| at > now))
        };
        subjects.into_iter().any(ours)
    }
}

/// What a call makes the engine tell.
fn marks(op: &Op) -> Vec<(String, &'static str)> {
    let subject = |target: &Target| match target {
        Target::Existing { id, .. } => id.0.to_string(),
        Target::Created { name } => name.clone(),
    };
    let about = |target: &Target, actions: &[&'static str]| actions.iter().map(|a| (subject(target), *a)).collect();
    match op {
        Op::CreateContainer(create) => vec![(create.name.clone(), "create")],
        Op::Start(target) => about(target, &["start", "connect"]),
        // The engine takes an ended container off its networks.
        Op::Stop { target, .. } => about(target, &["kill", "die", "stop", "disconnect", "unpause"]),
        Op::RemoveContainer(target) => about(target, &["kill", "die", "stop", "destroy", "disconnect", "unpause"]),
        // The event names what it is called now.
        Op::Rename { target, to } => vec![(subject(target), "rename"), (to.clone(), "rename")],
        Op::SetRestartPolicy { target, .. } | Op::UpdateLimits { target, .. } => about(target, &["update"]),
        Op::Connect { target, .. } => about(target, &["connect"]),
        Op::Disconnect { target, .. } => about(target, &["disconnect"]),
        Op::Upload { .. } | Op::Reload { .. } | Op::Drain(_) => Vec::new(),
        Op::CreateNetwork { spec, .. } => vec![(spec.name.clone(), "create")],
        Op::RemoveNetwork { id, .. } => vec![(id.0.to_string(), "destroy")],
        Op::CreateVolume { spec, .. } => vec![(spec.name.clone(), "create")],
        Op::RemoveVolume { name } => vec![(name.clone(), "destroy")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::container::ContainerId;

    fn start(id: &str) -> Op {
        Op::Start(Target::Existing { id: ContainerId::new(id), name: "redis".to_owned() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_rename_of_what_was_just_created_is_ours_by_its_new_name() {
        let own = OwnActs::default();
        let target = Target::Created { name: "redis.next".to_owned() };
        own.begins(&Op::Rename { target, to: "redis".to_owned() });
        assert!(own.is_own("rename", ["c1", "redis"]));
        assert!(!own.is_own("rename", ["c1", "kafka"]));
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_is_ours_while_the_call_lasts_and_a_moment_longer() {
        let own = OwnActs::default();
        own.begins(&start("c1"));
        assert!(own.is_own("start", ["c1"]));
        assert!(!own.is_own("die", ["c1"]), "what it starts may end by itself");
        assert!(!own.is_own("start", ["c2"]));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(own.is_own("start", ["c1"]), "it is still under way");
        own.ended(&start("c1"));
        tokio::time::advance(LATE / 2).await;
        assert!(own.is_own("start", ["redis", "c1"]));
        tokio::time::advance(LATE).await;
        assert!(!own.is_own("start", ["c1"]));
    }
}
