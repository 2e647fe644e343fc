#!/usr/bin/env bash
# Same as: deploy/shardloom status ...
. "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"
# A run may be using what is built: it is left as it is.
[ ! -d "$LIB" ] || SHARDLOOM_BUILD=never
shardloom status "$@"
