//! What the runner makes of children that answer, panic, exit, hang and crash.
//!
//! Without the standard test harness: that one starts threads, and a process with threads must not fork.

#![allow(clippy::disallowed_methods, reason = "real files and real time, outside every run")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use evenkeel_sim::fork::{Death, Finished, Limits, run_all};

const LIMITS: Limits = Limits { jobs: 2, wall: Duration::from_secs(60) };

fn one(limits: Limits, work: impl Fn() -> Vec<u64>) -> Finished<Vec<u64>> {
    let mut finished = None;
    run_all([()], limits, |()| work(), |(), result| finished = Some(result));
    finished.expect("every job is done once")
}

fn every_job_is_done_once_whatever_the_number_of_children() {
    for jobs in [1, 2, 7] {
        let mut results = BTreeMap::new();
        run_all(
            0..20u64,
            Limits { jobs, ..LIMITS },
            |job| job * job,
            |job, finished: Finished<u64>| {
                assert!(results.insert(job, finished.result.unwrap()).is_none());
            },
        );
        assert_eq!(results, (0..20).map(|job| (job, job * job)).collect());
    }
}

fn children_start_from_the_same_memory() {
    static COUNTER: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let mut seen = Vec::new();
    run_all(
        0..5,
        LIMITS,
        |_: &i32| COUNTER.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
        |_, finished: Finished<u64>| seen.push(finished.result.unwrap()),
    );
    assert_eq!(seen, [0; 5]);
}

fn a_large_result_comes_through_the_pipe() {
    let finished = one(LIMITS, || (0..500_000).collect());
    assert_eq!(finished.result.unwrap().len(), 500_000);
}

fn a_panic_is_reported_with_message_and_place() {
    let (death, output) = one(LIMITS, || panic!("the sky fell")).result.unwrap_err();
    assert_eq!(death.to_string(), "panicked");
    assert!(output.contains("the sky fell (sim/tests/fork.rs:"), "{output}");
}

fn an_exit_without_a_result_is_not_a_result() {
    let (death, output) = one(LIMITS, || {
        println!("last words");
        std::process::exit(7)
    })
    .result
    .unwrap_err();
    assert_eq!((death, output.as_str()), (Death::Exit(7), "last words"));
}

fn an_abort_is_reported_by_its_signal() {
    let (death, _) = one(LIMITS, || std::process::abort()).result.unwrap_err();
    assert_eq!(death.to_string(), "aborted (SIGABRT)");
}

fn a_child_that_hangs_is_killed_and_the_others_go_on() {
    let start = Instant::now();
    let mut results = BTreeMap::new();
    let wall = Duration::from_millis(300);
    let work = |job: &u64| {
        if *job == 1 {
            std::thread::sleep(Duration::from_secs(3600));
        }
        *job
    };
    run_all(0..6, Limits { jobs: 2, wall }, work, |job, finished: Finished<u64>| {
        results.insert(job, finished.result.map_err(|(death, _)| death));
    });
    assert_eq!(results.remove(&1), Some(Err(Death::Timeout(wall))));
    assert_eq!(results, [0, 2, 3, 4, 5].into_iter().map(|job| (job, Ok(job))).collect());
    assert!(start.elapsed() < Duration::from_secs(20));
}

fn cpu_time_and_memory_are_measured() {
    let finished = one(LIMITS, || {
        let start = Instant::now();
        let mut numbers = vec![1u64; 4 << 20];
        while start.elapsed() < Duration::from_millis(60) {
            numbers.iter_mut().for_each(|number| *number = number.wrapping_mul(3));
        }
        vec![numbers[0]]
    });
    assert!(Duration::from_millis(10) < finished.cpu, "{:?}", finished.cpu);
    assert!(finished.cpu <= finished.wall * 2, "{:?}", finished.cpu);
    assert!(32 << 20 <= finished.memory_bytes, "{}", finished.memory_bytes);
}

fn main() {
    let claims: &[(&str, fn())] = &[
        (
            "every_job_is_done_once_whatever_the_number_of_children",
            every_job_is_done_once_whatever_the_number_of_children,
        ),
        ("children_start_from_the_same_memory", children_start_from_the_same_memory),
        ("a_large_result_comes_through_the_pipe", a_large_result_comes_through_the_pipe),
        ("a_panic_is_reported_with_message_and_place", a_panic_is_reported_with_message_and_place),
        ("an_exit_without_a_result_is_not_a_result", an_exit_without_a_result_is_not_a_result),
        ("an_abort_is_reported_by_its_signal", an_abort_is_reported_by_its_signal),
        ("a_child_that_hangs_is_killed_and_the_others_go_on", a_child_that_hangs_is_killed_and_the_others_go_on),
        ("cpu_time_and_memory_are_measured", cpu_time_and_memory_are_measured),
    ];
    for (name, claim) in claims {
        claim();
        println!("test {name} ... ok");
    }
}
