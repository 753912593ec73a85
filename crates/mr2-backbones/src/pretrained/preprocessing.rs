//! What has to be done to an image before a pretrained model sees it. It belongs to the weights, and is read from
//! the configuration that is published beside them: transformers' `preprocessor_config.json`, timm's `config.json`,
//! open_clip's `open_clip_config.json`.
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// From an image of bytes to what a model is given: resized, the middle cut out, scaled to 0..=1, minus `mean`,
/// divided by `std`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// The size that the image is brought to.
    pub resize: Resize,
    /// How pixels are interpolated, with antialiasing, as Pillow does.
    pub interpolation: Interpolation,
    /// Side of the square in the middle that is kept: the model's image size.
    pub crop: usize,
    /// Subtracted from each channel (R, G, B).
    pub mean: [f64; 3],
    /// Each channel is divided by it.
    pub std: [f64; 3],
}

/// The size before the crop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Resize {
    /// The short side to this many pixels, the other in proportion.
    ShortSide(usize),
    /// Both sides to those of the crop, whatever the image's proportions.
    Square,
}

/// The interpolation filters that pretrained models ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interpolation {
    /// Linear in both directions.
    Bilinear,
    /// Cubic in both directions, a = -0.5.
    Bicubic,
}

/// Whose configuration a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigKind {
    /// `preprocessor_config.json` of transformers.
    Transformers,
    /// `config.json` of timm, with its `pretrained_cfg`.
    Timm,
    /// `open_clip_config.json`, with its `preprocess_cfg` and the model's image size.
    OpenClip,
}

impl Preprocessing {
    /// Reads a published configuration.
    ///
    /// # Errors
    /// The key that is missing, of another type, or asks for what isn't supported (padding to a square, other
    /// filters, images that aren't square), as a sentence.
    pub fn from_config(kind: ConfigKind, text: &str) -> Result<Self, String> {
        let config: Value =
            serde_json::from_str(text).map_err(|error| format!("not valid JSON: {error}"))?;
        match kind {
            ConfigKind::Transformers => transformers(&config),
            ConfigKind::Timm => timm(config.get("pretrained_cfg").unwrap_or(&config)),
            ConfigKind::OpenClip => open_clip(&config),
        }
    }

    /// The same for images of `side` pixels: the sides before the crop change in proportion, rounded down.
    pub fn for_side(&self, side: usize) -> Self {
        let scale = |size: usize| size * side / self.crop;
        let resize = match self.resize {
            Resize::ShortSide(size) => Resize::ShortSide(scale(size)),
            Resize::Square => Resize::Square,
        };
        Self {
            resize,
            crop: side,
            ..self.clone()
        }
    }
}

/// `size` is {height, width} or {shortest_edge}; in older files a number, which image processors of ViT's family
/// take for both sides and those of CLIP's and ConvNeXT's for the short one.
fn transformers(config: &Value) -> Result<Preprocessing, String> {
    for step in ["do_resize", "do_rescale", "do_normalize"] {
        if config.get(step).and_then(Value::as_bool) == Some(false) {
            return Err(format!("`{step}` is false, which isn't supported"));
        }
    }
    if let Some(factor) = config.get("rescale_factor").and_then(Value::as_f64)
        && (factor * 255.0 - 1.0).abs() > 1e-6
    {
        return Err(format!("`rescale_factor`: expected 1/255, got {factor}"));
    }
    let kind = ["image_processor_type", "feature_extractor_type"]
        .iter()
        .find_map(|key| config.get(key).and_then(Value::as_str))
        .unwrap_or_default();
    let interpolation = match config.get("resample").map(|value| value.as_u64()) {
        Some(Some(2)) => Interpolation::Bilinear,
        Some(Some(3)) => Interpolation::Bicubic,
        None if kind.starts_with("ViT") => Interpolation::Bilinear,
        None => return Err("key `resample` is missing".to_string()),
        Some(_) => {
            return Err(format!(
                "`resample`: expected 2 (bilinear) or 3 (bicubic), got {}",
                config["resample"]
            ));
        }
    };
    let mean = triple(config, "image_mean")?;
    let std = triple(config, "image_std")?;
    let size = config.get("size").ok_or("key `size` is missing")?;
    let (resize, side) = match (size, size.get("shortest_edge")) {
        (_, Some(edge)) => (true, pixels(edge, "size.shortest_edge")?),
        (Value::Object(_), None) => (false, square(size, "size")?),
        _ => (!kind.starts_with("ViT"), pixels(size, "size")?),
    };
    if !resize {
        return Ok(Preprocessing {
            resize: Resize::Square,
            interpolation,
            crop: side,
            mean,
            std,
        });
    }
    if kind.starts_with("ConvNext") {
        return conv_next(config, side, interpolation, mean, std);
    }
    let crops = config.get("do_center_crop").and_then(Value::as_bool);
    let crop = match (crops, config.get("crop_size")) {
        (Some(false), _) | (None, None) => {
            return Err(
                "the short side is resized and nothing is cropped, so images keep their \
                 proportions, which isn't supported: name the file of weights alone, under a name of your own, for the \
                 model's usual preprocessing"
                    .to_string(),
            );
        }
        (_, Some(object @ Value::Object(_))) => square(object, "crop_size")?,
        (_, Some(number)) => pixels(number, "crop_size")?,
        (Some(true), None) => side,
    };
    Ok(Preprocessing {
        resize: Resize::ShortSide(side),
        interpolation,
        crop,
        mean,
        std,
    })
}

