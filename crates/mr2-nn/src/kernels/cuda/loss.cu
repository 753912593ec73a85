// Losses on (batch, classes) logits and on pairs of (batch, dim) features, forward and backward.
#include "common.cuh"
#include <cfloat>

constexpr int THREADS = 256;
constexpr int WARPS = THREADS / 32;

template <typename T> struct Limits;
template <> struct Limits<float> {
    static constexpr float largest = FLT_MAX;
};
template <> struct Limits<double> {
    static constexpr double largest = DBL_MAX;
};

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm_1p(float x) { return log1pf(x); }
__device__ __forceinline__ double logarithm_1p(double x) { return log1p(x); }

template <typename T> __device__ __forceinline__ T block_sum(T x) {
    __shared__ T sums[WARPS];
    x = warp_sum(x);
    __syncthreads(); // the sums of the call before have been read
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    T sum = 0;
    for (int i = 0; i < WARPS; i++) sum += sums[i];
    return sum;
}

// The largest value of a block and the lowest index that has it.
template <typename T> __device__ __forceinline__ void block_peak(T& peak, int& at) {
    __shared__ T peaks[WARPS];
    __shared__ int places[WARPS];
    auto take = [&](T other, int place) {
        if (other > peak || (other == peak && place < at)) {
            peak = other;
            at = place;
        }
    };
#pragma unroll
    for (int d = 16; d > 0; d /= 2) {
        T other = __shfl_xor_sync(0xffffffffu, peak, d);
        int place = __shfl_xor_sync(0xffffffffu, at, d);
        take(other, place);
    }
    if (threadIdx.x % 32 == 0) {
        peaks[threadIdx.x / 32] = peak;
        places[threadIdx.x / 32] = at;
    }
    __syncthreads();
    for (int i = 0; i < WARPS; i++) take(peaks[i], places[i]);
}

// A block for each row. `labels` or `weights` (batch, classes) is null; `scale` (batch) may be. `rows` (batch, 2)
// keeps the peak and the sum of the other exponentials, without the peak's own 1: so a loss of 1e-12 and its
// gradient keep their digits; `places` (batch) keeps where the peak is.
template <typename T>
__device__ void cross_entropy(const T* logits, const unsigned* labels, const T* weights, const T* scale, double spread,
                              T* loss, T* rows, unsigned* places, int classes) {
    size_t row = blockIdx.x;
    const T* z = logits + row * classes;
    const T* weight = weights ? weights + row * classes : nullptr;
    T s = scale ? scale[row] : T(1);
    T peak = -INFINITY;
    int at = classes; // where it stays if all are NaN
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        if (z[k] > peak) {
            peak = z[k];
            at = k;
        }
    }
    block_peak(peak, at);
    T rest = 0, total = 0, depth = 0;
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        T below = s * (z[k] - peak);
        if (k != at) rest += exponential(below);
        if (weight) {
            total += weight[k];
            depth += weight[k] * below;
        } else if (spread > 0.0) {
            depth += below;
        }
    }
    rest = block_sum(rest);
    if (weight) total = block_sum(total);
    if (weight || spread > 0.0) depth = block_sum(depth);
    if (threadIdx.x != 0) return;
    if (!weight) {
        total = T(1);
        T on_label = T(1.0 - spread * classes) * (s * (z[labels[row]] - peak));
        depth = spread > 0.0 ? on_label + T(spread) * depth : on_label;
    }
    loss[row] = total * logarithm_1p(rest) - depth;
    rows[2 * row] = peak;
    rows[2 * row + 1] = rest;
    places[row] = at;
}

