//! Who gets how much of the processor.

use std::time::{Duration, Instant};

use coracle_runtime::{Config, Container, ContainerSpec, Exit, Runtime};

use crate::guest::{captured, load, spawn, start};

const SPIN: &str = "(loop (br 0))";

/// One turn to execute, whatever the machine has.
fn narrow() -> Runtime {
    Runtime::new(Config { guest_threads: 1.try_into().ok(), ..Default::default() }).unwrap()
}

/// Waits until `container` has used `cpu_time`.
async fn has_used(container: &Container, cpu_time: Duration) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while container.usage().cpu_time < cpu_time {
        assert!(Instant::now() < deadline, "it got {:?}", container.usage().cpu_time);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_tenth_of_a_core_is_a_tenth_of_a_core() {
    let runtime = narrow();
    let spec = ContainerSpec { cpu_millis_max: Some(100), ..Default::default() };
    let spinning = load(&runtime, start(SPIN)).await;
    let began = Instant::now();
    let container = runtime.start(&spinning, spec).unwrap();
    has_used(&container, Duration::from_millis(55)).await;
    // 10 ms a period, so the sixth period must have begun.
    assert!(began.elapsed() > Duration::from_millis(450), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_guest_that_waits_runs_ahead_of_those_that_spin() {
    let runtime = narrow();
    let spinning = load(&runtime, start(SPIN)).await;
    let spinners: Vec<_> = (0..50).map(|_| runtime.start(&spinning, ContainerSpec::default()).unwrap()).collect();
    has_used(&spinners[49], Duration::from_millis(1)).await;
    let hello = load(&runtime, start("(call $sleep (i64.const 1000000))")).await;
    let spun = || spinners.iter().map(|spinner| spinner.usage().cpu_time).sum::<Duration>();
    let before = spun();
    for _ in 0..20 {
        let container = runtime.start(&hello, ContainerSpec::default()).unwrap();
        assert_eq!(container.wait().await, Exit::Code(0));
    }
    // Behind fifty spinners' slices it would be 20 times 200 ms. Their time counts, not the clock's: the machine may be busy.
    let meanwhile = spun() - before;
    assert!(meanwhile < Duration::from_millis(1500), "{meanwhile:?}");
}

#[tokio::test]
async fn weights_share_the_processor_among_those_that_spin() {
    let runtime = narrow();
    let spinning = load(&runtime, start(SPIN)).await;
    let of_weight = |cpu_weight| {
        let spec = ContainerSpec { cpu_weight: Some(cpu_weight), ..Default::default() };
        runtime.start(&spinning, spec).unwrap()
    };
    let (light, heavy) = (of_weight(256), of_weight(1024));
    has_used(&light, Duration::from_millis(60)).await;
    has_used(&heavy, Duration::from_millis(60)).await;
    let [light_before, heavy_before] = [&light, &heavy].map(|container| container.usage().cpu_time);
    has_used(&light, light_before + Duration::from_millis(60)).await;
    let heavy_got = heavy.usage().cpu_time - heavy_before;
    assert!(heavy_got > Duration::from_millis(150), "{heavy_got:?} against 60 ms");
}

#[tokio::test]
async fn spinners_are_all_killed_at_once() {
    let runtime = narrow();
    let spinning = load(&runtime, start(SPIN)).await;
    let spinners: Vec<_> = (0..100).map(|_| runtime.start(&spinning, ContainerSpec::default()).unwrap()).collect();
    has_used(&spinners[0], Duration::from_millis(1)).await;
    let killed = Instant::now();
    spinners.iter().for_each(Container::kill);
    for spinner in &spinners {
        assert_eq!(spinner.wait().await, Exit::Killed);
    }
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    assert_eq!(runtime.memory_bytes(), 0);
}

#[tokio::test]
async fn thousands_wait_side_by_side() {
    let runtime = Runtime::new(Config::default()).unwrap();
    let waiting = load(&runtime, start("(call $sleep (i64.const 3600000000000))")).await;
    let containers: Vec<_> = (0..2000).map(|_| runtime.start(&waiting, ContainerSpec::default()).unwrap()).collect();
    for container in &containers {
        container.ready().await;
        assert_eq!(container.exit(), None);
    }
    let (spec, stdout, _) = captured();
    let last = spawn(&runtime, start("(call $print (i32.const 1) (i32.const 1024) (i32.const 1))"), spec).await;
    assert_eq!(last.wait().await, Exit::Code(0));
    assert_eq!(stdout.text(), "\0");
}
