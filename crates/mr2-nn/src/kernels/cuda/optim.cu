// Updates of many parameters in one launch, and sums of squares of many gradients. The tensors of a launch
// come by value, as kernel parameters: nothing is copied to the device first.
#include "common.cuh"

// As in optim.rs. The parameters of a kernel are 4096 bytes at most.
constexpr int TENSORS = 64;
constexpr int NUMBERS = 4;
constexpr int CHUNK = 4096;
constexpr int THREADS = 256;

template <int POINTERS> struct Table {
    unsigned long long pointers[POINTERS][TENSORS];
    // A launch of more elements than 2^31 chunks have is refused.
    long long sizes[TENSORS];
    // The first block of each tensor.
    int first_block[TENSORS];
    float numbers[TENSORS][NUMBERS];
};

// Where a block works.
struct Part {
    int tensor;
    long long from, to;
};

template <int POINTERS> __device__ __forceinline__ Part part(const Table<POINTERS>& table, int tensors) {
    int low = 0, high = tensors - 1, block = blockIdx.x;
    while (low < high) {
        int middle = (low + high + 1) / 2;
        if (table.first_block[middle] <= block) low = middle;
        else high = middle - 1;
    }
    long long from = (long long)(block - table.first_block[low]) * CHUNK;
    return {low, from, min(from + CHUNK, table.sizes[low])};
}

template <typename T, int POINTERS>
__device__ __forceinline__ T* at(const Table<POINTERS>& table, int list, int tensor) {
    return reinterpret_cast<T*>(table.pointers[list][tensor]);
}

// pointers: parameter, gradient, velocity (if momentum); numbers: learning rate, weight decay.
extern "C" __global__ void optim_sgd_f32(const __grid_constant__ Table<3> table, int tensors, float momentum,
                                         int nesterov) {
    Part my = part(table, tensors);
    float* __restrict__ parameter = at<float>(table, 0, my.tensor);
    const float* __restrict__ gradient = at<float>(table, 1, my.tensor);
    float* __restrict__ velocity = at<float>(table, 2, my.tensor);
    float lr = table.numbers[my.tensor][0], decay = table.numbers[my.tensor][1];
#pragma unroll 4
    for (long long i = my.from + threadIdx.x; i < my.to; i += THREADS) {
        float p = parameter[i];
        float g = gradient[i] + decay * p;
        if (momentum > 0.0f) {
            float v = momentum * velocity[i] + g;
            velocity[i] = v;
            g = nesterov ? g + momentum * v : v;
        }
        parameter[i] = p - lr * g;
    }
}

// pointers: parameter, gradient, mean, mean of squares; numbers: what is kept of the parameter, step size, root
// of the correction of the mean of squares.
extern "C" __global__ void optim_adamw_f32(const __grid_constant__ Table<4> table, int tensors, float new1, float keep2,
                                           float new2, float eps) {
    Part my = part(table, tensors);
    float* __restrict__ parameter = at<float>(table, 0, my.tensor);
    const float* __restrict__ gradient = at<float>(table, 1, my.tensor);
    float* __restrict__ mean = at<float>(table, 2, my.tensor);
    float* __restrict__ square = at<float>(table, 3, my.tensor);
    const float* numbers = table.numbers[my.tensor];
    float keep = numbers[0], step_size = numbers[1], root_of_correction = numbers[2];
#pragma unroll 4
    for (long long i = my.from + threadIdx.x; i < my.to; i += THREADS) {
        float g = gradient[i];
        float m = mean[i];
        m += new1 * (g - m);
        float v = keep2 * square[i] + new2 * g * g;
        mean[i] = m;
        square[i] = v;
        parameter[i] = parameter[i] * keep - step_size * (m / (sqrtf(v) / root_of_correction + eps));
    }
}

__device__ __forceinline__ double block_sum(double x) {
    __shared__ double sums[THREADS / 32];
    x = warp_sum(x);
    if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = x;
    __syncthreads();
    double sum = 0.0;
    for (int i = 0; i < THREADS / 32; i++) sum += sums[i];
    return sum;
}

