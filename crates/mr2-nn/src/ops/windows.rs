//! Images as windows of images of bytes that are held on the device: crops, flips and normalisation without an upload.

#[cfg(feature = "cuda")]
use crate::kernels::cuda::windows as cuda;
use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};
use rayon::prelude::*;

const NAME: &str = "image windows";

/// Values of a byte.
const BYTES: usize = 256;

/// How far outside its image a window may begin: so far that no index overflows.
const FARTHEST: isize = 1 << 29;

/// What is seen of one image: pixel (i, j) is the image's (`top` + i, `left` + j), or (`top` + i, `left` - j) where it is
/// mirrored; outside the image bytes are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageWindow {
    /// Which of the images.
    pub image: u32,
    /// The first row; may be outside.
    pub top: isize,
    /// The first column; may be outside.
    pub left: isize,
    /// Whether columns run to the left.
    pub mirrored: bool,
}

/// Windows of `height` × `width` pixels, each byte replaced by what its channel's table says: a batch of augmented images,
/// with the bits of crop, flip and normalisation on the CPU. One kernel on CUDA, to which only the windows are uploaded.
///
/// # Shapes
/// `images` (images, height, width, channels) in u8, `tables` (channels, 256) in f32, both contiguous on one device, the CPU
/// or CUDA. The result is (windows, channels, `height`, `width`) in f32.
///
/// # Errors
/// Other shapes or element types, tensors that aren't contiguous, no such image, a window that begins over 2²⁹ pixels outside,
/// sides over 2²⁹, a result too large for memory's addresses or for a CUDA kernel, another device.
///
/// ```
/// use mr2_nn::candle_core::{DType, Device, Tensor};
/// use mr2_nn::ops::{ImageWindow, image_windows};
/// let image = Tensor::new(&[1u8, 2, 3, 4], &Device::Cpu)?.reshape((1, 2, 2, 1))?;
/// let tables = Tensor::arange(0f32, 256f32, &Device::Cpu)?.reshape((1, 256))?;
/// // Mirrored, and a column to the right of the image.
/// let window = ImageWindow { image: 0, top: 0, left: 2, mirrored: true };
/// let seen = image_windows(&image, &tables, &[window], 2, 2)?;
/// assert_eq!(seen.flatten_all()?.to_vec1::<f32>()?, [0., 2., 0., 4.]);
/// # Ok::<(), mr2_nn::candle_core::Error>(())
/// ```
pub fn image_windows(
    images: &Tensor,
    tables: &Tensor,
    windows: &[ImageWindow],
    height: usize,
    width: usize,
) -> Result<Tensor> {
    let sizes = check(images, tables, windows, height, width)?;
    match images.device() {
        Device::Cpu => on_cpu(images, tables, windows, &sizes),
        #[cfg(feature = "cuda")]
        Device::Cuda(_) => cuda::image_windows(images, tables, windows, &sizes),
        other => bail!("{NAME}: expected the CPU or a CUDA device, got {other:?}"),
    }
}

/// Sizes of images and of windows.
pub(crate) struct Sizes {
    pub(crate) channels: usize,
    pub(crate) image: [usize; 2],
    pub(crate) window: [usize; 2],
}

fn check(
    images: &Tensor,
    tables: &Tensor,
    windows: &[ImageWindow],
    height: usize,
    width: usize,
) -> Result<Sizes> {
    if (images.dtype(), tables.dtype()) != (DType::U8, DType::F32) {
        let (images, tables) = (images.dtype().as_str(), tables.dtype().as_str());
        bail!("{NAME}: expected images in u8 and tables in f32, got {images} and {tables}");
    }
    let (count, rows, columns, channels) = images.dims4()?;
    if tables.dims() != [channels, BYTES] {
        let found = tables.dims();
        bail!(
            "{NAME}: expected tables ({channels}, {BYTES}) for the images' channels, got {found:?}"
        );
    }
    if !images.device().same_device(tables.device()) {
        bail!("{NAME}: images and tables are on different devices");
    }
    if rows.max(columns).max(height).max(width) > FARTHEST as usize {
        bail!("{NAME}: sides may be 2^29 pixels at most");
    }
    let sizes = [windows.len(), channels, height, width, size_of::<f32>()];
    let bytes = sizes
        .iter()
        .try_fold(1usize, |all, &size| all.checked_mul(size));
    if bytes.is_none_or(|bytes| bytes > isize::MAX as usize) {
        bail!("{NAME}: {sizes:?} bytes are too many");
    }
    for window in windows {
        if window.image as usize >= count {
            bail!("{NAME}: no image {} among {count}", window.image);
        }
        let near = -FARTHEST..=FARTHEST;
        if !near.contains(&window.top) || !near.contains(&window.left) {
            bail!("{NAME}: {window:?} is over 2^29 pixels outside");
        }
    }
    Ok(Sizes {
        channels,
        image: [rows, columns],
        window: [height, width],
    })
}

