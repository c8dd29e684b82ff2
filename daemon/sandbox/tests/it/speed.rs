//! Many pods over many connections: nothing lost, nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use futures_util::stream::FuturesUnordered;
use hfd_sandbox::Options;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::{PODS, Scene, pod, small};

const MANY: usize = 2_000;
const CONNECTIONS: usize = 64;

/// Creates pods over one kept connection until all names are used.
async fn creator(address: String, token: String, next: Arc<AtomicUsize>) -> Result<()> {
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let create = async {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= MANY {
                return Ok(());
            }
            let body = pod(&format!("p{index:05}"), &json!({})).to_string();
            let request =
                Request::post(PODS).header("host", &address).header("authorization", format!("Bearer {token}"));
            let request = request.header("content-type", "application/json").body(Full::new(Bytes::from(body)))?;
            let response = sender.send_request(request).await?;
            anyhow::ensure!(response.status() == 201, "p{index}: {}", response.status());
            response.into_body().collect().await?;
        }
    };
    tokio::select! {
        done = create => done,
        ended = connection => ended.context("the connection ended").and(Err(anyhow::anyhow!("too early"))),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_pods_over_many_connections_come_up_once_each() -> Result<()> {
    let delay = Duration::from_millis(20);
    let scene = Scene::with(Options {
        nodes: 20,
        start_delay: delay,
        stop_delay: delay,
        ..Options { pods_per_node: 110, ..small() }
    })
    .await?;
    let mut watch = scene.client.watch(&format!("{PODS}?watch=1")).await?;
    let address = scene.cluster.url().trim_start_matches("http://").to_owned();
    let next = Arc::new(AtomicUsize::new(0));
    let started = std::time::Instant::now();
    let mut creators = JoinSet::new();
    for _ in 0..CONNECTIONS {
        creators.spawn(creator(address.clone(), scene.cluster.token().to_owned(), Arc::clone(&next)));
    }
    let creating = async {
        while let Some(result) = creators.join_next().await {
            result??;
        }
        Ok::<_, anyhow::Error>(started.elapsed())
    };
    let watching = async {
        let mut events: BTreeMap<String, usize> = BTreeMap::new();
        let mut ready = 0;
        while ready < MANY {
            let event = watch.event().await?.context("the watch ended")?;
            let name = event["object"]["metadata"]["name"].as_str().context("a name")?;
            *events.entry(name.to_owned()).or_default() += usize::from(event["type"] == "ADDED");
            let is_ready = crate::client::condition(&event["object"], "Ready")["status"] == "True";
            ready += usize::from(is_ready);
        }
        Ok(events)
    };
    let (created_in, events) = tokio::try_join!(creating, watching)?;
    assert_eq!(events.len(), MANY);
    assert!(events.values().all(|added| *added == 1), "each pod is announced once");
    assert_eq!(scene.cluster.counters()["create pods"], MANY as u64);
    println!("{MANY} pods created in {created_in:?}, all ready in {:?}", started.elapsed());
    let deletions: FuturesUnordered<_> = (0..CONNECTIONS)
        .map(|index| {
            let path = format!("{PODS}/p{index:05}");
            let client = &scene.client;
            async move { client.must("DELETE", &path, None).await }
        })
        .collect();
    assert_eq!(deletions.try_collect::<Vec<_>>().await?.len(), CONNECTIONS);
    Ok(())
}
