// The same elements in another order: patches of images, images with their channels last.
#include "common.cuh"

// Of (outer, first, second, run), (outer, second, first, run). A thread for each unit of a run.
template <typename Unit>
__device__ void swap_runs(const Unit* x, Unit* out, long long units, int first, int second, int run) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= units) return;
    int within = (int)(at % run);
    long long rest = at / run;
    int a = (int)(rest % first);
    rest /= first;
    int b = (int)(rest % second);
    long long outer = rest / second;
    out[at] = x[((outer * first + a) * second + b) * run + within];
}

#define UNITS(BYTES, UNIT)                                                                                            \
    extern "C" __global__ void swap_runs_##BYTES(const UNIT* x, UNIT* out, long long units, int first, int second,   \
                                                 int run) {                                                           \
        swap_runs<UNIT>(x, out, units, first, second, run);                                                           \
    }

UNITS(2, uint16_t)
UNITS(4, uint32_t)
UNITS(8, uint2)
UNITS(16, uint4)

// Of (images, channels, pixels), (images, pixels, channels), rounded. A thread for each pixel: channels are few.
template <typename From, typename To>
__device__ void channels_last(const From* x, To* out, long long pixels_of_all, int pixels, int channels) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= pixels_of_all) return;
    const From* from = x + at / pixels * pixels * channels + at % pixels;
    for (int channel = 0; channel < channels; channel++) {
        out[at * channels + channel] = from_float<To>(to_float(from[(long long)channel * pixels]));
    }
}

#define INSTANCE(NAME, T)                                                                                             \
    extern "C" __global__ void channels_last_##NAME(const T* x, T* out, long long pixels_of_all, int pixels,         \
                                                    int channels) {                                                   \
        channels_last<T, T>(x, out, pixels_of_all, pixels, channels);                                                 \
    }                                                                                                                 \
    extern "C" __global__ void channels_last_rounded_##NAME(const float* x, T* out, long long pixels_of_all,         \
                                                            int pixels, int channels) {                               \
        channels_last<float, T>(x, out, pixels_of_all, pixels, channels);                                             \
    }

FOR_FLOATS(INSTANCE)
