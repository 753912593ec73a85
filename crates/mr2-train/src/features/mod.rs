//! Features of a frozen backbone, computed once and kept on disk.
//!
//! [`extract`] runs a backbone in evaluation mode over a loader and writes what it gives as shards, each a
//! safetensors file that says what its numbers come from. Finished shards survive a stop or a kill and are
//! used by the next call; a call for features that are all there only checks them. The folder is named
//! after a key, the SHA-256 of everything that decides the numbers ([`FeatureMeta::key`]), and a shard whose
//! header says anything else, or whose bytes differ from its checksum, is never used.
//!
//! [`compute`] does the same for one view in memory alone; [`FeatureFiles::save`] makes one file of all shards.
//!
//! | entry of `CACHE/KEY/` | content |
//! |---|---|
//! | `view-000-shard-00000.safetensors` | `features` (images, feature_dim), `labels`, `indices`, and the header |
//! | `lock` | held while a process writes here |

mod batch_size;
mod encoder;
mod encoder_hash;
mod extract;
mod files;
mod meta;
mod shard;

pub use batch_size::{available_memory, images_per_batch, images_per_shard};
pub use encoder::compute;
pub use encoder_hash::encoder_hash;
pub use extract::{Damaged, ExtractConfig, ExtractProgress, Extraction, extract};
pub use files::{FeatureFiles, load};
pub use meta::{FeatureMeta, FeatureSource, FeatureType};
pub use shard::Features;
