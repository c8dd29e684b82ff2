//! The watch task: order, freshness, and what it survives.

use std::{sync::Arc, time::Duration};

use hfd_core::pod::Phase;
use serde_json::json;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    cache::PodCache,
    kube::{Keeper, Link, PodSeen, PodWatch, Seen, WatchSettings},
};

/// A running watch with both of its ends.
struct Running {
    server: Server,
    seen: mpsc::Receiver<Seen>,
    /// To occupy the channel.
    seen_tx: mpsc::Sender<Seen>,
    cache: Arc<PodCache>,
    relist: Arc<Notify>,
    keeper: Keeper,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

fn watching(channel: usize) -> Running {
    let (cluster, server) = cluster(1);
    let (link, keeper) = Link::new(settings());
    keeper.publish(cluster);
    let (seen_tx, seen) = mpsc::channel(channel);
    let cache = Arc::new(PodCache::new());
    let relist = Arc::new(Notify::new());
    let settings =
        WatchSettings { page_size: 2, watch_timeout: Duration::from_secs(200), fresh_within: Duration::from_secs(90) };
    let watch = PodWatch::new(link, Arc::clone(&cache), seen_tx.clone(), Arc::clone(&relist), settings);
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(watch.run(shutdown.clone()));
    Running { server, seen, seen_tx, cache, relist, keeper, shutdown, tasks }
}

impl Running {
    async fn next(&mut self) -> Seen {
        timeout(SOON, self.seen.recv()).await.expect("something is seen").expect("the watch runs")
    }

    async fn expect(&mut self, expected: Seen) {
        assert_eq!(self.next().await, expected);
    }

    async fn expect_failure(&mut self, words: &str) {
        match self.next().await {
            Seen::Failed(why) if why.contains(words) => {}
            other => panic!("{other:?} instead of a failure with {words:?}"),
        }
    }

    /// Nothing is seen, however long one waits.
    async fn sees_nothing(&mut self, this_long: Duration) {
        let seen = timeout(this_long, self.seen.recv()).await;
        assert!(seen.is_err(), "{seen:?}");
    }

