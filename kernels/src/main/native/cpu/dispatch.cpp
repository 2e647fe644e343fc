// What Java calls. Addresses are passed as integers; the Java side has checked shapes and dtypes.
#include "common.h"
#include <algorithm>

namespace shardloom {

float* scratch(int slot, size_t floats) {
    struct Buffer {
        int64_t address = 0, bytes = 0;
        void free() { if (address) release(address, bytes); address = bytes = 0; }
        ~Buffer() { free(); }
    };
    static thread_local Buffer buffers[8];
    Buffer& b = buffers[slot];
    int64_t bytes = int64_t(floats) * 4;
    if (b.bytes < bytes || !b.address) {
        b.free();
        const int64_t unit = bytes >= HUGE_PAGE / 2 ? HUGE_PAGE : 4096;
        bytes = bytes < unit ? unit : (bytes + unit - 1) / unit * unit;
        b.address = allocate(bytes);
        if (!b.address) throw std::bad_alloc();
        b.bytes = bytes;
    }
    return at<float>(b.address);
}

static Isa detect() {
    __builtin_cpu_init();
    const char* limit = getenv("SHARDLOOM_ISA");  // for tests: the highest instruction set to use
    const char* names[] = {"baseline", "avx2", "avx512"};
    int most = int(Isa::Amx);
    for (int i = 0; limit && i < 3; i++)
        if (!strcmp(limit, names[i])) most = i;
    Isa best = Isa::Baseline;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        best = Isa::Avx512;
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2"))
        best = Isa::Avx2;
    if (int(best) >= most) return Isa(most);
    return best == Isa::Avx512 && amx::available() ? Isa::Amx : best;
}
Isa isa() { static const Isa chosen = detect(); return chosen; }

#define ON_ISA(call) \
    switch (isa()) { \
        case Isa::Amx: case Isa::Avx512: avx512::call; break; \
        case Isa::Avx2: avx2::call; break; \
        default: baseline::call; \
    }
#define FOR_TYPE(code, T, body) withType(code, [&](auto* type_) { typedef std::remove_pointer_t<decltype(type_)> T; body; })

int instructionSet() { return int(isa()); }
bool hasBf16() { return isa() == Isa::Amx || (isa() == Isa::Avx512 && onednnHasBf16()); }
void useThreads(int threads) { omp_set_num_threads(threads); }
int threads() { return omp_get_max_threads(); }

void gemm(int64_t m, int64_t n, int64_t k, int64_t a, int aType, int64_t aRow, int64_t aColumn, int64_t b, int bType, int64_t bRow,
          int64_t bColumn, int64_t c, int cType, int64_t ldc, bool accumulate) {
    // fp32 stays with our own kernel: its sums do not depend on the number of threads, so runs repeat exactly on any number of workers.
    const bool large = double(m) * n * k > 1e5, bf16Units = large && aType == BF16 && bType == BF16 && (cType == F32 || cType == BF16);
    const bool tiles = large && isa() == Isa::Amx && (aRow == 1 || aColumn == 1) && (bRow == 1 || bColumn == 1);
    const amx::Side left{at<void>(a), aType, aRow, aColumn}, right{at<void>(b), bType, bColumn, bRow};
    if (bf16Units && tiles) amx::gemm(m, n, k, left, right, {at<void>(c), cType, ldc, accumulate});
    else if (tiles && amx::splits(m, n, k, aType, bType, cType)) amx::gemmSplit(m, n, k, left, right, {at<void>(c), cType, ldc, accumulate});
    else if (bf16Units && isa() == Isa::Avx512 && onednnHasBf16())
        onednnGemm(m, n, k, at<void>(a), aType, aRow, aColumn, at<void>(b), bType, bRow, bColumn, at<void>(c), cType, ldc, accumulate);
    else gemmOwn(m, n, k, a, aType, aRow, aColumn, b, bType, bRow, bColumn, c, cType, ldc, accumulate);
}

void gemmOwn(int64_t m, int64_t n, int64_t k, int64_t a, int aType, int64_t aRow, int64_t aColumn, int64_t b, int bType, int64_t bRow,
             int64_t bColumn, int64_t c, int cType, int64_t ldc, bool accumulate) {
    ON_ISA(gemm(m, n, k, {at<void>(a), aType, aRow, aColumn}, {at<void>(b), bType, bRow, bColumn}, at<void>(c), cType, ldc, accumulate));
}

void rmsNormForward(int64_t out, int64_t inverse, int64_t sum, int64_t x, int64_t residual, int64_t weight, int dtype, int64_t rows,
                    int64_t n, float eps) {
    FOR_TYPE(dtype, T, ON_ISA(rmsNormForward(at<T>(out), at<float>(inverse), at<T>(sum), at<T>(x), at<T>(residual), at<T>(weight), rows, n, eps)));
}
void rmsNormBackward(int64_t gradX, int64_t gradWeight, int gradType, bool accumulate, int64_t gradOut, int64_t x, int64_t inverse,
                     int64_t weight, int64_t skip, int dtype, int64_t rows, int64_t n) {
    FOR_TYPE(dtype, T, FOR_TYPE(gradType, G, ON_ISA(rmsNormBackward(at<T>(gradX), at<G>(gradWeight), accumulate, at<T>(gradOut), at<T>(x),
        at<float>(inverse), at<T>(weight), at<T>(skip), rows, n))));
}
void layerNormForward(int64_t out, int64_t statistics, int64_t x, int64_t weight, int64_t bias, int dtype, int64_t rows, int64_t n, float eps) {
    FOR_TYPE(dtype, T, ON_ISA(layerNormForward(at<T>(out), at<float>(statistics), at<T>(x), at<T>(weight), at<T>(bias), rows, n, eps)));
}
void layerNormBackward(int64_t gradX, int64_t gradWeight, int64_t gradBias, int gradType, int64_t gradOut, int64_t x, int64_t statistics,
                       int64_t weight, int dtype, int64_t rows, int64_t n) {
    FOR_TYPE(dtype, T, FOR_TYPE(gradType, G, ON_ISA(layerNormBackward(at<T>(gradX), at<G>(gradWeight), at<G>(gradBias), at<T>(gradOut),
        at<T>(x), at<float>(statistics), at<T>(weight), rows, n))));
}
void addBias(int64_t x, int64_t bias, int dtype, int64_t rows, int64_t n) {
    FOR_TYPE(dtype, T, ON_ISA(addBias(at<T>(x), at<T>(bias), rows, n)));
}
void addScaled(int64_t out, int64_t a, int64_t b, int dtype, int64_t n, float factor) {
    FOR_TYPE(dtype, T, ON_ISA(addScaled(at<T>(out), at<T>(a), at<T>(b), n, factor)));
}
void geluForward(int64_t out, int64_t x, int64_t bias, int dtype, int64_t rows, int64_t n) {
    FOR_TYPE(dtype, T, ON_ISA(geluForward(at<T>(out), at<T>(x), at<T>(bias), rows, n)));
}
void geluBackward(int64_t gradX, int64_t gradOut, int64_t x, int64_t bias, int dtype, int64_t rows, int64_t n) {
    FOR_TYPE(dtype, T, ON_ISA(geluBackward(at<T>(gradX), at<T>(gradOut), at<T>(x), at<T>(bias), rows, n)));
}
void rotary(int64_t qkv, int64_t bias, int dtype, int64_t table, int64_t positions, int64_t tokens, int heads, int groups, int headSize,
            bool byHead, int rotaryDim, int rotation, bool inverse) {
    AttentionShape shape{nullptr, nullptr, 0, heads, groups, headSize, byHead};
    FOR_TYPE(dtype, T, ON_ISA(rotary(at<T>(qkv), at<T>(bias), at<float>(table), at<int32_t>(positions), tokens, shape, rotaryDim,
        Rotation(rotation), inverse)));
}
void attentionForward(int64_t context, int64_t logSums, int64_t qkv, int dtype, int64_t starts, int64_t contexts, int sequences, int heads,
                      int groups, int headSize, bool byHead) {
    AttentionShape shape{at<int32_t>(starts), at<int32_t>(contexts), sequences, heads, groups, headSize, byHead};
    if (dtype == BF16 && isa() == Isa::Amx) amx::attentionForward(at<bf16>(context), at<float>(logSums), at<bf16>(qkv), shape);
    else FOR_TYPE(dtype, T, ON_ISA(attentionForward(at<T>(context), at<float>(logSums), at<T>(qkv), shape)));
}
void attentionWithCache(int64_t context, int64_t cache, int64_t qkv, int dtype, int64_t starts, int64_t contexts, int64_t cacheStarts,
                        int64_t past, int sequences, int heads, int groups, int headSize, bool byHead) {
    AttentionShape shape{at<int32_t>(starts), at<int32_t>(contexts), sequences, heads, groups, headSize, byHead};
    AttentionCache keys{at<void>(cache), at<int32_t>(cacheStarts), at<int32_t>(past)};
    if (dtype == BF16 && isa() == Isa::Amx) amx::attentionWithCache(at<bf16>(context), keys, at<bf16>(qkv), shape);
    else FOR_TYPE(dtype, T, ON_ISA(attentionWithCache(at<T>(context), keys, at<T>(qkv), shape)));
}
void attentionBackward(int64_t gradQkv, int64_t gradContext, int64_t context, int64_t logSums, int64_t qkv, int dtype, int64_t starts,
                       int64_t contexts, int sequences, int heads, int groups, int headSize, bool byHead) {
    AttentionShape shape{at<int32_t>(starts), at<int32_t>(contexts), sequences, heads, groups, headSize, byHead};
    if (dtype == BF16 && isa() == Isa::Amx)
        amx::attentionBackward(at<bf16>(gradQkv), at<bf16>(gradContext), at<bf16>(context), at<float>(logSums), at<bf16>(qkv), shape);
    else FOR_TYPE(dtype, T, ON_ISA(attentionBackward(at<T>(gradQkv), at<T>(gradContext), at<T>(context), at<float>(logSums), at<T>(qkv), shape)));
}
void swigluForward(int64_t out, int64_t gateUp, int64_t bias, int dtype, int64_t rows, int64_t n) {
    FOR_TYPE(dtype, T, ON_ISA(swigluForward(at<T>(out), at<T>(gateUp), at<T>(bias), rows, n)));
}
void swigluBackward(int64_t gradGateUp, int64_t gradOut, int64_t gateUp, int64_t bias, int dtype, int64_t rows, int64_t n) {
    FOR_TYPE(dtype, T, ON_ISA(swigluBackward(at<T>(gradGateUp), at<T>(gradOut), at<T>(gateUp), at<T>(bias), rows, n)));
}
void columnSum(int64_t out, int outType, bool accumulate, int64_t x, int dtype, int64_t rows, int64_t n) {
    FOR_TYPE(dtype, T, FOR_TYPE(outType, G, ON_ISA(columnSum(at<G>(out), accumulate, at<T>(x), rows, n))));
}
void gatherRows(int64_t out, int64_t table, int64_t rowIds, int64_t count, int64_t rowBytes) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) memcpy(at<char>(out) + i * rowBytes, at<char>(table) + int64_t(at<int32_t>(rowIds)[i]) * rowBytes, rowBytes);
}
void scatterRows(int64_t out, int64_t rows, int64_t rowIds, int64_t count, int64_t rowBytes) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) memcpy(at<char>(out) + int64_t(at<int32_t>(rowIds)[i]) * rowBytes, at<char>(rows) + i * rowBytes, rowBytes);
}
void embeddingBackward(int64_t gradWeight, int gradType, int64_t gradOut, int dtype, int64_t ids, int64_t order, int64_t tokens, int64_t n) {
    FOR_TYPE(dtype, T, FOR_TYPE(gradType, G, ON_ISA(embeddingBackward(at<G>(gradWeight), at<T>(gradOut), at<int32_t>(ids),
        at<int32_t>(order), tokens, n))));
}
void softmaxCrossEntropy(int64_t losses, int64_t grad, int dtype, int64_t logits, int64_t targets, int64_t rows, int64_t n, float scale) {
    FOR_TYPE(dtype, T, ON_ISA(softmaxCrossEntropy(at<float>(losses), at<T>(grad), at<float>(logits), at<int32_t>(targets), rows, n, scale)));
}
void convert(int64_t out, int outType, int64_t in, int inType, int64_t n) {
    FOR_TYPE(outType, A, FOR_TYPE(inType, B, ON_ISA(convert(at<A>(out), at<B>(in), n))));
}
void add(int64_t out, int64_t a, int64_t b, int dtype, int64_t n) { FOR_TYPE(dtype, T, ON_ISA(add(at<T>(out), at<T>(a), at<T>(b), n))); }
void sumSources(int64_t out, bool accumulate, int64_t addresses, int count, int dtype, int64_t n) {
    FOR_TYPE(dtype, T, ON_ISA(sumSources(at<float>(out), accumulate, reinterpret_cast<const T* const*>(addresses), count, n)));
}
double sumOfSquares(int64_t x, int64_t n) {
    double result = 0;
    ON_ISA(sumOfSquares_(result, at<float>(x), n));
    return result;
}
void adamw(int64_t master, int64_t first, int64_t second, int64_t grad, int64_t param, int paramType, int64_t n, float rate, double beta1,
           double beta2, float eps, float decay, float correction1, float correction2, float gradScale) {
    AdamStep step{rate, beta1, beta2, eps, decay, correction1, correction2, gradScale};
    FOR_TYPE(paramType, T, ON_ISA(adamw(at<float>(master), at<float>(first), at<float>(second), at<float>(grad), at<T>(param), n, step)));
}
void randomNormal(int64_t out, int64_t key, int64_t first, int64_t n, float deviation) {
    ON_ISA(randomNormal(at<float>(out), uint64_t(key), first, n, deviation));
}
void scale(int64_t out, int dtype, int64_t n, float factor) { FOR_TYPE(dtype, T, ON_ISA(scale(at<T>(out), n, factor))); }
void dropout(int64_t out, int64_t x, int dtype, int64_t n, int64_t key, float rate) {
    FOR_TYPE(dtype, T, ON_ISA(dropout(at<T>(out), at<T>(x), n, uint64_t(key), rate)));
}
void tanhForward(int64_t out, int64_t x, int64_t n) { ON_ISA(tanhForward(at<float>(out), at<float>(x), n)); }
void tanhBackward(int64_t gradX, int64_t gradY, int64_t y, int64_t n) {
    ON_ISA(tanhBackward(at<float>(gradX), at<float>(gradY), at<float>(y), n));
}
void nf4Quantize(int64_t codes, int64_t absmax, int64_t x, int64_t n) {
    ON_ISA(nf4Pack(at<uint8_t>(codes), at<float>(absmax), at<float>(x), n));
}
void nf4Dequantize(int64_t out, int dtype, int64_t codes, int64_t absmax, int64_t n) {
    FOR_TYPE(dtype, T, ON_ISA(nf4Dequantize(at<T>(out), at<uint8_t>(codes), at<float>(absmax), n)));
}

