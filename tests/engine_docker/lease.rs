//! Who owns a stack, written on a real engine.

use std::process::Command;

use env_manager::clock::Timestamp;
use env_manager::engine::{Engine, ObjectFilter};
use env_manager::lease::{Holder, LeaseError, look, release, take, volume_name};

use crate::common::{Scope, docker, engine};

/// A lease bears no stack's label, so that no scope cleans it up.
struct Cleared(String);

impl Cleared {
    fn volumes(&self) -> Vec<String> {
        let filter = format!("name={}", volume_name(&self.0));
        docker(&["volume", "ls", "-q", "--filter", &filter]).lines().map(str::to_owned).collect()
    }
}

impl Drop for Cleared {
    fn drop(&mut self) {
        for volume in self.volumes() {
            let _ = Command::new("docker").args(["volume", "rm", "-f", &volume]).output();
        }
    }
}

#[tokio::test]
async fn of_two_who_take_a_stack_at_once_exactly_one_gets_it() {
    let scope = Scope::new("lease");
    let stack = scope.name.as_str();
    let cleared = Cleared(stack.to_owned());
    // Two clients, as of two processes.
    let (a, b) = (engine(), engine());
    let (first, second) = (Holder::current("first", Timestamp(1)), Holder::current("second", Timestamp(2)));
    let text = first.to_text().replace(&format!("\"pid\":{}", std::process::id()), "\"pid\":4294967295");
    let gone = Holder::from_text(&text);
    // From nothing, and from one who is gone.
    for before in [None, Some(&gone)] {
        if let Some(gone) = before {
            take(&a, stack, gone, false).await.unwrap();
        }
        let both = tokio::join!(take(&a, stack, &first, false), take(&b, stack, &second, false));
        let (owner, refused) = match &both {
            (Ok(taken), Err(refused)) => ((&first, taken), refused),
            (Err(refused), Ok(taken)) => ((&second, taken), refused),
            other => panic!("not exactly one: {other:?}"),
        };
        // The other one may have come just when the lease of who is gone had been removed.
        assert!(owner.1.from.is_none() || owner.1.from.as_ref() == before, "{:?}", owner.1);
        assert!(matches!(refused, LeaseError::Held { .. }), "{refused}");
        assert_eq!(look(&a, stack).await.unwrap().as_ref(), Some(owner.0));
        assert_eq!(cleared.volumes(), [volume_name(stack)], "nothing is left of a takeover");
        let in_stack = a.list_volumes(&ObjectFilter::Stack(stack.to_owned())).await.unwrap();
        assert!(in_stack.is_empty(), "it is no part of the stack: {in_stack:?}");
        release(&a, stack, &first).await.unwrap();
        release(&b, stack, &second).await.unwrap();
        assert_eq!(cleared.volumes(), [""; 0]);
    }
}
