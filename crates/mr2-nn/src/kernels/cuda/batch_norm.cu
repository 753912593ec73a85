// Batch normalisation of (rows, channels), channels last. A thread keeps its V channels and goes over rows;
// blockDim = (channel packs, rows), gridDim = (parts of the channels, parts of the rows).
#include "common.cuh"

// Where rectifier 2 ends: rectifiers as kernels/cuda/batch_norm.rs numbers them.
constexpr float CEILING = 6.f;

// Sums over a block's rows of two values per channel, written to part (channel, part of the rows).
template <int V>
__device__ __forceinline__ void block_sums(float (&a)[V], float (&b)[V], int channel, int channels, float* out_a,
                                           float* out_b) {
    __shared__ float shared[2 * 256 * V];
    int threads = blockDim.x * blockDim.y;
    int me = threadIdx.y * blockDim.x + threadIdx.x;
#pragma unroll
    for (int i = 0; i < V; i++) {
        shared[i * threads + me] = a[i];
        shared[(V + i) * threads + me] = b[i];
    }
    __syncthreads();
    for (int half = blockDim.y / 2; half > 0; half /= 2) {
        if (threadIdx.y < half) {
            int other = me + half * blockDim.x;
#pragma unroll
            for (int i = 0; i < 2 * V; i++) shared[i * threads + me] += shared[i * threads + other];
        }
        __syncthreads();
    }
    if (threadIdx.y == 0 && channel < channels) {
#pragma unroll
        for (int i = 0; i < V; i++) {
            out_a[(size_t)(channel + i) * gridDim.y + blockIdx.y] = shared[i * threads + me];
            out_b[(size_t)(channel + i) * gridDim.y + blockIdx.y] = shared[(V + i) * threads + me];
        }
    }
}

// Sums of (x - origin) and of its square, the origin being the first row: a large mean costs no digits.
template <typename T, int V>
__device__ void moments(const T* x, float* sums, float* squares, long long rows, int channels) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    float sum[V] = {}, square[V] = {};
    if (channel < channels) {
        float origin[V];
        load<T, V>(x + channel, origin);
        for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            float value[V];
            load<T, V>(x + row * channels + channel, value);
#pragma unroll
            for (int i = 0; i < V; i++) {
                float d = value[i] - origin[i];
                sum[i] += d;
                square[i] += d * d;
            }
        }
    }
    block_sums<V>(sum, square, channel, channels, sums, squares);
}

// From the parts' sums to mean, one over the standard deviation, its product with the weight, and a copy of the bias, which
// may have changed by the time of the backward pass; a warp for each channel. Moves the running statistics where there are any (momentum >= 0).
template <typename T>
__device__ void finish_moments(const T* x, const float* sums, const float* squares, const float* weight,
                               const float* bias, float* running_mean, float* running_var, float* mean, float* rate,
                               float* scale, float* shift, int channels, int parts, long long rows, double eps, double momentum) {
    int channel = blockIdx.x * blockDim.y + threadIdx.y;
    if (channel >= channels) return;
    double sum = 0, square = 0;
    for (int part = threadIdx.x; part < parts; part += 32) {
        sum += sums[(size_t)channel * parts + part];
        square += squares[(size_t)channel * parts + part];
    }
    sum = warp_sum(sum);
    square = warp_sum(square);
    if (threadIdx.x != 0) return;
    double n = (double)rows;
    double m = (double)to_float(x[channel]) + sum / n;
    double deviations = square - sum * sum / n;
    double variance = deviations > 0 ? deviations / n : (deviations == deviations ? 0 : deviations);
    double r = 1.0 / sqrt(variance + eps);
    mean[channel] = (float)m;
    rate[channel] = (float)r;
    scale[channel] = (float)(r * weight[channel]);
    shift[channel] = bias[channel];
    if (momentum >= 0) {
        running_mean[channel] = (float)((1 - momentum) * running_mean[channel] + momentum * m);
        running_var[channel] = (float)((1 - momentum) * running_var[channel] + momentum * variance * n / (n - 1));
    }
}