/** Dettmers's signed dynamic map of 8 bits: exponents from 10^-6 to 1, each twice as finely divided as the one below, and 0 and 1. */
static const float* dynamicMap() {
    static const std::vector<float> map = [] {
        std::vector<float> values{0.0f, 1.0f};
        for (int exponent = 0; exponent < 7; exponent++) {
            const int parts = 1 << exponent;
            const double unit = pow(10.0, exponent - 6);
            for (int i = 0; i < parts; i++) {
                double middle = 0.1 + 0.9 * (2 * i + 1) / (2.0 * parts);
                values.push_back(float(unit * middle));
                values.push_back(-float(unit * middle));
            }
        }
        std::sort(values.begin(), values.end());
        return values;
    }();
    return map.data();
}
void dynamicLevels(int64_t out) { memcpy(at<float>(out), dynamicMap(), 256 * sizeof(float)); }
/** x - offset in blocks of 256, each by its largest magnitude: the nearest of 256 levels. */
void absmaxQuantize(int64_t codes, int64_t nested, int64_t x, float offset, int64_t n) {
    const float* map = dynamicMap();
    for (int64_t from = 0; from < n; from += ABSMAX_BLOCK) {
        const int64_t to = from + ABSMAX_BLOCK < n ? from + ABSMAX_BLOCK : n;
        float top = 0;
        for (int64_t i = from; i < to; i++) { float size = fabsf(at<float>(x)[i] - offset); top = size > top ? size : top; }
        at<float>(nested)[from / ABSMAX_BLOCK] = top;
        const float inverse = top > 0 ? 1.0f / top : 0.0f;
        for (int64_t i = from; i < to; i++) {
            const float v = (at<float>(x)[i] - offset) * inverse;
            const float* above = std::lower_bound(map, map + 256, v);
            int64_t code = above - map;
            if (code == 256 || (code > 0 && v - map[code - 1] <= map[code] - v)) code--;
            at<uint8_t>(codes)[i] = uint8_t(code);
        }
    }
}
void absmaxDequantize(int64_t out, int64_t codes, int64_t nested, float offset, int64_t n) {
    const float* map = dynamicMap();
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) at<float>(out)[i] = map[at<uint8_t>(codes)[i]] * at<float>(nested)[i / ABSMAX_BLOCK] + offset;
}
void fill(int64_t address, int value, int64_t bytes) {
    constexpr int64_t BLOCK = 1 << 20;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < bytes; i += BLOCK) memset(at<char>(address) + i, value, bytes - i < BLOCK ? bytes - i : BLOCK);
}
void copy(int64_t to, int64_t from, int64_t bytes) {
    constexpr int64_t BLOCK = 1 << 20;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < bytes; i += BLOCK) memcpy(at<char>(to) + i, at<char>(from) + i, bytes - i < BLOCK ? bytes - i : BLOCK);
}

}  // namespace shardloom
