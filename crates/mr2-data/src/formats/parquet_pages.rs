//! The pages of a parquet column, checked before the parquet crate decodes them: some of its decoders
//! take memory on the word of a header, and an allocation that fails ends the process.

use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

/// The fewest bytes of a value: a number, or the length of a string.
const LEAST_VALUE_BYTES: usize = 4;

/// A reader of pages that lets only plausible ones through.
pub(super) struct CheckedPages(pub Box<dyn PageReader>);

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.0.get_next_page()?;
        page.iter().try_for_each(check)?;
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.0.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.0.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.0.at_record_boundary()
    }
}

/// Writers use the encodings of the first version unless told otherwise; of the others, those for
/// strings reserve as many lengths as they are told.
#[allow(deprecated)] // PLAIN_DICTIONARY is what version 1 files have
fn check(page: &Page) -> Result<()> {
    match page.encoding() {
        Encoding::PLAIN | Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY => {}
        other => {
            return Err(ParquetError::General(format!(
                "a page has the encoding {other}, expected PLAIN or a dictionary"
            )));
        }
    }
    let (values, bytes) = (page.num_values() as usize, page.buffer().len());
    if page.is_dictionary_page() && values > bytes / LEAST_VALUE_BYTES {
        return Err(ParquetError::General(format!(
            "a dictionary of {bytes} bytes claims to hold {values} values"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_dictionary_must_have_the_bytes_for_its_values() {
        let dictionary = |num_values| Page::DictionaryPage {
            buf: Bytes::from_static(&[0; 40]),
            num_values,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        assert!(check(&dictionary(10)).is_ok());
        assert!(check(&dictionary(11)).is_err());
        assert!(check(&dictionary(u32::MAX)).is_err());
    }
}
