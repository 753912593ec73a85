//! What crops and flips do to an image whose size is known: where the pixels of the result come from.

use super::{Misfit, Transform, crop, flip};
use crate::random::Draws;

/// The part of an image that is seen. Its pixel (i, j) is the image's pixel (`top` + i, `left` + j), or (`top` + i, `left` - j)
/// where it is mirrored, and 0 where the image has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The image's row that is the window's first; may be outside.
    pub top: isize,
    /// The image's column that is the window's first; may be outside.
    pub left: isize,
    /// Whether columns run to the left.
    pub mirrored: bool,
    /// Rows of the window.
    pub height: usize,
    /// Columns of the window.
    pub width: usize,
}

impl Window {
    /// The whole of an image.
    fn whole(height: usize, width: usize) -> Self {
        Window {
            top: 0,
            left: 0,
            mirrored: false,
            height,
            width,
        }
    }

    /// What `transforms` leave to be seen, of those that [`are_windows`] accepts. The draws are those that the transforms
    /// take of a picture.
    pub(crate) fn of(
        transforms: &[Transform],
        height: usize,
        width: usize,
        draws: &mut Draws,
    ) -> Result<Self, Misfit> {
        let mut window = Self::whole(height, width);
        for transform in transforms {
            let misfit = |reason| Misfit {
                transform: transform.kind(),
                reason,
            };
            let (height, width) = (window.height, window.width);
            match transform {
                Transform::CentreCrop { size } => {
                    let place = crop::centre(height, width, *size);
                    window.crop(place, *size);
                }
                Transform::RandomCrop { size, padding } => {
                    let place = crop::random(height, width, *size, *padding, draws);
                    window.crop(place.map_err(misfit)?, *size);
                }
                Transform::HorizontalFlip { p } => {
                    if flip::drawn(*p, draws) {
                        window.flip();
                    }
                }
                Transform::Normalize { .. } => {}
                _ => return Err(misfit("it makes new pixels".to_string())),
            }
        }
        Ok(window)
    }

    fn crop(&mut self, (top, left): (isize, isize), size: usize) {
        self.top += top;
        self.left += self.along(left);
        (self.height, self.width) = (size, size);
    }

    fn flip(&mut self) {
        self.left += self.along(self.width as isize - 1);
        self.mirrored = !self.mirrored;
    }

    /// So many columns on, in the image.
    fn along(&self, columns: isize) -> isize {
        match self.mirrored {
            true => -columns,
            false => columns,
        }
    }
}

/// Whether each image's result is a [`Window`] of it: flips and at most one crop. A second crop could show the border of the
/// first, where the image goes on.
pub(crate) fn are_windows(transforms: &[Transform]) -> bool {
    let mut crops = 0;
    transforms.iter().all(|transform| match transform {
        Transform::CentreCrop { .. } | Transform::RandomCrop { .. } => {
            crops += 1;
            crops == 1
        }
        Transform::HorizontalFlip { .. } | Transform::Normalize { .. } => true,
        _ => false,
    })
}
