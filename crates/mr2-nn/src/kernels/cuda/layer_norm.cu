// Layer normalisation of rows of up to 1024 elements, a multiple of the pack: a warp for each row, which stays in
// registers. Weight and bias are aligned to 16 bytes. layer_norm_any.cu has the other rows.
#include "rows.cuh"

// statistics gets mean and rate (one over the standard deviation) of each row.
template <typename T, int P>
__device__ void forward(const T* x, const float* weight, const float* bias, T* out, float* statistics, long long rows,
                        int columns, float eps) {
    constexpr int V = WIDE<T>;
    long long row = blockIdx.x * (long long)WARPS + threadIdx.y;
    if (row >= rows) return;
    float value[P][V];
    load_row<T, P, V>(x + row * columns, columns, value);
    // The mean is taken about the first element, so that a large one costs no digits.
    float origin = __shfl_sync(0xffffffffu, value[0][0], 0);
    float sum = 0;
#pragma unroll
    for (int p = 0; p < P; p++) {
        bool inside = (p * 32 + threadIdx.x) * V < columns;
#pragma unroll
        for (int i = 0; i < V; i++) sum += inside ? value[p][i] - origin : 0.f;
    }
    float mean = origin + warp_sum(sum) / columns;
    float square = 0;
#pragma unroll
    for (int p = 0; p < P; p++) {
        bool inside = (p * 32 + threadIdx.x) * V < columns;
#pragma unroll
        for (int i = 0; i < V; i++) {
            value[p][i] -= mean;
            square += inside ? value[p][i] * value[p][i] : 0.f;
        }
    }
    float rate = 1.f / sqrtf(warp_sum(square) / columns + eps);
    if (threadIdx.x == 0) {
        statistics[2 * row] = mean;
        statistics[2 * row + 1] = rate;
    }
#pragma unroll
    for (int p = 0; p < P; p++) {
        int column = (p * 32 + threadIdx.x) * V;
        if (column < columns) {
            float w[V], b[V];
            load_parameter<V>(weight + column, w);
            load_parameter<V>(bias + column, b);
#pragma unroll
            for (int i = 0; i < V; i++) value[p][i] = value[p][i] * rate * w[i] + b[i];
        }
    }
    store_row<T, P, V>(out + row * columns, columns, value);
}

// Sums over a block's warps of a lane's elements, to `out` (columns).
template <int P, int V>
__device__ __forceinline__ void write_sums(const float (&sum)[P][V], int columns, float* out) {
    __shared__ float shared[WARPS][32 * P * V];
#pragma unroll
    for (int p = 0; p < P; p++)
#pragma unroll
        for (int i = 0; i < V; i++) shared[threadIdx.y][(p * 32 + threadIdx.x) * V + i] = sum[p][i];
    __syncthreads();
    for (int column = threadIdx.y * 32 + threadIdx.x; column < columns; column += 32 * WARPS) {
        float total = 0;
#pragma unroll
        for (int warp = 0; warp < WARPS; warp++) total += shared[warp][column];
        out[column] = total;
    }
    __syncthreads();
}

// With g the gradient times the weight and h the normalised input, the input's gradient is
// rate * (g - mean(g) - h * mean(g h)); what is there already, in `present`, is added. parts gets, for each block,
// the sums over its rows of gradient * h and of the gradient: (blocks, 2, columns).
template <typename T, int P>
__device__ void backward(const T* x, const T* gradient, const T* present, const float* weight, const float* statistics,
                         T* out, float* parts, long long rows, int columns) {
    constexpr int V = WIDE<T>;
    float by_weight[P][V] = {}, by_bias[P][V] = {};
    for (long long row = blockIdx.x * (long long)WARPS + threadIdx.y; row < rows;
         row += gridDim.x * (long long)WARPS) {
        float h[P][V], g[P][V];
        load_row<T, P, V>(x + row * columns, columns, h);
        load_row<T, P, V>(gradient + row * columns, columns, g);
        float mean = statistics[2 * row], rate = statistics[2 * row + 1];
        float sum = 0, product = 0;
#pragma unroll
        for (int p = 0; p < P; p++) {
            int column = (p * 32 + threadIdx.x) * V;
            if (column < columns) {
                float w[V];
                load_parameter<V>(weight + column, w);
#pragma unroll
                for (int i = 0; i < V; i++) {
                    h[p][i] = (h[p][i] - mean) * rate;
                    by_weight[p][i] += g[p][i] * h[p][i];
                    by_bias[p][i] += g[p][i];
                    g[p][i] *= w[i];
                    sum += g[p][i];
                    product += g[p][i] * h[p][i];
                }
            }
        }
        if (!out) continue;
        float mean_gradient = warp_sum(sum) / columns, mean_product = warp_sum(product) / columns;
#pragma unroll
        for (int p = 0; p < P; p++) {
            int column = (p * 32 + threadIdx.x) * V;
            if (column < columns) {
                float other[V];
                if (present) load<T, V>(present + row * columns + column, other);
#pragma unroll
                for (int i = 0; i < V; i++) {
                    g[p][i] = rate * (g[p][i] - mean_gradient - h[p][i] * mean_product);
                    if (present) g[p][i] += other[i];
                }
            }
        }
        store_row<T, P, V>(out + row * columns, columns, g);
    }
    float* own = parts + (size_t)blockIdx.x * 2 * columns;
    write_sums<P, V>(by_weight, columns, own);
    write_sums<P, V>(by_bias, columns, own + columns);
}

#define INSTANCE(NAME, T, P)                                                                                          \
    extern "C" __global__ void layer_norm_forward_##NAME(const T* x, const float* weight, const float* bias, T* out, \
                                                         float* statistics, long long rows, int columns, float eps) { \
        forward<T, P>(x, weight, bias, out, statistics, rows, columns, eps);                                          \
    }                                                                                                                 \
    extern "C" __global__ void layer_norm_backward_##NAME(const T* x, const T* gradient, const T* present,            \
                                                          const float* weight, const float* statistics, T* out,      \
                                                          float* parts, long long rows, int columns) {                \
        backward<T, P>(x, gradient, present, weight, statistics, out, parts, rows, columns);                          \
    }

FOR_ROWS(INSTANCE)
