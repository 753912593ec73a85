// Softmax of rows of any length, forward and backward: a warp for each row, which it reads several times. softmax.cu
// has rows of up to 1024 elements.
#include "rows.cuh"

__device__ __forceinline__ int visible(long long row, int columns, int causal) {
    return causal ? (int)(row % columns) + 1 : columns;
}

template <typename T> __device__ void forward(T* scores, long long rows, int columns, int step, int causal) {
    long long row = blockIdx.x * (long long)WARPS + threadIdx.y;
    if (row >= rows) return;
    int seen = visible(row, columns, causal);
    scores += row * step;
    float max = -INFINITY, sum = 0;
    for (int i = threadIdx.x; i < seen; i += 32) max = fmaxf(max, to_float(scores[i]));
    max = warp_max(max);
    for (int i = threadIdx.x; i < seen; i += 32) sum += expf(to_float(scores[i]) - max);
    float factor = 1.f / warp_sum(sum);
    for (int i = threadIdx.x; i < step; i += 32)
        scores[i] = from_float<T>(i < seen ? expf(to_float(scores[i]) - max) * factor : 0.f);
}

template <typename T>
__device__ void backward(const T* probabilities, T* gradient, long long rows, int columns, int step, int causal) {
    long long row = blockIdx.x * (long long)WARPS + threadIdx.y;
    if (row >= rows) return;
    int seen = visible(row, columns, causal);
    probabilities += row * step;
    gradient += row * step;
    float sum = 0;
    for (int i = threadIdx.x; i < seen; i += 32) sum += to_float(probabilities[i]) * to_float(gradient[i]);
    sum = warp_sum(sum);
    for (int i = threadIdx.x; i < step; i += 32)
        gradient[i] = from_float<T>(i < seen ? to_float(probabilities[i]) * (to_float(gradient[i]) - sum) : 0.f);
}

#define INSTANCE(NAME, T)                                                                                             \
    extern "C" __global__ void softmax_any_forward_##NAME(T* scores, long long rows, int columns, int step,          \
                                                          int causal) {                                               \
        forward<T>(scores, rows, columns, step, causal);                                                              \
    }                                                                                                                 \
    extern "C" __global__ void softmax_any_backward_##NAME(const T* probabilities, T* gradient, long long rows,       \
                                                           int columns, int step, int causal) {                      \
        backward<T>(probabilities, gradient, rows, columns, step, causal);                                            \
    }

FOR_FLOATS(INSTANCE)
