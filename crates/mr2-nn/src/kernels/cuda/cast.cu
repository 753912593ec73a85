// Weights of convolutions between (out, in, taps), the parameters' order, and (out, taps, in), that of the kernels.
#include "common.cuh"

template <typename From, typename To>
__device__ void swap_inner(const From* from, To* to, long long elements, int first, int second) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= elements) return;
    // `at` counts in the order of the result: (out, second, first).
    int inner = at % first;
    long long rest = at / first;
    int outer = rest % second;
    long long out = rest / second;
    to[at] = from_float<To>(to_float(from[(out * first + inner) * second + outer]));
}

// Of (out, first, second) in f32, (out, second, first) in another type; and back.
#define INSTANCE(NAME, T)                                                                                            \
    extern "C" __global__ void weight_in_##NAME(const float* from, T* to, long long elements, int first,            \
                                                int second) {                                                       \
        swap_inner<float, T>(from, to, elements, first, second);                                                    \
    }                                                                                                               \
    extern "C" __global__ void weight_out_##NAME(const T* from, float* to, long long elements, int first,           \
                                                 int second) {                                                      \
        swap_inner<T, float>(from, to, elements, first, second);                                                    \
    }

FOR_FLOATS(INSTANCE)