// The gradient of each row's loss times `upstream` (batch).
template <typename T>
__device__ void cross_entropy_gradient(const T* logits, const unsigned* labels, const T* weights, const T* scale,
                                       double spread, const T* rows, const unsigned* places, const T* upstream,
                                       T* gradient, int classes) {
    size_t row = blockIdx.x;
    const T* z = logits + row * classes;
    const T* weight = weights ? weights + row * classes : nullptr;
    T* out = gradient + row * classes;
    T s = scale ? scale[row] : T(1);
    T peak = rows[2 * row], rest = rows[2 * row + 1];
    int at = places[row];
    T step = upstream[row] * s;
    T total = T(1);
    if (weight) {
        T sum = 0;
        for (int k = threadIdx.x; k < classes; k += THREADS) sum += weight[k];
        total = block_sum(sum);
    }
    T factor = step * total / (T(1) + rest);
    int label = weight ? -1 : (int)labels[row];
    T even = step * T(spread);
    for (int k = threadIdx.x; k < classes; k += THREADS) {
        T share = exponential(s * (z[k] - peak));
        if (k == label) {
            // p - 1 cancels as p nears 1; there it is minus the other classes' share.
            T to_one = label == at ? -rest / (T(1) + rest) : share / (T(1) + rest) - T(1);
            out[k] = step * (to_one + T(spread * (classes - 1.0)));
        } else {
            out[k] = share * factor - (weight ? step * weight[k] : even);
        }
    }
}

// A warp for each pair: (|x_i - x_j|^2 - threshold) / scale, in f64 whatever the features are.
template <typename T>
__device__ void pair_exponents(const T* features, const unsigned* first, const unsigned* second, const double* threshold,
                               double scale, double* exponents, long long pairs, int dim) {
    long long pair = (long long)blockIdx.x * WARPS + threadIdx.x / 32;
    if (pair >= pairs) return;
    const T* x = features + (size_t)first[pair] * dim;
    const T* y = features + (size_t)second[pair] * dim;
    double sum = 0.0;
    for (int k = threadIdx.x % 32; k < dim; k += 32) {
        double d = (double)x[k] - (double)y[k];
        sum += d * d;
    }
    sum = warp_sum(sum);
    if (threadIdx.x % 32 != 0) return;
    double bound = *threshold;
    double exponent = (sum - (bound > DBL_MAX ? DBL_MAX : bound)) / scale;
    exponents[pair] = exponent > DBL_MAX ? DBL_MAX : exponent; // NaN stays
}

// A warp for each sample: ln(1 + factor * sum of exp(exponent)) over the pairs that count for it, which are
// the entries from start[sample] to start[sample + 1], each (pair, the other sample). Keeps the largest exponent
// and the sum of exp(exponent - largest).
template <typename T>
__device__ void pairs_log1p_sum_exp(const double* exponents, const unsigned* start, const unsigned* entries,
                                    const double* ln_factor, double* softmax, T* out, int batch) {
    int sample = blockIdx.x * WARPS + threadIdx.x / 32;
    if (sample >= batch) return;
    unsigned begin = start[sample], end = start[sample + 1];
    double shift = ln_factor ? ln_factor[sample] : 0.0;
    // From 0, since the implicit zero takes part: no exponential below is of more than 0.
    double peak = 0.0;
    for (unsigned i = begin + threadIdx.x % 32; i < end; i += 32) peak = fmax(peak, exponents[entries[2 * i]] + shift);
#pragma unroll
    for (int d = 16; d > 0; d /= 2) peak = fmax(peak, __shfl_xor_sync(0xffffffffu, peak, d));
    double sum = 0.0;
    for (unsigned i = begin + threadIdx.x % 32; i < end; i += 32) sum += exp(exponents[entries[2 * i]] + shift - peak);
    sum = warp_sum(sum);
    if (threadIdx.x % 32 != 0) return;
    // For a peak of 0 this is log1p(sum), which keeps the digits of a small sum.
    double result = peak + log1p(sum + expm1(-peak));
    out[sample] = result > Limits<T>::largest ? Limits<T>::largest : T(result);
    softmax[2 * sample] = peak;
    softmax[2 * sample + 1] = sum + exp(-peak);
}

