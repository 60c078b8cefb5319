// Products of rows and packed weights: the part of the step that takes the time.
//
// A weight matrix stands in panels of 32 columns (outputs), filled up with zeros. Formats, for a panel of depth D:
//   FP32  [D][32] float
//   BF16  [D][32] upper halves of floats
//   INT8  [D' / 2][32][2] int8, D' = D rounded up to GROUP; a float scale for each group of 64 inputs and column,
//         [D' / 64][32]. The row it meets is rounded to 16 bits with one scale, which loses next to nothing and costs
//         nothing: int8 weights have to be widened to 16 bits anyway where there is no VNNI.
// Vectors are GCC's own (the compiler picks AVX-512, AVX2, SSE or NEON); only the 16-bit dot product is spelt out.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>
#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace {

// A vector is exactly one register: wider ones are taken apart into scalars by GCC, thirty times as slow.
#if defined(__AVX512F__) && defined(__AVX512BW__)
constexpr int LANES = 16, ROWS = 8;  // 16 accumulators of 32 registers
#elif defined(__AVX__)
constexpr int LANES = 8, ROWS = 2;  // 8 accumulators of 16 registers
#else
constexpr int LANES = 4, ROWS = 1;  // SSE, NEON: 8 accumulators
#endif
constexpr int PANEL = 32, PARTS = PANEL / LANES;
constexpr int GROUP = 64;  // inputs that share a scale, INT8
typedef float Vec __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t IntVec __attribute__((vector_size(LANES * sizeof(int32_t))));
typedef int16_t ShortVec __attribute__((vector_size(LANES * sizeof(int16_t))));
typedef uint16_t HalfVec __attribute__((vector_size(LANES * sizeof(uint16_t))));

enum Format : int32_t { FP32 = 0, BF16 = 1, INT8 = 2 };

inline Vec load(const float* p) { Vec v; std::memcpy(&v, p, sizeof v); return v; }
inline void store(float* p, Vec v) { std::memcpy(p, &v, sizeof v); }

inline Vec load(const uint16_t* p) {  // bf16
    HalfVec half;
    std::memcpy(&half, p, sizeof half);
    const IntVec wide = __builtin_convertvector(half, IntVec) << 16;
    Vec v;
    std::memcpy(&v, &wide, sizeof v);
    return v;
}

template <int M>
inline void put(Vec (&sum)[M][PARTS], int width, float* out, long out_stride) {
    for (int m = 0; m < M; ++m) {
        if (width == PANEL) {
            for (int p = 0; p < PARTS; ++p) store(out + m * out_stride + p * LANES, sum[m][p]);
        } else {
            std::memcpy(out + m * out_stride, sum[m], width * sizeof(float));
        }
    }
}

// With Add, the product is added to what `out` holds (only for whole panels).
template <int M, bool Add, typename Number>
inline void tile(const float* x, long x_stride, const Number* w, long w_stride, int depth, int width, float* out,
                 long out_stride) {
    Vec sum[M][PARTS] = {};
    if (Add)
        for (int m = 0; m < M; ++m)
            for (int p = 0; p < PARTS; ++p) sum[m][p] = load(out + m * out_stride + p * LANES);
    for (int k = 0; k < depth; ++k) {
        Vec part[PARTS];
#pragma GCC unroll 8
        for (int p = 0; p < PARTS; ++p) part[p] = load(w + k * w_stride + p * LANES);
#pragma GCC unroll 8
        for (int m = 0; m < M; ++m) {
            const float factor = x[m * x_stride + k];
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; ++p) sum[m][p] += factor * part[p];
        }
    }
    put<M>(sum, width, out, out_stride);
}

// LANES columns' pairs of int8 weights against one pair of 16-bit inputs, added to their sums.
#if defined(__AVX2__)
#if defined(__AVX512F__) && defined(__AVX512BW__)
typedef __m512i Pairs;
inline Pairs widen(const int8_t* w) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(w)));
}
inline IntVec dot(IntVec sum, Pairs w, int32_t pair) {
#if defined(__AVX512VNNI__)
    return (IntVec)_mm512_dpwssd_epi32((__m512i)sum, w, _mm512_set1_epi32(pair));
#else
    return sum + (IntVec)_mm512_madd_epi16(w, _mm512_set1_epi32(pair));
#endif
}
#else
typedef __m256i Pairs;
inline Pairs widen(const int8_t* w) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(w)));
}
inline IntVec dot(IntVec sum, Pairs w, int32_t pair) {
    return sum + (IntVec)_mm256_madd_epi16(w, _mm256_set1_epi32(pair));
}
#endif
#else
struct Pairs { IntVec even, odd; };
inline Pairs widen(const int8_t* w) {  // two neighbours in one 16-bit number, the first in its lower half
    ShortVec both;
    std::memcpy(&both, w, sizeof both);
    const IntVec wide = __builtin_convertvector(both, IntVec);
    return {(wide << 24) >> 24, wide >> 8};
}
inline IntVec dot(IntVec sum, Pairs w, int32_t pair) {
    return sum + w.even * static_cast<int16_t>(pair) + w.odd * (pair >> 16);
}
#endif

