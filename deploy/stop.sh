#!/usr/bin/env bash
# Same as: deploy/shardloom stop ...
. "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"
shardloom stop "$@"
