// The parameters of a fully connected layer in the activations' element type.
#include "common.cuh"

// Elements from `at` on, as many as go into 16 bytes of the result.
template <typename T>
__device__ __forceinline__ void round_pack(const float* from, T* to, long long at, long long elements) {
    constexpr int V = WIDE<T>;
    if (at + V <= elements && (uintptr_t)from % 16 == 0) {
        float value[V];
#pragma unroll
        for (int i = 0; i < V; i += 4) {
            float part[4];
            load<float, 4>(from + at + i, part);
#pragma unroll
            for (int j = 0; j < 4; j++) value[i + j] = part[j];
        }
        store<T, V>(to + at, value);
    } else {
        for (int i = 0; i < V && at + i < elements; i++) to[at + i] = from_float<T>(from[at + i]);
    }
}

// A thread for each pack of the weight, then for each of the bias, which may have no elements.
template <typename T>
__device__ void round_parameters(const float* weight, T* to_weight, long long weights, const float* bias, T* to_bias,
                                 long long biases) {
    constexpr int V = WIDE<T>;
    long long pack = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    long long packs = (weights + V - 1) / V;
    if (pack < packs) {
        round_pack<T>(weight, to_weight, pack * V, weights);
    } else {
        round_pack<T>(bias, to_bias, (pack - packs) * V, biases);
    }
}

#define INSTANCE(NAME, T)                                                                                            \
    extern "C" __global__ void round_parameters_##NAME(const float* weight, T* to_weight, long long weights,        \
                                                       const float* bias, T* to_bias, long long biases) {           \
        round_parameters<T>(weight, to_weight, weights, bias, to_bias, biases);                                     \
    }

FOR_FLOATS(INSTANCE)