// x: 16-bit rows of groups * GROUP numbers, worth x_scale[m] each. A group's sum stays below 64 * 127 * 32767 < 2^31.
template <int M>
inline void tile(const int16_t* x, const float* x_scale, int groups, const int8_t* w, const float* scale, int width,
                 float* out, long out_stride) {
    Vec total[M][PARTS] = {};
    const long x_stride = static_cast<long>(groups) * GROUP;
    for (int g = 0; g < groups; ++g, x += GROUP, scale += PANEL) {
        IntVec sum[M][PARTS] = {};
        for (int k = 0; k < GROUP; k += 2, w += 2 * PANEL) {
            int32_t pair[M];
            for (int m = 0; m < M; ++m) std::memcpy(&pair[m], x + m * x_stride + k, sizeof pair[m]);
#pragma GCC unroll 8
            for (int p = 0; p < PARTS; ++p) {
                const Pairs part = widen(w + p * 2 * LANES);
#pragma GCC unroll 8
                for (int m = 0; m < M; ++m) sum[m][p] = dot(sum[m][p], part, pair[m]);
            }
        }
#pragma GCC unroll 8
        for (int p = 0; p < PARTS; ++p) {
            const Vec factor = load(scale + p * LANES);
#pragma GCC unroll 8
            for (int m = 0; m < M; ++m) total[m][p] += __builtin_convertvector(sum[m][p], Vec) * factor;
        }
    }
    for (int m = 0; m < M; ++m)
        for (int p = 0; p < PARTS; ++p) total[m][p] *= x_scale[m];
    put<M>(total, width, out, out_stride);
}

// Calls tall(m, rows as a constant) for all rows, as many together as the registers hold.
template <typename Tall>
inline void in_tiles(int rows, Tall tall) {
    int m = 0;
    for (; m + ROWS <= rows; m += ROWS) tall(m, std::integral_constant<int, ROWS>());
    if (ROWS > 4 && rows - m >= 4) { tall(m, std::integral_constant<int, 4>()); m += 4; }
    if (ROWS > 2 && rows - m >= 2) { tall(m, std::integral_constant<int, 2>()); m += 2; }
    if (ROWS > 1 && rows - m >= 1) tall(m, std::integral_constant<int, 1>());
}

// out (rows, columns) = x (rows, depth) @ w; panel c of w starts at c * panel_stride, its row k at k * w_stride there.
template <typename Number, bool Add = false>
void matmul(const float* x, long x_stride, int rows, const Number* w, long w_stride, long panel_stride, int depth,
            int columns, float* out, long out_stride) {
    for (int c = 0; c < columns; c += PANEL, w += panel_stride) {
        const int width = std::min(PANEL, columns - c);
        in_tiles(rows, [&](int m, auto tall) {
            tile<tall(), Add>(x + m * x_stride, x_stride, w, w_stride, depth, width, out + m * out_stride + c, out_stride);
        });
    }
}

// Rows in 16 bits, each with its own scale, filled up with zeros to whole groups.
struct Rounded {
    std::vector<int16_t> numbers;
    std::vector<float> scales;

    void take(const float* x, int rows, int depth, int groups) {
        const size_t padded = static_cast<size_t>(groups) * GROUP;
        if (numbers.size() < rows * padded) numbers.resize(rows * padded);
        if (scales.size() < static_cast<size_t>(rows)) scales.resize(rows);
        for (int row = 0; row < rows; ++row, x += depth) {
            int16_t* out = numbers.data() + row * padded;
            float top = 0;
            for (int i = 0; i < depth; ++i) top = std::max(top, std::fabs(x[i]));
            const float factor = top > 0 ? 32767.0f / top : 0;
            scales[row] = top / 32767.0f;
            for (int i = 0; i < depth; ++i) {  // adding 1.5 * 2^23 rounds to the nearest integer
                const float shifted = x[i] * factor + 12582912.0f;
                int32_t bits;
                std::memcpy(&bits, &shifted, sizeof bits);
                out[i] = static_cast<int16_t>(bits);
            }
            std::fill(out + depth, out + padded, 0);
        }
    }
};

}  // namespace

extern "C" struct Weights {
    const void* data;
    const float* scales;  // INT8 only
};

namespace {

// out (rows, columns) = x (rows, depth) @ matrix `number` of w (matrices of one shape stand back to back).
void linear(Format format, const float* x, int rows, const Weights& w, long number, int depth, int columns, float* out,
            Rounded& rounded) {
    const long panels = (columns + PANEL - 1) / PANEL, panel = static_cast<long>(depth) * PANEL;
    if (format == FP32) {
        const float* data = static_cast<const float*>(w.data) + number * panels * panel;
        matmul(x, depth, rows, data, PANEL, panel, depth, columns, out, columns);
    } else if (format == BF16) {
        const uint16_t* data = static_cast<const uint16_t*>(w.data) + number * panels * panel;
        matmul(x, depth, rows, data, PANEL, panel, depth, columns, out, columns);
    } else {
        const int groups = (depth + GROUP - 1) / GROUP;
        rounded.take(x, rows, depth, groups);
        const long size = static_cast<long>(groups) * GROUP * PANEL, scales = static_cast<long>(groups) * PANEL;
        const int8_t* data = static_cast<const int8_t*>(w.data) + number * panels * size;
        const float* scale = w.scales + number * panels * scales;
        for (int c = 0; c < columns; c += PANEL, data += size, scale += scales) {
            const int width = std::min(PANEL, columns - c);
            in_tiles(rows, [&](int m, auto tall) {
                tile<tall()>(rounded.numbers.data() + static_cast<long>(m) * groups * GROUP, rounded.scales.data() + m,
                             groups, data, scale, width, out + static_cast<long>(m) * columns + c, columns);
            });
        }
    }
}

}  // namespace
