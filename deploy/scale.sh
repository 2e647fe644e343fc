#!/usr/bin/env bash
# Same as: deploy/shardloom scale ...
. "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"
shardloom scale "$@"
