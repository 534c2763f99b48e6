//! Gives free memory back to the system: the one call of C that needs unsafe code, in a crate of its own, so that it stays
//! forbidden everywhere else.

/// Gives back every page of the heap on which nothing is, also between others: malloc_trim(3). What a burst has left
/// behind would otherwise stay, because something that was made meanwhile stands at the heap's end.
///
/// Returns whether there was anything. Without the GNU C library it does nothing.
pub fn give_back() -> bool {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: it takes a number, locks the heap itself, and touches nothing that is in use.
        #[expect(unsafe_code, reason = "there is no other way to ask the C library")]
        let given = unsafe { libc::malloc_trim(0) };
        given != 0
    }
    #[cfg(not(target_env = "gnu"))]
    false
}

#[cfg(all(test, target_env = "gnu"))]
mod tests {
    use super::*;

    fn resident_pages() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("proc(5)");
        let pages = statm.split(' ').nth(1).expect("a second field");
        pages.parse().expect("a number")
    }

    #[test]
    fn pages_between_what_is_in_use_are_given_back_and_what_is_in_use_stays() {
        let mut blocks: Vec<Option<Box<[u8; 1024]>>> = (0..64 * 1024)
            .map(|number| Some(Box::new([number as u8; 1024])))
            .collect();
        for (number, block) in blocks.iter_mut().enumerate() {
            if number % 64 != 0 {
                *block = None;
            }
        }
        let before = resident_pages();
        assert!(give_back());
        let after = resident_pages();
        assert!(after < before / 2, "{before} pages before, {after} after");
        for (number, block) in blocks.iter().enumerate().step_by(64) {
            assert_eq!(block.as_deref(), Some(&[number as u8; 1024]));
        }
    }
}
