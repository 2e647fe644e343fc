// Matrix products through oneDNN, which picks AMX or AVX-512 code at run time. Primitives are cached by shape.
#include "common.h"
#include "oneapi/dnnl/dnnl.hpp"
#include <map>
#include <memory>
#include <mutex>
#include <array>
#include <exception>

namespace shardloom {

namespace {
struct Product {
    dnnl::matmul primitive;
    dnnl::memory::desc a, b, c;
    int64_t scratchBytes;
};

dnnl::engine& engine() { static dnnl::engine e(dnnl::engine::kind::cpu, 0); return e; }

dnnl::memory::data_type typeOf(int dtype) {
    return dtype == F32 ? dnnl::memory::data_type::f32 : dtype == BF16 ? dnnl::memory::data_type::bf16 : dnnl::memory::data_type::f16;
}

/** Shared: another thread may empty the cache while a product is being computed. */
std::shared_ptr<const Product> lookUp(const std::array<int64_t, 12>& key) {
    static std::map<std::array<int64_t, 12>, std::shared_ptr<const Product>> cache;
    static std::mutex mutex;
    std::lock_guard<std::mutex> lock(mutex);
    auto found = cache.find(key);
    if (found != cache.end()) return found->second;
    if (cache.size() > 4096) cache.clear();  // packed token counts vary without bound
    auto [m, n, k, aType, bType, cType, ar, ac, br, bc, ldc, accumulate] = key;
    dnnl::memory::desc a({m, k}, typeOf(int(aType)), dnnl::memory::dims{ar, ac});
    dnnl::memory::desc b({k, n}, typeOf(int(bType)), dnnl::memory::dims{br, bc});
    dnnl::memory::desc c({m, n}, typeOf(int(cType)), dnnl::memory::dims{ldc, 1});
    dnnl::primitive_attr attributes;
    attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    if (accumulate) { dnnl::post_ops ops; ops.append_sum(1.0f); attributes.set_post_ops(ops); }
    auto description = dnnl::matmul::primitive_desc(engine(), a, b, c, attributes);
    auto product = std::make_shared<const Product>(Product{dnnl::matmul(description), a, b, c, int64_t(description.scratchpad_desc().get_size())});
    cache[key] = product;
    return product;
}

/** A product on the calling thread alone. */
void productOfOneThread(int64_t m, int64_t n, int64_t k, const void* a, int aType, int64_t ar, int64_t ac, const void* b, int bType,
                        int64_t br, int64_t bc, void* c, int cType, int64_t ldc, bool accumulate) {
    std::shared_ptr<const Product> product = lookUp({m, n, k, aType, bType, cType, ar, ac, br, bc, ldc, accumulate});
    static thread_local dnnl::stream stream(engine());
    dnnl::memory left(product->a, engine(), const_cast<void*>(a)), right(product->b, engine(), const_cast<void*>(b));
    dnnl::memory out(product->c, engine(), c);
    dnnl::memory pad(dnnl::memory::desc({product->scratchBytes}, dnnl::memory::data_type::u8, dnnl::memory::format_tag::a), engine(),
                     scratch(0, size_t(product->scratchBytes) / 4 + 16));
    product->primitive.execute(stream, {{DNNL_ARG_SRC, left}, {DNNL_ARG_WEIGHTS, right}, {DNNL_ARG_DST, out}, {DNNL_ARG_SCRATCHPAD, pad}});
    stream.wait();
}

/**
 * Length of the pieces of a side of C. Each piece packs its operands anew, so pieces are few; they are of a few lengths only, so that
 * another number of tokens makes only the last piece a shape that is not in the cache.
 */
int64_t pieceOf(int64_t extent) { return extent >= 4096 ? 1024 : extent >= 1024 ? 512 : 256; }
}  // namespace

/** Whether oneDNN has native 16-bit brain-float products on this processor. */
bool onednnHasBf16() {
    static const bool has = int(dnnl::get_effective_cpu_isa()) >= int(dnnl::cpu_isa::avx512_core_bf16)
        && __builtin_cpu_supports("avx512bf16");
    return has;
}

/**
 * Given its threads, oneDNN divides long sums among them, and losses would depend on how many a worker has. So C is cut by its shape
 * alone, and each piece is a product of one thread.
 */
void onednnGemm(int64_t m, int64_t n, int64_t k, const void* a, int aType, int64_t ar, int64_t ac, const void* b, int bType,
                int64_t br, int64_t bc, void* c, int cType, int64_t ldc, bool accumulate) {
    const int64_t rows = pieceOf(m), columns = pieceOf(n), across = (n + columns - 1) / columns, pieces = (m + rows - 1) / rows * across;
    const int64_t threads = omp_in_parallel() ? 1 : omp_get_max_threads();
    std::exception_ptr failure;
#pragma omp parallel num_threads(int(threads < pieces ? threads : pieces))
    {
        omp_set_num_threads(1);  // what oneDNN asks for; it holds in this region only
#pragma omp for schedule(dynamic)
        for (int64_t p = 0; p < pieces; p++) {
            const int64_t i = p / across * rows, j = p % across * columns;
            try {
                productOfOneThread(m - i < rows ? m - i : rows, n - j < columns ? n - j : columns, k,
                                   static_cast<const char*>(a) + i * ar * sizeOf(aType), aType, ar, ac,
                                   static_cast<const char*>(b) + j * bc * sizeOf(bType), bType, br, bc,
                                   static_cast<char*>(c) + (i * ldc + j) * sizeOf(cType), cType, ldc, accumulate);
            } catch (...) {
#pragma omp critical(onednnFailure)
                failure = std::current_exception();
            }
        }
    }
    if (failure) std::rethrow_exception(failure);
}

}  // namespace shardloom
