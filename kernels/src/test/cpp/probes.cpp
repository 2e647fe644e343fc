// One call each of what tensorcore.cuh has, on a warp, for tests that compare it with plain products and transpositions.
#include "tensorcore.cuh"

/** d[16, 8] += a[16, 16] b[16, 8], row by row in memory; indices as in the PTX ISA, "Matrix Fragments for mma.m16n8k16". */
template <class T> void probeMultiply(float* d, const T* a, const T* b) {
    const int lane = threadIdx.x, group = lane >> 2, inGroup = lane % 4;
    T ofA[8], ofB[4];
    float ofD[4];
    for (int i = 0; i < 8; i++) {
        const int row = (i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8;
        const int column = i < 4 ? inGroup * 2 + (i & 1) : inGroup * 2 + (i & 1) + 8;
        ofA[i] = a[row * 16 + column];
    }
    for (int i = 0; i < 4; i++) {
        const int row = i < 2 ? inGroup * 2 + (i & 1) : inGroup * 2 + (i & 1) + 8;
        ofB[i] = b[row * 8 + group];
    }
    auto place = [&](int i) { return (i < 2 ? group : group + 8) * 8 + inGroup * 2 + (i & 1); };
    for (int i = 0; i < 4; i++) ofD[i] = d[place(i)];
    unsigned registersA[4], registersB[2];
    memcpy(registersA, ofA, sizeof ofA);
    memcpy(registersB, ofB, sizeof ofB);
    multiplyAdd<T>(ofD, registersA, registersB[0], registersB[1]);
    for (int i = 0; i < 4; i++) d[place(i)] = ofD[i];
}
KERNEL(probe_multiply_bf16, float* d, const bf16* a, const bf16* b) { probeMultiply(d, a, b); }
KERNEL(probe_multiply_f16, float* d, const half* a, const half* b) { probeMultiply(d, a, b); }

/** The four registers of each lane after a load of four matrices of 8 by 8 that lie one after the other. */
KERNEL(probe_load, unsigned* out, const bf16* matrices, int transposed) {
    DYNAMIC_SHARED(bf16, tile);
    const int lane = threadIdx.x;
    copyAsync<16>(Shared<bf16>(tile) + 8 * lane, matrices + 8 * lane, true);
    commitCopies();
    awaitCopies<0>();
    __syncthreads();
    unsigned loaded[4];
    if (transposed) loadTransposed(loaded, Shared<bf16>(tile) + 8 * lane);
    else loadMatrices(loaded, Shared<bf16>(tile) + 8 * lane);
    for (int i = 0; i < 4; i++) out[4 * lane + i] = loaded[i];
}

/** Two numbers packed into a register, and taken out again. */
KERNEL(probe_pack, float* pairs) {
    float* pair = pairs + 2 * threadIdx.x;
    const unsigned both = pack<bf16>(pair[0], pair[1]);
    pair[0] = unpack<bf16>(both, 0);
    pair[1] = unpack<bf16>(both, 1);
}
