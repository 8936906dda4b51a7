//! What a cluster must do, told as stories. Each takes a [`World`] and runs in every kind of one.

mod life;
mod logs;
mod network;
mod rollout;

pub use life::*;
pub use logs::*;
pub use network::*;
pub use rollout::*;

/// Makes a test of each scenario, in worlds that `$world` makes.
#[macro_export]
macro_rules! scenarios {
    ($world:expr; $($name:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() -> anyhow::Result<()> {
            let mut world = $world.await?;
            $crate::scenario::$name(&mut world).await?;
            world.stop().await
        }
    )*};
}

/// All scenarios, in worlds that `$world` makes.
#[macro_export]
macro_rules! all_scenarios {
    ($world:expr) => {
        $crate::scenarios! {
            $world;
            a_deployment_becomes_ready,
            a_deployment_is_scaled_to_fifty_and_to_nothing,
            a_deleted_pod_is_replaced,
            a_pod_that_runs_once_succeeds_or_fails,
            a_pod_that_crashes_backs_off_and_is_counted,
            a_pod_that_takes_too_much_memory_is_ended,
            a_pod_that_spins_is_ended_and_delays_nobody,
            images_that_cannot_run_say_why,
            a_namespace_takes_all_with_it,
            logs_are_read_and_followed,
            logs_of_the_container_before_are_kept,
            a_service_reaches_its_pods,
            an_update_rolls_and_is_undone,
            a_paused_update_waits,
        }
    };
}
