#!/bin/bash
# Builds the simulated libcuda.so.1 and libcublas.so.12, for tests only, into the directory given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cuda=$here/../../main/cuda
out=$1
mkdir -p "$out"
if [ -f "$out/libcublas.so.12" ] && [ -z "$(find "$here" "$cuda" -type f -newer "$out/libcublas.so.12")" ]; then exit 0; fi
# No contraction: a multiply and an add that the source separates are rounded separately, as fp32 references expect.
flags="-std=c++17 -O2 -g -fPIC -fvisibility=hidden -ffp-contract=off -pthread -Wall -Werror -I$here -I$cuda"
for f in executor device driver faulty probes; do g++ $flags -c "$here/$f.cpp" -o "$out/$f.o"; done
g++ $flags -x c++ -c "$cuda/kernels.cu" -o "$out/kernels.o"
# What JCuda binds and the simulation does not have.
nm --defined-only "$out/driver.o" | awk '{print $3}' | sort -u > "$out/defined.txt"
grep -v '^#' "$here/jcuda-symbols.txt" | sort | comm -23 - "$out/defined.txt" | sed 's/.*/extern "C" __attribute__((visibility("default"))) int &() { return 801; }/' > "$out/stubs.cpp"
g++ -fPIC -c "$out/stubs.cpp" -o "$out/stubs.o"
objects="$out/executor.o $out/device.o $out/driver.o $out/faulty.o $out/probes.o $out/kernels.o $out/stubs.o"
g++ -shared -pthread -Wl,-soname,libcuda.so.1 -Wl,--no-undefined -o "$out/libcuda.so.1" $objects
g++ $flags -c "$here/cublas.cpp" -o "$out/cublas.o"
g++ -shared -Wl,-soname,libcublas.so.12 -Wl,--no-undefined -o "$out/libcublas.so.12" "$out/cublas.o" "$out/libcuda.so.1"
