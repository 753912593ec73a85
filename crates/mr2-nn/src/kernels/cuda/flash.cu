// Attention whose matrix of probabilities is never in memory, on tensor cores: heads of 64 features in bf16 or f16
// (Dao 2023, arXiv 2307.08691). The backward computes the probabilities again from each row's log-sum-exp.
//
// Four warps share a block; a warp has 16 rows. Fragments are those of mma.m16n8k16: a thread has rows g and g + 8,
// columns 2t and 2t + 1 of every 8, with g = lane / 4 and t = lane % 4.
#include "common.cuh"

constexpr int FEATURES = 64;
constexpr int TILE = 64;
constexpr int WARPS = 4;
// Rows in shared memory are this far apart, so that eight of them lie in different banks.
constexpr int STRIDE = FEATURES + 8;

template <typename T> __device__ __forceinline__ uint32_t two(float a, float b);
template <> __device__ __forceinline__ uint32_t two<__nv_bfloat16>(float a, float b) {
    __nv_bfloat162 both = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<uint32_t*>(&both);
}
template <> __device__ __forceinline__ uint32_t two<__half>(float a, float b) {
    __half2 both = __floats2half2_rn(a, b);
    return *reinterpret_cast<uint32_t*>(&both);
}

#define MMA(TYPE)                                                                                                    \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE ".f32 "                                     \
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                                  \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                                                   \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1))

// c += a b
template <typename T>
__device__ __forceinline__ void mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
__device__ __forceinline__ void mma<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MMA("bf16");
}
template <> __device__ __forceinline__ void mma<__half>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MMA("f16");
}

template <typename T> __device__ __forceinline__ uint32_t pair_at(const T* at) {
    return *reinterpret_cast<const uint32_t*>(at);
}

// Where the rows of one head lie: row r begins at base + r * stride.
template <typename T> struct Rows {
    const T* base;
    size_t stride;
    int count;
};

// 64 rows from `first` on into shared memory; zeros behind the last.
template <typename T> __device__ __forceinline__ void fetch(const Rows<T>& rows, int first, T* shared) {
    for (int i = threadIdx.x; i < TILE * (FEATURES / 8); i += WARPS * 32) {
        int row = i / (FEATURES / 8), column = i % (FEATURES / 8) * 8;
        uint4 values = make_uint4(0, 0, 0, 0);
        if (first + row < rows.count)
            values = *reinterpret_cast<const uint4*>(rows.base + (first + row) * rows.stride + column);
        *reinterpret_cast<uint4*>(shared + row * STRIDE + column) = values;
    }
}

// This thread's part of 16 rows from `first` on, as the left factor of products over the features.
template <typename T> __device__ __forceinline__ void left(const Rows<T>& rows, int first, uint32_t (&to)[4][4]) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int k = 0; k < 4; k++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
            int row = first + g + (i % 2) * 8, column = k * 16 + 2 * t + (i / 2) * 8;
            to[k][i] = row < rows.count ? pair_at(rows.base + row * rows.stride + column) : 0;
        }
    }
}

// c = a b', a (16, features) and b (64, features), which is in shared memory.
template <typename T>
__device__ __forceinline__ void over_features(float (&c)[8][4], const uint32_t (&a)[4][4], const T* b) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < 8; n++) {
#pragma unroll
        for (int i = 0; i < 4; i++) c[n][i] = 0;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const T* at = b + (n * 8 + g) * STRIDE + k * 16 + 2 * t;
            mma<T>(c[n], a[k], pair_at(at), pair_at(at + 8));
        }
    }
}

