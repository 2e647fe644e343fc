#!/usr/bin/env bash
# Runs a fine-tuning job; without arguments the quickstart. See deploy/start.sh --help.
#   --detach                        return when training has begun
#   --role worker --join HOST:PORT  be a worker of a run that is under way, on this or another host
. "$(dirname "${BASH_SOURCE[0]}")/launcher.sh"

detach=false
role=run
join=false
arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --detach) detach=true ;;
    --role) [ $# -ge 2 ] || usage "--role takes worker"; role="$2"; shift ;;
    --role=*) role="${1#--role=}" ;;
    *)
      case "$1" in --join | --join=*) join=true ;; esac
      arguments+=("$1")
      ;;
  esac
  shift
done

case "$role" in
  worker) shardloom worker ${arguments[@]+"${arguments[@]}"} ;;
  run) ! $join || usage "--join is for workers: deploy/start.sh --role worker --join HOST:PORT" ;;
  *) usage "--role takes worker, found '$role'" ;;
esac

build
java_command
command=("$JAVA" "${JAVA_OPTIONS[@]}" -cp "$CLASS_PATH" org.shardloom.deploy.cli.Main start)

if $detach; then
  need setsid "util-linux"
  log="$(mktemp "${TMPDIR:-/tmp}/shardloom-start.XXXXXX")"
  exec 8<"$log" # the program moves it into the output directory as soon as that is its own
  setsid "${command[@]}" ${arguments[@]+"${arguments[@]}"} --detached-log "$log" >"$log" 2>&1 </dev/null 8<&- &
  pid=$!
  while kill -0 "$pid" 2>/dev/null; do
    if grep -q '^training' /dev/fd/8; then
      cat /dev/fd/8
      echo "training has begun (process $pid); deploy/status.sh shows it, deploy/stop.sh stops it"
      exit 0
    fi
    sleep 0.2
  done
  code=0
  wait "$pid" || code=$?
  cat /dev/fd/8
  rm -f "$log"
  exit "$code"
fi

# The first Ctrl-C asks the program to write a checkpoint and stop; the second ends it, and its workers with it.
# (A background process of a script does not get Ctrl-C itself.)
interrupts=0

# What a killed coordinator cannot remove itself: how to reach it, and what was being written.
forget() {
  local pointer="${XDG_STATE_HOME:-$HOME/.local/state}/shardloom/last-run" output
  [ -f "$pointer" ] || return 0
  output="$(cat "$pointer")"
  grep -q "\"pid\" : $pid," "$output/run.json" 2>/dev/null || return 0
  rm -rf "$output/run.json" "$output/run.secret" "$output"/*.writing
}

pid=
on_interrupt() {
  interrupts=$((interrupts + 1))
  if [ "$interrupts" -ge 2 ]; then kill -KILL ${pid:+"$pid"} 2>/dev/null || true; else kill -TERM ${pid:+"$pid"} 2>/dev/null || true; fi
}
trap on_interrupt INT
trap 'kill -TERM ${pid:+"$pid"} 2>/dev/null || true' TERM HUP
"${command[@]}" ${arguments[@]+"${arguments[@]}"} &
pid=$!
while :; do
  code=0
  wait "$pid" 2>/dev/null || code=$?
  kill -0 "$pid" 2>/dev/null || break
done
if [ "$interrupts" -ge 2 ]; then
  forget
  echo "ended at once; --resume latest goes on from the last checkpoint, if there is one" >&2
elif [ "$code" -eq 137 ]; then
  echo "shardloom: the coordinator (process $pid) was killed from outside; --resume latest goes on from the last checkpoint, if there is one" >&2
fi
exit "$code"