// What evaluation does to each channel.
extern "C" __global__ void batch_norm_running_f32(const float* running_mean, const float* running_var,
                                                  const float* weight, const float* bias, float* mean, float* rate,
                                                  float* scale, float* shift, int channels, double eps) {
    int channel = blockIdx.x * blockDim.x + threadIdx.x;
    if (channel >= channels) return;
    double r = 1.0 / sqrt((double)running_var[channel] + eps);
    mean[channel] = running_mean[channel];
    rate[channel] = (float)r;
    scale[channel] = (float)(r * weight[channel]);
    shift[channel] = bias[channel];
}

// (x - mean) * scale + bias, then + skip, then the rectifier.
template <typename T, int V>
__device__ void apply(const T* x, const T* skip, const float* mean, const float* scale, const float* bias, T* out,
                      long long rows, int channels, int rectifier) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (channel >= channels) return;
    float m[V], s[V], b[V];
#pragma unroll
    for (int i = 0; i < V; i++) {
        m[i] = mean[channel + i];
        s[i] = scale[channel + i];
        b[i] = bias[channel + i];
    }
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        size_t at = (size_t)row * channels + channel;
        float value[V], other[V];
        load<T, V>(x + at, value);
        if (skip) load<T, V>(skip + at, other);
#pragma unroll
        for (int i = 0; i < V; i++) {
            value[i] = (value[i] - m[i]) * s[i] + b[i];
            if (skip) value[i] += other[i];
            if (rectifier) value[i] = value[i] > 0 ? value[i] : (value[i] == value[i] ? 0.f : value[i]);
            if (rectifier == 2 && value[i] > CEILING) value[i] = CEILING;
        }
        store<T, V>(out + at, value);
    }
}

// Whether the rectifier let an element through: read from the output, or computed again where nothing was added.
template <int V>
__device__ __forceinline__ void mask(float (&gradient)[V], const float (&x)[V], const float (&out)[V], bool has_out,
                                     int rectifier, const float (&m)[V], const float (&s)[V], const float (&b)[V]) {
#pragma unroll
    for (int i = 0; i < V; i++) {
        float y = has_out ? out[i] : (x[i] - m[i]) * s[i] + b[i];
        if (y <= 0 || (rectifier == 2 && y >= CEILING)) gradient[i] = 0;
    }
}

// Sums of the gradient and of its product with (x - mean).
template <typename T, int V>
__device__ void gradient_sums(const T* x, const T* gradient, const T* out, const float* mean, const float* scale,
                              const float* bias, float* sums, float* products, long long rows, int channels,
                              int rectifier) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    float sum[V] = {}, product[V] = {};
    if (channel < channels) {
        float m[V], s[V], b[V];
#pragma unroll
        for (int i = 0; i < V; i++) {
            m[i] = mean[channel + i];
            s[i] = scale[channel + i];
            b[i] = bias[channel + i];
        }
        for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            size_t at = (size_t)row * channels + channel;
            float value[V], g[V], y[V];
            load<T, V>(x + at, value);
            load<T, V>(gradient + at, g);
            if (rectifier) {
                if (out) load<T, V>(out + at, y);
                mask<V>(g, value, y, out != nullptr, rectifier, m, s, b);
            }
#pragma unroll
            for (int i = 0; i < V; i++) {
                sum[i] += g[i];
                product[i] += g[i] * (value[i] - m[i]);
            }
        }
    }
    block_sums<V>(sum, product, channel, channels, sums, products);
}

// The gradients of weight and bias, and the two terms that the input's gradient needs; a warp for each channel.
extern "C" __global__ void batch_norm_gradient_finish_f32(const float* sums, const float* products, const float* rate,
                                                          const float* scale, float* weight_gradient,
                                                          float* bias_gradient, float* by_input, float* constant,
                                                          int channels, int parts, long long rows) {
    int channel = blockIdx.x * blockDim.y + threadIdx.y;
    if (channel >= channels) return;
    double sum = 0, product = 0;
    for (int part = threadIdx.x; part < parts; part += 32) {
        sum += sums[(size_t)channel * parts + part];
        product += products[(size_t)channel * parts + part];
    }
    sum = warp_sum(sum);
    product = warp_sum(product);
    if (threadIdx.x != 0) return;
    double r = rate[channel], s = scale[channel], n = (double)rows;
    weight_gradient[channel] = (float)(product * r);
    bias_gradient[channel] = (float)sum;
    by_input[channel] = (float)(-s * r * r * product / n);
    constant[channel] = (float)(-s * sum / n);
}

