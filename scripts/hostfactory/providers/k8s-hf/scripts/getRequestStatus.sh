#!/bin/sh
# HostFactory's getRequestStatus. hfctl takes this shell's place; the trap speaks only where it can't.
PATH="${PATH:+$PATH:}/usr/local/bin:/usr/bin:/opt/hfd/bin"
# shellcheck disable=SC3044 # bash alone needs it, to come to the trap with an hfctl that is there and does not run
[ -z "${BASH_VERSION-}" ] || shopt -s execfail
trap 'echo "{\"message\": \"hfctl could not be started: it is missing from PATH, /usr/local/bin, /usr/bin and /opt/hfd/bin, or does not run here\"}"; exit 1' EXIT
exec hfctl get-request-status "$@"
