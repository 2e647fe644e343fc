#!/usr/bin/env bash
# Runs a fine-tuning job; without arguments the quickstart. See deploy/start.sh --help.
#   --detach                        return when training has begun
#   --role worker --join HOST:PORT  be a worker of a run that is under way, on this or another host
. "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

detach=false
role=run
arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --detach) detach=true ;;
    --role) [ $# -ge 2 ] || die "--role takes worker"; role="$2"; shift ;;
    --role=*) role="${1#--role=}" ;;
    *) arguments+=("$1") ;;
  esac
  shift
done

case "$role" in
  worker) shardloom worker ${arguments[@]+"${arguments[@]}"} ;;
  run) ;;
  *) die "--role takes worker, found '$role'" ;;
esac

build
java_command
command=("$JAVA" "${JAVA_OPTIONS[@]}" -cp "$CLASS_PATH" org.shardloom.deploy.cli.Main start)

if $detach; then
  need setsid "util-linux"
  log="$(mktemp "${TMPDIR:-/tmp}/shardloom-start.XXXXXX")"
  setsid "${command[@]}" ${arguments[@]+"${arguments[@]}"} --detached-log "$log" >"$log" 2>&1 </dev/null &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if grep -q '^training' "$log"; then
      cat "$log"
      echo "training has begun (process $pid); deploy/status.sh shows it, deploy/stop.sh stops it"
      exit 0
    fi
    sleep 0.2
  done
  code=0
  wait "$pid" || code=$?
  cat "$log"
  rm -f "$log"
  exit "$code"
fi

# The first Ctrl-C asks the program to write a checkpoint and stop; the second ends it, and its workers with it.
# (A background process of a script does not get Ctrl-C itself.)
interrupts=0
on_interrupt() {
  interrupts=$((interrupts + 1))
  if [ "$interrupts" -ge 2 ]; then kill -KILL "$pid" 2>/dev/null || true; else kill -TERM "$pid" 2>/dev/null || true; fi
}
trap on_interrupt INT
trap 'kill -TERM "$pid" 2>/dev/null || true' TERM HUP
"${command[@]}" ${arguments[@]+"${arguments[@]}"} &
pid=$!
while :; do
  code=0
  wait "$pid" || code=$?
  kill -0 "$pid" 2>/dev/null || break
done
exit "$code"
