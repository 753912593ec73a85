#![no_main]
//! An image file of any format, as grey and as RGB.

use libfuzzer_sys::fuzz_target;
use mr2_data::{ImageSet, Source, Split};

fuzz_target!(|bytes: &[u8]| {
    for channels in [1, 3] {
        let files = vec![bytes.to_vec()];
        let source = Source::Encoded { files, channels };
        let set = ImageSet::new("fuzzed", Split::Test, vec!["any".into()], vec![0], source)
            .expect("one image, one label");
        if let Ok(image) = set.image(0) {
            assert_eq!(
                image.pixels.len(),
                image.height * image.width * image.channels
            );
            assert_eq!(image.channels, channels);
        }
    }
});
