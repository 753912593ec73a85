//! Texts as numbers, by CLIP's byte-pair encoding, from the files that are published beside weights.
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// What becomes a word of its own, in CLIP's expression.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Larger files aren't tokenizers; OpenAI's takes 2.2 MB.
const LARGEST_FILE: u64 = 64 << 20;

/// Why there is no tokenizer, or no tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A folder has no tokenizer.
    #[error(
        "{}: holds no tokenizer: neither tokenizer.json nor vocab.json and merges.txt. Take them from the weights' \
         repository; all CLIPs with OpenAI's vocabulary share those of openai/clip-vit-base-patch32",
        folder.display()
    )]
    NotFound {
        /// The folder.
        folder: PathBuf,
    },
    /// A file is wrong.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A text can't be encoded.
    #[error("the text {text:?} can't be encoded: {reason}")]
    Text {
        /// The text.
        text: String,
        /// What is wrong.
        reason: String,
    },
}

/// CLIP's tokenizer: lower case, runs of blanks as one, words into pieces of the vocabulary.
///
/// It is transformers' (`CLIPTokenizer`). OpenAI's and open_clip's also undo HTML entities and broken encodings
/// (ftfy) first, which plain names don't have.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    start: u32,
    end: u32,
}

impl Tokenizer {
    /// Reads `tokenizer.json` of a folder, or else `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// None of them; a file that can't be read or is damaged; a vocabulary without CLIP's start and end of text.
    pub fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let whole = folder.join("tokenizer.json");
        if whole.is_file() {
            return Self::of(text_of(&whole)?.as_bytes(), &whole);
        }
        let (vocabulary, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
        if !vocabulary.is_file() || !merges.is_file() {
            let folder = folder.to_path_buf();
            return Err(TokenizerError::NotFound { folder });
        }
        let ids: Value = serde_json::from_str(&text_of(&vocabulary)?)
            .map_err(|error| refused(&vocabulary, format!("not valid JSON: {error}")))?;
        let whole = assembled(&ids, &text_of(&merges)?, &vocabulary)?;
        Self::of(whole.to_string().as_bytes(), &vocabulary)
    }

    fn of(json: &[u8], path: &Path) -> Result<Self, TokenizerError> {
        let mut inner = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|error| refused(path, format!("not a tokenizer: {error}")))?;
        // Files say how their makers cut and padded texts; a text's end is put here.
        inner
            .with_truncation(None)
            .map_err(|error| refused(path, error.to_string()))?;
        inner.with_padding(None);
        let of = |token| {
            let missing = || format!("its vocabulary lacks {token}: it is not CLIP's");
            inner
                .token_to_id(token)
                .ok_or_else(|| refused(path, missing()))
        };
        let (start, end) = (of(START)?, of(END)?);
        Ok(Self { inner, start, end })
    }

    /// The number of the token that ends a text.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// A text's tokens from start to end, without padding; of a text that is too long, the first and the end.
    ///
    /// # Errors
    /// A `context` without room for start and end; those of the vocabulary.
    pub fn encode(&self, text: &str, context: usize) -> Result<Vec<u32>, TokenizerError> {
        let failed = |reason: String| TokenizerError::Text {
            text: text.to_string(),
            reason,
        };
        let Some(room) = context.checked_sub(2) else {
            return Err(failed(format!("{context} tokens have no room for a text")));
        };
        let pieces = self
            .inner
            .encode(text, false)
            .map_err(|error| failed(error.to_string()))?;
        let pieces = pieces.get_ids();
        let mut ids = vec![self.start];
        ids.extend(&pieces[..pieces.len().min(room)]);
        ids.push(self.end);
        Ok(ids)
    }
}

fn refused(path: &Path, reason: String) -> TokenizerError {
    let path = path.to_path_buf();
    TokenizerError::File { path, reason }
}

fn text_of(path: &Path) -> Result<String, TokenizerError> {
    let unread = |error: std::io::Error| refused(path, format!("cannot be read: {error}"));
    let bytes = path.metadata().map_err(unread)?.len();
    if bytes > LARGEST_FILE {
        return Err(refused(
            path,
            format!("{bytes} bytes are too many for a tokenizer"),
        ));
    }
    std::fs::read_to_string(path).map_err(unread)
}

/// The `tokenizer.json` that transformers would write of a vocabulary and its merges.
fn assembled(ids: &Value, merges: &str, vocabulary: &Path) -> Result<Value, TokenizerError> {
    let special = |token: &str| match ids.get(token).and_then(Value::as_u64) {
        Some(id) => Ok(json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            "special": true
        })),
        None => {
            let reason = format!("its vocabulary lacks {token}: it is not CLIP's");
            Err(refused(vocabulary, reason))
        }
    };
    let merges = merges.lines().filter(|line| !line.starts_with("#version"));
    let merges: Vec<&str> = merges.filter(|line| !line.trim().is_empty()).collect();
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [special(START)?, special(END)?],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "NFC" },
            { "type": "Replace", "pattern": { "Regex": r"\s+" }, "content": " " },
            { "type": "Lowercase" },
        ] },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": WORDS }, "behavior": "Removed", "invert": true },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        ] },
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>", "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": ids, "merges": merges,
        },
    }))
}
