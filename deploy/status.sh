#!/usr/bin/env bash
# Same as: deploy/shardloom status ...
. "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"
shardloom status "$@"
