// Rows of scores to probabilities, where they are. A row has room for `step` elements, a multiple of the pack, of which
// the first `columns` count; the others become 0. With `causal`, row r of each matrix of `columns` rows sees its first
// r + 1 elements only. Rows of up to 1024 elements stay in a warp's registers, softmax_any.cu has the others.
#include "rows.cuh"

__device__ __forceinline__ int visible(long long row, int columns, int causal) {
    return causal ? (int)(row % columns) + 1 : columns;
}

template <typename T, int P>
__device__ void forward(T* scores, long long rows, int columns, int step, int causal) {
    constexpr int V = WIDE<T>;
    long long row = blockIdx.x * (long long)WARPS + threadIdx.y;
    if (row >= rows) return;
    int seen = visible(row, columns, causal);
    float value[P][V];
    load_row<T, P, V>(scores + row * step, step, value);
    float max = -INFINITY;
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int i = 0; i < V; i++)
            if ((int)(p * 32 + threadIdx.x) * V + i < seen) max = fmaxf(max, value[p][i]);
    max = warp_max(max);
    float sum = 0;
#pragma unroll
    for (int p = 0; p < P; p++) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            bool inside = (int)(p * 32 + threadIdx.x) * V + i < seen;
            value[p][i] = inside ? expf(value[p][i] - max) : 0.f;
            sum += value[p][i];
        }
    }
    float factor = 1.f / warp_sum(sum);
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int i = 0; i < V; i++) value[p][i] *= factor;
    store_row<T, P, V>(scores + row * step, step, value);
}

// The probabilities' gradient to that of the scores, where it is: p * (g - sum(p g)).
template <typename T, int P>
__device__ void backward(const T* probabilities, T* gradient, long long rows, int columns, int step, int causal) {
    constexpr int V = WIDE<T>;
    long long row = blockIdx.x * (long long)WARPS + threadIdx.y;
    if (row >= rows) return;
    int seen = visible(row, columns, causal);
    float value[P][V], g[P][V];
    load_row<T, P, V>(probabilities + row * step, step, value);
    load_row<T, P, V>(gradient + row * step, step, g);
    float sum = 0;
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int i = 0; i < V; i++)
            if ((int)(p * 32 + threadIdx.x) * V + i < seen) sum += value[p][i] * g[p][i];
    sum = warp_sum(sum);
#pragma unroll
    for (int p = 0; p < P; p++) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            bool inside = (int)(p * 32 + threadIdx.x) * V + i < seen;
            g[p][i] = inside ? value[p][i] * (g[p][i] - sum) : 0.f;
        }
    }
    store_row<T, P, V>(gradient + row * step, step, g);
}

#define INSTANCE(NAME, T, P)                                                                                          \
    extern "C" __global__ void softmax_forward_##NAME(T* scores, long long rows, int columns, int step, int causal) { \
        forward<T, P>(scores, rows, columns, step, causal);                                                           \
    }                                                                                                                 \
    extern "C" __global__ void softmax_backward_##NAME(const T* probabilities, T* gradient, long long rows,           \
                                                       int columns, int step, int causal) {                          \
        backward<T, P>(probabilities, gradient, rows, columns, step, causal);                                         \
    }

FOR_ROWS(INSTANCE)
