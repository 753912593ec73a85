// Sums over the rows of (rows, columns). A thread keeps its V columns and goes over rows;
// blockDim = (packs of columns, rows), gridDim = (parts of the columns, parts of the rows).
#pragma once
#include "common.cuh"

// Threads of a block of such a kernel.
#define COLUMN_THREADS 256

// The sums over a block's rows of V values per thread, written to parts (part of the rows, columns).
template <int V>
__device__ __forceinline__ void write_column_part(const float (&sum)[V], int column, int columns, float* parts) {
    __shared__ float shared[COLUMN_THREADS * V];
    int threads = blockDim.x * blockDim.y;
    int me = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < V; i++) shared[i * threads + me] = sum[i];
    __syncthreads();
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half) {
            int other = me + half * blockDim.x;
#pragma unroll
            for (int i = 0; i < V; i++) shared[i * threads + me] += shared[i * threads + other];
        }
        __syncthreads();
    }
    if (threadIdx.y == 0 && column < columns) {
#pragma unroll
        for (int i = 0; i < V; i++) parts[(size_t)blockIdx.y * columns + column + i] = shared[i * threads + me];
    }
}
