//! The configuration of containerd, of the pods' network and of kubelet.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use anyhow::Result;
use serde_json::{Value, json};

use super::image::IMAGE;
use crate::testbed::certificates::{Authority, Identity};

/// Name of the pods' bridge, in a network namespace of its own.
const BRIDGE: &str = "hfd-pods";
/// Addresses of the pods. Nothing is ever sent to one: probes are commands.
const SUBNET: &str = "10.99.0.0/16";

/// containerd's configuration.
pub(super) fn containerd(node: &Path) -> String {
    let directory = node.display();
    format!(
        r#"version = 2
root = "{directory}/containerd/root"
state = "{directory}/containerd/state"
disabled_plugins = [
    "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.internal.v1.tracing", "io.containerd.tracing.processor.v1.otlp",
]
[grpc]
address = "{directory}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{IMAGE}"
# Some machines withhold the right to lower a process's OOM score: no sandbox would start.
restrict_oom_score_adj = true
# Its profile would stay in the kernel.
disable_apparmor = true
netns_mounts_under_state_dir = true
tolerate_missing_hugetlb_controller = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{directory}/cni/bin"
conf_dir = "{directory}/cni"
"#
    )
}

/// Writes the pods' network: its description and its plug-ins. The bridge's plug-in is run inside the network namespace
/// that the bridge lives in, so that no link is ever made in the machine's own.
///
/// # Errors
/// When a file can't be written.
pub(super) fn network(node: &Path, plug_ins: &Path) -> Result<()> {
    let programs = node.join("cni/bin");
    fs::create_dir_all(&programs)?;
    for name in ["host-local", "loopback"] {
        symlink(plug_ins.join(name), programs.join(name))?;
    }
    let bridge = programs.join("bridge");
    let net = node.join("net");
    let plug_in = plug_ins.join("bridge");
    fs::write(&bridge, format!("#!/bin/sh\nexec nsenter --net={} {}\n", net.display(), plug_in.display()))?;
    fs::set_permissions(&bridge, fs::Permissions::from_mode(0o755))?;
    let list = json!({
        "cniVersion": "0.4.0", "name": "pods",
        "plugins": [{
            "type": "bridge", "bridge": BRIDGE, "isGateway": false, "ipMasq": false,
            "ipam": {"type": "host-local", "subnet": SUBNET, "dataDir": node.join("cni/leases")},
        }],
    });
    Ok(fs::write(node.join("cni/pods.conflist"), list.to_string())?)
}

/// kubelet's configuration.
pub(super) fn kubelet(node: &Path, logs: &Path, authority: &Authority, serving: &Identity, own: &Own) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": "127.0.0.1", "port": own.port, "healthzPort": 0, "readOnlyPort": 0,
        "tlsCertFile": serving.certificate, "tlsPrivateKeyFile": serving.key,
        "authentication": {
            "anonymous": {"enabled": false}, "webhook": {"enabled": false},
            "x509": {"clientCAFile": authority.certificate()},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": format!("unix://{}", node.join("containerd.sock").display()),
        "podLogsDir": logs.join("pods"), "volumePluginDir": node.join("volume-plugins"), "staticPodPath": "",
        "cgroupDriver": "cgroupfs", "cgroupRoot": own.cgroup, "failCgroupV1": false,
        "enforceNodeAllocatable": [], "localStorageCapacityIsolation": false, "failSwapOn": false,
        "makeIPTablesUtilChains": false, "resolvConf": "",
        // A test must not fail because the disk is nearly full, nor lose the one image that can't be pulled.
        "evictionHard": {"memory.available": "1Mi"}, "imageGCHighThresholdPercent": 100,
        // A silent node is noticed after 12 s: renewals every 2 s leave room for a busy machine.
        "nodeLeaseDurationSeconds": 8, "nodeStatusUpdateFrequency": "5s",
        "syncFrequency": "10s", "registerNode": true,
    })
}

/// What is this node's alone.
#[derive(Debug)]
pub(super) struct Own {
    /// Port of kubelet on loopback.
    pub(super) port: u16,
    /// The control group that all others of the node are below.
    pub(super) cgroup: String,
}
