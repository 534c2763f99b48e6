//! Places between the steps of what must survive a crash, where tests look at what a crash would leave.

#[cfg(test)]
use std::cell::RefCell;

#[cfg(test)]
type Look = Box<dyn Fn(&'static str)>;

#[cfg(test)]
thread_local! {
    static LOOK: RefCell<Option<Look>> = const { RefCell::new(None) };
}

/// A step is done; the next one has not begun.
#[cfg(not(test))]
pub(crate) const fn done(_step: &'static str) {}

/// A step is done; the next one has not begun.
#[cfg(test)]
pub(crate) fn done(step: &'static str) {
    LOOK.with_borrow(|look| {
        if let Some(look) = look {
            look(step);
        }
    });
}

/// Has `look` called at each step that this thread does, while `work` runs.
#[cfg(test)]
pub(crate) fn watch<T>(look: impl Fn(&'static str) + 'static, work: impl FnOnce() -> T) -> T {
    LOOK.set(Some(Box::new(look)));
    let outcome = work();
    LOOK.set(None);
    outcome
}
