//! An image as numbers in 0..=1.

use crate::transforms::Canvas;

/// Values in (height, width, channel) order.
#[derive(Debug, Clone)]
pub(super) struct Raster {
    pub values: Vec<f64>,
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

/// What is beyond the edge: a b c d is followed by
#[derive(Debug, Clone, Copy)]
pub(super) enum Border {
    /// d d d d
    Nearest,
    /// d c b a (SciPy's "reflect")
    Reflect,
    /// c b a b (SciPy's "mirror", OpenCV's reflect-101)
    Mirror,
}

impl Border {
    /// The place in 0..side that stands for `at`.
    pub fn place(self, at: isize, side: usize) -> usize {
        let last = side as isize - 1;
        let (period, folded) = match self {
            Border::Nearest => return at.clamp(0, last) as usize,
            Border::Mirror if last == 0 => return 0,
            Border::Mirror => (2 * last, at.rem_euclid(2 * last)),
            Border::Reflect => (2 * last + 1, at.rem_euclid(2 * last + 2)),
        };
        (if folded > last {
            period - folded
        } else {
            folded
        }) as usize
    }
}

impl Raster {
    pub fn of(canvas: &Canvas) -> Self {
        let value = |&byte: &u8| f64::from(byte) / 255.0;
        Raster {
            values: canvas.pixels().iter().map(value).collect(),
            height: canvas.height,
            width: canvas.width,
            channels: canvas.channels,
        }
    }

    /// One channel of the same size.
    pub fn layer(&self, value: impl FnMut() -> f64) -> Self {
        Raster {
            values: std::iter::repeat_with(value)
                .take(self.height * self.width)
                .collect(),
            height: self.height,
            width: self.width,
            channels: 1,
        }
    }

    /// Cut to 0..=1, then to bytes, rounded down as `np.uint8` does.
    pub fn write(&self, canvas: &mut Canvas) {
        canvas.repaint(self.height, self.width, |_, to| {
            for (byte, value) in to.iter_mut().zip(&self.values) {
                *byte = (value.clamp(0.0, 1.0) * 255.0) as u8;
            }
        });
    }

    pub fn at(&self, row: usize, column: usize, channel: usize) -> f64 {
        self.values[(row * self.width + column) * self.channels + channel]
    }

    /// The same size, each value made of its (row, column, channel).
    pub fn map(&self, mut value: impl FnMut(usize, usize, usize) -> f64) -> Self {
        let mut values = Vec::with_capacity(self.values.len());
        for row in 0..self.height {
            for column in 0..self.width {
                for channel in 0..self.channels {
                    values.push(value(row, column, channel));
                }
            }
        }
        Raster {
            values,
            height: self.height,
            width: self.width,
            channels: self.channels,
        }
    }

    /// Between the four pixels around (y, x), bilinear.
    pub fn between(&self, y: f64, x: f64, channel: usize, border: Border) -> f64 {
        let (top, left) = (y.floor(), x.floor());
        let (down, right) = (y - top, x - left);
        let value = |dy: isize, dx: isize| {
            let row = border.place(top as isize + dy, self.height);
            let column = border.place(left as isize + dx, self.width);
            self.at(row, column, channel)
        };
        let upper = value(0, 0) * (1.0 - right) + value(0, 1) * right;
        let lower = value(1, 0) * (1.0 - right) + value(1, 1) * right;
        upper * (1.0 - down) + lower * down
    }
}