// A thread for each pair: how hard it pulls at its samples.
template <typename T>
__device__ void pair_pulls(const double* exponents, const unsigned* first, const unsigned* second,
                           const double* ln_factor, const double* softmax, const T* upstream, double scale,
                           double* pulls, long long pairs, long long mutual) {
    long long pair = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (pair >= pairs) return;
    auto of = [&](unsigned sample) {
        double shift = ln_factor ? ln_factor[sample] : 0.0;
        double share = exp(exponents[pair] + shift - softmax[2 * sample]) / softmax[2 * sample + 1];
        return (double)upstream[sample] * share;
    };
    double weight = of(first[pair]);
    if (pair < mutual) weight += of(second[pair]);
    pulls[pair] = 2.0 / scale * weight;
}

// A block for each sample: the sum of pull * (x_i - x_j) over the pairs it is in, in the order of the list.
template <typename T>
__device__ void pairs_gradient(const T* features, const double* pulls, const unsigned* start, const unsigned* entries,
                               T* gradient, int dim) {
    size_t sample = blockIdx.x;
    unsigned begin = start[sample], end = start[sample + 1];
    for (int k = threadIdx.x; k < dim; k += THREADS) {
        T x = features[sample * dim + k];
        T sum = 0;
        for (unsigned i = begin; i < end; i++) {
            T pull = T(pulls[entries[2 * i]]);
            sum += pull * (x - features[(size_t)entries[2 * i + 1] * dim + k]);
        }
        gradient[sample * dim + k] = sum;
    }
}

#define INSTANCE(suffix, T)                                                                                            \
    extern "C" __global__ void cross_entropy_##suffix(const T* logits, const unsigned* labels, const T* weights,       \
                                                      const T* scale, double spread, T* loss, T* rows,                 \
                                                      unsigned* places, int classes) {                                 \
        cross_entropy<T>(logits, labels, weights, scale, spread, loss, rows, places, classes);                         \
    }                                                                                                                  \
    extern "C" __global__ void cross_entropy_gradient_##suffix(                                                        \
        const T* logits, const unsigned* labels, const T* weights, const T* scale, double spread, const T* rows,       \
        const unsigned* places, const T* upstream, T* gradient, int classes) {                                         \
        cross_entropy_gradient<T>(logits, labels, weights, scale, spread, rows, places, upstream, gradient, classes);  \
    }                                                                                                                  \
    extern "C" __global__ void pair_exponents_##suffix(const T* features, const unsigned* first,                       \
                                                       const unsigned* second, const double* threshold, double scale,  \
                                                       double* exponents, long long pairs, int dim) {                  \
        pair_exponents<T>(features, first, second, threshold, scale, exponents, pairs, dim);                           \
    }                                                                                                                  \
    extern "C" __global__ void pairs_log1p_sum_exp_##suffix(const double* exponents, const unsigned* start,            \
                                                            const unsigned* entries, const double* ln_factor,          \
                                                            double* softmax, T* out, int batch) {                      \
        pairs_log1p_sum_exp<T>(exponents, start, entries, ln_factor, softmax, out, batch);                             \
    }                                                                                                                  \
    extern "C" __global__ void pair_pulls_##suffix(const double* exponents, const unsigned* first,                     \
                                                   const unsigned* second, const double* ln_factor,                    \
                                                   const double* softmax, const T* upstream, double scale,             \
                                                   double* pulls, long long pairs, long long mutual) {                 \
        pair_pulls<T>(exponents, first, second, ln_factor, softmax, upstream, scale, pulls, pairs, mutual);            \
    }                                                                                                                  \
    extern "C" __global__ void pairs_gradient_##suffix(const T* features, const double* pulls, const unsigned* start,  \
                                                       const unsigned* entries, T* gradient, int dim) {                \
        pairs_gradient<T>(features, pulls, start, entries, gradient, dim);                                             \
    }

INSTANCE(f32, float)
INSTANCE(f64, double)
