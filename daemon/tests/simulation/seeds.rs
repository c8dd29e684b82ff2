//! Many seeds; one that fails says how to see it again.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::{
    profile::Fault,
    stats::Stats,
    world::{Event, World},
};

/// Seeds of each ordinary run.
const SEEDS: Range<u64> = 0..2000;

/// Lives one world to its end.
fn live_on(world: &mut World) {
    let seconds = world.dice.within(120..1500);
    world.run_for(seconds);
    world.heal();
}

/// Lives the world of one seed; panics with how to replay it, by the tests whose names have `filter` in them.
pub(crate) fn live(mut world: World, seed: u64, filter: &str, show: bool) -> World {
    if let Err(why) = catch_unwind(AssertUnwindSafe(|| live_on(&mut world))) {
        let text = why.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| why.downcast_ref::<&str>().copied()).unwrap_or("it panicked");
        let trace = if show { format!("\n{}\n{:?}", world.trace(), world.profile) } else { String::new() };
        panic!("HFD_SIM_SEED={seed} cargo test --workspace --test simulation -- {filter}{trace}\n{text}");
    }
    world
}

fn run(seed: u64, show: bool) -> Stats {
    live(World::of_seed(seed), seed, "seeds", show).stats
}

/// The seeds that were asked for, or the ordinary ones; and whether it is a single one.
pub(crate) fn chosen(ordinary: Range<u64>) -> (Range<u64>, bool) {
    if let Ok(seed) = std::env::var("HFD_SIM_SEED") {
        let seed: u64 = seed.parse().expect("HFD_SIM_SEED is a number");
        return (seed..seed + 1, true);
    }
    let Ok(range) = std::env::var("HFD_SIM_SEEDS") else { return (ordinary, false) };
    let (from, to) = range.split_once("..").expect("HFD_SIM_SEEDS is FROM..TO");
    (from.parse().expect("a number")..to.parse().expect("a number"), false)
}

/// Every seed of the range on as many threads as there are processors; each seed is a world of its own.
pub(crate) fn run_all<T: Send>(range: Range<u64>, run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let failures = std::sync::Mutex::new(Vec::new());
    let all = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (failures, all, run) = (&failures, &all, &run);
            let mine = range.clone().filter(move |seed| seed % threads == thread);
            scope.spawn(move || {
                for seed in mine {
                    match catch_unwind(AssertUnwindSafe(|| run(seed))) {
                        Ok(one) => all.lock().expect("nobody panics with it").push(one),
                        Err(why) => {
                            let why = why.downcast_ref::<String>().cloned().unwrap_or_default();
                            return failures.lock().expect("nobody panics with it").push((seed, why));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panics with it");
    if let Some((_, why)) = failures.into_iter().min() {
        panic!("{why}");
    }
    all.into_inner().expect("nobody panics with it")
}

#[test]
fn seeds_keep_the_promises_and_cover_every_fault_and_step() {
    let (range, alone) = chosen(SEEDS);
    let whole = range == SEEDS; // in others a rare one may be missing
    let mut all = Stats::default();
    run_all(range.clone(), |seed| run(seed, alone)).iter().for_each(|one| all.add(one));
    println!("seeds {range:?}: {}", all.report());
    if whole {
        let missed: Vec<_> = Fault::ALL.iter().filter(|fault| !all.faults.contains_key(fault)).collect();
        assert!(missed.is_empty(), "these faults never happened: {missed:?}");
        let missed: Vec<_> = Event::KINDS.iter().filter(|kind| !all.steps.contains_key(*kind)).collect();
        assert!(missed.is_empty(), "these steps were never made: {missed:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..40 {
        let fingerprint = || {
            let mut world = World::of_seed(seed);
            live_on(&mut world);
            world.fingerprint()
        };
        assert_eq!(fingerprint(), fingerprint(), "seed {seed}");
    }
}

#[test]
fn a_namespace_made_again_after_the_one_question_is_noticed_seed_4() {
    run(4, true);
}

#[test]
fn a_deadline_goes_on_where_it_was_after_an_end_is_undone_seed_586() {
    run(586, true);
}

#[test]
fn late_news_of_an_older_pod_settles_no_create_whose_answer_was_lost_seed_9299() {
    run(9299, true);
}

#[test]
fn a_pod_that_went_under_a_return_that_was_undone_is_not_created_again_seed_23828() {
    run(23828, true);
}

#[test]
fn a_create_of_an_earlier_life_is_waited_for_to_the_last_second_seed_4721() {
    run(4721, true);
}

#[test]
fn seeds_that_the_simulation_itself_once_failed_on_pass() {
    for seed in [67, 507, 1396, 3856, 5863, 6445] {
        run(seed, true);
    }
}