// c += a b, a (16, 64) as a product left it, b (64, features) in shared memory.
template <typename T>
__device__ __forceinline__ void over_rows(float (&c)[8][4], const float (&a)[8][4], const T* b) {
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t packed[4] = {two<T>(a[2 * k][0], a[2 * k][1]), two<T>(a[2 * k][2], a[2 * k][3]),
                              two<T>(a[2 * k + 1][0], a[2 * k + 1][1]), two<T>(a[2 * k + 1][2], a[2 * k + 1][3])};
#pragma unroll
        for (int n = 0; n < 8; n++) {
            uint32_t at = (uint32_t)__cvta_generic_to_shared(b + (k * 16 + lane % 16) * STRIDE + n * 8);
            uint32_t b0, b1;
            asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                         : "=r"(b0), "=r"(b1)
                         : "r"(at));
            mma<T>(c[n], packed, b0, b1);
        }
    }
}

// 16 rows from `first` on of a result times `scale[0]` (row g) and `scale[1]` (row g + 8).
template <typename T>
__device__ __forceinline__ void put(T* base, size_t stride, int first, int count, const float (&c)[8][4],
                                    const float (&scale)[2]) {
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = first + g + half * 8;
        if (row >= count) continue;
#pragma unroll
        for (int n = 0; n < 8; n++) {
            uint32_t both = two<T>(c[n][2 * half] * scale[half], c[n][2 * half + 1] * scale[half]);
            *reinterpret_cast<uint32_t*>(base + row * stride + n * 8 + 2 * t) = both;
        }
    }
}

// The rows of queries (0), keys (1) or values (2) of a head; of (batch, tokens, 3, heads, features).
template <typename T> __device__ __forceinline__ Rows<T> part_of(const T* qkv, int part, int tokens, int heads) {
    int image = blockIdx.y / heads, head = blockIdx.y % heads;
    size_t stride = (size_t)3 * heads * FEATURES;
    return {qkv + image * tokens * stride + (size_t)part * heads * FEATURES + head * FEATURES, stride, tokens};
}

// The rows of a head of (batch, tokens, heads, features).
template <typename T> __device__ __forceinline__ Rows<T> of_head(const T* x, int tokens, int heads) {
    int image = blockIdx.y / heads, head = blockIdx.y % heads;
    size_t stride = (size_t)heads * FEATURES;
    return {x + image * tokens * stride + head * FEATURES, stride, tokens};
}

__device__ __forceinline__ float of_four(float x, bool maximum) {
#pragma unroll
    for (int d = 1; d < 4; d *= 2) {
        float other = __shfl_xor_sync(0xffffffffu, x, d);
        x = maximum ? fmaxf(x, other) : x + other;
    }
    return x;
}

// gridDim = (tiles of queries, batch * heads). `sums` gets each row's log2 of the sum of 2^(scaled score).
template <typename T>
__device__ void forward(const T* qkv, T* out, float* sums, int tokens, int heads, float scale, int causal) {
    __shared__ alignas(16) T keys[TILE * STRIDE], values[TILE * STRIDE];
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    int first = blockIdx.x * TILE + threadIdx.x / 32 * 16;
    uint32_t q[4][4];
    left<T>(part_of(qkv, 0, tokens, heads), first, q);
    float o[8][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {};
    int end = causal ? min(tokens, (int)(blockIdx.x + 1) * TILE) : tokens;
    for (int key0 = 0; key0 < end; key0 += TILE) {
        __syncthreads();
        fetch<T>(part_of(qkv, 1, tokens, heads), key0, keys);
        fetch<T>(part_of(qkv, 2, tokens, heads), key0, values);
        __syncthreads();
        float s[8][4];
        over_features<T>(s, q, keys);
        float highest[2] = {top[0], top[1]};
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int key = key0 + n * 8 + 2 * t + i % 2, query = first + g + i / 2 * 8;
                bool hidden = key >= tokens || (causal && key > query);
                s[n][i] = hidden ? -INFINITY : s[n][i] * scale;
                highest[i / 2] = fmaxf(highest[i / 2], s[n][i]);
            }
        }
#pragma unroll
        for (int half = 0; half < 2; half++) {
            highest[half] = of_four(highest[half], true);
            // A row without any key so far stays at zeros.
            float keep = top[half] == -INFINITY ? 0.f : exp2f(top[half] - highest[half]);
            top[half] = highest[half];
            total[half] *= keep;
#pragma unroll
            for (int n = 0; n < 8; n++) {
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    o[n][2 * half + i] *= keep;
                    float p = top[half] == -INFINITY ? 0.f : exp2f(s[n][2 * half + i] - top[half]);
                    s[n][2 * half + i] = p;
                    total[half] += p;
                }
            }
        }
        over_rows<T>(o, s, values);
    }
    float inverse[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        total[half] = of_four(total[half], false);
        inverse[half] = 1.f / total[half];
        int row = first + g + half * 8;
        if (t == 0 && row < tokens) sums[(size_t)blockIdx.y * tokens + row] = top[half] + log2f(total[half]);
    }
    Rows<T> place = of_head<T>(out, tokens, heads);
    put<T>(const_cast<T*>(place.base), place.stride, first, tokens, o, inverse);
}