// pointers: gradient. Each block's sum of squares goes to its place in `partial`: squares of f32 in f64, since
// that of 1e20 is beyond f32, and in a fixed order, for the same bits every time.
extern "C" __global__ void optim_squares_f32(const __grid_constant__ Table<1> table, int tensors, double* partial) {
    Part my = part(table, tensors);
    const float* __restrict__ gradient = at<float>(table, 0, my.tensor);
    double sum = 0.0;
#pragma unroll 4
    for (long long i = my.from + threadIdx.x; i < my.to; i += THREADS) {
        double g = gradient[i];
        sum += g * g;
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// pointers: parameter, gradient, velocity; numbers: learning rate, weight decay, whether the step is scaled. Of each block two
// sums, in f64 and in a fixed order: of the squares of the parameter, and of those of its gradient with the decay.
extern "C" __global__ void optim_lars_squares_f32(const __grid_constant__ Table<3> table, int tensors, double* partial) {
    Part my = part(table, tensors);
    const float* __restrict__ parameter = at<float>(table, 0, my.tensor);
    const float* __restrict__ gradient = at<float>(table, 1, my.tensor);
    float decay = table.numbers[my.tensor][1];
    double of_parameter = 0.0, of_sum = 0.0;
#pragma unroll 4
    for (long long i = my.from + threadIdx.x; i < my.to; i += THREADS) {
        double p = parameter[i], g = gradient[i] + decay * parameter[i];
        of_parameter += p * p;
        of_sum += g * g;
    }
    of_parameter = block_sum(of_parameter);
    __syncthreads(); // before the sums of the first are overwritten
    of_sum = block_sum(of_sum);
    if (threadIdx.x == 0) {
        partial[2 * blockIdx.x] = of_parameter;
        partial[2 * blockIdx.x + 1] = of_sum;
    }
}

// The update, by the sums that optim_lars_squares_f32 left for the same table.
extern "C" __global__ void optim_lars_f32(const __grid_constant__ Table<3> table, int tensors, const double* partial,
                                          float momentum, float trust) {
    Part my = part(table, tensors);
    float* __restrict__ parameter = at<float>(table, 0, my.tensor);
    const float* __restrict__ gradient = at<float>(table, 1, my.tensor);
    float* __restrict__ velocity = at<float>(table, 2, my.tensor);
    float lr = table.numbers[my.tensor][0], decay = table.numbers[my.tensor][1];
    float factor = 1.0f;
    if (table.numbers[my.tensor][2] > 0.0f) {
        double of_parameter = 0.0, of_sum = 0.0;
        int first = table.first_block[my.tensor], blocks = (int)((table.sizes[my.tensor] + CHUNK - 1) / CHUNK);
        for (int i = first + threadIdx.x; i < first + blocks; i += THREADS) {
            of_parameter += partial[2 * i];
            of_sum += partial[2 * i + 1];
        }
        of_parameter = block_sum(of_parameter);
        __syncthreads(); // before the sums of the first are overwritten
        of_sum = block_sum(of_sum);
        if (of_parameter > 0.0 && of_sum > 0.0) factor = (float)(trust * sqrt(of_parameter / of_sum));
    }
    float on_parameter = factor * decay;
#pragma unroll 4
    for (long long i = my.from + threadIdx.x; i < my.to; i += THREADS) {
        float v = momentum * velocity[i] + (factor * gradient[i] + on_parameter * parameter[i]);
        velocity[i] = v;
        parameter[i] -= lr * v;
    }
}

// norm[0]: the root of the sum of `partial`; norm[1]: what gradients are multiplied by for a norm of at most
// `max_norm`, 1 if that is below 0 (no clipping). One block.
extern "C" __global__ void optim_norm(const double* partial, int count, double max_norm, double epsilon, double* norm) {
    double sum = 0.0;
    for (int i = threadIdx.x; i < count; i += THREADS) sum += partial[i];
    sum = block_sum(sum);
    if (threadIdx.x == 0) {
        double root = sqrt(sum);
        double factor = max_norm / (root + epsilon);
        norm[0] = root;
        norm[1] = max_norm > 0.0 && isfinite(root) && factor < 1.0 ? factor : 1.0;
    }
}

// pointers: gradient, what it becomes.
extern "C" __global__ void optim_scale_f32(const __grid_constant__ Table<2> table, int tensors, const double* norm) {
    Part my = part(table, tensors);
    const float* __restrict__ gradient = at<float>(table, 0, my.tensor);
    float* __restrict__ scaled = at<float>(table, 1, my.tensor);
    float factor = (float)norm[1];
#pragma unroll 4
    for (long long i = my.from + threadIdx.x; i < my.to; i += THREADS) scaled[i] = gradient[i] * factor;
}
