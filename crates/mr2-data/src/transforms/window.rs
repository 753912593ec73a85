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
}

impl Window {
    /// What `transforms` leave to be seen, of those that [`are_windows`] accepts. The draws are those that the transforms
    /// take of a picture.
    pub(crate) fn of(
        transforms: &[Transform],
        [mut height, mut width]: [usize; 2],
        draws: &mut Draws,
    ) -> Result<Self, Misfit> {
        let mut window = Window {
            top: 0,
            left: 0,
            mirrored: false,
        };
        for transform in transforms {
            let misfit = |reason| Misfit {
                transform: transform.kind(),
                reason,
            };
            match transform {
                Transform::CentreCrop { size } => {
                    window.crop(crop::centre(height, width, *size));
                    (height, width) = (*size, *size);
                }
                Transform::RandomCrop { size, padding } => {
                    let place = crop::random(height, width, *size, *padding, draws);
                    window.crop(place.map_err(misfit)?);
                    (height, width) = (*size, *size);
                }
                Transform::HorizontalFlip { p } => {
                    if flip::drawn(*p, draws) {
                        window.flip(width);
                    }
                }
                Transform::Normalize { .. } => {}
                _ => return Err(misfit("it makes new pixels".to_string())),
            }
        }
        Ok(window)
    }

    fn crop(&mut self, (top, left): (isize, isize)) {
        self.top += top;
        self.left += self.along(left);
    }

    fn flip(&mut self, width: usize) {
        self.left += self.along(width as isize - 1);
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

/// Rows and columns of what `transforms` leave to be seen of an image, of those that [`are_windows`] accepts.
pub(crate) fn window_size(transforms: &[Transform], image: [usize; 2]) -> [usize; 2] {
    let crop = transforms.iter().find_map(|transform| match transform {
        Transform::CentreCrop { size } | Transform::RandomCrop { size, .. } => Some([*size; 2]),
        _ => None,
    });
    crop.unwrap_or(image)
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
