//! What befalls the cluster meanwhile: pods deleted and evicted, nodes lost. Only pods of this provider, and nodes that
//! carry one. What was done is noted before it is done, so that no consequence comes unexplained.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use serde_json::Value;

use super::{
    clock::Moment,
    factory::{Factory, Stage},
    options::Disturbance,
    pods::PodView,
    random::Random,
};
use crate::http::Response;

/// Pause of the loop that also brings nodes back.
const STEP: Duration = Duration::from_millis(100);

/// A node that is to come back.
struct Lost {
    node: Value,
    back_at: Moment,
}

/// Disturbs until the drain, and leaves the cluster with all its nodes.
pub fn disturb(factory: &Arc<Factory>) {
    let mut random = factory.random("disturb");
    let mut kinds = factory.options.disturb.clone();
    let mut lost: Vec<Lost> = Vec::new();
    let mut next = factory.clock.now() + factory.options.disturb_every;
    while factory.stage() == Stage::Running {
        factory.pause(STEP);
        bring_back(factory, &mut lost, factory.clock.now());
        if factory.clock.now() < next {
            continue;
        }
        next = factory.clock.now() + factory.options.disturb_every;
        let Some(kind) = random.one_of(&kinds).copied() else { continue };
        if let Err(refusal) = once(factory, kind, &mut random, &mut lost) {
            let why = format!("{refusal:#}");
            eprintln!("hostfactory: this cluster refuses the disturbance {}: {why}", kind.name());
            factory.with(|world| world.stats.refused.insert(kind, why));
            kinds.retain(|one| *one != kind);
        }
    }
    bring_back(factory, &mut lost, Moment::MAX);
}

/// One disturbance. An error means that the cluster does not do such a thing; that the victim is gone is none.
fn once(factory: &Arc<Factory>, kind: Disturbance, random: &mut Random, lost: &mut Vec<Lost>) -> Result<()> {
    let victims: Vec<PodView> = factory.with(|world| {
        let living = world.judge.pods.living().filter(|record| record.deleting.is_none() && !record.before_start);
        living.map(|record| record.view.clone()).collect()
    });
    if kind == Disturbance::NodeLoss {
        let nodes: Vec<String> = victims.into_iter().map(|view| view.node).filter(|node| !node.is_empty()).collect();
        return random.one_of(&nodes).map_or(Ok(()), |node| lose_node(factory, node, lost));
    }
    let Some(victim) = random.one_of(&victims) else { return Ok(()) };
    let now = factory.clock.now();
    factory.with(|world| world.judge.pods.disturb(&victim.uid, kind, now));
    let response = match kind {
        Disturbance::PodDelete => factory.cluster.delete_pod(&victim.name, None),
        Disturbance::PodForceDelete => factory.cluster.delete_pod(&victim.name, Some(0)),
        Disturbance::Evict | Disturbance::NodeLoss => factory.cluster.evict(&victim.name),
    };
    // A broken connection says nothing about the cluster's abilities.
    let Ok(response) = response else { return Ok(()) };
    if taken(&response) {
        factory.with(|world| world.stats.disturbed(kind));
        return Ok(());
    }
    let still_there = matches!(factory.cluster.pod(&victim.name), Ok(Some(view)) if view.uid == victim.uid);
    let permanent = matches!(response.code, 400 | 403 | 404 | 405 | 415 | 422 | 501);
    anyhow::ensure!(!(permanent && still_there), "{}", said(&response));
    Ok(())
}

fn lose_node(factory: &Arc<Factory>, name: &str, lost: &mut Vec<Lost>) -> Result<()> {
    let Ok(Some(node)) = factory.cluster.node(name) else { return Ok(()) };
    let comes_back = !factory.options.node_back.is_zero();
    if comes_back {
        // Asked beforehand: a cluster that makes no nodes would shrink for good.
        let Ok(response) = factory.cluster.may_create_node(&node) else { return Ok(()) };
        anyhow::ensure!(!matches!(response.code, 403 | 404 | 405 | 501), "nodes can't be made: {}", said(&response));
    }
    let now = factory.clock.now();
    factory.with(|world| world.judge.pods.lose_node(name, now));
    let Ok(response) = factory.cluster.delete_node(name) else { return Ok(()) };
    if taken(&response) {
        factory.with(|world| world.stats.disturbed(Disturbance::NodeLoss));
        if comes_back {
            lost.push(Lost { node, back_at: now + factory.options.node_back });
        }
        return Ok(());
    }
    let permanent = matches!(response.code, 400 | 403 | 404 | 405 | 501);
    let still_there = matches!(factory.cluster.node(name), Ok(Some(_)));
    anyhow::ensure!(!(permanent && still_there), "{}", said(&response));
    Ok(())
}

fn bring_back(factory: &Arc<Factory>, lost: &mut Vec<Lost>, now: Moment) {
    lost.retain(|one| {
        if one.back_at > now {
            return true;
        }
        let name = one.node["metadata"]["name"].as_str().unwrap_or_default();
        match factory.cluster.create_node(&one.node) {
            Ok(()) => false,
            // What manages the nodes may have been faster.
            Err(_) if matches!(factory.cluster.node(name), Ok(Some(_))) => false,
            Err(error) => {
                eprintln!("hostfactory: node {name} does not come back: {error:#}");
                // At the end it is tried once; before, again at the next step.
                now != Moment::MAX
            }
        }
    });
}

fn taken(response: &Response) -> bool {
    (200..300).contains(&response.code)
}

fn said(response: &Response) -> String {
    let text = String::from_utf8_lossy(&response.body);
    format!("{} {}", response.code, text.chars().take(300).collect::<String>())
}