    /// Lists these pods and opens the watch at version 10.
    async fn synced(&mut self, pods: &[Value]) -> Frames {
        self.expect(Seen::ListBegan).await;
        self.server.list().await.pods("10", pods);
        if !pods.is_empty() {
            assert!(matches!(self.next().await, Seen::Pods(seen) if seen.len() == pods.len()));
        }
        self.expect(Seen::ListDone { swept: vec![] }).await;
        self.expect(Seen::Fresh(true)).await;
        self.server.watch("10").await.stream(200)
    }
}

fn present(ordinal: u32) -> Seen {
    Seen::Pods(vec![PodSeen { name: machine(ordinal), present: true }])
}

fn gone(ordinal: u32) -> Seen {
    Seen::Pods(vec![PodSeen { name: machine(ordinal), present: false }])
}

#[tokio::test(start_paused = true)]
async fn the_list_is_not_sent_before_the_engine_has_received_that_it_begins() {
    for channel in [1, 8] {
        let mut running = watching(channel);
        running.seen_tx.try_send(Seen::Fresh(false)).expect("room for one");
        running.server.idles(Duration::from_secs(600)).await;
        running.expect(Seen::Fresh(false)).await;
        running.server.idles(Duration::from_secs(600)).await;
        running.expect(Seen::ListBegan).await;
        running.server.list().await.pods("10", &[]);
        running.expect(Seen::ListDone { swept: vec![] }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_stream_shows_is_in_the_cache_before_it_is_told() {
    let mut running = watching(8);
    let frames = running.synced(&[pod(0, "5", "Pending")]).await;
    assert_eq!(running.cache.get(&machine(0)).map(|record| record.phase), Some(Phase::Pending));

    frames.send(event("MODIFIED", &pod(0, "11", "Running"))).expect("the watch is read");
    running.expect(present(0)).await;
    assert_eq!(running.cache.get(&machine(0)).map(|record| record.phase), Some(Phase::Running));

    frames.send(event("DELETED", &pod(0, "12", "Running"))).expect("the watch is read");
    running.expect(gone(0)).await;
    assert!(running.cache.is_empty());
    assert_eq!(running.cache.request_facts(&request()).map(|facts| facts.count), Some(10));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_changes_nothing_for_us_is_not_told() {
    let mut running = watching(8);
    let frames = running.synced(&[pod(0, "5", "Pending")]).await;
    for version in 11..200 {
        frames.send(event("MODIFIED", &pod(0, &version.to_string(), "Pending"))).expect("the watch is read");
    }
    running.sees_nothing(Duration::from_secs(60)).await;
    frames.send(event("MODIFIED", &pod(0, "200", "Running"))).expect("the watch is read");
    running.expect(present(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_not_believed_and_is_replaced() {
    let mut running = watching(8);
    let began = Instant::now();
    let _open = running.synced(&[]).await;
    running.expect(Seen::Fresh(false)).await;
    assert!(began.elapsed() >= Duration::from_secs(90) && began.elapsed() < Duration::from_secs(92));
    running.expect_failure("no bytes for 90s").await;

    let frames = running.server.watch("10").await.stream(200);
    frames.send(bookmark("11")).expect("the watch is read");
    running.expect(Seen::Fresh(true)).await;
    assert!(began.elapsed() < Duration::from_secs(100), "a quiet cluster is fresh again by its bytes");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_keep_a_quiet_cluster_fresh() {
    let mut running = watching(8);
    let frames = running.synced(&[]).await;
    for minute in 0..20 {
        running.sees_nothing(Duration::from_secs(60)).await;
        frames.send(bookmark(&(11 + minute).to_string())).expect("the watch is read");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_of_the_watch_is_resumed_where_it_stopped_and_no_trouble() {
    let mut running = watching(8);
    let frames = running.synced(&[]).await;
    frames.send(bookmark("42")).expect("the watch is read");
    running.sees_nothing(Duration::from_secs(80)).await;
    drop(frames);
    let _open = running.server.watch("42").await.stream(200);
    running.sees_nothing(Duration::from_secs(80)).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_every_watch_at_once_is_asked_once_a_second() {
    let mut running = watching(8);
    drop(running.synced(&[]).await);
    let began = Instant::now();
    for _ in 0..20 {
        drop(running.server.watch("10").await.stream(200));
    }
    assert!(began.elapsed() >= Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_watch_cut_in_the_middle_of_a_line_is_resumed_and_loses_nothing() {
    let mut running = watching(8);
    let frames = running.synced(&[]).await;
    let line = event("ADDED", &pod(0, "11", "Pending")).expect("bytes");
    frames.send(Ok(line.slice(..line.len() / 2))).expect("the watch is read");
    drop(frames);
    let frames = running.server.watch("10").await.stream(200);
    frames.send(Ok(line)).expect("the watch is read");
    running.expect(present(0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_410_in_the_stream_leads_to_a_relist_that_tells_what_vanished() {
    let mut running = watching(8);
    let frames = running.synced(&[pod(0, "5", "Running"), pod(1, "6", "Running")]).await;
    let expired = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"});
    frames.send(event("ERROR", &expired)).expect("the watch is read");
    running.expect(Seen::Fresh(false)).await;
    running.expect_failure("too old").await;
    running.expect(Seen::ListBegan).await;
    running.server.list().await.pods("90", &[pod(1, "6", "Running")]);
    running.expect(Seen::ListDone { swept: vec![machine(0)] }).await;
    running.expect(Seen::Fresh(true)).await;
    let _open = running.server.watch("90").await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_clears_nothing_and_is_not_hammered() {
    let mut running = watching(64);
    let frames = running.synced(&[pod(0, "5", "Running")]).await;
    let expired = json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
    frames.send(event("ERROR", &expired)).expect("the watch is read");
    let began = Instant::now();
    running.expect(Seen::Fresh(false)).await;
    for _ in 0..20 {
        running.expect_failure("").await;
        running.expect(Seen::ListBegan).await;
        running.server.list().await.answer(500, "etcdserver: no leader");
        assert_eq!(running.cache.len(), 1);
    }
    assert!(began.elapsed() > Duration::from_secs(15), "{:?}", began.elapsed());
    running.expect_failure("no leader").await;
    running.expect(Seen::ListBegan).await;
    running.server.list().await.pods("99", &[pod(0, "5", "Running")]);
    running.expect(Seen::ListDone { swept: vec![] }).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_continue_token_expires_starts_over_and_sweeps_nothing() {
    let mut running = watching(8);
    running.expect(Seen::ListBegan).await;
    running.server.list().await.page("10", Some("next"), &[pod(0, "5", "Running")]);
    let second = running.server.list().await;
    assert!(second.uri.contains("continue=next"), "{}", second.uri);
    second.status(410, "Expired", "the provided continue parameter is too old");
    running.expect(present(0)).await;
    running.expect_failure("too old").await;
    running.expect(Seen::ListBegan).await;
    running.server.list().await.pods("20", &[pod(0, "5", "Running"), pod(1, "6", "Running")]);
    running.expect(present(1)).await;
    running.expect(Seen::ListDone { swept: vec![] }).await;
}

#[tokio::test(start_paused = true)]
async fn a_list_that_nobody_answers_is_given_up() {
    let mut running = watching(8);
    running.expect(Seen::ListBegan).await;
    let _unanswered = running.server.list().await;
    running.expect_failure("no answer within 75s").await;
    running.expect(Seen::ListBegan).await;
}

#[tokio::test(start_paused = true)]
async fn one_undecodable_object_spoils_neither_list_nor_watch() {
    let mut running = watching(8);
    let broken =
        json!({"metadata": {"name": "by-hand", "uid": 7, "labels": [], "resourceVersion": "6"}, "status": "x"});
    running.expect(Seen::ListBegan).await;
    running.server.list().await.pods("10", &[broken.clone(), pod(0, "5", "Running"), json!(null)]);
    running.expect(present(0)).await;
    running.expect(Seen::ListDone { swept: vec![] }).await;
    running.expect(Seen::Fresh(true)).await;
    assert!(running.cache.strays().iter().any(|name| &**name == "by-hand"));

    let frames = running.server.watch("10").await.stream(200);
    frames.send(event("ADDED", &broken)).expect("the watch is read");
    frames.send(event("MODIFIED", &pod(0, "12", "Failed"))).expect("the watch is read");
    running.expect(present(0)).await;
    frames.send(event("DELETED", &broken)).expect("the watch is read");
    frames.send(event("DELETED", &pod(0, "14", "Failed"))).expect("the watch is read");
    running.expect(gone(0)).await;
    assert!(!running.cache.strays().iter().any(|name| &**name == "by-hand"));
}

#[tokio::test(start_paused = true)]
async fn a_401_asks_for_a_new_client_and_lists_through_it() {
    // Not every 401 comes with a Status, and one without a code must be noticed all the same.
    for body in ["Unauthorized", "{}", r#"{"kind":"Status","code":401,"reason":"Unauthorized"}"#] {
        let mut running = watching(8);
        running.expect(Seen::ListBegan).await;
        running.server.list().await.answer(401, body);
        running.expect(Seen::Unauthorized).await;
        running.sees_nothing(Duration::from_secs(20)).await;

        let (renewed, server) = cluster(2);
        running.keeper.publish(renewed);
        running.server = server;
        running.synced(&[pod(0, "5", "Running")]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_that_nobody_replaces_is_tried_again() {
    let mut running = watching(8);
    drop(running.synced(&[]).await);
    running.server.watch("10").await.answer(401, "Unauthorized");
    running.expect(Seen::Fresh(false)).await;
    running.expect(Seen::Unauthorized).await;
    running.expect(Seen::ListBegan).await;
    running.server.list().await.pods("20", &[]);
    running.expect(Seen::ListDone { swept: vec![] }).await;
    running.expect(Seen::Fresh(true)).await;
}

#[tokio::test(start_paused = true)]
async fn a_relist_that_is_asked_for_begins_anew_and_is_not_believed_before_its_end() {
    let mut running = watching(8);
    let _open = running.synced(&[pod(0, "5", "Running")]).await;
    running.relist.notify_one();
    running.expect(Seen::Fresh(false)).await;
    running.expect(Seen::ListBegan).await;
    running.server.list().await.pods("50", &[]);
    running.expect(Seen::ListDone { swept: vec![machine(0)] }).await;
    running.expect(Seen::Fresh(true)).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_falls_behind_slows_the_watch_and_loses_nothing() {
    let mut running = watching(1);
    let frames = running.synced(&[]).await;
    for ordinal in 0..200 {
        frames.send(event("ADDED", &pod(ordinal, "11", "Pending"))).expect("the watch is read");
    }
    let mut told = 0;
    while told < 200 {
        match running.next().await {
            Seen::Pods(pods) => told += pods.len(),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(running.cache.len(), 200);
}

#[tokio::test(start_paused = true)]
async fn the_watch_stops_when_told_to_even_with_a_full_channel() {
    let mut running = watching(1);
    running.seen_tx.try_send(Seen::Fresh(false)).expect("room for one");
    running.server.idles(Duration::from_secs(5)).await;
    running.shutdown.cancel();
    let ended = timeout(SOON, running.tasks.join_next()).await.expect("it stops");
    assert!(ended.is_some_and(|ended| ended.is_ok()));
}
