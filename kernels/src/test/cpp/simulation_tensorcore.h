// What tensorcore.cuh has in PTX, for g++: fragments pass between the lanes of a warp as the PTX ISA lays them out ("Matrix Fragments for
// mma.m16n8k16", "ldmatrix"). Sums are fp32, one term after the other; hardware has an order and a rounding of its own.
#pragma once
#include <cstring>

template <class T> inline unsigned pack(float first, float second) {
    T a, b;
    narrow(first, a);
    narrow(second, b);
    return unsigned(b.bits) << 16 | a.bits;
}

template <class T> inline float unpack(unsigned both, int i) { return widen(T{uint16_t(both >> 16 * i)}); }

/** d[16, 8] += a[16, 16] b[16, 8]. */
template <class T> inline void multiplyAdd(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    struct Mine { float a[4][2], b[2][2]; } mine;
    static_assert(sizeof(Mine) <= sim::SHARE, "a lane's operands");
    for (int e = 0; e < 2; e++) {
        for (int i = 0; i < 4; i++) mine.a[i][e] = unpack<T>(a[i], e);
        mine.b[0][e] = unpack<T>(b0, e);
        mine.b[1][e] = unpack<T>(b1, e);
    }
    const unsigned char* all = sim::warpShare(&mine, sizeof mine, SIM_SITE);
    const int lane = threadIdx.x & 31, group = lane >> 2, place = lane & 3;
    auto of = [&](int i) -> const Mine& { return *reinterpret_cast<const Mine*>(all + i * sim::SHARE); };
    // Row r of a: lanes 4 (r % 8) and three more; registers 0 and 2 for r < 8, else 1 and 3; the latter of each two has columns from 8 on.
    // Column n of b: lanes 4 n and three more; register 1 has rows from 8 on.
    for (int i = 0; i < 4; i++) {
        const int row = group, upper = i >> 1, column = 2 * place + (i & 1);
        float sum = 0;
        for (int k = 0; k < 16; k++) {
            const int quad = (k & 7) >> 1, far = k >> 3;
            sum += of(4 * row + quad).a[upper + 2 * far][k & 1] * of(4 * column + quad).b[far][k & 1];
        }
        d[i] += sum;
    }
}

template <class T> struct Shared {
    T* place;
    explicit Shared(const T* p) : place(const_cast<T*>(p)) {}
    void advance(int elements) { place += elements; }
};
template <class T> inline Shared<T> operator+(Shared<T> from, int elements) { return Shared<T>(from.place + elements); }

/** Four matrices of 8 rows of 16 bytes, whose addresses lanes 8 i to 8 i + 7 bring; register i is two elements of matrix i. */
template <bool TRANSPOSED, class T> inline void loadMatrices(unsigned (&out)[4], Shared<T> place) {
    const T* row = place.place;
    sim::requireShared(row, 16, 16, "a load of matrices");
    const unsigned char* all = sim::warpShare(&row, sizeof row, SIM_SITE);
    const int lane = threadIdx.x & 31, group = lane >> 2, pair = 2 * (lane & 3);
    for (int i = 0; i < 4; i++) {
        auto element = [&](int r, int c) {
            const T* from;
            memcpy(&from, all + (8 * i + r) * sim::SHARE, sizeof from);
            return unsigned(from[c].bits);
        };
        out[i] = TRANSPOSED ? element(pair, group) | element(pair + 1, group) << 16
                            : element(group, pair) | element(group, pair + 1) << 16;
    }
}
template <class T> inline void loadMatrices(unsigned (&out)[4], Shared<T> row) { loadMatrices<false>(out, row); }
template <class T> inline void loadTransposed(unsigned (&out)[4], Shared<T> row) { loadMatrices<true>(out, row); }

template <int BYTES, class T> inline void copyAsync(Shared<T> to, const T* from, bool there) { sim::copyLater(to.place, from, BYTES, there); }
inline void commitCopies() { sim::commitCopies(); }
template <int GROUPS> inline void awaitCopies() { sim::awaitCopies(GROUPS); }
