//! Which container plays which part, told from names alone.

use crate::resource::labels::{FAILED, NEXT, OLD, part_of};
use crate::resource::observed::{Container, RunState};

/// The containers of one service, by part. Those that the engine is removing play none.
#[derive(Default)]
pub(super) struct Cast<'a> {
    /// Bears the service's name.
    pub current: Option<&'a Container>,
    pub next: Option<&'a Container>,
    pub old: Option<&'a Container>,
    /// Refused revisions, kept for their logs.
    pub failed: Vec<&'a Container>,
    /// Under a name that is none of ours: renamed by somebody, or by an edit of `containerName`.
    pub strays: Vec<&'a Container>,
    /// A `.next` or `.old` too many: left by a replace under another `containerName`.
    pub spare: Vec<&'a Container>,
    /// Half removed: only a forced removal helps.
    pub dead: Vec<&'a Container>,
    /// Being removed. Their names are busy until they are gone.
    pub leaving: Vec<&'a Container>,
}

impl<'a> Cast<'a> {
    pub fn new(name: &str, owned: &'a [Container]) -> Self {
        let mut cast = Self::default();
        let (next, old) = (format!("{name}{NEXT}"), format!("{name}{OLD}"));
        let mut rest = Vec::new();
        for container in sorted(owned) {
            match container.state {
                RunState::Removing => cast.leaving.push(container),
                RunState::Dead => cast.dead.push(container),
                _ if container.name == name => cast.current = Some(container),
                _ if container.name == next => cast.next = Some(container),
                _ if container.name == old => cast.old = Some(container),
                _ => rest.push(container),
            }
        }
        // A replace goes on under the new name when `containerName` is edited meanwhile.
        for container in rest {
            let part = match part_of(&container.name) {
                None => {
                    cast.strays.push(container);
                    continue;
                }
                Some(FAILED) => {
                    cast.failed.push(container);
                    continue;
                }
                Some(NEXT) => &mut cast.next,
                Some(_) => &mut cast.old,
            };
            match part {
                None => *part = Some(container),
                Some(_) => cast.spare.push(container),
            }
        }
        cast
    }

    /// Where no manifest says what the service's container is called.
    pub fn unnamed(owned: &'a [Container]) -> (String, Self) {
        let names = || sorted(owned).into_iter().map(|c| c.name.as_str());
        let base = names()
            .find(|n| part_of(n).is_none())
            .or_else(|| names().find_map(|n| n.strip_suffix(OLD)))
            .unwrap_or_default()
            .to_owned();
        let cast = Self::new(&base, owned);
        (base, cast)
    }
}

/// The engine lists in the order of creation; plans do not depend on it.
pub(super) fn sorted(owned: &[Container]) -> Vec<&Container> {
    let mut sorted: Vec<_> = owned.iter().collect();
    sorted.sort_by_key(|c| (&c.name, &c.id));
    sorted
}
