// A factor for each column of rows of features, and the sum that follows it.
#include "columns.cuh"

// out = skip + factors * x.
template <typename T, int V>
__device__ void forward(const T* x, const float* factors, const T* skip, T* out, long long rows, int columns) {
    int column = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (column >= columns) return;
    float factor[V];
#pragma unroll
    for (int i = 0; i < V; i++) factor[i] = factors[column + i];
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        size_t at = (size_t)row * columns + column;
        float value[V], other[V];
        load<T, V>(x + at, value);
        load<T, V>(skip + at, other);
#pragma unroll
        for (int i = 0; i < V; i++) value[i] = other[i] + factor[i] * value[i];
        store<T, V>(out + at, value);
    }
}

// out = factors * gradient, and the sums of the columns of gradient * x over parts of the rows where they are wanted.
template <typename T, int V>
__device__ void backward(const T* gradient, const T* x, const float* factors, T* out, float* parts, long long rows,
                         int columns) {
    int column = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    float sum[V] = {};
    if (column < columns) {
        float factor[V];
#pragma unroll
        for (int i = 0; i < V; i++) factor[i] = factors[column + i];
        for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            size_t at = (size_t)row * columns + column;
            float value[V], g[V];
            load<T, V>(x + at, value);
            load<T, V>(gradient + at, g);
#pragma unroll
            for (int i = 0; i < V; i++) {
                sum[i] += g[i] * value[i];
                g[i] *= factor[i];
            }
            store<T, V>(out + at, g);
        }
    }
    if (parts) write_column_part<V>(sum, column, columns, parts);
}

#define OF_WIDTH(NAME, T, V)                                                                                     \
    extern "C" __global__ void layer_scale_forward_##NAME(const T* x, const float* factors, const T* skip, T* out, \
                                                          long long rows, int columns) {                         \
        forward<T, V>(x, factors, skip, out, rows, columns);                                                     \
    }                                                                                                            \
    extern "C" __global__ void layer_scale_backward_##NAME(const T* gradient, const T* x, const float* factors,  \
                                                           T* out, float* parts, long long rows, int columns) {  \
        backward<T, V>(gradient, x, factors, out, parts, rows, columns);                                         \
    }

#define INSTANCES(NAME, T)    \
    OF_WIDTH(one_##NAME, T, 1) \
    OF_WIDTH(wide_##NAME, T, WIDE<T>)

FOR_FLOATS(INSTANCES)
