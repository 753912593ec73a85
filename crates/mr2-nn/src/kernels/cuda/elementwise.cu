// Sum, rectifier and the option-A shortcut; means over tokens.
#include "common.cuh"

template <typename T> __device__ void add(const T* a, const T* b, T* out, long long elements) {
    constexpr int V = WIDE<T>;
    long long at = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * V;
    if (at + V <= elements) {
        float x[V], y[V];
        load<T, V>(a + at, x);
        load<T, V>(b + at, y);
#pragma unroll
        for (int i = 0; i < V; i++) x[i] += y[i];
        store<T, V>(out + at, x);
    } else {
        for (; at < elements; at++) out[at] = from_float<T>(to_float(a[at]) + to_float(b[at]));
    }
}

// max(x, 0); with a gradient, that gradient where the output was positive. NaN stays NaN.
template <typename T> __device__ void relu(const T* x, const T* gradient, T* out, long long elements) {
    constexpr int V = WIDE<T>;
    long long at = (blockIdx.x * (long long)blockDim.x + threadIdx.x) * V;
    for (int i = 0; i < V && at + i < elements; i++) {
        float value = to_float(x[at + i]);
        if (gradient) {
            out[at + i] = value <= 0 ? from_float<T>(0) : gradient[at + i];
        } else {
            out[at + i] = value <= 0 ? from_float<T>(0) : x[at + i];
        }
    }
}

// Every stride-th pixel, with channels of zeros before and after. A thread for each element of the output.
template <typename T>
__device__ void subsample(const T* x, T* out, long long elements, int in_channels, int in_height, int in_width,
                          int out_channels, int out_height, int out_width, int stride, int front) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= elements) return;
    int channel = (int)(at % out_channels) - front;
    long long pixel = at / out_channels;
    int column = pixel % out_width * stride;
    int row = pixel / out_width % out_height * stride;
    long long image = pixel / ((long long)out_width * out_height);
    bool inside = channel >= 0 && channel < in_channels;
    out[at] = inside ? x[((image * in_height + row) * in_width + column) * in_channels + channel] : from_float<T>(0);
}

// The gradient of `subsample`. A thread for each element of the input.
template <typename T>
__device__ void subsample_gradient(const T* gradient, T* to_x, long long elements, int in_channels, int in_height,
                                   int in_width, int out_channels, int out_height, int out_width, int stride,
                                   int front) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= elements) return;
    int channel = (int)(at % in_channels) + front;
    long long pixel = at / in_channels;
    int column = pixel % in_width;
    int row = pixel / in_width % in_height;
    long long image = pixel / ((long long)in_width * in_height);
    bool kept = column % stride == 0 && row % stride == 0;
    size_t from = ((image * out_height + row / stride) * out_width + column / stride) * out_channels + channel;
    to_x[at] = kept ? gradient[from] : from_float<T>(0);
}

// The mean of `count` tokens from `first` on, of (batch, tokens, channels). gridDim.x = batch.
template <typename T>
__device__ void mean_tokens(const T* x, float* out, int tokens, int channels, int first, int count) {
    int channel = blockIdx.y * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    const T* from = x + ((size_t)blockIdx.x * tokens + first) * channels + channel;
    float sum = 0;
    for (int token = 0; token < count; token++) sum += to_float(from[(size_t)token * channels]);
    out[(size_t)blockIdx.x * channels + channel] = sum / count;
}

template <typename T>
__device__ void spread_tokens(const float* gradient, T* to_x, long long elements, int tokens, int channels, int first,
                              int count) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= elements) return;
    int channel = at % channels;
    int token = at / channels % tokens;
    long long image = at / ((long long)channels * tokens);
    bool counted = token >= first && token < first + count;
    to_x[at] = from_float<T>(counted ? gradient[image * channels + channel] / count : 0.f);
}

#define INSTANCE(NAME, T)                                                                                            \
    extern "C" __global__ void add_##NAME(const T* a, const T* b, T* out, long long elements) {                     \
        add<T>(a, b, out, elements);                                                                                \
    }                                                                                                               \
    extern "C" __global__ void relu_##NAME(const T* x, const T* gradient, T* out, long long elements) {             \
        relu<T>(x, gradient, out, elements);                                                                        \
    }                                                                                                               \
    extern "C" __global__ void subsample_##NAME(const T* x, T* out, long long elements, int in_channels,            \
                                                int in_height, int in_width, int out_channels, int out_height,      \
                                                int out_width, int stride, int front) {                             \
        subsample<T>(x, out, elements, in_channels, in_height, in_width, out_channels, out_height, out_width,       \
                     stride, front);                                                                                \
    }                                                                                                               \
    extern "C" __global__ void subsample_gradient_##NAME(                                                           \
        const T* gradient, T* to_x, long long elements, int in_channels, int in_height, int in_width,               \
        int out_channels, int out_height, int out_width, int stride, int front) {                                   \
        subsample_gradient<T>(gradient, to_x, elements, in_channels, in_height, in_width, out_channels, out_height, \
                              out_width, stride, front);                                                            \
    }                                                                                                               \
    extern "C" __global__ void mean_tokens_##NAME(const T* x, float* out, int tokens, int channels, int first,      \
                                                  int count) {                                                      \
        mean_tokens<T>(x, out, tokens, channels, first, count);                                                     \
    }                                                                                                               \
    extern "C" __global__ void spread_tokens_##NAME(const float* gradient, T* to_x, long long elements, int tokens, \
                                                    int channels, int first, int count) {                           \
        spread_tokens<T>(gradient, to_x, elements, tokens, channels, first, count);                                 \
    }

FOR_FLOATS(INSTANCE)
