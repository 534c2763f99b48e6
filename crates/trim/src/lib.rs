//! Gives memory back to the system. That takes unsafe code, which is in this crate so that it stays forbidden in all others.

/// Gives back every page of the heap on which nothing is, also between others: malloc_trim(3). What a burst has left
/// behind would otherwise stay, because something that was made meanwhile stands at the heap's end.
///
/// Returns whether there was anything. Without the GNU C library it does nothing.
pub fn give_back_heap() -> bool {
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

/// Takes the program's own code out of this process until it is run again: `MADV_DONTNEED`, madvise(2). What only the
/// start needed would otherwise stay for as long as the process lives, with 64 KiB around each piece of it. It stays in
/// the page cache as long as the system has room there, and is back without reading as soon as it is run.
///
/// Breakpoints in the program, those of debuggers and of probes, are lost. Returns whether it was done; elsewhere than on
/// Linux with the GNU C library it is not.
pub fn give_back_code() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // The linker's own: where the program begins, and where the last of its code ends (ld(1), end(3)).
        #[expect(unsafe_code, reason = "there is no other name for where the program lies")]
        unsafe extern "C" {
            static __executable_start: u8;
            static etext: u8;
        }
        let (start, end) = (&raw const __executable_start, &raw const etext);
        let length = end.addr().saturating_sub(start.addr());
        // SAFETY: from its first byte to the end of its code the program is mapped from its file and never written to, so
        // the kernel brings each page back as it was when it is next used. What the start relocates lies behind that, on
        // other pages: rustc's linkers put it there, and refuse code that would have to be relocated itself.
        #[expect(unsafe_code, reason = "there is no other way to ask the kernel")]
        let answer = unsafe { libc::madvise(start.cast_mut().cast(), length, libc::MADV_DONTNEED) };
        // Of a range with holes in it, such as between segments that are far apart, all that is there was taken.
        answer == 0 || std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOMEM)
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    fn resident_pages() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("proc(5)");
        let pages = statm.split(' ').nth(1).expect("a second field");
        pages.parse().expect("a number")
    }

    /// Of what is mapped of the program and may be run: where it is, and KiB of it that are no longer as in its file.
    fn code() -> Vec<(String, usize)> {
        let program = std::env::current_exe().expect("a path");
        let program = program.to_str().expect("text");
        let smaps = std::fs::read_to_string("/proc/self/smaps").expect("proc(5)");
        let mut code = Vec::new();
        let mut place = None;
        for line in smaps.lines() {
            let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
            if !first.ends_with(':') {
                let is_code = line.ends_with(program) && rest.starts_with("r-xp");
                place = is_code.then(|| first.to_owned());
            } else if first == "Anonymous:"
                && let Some(place) = &place
            {
                let kib = rest.trim().trim_end_matches(" kB").parse();
                code.push((place.clone(), kib.expect("a number")));
            }
        }
        code
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
        assert!(give_back_heap());
        let after = resident_pages();
        assert!(after < before / 2, "{before} pages before, {after} after");
        for (number, block) in blocks.iter().enumerate().step_by(64) {
            assert_eq!(block.as_deref(), Some(&[number as u8; 1024]));
        }
    }

    #[test]
    fn code_is_as_in_its_file_before_and_after_it_was_given_back() {
        let before = code();
        assert!(
            !before.is_empty() && before.iter().all(|(_, changed_kib)| *changed_kib == 0),
            "{before:?}"
        );
        for _ in 0..3 {
            assert!(give_back_code());
            assert_eq!(code(), before);
        }
    }
}
