//! Forward proxies, found where kubectl finds them. The API server is called by a name that only the proxy can resolve.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{holds_for, testbed::Facts};

use super::{connect_proxy::ConnectProxy, kubeconfig, works};
use crate::{hostfactory::slices, site::Plan, testbed};

/// A name that is in the API server's certificate and in nobody's DNS.
const NAME: &str = "kubernetes.default.svc";

/// The testbed's API server by that name.
fn behind(facts: &Facts) -> Value {
    json!({"server": facts.server.replace("127.0.0.1", NAME), "certificate-authority": facts.authority})
}

/// A plan whose daemon calls the API server by that name.
#[track_caller]
fn plan(facts: &Facts, cluster: &Value) -> Plan {
    let plan = Plan::new(facts, 1);
    plan.kubeconfig(&kubeconfig(cluster, &json!({"token": plan.ground.token()})));
    plan
}

fn env(plan: &mut Plan, key: &str, value: &str) {
    plan.spec.env.insert(key.to_owned(), value.to_owned());
}

#[test]
fn the_proxy_of_the_environment_is_used_and_its_absence_is_an_outage() {
    let facts = testbed();
    let proxy = ConnectProxy::start();
    let mut plan = plan(&facts, &behind(&facts));
    env(&mut plan, "HTTPS_PROXY", &proxy.url());
    // That the proxy itself is on loopback is no reason to go without it.
    env(&mut plan, "NO_PROXY", "localhost,127.0.0.1,.example.org");
    let site = plan.start_serving();
    let machines = site.hf.bring_up("small", 6);
    let names = slices(&machines);
    let (_, port) = facts.server.rsplit_once(':').expect("the server's URL has a port");
    let asked = proxy.asked();
    assert!(!asked.is_empty() && asked.iter().all(|target| *target == format!("{NAME}:{port}")), "{asked:?}");

    proxy.away(true);
    site.hf.wait_says(&["cluster_unreachable"]);
    let more = site.hf.request("small", 1);
    holds_for("an absent proxy is no verdict", Duration::from_secs(3), || {
        site.hf.status(&more).status == "running" && site.hf.reclaims(&names).is_empty()
    });
    proxy.away(false);
    site.hf.wait_complete(&more);
    site.hf.take_down(&names);
}

#[test]
fn a_proxy_may_be_written_in_lower_case_and_without_its_scheme() {
    let facts = testbed();
    let proxy = ConnectProxy::start();
    let mut plan = plan(&facts, &behind(&facts));
    env(&mut plan, "https_proxy", proxy.url().trim_start_matches("http://"));
    works(&plan.start_serving().hf);
    assert!(!proxy.asked().is_empty());
}

#[test]
fn the_proxy_of_the_kubeconfig_is_used_whatever_the_environment_says() {
    let facts = testbed();
    let proxy = ConnectProxy::start();
    let mut cluster = behind(&facts);
    cluster["proxy-url"] = json!(proxy.url());
    let mut plan = plan(&facts, &cluster);
    env(&mut plan, "HTTPS_PROXY", "http://127.0.0.1:1");
    env(&mut plan, "NO_PROXY", ".svc,127.0.0.1");
    works(&plan.start_serving().hf);
    assert!(!proxy.asked().is_empty());
}

#[test]
fn no_proxy_keeps_the_api_server_off_the_proxy() {
    let facts = testbed();
    let proxy = ConnectProxy::start();
    let mut excluded = plan(&facts, &behind(&facts));
    env(&mut excluded, "HTTPS_PROXY", &proxy.url());
    env(&mut excluded, "NO_PROXY", "10.0.0.0/8, .svc");
    let site = excluded.start();
    // Directly, the name leads nowhere.
    site.hf.wait_says(&["cluster_unreachable", "dns"]);
    assert_eq!(proxy.asked(), [""; 0]);

    // Loopback is never asked of a proxy, as with kubectl.
    let mut loopback = plan(&facts, &super::cluster(&facts));
    env(&mut loopback, "HTTPS_PROXY", &proxy.url());
    works(&loopback.start_serving().hf);
    assert_eq!(proxy.asked(), [""; 0]);
}
