# Sourced by the commands beside it: builds what is missing and knows how to start the program.
# Needs bash, a JDK 17 or newer, and for the first build Maven and g++.
set -euo pipefail
DEPLOY="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ROOT="$(dirname "$DEPLOY")"
LIB="$DEPLOY/target/lib"
ARCHIVE="$DEPLOY/target/shardloom.jsa"
NATIVE="${SHARDLOOM_NATIVE_CACHE:-$DEPLOY/target/native}"

die() { echo "shardloom: $*" >&2; exit 1; }

usage() { echo "shardloom: $*" >&2; exit 2; }

need() { command -v "$1" >/dev/null 2>&1 || die "$1 is needed ($2)"; }

# A build is there when its last product is newer than every source.
built() {
  [ -f "$DEPLOY/target/.built" ] && [ -d "$LIB" ] || return 1
  [ -z "$(find "$ROOT"/pom.xml "$ROOT"/*/pom.xml "$ROOT"/*/src/main -newer "$DEPLOY/target/.built" -type f -print -quit)" ]
}

# An archive of classes is of use with the very jars that it was recorded from; another build, such as mvn verify, makes them anew.
archived() {
  [ -f "$DEPLOY/target/.archived" ] || return 1
  [ -z "$(find "$LIB" "$DEPLOY"/target/shardloom-deploy-*.jar -newer "$DEPLOY/target/.archived" -type f -print -quit)" ]
}

build() {
  [ -f "$ROOT/pom.xml" ] && [ "${SHARDLOOM_BUILD:-auto}" != never ] || return 0
  built && archived && return 0
  need mvn "Maven builds the program the first time: apt-get install maven"
  need g++ "the kernels are C++: apt-get install g++"
  need flock "util-linux"
  mkdir -p "$DEPLOY/target"
  (
    flock 9
    if ! built; then
      echo "building Shardloom (the first time takes a few minutes; log: deploy/target/build.log)" >&2
      if ! (cd "$ROOT" && mvn -B -q package -DskipTests -Dspotless.check.skip=true) >"$DEPLOY/target/build.log" 2>&1 </dev/null; then
        tail -n 20 "$DEPLOY/target/build.log" >&2
        exit 1
      fi
      touch "$DEPLOY/target/.built"
    fi
    archived || archive
  ) 9>"$DEPLOY/target/.build.lock" || { [ $? -ne 130 ] || exit 130; die "the build failed; see deploy/target/build.log"; }
}

# Records the classes that a run loads, so that its processes start faster. A run works without. The build calls this, too, before it starts
# commands in tests.
archive() {
  local scratch="$DEPLOY/target/warm-up" code=0
  rm -rf "$scratch" "$ARCHIVE"  # java_command names the archive where it exists, and it cannot be read and written at once
  mkdir -p "$scratch"
  java_command
  XDG_STATE_HOME="$scratch" timeout --foreground -k 5 120 "$JAVA" "${JAVA_OPTIONS[@]}" "-Djava.io.tmpdir=$scratch" \
    -XX:ArchiveClassesAtExit="$ARCHIVE" -Xlog:cds=off -Xlog:cds+dynamic=off -cp "$CLASS_PATH" \
    org.shardloom.deploy.cli.Main warm-up >>"$DEPLOY/target/build.log" 2>&1 </dev/null || code=$?
  rm -rf "$scratch"
  if [ "$code" -ne 0 ]; then
    rm -f "$ARCHIVE"
    [ "$code" -ne 130 ] || exit 130
    echo "shardloom: no class archive was made (see deploy/target/build.log); processes start slower" >&2
  fi
  touch "$DEPLOY/target/.archived"  # what failed would fail again
}

java_command() {
  if [ -n "${JAVA_HOME:-}" ] && [ -x "$JAVA_HOME/bin/java" ]; then JAVA="$JAVA_HOME/bin/java"; else JAVA=java; fi
  need "$JAVA" "a JDK 17 or newer: apt-get install openjdk-17-jdk"
  JAVA_OPTIONS=(-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xms32m -Xmx2g -XX:-UsePerfData
    --add-opens=java.base/jdk.internal.misc=ALL-UNNAMED
    "-Dshardloom.home=$ROOT" "-Dorg.bytedeco.javacpp.cachedir=$NATIVE/javacpp" "-Dshardloom.native.cache=$NATIVE/djl")
  if [ -f "$ARCHIVE" ]; then
    JAVA_OPTIONS+=("-XX:SharedArchiveFile=$ARCHIVE" -Xlog:cds=off -Xlog:cds+dynamic=off "-Dshardloom.archive=$ARCHIVE")
  fi
  # Only the shell knows: the JVM asks for standard input too, which a background process of a script does not have.
  if [ -t 1 ] && [ "${TERM:-dumb}" != dumb ]; then JAVA_OPTIONS+=(-Dshardloom.terminal=true); fi
  # shellcheck disable=SC2206
  [ -z "${SHARDLOOM_JAVA_OPTS:-}" ] || JAVA_OPTIONS+=(${SHARDLOOM_JAVA_OPTS})
  CLASS_PATH="$(printf '%s:' "$DEPLOY"/target/shardloom-deploy-*.jar)$LIB/*"
  mkdir -p "$NATIVE/djl"
  chmod 700 "$NATIVE/djl"
  # Threads wait for the next operation awake for half a millisecond: waking them costs more than many an operation.
  export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}" GOMP_SPINCOUNT="${GOMP_SPINCOUNT:-10000}" MALLOC_ARENA_MAX="${MALLOC_ARENA_MAX:-2}" OPT_OUT_TRACKING=true
}

shardloom() {
  build
  [ -d "$LIB" ] || die "the program is not built on this host: run deploy/start.sh --help once"
  java_command
  exec "$JAVA" "${JAVA_OPTIONS[@]}" -cp "$CLASS_PATH" org.shardloom.deploy.cli.Main "$@"
}
