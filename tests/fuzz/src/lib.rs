//! What the targets share: a folder for readers that take paths, and descriptors of small data sets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mr2_data::{DataSplits, Descriptor, Layout, open};

/// A folder of this process alone. libFuzzer leaves without unwinding, so it stays behind: run the targets
/// with a `TMPDIR` that is removed.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the folder.
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("mr2-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the folder for temporary files is writable");
        Self(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file of the folder and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, bytes).expect("the folder for temporary files is writable");
        path
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// A data set of ten classes in one layout, with images of `size` (height, width).
pub fn descriptor(layout: Layout, size: Option<(usize, usize)>) -> Descriptor {
    let channels = match layout {
        Layout::Idx { .. } => 1,
        _ => 3,
    };
    Descriptor {
        name: "fuzzed".to_string(),
        summary: String::new(),
        source: String::new(),
        licence: String::new(),
        classes: (0..10).map(|class| format!("class {class}")).collect(),
        channels,
        height: size.map(|(height, _)| height),
        width: size.map(|(_, width)| width),
        mean: vec![0.5; channels],
        std: vec![0.25; channels],
        train_images: None,
        test_images: None,
        label_order_md5: None,
        layouts: vec![layout],
        checksums: BTreeMap::new(),
    }
}

/// Opens the data set and reads all of its images.
pub fn read_all(descriptor: &Descriptor, root: &Path) -> mr2_data::Result<()> {
    let DataSplits { train, test, .. } = open(descriptor, root, None)?;
    for set in [train, test] {
        for index in 0..set.len() {
            set.image(index)?;
        }
    }
    Ok(())
}
