//! What the planner relies on, written once: every scenario runs on the simulated engine (`…::sim::…`)
//! and on a real one (`…::docker::…`), and none of them knows on which. Where the two differ, the real
//! engine is right, and the simulated one is to be mended.
#![cfg(feature = "sim")]

#[path = "../common/private_engine.rs"]
mod private_engine;
#[path = "../common/stack.rs"]
mod stack;

mod rig;

/// Each scenario as two tests.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod sim {
            $(#[tokio::test(start_paused = true)]
            async fn $name() {
                super::$name(&crate::rig::Simulated::new(stringify!($name))).await;
            })*
        }
        mod docker {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&crate::rig::Real::new(stringify!($name))).await;
            })*
        }
    };
}

mod containers;
mod data;
mod events;
mod images;
mod networks;
mod policies;
mod restarts;
