// Windows of images of bytes, through a table for each channel.
#include <stdint.h>

// A thread for each pixel of a window. Of (image, row, column, channel) bytes, (window, channel, row, column); a window is
// its image, first row, first column, and whether columns run to the left. What is outside is byte 0.
extern "C" __global__ void image_windows(const uint8_t* images, const float* tables, const int4* windows, float* out,
                                         long long pixels_of_all, int channels, int rows, int columns, int height,
                                         int width) {
    long long at = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (at >= pixels_of_all) return;
    int pixels = height * width;
    int within = (int)(at % pixels);
    int4 window = windows[at / pixels];
    int row = window.y + within / width;
    int along = within % width;
    int column = window.w ? window.z - along : window.z + along;
    bool inside = row >= 0 && row < rows && column >= 0 && column < columns;
    const uint8_t* from = images + ((window.x * (long long)rows + row) * columns + column) * channels;
    float* to = out + at / pixels * pixels * channels + within;
    for (int channel = 0; channel < channels; channel++) {
        to[(long long)channel * pixels] = tables[channel * 256 + (inside ? from[channel] : 0)];
    }
}
