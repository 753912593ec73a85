//! The program's allocator, which keeps freed memory for the next step.

/// The C library's allocator gives every large tensor back to the system, so that each step of a loss over
/// 1000 classes spends most of its time on fresh pages.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay` of mimalloc 3 (`mimalloc.h`), which the bindings don't name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Keeps freed memory however long a step takes. Otherwise a vision transformer's gradients, freed seconds
/// before the next step needs as many, would go back to the system, which clears every page that it gives.
pub fn keep_freed_memory() {
    // SAFETY: called first in `main`, while no other thread is there to read options.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_delay_of_purging() {
        // SAFETY: tests of this binary only read options.
        let milliseconds = unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(
            milliseconds, 1000,
            "mimalloc's default: has the option moved?"
        );
    }
}
