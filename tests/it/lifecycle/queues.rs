//! `lifecycle.md` 13, "Queues". What many machines do to a few is in the module `fairness`.

use std::time::Duration;

use serde_json::json;
use tests::{Template, World, eventually, names};

/// lifecycle.md 13: a sleeping retry holds no slot.
#[test]
fn retries_that_sleep_do_not_hold_up_others() {
    // As many sick templates as slots: one template alone never has them all.
    let world = World::build()
        .template(Template::new("sick").pod("/metadata/labels", json!({"app": "sick"})))
        .template(Template::new("ill").pod("/metadata/labels", json!({"app": "sick"})))
        .template(Template::new("well"))
        .set_literal("kube.concurrency", "2")
        .start();
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "labelContains": "app=sick",
        "action": {"status": {"code": 503, "reason": "ServiceUnavailable", "message": "no", "retryAfter": 600}}}));
    let sick = ["sick", "ill"].map(|template| world.request(template, 20));
    // A slot that is held until the next try is held for longer than anybody waits here.
    world.bring_up("well", 4);
    assert!(sick.iter().all(|id| world.status(id).status == "running"));
}

/// lifecycle.md 13: returns first, but creates keep a part of the concurrency; both end.
#[test]
fn creates_and_deletes_at_the_same_time_both_get_on() {
    let world = World::build().set_literal("kube.concurrency", "4").cluster(|c| c.nodes = 6).start();
    let machines = world.bring_up("small", 100);
    for verb in ["create", "delete"] {
        world.cluster.pod_fault(verb, &json!({"delayMs": 20}));
    }
    let ret = world.give_back(&names(&machines));
    let id = world.request("small", 20);
    eventually("creates get on while deletes are waiting", Duration::from_secs(30), || {
        let created = world.cluster.history().len() - 100;
        let left = world.cluster.history().values().filter(|pod| pod.exists).count();
        assert!(created > 0 || left > 0, "all deletes came before the first create");
        (created > 0).then_some(())
    });
    assert_eq!(world.wait_end(&id).status, "complete");
    assert_eq!(world.wait_end(&ret).status, "complete");
}

/// lifecycle.md 13: how many calls go at once follows what the API server takes, and an operator sees it.
#[test]
fn an_api_server_that_asks_for_less_gets_less_at_once_and_the_status_says_so() {
    let world = World::build().set_literal("kube.concurrency", "16").start();
    let limits = || {
        let status = world.daemon.status().expect("hfd serves");
        let limit = |name: &str| status["queues"][name].as_u64().expect("a number");
        (limit("limit"), limit("most"))
    };
    assert_eq!(limits(), (16, 16));
    assert!(world.hfctl(&["status"]).contains("0 of at most 16 under way\n"));
    let busy = json!({"code": 429, "reason": "TooManyRequests", "message": "too many requests", "retryAfter": 0});
    world.cluster.fault(&json!({"verb": "create", "resource": "pods", "count": 4, "action": {"status": busy}}));
    world.bring_up("small", 8);
    let (limit, most) = limits();
    assert!((4..16).contains(&limit), "{limit}");
    assert_eq!(most, 16);
    assert!(world.hfctl(&["status"]).contains("0 of at most 16 under way\n"), "nobody is held up");
    world.cluster.pod_fault("create", &json!({"hang": true}));
    world.request("small", 1);
    let slowed =
        format!("1 under way, {limit} aimed at (the API server did not take more well; kube.concurrency is 16)\n");
    eventually("the page tells what holds calls up", world.cluster.patience(), || {
        world.hfctl(&["status"]).contains(&slowed).then_some(())
    });
}
