#!/bin/bash
# Builds the simulated libraries, for tests only, into the directory given: libcuda.so.1, libcudart.so.12 (empty), libnvrtc.so.12,
# libnccl.so.2, libnvidia-ml.so.1 and libcublas.so.12; libcublasLt.so.12 and libnvrtc-builtins.so.12.6 (empty), which bindings load too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cuda=$here/../../main/cuda
out=$1
mkdir -p "$out"
if [ -f "$out/complete" ] && [ -z "$(find "$here" "$cuda" -type f -newer "$out/complete")" ]; then exit 0; fi
rm -f "$out/complete"
# No contraction: a multiply and an add that the source separates are rounded separately, as fp32 references expect.
flags="-std=c++17 -O2 -g -fPIC -fvisibility=hidden -ffp-contract=off -pthread -Wall -Werror -I$here -I$cuda"
for f in executor device races environment driver identity faulty probes cublas nvrtc nccl ncclworld nvml; do g++ $flags -c "$here/$f.cpp" -o "$out/$f.o"; done
g++ $flags -x c++ -c "$cuda/kernels.cu" -o "$out/kernels.o"
# What JCuda binds and the simulation does not have.
nm --defined-only "$out/driver.o" "$out/identity.o" | awk '{print $3}' | sort -u > "$out/defined.txt"
grep -v '^#' "$here/jcuda-symbols.txt" | sort | comm -23 - "$out/defined.txt" | sed 's/.*/extern "C" __attribute__((visibility("default"))) int &() { return 801; }/' > "$out/stubs.cpp"
g++ -fPIC -c "$out/stubs.cpp" -o "$out/stubs.o"
# Name, then objects and libraries.
library() { g++ -shared -pthread -Wl,-soname,"$1" -Wl,--no-undefined -o "$out/$1" "${@:2}"; }
library libcuda.so.1 "$out"/{executor,device,races,environment,driver,identity,faulty,probes,kernels,stubs}.o
library libcudart.so.12 -x c++ /dev/null
library libcublasLt.so.12 -x c++ /dev/null
library libnvrtc-builtins.so.12.6 -x c++ /dev/null
echo 'libnvrtc.so.12 { global: nvrtc*; };' > "$out/nvrtc.map"
library libnvrtc.so.12 "$out/nvrtc.o" -Wl,--version-script="$out/nvrtc.map"
library libnccl.so.2 "$out"/{nccl,ncclworld}.o "$out/libcuda.so.1"
library libnvidia-ml.so.1 "$out/nvml.o" "$out/libcuda.so.1"
library libcublas.so.12 "$out/cublas.o" "$out/libcuda.so.1"
touch "$out/complete"
