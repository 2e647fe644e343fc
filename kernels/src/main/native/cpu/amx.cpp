// Products of bf16 matrices on the processor's tile unit (Intel AMX): TDPBF16PS multiplies a tile of 16 rows by 32 values of the
// sum with one of 16 pairs of these by 16 columns, and adds to 16 x 16 fp32 sums. Operands are packed into panels of 32 rows, or
// columns, so that a tile is 1,024 bytes one after the other; four tiles of sums are computed at once. Terms are summed in groups of
// 32 from the first on, the groups in order, wherever blocks end: results depend neither on the number of threads nor on the shape
// of the blocks. The unit takes subnormal values for zero.
#include "common.h"
#include <sys/syscall.h>
#include <unistd.h>
#include <cpuid.h>

namespace shardloom { namespace amx {

/** Whether the processor has the unit and the system lets this process use it. */
inline bool available() {
    static const bool has = [] {
        unsigned a, b, c, d;
        if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d >> 22 & 1) || !(d >> 24 & 1)) return false;  // AMX-BF16, AMX-TILE
        constexpr long REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM
        return syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
    }();
    return has;
}

#pragma GCC push_options
#pragma GCC diagnostic push
// g++ 12 warns of its own headers' _mm512_undefined_epi32.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2,prefer-vector-width=512,amx-tile,amx-bf16")

/** Rows of a panel, terms of the sum in a step, bytes of a panel's step. */
constexpr int64_t PANEL = 32, STEP = 32, STEP_BYTES = PANEL * STEP * 2;
/** Steps that are multiplied at once: a panel of them stays in the nearest cache. Terms of the shared side that are packed at once. */
constexpr int64_t NEAR_STEPS = 16, NEAR = NEAR_STEPS * STEP, TERMS = 4096;
static_assert(TERMS % NEAR == 0, "blocks of terms end where groups end");

/** g++ does not know that tiles are loaded from memory: what was written before must not be left for later, or out. */
inline void compilerBarrier() { asm volatile("" ::: "memory"); }

/** Eight tiles of 16 rows of 64 bytes, for the calling thread, while this lives. */
struct Tiles {
    Tiles() {
        struct alignas(64) { uint8_t palette = 1, start = 0, reserved[14] = {}; uint16_t bytes[16] = {}; uint8_t rows[16] = {}; } config;
        for (int t = 0; t < 8; t++) { config.bytes[t] = 64; config.rows[t] = 16; }
        compilerBarrier();
        _tile_loadconfig(&config);
    }
    ~Tiles() { _tile_release(); }
};

/** A side of a product, bf16 or fp32 to be rounded to it: element i of term p is at i * side + p * term; one of the strides is 1. */
struct Side { const void* data; int dtype; int64_t side, term; };

inline __m512 widen(__m256i bf16s) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bf16s), 16)); }

/** Rounded to nearest even, in the lower half of each 32 bits; what is not a number stays so. */
inline __m512i roundToBf16(__m512 x) {
    const __m512i bits = _mm512_castps_si512(x), odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
    const __m512i quiet = _mm512_or_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x40));
    return _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), rounded, quiet);
}
inline __m256i narrow(__m512 x) { return _mm512_cvtepi32_epi16(roundToBf16(x)); }

inline __mmask16 first16(int64_t count) { return count >= 16 ? 0xffff : count <= 0 ? 0 : (1u << count) - 1; }

/** The first count of 32 values, as bf16. */
inline __m512i load32(const uint16_t* x, int64_t count) {
    return _mm512_maskz_loadu_epi16(count >= 32 ? 0xffffffffu : (1u << count) - 1, x);
}
inline __m512i load32(const float* x, int64_t count) {
    const __m256i low = narrow(_mm512_maskz_loadu_ps(first16(count), x)), high = narrow(_mm512_maskz_loadu_ps(first16(count - 16), x + 16));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}