// Of each row and head the product of the output with its gradient: a warp for each. Two features a lane.
template <typename T>
__device__ void products(const T* out, const T* gradient, float* to, int tokens, int heads, long long rows) {
    long long row = blockIdx.x * (long long)(blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    int lane = threadIdx.x % 32;
    size_t at = row * FEATURES + 2 * lane;
    float sum = to_float(out[at]) * to_float(gradient[at]) + to_float(out[at + 1]) * to_float(gradient[at + 1]);
    sum = warp_sum(sum);
    // From (batch, tokens, heads) to (batch, heads, tokens).
    int head = row % heads;
    long long token = row / heads;
    if (lane == 0) to[(token / tokens * heads + head) * tokens + token % tokens] = sum;
}

// gridDim = (tiles of queries, batch * heads); the gradient of the queries.
template <typename T>
__device__ void to_queries(const T* qkv, const T* gradient, const float* sums, const float* products, T* to_qkv,
                           int tokens, int heads, float scale, float slope, int causal) {
    __shared__ alignas(16) T keys[TILE * STRIDE], values[TILE * STRIDE];
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    int first = blockIdx.x * TILE + threadIdx.x / 32 * 16;
    uint32_t q[4][4], d[4][4];
    left<T>(part_of(qkv, 0, tokens, heads), first, q);
    left<T>(of_head(gradient, tokens, heads), first, d);
    float sum[2], product[2];
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int row = first + g + half * 8;
        sum[half] = row < tokens ? sums[(size_t)blockIdx.y * tokens + row] : 0;
        product[half] = row < tokens ? products[(size_t)blockIdx.y * tokens + row] : 0;
    }
    float result[8][4] = {};
    int end = causal ? min(tokens, (int)(blockIdx.x + 1) * TILE) : tokens;
    for (int key0 = 0; key0 < end; key0 += TILE) {
        __syncthreads();
        fetch<T>(part_of(qkv, 1, tokens, heads), key0, keys);
        fetch<T>(part_of(qkv, 2, tokens, heads), key0, values);
        __syncthreads();
        float s[8][4], p[8][4];
        over_features<T>(s, q, keys);
        over_features<T>(p, d, values);
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int key = key0 + n * 8 + 2 * t + i % 2, query = first + g + i / 2 * 8;
                bool hidden = key >= tokens || (causal && key > query);
                float probability = hidden ? 0.f : exp2f(s[n][i] * scale - sum[i / 2]);
                s[n][i] = probability * (p[n][i] - product[i / 2]);
            }
        }
        over_rows<T>(result, s, keys);
    }
    Rows<T> place = part_of<T>(to_qkv, 0, tokens, heads);
    float by[2] = {slope, slope};
    put<T>(const_cast<T*>(place.base), place.stride, first, tokens, result, by);
}