fn on_cpu(
    images: &Tensor,
    tables: &Tensor,
    windows: &[ImageWindow],
    sizes: &Sizes,
) -> Result<Tensor> {
    let ((images, at), (tables, tables_at)) =
        (images.storage_and_layout(), tables.storage_and_layout());
    let (Storage::Cpu(CpuStorage::U8(bytes)), Storage::Cpu(CpuStorage::F32(values))) =
        (&*images, &*tables)
    else {
        bail!("{NAME}: expected u8 and f32 on the CPU");
    };
    let (Some((from, to)), Some((first, last))) =
        (at.contiguous_offsets(), tables_at.contiguous_offsets())
    else {
        bail!("{NAME}: images and tables must be contiguous");
    };
    let (bytes, values) = (&bytes[from..to], &values[first..last]);
    let &Sizes {
        channels,
        image: [rows, columns],
        window: [height, width],
    } = sizes;
    let (size, seen) = (rows * columns * channels, height * width);
    let mut out = vec![0f32; windows.len() * channels * seen];
    let batch = out.par_chunks_mut((channels * seen).max(1)).zip(windows);
    batch.for_each(|(out, window)| {
        let image = &bytes[window.image as usize * size..][..size];
        for (channel, plane) in out.chunks_exact_mut(seen.max(1)).enumerate() {
            let table = &values[channel * BYTES..][..BYTES];
            for (place, value) in plane.iter_mut().enumerate() {
                let (i, j) = ((place / width) as isize, (place % width) as isize);
                let column = match window.mirrored {
                    true => window.left - j,
                    false => window.left + j,
                };
                let inside =
                    |at: isize, end: usize| usize::try_from(at).ok().filter(|&at| at < end);
                let pixel = inside(window.top + i, rows).zip(inside(column, columns));
                let byte = pixel.map_or(0, |(i, j)| image[(i * columns + j) * channels + channel]);
                *value = table[byte as usize];
            }
        }
    });
    Tensor::from_vec(out, (windows.len(), channels, height, width), &Device::Cpu)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn images(channels: usize) -> Tensor {
        let bytes: Vec<u8> = (0..2 * 3 * 4 * channels).map(|i| i as u8 + 1).collect();
        Tensor::from_vec(bytes, (2, 3, 4, channels), &Device::Cpu).unwrap()
    }

    fn tables(channels: usize) -> Tensor {
        let value = |i: usize| (i / BYTES * 1000 + i % BYTES) as f32;
        let values: Vec<f32> = (0..channels * BYTES).map(value).collect();
        Tensor::from_vec(values, (channels, BYTES), &Device::Cpu).unwrap()
    }

    const WINDOW: ImageWindow = ImageWindow {
        image: 1,
        top: 1,
        left: 3,
        mirrored: true,
    };

    #[test]
    fn channels_have_their_planes_and_tables_and_what_is_outside_is_byte_0() {
        let seen = image_windows(&images(3), &tables(3), &[WINDOW], 3, 2).unwrap();
        assert_eq!(seen.dims(), [1, 3, 3, 2]);
        // The second image's pixels (1, 3), (1, 2), (2, 3), (2, 2), then a row below it.
        let byte = |i: usize, j: usize, c: usize| (36 + (i * 4 + j) * 3 + c + 1) as f32;
        let mut expected = Vec::new();
        for c in 0..3 {
            let of_channel = [
                byte(1, 3, c),
                byte(1, 2, c),
                byte(2, 3, c),
                byte(2, 2, c),
                0.,
                0.,
            ];
            expected.extend(of_channel.map(|byte| byte + 1000. * c as f32));
        }
        assert_eq!(
            seen.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
            expected
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |images: &Tensor, tables: &Tensor, window| {
            let seen = image_windows(images, tables, &[window], 2, 2);
            seen.unwrap_err().to_string()
        };
        let wide = images(1).to_dtype(DType::F32).unwrap();
        assert!(refused(&wide, &tables(1), WINDOW).contains("images in u8"));
        assert!(refused(&images(1), &tables(3), WINDOW).contains("expected tables (1, 256)"));
        let missing = ImageWindow { image: 2, ..WINDOW };
        assert!(refused(&images(1), &tables(1), missing).contains("no image 2 among 2"));
        let top = isize::MIN;
        let far = ImageWindow { top, ..WINDOW };
        assert!(refused(&images(1), &tables(1), far).contains("outside"));
        let huge = image_windows(&images(1), &tables(1), &[WINDOW; 64], 1 << 29, 1 << 29);
        assert!(huge.unwrap_err().to_string().contains("too many"));
        let turned = images(1).t().unwrap();
        assert!(refused(&turned, &tables(3), WINDOW).contains("expected tables"));
        let turned = images(1).transpose(1, 2).unwrap();
        assert!(refused(&turned, &tables(1), WINDOW).contains("contiguous"));
    }

    #[test]
    fn no_windows_are_an_empty_batch() {
        let seen = image_windows(&images(1), &tables(1), &[], 2, 2).unwrap();
        assert_eq!(seen.dims(), [0, 1, 2, 2]);
    }
}
