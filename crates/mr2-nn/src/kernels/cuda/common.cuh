// What all kernels share: element types, packs of elements that are loaded at once, sums over a block.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

__device__ __forceinline__ float to_float(float x) { return x; }
__device__ __forceinline__ float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float to_float(__half x) { return __half2float(x); }

template <typename T> __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ __nv_bfloat16 from_float<__nv_bfloat16>(float x) { return __float2bfloat16(x); }
template <> __device__ __forceinline__ __half from_float<__half>(float x) { return __float2half(x); }

// V neighbours, loaded and stored in one instruction of up to 16 bytes.
template <typename T, int V> struct alignas(sizeof(T) * V) Pack {
    T v[V];
};

template <typename T, int V> __device__ __forceinline__ void load(const T* from, float (&to)[V]) {
    Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(from);
#pragma unroll
    for (int i = 0; i < V; i++) to[i] = to_float(pack.v[i]);
}

template <typename T, int V> __device__ __forceinline__ void store(T* to, const float (&from)[V]) {
    Pack<T, V> pack;
#pragma unroll
    for (int i = 0; i < V; i++) pack.v[i] = from_float<T>(from[i]);
    *reinterpret_cast<Pack<T, V>*>(to) = pack;
}

// Elements that go into 16 bytes.
template <typename T> constexpr int WIDE = 16 / sizeof(T);

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
    for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

__device__ __forceinline__ double warp_sum(double x) {
#pragma unroll
    for (int d = 16; d > 0; d /= 2) x += __shfl_xor_sync(0xffffffffu, x, d);
    return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
    for (int d = 16; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    return x;
}

// One instance of a kernel template for each element type.
#define FOR_FLOATS(INSTANCE) INSTANCE(f32, float) INSTANCE(bf16, __nv_bfloat16) INSTANCE(f16, __half)
