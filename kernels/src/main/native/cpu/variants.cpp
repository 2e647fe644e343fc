// The same sources compiled for three instruction sets; dispatch.cpp chooses among them at run time. amx.cpp compiles attention.inc once more. What the sources
// need to know is said here: g++ before 13 does not define __F16C__ and its like for a target pragma.
#include "common.h"

namespace shardloom {
template <class T> struct TypeCode;
template <> struct TypeCode<float> { static constexpr int code = F32; };
template <> struct TypeCode<bf16> { static constexpr int code = BF16; };
template <> struct TypeCode<half> { static constexpr int code = F16; };
}  // namespace shardloom

#define VECTOR_FLOATS 4
#define MICRO_ROWS 6
#define HAS_F16C 0
namespace shardloom { namespace baseline {
#include "vector.inc"
#include "gemm.inc"
#include "elementwise.inc"
#include "firstglm.inc"
#include "quantized.inc"
#include "attention.inc"
}}
#undef VECTOR_FLOATS
#undef MICRO_ROWS
#undef HAS_F16C

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,bmi2")
#define VECTOR_FLOATS 8
#define MICRO_ROWS 6
#define HAS_F16C 1
namespace shardloom { namespace avx2 {
#include "vector.inc"
#include "gemm.inc"
#include "elementwise.inc"
#include "firstglm.inc"
#include "quantized.inc"
#include "attention.inc"
}}
#undef VECTOR_FLOATS
#undef MICRO_ROWS
#undef HAS_F16C
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi2,prefer-vector-width=512")
#define VECTOR_FLOATS 16
#define MICRO_ROWS 14
#define HAS_F16C 1
namespace shardloom { namespace avx512 {
#include "vector.inc"
#include "gemm.inc"
#include "elementwise.inc"
#include "firstglm.inc"
#include "quantized.inc"
#include "attention.inc"
}}
#undef VECTOR_FLOATS
#undef MICRO_ROWS
#undef HAS_F16C
#pragma GCC pop_options
