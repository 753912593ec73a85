// The sum of each column of (rows, columns), in two stages.
#include "columns.cuh"

// First stage: the sums of parts of the rows.
template <typename T, int V> __device__ void column_parts(const T* x, float* parts, long long rows, int columns) {
    int column = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    float sum[V] = {};
    if (column < columns) {
        for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            float value[V];
            load<T, V>(x + row * columns + column, value);
#pragma unroll
            for (int i = 0; i < V; i++) sum[i] += value[i];
        }
    }
    write_column_part<V>(sum, column, columns, parts);
}

// Second stage, of (parts, columns). The first `split` sums go to `first`, the others to `second`.
// blockDim = (32, 32); a block for 32 columns.
extern "C" __global__ void column_finish_f32(const float* parts, float* first, float* second, int count, int columns,
                                             int split) {
    __shared__ float shared[32][33];
    int column = blockIdx.x * 32 + threadIdx.x;
    float sum = 0;
    if (column < columns)
        for (int part = threadIdx.y; part < count; part += 32) sum += parts[(size_t)part * columns + column];
    shared[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < columns) {
        float total = 0;
#pragma unroll
        for (int i = 0; i < 32; i++) total += shared[i][threadIdx.x];
        if (column < split)
            first[column] = total;
        else
            second[column - split] = total;
    }
}

#define INSTANCE(NAME, T)                                                                                              \
    extern "C" __global__ void column_parts_one_##NAME(const T* x, float* parts, long long rows, int columns) {       \
        column_parts<T, 1>(x, parts, rows, columns);                                                                  \
    }                                                                                                                  \
    extern "C" __global__ void column_parts_wide_##NAME(const T* x, float* parts, long long rows, int columns) {      \
        column_parts<T, WIDE<T>>(x, parts, rows, columns);                                                            \
    }

FOR_FLOATS(INSTANCE)
