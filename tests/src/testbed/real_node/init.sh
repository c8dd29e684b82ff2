#!/bin/sh
# First process of the real node's own PID and mount namespace: when it ends, all that runs on the node ends with it.
# It starts containerd, loads the image, and keeps kubelet running while nobody asks for it to stop.
#
# Arguments: the node's directory, the directory of the logs, kubelet, and kubelet's own arguments.
# Asked by files in the node's directory: `end` ends the node, `hold` stops kubelet; `held` says that it is stopped.
set -eu
node=$1 logs=$2 kubelet=$3
shift 3

# The home of whoever built kubelet may lie in one of the places that are hidden next.
: > "$node/kubelet"
mount --bind "$kubelet" "$node/kubelet"

# What these programs write to fixed places goes to memory that nobody else sees.
for place in /run /var/lib /var/log; do
    mount -t tmpfs -o mode=0755 none "$place"
done

# kubelet sets these for the whole machine, unless it finds them set already.
pretend() {
    printf '%s\n' "$2" > "$node/sysctl.${1##*/}"
    mount --bind "$node/sysctl.${1##*/}" "/proc/sys/$1"
}
pretend vm/overcommit_memory 1
pretend vm/panic_on_oom 0
pretend kernel/panic 10
pretend kernel/panic_on_oops 1
pretend kernel/keys/root_maxkeys 1000000
pretend kernel/keys/root_maxbytes 25000000

# The pods' bridge lives in a network namespace that ends with this mount namespace.
: > "$node/net"
unshare --net="$node/net" true

# Prints who has ended and the end of its log, and ends the node.
fail() {
    echo "$1 has ended:"
    tail -n 30 "$logs/$1.log"
    exit 1
}

containerd --config "$node/containerd.toml" > "$logs/containerd.log" 2>&1 &
containerd=$!
ctr() {
    command ctr --address "$node/containerd.sock" --namespace k8s.io "$@"
}
until ctr version > "$node/ctr.out" 2>&1; do
    kill -0 $containerd || fail containerd
    sleep 0.1
done
ctr images import "$node/image/image.tar"

pid=
while kill -0 $containerd && [ ! -e "$node/end" ]; do
    if [ -e "$node/hold" ]; then
        if [ -n "$pid" ]; then
            kill -KILL "$pid"
            wait "$pid" || true
            pid=
        fi
        : > "$node/held"
    elif [ -z "$pid" ]; then
        rm -f "$node/held"
        "$node/kubelet" "$@" >> "$logs/kubelet.log" 2>&1 &
        pid=$!
    else
        kill -0 "$pid" || fail kubelet
    fi
    sleep 0.2
done
[ -e "$node/end" ] || fail containerd
