// What follows the product of a fully connected layer: bias, what is added, the activation; and its gradient.
// Without a bias the same kernels are the activation alone.
#include "columns.cuh"

// One over 1 + e^-x, and its derivative.
__device__ __forceinline__ void sigmoid(float x, float& value, float& change) {
    float small = expf(-fabsf(x));
    float large = 1.f / (1.f + small);
    value = x < 0 ? small * large : large;
    change = small * large * large;
}

struct Identity {
    static __device__ __forceinline__ float value(float x) { return x; }
    static __device__ __forceinline__ float slope(float) { return 1.f; }
};

struct Gelu {
    static __device__ __forceinline__ float below(float x) { return 0.5f + 0.5f * erff(x * 0.70710678118654752f); }
    static __device__ __forceinline__ float value(float x) { return x * below(x); }
    static __device__ __forceinline__ float slope(float x) {
        return below(x) + x * 0.39894228040143268f * expf(-0.5f * x * x);
    }
};

// x times the sigmoid of a cubic, which is what the approximation by a hyperbolic tangent is.
struct GeluTanh {
    static constexpr float A = 2.f * 0.79788456080286536f;
    static constexpr float B = 0.044715f;
    static __device__ __forceinline__ float value(float x) {
        float s, change;
        sigmoid(A * x * (1.f + B * x * x), s, change);
        return x * s;
    }
    static __device__ __forceinline__ float slope(float x) {
        float s, change;
        sigmoid(A * x * (1.f + B * x * x), s, change);
        return s + x * change * (A * (1.f + 3.f * B * x * x));
    }
};

struct QuickGelu {
    static __device__ __forceinline__ float value(float x) {
        float s, change;
        sigmoid(1.702f * x, s, change);
        return x * s;
    }
    static __device__ __forceinline__ float slope(float x) {
        float s, change;
        sigmoid(1.702f * x, s, change);
        return s + 1.702f * x * change;
    }
};

template <int V> __device__ __forceinline__ void load_bias(const float* bias, int column, float (&to)[V]) {
#pragma unroll
    for (int i = 0; i < V; i++) to[i] = bias ? bias[column + i] : 0.f;
}

// out = f(x + bias + skip); `out` may be `x`.
template <typename U, typename T, int V>
__device__ void follow(const T* x, const float* bias, const T* skip, T* out, long long rows, int columns) {
    int column = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (column >= columns) return;
    float b[V];
    load_bias<V>(bias, column, b);
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        size_t at = (size_t)row * columns + column;
        float value[V];
        load<T, V>(x + at, value);
#pragma unroll
        for (int i = 0; i < V; i++) value[i] += b[i];
        if (skip) {
            float other[V];
            load<T, V>(skip + at, other);
#pragma unroll
            for (int i = 0; i < V; i++) value[i] += other[i];
        }
#pragma unroll
        for (int i = 0; i < V; i++) value[i] = U::value(value[i]);
        store<T, V>(out + at, value);
    }
}

// out = gradient * f'(x + bias), and the sums of its columns over parts of the rows where they are wanted.
template <typename U, typename T, int V>
__device__ __forceinline__ void scale_rows(const T* gradient, const T* x, const float* bias, T* out, long long rows,
                                           int columns, int column, float (&sum)[V]) {
    float b[V];
    load_bias<V>(bias, column, b);
    for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
        size_t at = (size_t)row * columns + column;
        float value[V], g[V];
        load<T, V>(x + at, value);
        load<T, V>(gradient + at, g);
#pragma unroll
        for (int i = 0; i < V; i++) {
            g[i] *= U::slope(value[i] + b[i]);
            sum[i] += g[i];
        }
        store<T, V>(out + at, g);
    }
}

// Kinds as kernels/cuda/gelu.rs numbers them.
template <typename T, int V>
__device__ void forward(const T* x, const float* bias, const T* skip, T* out, long long rows, int columns, int kind) {
    switch (kind) {
        case 1: return follow<Gelu, T, V>(x, bias, skip, out, rows, columns);
        case 2: return follow<GeluTanh, T, V>(x, bias, skip, out, rows, columns);
        case 3: return follow<QuickGelu, T, V>(x, bias, skip, out, rows, columns);
        default: return follow<Identity, T, V>(x, bias, skip, out, rows, columns);
    }
}

template <typename T, int V>
__device__ void backward(const T* gradient, const T* x, const float* bias, T* out, float* parts, long long rows,
                         int columns, int kind) {
    int column = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    float sum[V] = {};
    if (column < columns) {
        if (kind == 1) scale_rows<Gelu, T, V>(gradient, x, bias, out, rows, columns, column, sum);
        if (kind == 2) scale_rows<GeluTanh, T, V>(gradient, x, bias, out, rows, columns, column, sum);
        if (kind == 3) scale_rows<QuickGelu, T, V>(gradient, x, bias, out, rows, columns, column, sum);
    }
    if (parts) write_column_part<V>(sum, column, columns, parts);
}

#define OF_WIDTH(NAME, T, V)                                                                                           \
    extern "C" __global__ void gelu_forward_##NAME(const T* x, const float* bias, const T* skip, T* out,              \
                                                   long long rows, int columns, int kind) {                           \
        forward<T, V>(x, bias, skip, out, rows, columns, kind);                                                       \
    }                                                                                                                  \
    extern "C" __global__ void gelu_backward_##NAME(const T* gradient, const T* x, const float* bias, T* out,         \
                                                    float* parts, long long rows, int columns, int kind) {            \
        backward<T, V>(gradient, x, bias, out, parts, rows, columns, kind);                                           \
    }

#define INSTANCES(NAME, T)    \
    OF_WIDTH(one_##NAME, T, 1) \
    OF_WIDTH(wide_##NAME, T, WIDE<T>)

FOR_FLOATS(INSTANCES)