// gridDim = (tiles of keys, batch * heads); the gradients of keys and values.
template <typename T>
__device__ void to_keys(const T* qkv, const T* gradient, const float* sums, const float* products, T* to_qkv,
                        int tokens, int heads, float scale, float slope, int causal) {
    __shared__ alignas(16) T queries[TILE * STRIDE], gradients[TILE * STRIDE];
    __shared__ float row_sums[TILE], row_products[TILE];
    int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4;
    int first = blockIdx.x * TILE + threadIdx.x / 32 * 16;
    uint32_t k[4][4], v[4][4];
    left<T>(part_of(qkv, 1, tokens, heads), first, k);
    left<T>(part_of(qkv, 2, tokens, heads), first, v);
    float key_result[8][4] = {}, value_result[8][4] = {};
    int begin = causal ? blockIdx.x * TILE : 0;
    for (int query0 = begin; query0 < tokens; query0 += TILE) {
        __syncthreads();
        fetch<T>(part_of(qkv, 0, tokens, heads), query0, queries);
        fetch<T>(of_head(gradient, tokens, heads), query0, gradients);
        if (threadIdx.x < TILE) {
            bool inside = query0 + threadIdx.x < tokens;
            size_t at = (size_t)blockIdx.y * tokens + query0 + threadIdx.x;
            row_sums[threadIdx.x] = inside ? sums[at] : 0;
            row_products[threadIdx.x] = inside ? products[at] : 0;
        }
        __syncthreads();
        float s[8][4], p[8][4];
        over_features<T>(s, k, queries);
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int column = n * 8 + 2 * t + i % 2, query = query0 + column, key = first + g + i / 2 * 8;
                bool hidden = query >= tokens || key >= tokens || (causal && key > query);
                s[n][i] = hidden ? 0.f : exp2f(s[n][i] * scale - row_sums[column]);
            }
        }
        over_rows<T>(value_result, s, gradients);
        over_features<T>(p, v, gradients);
#pragma unroll
        for (int n = 0; n < 8; n++) {
#pragma unroll
            for (int i = 0; i < 4; i++) s[n][i] *= p[n][i] - row_products[n * 8 + 2 * t + i % 2];
        }
        over_rows<T>(key_result, s, queries);
    }
    Rows<T> keys = part_of<T>(to_qkv, 1, tokens, heads), values = part_of<T>(to_qkv, 2, tokens, heads);
    float by[2] = {slope, slope}, one[2] = {1, 1};
    put<T>(const_cast<T*>(keys.base), keys.stride, first, tokens, key_result, by);
    put<T>(const_cast<T*>(values.base), values.stride, first, tokens, value_result, one);
}

#define INSTANCE(NAME, T)                                                                                            \
    extern "C" __global__ void __launch_bounds__(WARPS * 32)                                                        \
        flash_forward_##NAME(const T* qkv, T* out, float* sums, int tokens, int heads, float scale, int causal) {   \
        forward<T>(qkv, out, sums, tokens, heads, scale, causal);                                                   \
    }                                                                                                               \
    extern "C" __global__ void flash_products_##NAME(const T* out, const T* gradient, float* to, int tokens,        \
                                                     int heads, long long rows) {                                   \
        products<T>(out, gradient, to, tokens, heads, rows);                                                        \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(WARPS * 32)                                                        \
        flash_to_queries_##NAME(const T* qkv, const T* gradient, const float* sums, const float* products,          \
                                T* to_qkv, int tokens, int heads, float scale, float slope, int causal) {           \
        to_queries<T>(qkv, gradient, sums, products, to_qkv, tokens, heads, scale, slope, causal);                  \
    }                                                                                                               \
    extern "C" __global__ void __launch_bounds__(WARPS * 32)                                                        \
        flash_to_keys_##NAME(const T* qkv, const T* gradient, const float* sums, const float* products, T* to_qkv,  \
                             int tokens, int heads, float scale, float slope, int causal) {                         \
        to_keys<T>(qkv, gradient, sums, products, to_qkv, tokens, heads, scale, slope, causal);                     \
    }

INSTANCE(bf16, __nv_bfloat16)
INSTANCE(f16, __half)
