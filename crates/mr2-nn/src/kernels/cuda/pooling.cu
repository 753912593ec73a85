// Maximum and mean over square windows of pixels, channels last.
#include "common.cuh"

struct Windows {
    int channels, in_height, in_width, out_height, out_width, kernel, stride, padding;
};

// A thread for each element of the output. The tap of the maximum is kept; the first NaN wins, then the first maximum.
template <typename T>
__device__ void maximum(const T* x, T* out, uint8_t* taps, long long elements, Windows w) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= elements) return;
    int channel = at % w.channels;
    long long pixel = at / w.channels;
    int left = pixel % w.out_width * w.stride - w.padding;
    int top = pixel / w.out_width % w.out_height * w.stride - w.padding;
    long long image = pixel / ((long long)w.out_width * w.out_height);
    float best = 0;
    int best_tap = -1;
    T kept = from_float<T>(0);
    for (int i = 0; i < w.kernel; i++) {
        for (int j = 0; j < w.kernel; j++) {
            int row = top + i, column = left + j;
            if (row < 0 || row >= w.in_height || column < 0 || column >= w.in_width) continue;
            T element = x[((image * w.in_height + row) * w.in_width + column) * w.channels + channel];
            float value = to_float(element);
            if (best_tap < 0 || value > best || (value != value && best == best)) {
                best = value;
                best_tap = i * w.kernel + j;
                kept = element;
            }
        }
    }
    out[at] = kept;
    if (taps) taps[at] = best_tap;
}

// A thread for each element of the input goes over the windows that hold it, in order: the same bits every time.
// With taps the gradient of the maximum; without, that of the mean, whose divisor counts the padding or doesn't.
template <typename T>
__device__ void gradient_of(const T* gradient, const uint8_t* taps, T* to_x, long long elements, Windows w,
                            int count_padding) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= elements) return;
    int channel = at % w.channels;
    long long pixel = at / w.channels;
    int column = pixel % w.in_width + w.padding;
    int row = pixel / w.in_width % w.in_height + w.padding;
    long long image = pixel / ((long long)w.in_width * w.in_height);
    int first_row = row < w.kernel ? 0 : (row - w.kernel) / w.stride + 1;
    int first_column = column < w.kernel ? 0 : (column - w.kernel) / w.stride + 1;
    float sum = 0;
    for (int i = first_row; i < w.out_height && i * w.stride <= row; i++) {
        for (int j = first_column; j < w.out_width && j * w.stride <= column; j++) {
            size_t from = ((image * w.out_height + i) * w.out_width + j) * w.channels + channel;
            float g = to_float(gradient[from]);
            if (taps) {
                int tap = (row - i * w.stride) * w.kernel + column - j * w.stride;
                if (taps[from] == tap) sum += g;
            } else {
                int top = i * w.stride - w.padding, left = j * w.stride - w.padding;
                int height = min(top + w.kernel, w.in_height) - max(top, 0);
                int width = min(left + w.kernel, w.in_width) - max(left, 0);
                sum += g / (count_padding ? w.kernel * w.kernel : height * width);
            }
        }
    }
    to_x[at] = from_float<T>(sum);
}

template <typename T> __device__ void mean(const T* x, T* out, long long elements, Windows w, int count_padding) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= elements) return;
    int channel = at % w.channels;
    long long pixel = at / w.channels;
    int left = pixel % w.out_width * w.stride - w.padding;
    int top = pixel / w.out_width % w.out_height * w.stride - w.padding;
    long long image = pixel / ((long long)w.out_width * w.out_height);
    float sum = 0;
    int inside = 0;
    for (int row = max(top, 0); row < min(top + w.kernel, w.in_height); row++) {
        for (int column = max(left, 0); column < min(left + w.kernel, w.in_width); column++) {
            sum += to_float(x[((image * w.in_height + row) * w.in_width + column) * w.channels + channel]);
            inside++;
        }
    }
    out[at] = from_float<T>(sum / (count_padding ? w.kernel * w.kernel : inside));
}

#define WINDOWS                                                                                                      \
    int channels, int in_height, int in_width, int out_height, int out_width, int kernel, int stride, int padding
#define THE_WINDOWS                                                                                                  \
    { channels, in_height, in_width, out_height, out_width, kernel, stride, padding }

#define INSTANCE(NAME, T)                                                                                            \
    extern "C" __global__ void max_pool_##NAME(const T* x, T* out, uint8_t* taps, long long elements, WINDOWS) {    \
        maximum<T>(x, out, taps, elements, THE_WINDOWS);                                                            \
    }                                                                                                               \
    extern "C" __global__ void mean_pool_##NAME(const T* x, T* out, long long elements, WINDOWS,                    \
                                                int count_padding) {                                                \
        mean<T>(x, out, elements, THE_WINDOWS, count_padding);                                                      \
    }                                                                                                               \
    extern "C" __global__ void pool_gradient_##NAME(const T* gradient, const uint8_t* taps, T* to_x,                \
                                                    long long elements, WINDOWS, int count_padding) {               \
        gradient_of<T>(gradient, taps, to_x, elements, THE_WINDOWS, count_padding);                                 \
    }

FOR_FLOATS(INSTANCE)
