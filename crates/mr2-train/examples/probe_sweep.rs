//! Times an epoch of a sweep of 16 heads on 8,192 images of 768 features and 100 classes, beside the products that it
//! can't do without. `experiments/bench/probe.py` does the same heads one after another in PyTorch.
#![allow(clippy::print_stdout)]

use std::time::Instant;

use mr2_nn::rng;
use mr2_nn::rows::Rows;
use mr2_train::probe::{
    FitConfig, MarginConfig, MethodConfig, Protocol, Training, Validation, probe,
};

const IMAGES: usize = 8192;
const BATCH: usize = 1024;
const WIDTH: usize = 768;
const CLASSES: usize = 100;
const HEADS: usize = 16;
const TRIES: usize = 7;

fn main() -> mr2_train::Result<()> {
    let features: Vec<f32> = (0..IMAGES * WIDTH)
        .map(|index| rng::normal(1, index as u64) as f32)
        .collect();
    let labels: Vec<u32> = (0..IMAGES).map(|image| (image % CLASSES) as u32).collect();
    let training = Training::new(&features, WIDTH, &labels, CLASSES)?;
    let validation = Validation::new(&features[..128 * WIDTH], WIDTH, &labels[..128], CLASSES)?;
    let erm = MethodConfig {
        name: "erm".to_string(),
        margins: vec![MarginConfig::Erm {}],
    };
    let mut config = Protocol::MocoV2.config(vec![erm]);
    if let FitConfig::Steps(steps) = &mut config.fit {
        (steps.epochs, steps.images_per_batch) = (1, BATCH);
        steps.lrs = (1..=HEADS).map(|head| 0.01 * head as f64).collect();
        steps.schedule = mr2_train::ScheduleConfig::Constant {};
    }
    let sweep = median(|| probe(&config, &training, Some(&validation), &[0]).map(drop))?;

    let rows = Rows::new();
    let x = &features[..BATCH * WIDTH];
    let weight = vec![0.5f32; HEADS * CLASSES * WIDTH];
    let mut logits = vec![0f32; BATCH * HEADS * CLASSES];
    let forward = median(|| Ok(rows.linear(x, &weight, None, WIDTH, &mut logits)?))?;
    let backward = median(|| Ok(rows.weight_gradient(&logits, x, WIDTH).map(drop)?))?;
    let operations = (2 * BATCH * WIDTH * HEADS * CLASSES) as f64;
    let steps = (IMAGES / BATCH) as f64;
    println!("threads {}", rayon::current_num_threads());
    println!(
        "sweep {:.1} ms, {:.1} GF/s",
        1e3 * sweep,
        2.0 * steps * operations / sweep * 1e-9
    );
    println!("forward product {:.1} GF/s", operations / forward * 1e-9);
    println!("gradient product {:.1} GF/s", operations / backward * 1e-9);
    println!(
        "products' share of the sweep {:.2}",
        steps * (forward + backward) / sweep
    );
    Ok(())
}

/// The median of several times, in seconds.
fn median(mut work: impl FnMut() -> mr2_train::Result<()>) -> mr2_train::Result<f64> {
    let mut times = Vec::new();
    for _ in 0..TRIES {
        let start = Instant::now();
        work()?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[TRIES / 2])
}
