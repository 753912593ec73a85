// Dropout masks as functions of a key and an element's index: the same ones as on the CPU.
#include "common.cuh"

// Number `index` of the SplitMix64 sequence that starts at `key`.
__device__ __forceinline__ unsigned long long hash(unsigned long long key, unsigned long long index) {
    unsigned long long z = key + (index + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// `threshold` is the smallest 53-bit number that keeps an element. A product, so that NaN and infinity show even where
// they are dropped.
template <typename T>
__device__ void dropout(const T* x, T* out, long long elements, unsigned long long key, unsigned long long threshold,
                        float scale) {
    constexpr int V = WIDE<T>;
    long long at = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * V;
    if (at + V <= elements) {
        float value[V];
        load<T, V>(x + at, value);
#pragma unroll
        for (int i = 0; i < V; i++) value[i] *= (hash(key, at + i) >> 11) >= threshold ? scale : 0.f;
        store<T, V>(out + at, value);
    } else {
        for (; at < elements; at++)
            out[at] = from_float<T>(to_float(x[at]) * ((hash(key, at) >> 11) >= threshold ? scale : 0.f));
    }
}

#define INSTANCE(NAME, T)                                                                                             \
    extern "C" __global__ void dropout_##NAME(const T* x, T* out, long long elements, unsigned long long key,        \
                                              unsigned long long threshold, float scale) {                           \
        dropout<T>(x, out, elements, key, threshold, scale);                                                          \
    }

FOR_FLOATS(INSTANCE)