// The gradients of the input and, if asked for, of what was added: scale * g + by_input * (x - mean) + constant.
template <typename T, int V>
__device__ void gradient_apply(const T* x, const T* gradient, const T* out, const float* mean, const float* scale,
                               const float* bias, const float* by_input, const float* constant, T* to_input,
                               T* to_skip, long long rows, int channels, int rectifier) {
    int channel = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (channel >= channels) return;
    float m[V], s[V], b[V], k[V], c[V];
#pragma unroll
    for (int i = 0; i < V; i++) {
        m[i] = mean[channel + i];
        s[i] = scale[channel + i];
        b[i] = bias[channel + i];
        k[i] = by_input[channel + i];
        c[i] = constant[channel + i];
    }
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        size_t at = (size_t)row * channels + channel;
        float value[V], g[V], y[V];
        load<T, V>(x + at, value);
        load<T, V>(gradient + at, g);
        if (rectifier) {
            if (out) load<T, V>(out + at, y);
            mask<V>(g, value, y, out != nullptr, rectifier, m, s, b);
        }
        if (to_skip) store<T, V>(to_skip + at, g);
        if (to_input) {
#pragma unroll
            for (int i = 0; i < V; i++) g[i] = s[i] * g[i] + k[i] * (value[i] - m[i]) + c[i];
            store<T, V>(to_input + at, g);
        }
    }
}

#define OF_WIDTH(NAME, T, V)                                                                                        \
    extern "C" __global__ void batch_norm_moments_##NAME(const T* x, float* sums, float* squares, long long rows,   \
                                                         int channels) {                                            \
        moments<T, V>(x, sums, squares, rows, channels);                                                            \
    }                                                                                                               \
    extern "C" __global__ void batch_norm_apply_##NAME(const T* x, const T* skip, const float* mean,                \
                                                       const float* scale, const float* bias, T* out,               \
                                                       long long rows, int channels, int rectifier) {               \
        apply<T, V>(x, skip, mean, scale, bias, out, rows, channels, rectifier);                                    \
    }                                                                                                               \
    extern "C" __global__ void batch_norm_gradient_sums_##NAME(                                                     \
        const T* x, const T* gradient, const T* out, const float* mean, const float* scale, const float* bias,      \
        float* sums, float* products, long long rows, int channels, int rectifier) {                                \
        gradient_sums<T, V>(x, gradient, out, mean, scale, bias, sums, products, rows, channels, rectifier);        \
    }                                                                                                               \
    extern "C" __global__ void batch_norm_gradient_apply_##NAME(                                                    \
        const T* x, const T* gradient, const T* out, const float* mean, const float* scale, const float* bias,      \
        const float* by_input, const float* constant, T* to_input, T* to_skip, long long rows, int channels,        \
        int rectifier) {                                                                                            \
        gradient_apply<T, V>(x, gradient, out, mean, scale, bias, by_input, constant, to_input, to_skip, rows,      \
                             channels, rectifier);                                                                  \
    }

#define INSTANCES(NAME, T)                                                                                           \
    OF_WIDTH(one_##NAME, T, 1)                                                                                      \
    OF_WIDTH(wide_##NAME, T, WIDE<T>)                                                                             \
    extern "C" __global__ void batch_norm_finish_##NAME(                                                            \
        const T* x, const float* sums, const float* squares, const float* weight, const float* bias,                \
        float* running_mean, float* running_var, float* mean, float* rate, float* scale, float* shift,              \
        int channels, int parts, long long rows, double eps, double momentum) {                                     \
        finish_moments<T>(x, sums, squares, weight, bias, running_mean, running_var, mean, rate, scale, shift,      \
                          channels, parts, rows, eps, momentum);                                                    \
    }

FOR_FLOATS(INSTANCES)
