//! The cluster as kube-rs sees it, unchanged and in real time.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::{StreamExt, TryStreamExt, pin_mut};
use hfd_sandbox::{Cluster, Options};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions, WatchEvent, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config};
use serde_json::json;

use crate::client::{pod, small};

async fn pods(cluster: &Cluster) -> Result<Api<Pod>> {
    let kubeconfig = Kubeconfig::from_yaml(&cluster.kubeconfig())?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    Ok(Api::default_namespaced(Client::try_from(config)?))
}

async fn quick() -> Result<(Cluster, Api<Pod>)> {
    let delay = Duration::from_millis(2);
    let cluster = Cluster::start(Options { start_delay: delay, stop_delay: delay, ..small() }).await?;
    let pods = pods(&cluster).await?;
    Ok((cluster, pods))
}

fn named(name: &str) -> Result<Pod> {
    Ok(serde_json::from_value(pod(name, &json!({})))?)
}

#[tokio::test]
async fn creates_conflicts_and_pages_are_understood() -> Result<()> {
    let (_cluster, pods) = quick().await?;
    for index in 0..5 {
        pods.create(&PostParams::default(), &named(&format!("p{index}"))?).await?;
    }
    match pods.create(&PostParams::default(), &named("p0")?).await {
        Err(kube::Error::Api(status)) => assert!(status.is_already_exists(), "{status:?}"),
        other => bail!("a taken name gave {other:?}"),
    }
    let (mut seen, mut page) = (Vec::new(), ListParams::default().limit(2));
    loop {
        let list = pods.list(&page).await?;
        seen.extend(list.items.into_iter().filter_map(|pod| pod.metadata.name));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = ListParams::default().limit(2).continue_token(&token),
            None => break,
        }
    }
    assert_eq!(seen, ["p0", "p1", "p2", "p3", "p4"]);
    Ok(())
}

#[tokio::test]
async fn a_deletion_with_another_uid_is_a_conflict_and_with_the_right_one_works() -> Result<()> {
    let (_cluster, pods) = quick().await?;
    let created = pods.create(&PostParams::default(), &named("p")?).await?;
    let with_uid = |uid: &str| DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteParams::default()
    };
    match pods.delete("p", &with_uid("another")).await {
        Err(kube::Error::Api(status)) => assert!(status.is_conflict(), "{status:?}"),
        other => bail!("another UID gave {other:?}"),
    }
    pods.delete("p", &with_uid(created.metadata.uid.as_deref().context("a UID")?)).await?;
    Ok(())
}

#[tokio::test]
async fn a_watcher_sees_a_pod_come_ready_and_go_and_survives_cuts_and_compactions() -> Result<()> {
    let (cluster, pods) = quick().await?;
    let events = watcher(pods.clone(), watcher::Config::default()).default_backoff();
    pin_mut!(events);
    let mut deleted = false;
    let watching = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(watcher::Event::InitDone) if cluster.pod_names().is_empty() => {
                    pods.create(&PostParams::default(), &named("p")?).await?;
                }
                Ok(watcher::Event::Apply(pod) | watcher::Event::InitApply(pod)) => {
                    let status = pod.status.unwrap_or_default();
                    let ready =
                        status.conditions.iter().flatten().any(|one| one.type_ == "Ready" && one.status == "True");
                    if ready && !deleted {
                        deleted = true;
                        cluster.compact();
                        cluster.cut_watches();
                        pods.delete("p", &DeleteParams::default()).await?;
                    }
                }
                Ok(watcher::Event::Delete(_)) => return Ok(()),
                // after the cut the deletion may be seen as absence at the end of a relist
                Ok(watcher::Event::InitDone) if deleted && pods.get_opt("p").await?.is_none() => return Ok(()),
                Ok(_) | Err(_) => {}
            }
        }
        bail!("the watcher ended")
    };
    tokio::time::timeout(Duration::from_secs(60), watching).await.context("a minute has passed")?
}

#[tokio::test]
async fn a_version_that_is_gone_arrives_as_410() -> Result<()> {
    let (cluster, pods) = quick().await?;
    let created = pods.create(&PostParams::default(), &named("p")?).await?;
    let version = created.metadata.resource_version.context("a version")?;
    cluster.compact();
    let stream = pods.watch(&WatchParams::default(), "1").await?;
    pin_mut!(stream);
    match stream.try_next().await?.context("an event")? {
        WatchEvent::Error(status) => assert_eq!(status.code, 410),
        other => bail!("{other:?} from before {version}"),
    }
    Ok(())
}
