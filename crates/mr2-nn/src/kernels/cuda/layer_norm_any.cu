// Layer normalisation of rows of any length: a block for each row. layer_norm.cu has the usual lengths.
#include "columns.cuh"

#define THREADS 256

// The sum over a block, in every thread.
__device__ __forceinline__ float block_sum(float x) {
    __shared__ float shared[THREADS / 32];
    x = warp_sum(x);
    __syncthreads();
    if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = x;
    __syncthreads();
    float total = 0;
#pragma unroll
    for (int warp = 0; warp < THREADS / 32; warp++) total += shared[warp];
    return total;
}

template <typename T>
__device__ void forward(const T* x, const float* weight, const float* bias, T* out, float* statistics, int columns,
                        float eps) {
    size_t row = blockIdx.x;
    x += row * columns;
    out += row * columns;
    float origin = to_float(x[0]);
    float sum = 0, square = 0;
    for (int i = threadIdx.x; i < columns; i += THREADS) sum += to_float(x[i]) - origin;
    float mean = origin + block_sum(sum) / columns;
    for (int i = threadIdx.x; i < columns; i += THREADS) {
        float d = to_float(x[i]) - mean;
        square += d * d;
    }
    float rate = 1.f / sqrtf(block_sum(square) / columns + eps);
    if (threadIdx.x == 0) {
        statistics[2 * row] = mean;
        statistics[2 * row + 1] = rate;
    }
    for (int i = threadIdx.x; i < columns; i += THREADS)
        out[i] = from_float<T>((to_float(x[i]) - mean) * rate * weight[i] + bias[i]);
}

// The input's gradient, as in layer_norm.cu.
template <typename T>
__device__ void backward(const T* x, const T* gradient, const T* present, const float* weight, const float* statistics,
                         T* out, int columns) {
    size_t row = blockIdx.x, first = row * columns;
    float mean = statistics[2 * row], rate = statistics[2 * row + 1];
    float sum = 0, product = 0;
    for (int i = threadIdx.x; i < columns; i += THREADS) {
        float g = to_float(gradient[first + i]) * weight[i];
        sum += g;
        product += g * ((to_float(x[first + i]) - mean) * rate);
    }
    float mean_gradient = block_sum(sum) / columns, mean_product = block_sum(product) / columns;
    for (int i = threadIdx.x; i < columns; i += THREADS) {
        float g = to_float(gradient[first + i]) * weight[i];
        float h = (to_float(x[first + i]) - mean) * rate;
        float own = rate * (g - mean_gradient - h * mean_product);
        if (present) own += to_float(present[first + i]);
        out[first + i] = from_float<T>(own);
    }
}

// The sums of gradient * h and of the gradient over parts of the rows: (parts, 2, columns). As columns.cuh lays out.
template <typename T>
__device__ void sums(const T* x, const T* gradient, const float* statistics, float* parts, long long rows,
                     int columns) {
    int column = blockIdx.x * blockDim.x + threadIdx.x;
    float sum[2] = {};
    if (column < columns) {
        for (long long row = blockIdx.y * blockDim.y + threadIdx.y; row < rows; row += gridDim.y * blockDim.y) {
            size_t at = (size_t)row * columns + column;
            float g = to_float(gradient[at]);
            sum[0] += g * ((to_float(x[at]) - statistics[2 * row]) * statistics[2 * row + 1]);
            sum[1] += g;
        }
    }
    __shared__ float shared[2][COLUMN_THREADS];
    int me = threadIdx.y * blockDim.x + threadIdx.x;
    shared[0][me] = sum[0];
    shared[1][me] = sum[1];
    __syncthreads();
    if (threadIdx.y != 0 || column >= columns) return;
    for (int which = 0; which < 2; which++) {
        float total = 0;
        for (int row = 0; row < blockDim.y; row++) total += shared[which][row * blockDim.x + threadIdx.x];
        parts[((size_t)blockIdx.y * 2 + which) * columns + column] = total;
    }
}

#define INSTANCE(NAME, T)                                                                                             \
    extern "C" __global__ void layer_norm_any_forward_##NAME(const T* x, const float* weight, const float* bias,     \
                                                             T* out, float* statistics, int columns, float eps) {    \
        forward<T>(x, weight, bias, out, statistics, columns, eps);                                                   \
    }                                                                                                                 \
    extern "C" __global__ void layer_norm_any_backward_##NAME(const T* x, const T* gradient, const T* present,        \
                                                              const float* weight, const float* statistics, T* out,  \
                                                              int columns) {                                          \
        backward<T>(x, gradient, present, weight, statistics, out, columns);                                          \
    }                                                                                                                 \
    extern "C" __global__ void layer_norm_any_sums_##NAME(const T* x, const T* gradient, const float* statistics,    \
                                                          float* parts, long long rows, int columns) {                \
        sums<T>(x, gradient, statistics, parts, rows, columns);                                                       \
    }

FOR_FLOATS(INSTANCE)
