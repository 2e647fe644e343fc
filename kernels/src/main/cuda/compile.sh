#!/bin/bash
# Where nvcc is there: compiles the kernels for sm_80 and sm_90, writes a table of registers, shared memory and spills, and fails on spills.
# Device code that ships is compiled by NVRTC where it runs; this step finds what does not compile, or spills, before that.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
if ! command -v nvcc > /dev/null; then
    echo "WARNING: nvcc is not there: the CUDA kernels were NOT compiled for any GPU in this build" >&2
    exit 0
fi
mkdir -p "$out"
if [ -f "$out/kernels.txt" ] && [ -z "$(find "$here" -type f -newer "$out/kernels.txt")" ]; then exit 0; fi
rm -f "$out/kernels.txt"
for arch in 80 90; do
    nvcc -std=c++17 -cubin -arch=sm_$arch -Xptxas -v -o "$out/kernels.sm_$arch.cubin" "$here/kernels.cu" 2> "$out/sm_$arch.log" || { cat "$out/sm_$arch.log" >&2; exit 1; }
done
nvcc -std=c++17 -ptx -arch=compute_90 -o "$out/kernels.compute_90.ptx" "$here/kernels.cu"
table=$out/kernels.txt.new
printf '%-40s %-6s %9s %12s %12s\n' kernel arch registers shared-bytes spill-bytes > "$table"
for arch in 80 90; do
    awk -v arch=sm_$arch '
        /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; spill = 0 }
        /spill stores/ { for (i = 1; i < NF; i++) if ($(i + 2) == "spill") spill += $i }
        /Used [0-9]+ registers/ {
            registers = shared = 0
            for (i = 1; i <= NF; i++) { if ($i == "Used") registers = $(i + 1); if ($i == "bytes" && $(i + 1) ~ /^smem/) shared = $(i - 1) }
            printf "%-40s %-6s %9d %12d %12d\n", kernel, arch, registers, shared, spill
        }' "$out/sm_$arch.log" | sort >> "$table"
done
if awk 'NR > 1 && $5 > 0' "$table" | grep .; then
    echo "ERROR: these kernels spill registers" >&2
    exit 1
fi
mv "$table" "$out/kernels.txt"
