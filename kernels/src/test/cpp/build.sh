#!/bin/bash
# Builds the simulated libcuda.so.1, libcublas.so.12 and libnvidia-ml.so.1, for tests only, into the directory given.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cuda=$here/../../main/cuda
out=$1
mkdir -p "$out"
if [ -f "$out/libcublas.so.12" ] && [ -z "$(find "$here" "$cuda" -type f -newer "$out/libcublas.so.12")" ]; then exit 0; fi
# No contraction: a multiply and an add that the source separates are rounded separately, as fp32 references expect.
flags="-std=c++17 -O2 -g -fPIC -fvisibility=hidden -ffp-contract=off -pthread -Wall -Werror -I$here -I$cuda"
for f in executor device driver identity faulty; do g++ $flags -c "$here/$f.cpp" -o "$out/$f.o"; done
g++ $flags -x c++ -c "$cuda/kernels.cu" -o "$out/kernels.o"
# What JCuda binds and the simulation does not have.
nm --defined-only "$out/driver.o" "$out/identity.o" | awk '{print $3}' | sort -u > "$out/defined.txt"
grep -v '^#' "$here/jcuda-symbols.txt" | sort | comm -23 - "$out/defined.txt" | sed 's/.*/extern "C" __attribute__((visibility("default"))) int &() { return 801; }/' > "$out/stubs.cpp"
g++ -fPIC -c "$out/stubs.cpp" -o "$out/stubs.o"
objects="$out/executor.o $out/device.o $out/driver.o $out/identity.o $out/faulty.o $out/kernels.o $out/stubs.o"
g++ -shared -pthread -Wl,-soname,libcuda.so.1 -Wl,--no-undefined -o "$out/libcuda.so.1" $objects
# JavaCPP's bindings of NVML and NCCL ask for the CUDA runtime and call nothing of it.
echo | g++ -shared -fPIC -x c++ -Wl,-soname,libcudart.so.12 -o "$out/libcudart.so.12" -
g++ $flags -c "$here/nvml.cpp" -o "$out/nvml.o"
g++ -shared -Wl,-soname,libnvidia-ml.so.1 -Wl,--no-undefined -o "$out/libnvidia-ml.so.1" "$out/nvml.o" "$out/libcuda.so.1"
g++ $flags -c "$here/cublas.cpp" -o "$out/cublas.o"
g++ -shared -Wl,-soname,libcublas.so.12 -Wl,--no-undefined -o "$out/libcublas.so.12" "$out/cublas.o" "$out/libcuda.so.1"
