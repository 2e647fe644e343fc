#!/bin/bash
# Takes out one wait between streams after the other, or of the host for a stream, and runs the tests that must fail without it.
# waits.txt lists them. Takes words that the entries to be run contain, or nothing for all. No GPU takes part.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../../.." && pwd)
cd "$root"
mvn -B -q -pl protocol,kernels,worker -am test-compile dependency:build-classpath -Dmdep.outputFile=target/test-classpath -Dmdep.includeScope=test
launcher=$(tr : '\n' < kernels/target/test-classpath | sed -n 's/junit-platform-engine/junit-platform-launcher/gp' | head -1)
if [ ! -f "$launcher" ]; then mvn -B -q dependency:get -Dartifact="org.junit.platform:junit-platform-launcher:$(basename "$(dirname "$launcher")")"; fi
path=$launcher
for module in worker kernels protocol; do path=$path:$root/$module/target/classes:$root/$module/target/test-classes:$(cat $module/target/test-classpath); done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
javac -d "$work/tool" -cp "$path" "$here/Mutations.java"
java -cp "$work/tool:$path" Mutations "$root" "$here/waits.txt" "$work" "$@"
