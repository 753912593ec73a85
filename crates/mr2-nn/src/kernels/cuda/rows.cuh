// A row of up to 32 * P * V elements in the registers of a warp: lane l has the packs l, l + 32, .. of V elements each.
#pragma once
#include "common.cuh"

// Warps of a block of such a kernel; blockDim = (32, WARPS).
#define WARPS 4

template <typename T, int P, int V>
__device__ __forceinline__ void load_row(const T* row, int columns, float (&to)[P][V]) {
#pragma unroll
    for (int p = 0; p < P; p++) {
        int column = (p * 32 + threadIdx.x) * V;
        if (column < columns) {
            load<T, V>(row + column, to[p]);
        } else {
#pragma unroll
            for (int i = 0; i < V; i++) to[p][i] = 0;
        }
    }
}

template <typename T, int P, int V>
__device__ __forceinline__ void store_row(T* row, int columns, const float (&from)[P][V]) {
#pragma unroll
    for (int p = 0; p < P; p++) {
        int column = (p * 32 + threadIdx.x) * V;
        if (column < columns) store<T, V>(row + column, from[p]);
    }
}

// V elements of a parameter, which is aligned to 16 bytes.
template <int V> __device__ __forceinline__ void load_parameter(const float* from, float (&to)[V]) {
    static_assert(V % 4 == 0, "packs of 16 bytes");
#pragma unroll
    for (int i = 0; i < V; i += 4) {
        float four[4];
        load<float, 4>(from + i, four);
#pragma unroll
        for (int j = 0; j < 4; j++) to[i + j] = four[j];
    }
}

// Instances of INSTANCE(NAME, T, P) for rows of up to 256, 512, 768 and 1024 elements.
#define FOR_WIDTHS_16(INSTANCE, NAME, T) \
    INSTANCE(256_##NAME, T, 1) INSTANCE(512_##NAME, T, 2) INSTANCE(768_##NAME, T, 3) INSTANCE(1024_##NAME, T, 4)
#define FOR_WIDTHS_32(INSTANCE, NAME, T) \
    INSTANCE(256_##NAME, T, 2) INSTANCE(512_##NAME, T, 4) INSTANCE(768_##NAME, T, 6) INSTANCE(1024_##NAME, T, 8)
#define FOR_ROWS(INSTANCE)                 \
    FOR_WIDTHS_32(INSTANCE, f32, float)    \
    FOR_WIDTHS_16(INSTANCE, bf16, __nv_bfloat16) \
    FOR_WIDTHS_16(INSTANCE, f16, __half)