/// Below 384 pixels the short side is resized to more (`crop_pct`) and the middle kept; from 384 on the image is
/// made square.
fn conv_next(
    config: &Value,
    side: usize,
    interpolation: Interpolation,
    mean: [f64; 3],
    std: [f64; 3],
) -> Result<Preprocessing, String> {
    let resize = match side {
        384.. => Resize::Square,
        _ => Resize::ShortSide(enlarged(side, number(config, "crop_pct")?, "crop_pct")?),
    };
    Ok(Preprocessing {
        resize,
        interpolation,
        crop: side,
        mean,
        std,
    })
}

fn timm(config: &Value) -> Result<Preprocessing, String> {
    let input = config
        .get("input_size")
        .and_then(Value::as_array)
        .ok_or("key `input_size` is missing or no list")?;
    let [channels, height, width] = &input[..] else {
        return Err(format!(
            "`input_size`: expected [3, side, side], got {input:?}"
        ));
    };
    let side = pixels(height, "input_size")?;
    if pixels(channels, "input_size")? != 3 || pixels(width, "input_size")? != side {
        return Err(format!(
            "`input_size`: expected [3, side, side], got {input:?}"
        ));
    }
    let resize = enlarged(side, number(config, "crop_pct")?, "crop_pct")?;
    let resize = match config.get("crop_mode").and_then(Value::as_str) {
        None | Some("center") => Resize::ShortSide(resize),
        Some("squash") if resize == side => Resize::Square,
        Some(other) => {
            return Err(format!(
                "`crop_mode` {other:?} isn't supported: center, or squash with a `crop_pct` of 1"
            ));
        }
    };
    Ok(Preprocessing {
        resize,
        interpolation: filter(config, "interpolation")?,
        crop: side,
        mean: triple(config, "mean")?,
        std: triple(config, "std")?,
    })
}

fn open_clip(config: &Value) -> Result<Preprocessing, String> {
    let preprocess = config
        .get("preprocess_cfg")
        .ok_or("key `preprocess_cfg` is missing")?;
    let size = match preprocess.get("size") {
        Some(size) => size,
        None => config.pointer("/model_cfg/vision_cfg/image_size").ok_or(
            "keys `preprocess_cfg.size` and `model_cfg.vision_cfg.image_size` are missing",
        )?,
    };
    let side = match size {
        Value::Array(sides) => match &sides[..] {
            [height, width] if height == width => pixels(height, "size")?,
            _ => return Err(format!("`size`: expected two equal sides, got {size}")),
        },
        _ => pixels(size, "size")?,
    };
    let resize = match preprocess.get("resize_mode").and_then(Value::as_str) {
        None | Some("shortest") => Resize::ShortSide(side),
        Some("squash") => Resize::Square,
        Some(other) => {
            return Err(format!(
                "`resize_mode` {other:?} isn't supported: shortest, squash"
            ));
        }
    };
    Ok(Preprocessing {
        resize,
        interpolation: match preprocess.get("interpolation") {
            None => Interpolation::Bicubic,
            Some(_) => filter(preprocess, "interpolation")?,
        },
        crop: side,
        mean: triple(preprocess, "mean")?,
        std: triple(preprocess, "std")?,
    })
}

fn filter(config: &Value, key: &str) -> Result<Interpolation, String> {
    match config.get(key).and_then(Value::as_str) {
        Some("bilinear") => Ok(Interpolation::Bilinear),
        Some("bicubic") => Ok(Interpolation::Bicubic),
        _ => Err(format!(
            "`{key}`: expected bilinear or bicubic, got {}",
            config[key]
        )),
    }
}

/// The size whose middle part of `crop_pct` has `side` pixels, rounded down.
fn enlarged(side: usize, crop_pct: f64, key: &str) -> Result<usize, String> {
    match crop_pct > 0.1 && crop_pct <= 1.0 {
        true => Ok((side as f64 / crop_pct).floor() as usize),
        false => Err(format!("`{key}`: expected 0.1 to 1, got {crop_pct}")),
    }
}

fn square(object: &Value, key: &str) -> Result<usize, String> {
    let [height, width] = ["height", "width"].map(|side| pixels(&object[side], key));
    match (height?, width?) {
        (height, width) if height == width => Ok(height),
        (height, width) => Err(format!(
            "`{key}`: expected a square, got {height} x {width}"
        )),
    }
}

fn pixels(value: &Value, key: &str) -> Result<usize, String> {
    match value.as_u64() {
        Some(side @ 1..=16_384) => Ok(side as usize),
        _ => Err(format!("`{key}`: expected 1 to 16384 pixels, got {value}")),
    }
}

fn number(config: &Value, key: &str) -> Result<f64, String> {
    let value = config.get(key).and_then(Value::as_f64);
    value.ok_or_else(|| format!("key `{key}` is missing or no number"))
}

fn triple(config: &Value, key: &str) -> Result<[f64; 3], String> {
    let wanted = || format!("`{key}`: expected three numbers, got {}", config[key]);
    let list = config
        .get(key)
        .and_then(Value::as_array)
        .ok_or_else(wanted)?;
    let numbers: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
    <[f64; 3]>::try_from(numbers).map_err(|_| wanted())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