/** The first count of 16 values, as bf16 in the lower half of each 32 bits. */
inline __m512i load16(const uint16_t* x, int64_t count) { return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(first16(count), x)); }
inline __m512i load16(const float* x, int64_t count) { return roundToBf16(_mm512_maskz_loadu_ps(first16(count), x)); }

/** Exchanges rows and columns of 16 x 16 values of 32 bits. */
inline void transpose(__m512i* r) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int h = 0; h < 2; h++) {
            r[i + 2 * h] = _mm512_unpacklo_epi64(t[i + h], t[i + 2 + h]);
            r[i + 2 * h + 1] = _mm512_unpackhi_epi64(t[i + h], t[i + 2 + h]);
        }
    for (int i = 0; i < 4; i++) {
        __m512i a = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88), b = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        __m512i c = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88), d = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
        t[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        t[i + 8] = _mm512_shuffle_i32x4(a, c, 0xdd);
        t[i + 4] = _mm512_shuffle_i32x4(b, d, 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
    for (int i = 0; i < 16; i++) r[i] = t[i];
}

/**
 * A tile of 16 of the side by 32 terms, zero where there are fewer: rows of terms for the left side of a product; byPairs, rows of a
 * pair of terms each, for the right one.
 */
template <class T> inline void packTile(const T* x, int64_t side, int64_t term, int64_t count, int64_t terms, bool byPairs, char* out) {
    __m512i row[16];
    if (term == 1) {
        for (int k = 0; k < 16; k++) row[k] = k < count ? load32(x + k * side, terms) : _mm512_setzero_si512();
        if (byPairs) transpose(row);
    } else {
        for (int k = 0; k < 16; k++) {
            const __m512i first = 2 * k < terms ? load16(x + 2 * k * term, count) : _mm512_setzero_si512();
            const __m512i second = 2 * k + 1 < terms ? load16(x + (2 * k + 1) * term, count) : _mm512_setzero_si512();
            row[k] = _mm512_or_si512(first, _mm512_slli_epi32(second, 16));
        }
        if (!byPairs) transpose(row);
    }
    for (int k = 0; k < 16; k++) _mm512_store_si512(out + k * 64, row[k]);
}

inline void packTile(const Side& x, int64_t i, int64_t p, int64_t count, int64_t terms, bool byPairs, char* out) {
    const int64_t at = i * x.side + p * x.term;
    if (x.dtype == F32) packTile(static_cast<const float*>(x.data) + at, x.side, x.term, count, terms, byPairs, out);
    else packTile(static_cast<const uint16_t*>(x.data) + at, x.side, x.term, count, terms, byPairs, out);
}

inline int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
inline int64_t atLeastOne(int64_t x) { return x < 1 ? 1 : x; }
inline int64_t panels(int64_t n) { return (n + PANEL - 1) / PANEL; }
inline int64_t stepsOf(int64_t terms) { return (terms + STEP - 1) / STEP; }

/** Packed panels: what is multiplied together, NEAR_STEPS of every panel, stands together. */
struct Panels {
    char* data;
    int64_t count, steps;

    /** How many steps are multiplied together from that one on, the first of them. */
    int64_t near(int64_t first) const { return least(steps - first, NEAR_STEPS); }
    char* at(int64_t panel, int64_t step) const {
        const int64_t first = step / NEAR_STEPS * NEAR_STEPS;
        return data + (first * count + panel * near(first) + step - first) * STEP_BYTES;
    }
};

/** Panels of a side that are being packed, a tile at a time, in the order of the side's memory. */
class Packing {
    Side side;
    int64_t from, count, term, terms, panel = 0, step = 0, firstPanel = 0, endPanel = 0;
    bool byPairs, half = false;
    Panels to;

public:
    Packing() = default;
    /** Packs panels [firstPanel, endPanel) of to, which has them for the side from from on, count long. */
    Packing(const Side& side, int64_t from, int64_t count, int64_t term, int64_t terms, bool byPairs, const Panels& to, int64_t firstPanel,
            int64_t endPanel)
        : side(side), from(from), count(count), term(term), terms(terms), panel(firstPanel), firstPanel(firstPanel), endPanel(endPanel),
          byPairs(byPairs), to(to) {}

    bool done() const { return panel == endPanel; }

    /** Packs the next tile, if there is one. */
    void some() {
        if (done()) return;
        const int64_t i = panel * PANEL + (half ? 16 : 0);
        packTile(side, from + i, term + step * STEP, count - i, terms - step * STEP, byPairs, to.at(panel, step) + (half ? STEP_BYTES / 2 : 0));
        if ((half = !half)) return;
        if (side.term == 1) {
            if (++step == to.steps) step = 0, panel++;
        } else if (++panel == endPanel && ++step < to.steps) panel = firstPanel;
    }
    void finish() { while (!done()) some(); }
    int64_t tiles() const { return 2 * (endPanel - firstPanel) * to.steps; }
};

/** A matrix of sums: fp32 or bf16. */
struct Out {
    void* data;
    int dtype;
    int64_t stride;
    bool accumulate;

    Out at(int64_t i, int64_t j) const { return {static_cast<char*>(data) + (i * stride + j) * int64_t(sizeOf(dtype)), dtype, stride, accumulate}; }

    /** Writes, or adds, the first of 32 sums to the row. */
    void write(const float* sums, int64_t row, int64_t columns) const {
        const __mmask32 there = columns >= PANEL ? 0xffffffffu : (1u << columns) - 1;
        for (int h = 0; h < 2; h++) {
            const __mmask16 mask = __mmask16(there >> (16 * h));
            __m512 x = _mm512_load_ps(sums + 16 * h);
            if (dtype == F32) {
                float* at = static_cast<float*>(data) + row * stride + 16 * h;
                if (accumulate) x = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, at), x);
                _mm512_mask_storeu_ps(at, mask, x);
            } else {
                bf16* at = static_cast<bf16*>(data) + row * stride + 16 * h;
                if (accumulate) x = _mm512_add_ps(widen(_mm256_maskz_loadu_epi16(mask, at)), x);
                _mm256_mask_storeu_epi16(at, mask, narrow(x));
            }
        }
    }
};

