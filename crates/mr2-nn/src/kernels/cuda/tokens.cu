// A class token before the patches, if there is one, and positions added.
#include "common.cuh"

// A thread for each element of the output, (batch, tokens, features); parameters are f32.
template <typename T>
__device__ void embed(const T* patches, const float* cls, const float* positions, T* out, long long elements,
                      int tokens, int features) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= elements) return;
    long long length = (long long)tokens * features;
    long long image = at / length;
    long long within = at % length;
    long long first = cls ? features : 0;
    float value = within < first ? cls[within] : to_float(patches[image * (length - first) + within - first]);
    out[at] = from_float<T>(value + positions[within]);
}

#define INSTANCE(NAME, T)                                                                                             \
    extern "C" __global__ void embed_##NAME(const T* patches, const float* cls, const float* positions, T* out,      \
                                            long long elements, int tokens, int features) {                          \
        embed<T>(patches, cls, positions, out, elements, tokens, features);                                           \
    }

FOR_FLOATS(INSTANCE)
