//! Augmentation of images that are held on the device.

use anyhow::Result;
use candle_core::{Device, Tensor};
use mr2_nn::ops::{ImageWindow, image_windows};
use mr2_nn::rng;

use super::case::{Case, Parts};
use super::side::Side;

const SEED: u64 = 5;
const IMAGES: usize = 20;
const HEIGHT: usize = 30;
const WIDTH: usize = 33;
/// So few that one wrong byte shows in the error.
const WINDOWS: u64 = 20;
/// How far outside windows begin at most.
const OUTSIDE: isize = 6;

pub(super) fn cases() -> Vec<Case> {
    let case = |channels| {
        let name = format!("windows of images, {channels} channels");
        Case::tensors(name, move |side| windows(side, channels))
    };
    vec![case(1), case(3)]
}

fn windows(side: &Side, channels: usize) -> Result<Parts> {
    let images = (0..IMAGES * HEIGHT * WIDTH * channels).map(|i| rng::hash(SEED, i as u64) as u8);
    let images = Tensor::from_iter(images, &Device::Cpu)?;
    let images = images.reshape((IMAGES, HEIGHT, WIDTH, channels))?;
    let value = |i: usize| ((i % 256) as f32 / 64.0 - 2.0) * (1 + i / 256) as f32;
    let tables = Tensor::from_iter((0..channels * 256).map(value), &Device::Cpu)?;
    let tables = tables.reshape((channels, 256))?;
    let place = |random: u64| (random % (2 * OUTSIDE as u64 + 1)) as isize - OUTSIDE;
    let window = |number: u64| {
        let random = |what: u64| rng::hash(SEED, (1 << 40) + 4 * number + what);
        let mirrored = random(3) % 2 == 1;
        ImageWindow {
            image: (random(0) % IMAGES as u64) as u32,
            top: place(random(1)),
            left: place(random(2)) + if mirrored { WIDTH as isize - 1 } else { 0 },
            mirrored,
        }
    };
    let windows: Vec<ImageWindow> = (0..WINDOWS).map(window).collect();
    let (images, tables) = (
        images.to_device(&side.device)?,
        tables.to_device(&side.device)?,
    );
    let seen = image_windows(&images, &tables, &windows, HEIGHT - 1, WIDTH + 2)?;
    Ok(vec![("images".to_string(), seen)])
}