/** What is done while the tile unit computes, a little at every step: the sums before are written, the next piece is packed. */
struct Chores {
    Packing packing;
    int64_t stepsPerTile = 1, wait = 0;
    const float* sums = nullptr;
    Out out{};
    int64_t row = 0, rows = 0, columns = 0, rowsPerStep = 0;

    void write(const float* block, const Out& to, int64_t height, int64_t width, int64_t steps) {
        finishWriting();
        sums = block; out = to; row = 0; rows = height; columns = width; rowsPerStep = (PANEL + steps - 1) / steps;
    }
    void finishWriting() {
        for (; row < rows; row++) out.write(sums + row * PANEL, row, columns);
    }
    void step() {
        for (int64_t end = least(rows, row + rowsPerStep); row < end; row++) out.write(sums + row * PANEL, row, columns);
        if (++wait >= stepsPerTile) { wait = 0; packing.some(); }
    }
};

/** sums[32, 32] = (sums or 0) + a b over steps. */
inline void multiply(const char* a, const char* b, int64_t steps, float* sums, bool accumulate, Chores& chores) {
    constexpr int64_t STRIDE = 128, RIGHT = 16, BELOW = 16 * PANEL;
    compilerBarrier();
    if (accumulate) {
        _tile_loadd(0, sums, STRIDE);
        _tile_loadd(1, sums + RIGHT, STRIDE);
        _tile_loadd(2, sums + BELOW, STRIDE);
        _tile_loadd(3, sums + BELOW + RIGHT, STRIDE);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t s = 0; s < steps; s++, a += STEP_BYTES, b += STEP_BYTES) {
        _tile_stream_loadd(6, b, 64);
        _tile_loadd(4, a, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_stream_loadd(7, b + STEP_BYTES / 2, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + STEP_BYTES / 2, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        chores.step();
    }
    _tile_stored(0, sums, STRIDE);
    _tile_stored(1, sums + RIGHT, STRIDE);
    _tile_stored(2, sums + BELOW, STRIDE);
    _tile_stored(3, sums + BELOW + RIGHT, STRIDE);
}

/** The sums of a block of C, 32 x 32 after the other; where each is complete at once, two of them serve by turns. */
struct Sums {
    float* data;
    bool byTurns;
    bool first, last;  // whether they start at zero, whether they are complete, and written

    float* at(int64_t block) const { return data + (byTurns ? block % 2 : block) * PANEL * PANEL; }
};

/** Sums of a block of C [rows, columns] over steps of a from leftStep on and steps of b from rightStep on. */
inline void multiplyPanels(const Panels& a, int64_t leftStep, const Panels& b, int64_t rightStep, int64_t steps, const Sums& sums, int64_t rows,
                           int64_t columns, const Out& out, Chores& chores) {
    int64_t block = 0;
    for (int64_t i = 0; i < rows; i += PANEL)
        for (int64_t j = 0; j < columns; j += PANEL, block++) {
            multiply(a.at(i / PANEL, leftStep), b.at(j / PANEL, rightStep), steps, sums.at(block), !sums.first, chores);
            if (sums.last) chores.write(sums.at(block), out.at(i, j), least(rows - i, PANEL), least(columns - j, PANEL), steps);
        }
    chores.finishWriting();
}

/**
 * How a product is cut. What a thread multiplies together stays in its second cache: 512 KiB of the shared side, 512 KiB of its own
 * pieces (one that is multiplied, one that is being packed) and 512 KiB of sums; where there are so few terms that no sums are kept,
 * 1 MiB and 256 KiB.
 */
struct Blocks {
    bool left;  // the left side is the shorter one, which is packed for all threads
    bool once;  // all terms are near: sums are complete after one pass
    bool keep;  // sums stay between blocks of terms
    int64_t commonCount, ownCount, piece, commonMost, ownMost;

    /** @param rightIsSlow whether the right side's terms are apart: packing it takes longer, and costs least while tiles are multiplied */
    Blocks(int64_t m, int64_t n, int64_t k, bool rightIsSlow, int threads)
        : left(rightIsSlow ? m <= n : m < n), once(k <= NEAR), keep(k > TERMS), commonCount(left ? m : n),
          ownCount(left ? n : m) {
        piece = once ? 128 : 256;
        while (piece > PANEL && ownCount < 2 * threads * piece) piece /= 2;
        commonMost = least(panels(commonCount) * PANEL, once ? 1024 : 512);
        ownMost = keep ? least(ownCount, (threads < 4 ? 4 : threads) * piece) : ownCount;
    }
    int64_t pieceBytes() const { return piece / PANEL * NEAR_STEPS * STEP_BYTES; }
    int64_t sumsOfPiece() const { return once ? 2 * PANEL * PANEL : commonMost * piece; }
};

/**
 * C[m, n] (+)= A[m, k] B[k, n]. The shorter side is packed for all threads; pieces of the longer one are packed by the thread that
 * multiplies them, the next piece while it multiplies the one before.
 *
 * @throws std::bad_alloc
 */
void gemm(int64_t m, int64_t n, int64_t k, const Side& a, const Side& b, const Out& out) {
    const int threads = omp_in_parallel() || double(m) * n * k < 1e6 ? 1 : omp_get_max_threads();
    const Blocks cut(m, n, k, b.term != 1, threads);
    const Side &common = cut.left ? a : b, &own = cut.left ? b : a;
    char* shared = reinterpret_cast<char*>(scratch(0, size_t(cut.commonMost / PANEL * stepsOf(least(k, TERMS)) * STEP_BYTES / 4)));
    float* kept = cut.keep ? scratch(1, size_t((cut.ownMost + cut.piece - 1) / cut.piece * cut.sumsOfPiece())) : nullptr;
    std::atomic<int64_t> next{0};
    std::atomic<bool> noMemory{false};
#pragma omp parallel num_threads(threads)
    {
        char* buffers = nullptr;
        float* mySums = nullptr;
        try {  // one block, so that it is one huge page
            buffers = reinterpret_cast<char*>(scratch(2, size_t(2 * cut.pieceBytes() / 4 + (cut.keep ? 0 : cut.sumsOfPiece()))));
            mySums = reinterpret_cast<float*>(buffers + 2 * cut.pieceBytes());
        } catch (const std::bad_alloc&) {
            noMemory = true;
        }
        Tiles tiles;
        Chores chores;
#pragma omp barrier
        for (int64_t c0 = 0; c0 < cut.commonCount && !noMemory; c0 += cut.commonMost)
            for (int64_t o0 = 0; o0 < cut.ownCount; o0 += cut.ownMost)
                for (int64_t p0 = 0; p0 < k; p0 += TERMS) {
                    const int64_t commonHere = least(cut.commonCount - c0, cut.commonMost), ownHere = least(cut.ownCount - o0, cut.ownMost);
                    const int64_t terms = least(k - p0, TERMS);
                    const Panels all{shared, panels(commonHere), stepsOf(terms)};
                    if (cut.keep || o0 == 0) {
#pragma omp for schedule(static)
                        for (int64_t c = 0; c < all.count; c++) Packing(common, c0, commonHere, p0, terms, !cut.left, all, c, c + 1).finish();
                    }
#pragma omp single
                    next = 0;
                    int turn = 0;
                    auto panelsOf = [&](int64_t o, int64_t step) {
                        return Panels{buffers + turn * cut.pieceBytes(), panels(least(ownHere - o, cut.piece)), all.near(step)};
                    };
                    auto pack = [&](int64_t o, int64_t step) {
                        const Panels to = panelsOf(o, step);
                        chores.packing = Packing(own, o0 + o, least(ownHere - o, cut.piece), p0 + step * STEP, least(terms - step * STEP, NEAR),
                                                 cut.left, to, 0, to.count);
                    };
                    int64_t o = next++ * cut.piece;
                    if (o < ownHere) pack(o, 0);
                    for (int64_t step = 0, after; o < ownHere; o = after) {
                        chores.packing.finish();
                        const Panels mine = panelsOf(o, step);
                        const int64_t here = least(ownHere - o, cut.piece), from = step;
                        step += mine.steps;
                        after = step < all.steps ? o : next++ * cut.piece;
                        if (step == all.steps) step = 0;
                        turn = 1 - turn;
                        chores.packing = Packing();
                        if (after < ownHere) pack(after, step);
                        chores.stepsPerTile = atLeastOne(all.count * mine.count * mine.steps / atLeastOne(chores.packing.tiles()));
                        const bool first = p0 == 0 && from == 0, last = p0 + terms == k && from + mine.steps == all.steps;
                        const Sums sums{cut.keep ? kept + o / cut.piece * cut.sumsOfPiece() : mySums, cut.once, first, last};
                        if (cut.left) multiplyPanels(all, from, mine, 0, mine.steps, sums, commonHere, here, out.at(c0, o0 + o), chores);
                        else multiplyPanels(mine, 0, all, from, mine.steps, sums, here, commonHere, out.at(o0 + o, c0), chores);
                    }
#pragma omp barrier
                }
    }
    if (noMemory) throw std::bad_alloc();
}

#include "amx_split.inc"

/** What attention is written with: small products on the calling thread, of which fp32 sides are rounded to bf16. */
using avx512::Operand;
using avx512::dot;
using avx512::expFast;
using avx512::load;
using avx512::store;

inline void gemmOneThread(int64_t m, int64_t n, int64_t k, Operand a, Operand b, void* c, int cType, int64_t ldc, bool accumulate) {
    gemm(m, n, k, {a.data, a.dtype, a.rowStride, a.columnStride}, {b.data, b.dtype, b.columnStride, b.rowStride}, {c, cType, ldc, accumulate});
}
#include "attention.inc"

#pragma GCC diagnostic pop
#pragma GCC pop_options
}}  // namespace shardloom::amx
