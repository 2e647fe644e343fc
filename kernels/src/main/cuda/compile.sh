#!/bin/bash
# Where nvcc is there: compiles the kernels for sm_80 and sm_90, and to PTX for the newest architecture that it knows, writes a table of registers, shared memory, spills and occupancy, and fails
# on spills. Occupancy is what the limits of a multiprocessor leave (CUDA C++ Programming Guide, "Compute Capabilities"; registers are given
# to a warp in units of 256, warps in units of 4, shared memory to a block in units of 128 bytes beside 1 KiB that the driver takes):
# blocks at once, the share of warps that run, and what is exhausted first. It says nothing of how fast a kernel is.
# Device code that ships is compiled by NVRTC where it runs; this step finds what does not compile, or spills, before that.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=$1
# As Maven has it: -DskipTests skips this step too, which takes a minute.
if [ "${2:-false}" = true ]; then
    echo "WARNING: the CUDA kernels were NOT compiled by nvcc, nor looked at for spills: -DskipTests" >&2
    exit 0
fi
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
newest=$(nvcc --list-gpu-arch | sort -V | tail -1)
nvcc -std=c++17 -ptx -arch="$newest" -o "$out/kernels.$newest.ptx" "$here/kernels.cu"
table=$out/kernels.txt.new
printf '%-40s %-6s %9s %12s %13s %7s %11s %6s %9s %s\n' kernel arch registers static-bytes dynamic-bytes threads spill-bytes blocks occupancy limit > "$table"
for arch in 80 90; do
    awk -v arch=$arch '
        function up(x, unit) { return int((x + unit - 1) / unit) * unit }
        FNR == NR { if ($0 !~ /^#/) { pattern[++patterns] = $1; threads[patterns] = $2; dynamic[patterns] = $3 } next }
        /Compiling entry function/ { split($0, part, "\047"); kernel = part[2]; spill = 0 }
        /spill stores/ { for (i = 1; i < NF; i++) if ($(i + 2) == "spill") spill += $i }
        /Used [0-9]+ registers/ {
            registers = shared = 0
            for (i = 1; i <= NF; i++) { if ($i == "Used") registers = $(i + 1); if ($i == "bytes" && $(i + 1) ~ /^smem/) shared = $(i - 1) }
            for (p = 1; kernel !~ pattern[p]; p++) {}
            warps = threads[p] / 32
            blocks = 32; limit = "blocks"
            fit = int(64 / warps); if (fit < blocks) { blocks = fit; limit = "warps" }
            fit = int(int(65536 / up(registers * 32, 256) / 4) * 4 / warps); if (fit < blocks) { blocks = fit; limit = "registers" }
            fit = int((arch == 80 ? 164 : 228) * 1024 / up(shared + dynamic[p] + 1024, 128)); if (fit < blocks) { blocks = fit; limit = "shared" }
            printf "%-40s sm_%-3s %9d %12d %13d %7d %11d %6d %8d%% %s\n", kernel, arch, registers, shared, dynamic[p], threads[p], spill, blocks, blocks * warps * 100 / 64, limit
        }' "$here/launches.txt" "$out/sm_$arch.log" | sort >> "$table"
done
spilling=$(awk 'NR > 1 && $7 > 0 { printf "%s%s for %s (%d bytes)", found++ ? ", " : "", $1, $2, $7 }' "$table")
if [ -n "$spilling" ]; then
    echo "ERROR: these kernels spill registers: $spilling" >&2
    exit 1
fi
roomless=$(awk 'NR > 1 && $8 == 0 { printf "%s%s for %s", found++ ? ", " : "", $1, $2 }' "$table")
if [ -n "$roomless" ]; then
    echo "ERROR: a multiprocessor has no room for a block of these kernels: $roomless" >&2
    exit 1
fi
mv "$table" "$out/kernels.txt"
